"""What the tools of a run returned, for advice: which member a program reads of a result that has no such member.

A model often takes a result for the MCP answer or the HTTP response around it (`r.content[0].text`, `await r.json()`).
Only a member that no result of its tool has is reported; a result too long to be kept whole decides nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from codemode.catalog import Catalog
from codemode.check.brackets import Brackets, brackets
from codemode.check.paths import calls, is_name

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
_MOST_READS = 300
_MOST_ASSUMED = 20
_FUNCTIONS = frozenset({"search", "describe", "tools"})
_EACH = frozenset("map forEach filter find findIndex some every flatMap sort".split())
_WORD = re.compile(rf"\b(?:{'|'.join(sorted(ASSUMED))})\b")
_DECLARES = frozenset({"const", "let", "var"})
_LOOKS = frozenset("log info warn error debug stringify parse isArray String if while switch".split())
"""What takes a result to look at it, not to use it."""
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


@dataclass(frozen=True)
class Returned:
    """The beginning of a tool's result as JSON, and whether that is all of it."""

    tool: str
    encoded: bytes
    whole: bool

    @classmethod
    def of(cls, tool: str, encoded: bytes) -> Returned:
        return cls(tool, encoded[:KEPT_BYTES], len(encoded) <= KEPT_BYTES)

    @cached_property
    def value(self) -> object:
        """The value, where all of it is kept."""
        try:
            return json.loads(self.encoded)
        except (ValueError, RecursionError):
            return None


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


_TOOL = b'[{"path":"","%s":"","description":""}]'
_OF_NEEDS = "codemode.search([…])"
_OWN = (
    (Returned("codemode.search", _TOOL % b"signature", True), "an array of objects with path, signature, description"),
    (
        Returned(_OF_NEEDS, _TOOL % b"signature", True),
        "an array for each need, of objects with path, signature, description",
    ),
    (Returned("codemode.tools", _TOOL % b"server", True), "an array of objects with path, name, server and others"),
    (Returned("codemode.describe", b'"declare"', True), "a text"),
)
"""What the functions of `codemode` return; of a search for several needs, what it returns for each."""


def may_assume(program: str) -> bool:
    """Whether a program may read a member that it takes for granted. A quick test."""
    return len(program) <= _MOST_CHARS and _WORD.search(program) is not None


def missing(program: str, returned: Iterable[Returned], catalog: Catalog) -> list[Read]:
    """The members that a program reads and no result of their tool has, in the order of the program."""
    kept = _with_own(returned)
    text = _text(program)
    return [] if text is None else _missing(text, kept, catalog)


def assumed(program: str, returned: Iterable[Returned], catalog: Catalog, *, has_value: bool) -> list[Read]:
    """The first members of `missing` that the program takes for granted: it knows the result in no other way.

    `has_value`: whether the run has a value. What is returned as it is read explains a run without one.
    """
    kept = _with_own(returned)
    text = _text(program)
    reads = [] if text is None else [read for read in _missing(text, kept, catalog) if read.member in ASSUMED]
    if text is None or not reads:
        return []
    found: list[Read] = []
    around = _brackets_around(text)
    places = {token.start: at for at, token in enumerate(text.tokens)}
    for read in reads[:_MOST_ASSUMED]:
        at = places[read.start]
        is_returned = not has_value and text.key(at - 1) == "return"
        if not _is_failure_test(text, at, read.member) and (
            is_returned or not _knows(text, around, at, read, _of_tool(kept, read.tool))
        ):
            found.append(read)
    return found


def looped(program: str, line: int, returned: Iterable[Returned], catalog: Catalog) -> str | None:
    """What a variable is that a line loops over, or spreads, though the result in it is no list; else None."""
    kept = list(returned)
    text = _text(program) if kept else None
    if text is None:
        return None
    variables = _variables(text, _calls(text, catalog))
    for at, token in enumerate(text.tokens):
        variable = variables.get(token.key)
        if variable is None or variable.kind != "result" or text.key(at + 1) == ".":
            continue
        if program.count("\n", 0, token.start) + 1 == line:
            if (no_list := _no_list(token.key, _of_tool(kept, variable.tool))) is not None:
                return no_list
    return None


def taken_apart(program: str, returned: Iterable[Returned], catalog: Catalog) -> str | None:
    """What a result is that a program takes apart as a list, `const [a] = await ...`, though it is none; else None."""
    kept = list(returned)
    text = _text(program) if kept else None
    if text is None:
        return None
    found = _calls(text, catalog)
    held = _variables(text, found)
    ends = {call.first: (call.written, call.tool) for call in found}
    for at, token in enumerate(text.tokens):
        if text.key(at - 1) == "=" and (one := held.get(token.key)) is not None and one.kind == "result":
            ends[at] = token.key, one.tool
    for at, (written, tool) in sorted(ends.items()):
        before = at - (text.key(at - 1) == "await")
        if (text.key(before - 1), text.key(before - 2)) == ("=", "]") and text.key(at + 1) != "[":
            if (no_list := _no_list(written, _of_tool(kept, tool))) is not None:
                return no_list
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
    own = [one for one, _ in _OWN if one.tool in tools]
    return own or [one for one in returned if one.tool in tools or None in tools]


def _with_own(returned: Iterable[Returned]) -> list[Returned]:
    return [*(own for own, _ in _OWN), *returned]


def _text(program: str) -> Brackets | None:
    """The certain part of a program; None where its brackets do not match, or where it is too long to be read."""
    return brackets(program) if len(program) <= _MOST_CHARS else None


def _missing(text: Brackets, kept: list[Returned], catalog: Catalog) -> list[Read]:
    reads = islice(_reads(text, catalog), _MOST_READS)
    return [read for read in reads if _lacks(_of_tool(kept, read.tool), read.member)]


def _no_list(written: str, results: list[Returned]) -> str | None:
    """What to say of a result that is used as a list, where all results of its tool are objects."""
    if results and all(one.whole and isinstance(one.value, dict) for one in results):
        return f"`{written}` is no list: {described(results)}"
    return None


def _of_tool(returned: list[Returned], tool: str | None) -> list[Returned]:
    others = (one for one in returned if not one.tool.startswith("codemode."))
    return list(others) if tool is None else [one for one in returned if one.tool == tool]


def _lacks(results: list[Returned], member: str) -> bool:
    """Whether no result has a member; False where that is not known."""
    return bool(results) and not any(_may_have(one, member) for one in results)


def _may_have(one: Returned, member: str) -> bool:
    if not one.whole:
        return not one.encoded.startswith(b'"') or member in _OF_TEXTS
    value = one.value
    if isinstance(value, dict):
        return member in value or member in _OF_OBJECTS
    if isinstance(value, list):
        return member in _OF_ARRAYS or member.isdecimal()
    if isinstance(value, str):
        return member in _OF_TEXTS or member.isdecimal()
    return value is None or member in _OF_OBJECTS or member in ("toFixed", "toPrecision")


def _shape(one: Returned) -> str:
    """What a result is, in words."""
    for own, words in _OWN:
        if one is own:
            return words
    if not one.whole:
        return {"{": "a large object", "[": "a large array", '"': "a long text"}.get(chr(one.encoded[0]), "a value")
    value = one.value
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


def _names(value: dict[str, object]) -> str:
    names = [name if len(name) <= _NAME_CHARS else name[: _NAME_CHARS - 1] + "…" for name in list(value)[:_MOST_NAMES]]
    return ", ".join(names) + (f" and {len(value) - len(names)} more" if len(names) < len(value) else "")


# --- the text of a program -----------------------------------------------------------------------------------------


class _Held(NamedTuple):
    """What a variable holds: the result of a tool, a list of its results, or the promise of one.

    `tool`: its path; None where only a run can tell.
    """

    tool: str | None
    kind: str = "result"


class _Call(NamedTuple):
    """A call of a tool: its first token, its opening parenthesis, and the token after it."""

    first: int
    opening: int
    end: int
    tool: str | None

    @property
    def written(self) -> str:
        return f"await {_OF_NEEDS}" if self.tool == _OF_NEEDS else f"await {self.tool or '…'}(…)"


def _reads(text: Brackets, catalog: Catalog) -> Iterator[Read]:
    found = _calls(text, catalog)
    held = _variables(text, found)
    for at, token in enumerate(text.tokens):
        variable = held.get(token.key)
        if variable is None or (text.key(at - 1) == "." and text.key(at - 2) != "."):
            continue
        result = _result(text, at, variable.kind)
        if result is None:
            continue
        written, end = result
        if (member := _member(text, end)) is not None:
            name, after = member
            if not (text.key(after) == "=" and text.key(after + 1) not in ("=", ">")):
                fallback = _has_fallback(text, after, token.key)
                yield Read(f"{written}.{name}", name, variable.tool, token.start, fallback)
        elif variable.kind == "result":
            for name in _destructured(text, at):
                yield Read(name, name, variable.tool, token.start)
    for call in found:
        if text.key(call.first - 1) == "await":
            yield from _reads_of_call(text, call)


def _reads_of_call(text: Brackets, call: _Call) -> Iterator[Read]:
    start = text.tokens[call.first].start
    if text.key(call.end) == ")" and (member := _member(text, call.end + 1)) is not None:
        yield Read(f"({call.written}).{member[0]}", member[0], call.tool, start)
    for name in _destructured(text, call.first - 1):
        yield Read(name, name, call.tool, start)


def _result(text: Brackets, at: int, kind: str) -> tuple[str, int] | None:
    """How a result is written that a variable holds, and the index of the token after it; None where none is read."""
    written = text.key(at)
    if kind == "list":
        end = text.after(at + 1) if text.key(at + 1) == "[" else None
        return None if end is None else (f"{written}[…]", end)
    if kind == "promise":
        is_awaited = text.key(at - 1) == "await" and text.key(at - 2) == "(" and text.key(at + 1) == ")"
        return (f"(await {written})", at + 2) if is_awaited else None
    return written, at + 1


def _variables(text: Brackets, found: list[_Call]) -> dict[str, _Held]:
    """The variables that hold what calls of tools return."""
    held: dict[str, _Held] = {}
    for call in found:
        before = call.first - (text.key(call.first - 1) == "await")
        if text.key(before - 1) == "=" and is_name(text.key(before - 2)) and text.key(call.end) not in (".", "?", "["):
            kind = "list" if call.tool == _OF_NEEDS else "result"
            held[text.key(before - 2)] = _Held(call.tool, "promise" if before == call.first else kind)
        if text.key(call.end) == "." and text.key(call.end + 1) == "then" and text.key(call.end + 2) == "(":
            if (parameter := _parameter(text, call.end + 3)) is not None:
                held[parameter] = _Held(call.tool)
        if call.tool == _OF_NEEDS and text.key(before - 1) == "=" and text.key(before - 2) == "]":
            names = _listed(text, text.pairs.get(before - 2, before - 2), before - 2)
            held |= {name: _Held(call.tool) for name in names if name}
    held |= _together(text, found)
    for at, token in enumerate(text.tokens):
        variable = held.get(token.key)
        if variable is not None and (name := _handed_to(text, at, variable.kind)) is not None:
            held[name] = _Held(variable.tool)
    return held


def _handed_to(text: Brackets, at: int, kind: str) -> str | None:
    """The variable that gets a result out of one that holds a promise or a list; None when there is none."""
    if kind == "promise":
        is_awaited = text.key(at - 1) == "await" and text.key(at - 2) == "=" and is_name(text.key(at - 3))
        return text.key(at - 3) if is_awaited and text.key(at + 1) not in (".", "?", "[") else None
    if kind != "list":
        return None
    if text.key(at - 1) == "of" and text.key(at + 1) == ")" and is_name(text.key(at - 2)):
        return text.key(at - 2)
    if text.key(at + 1) == "." and text.key(at + 2) in _EACH and text.key(at + 3) == "(":
        return _parameter(text, at + 4)
    return None


def _together(text: Brackets, found: list[_Call]) -> dict[str, _Held]:
    """The variables of `const [a, b] = await Promise.all([...])` and `const list = await Promise.all(x.map(...))`."""
    held: dict[str, _Held] = {}
    for at, token in enumerate(text.tokens):
        opening, before = at + 3, at - 1
        if token.key != "Promise" or text.key(at + 2) != "all" or text.key(opening) != "(":
            continue
        end = text.after(opening)
        if end is None or text.key(before) != "await" or text.key(before - 1) != "=":
            continue
        inner = [call for call in found if opening < call.first < end]
        if text.key(opening + 1) == "[" and text.key(before - 2) == "]" and before - 2 in text.pairs:
            names = _listed(text, text.pairs[before - 2], before - 2)
            for place, first in enumerate(_items(text, opening + 1)):
                call = next((one for one in inner if one.first == first), None)
                if call is not None and place < len(names) and names[place]:
                    held[names[place]] = _Held(call.tool)
        elif is_name(text.key(before - 2)) and len(inner) == 1 and _is_handed_on(text, inner[0], end):
            held[text.key(before - 2)] = _Held(inner[0].tool, "list")
    return held


def _is_handed_on(text: Brackets, call: _Call, end: int) -> bool:
    """Whether a call is all that the function of a `map` within `Promise.all(...)` returns."""
    before = call.first - (text.key(call.first - 1) == "await")
    return text.key(before - 1) == ">" and text.key(before - 2) == "=" and call.end + 2 == end


def _items(text: Brackets, opening: int) -> Iterator[int]:
    """The first token of each item of a list."""
    depth, closing = text.depths[opening] + 1, text.pairs.get(opening, opening)
    for at in range(opening + 1, closing):
        if text.depths[at] == depth and (at == opening + 1 or text.key(at - 1) == ","):
            yield at


def _listed(text: Brackets, opening: int, closing: int) -> list[str]:
    """The names in `[a, b]`, "" for what is no plain name."""
    return [
        text.key(at) if is_name(text.key(at)) and text.key(at + 1) in (",", "]") else "" for at in _items(text, opening)
    ]


def _parameter(text: Brackets, at: int) -> str | None:
    """The name of the first parameter of the function at a token."""
    at += text.key(at) == "async"
    at += text.key(at) == "("
    return text.key(at) if is_name(text.key(at)) and text.key(at + 1) in (")", ",", "=") else None


def _calls(text: Brackets, catalog: Catalog) -> list[_Call]:
    """The calls of tools, and of the functions of `codemode`, in the order of the program."""
    literal = calls(text)
    found: list[_Call] = []
    for at, token in enumerate(text.tokens):
        if token.key != "(" or (end := text.after(at)) is None:
            continue
        first = _first(text, at)
        members = literal.get(at)
        if members is None and text.key(first) == "tools":
            members = tuple(text.key(index) for index in range(first + 2, at, 2) if is_name(text.key(index)))
        if members:
            tool = _tool(members, catalog)
            tool = _OF_NEEDS if tool == "codemode.search" and text.key(at + 1) == "[" else tool
            if tool is not None:
                found.append(_Call(first, at, end, tool))
        elif text.key(at - 1) == "]" and text.key(first) in ("codemode", "tools"):
            found.append(_Call(first, at, end, None))
    return found


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


def _tool(members: tuple[str, ...], catalog: Catalog) -> str | None:
    """The path of the tool that is called, or the function of `codemode`; None for something else."""
    if members[0] in _FUNCTIONS and len(members) == 1:
        return f"codemode.{members[0]}"
    keys = catalog.names.resolve(".".join(members))
    return catalog.names.path(*keys[0]) if len(keys) == 1 else None


def _member(text: Brackets, at: int) -> tuple[str, int] | None:
    """The member that is read there, `.a`, `?.a` or `["a"]`, and the index of the token after it."""
    at += text.key(at) == "?" and text.key(at + 1) == "."
    if text.key(at) == "." and is_name(text.key(at + 1)):
        return text.key(at + 1), at + 2
    if text.key(at) == "[" and text.key(at + 1)[:1] == '"' and text.key(at + 2) == "]":
        return text.key(at + 1)[1:], at + 3
    return None


def _destructured(text: Brackets, value: int) -> list[str]:
    """The names in `const {a, b: c} =` before a value; none where one has a default."""
    if text.key(value - 1) != "=" or text.key(value - 2) != "}":
        return []
    opening = text.pairs.get(value - 2)
    if opening is None or text.key(opening - 1) not in _DECLARES:
        return []
    inner = range(opening + 1, value - 2)
    depth = text.depths[opening] + 1
    if any(text.key(at) == "=" for at in inner):
        return []
    return [
        text.key(at)
        for at in inner
        if text.depths[at] == depth and text.key(at - 1) in ("{", ",") and is_name(text.key(at))
    ]


def _knows(text: Brackets, around: list[int | None], at: int, read: Read, results: list[Returned]) -> bool:
    """Whether a program knows the result at a token in another way than by a member that it lacks: it reads one that is
    there, makes the missing one, uses the result as a whole, or has something else of the same name."""
    taken = _destructured(text, at - 1) if text.key(at - 1) == "await" else _destructured(text, at)
    if any(not _lacks(results, name) for name in taken):
        return True
    if text.key(at + 1) == "." and text.key(at) in ("codemode", "tools"):
        return False
    name = text.key(at)
    uses = (
        index
        for index, token in enumerate(text.tokens)
        if token.key == name and (text.key(index - 1) != "." or text.key(index - 2) == ".")
    )
    for index in uses:
        if (member := _member(text, index + 1)) is not None:
            is_made = text.key(member[1]) == "=" and text.key(member[1] + 1) not in ("=", ">")
            if (is_made and member[0] == read.member) or not (is_made or _lacks(results, member[0])):
                return True
        elif _is_foreign(text, around[index], index) or _is_whole(text, around[index], index, results):
            return True
    return False


def _is_failure_test(text: Brackets, at: int, member: str) -> bool:
    """Whether a member is read there to see whether a call failed, as `r.isError` or `r.ok === false`: without it none
    did."""
    if member == "isError":
        return text.key(at - 1) in ("(", "!", "&", "|")
    found = _member(text, at + 1)
    if found is None:
        return False
    after = [text.key(index) for index in range(found[1], found[1] + 4)]
    return after[:2] == ["=", "="] and bool({"false", '"error', '"failed'}.intersection(after[2:]))


def _is_foreign(text: Brackets, opening: int | None, at: int) -> bool:
    """Whether a variable becomes something else than the result of a call there, or is the parameter of a function that
    no method of a list, and no `then`, is given. `opening`: the bracket around it."""
    if text.key(at + 1) == "=" and text.key(at + 2) not in ("=", ">"):
        return text.key(at - 1) not in _DECLARES and text.key(at + 2) not in ("await", "codemode", "tools")
    first = at
    if text.key(at + 1) != "=" or text.key(at + 2) != ">":
        end = None if opening is None or text.key(opening) != "(" else text.after(opening)
        if opening is None or end is None:
            return False
        if text.key(opening - 1) == "function" or text.key(opening - 2) == "function":
            return True
        if text.key(end) != "=" or text.key(end + 1) != ">":
            return False
        first = opening
    first -= text.key(first - 1) == "async"
    return text.key(first - 1) != "(" or text.key(first - 2) not in _EACH | {"then"}


def _is_whole(text: Brackets, opening: int | None, at: int, results: list[Returned]) -> bool:
    """Whether a variable is used there as it is, and neither looked at nor tested for a type that no result has."""
    before, after = text.key(at - 1), text.key(at + 1)
    if after in ("&", "|", "?", "=", "!", ">", "<"):
        return False
    if before == "return":
        return not _fails_test(text, at - 2 - (text.key(at - 2) == "{"), results)
    if before == "?" and text.key(at - 2) != "?":
        return not _fails_test(text, at - 2, results)
    if before == "=":
        return text.key(at - 2) not in ("}", "=")
    if before in ("(", ","):
        end = None if opening is None else text.after(opening)
        if opening is None or end is None or (text.key(end) == "=" and text.key(end + 1) == ">"):
            return False
        return text.key(opening - 1) not in _LOOKS
    return before in (":", "?", "|", ".", "of")


def _fails_test(text: Brackets, closing: int, results: list[Returned]) -> bool:
    """Whether the parenthesis that ends at a token has a test that none of these results passes."""
    opening = text.pairs.get(closing)
    if opening is None or text.key(closing) != ")":
        return False
    keys = {text.key(index) for index in range(opening - 1, closing)}
    if "isArray" in keys:
        return not any(isinstance(one.value, list) for one in results)
    if "typeof" in keys and '"string' in keys:
        return not any(isinstance(one.value, str) for one in results)
    return "!" in keys


def _brackets_around(text: Brackets) -> list[int | None]:
    """For each token the index of the bracket around it; None where there is none."""
    around: list[int | None] = []
    stack: list[int] = []
    for at, depth in enumerate(text.depths):
        del stack[depth:]
        around.append(stack[-1] if stack else None)
        if text.pairs.get(at, -1) > at:
            stack.append(at)
    return around


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
