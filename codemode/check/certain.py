"""Mistakes that are certain from a program's text alone: tools that do not exist, results that were never awaited.

A wrong accusation costs more than a miss, which the run tells a moment later. So nothing is said where the program
could be right: a name that might be a variable, a path behind a test, a `try` or a `catch`, a promise used as one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from codemode.catalog import Catalog
from codemode.check.brackets import Brackets, brackets
from codemode.check.finding import MAX_FINDINGS, MAX_MESSAGE_CHARS, MISSING_AWAIT, UNKNOWN_TOOL, Finding, place
from codemode.check.paths import Path, is_global, is_name, looks_around, paths
from codemode.erasure import same_program
from codemode.tokens import tokenize
from stubs import ToolKey

_LITERAL = re.compile(r"codemode\s*(?:\.\s*([\w$]+)\s*(?:\.\s*([\w$]+))?|(?P<other>\S))")
# What stands before a call whose promise is given a name, taken apart or looped over.
_TAKEN = re.compile(r"(?:=|\bof)\s*\Z")
# `await codemode.a.b({...}).items` looks like an awaited call.
_MEMBER_OF_CALL = re.compile(
    r"\s*\((?:[^()]++|\((?:[^()]++|\((?:[^()]++|\([^()]*+\))*+\))*+\))*+\)\s*\.\s*(?!then\b|catch\b|finally\b)[A-Za-z_$]"
)
_FUNCTIONS = frozenset({"search", "describe", "tools", "emit"})
# What every object answers to, and what the language asks of an object by itself.
_INHERITED = frozenset(
    "constructor hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf then toJSON".split()
)
_OF_PROMISES = _INHERITED | {"then", "catch", "finally"}
_HANDLERS = frozenset({"try", "catch", "allSettled", "then", "finally"})
_MOST_NAMED = 3
_FAR = 60
_MOST_PATHS = 300
MAX_CHARS = 32 * 1024
"""Larger programs are left to the run."""


def suspicious(program: str, catalog: Catalog) -> bool:
    """Whether `certain_findings` might find anything: a quick look that most programs pass."""
    if len(program) > MAX_CHARS:
        return False
    for match in _LITERAL.finditer(program):
        server, tool = match[1], match[2]
        if match["other"] or _TAKEN.search(program, max(0, match.start() - 20), match.start()):
            return True
        if _MEMBER_OF_CALL.match(program, match.end()):
            return True
        if not exists(catalog, (server, tool) if tool else (server,)):
            return True
    return False


def certain_findings(program: str, catalog: Catalog, printed: Callable[[str], str | None]) -> list[Finding]:
    """The mistakes, in the order of the program.

    `printed` reprints a program without comments, None when it has no meaning: a finding must be about code.
    """
    text = brackets(program) if len(program) <= MAX_CHARS else None
    if text is None or not is_global(text):
        return []
    both = (_unknown_tools(text, catalog), _unawaited(text, catalog))
    found = sorted((one for kind in both for one in islice(kind, MAX_FINDINGS)), key=lambda one: one[0])[:MAX_FINDINGS]
    if not found or not _all_code(program, [offset for offset, _, _, _ in found], printed):
        return []
    return [_finding(program, *one) for one in found]


Found = tuple[int, str, str, str | None]
"""Offset, code, message, and the path of the tool it is about."""


def _finding(program: str, offset: int, code: str, message: str, stub: str | None) -> Finding:
    line, column = place(program, offset)
    return Finding(line, column, code, message[:MAX_MESSAGE_CHARS], stub)


def _all_code(program: str, offsets: list[int], printed: Callable[[str], str | None]) -> bool:
    """Whether a name stands at each offset, not a part of a string, a regular expression or a comment.

    A comment put in front of a name leaves the program as it is; another letter in front of it does not.
    """
    plain, commented = printed(program), printed(_with(program, offsets, "/**/"))
    if plain is None or commented is None or not same_program(plain, commented):
        return False
    renamed = printed(_with(program, offsets, "_"))
    before, after = tokenize(plain), tokenize(renamed or "")
    changed = sum(one.key != other.key for one, other in zip(before, after, strict=False))
    return len(before) == len(after) and changed == len(set(offsets))


def _with(program: str, offsets: list[int], inserted: str) -> str:
    for offset in sorted(set(offsets), reverse=True):
        program = program[:offset] + inserted + program[offset:]
    return program


# --- tools that do not exist ---------------------------------------------------------------------------------------


def exists(catalog: Catalog, members: tuple[str, ...]) -> bool:
    """Whether a path, as a program writes it, means something."""
    names = catalog.names
    first = members[0]
    if first in _FUNCTIONS or first in _INHERITED or first.startswith("__") or first in names.shortcuts:
        return True
    server_id = names.servers.get(first)
    if server_id is None:
        return False
    second = members[1] if len(members) > 1 else "toString"
    return second in names.tools[server_id] or second in _INHERITED or second.startswith("__")


def unknown_tool(catalog: Catalog, members: tuple[str, ...]) -> tuple[str, str | None]:
    """The sentence for a path that means nothing, as a run would throw it, and the path of the nearest tool."""
    written = ".".join(members)
    failed = f"codemode.{written} does not exist"
    if missing := catalog.missing(written):
        return f"{failed}: {missing}.", None
    if keys := catalog.names.ambiguous.get(written, ()):
        failed = f"codemode.{written} means several tools and therefore does not exist"
        return _listed(catalog, failed, _paths(catalog, keys))
    if len(members) == 1 and (near := difflib.get_close_matches(written, sorted(_FUNCTIONS), n=1, cutoff=0.7)):
        return f"{failed}. Nearest: codemode.{near[0]}", None
    if members[0] not in catalog.names.servers and len(members) > 1:
        servers = sorted({catalog.names.server(one.id) for one in catalog.servers})
        for server in difflib.get_close_matches(members[0], servers, n=1, cutoff=0.5):
            its = f"{server}.{members[1]}"
            known = catalog.get(its) is not None
            return f"{failed}. Nearest: codemode.{its if known else server}", its if known else None
    found = catalog.nearest_paths(written if members[0] in catalog.names.servers else " ".join(members))
    return _listed(catalog, failed, found) if found else (f"{failed}. {catalog.server_list()}", None)


def _paths(catalog: Catalog, keys: Iterable[ToolKey]) -> list[str]:
    return sorted(catalog.names.path(*key) for key in keys)


def _listed(catalog: Catalog, failed: str, found: list[str]) -> tuple[str, str]:
    """The signatures of the nearest tools, as many as there is room for; the names of more."""
    message = f"{failed}. Nearest:"
    for position, path in enumerate(found[:_MOST_NAMED]):
        line = catalog.signature(path)
        room = MAX_MESSAGE_CHARS - len(message) - len(line)
        message += f"\n  {line if room > 50 or not position else 'codemode.' + path}"
    return message, found[0]


def _unknown_tools(text: Brackets, catalog: Catalog) -> Iterator[Found]:
    written = list(islice(paths(text), _MOST_PATHS))
    if looks_around(text):
        return
    used = {index for path in written for index in range(path.first, path.end)}
    strings = {token.key[1:] for index, token in enumerate(text.tokens) if token.key[0] == '"' and index not in used}
    guarded = {path.members[0] for path in written if _is_test(text, path)}
    handled = any(token.key in _HANDLERS for token in text.tokens)
    level = _program_level(text)
    for path in written:
        if exists(catalog, path.members) or text.key(path.end) != "(" or path.members[0] in guarded:
            continue
        spellings = {*path.members, path.written, "_".join(path.members)}
        if spellings & strings or (handled and not _runs_at_once(text, path.first, level)):
            continue
        message, nearest = unknown_tool(catalog, path.members)
        stub = catalog.signature(nearest) if nearest else None
        yield text.tokens[path.first].start, UNKNOWN_TOOL, message, stub


def _is_test(text: Brackets, path: Path) -> bool:
    """Whether a path is looked at rather than called."""
    before, after = text.key(path.first - 1), text.key(path.end)
    return before in ("typeof", "!", "delete") or after in ("?", "&", "|", "=", "!") or (after == ")" and before == "(")


def _runs_at_once(text: Brackets, index: int, level: int) -> bool:
    """Whether a token belongs to a statement of the program itself, not to a function that is called elsewhere."""
    if text.depths[index] != level:
        return False
    for earlier in range(index - 1, max(-1, index - _FAR), -1):
        if text.depths[earlier] < level or (text.depths[earlier] == level and text.key(earlier) in (";", "}")):
            return True
        if text.key(earlier) == ">" and text.key(earlier - 1) == "=":
            return False
    return index <= _FAR


def _program_level(text: Brackets) -> int:
    """How many brackets are open around the program's own statements: one when it is a single function."""
    body = next((index for index in range(min(6, len(text.tokens))) if text.key(index) == "{"), None)
    if body is None or text.key(body - 1) != ">" or text.key(0) not in ("async", "("):
        return 0
    end = text.after(body)
    return 1 if end is not None and all(text.key(index) == ";" for index in range(end, len(text.tokens))) else 0


# --- results that were never awaited -------------------------------------------------------------------------------


def _unawaited(text: Brackets, catalog: Catalog) -> Iterator[Found]:
    for path in islice(paths(text), _MOST_PATHS):
        stub = called_tool(catalog, path.members)
        if stub is None or text.key(path.end) != "(" or (end := text.after(path.end)) is None:
            continue
        found = _used_at_once(text, path, end) or _used_by_name(text, path, end)
        if found is not None:
            index, how = found
            call = f"codemode.{path.written}(…)"
            message = f"{call} is a Promise here: {how}"
            yield text.tokens[index].start, MISSING_AWAIT, message, stub


def called_tool(catalog: Catalog, members: tuple[str, ...]) -> str | None:
    """The signature of what a call of this path calls; None when it is no tool."""
    if len(members) == 1 and members[0] in _FUNCTIONS:
        return f"codemode.{members[0]}(…): Promise<…>"
    keys = catalog.names.resolve(".".join(members))
    if len(keys) != 1 or (len(members) == 2 and members[0] in catalog.names.shortcuts):
        return None
    return catalog.signature(catalog.names.path(*keys[0]))


def _used_at_once(text: Brackets, path: Path, end: int) -> tuple[int, str] | None:
    """A member read from a call that was not awaited, a loop over one, or a pattern taken from one."""
    before, awaited = text.key(path.first - 1), text.key(path.first - 1) == "await"
    member = text.key(end + 1)
    if text.key(end) == "." and is_name(member) and member not in _OF_PROMISES:
        shown = f"(await codemode.{path.written}(…)).{member}"
        return path.first, f"`.{member}` of it is undefined. Write {shown}"
    if awaited:
        return None
    if before == "of" and text.key(end) == ")":
        return path.first, f"it cannot be looped over. Write `of await codemode.{path.written}(…)`"
    if before == "=" and text.key(path.first - 2) in ("}", "]") and _ends_statement(text, end):
        opened = text.pairs.get(path.first - 2)
        declared = opened is not None and text.key(opened - 1) in ("const", "let", "var")
        inside = {text.key(index) for index in range(opened or 0, path.first - 1)}
        if declared and not inside & _OF_PROMISES:
            return path.first, f"nothing can be taken out of it. Write `= await codemode.{path.written}(…)`"
    return None


def _used_by_name(text: Brackets, path: Path, end: int) -> tuple[int, str] | None:
    """`const found = codemode.a.b(...)` whose members are read later; where they are."""
    name = text.key(path.first - 2)
    if text.key(path.first - 1) != "=" or text.key(path.first - 3) != "const" or not is_name(name):
        return None
    if not _ends_statement(text, end):
        return None
    read: tuple[int, str] | None = None
    for index, token in enumerate(text.tokens):
        if token.key != name or index == path.first - 2 or text.key(index - 1) == ".":
            continue
        member = text.key(index + 2)
        if text.key(index + 1) == "." and is_name(member):
            assigned = text.key(index + 3) == "=" and text.key(index + 4) != "="
            tested = text.key(index - 1) == "typeof"
            if read is None and index > end and member not in _OF_PROMISES and not assigned and not tested:
                fix = f"Write `const {name} = await codemode.{path.written}(…)`"
                read = index, f"`{name}.{member}` is undefined. {fix}"
        elif text.key(index - 1) not in ("await", "return") or text.key(index + 1) in ("=", ":"):
            return None
    return read


def _ends_statement(text: Brackets, index: int) -> bool:
    """Whether a statement ends before this token: at a semicolon, at the end, or where a word begins another."""
    key = text.key(index)
    return key in (";", "}", "") or (is_name(key) and key not in ("in", "instanceof", "as", "satisfies", "of"))
