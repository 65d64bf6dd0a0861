"""Adds, replaces and removes one member of a TOML document, and leaves the rest as it is. Pure.

A document is a row of statements: headers of tables, and keys with values. What they mean is told by the parser; here
is only where each begins and ends, so that text can be put between them or taken out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from portal.config.document import toml_key
from portal.config.json_members import line_end

_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*+'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|#[^\n]*+"
    r"|\r?\n"
    r"|[ \t]++"
    r"|[^\s\"'#\[\]{},=]++"
    r"|.",
    re.DOTALL,
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACES = re.compile(r"[ \t]*+")
_LINE_END = re.compile(r"\r?\n")
_BLANK_LINE = re.compile(r"[ \t]*\r?\n")
_ENDS_LINE = re.compile(r"[ \t]*(?:\r?\n[ \t]*(?:\r?\n|\Z)|\Z)")
_COMMENT_LINE = re.compile(r"\r?\n[ \t]*#[^\r\n]*")

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Statement:
    """A header, or a key with its value.

    `start` is the beginning of its line; `key` where its key begins; `value` where its value begins, and `end` after it
    (of a header both are after its brackets); `line` is after the comment behind it, before the end of the line. `path`
    is that of the table or value, in which elements of arrays are numbers.
    """

    header: bool
    path: Path
    under: int
    start: int
    key: int
    value: int
    end: int
    line: int


def with_toml_member(text: str, path: Sequence[str], value: object) -> str:
    """The document with this member. Tables on the way that are not there are made. The text is a document whose values
    on the way are tables."""
    statements, target = _statements(text), tuple(path)
    exact = next((one for one in statements if not one.header and one.path == target), None)
    if exact is not None:
        return text[: exact.value] + _written(value) + text[exact.end :]
    holder = _inline_holder(statements, target)
    if holder is not None:
        return _with_inline(text, holder.value, target[len(holder.path) :], value)
    own = next((at for at, one in enumerate(statements) if _is_below(one.path, target)), None)
    if own is None:
        return _added(text, statements, target, value)
    if not (isinstance(value, Mapping) and statements[own].header):
        return with_toml_member(without_toml_member(text, path), path, value)
    end = _block_end(text, statements, own)
    for start, stop in reversed(list(_extents(text, statements, target))[1:]):
        text = text[:start] + text[stop:]
    # In the place of the first of its tables.
    return text[: statements[own].start] + _block(target, value, line_end(text)) + text[end:]


def without_toml_member(text: str, path: Sequence[str]) -> str:
    """The document without this member, which is there."""
    statements, target = _statements(text), tuple(path)
    holder = _inline_holder(statements, target)
    if holder is not None:
        return _without_inline(text, holder.value, target[len(holder.path) :])
    for start, end in reversed(list(_extents(text, statements, target))):
        text = text[:start] + text[end:]
    return text


def _extents(text: str, statements: Sequence[_Statement], target: Path) -> Iterator[tuple[int, int]]:
    """From where to where there is something of the member: its tables as a whole, with the line before each."""
    for at, one in enumerate(statements):
        within = one.under >= 0 and _is_below(statements[one.under].path, target)
        if not _is_below(one.path, target) or within:
            continue
        start, end = one.start, one.line
        if one.header:
            end = _block_end(text, statements, at)
        before = _before_line_end(text, start)
        if one.header and before is not None and (blank := _before_line_end(text, _unspaced(text, before))) is not None:
            before = blank
        if before is None and (after := _LINE_END.match(text, end)) is not None:
            # What was first leaves no empty line at the top.
            end = after.end()
            end = blank_line.end() if one.header and (blank_line := _BLANK_LINE.match(text, end)) else end
        yield start if before is None else before, end


def _before_line_end(text: str, at: int) -> int | None:
    """Where the end of a line begins that ends at this place; None if none does."""
    if not at or text[at - 1] != "\n":
        return None
    return at - 2 if at > 1 and text[at - 2] == "\r" else at - 1


def _unspaced(text: str, at: int) -> int:
    while at and text[at - 1] in " \t":
        at -= 1
    return at


def _added(text: str, statements: Sequence[_Statement], target: Path, value: object) -> str:
    ending = line_end(text)
    depth = max((len(_common(one.path, target)) for one in statements), default=0)
    parent, rest = target[: min(depth, len(target) - 1)], target[min(depth, len(target) - 1) :]
    if isinstance(value, Mapping) or len(rest) > 1:
        table, members = (target, value) if isinstance(value, Mapping) else (target[:-1], {str(target[-1]): value})
        block = _block(table, members, ending)
        below = [at for at, one in enumerate(statements) if parent and _is_below(one.path, parent)]
        place = _block_end(text, statements, below[-1]) if below else len(text.rstrip())
        if not text[:place].strip():
            return text[:place] + block + (text[place:].lstrip(" \t") or ending)
        return text[:place] + ending * 2 + block + text[place:]
    return _with_line(text, statements, parent, str(rest[0]), value)


def _with_line(text: str, statements: Sequence[_Statement], parent: Path, name: str, value: object) -> str:
    """A key with a value that is no table, in the table `parent`."""
    ending, line = line_end(text), f"{_key(name)} = {_written(value)}"
    header = next((at for at, one in enumerate(statements) if one.header and one.path == parent), None)
    keys = [one for one in statements if not one.header and _is_below(one.path, parent)]
    if header is not None or not parent:
        own = [one for one in statements if not one.header and one.under == (-1 if header is None else header)]
        if own:
            indent = text[own[-1].start : own[-1].key]
            return text[: own[-1].line] + ending + indent + line + text[own[-1].line :]
        if header is None:
            return line + ending + text
        return text[: statements[header].line] + ending + line + text[statements[header].line :]
    above = next((one for one in statements if one.header and _is_below(one.path, parent)), None)
    dotting = [one for one in keys if one.under < 0 or not _is_below(statements[one.under].path, parent)]
    if dotting:
        # Its table is written with dotted keys, and takes no header.
        last = dotting[-1]
        base = statements[last.under].path if last.under >= 0 else ()
        dotted = ".".join(_key(str(part)) for part in parent[len(base) :])
        indent = text[last.start : last.key]
        return f"{text[: last.line]}{ending}{indent}{dotted}.{line}{text[last.line :]}"
    assert above is not None
    return text[: above.start] + f"[{_dotted(parent)}]{ending}{line}{ending}{ending}" + text[above.start :]


def _block(path: Path, members: Mapping[str, object], ending: str) -> str:
    lines = [f"[{_dotted(path)}]", *(f"{_key(name)} = {_written(value)}" for name, value in members.items())]
    return ending.join(lines)


def _block_end(text: str, statements: Sequence[_Statement], at: int) -> int:
    """Where what belongs to the header of this statement ends, with the comments right below that no table claims."""
    header = at if statements[at].header else statements[at].under
    keys = (one.line for one in statements[at:] if not one.header and one.under == header)
    place = max(keys, default=statements[at].line)
    end = place
    while (comment := _COMMENT_LINE.match(text, end)) is not None:
        end = comment.end()
    return end if _ENDS_LINE.match(text, end) else place


def _inline_holder(statements: Sequence[_Statement], target: Path) -> _Statement | None:
    """The key whose value is an inline table that has the member, or is to have it."""
    keys = (one for one in statements if not one.header and len(one.path) < len(target))
    return next((one for one in keys if _is_below(target, one.path)), None)


@dataclass(frozen=True, slots=True)
class _InlineMember:
    name: tuple[str, ...]
    start: int
    value: int
    end: int


def _inline(text: str, start: int) -> tuple[list[_InlineMember], int]:
    """The members of the inline table that begins at `start`, and where its last brace is."""
    members: list[_InlineMember] = []
    at = _ink(text, start + 1)
    while text[at] != "}":
        begin, at = at, _until(text, at, "=")
        name = toml_key(text[begin:at])
        value = _ink(text, at + 1)
        end = _until(text, value, ",}\n")
        members.append(_InlineMember(name, begin, value, _trimmed(text, end)))
        at = _ink(text, end)
        if text[at] == ",":
            at = _ink(text, at + 1)
    return members, at


def _with_inline(text: str, start: int, rest: Path, value: object) -> str:
    members, end = _inline(text, start)
    names = tuple(str(part) for part in rest)
    for one in members:
        if one.name == names:
            return text[: one.value] + _written(value) + text[one.end :]
        if names[: len(one.name)] == one.name and text[one.value] == "{":
            return _with_inline(text, one.value, rest[len(one.name) :], value)
        if one.name[: len(names)] == names:
            return _with_inline(_without_inline(text, start, rest), start, rest, value)
    dotted = next((len(_common(one.name, names)) for one in members if _common(one.name, names)), 0)
    kept, nested = (names, value) if dotted else (names[:1], _nested(names[1:], value))
    if dotted:
        # A table of dotted keys takes another of them only.
        kept, nested = names[: dotted + 1], _nested(names[dotted + 1 :], value)
    member = f"{'.'.join(map(_key, kept))} = {_written(nested)}"
    if not members:
        return f"{text[: start + 1]} {member} {text[end:]}"
    return f"{text[: members[-1].end]}, {member}{text[members[-1].end :]}"


def _without_inline(text: str, start: int, rest: Path) -> str:
    members, end = _inline(text, start)
    names = tuple(str(part) for part in rest)
    for one in members:
        if len(one.name) < len(names) and names[: len(one.name)] == one.name:
            return _without_inline(text, one.value, rest[len(one.name) :])
    while True:
        at = next((at for at, one in enumerate(members) if one.name[: len(names)] == names), None)
        if at is None:
            return text
        if len(members) == 1:
            text = text[: start + 1] + text[end:]
        elif at:
            text = text[: members[at - 1].end] + text[members[at].end :]
        else:
            text = text[: members[0].start] + text[members[1].start :]
        members, end = _inline(text, start)


def _statements(text: str) -> list[_Statement]:
    """The statements of a text that is TOML."""
    found: list[_Statement] = []
    table: Path = ()
    under = -1
    arrays: dict[Path, int] = {}
    at = 0
    while at < len(text):
        start, at = at, _spaces(text, at)
        if at == len(text) or text[at] in "#\r\n":
            at = _next_line(text, at)
            continue
        if text[at] == "[":
            double = text.startswith("[[", at)
            begin = at + 1 + double
            close = _until(text, begin, "]")
            table = _in_arrays(toml_key(text[begin:close]), arrays, opens=double)
            end = close + 1 + double
            under = -1
            key, value, header = begin, end, True
        else:
            key, equals = at, _until(text, at, "=")
            value = _spaces(text, equals + 1)
            end = _trimmed(text, _until(text, value, "#\n"))
            header = False
        path = table if header else (*table, *toml_key(text[key:equals]))
        line = _end_of_line(text, end)
        line -= text[line - 1] == "\r"
        found.append(_Statement(header, path, under, start, key, value, end, line))
        if header:
            under = len(found) - 1
        at = _next_line(text, end)
    return found


def _in_arrays(parts: tuple[str, ...], arrays: dict[Path, int], *, opens: bool) -> Path:
    """The path of a table, in which an element of an array of tables has its number."""
    path: Path = ()
    for depth, part in enumerate(parts):
        path = (*path, part)
        if opens and depth == len(parts) - 1:
            arrays[path] = arrays.get(path, -1) + 1
        if path in arrays:
            path = (*path, arrays[path])
    return path


def _until(text: str, at: int, ends: str) -> int:
    """The first of these characters that is in no string, comment, list or table, or the end of the text."""
    depth = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None
        token = found[0]
        if not depth and token[-1] in ends and len(token) <= (2 if token.endswith("\n") else 1):
            return at
        if not depth and token.startswith("#") and "#" in ends:
            return at
        depth += (token in ("[", "{")) - (token in ("]", "}"))
        at = found.end()
    return at


def _ink(text: str, at: int) -> int:
    """The next place that is neither blank nor comment."""
    while (found := _TOKEN.match(text, at)) is not None and (not found[0].strip() or found[0].startswith("#")):
        at = found.end()
    return at


def _spaces(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    assert found is not None
    return found.end()


def _trimmed(text: str, at: int) -> int:
    """Where the ink before this place ends."""
    while at and text[at - 1] in " \t\r\n":
        at -= 1
    return at


def _end_of_line(text: str, at: int) -> int:
    return end if (end := text.find("\n", at)) >= 0 else len(text)


def _next_line(text: str, at: int) -> int:
    return min(_end_of_line(text, at) + 1, len(text))


def _is_below(path: Sequence[str | int], other: Sequence[str | int]) -> bool:
    return tuple(path[: len(other)]) == tuple(other)


def _common(one: Sequence[str | int], other: Sequence[str | int]) -> list[str | int]:
    """What both begin with."""
    same: list[str | int] = []
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        same.append(a)
    return same


def _nested(names: Sequence[str], value: object) -> object:
    for name in reversed(names):
        value = {name: value}
    return value


def _dotted(path: Path) -> str:
    return ".".join(_key(str(part)) for part in path)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _written(value: object) -> str:
    """The value on one line.

    Raises:
        ValueError: TOML has no such value.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return json.dumps(value, allow_nan=False)
    if isinstance(value, Mapping):
        members = ", ".join(f"{_key(name)} = {_written(one)}" for name, one in value.items())
        return f"{{ {members} }}" if members else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    raise ValueError("TOML has no null")
