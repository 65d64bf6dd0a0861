"""Mistakes that are certain from a program's text alone: tools that do not exist, results that are never awaited.

A false alarm costs more than a miss, which the run reports a moment later. So there is no finding where the program
could be right: for a name that may be a variable, a path behind a test, a `try` or a `catch`, a promise used as one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from codemode.catalog import Catalog
from codemode.check.brackets import Brackets, brackets
from codemode.check.finding import MAX_FINDINGS, MAX_MESSAGE_CHARS, MISSING_AWAIT, UNKNOWN_TOOL, Finding, place
from codemode.check.paths import Path, enumerates_codemode, is_global, is_name, paths
from codemode.erasure import same_program
from codemode.tokens import tokenize
from stubs import ToolKey

_LITERAL = re.compile(r"codemode\s*(?:\.\s*([\w$]+)\s*(?:\.\s*([\w$]+))?|(?P<other>\S))")
# The text before a call whose promise gets a name, is destructured or looped over.
_BEFORE_USE = re.compile(r"(?:=|\bof)\s*\Z")
# `await codemode.a.b({...}).items` awaits the member, not the call.
_MEMBER_OF_CALL = re.compile(
    r"\s*\((?:[^()]++|\((?:[^()]++|\((?:[^()]++|\([^()]*+\))*+\))*+\))*+\)\s*\.\s*(?!then\b|catch\b|finally\b)[A-Za-z_$]"
)
GENERIC_CALLS = frozenset("call callTool call_tool execute executeTool invoke invokeTool run runTool use".split())
HOW_TO_CALL = "Call a tool as codemode.<server>.<tool>(input), or by a path that search gave: codemode[path](input)."
_FUNCTIONS = frozenset({"search", "describe", "tools", "emit"})
MEMBERS = _FUNCTIONS | {"step", "runs", "portal"}
# The members of every object, and those that the language itself reads.
_INHERITED = frozenset(
    "constructor hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf then toJSON "
    "prototype".split()
)
_OF_PROMISES = _INHERITED | {"then", "catch", "finally"}
_HANDLERS = frozenset({"try", "catch", "allSettled", "then", "finally"})
_MOST_SUGGESTIONS = 3
_FAR = 60  # tokens within which a statement must begin to be certain of it
_MOST_PATHS = 300
MAX_CHARS = 32 * 1024
"""Larger programs are not checked: the run finds their mistakes."""


def suspicious(program: str, catalog: Catalog) -> bool:
    """Whether `certain_findings` may find anything. A quick test, which tells no for most programs."""
    if len(program) > MAX_CHARS:
        return False
    for match in _LITERAL.finditer(program):
        server, tool = match[1], match[2]
        if match["other"] or _BEFORE_USE.search(program, max(0, match.start() - 20), match.start()):
            return True
        if _MEMBER_OF_CALL.match(program, match.end()):
            return True
        if not exists(catalog, (server, tool) if tool else (server,)):
            return True
    return False


def certain_findings(program: str, catalog: Catalog, printed: Callable[[str], str | None]) -> list[Finding]:
    """The mistakes, in the order of the program.

    `printed` reprints a program without comments, or returns None for a syntax error. It tells code from text: a
    finding must be about code.
    """
    text = brackets(program) if len(program) <= MAX_CHARS else None
    if text is None or not is_global(text):
        return []
    kinds = (_unknown_tools(text, catalog), _missing_awaits(text, catalog))
    mistakes = sorted((one for kind in kinds for one in islice(kind, MAX_FINDINGS)), key=lambda one: one.offset)
    mistakes = mistakes[:MAX_FINDINGS]
    if not mistakes or not _are_names(program, {one.offset for one in mistakes}, printed):
        return []
    return [_finding(program, one) for one in mistakes]


class _Mistake(NamedTuple):
    """A mistake at an offset; `stub` is the signature of the tool it is about."""

    offset: int
    code: str
    message: str
    stub: str | None


def _finding(program: str, mistake: _Mistake) -> Finding:
    line, column = place(program, mistake.offset)
    return Finding(line, column, mistake.code, mistake.message[:MAX_MESSAGE_CHARS], mistake.stub)


def _are_names(program: str, offsets: set[int], printed: Callable[[str], str | None]) -> bool:
    """Whether a name begins at each offset, not a part of a string, a regular expression or a comment.

    A comment in front of a name does not change the program; another letter in front of it does.
    """
    plain, commented = printed(program), printed(_with_insertions(program, offsets, "/**/"))
    if plain is None or commented is None or not same_program(plain, commented):
        return False
    renamed = printed(_with_insertions(program, offsets, "_"))
    before, after = tokenize(plain), tokenize(renamed or "")
    changes = sum(one.key != other.key for one, other in zip(before, after, strict=False))
    return len(before) == len(after) and changes == len(offsets)


def _with_insertions(program: str, offsets: set[int], insertion: str) -> str:
    for offset in sorted(offsets, reverse=True):
        program = program[:offset] + insertion + program[offset:]
    return program


# --- tools that do not exist ---------------------------------------------------------------------------------------


def exists(catalog: Catalog, members: tuple[str, ...]) -> bool:
    """Whether a path, as a program spells it, leads to a tool, a server or another member of `codemode`."""
    names = catalog.names
    first = members[0]
    if first in MEMBERS or first in _INHERITED or first.startswith("__") or len(names.resolve(first)) == 1:
        return True
    server_id = names.server_id(first)
    if server_id is None:
        return False
    second = members[1] if len(members) > 1 else "toString"
    if second in _INHERITED or second.startswith("__"):
        return True
    return (
        second in names.tools[server_id] or second.removeprefix(f"{names.server(server_id)}.") in names.tools[server_id]
    )


def unknown_tool(catalog: Catalog, members: tuple[str, ...]) -> tuple[str, str | None]:
    """The message for a path that does not exist, as a run would throw it, and the path of the nearest tool."""
    written = ".".join(members)
    sentence = f"codemode.{written} does not exist"
    if reason := catalog.missing(written):
        return f"{sentence}: {reason}.", None
    if len(keys := catalog.names.shortcut(written)) > 1:
        sentence = f"codemode.{written} means several tools and therefore does not exist"
        return _with_signatures(catalog, sentence, _paths(catalog, keys))
    if len(members) == 1 and (near := difflib.get_close_matches(written, sorted(_FUNCTIONS), n=1, cutoff=0.7)):
        return f"{sentence}. Nearest: codemode.{near[0]}", None
    if members[0] not in catalog.names.servers and len(members) > 1:
        servers = sorted(catalog.names.server(one.id) for one, _ in catalog.server_tools())
        for server in difflib.get_close_matches(members[0], servers, n=1, cutoff=0.5):
            path = f"{server}.{members[1]}"
            is_tool = catalog.get(path) is not None
            return f"{sentence}. Nearest: codemode.{path if is_tool else server}", path if is_tool else None
    server_id = catalog.names.servers.get(members[0])
    own = [] if server_id is None else list(islice(catalog.names.tools[server_id], _MOST_PATHS))
    if members[-1] in GENERIC_CALLS and not difflib.get_close_matches(members[-1], own, n=1, cutoff=0.75):
        return f"{sentence}. {HOW_TO_CALL}", None
    nearest = catalog.nearest_paths(written if members[0] in catalog.names.servers else " ".join(members))
    return _with_signatures(catalog, sentence, nearest) if nearest else (f"{sentence}. {catalog.server_list()}", None)


def _paths(catalog: Catalog, keys: Iterable[ToolKey]) -> list[str]:
    return sorted(catalog.names.path(*key) for key in keys)


def _with_signatures(catalog: Catalog, sentence: str, nearest: list[str]) -> tuple[str, str]:
    """The message with as many signatures of the nearest tools as have room, then with paths; and the nearest path."""
    message = f"{sentence}. Nearest:"
    for position, path in enumerate(nearest[:_MOST_SUGGESTIONS]):
        line = catalog.signature(path)
        room = MAX_MESSAGE_CHARS - len(message) - len(line)
        message += f"\n  {line if room > 50 or not position else 'codemode.' + path}"
    return message, nearest[0]


def _unknown_tools(text: Brackets, catalog: Catalog) -> Iterator[_Mistake]:
    all_paths = list(islice(paths(text), _MOST_PATHS))
    # A program that asks which servers there are may never take a wrong path.
    if enumerates_codemode(text):
        return
    in_paths = {index for path in all_paths for index in range(path.first, path.end)}
    strings = {token.key[1:] for at, token in enumerate(text.tokens) if token.key[0] == '"' and at not in in_paths}
    guarded = {path.members[0] for path in all_paths if _is_test(text, path)}
    catches = any(token.key in _HANDLERS for token in text.tokens)
    level = _program_level(text)
    for path in all_paths:
        if exists(catalog, path.members) or text.key(path.end) != "(" or path.members[0] in guarded:
            continue
        # A string with the same name may be part of a test that the program makes first.
        spellings = {*path.members, path.written, "_".join(path.members)}
        if spellings & strings or (catches and not _runs_at_once(text, path.first, level)):
            continue
        message, nearest = unknown_tool(catalog, path.members)
        stub = catalog.signature(nearest) if nearest else None
        yield _Mistake(text.tokens[path.first].start, UNKNOWN_TOOL, message, stub)


def _is_test(text: Brackets, path: Path) -> bool:
    """Whether a program tests a path rather than calling it."""
    before, after = text.key(path.first - 1), text.key(path.end)
    return before in ("typeof", "!", "delete") or after in ("?", "&", "|", "=", "!") or (after == ")" and before == "(")


def _runs_at_once(text: Brackets, index: int, level: int) -> bool:
    """Whether a token belongs to a statement of the program itself, and not to a function."""
    if text.depths[index] != level:
        return False
    for earlier in range(index - 1, max(-1, index - _FAR), -1):
        if text.depths[earlier] < level or (text.depths[earlier] == level and text.key(earlier) in (";", "}")):
            return True
        if text.key(earlier) == ">" and text.key(earlier - 1) == "=":
            return False
    return index <= _FAR


def _program_level(text: Brackets) -> int:
    """The number of brackets around the program's own statements: one when the program is a single function."""
    body = next((index for index in range(min(6, len(text.tokens))) if text.key(index) == "{"), None)
    if body is None or text.key(body - 1) != ">" or text.key(0) not in ("async", "("):
        return 0
    end = text.after(body)
    return 1 if end is not None and all(text.key(index) == ";" for index in range(end, len(text.tokens))) else 0


# --- results that are never awaited --------------------------------------------------------------------------------


def _missing_awaits(text: Brackets, catalog: Catalog) -> Iterator[_Mistake]:
    for path in islice(paths(text), _MOST_PATHS):
        stub = callee(catalog, path.members)
        if stub is None or text.key(path.end) != "(" or (end := text.after(path.end)) is None:
            continue
        use = _direct_use(text, path, end) or _use_by_name(text, path, end)
        if use is not None:
            index, remedy = use
            message = f"codemode.{path.written}(…) is a Promise here: {remedy}"
            yield _Mistake(text.tokens[index].start, MISSING_AWAIT, message, stub)


def callee(catalog: Catalog, members: tuple[str, ...]) -> str | None:
    """The signature of the tool or function that a call of this path calls; None when there is none."""
    if len(members) == 1 and members[0] in _FUNCTIONS:
        return f"codemode.{members[0]}(…): Promise<…>"
    keys = catalog.names.resolve(".".join(members))
    if len(keys) != 1 or (len(members) == 2 and len(catalog.names.shortcut(members[0])) == 1):
        return None
    return catalog.signature(catalog.names.path(*keys[0]))


def _direct_use(text: Brackets, path: Path, end: int) -> tuple[int, str] | None:
    """Where a call without `await` has a member read, is looped over or destructured; and the remedy."""
    before = text.key(path.first - 1)
    member = text.key(end + 1)
    if text.key(end) == "." and is_name(member) and member not in _OF_PROMISES:
        return path.first, f"`.{member}` of it is undefined. Write (await codemode.{path.written}(…)).{member}"
    if before == "await":
        return None
    if before == "of" and text.key(end) == ")":
        return path.first, f"it cannot be looped over. Write `of await codemode.{path.written}(…)`"
    if before == "=" and text.key(path.first - 2) in ("}", "]") and _ends_statement(text, end):
        opening = text.pairs.get(path.first - 2)
        is_declaration = opening is not None and text.key(opening - 1) in ("const", "let", "var")
        names = {text.key(index) for index in range(opening or 0, path.first - 1)}
        if is_declaration and not names & _OF_PROMISES:
            return path.first, f"nothing can be taken out of it. Write `= await codemode.{path.written}(…)`"
    return None


def _use_by_name(text: Brackets, path: Path, end: int) -> tuple[int, str] | None:
    """Where a member of `name` is read after `const name = codemode.a.b(...)`; and the remedy."""
    name = text.key(path.first - 2)
    if text.key(path.first - 1) != "=" or text.key(path.first - 3) != "const" or not is_name(name):
        return None
    if not _ends_statement(text, end):
        return None
    use: tuple[int, str] | None = None
    for index, token in enumerate(text.tokens):
        if token.key != name or index == path.first - 2 or text.key(index - 1) == ".":
            continue
        member = text.key(index + 2)
        if text.key(index + 1) == "." and is_name(member):
            is_target = text.key(index + 3) == "=" and text.key(index + 4) != "="
            is_test = text.key(index - 1) == "typeof"
            if use is None and index > end and member not in _OF_PROMISES and not is_target and not is_test:
                fix = f"Write `const {name} = await codemode.{path.written}(…)`"
                use = index, f"`{name}.{member}` is undefined. {fix}"
        elif text.key(index - 1) not in ("await", "return") or text.key(index + 1) in ("=", ":"):
            # The promise itself is used, or another variable has the same name.
            return None
    return use


def _ends_statement(text: Brackets, index: int) -> bool:
    """Whether a statement ends before this token: a semicolon, an end, or a word that begins another statement."""
    key = text.key(index)
    return key in (";", "}", "") or (is_name(key) and key not in ("in", "instanceof", "as", "satisfies", "of"))
