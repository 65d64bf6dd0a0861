"""What the tools of a run returned, for advice: which member a program reads of a result that has no such member.

A model often takes a result for the MCP answer or the HTTP response around it (`r.content[0].text`, `await r.json()`).
Only a member that no result of its tool has is reported; a result too long to be kept whole decides nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from codemode.catalog import Catalog
from codemode.check.brackets import Brackets, brackets
from codemode.check.paths import Path, is_name, paths

KEPT_BYTES = 16 * 1024
KEPT_RESULTS = 20

OF_ANSWER = frozenset({"content", "structuredContent", "isError"})
OF_RESPONSE = frozenset({"json", "text", "body", "ok", "status", "arrayBuffer", "blob"})
ASSUMED = (
    OF_ANSWER | OF_RESPONSE | {"data", "items", "length", "payload", "result", "results", "output", "response", "value"}
)
"""Members that a program takes for granted although nothing says that a result has them."""

_MOST_CHARS = 32 * 1024
_MOST_NAMES, _NAME_CHARS = 8, 40
_MOST_TOOLS = 2
_FUNCTIONS = frozenset({"search", "describe", "tools", "emit"})
_WORD = re.compile(rf"\b(?:{'|'.join(sorted(ASSUMED))})\b")
_OF_ARRAYS = frozenset(
    "length at concat copyWithin entries every fill filter find findIndex findLast findLastIndex flat flatMap forEach "
    "includes indexOf join keys lastIndexOf map pop push reduce reduceRight reverse shift slice some sort splice "
    "toReversed toSorted toSpliced unshift values with toString toLocaleString constructor".split()
)
_OF_TEXTS = frozenset(
    "length at charAt charCodeAt codePointAt concat endsWith includes indexOf lastIndexOf localeCompare match matchAll "
    "normalize padEnd padStart repeat replace replaceAll search slice split startsWith substr substring toLowerCase "
    "toUpperCase toLocaleLowerCase toLocaleUpperCase toString trim trimEnd trimStart valueOf constructor".split()
)
_OF_OBJECTS = frozenset("constructor hasOwnProperty toString toLocaleString valueOf isPrototypeOf".split())


@dataclass(frozen=True, slots=True)
class Returned:
    """The beginning of a tool's result as JSON, and whether that is all of it."""

    tool: str
    encoded: bytes
    whole: bool

    @classmethod
    def of(cls, tool: str, encoded: bytes) -> Returned:
        return cls(tool, encoded[:KEPT_BYTES], len(encoded) <= KEPT_BYTES)


@dataclass(frozen=True, slots=True)
class Read:
    """A member that a program reads of a variable, or of a call, that is the result of a tool.

    `tool`: its path; None where only a run can tell. `start`: the offset. `has_fallback`: another value stands in for
    it, and does not use the result.
    """

    written: str
    member: str
    tool: str | None
    start: int
    has_fallback: bool = False


def may_assume(program: str) -> bool:
    """Whether a program may read a member that it takes for granted. A quick test."""
    return len(program) <= _MOST_CHARS and _WORD.search(program) is not None


def missing(program: str, returned: Iterable[Returned], catalog: Catalog) -> list[Read]:
    """The members that a program reads and no result of their tool has, in the order of the program."""
    kept = list(returned)
    text = brackets(program) if kept and len(program) <= _MOST_CHARS else None
    if text is None:
        return []
    return [read for read in _reads(text, catalog) if _lacks(_of_tool(kept, read.tool), read.member)]


def looped(program: str, line: int, returned: Iterable[Returned], catalog: Catalog) -> str | None:
    """What a variable is that a line loops over, or spreads, though the result in it is no list; else None."""
    kept = list(returned)
    text = brackets(program) if kept and len(program) <= _MOST_CHARS else None
    if text is None:
        return None
    variables = _variables(text, catalog)
    for at, token in enumerate(text.tokens):
        if token.key in variables and program.count("\n", 0, token.start) + 1 == line and text.key(at + 1) != ".":
            results = _of_tool(kept, variables[token.key])
            if results and all(one.whole and isinstance(_value(one), dict) for one in results):
                return f"`{token.key}` is no list: {described(results)}"
    return None


def described(returned: Iterable[Returned]) -> str:
    """What the tools returned, in words: `fix.echo returned an object with n, items.`"""
    shapes: dict[tuple[str, str], None] = {}
    for one in returned:
        shapes[one.tool, _shape(one)] = None
    texts = [f"{tool} returned {shape}" for tool, shape in list(shapes)[-_MOST_TOOLS:]]
    return "; ".join(texts) + "." if texts else ""


def of_tools(returned: Iterable[Returned], reads: Iterable[Read]) -> list[Returned]:
    """The results of the tools that these members are read of."""
    tools = {read.tool for read in reads}
    return [one for one in returned if one.tool in tools or None in tools]


def _of_tool(returned: list[Returned], tool: str | None) -> list[Returned]:
    return [one for one in returned if tool is None or one.tool == tool]


def _lacks(results: list[Returned], member: str) -> bool:
    """Whether no result has a member; False where that is not known."""
    return bool(results) and not any(_may_have(one, member) for one in results)


def _may_have(one: Returned, member: str) -> bool:
    if not one.whole:
        return not one.encoded.startswith(b'"') or member in _OF_TEXTS
    value = _value(one)
    if isinstance(value, dict):
        return member in value or member in _OF_OBJECTS
    if isinstance(value, list):
        return member in _OF_ARRAYS or member.isdecimal()
    if isinstance(value, str):
        return member in _OF_TEXTS or member.isdecimal()
    return value is None or member in _OF_OBJECTS or member in ("toFixed", "toPrecision")


def _value(one: Returned) -> Any:
    try:
        return json.loads(one.encoded)
    except (ValueError, RecursionError):
        return None


def _shape(one: Returned) -> str:
    """What a result is, in words."""
    if not one.whole:
        return {"{": "a large object", "[": "a large array", '"': "a long text"}.get(chr(one.encoded[0]), "a value")
    value = _value(one)
    if isinstance(value, dict):
        return f"an object with {_names(value)}" if value else "an object without members"
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return f"an array of {len(value)}, the first an object with {_names(value[0]) or 'no members'}"
        return f"an array of {len(value)}"
    if isinstance(value, str):
        return "a text that is not JSON" if value else "an empty text"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else "a number"


def _names(value: dict[str, Any]) -> str:
    names = [name if len(name) <= _NAME_CHARS else name[: _NAME_CHARS - 1] + "…" for name in list(value)[:_MOST_NAMES]]
    return ", ".join(names) + (f" and {len(value) - len(names)} more" if len(names) < len(value) else "")


# --- the text of a program -----------------------------------------------------------------------------------------


def _reads(text: Brackets, catalog: Catalog) -> Iterator[Read]:
    variables = _variables(text, catalog)
    for at, token in enumerate(text.tokens):
        if token.key in variables and text.key(at - 1) != "." and (found := _member(text, at + 1)) is not None:
            member, end = found
            is_target = text.key(end) == "=" and text.key(end + 1) not in ("=", ">")
            if not is_target:
                fallback = _has_fallback(text, end, token.key)
                yield Read(f"{token.key}.{member}", member, variables[token.key], token.start, fallback)
    for opening, end, path in _calls(text):
        tool = _tool(path, catalog)
        if tool == "":
            continue
        first = path.first if path is not None else opening
        if text.key(end) == ")" and text.key(first - 1) == "await" and (found := _member(text, end + 1)) is not None:
            member, after = found
            yield Read(f"(await {tool or '…'}(…)).{member}", member, tool, text.tokens[first].start, False)
        for name in _destructured(text, first):
            yield Read(name, name, tool, text.tokens[first].start)


def _variables(text: Brackets, catalog: Catalog) -> dict[str, str | None]:
    """The variables that hold the result of a call, with the path of its tool."""
    variables: dict[str, str | None] = {}
    for opening, end, path in _calls(text):
        tool = _tool(path, catalog)
        if tool == "":
            continue
        first = path.first if path is not None else _first(text, opening)
        if text.key(first - 1) == "await" and text.key(first - 2) == "=" and is_name(text.key(first - 3)):
            variables[text.key(first - 3)] = tool
        if text.key(end) == "." and text.key(end + 1) == "then" and text.key(end + 2) == "(":
            at = end + 3 + (text.key(end + 3) == "async")
            at += text.key(at) == "("
            if is_name(text.key(at)) and text.key(at) != "function":
                variables[text.key(at)] = tool
    return variables


def _calls(text: Brackets) -> Iterator[tuple[int, int, Path | None]]:
    """The calls of tools: the opening parenthesis, the token after the closing one, and the path, if it is literal."""
    literal = {path.end: path for path in paths(text)}
    for at, token in enumerate(text.tokens):
        if token.key != "(" or (end := text.after(at)) is None:
            continue
        if at in literal:
            yield at, end, literal[at]
        elif text.key(at - 1) == "]" and text.key(_first(text, at)) == "codemode":
            yield at, end, None


def _first(text: Brackets, opening: int) -> int:
    """The index of the first token of `codemode[server][tool]` before a parenthesis."""
    at = opening - 1
    while at > 0:
        if text.key(at) == "]" and at in text.pairs:
            at = text.pairs[at] - 1
        elif is_name(text.key(at)) and text.key(at - 1) == ".":
            at -= 2
        else:
            break
    return at


def _tool(path: Path | None, catalog: Catalog) -> str | None:
    """The path of the tool that is called; None when only a run can tell, "" for a function of `codemode` itself."""
    if path is None:
        return None
    if path.members[0] in _FUNCTIONS and len(path.members) == 1:
        return ""
    keys = catalog.names.resolve(".".join(path.members))
    return catalog.names.path(*keys[0]) if len(keys) == 1 else None


def _member(text: Brackets, at: int) -> tuple[str, int] | None:
    """The member that is read there, `.a`, `?.a` or `["a"]`, and the index of the token after it."""
    at += text.key(at) == "?" and text.key(at + 1) == "."
    if text.key(at) == "." and is_name(text.key(at + 1)):
        return text.key(at + 1), at + 2
    if text.key(at) == "[" and text.key(at + 1)[:1] == '"' and text.key(at + 2) == "]":
        return text.key(at + 1)[1:], at + 3
    return None


def _destructured(text: Brackets, first: int) -> list[str]:
    """The names in `const {a, b: c} = await` before a call; none where one has a default."""
    if text.key(first - 1) != "await" or text.key(first - 2) != "=" or text.key(first - 3) != "}":
        return []
    opening = text.pairs.get(first - 3)
    if opening is None or text.key(opening - 1) not in ("const", "let", "var"):
        return []
    inner = range(opening + 1, first - 3)
    depth = text.depths[opening] + 1
    if any(text.key(at) == "=" for at in inner):
        return []
    return [
        text.key(at)
        for at in inner
        if text.depths[at] == depth and text.key(at - 1) in ("{", ",") and is_name(text.key(at))
    ]


def _has_fallback(text: Brackets, at: int, variable: str) -> bool:
    """Whether `?? other` or `|| other` follows in the expression, and `other` does not use the variable."""
    depth = text.depths[at] if at < len(text.tokens) else 0
    operator = False
    for later in range(at, min(at + 60, len(text.tokens))):
        if text.depths[later] < depth or (text.depths[later] == depth and text.key(later) in (";", ",")):
            break
        operator = operator or (text.key(later) == text.key(later + 1) and text.key(later) in ("?", "|"))
        if text.key(later) == variable:
            return False
    return operator
