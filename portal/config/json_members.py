"""Adds, replaces and removes one member of a JSON document, and leaves the rest as it is, comments too. Pure.

Places are looked up in the text without comments and last commas, in which each character is where it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portal.config.jsonc import as_json

BLANK = " \t\r\n"
# A list of words that fits stays on its line, as people write arguments.
_WIDTH = 100
_UNIT = "  "
_COMMENT = r"//[^\n\r]*+|/\*(?:[^*]++|\*(?!/))*+\*/"
_COMMENTS = re.compile(_COMMENT, re.DOTALL)
_BETWEEN = re.compile(rf"(?:[ \t\r\n]++|{_COMMENT})*+", re.DOTALL)
_REST_OF_LINE = re.compile(rf"(?:[ \t]*+(?:{_COMMENT}))*+", re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]*+")
_SPACES = re.compile(r"[ \t]*+")
_LINE_END = re.compile(r"\r\n|\n|\r")
_decoder = json.JSONDecoder()


def is_empty(text: str) -> bool:
    """Whether there is no value, only comments and blanks."""
    ink = text.strip(BLANK)
    return not ink or (ink.startswith("/") and not as_json(ink).strip(BLANK))


def _blanked(text: str) -> str:
    """The text without comments and last commas. Looking for them takes longer than reading what has none."""
    try:
        json.loads(text)
    except ValueError:
        return as_json(text)
    return text


def line_end(text: str) -> str:
    """What ends the lines of a text: what ends its first one."""
    found = _LINE_END.search(text)
    return found[0] if found is not None else "\n"


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a member's key begins, where its value begins and ends."""

    name: str
    start: int
    value: int
    end: int


@dataclass(frozen=True, slots=True)
class _Object:
    """Where an object's braces are, and its members."""

    start: int
    end: int
    members: tuple[_Member, ...]

    def index(self, name: str) -> int | None:
        return next((at for at, member in enumerate(self.members) if member.name == name), None)


@dataclass(frozen=True, slots=True)
class _Style:
    """How the document is written: its line ends, one step of indentation, and what separates members of a line."""

    line_end: str
    unit: str
    comma: str
    colon: str


def with_json_member(text: str, path: Sequence[str], value: object) -> str:
    """The document with this member. Objects on the way that are not there are made. The text is a document whose
    values on the way are objects, or has no value at all."""
    if is_empty(text):
        style = _Style(line_end(text), _UNIT, ", ", ": ")
        before = text if not text or text.endswith(("\n", "\r")) else text + style.line_end
        return f"{before}{_written(_nested(path, value), '', style, flat=False)}{style.line_end}"
    blanked = _blanked(text)
    found = _object(blanked, _after_blanks(blanked, 0))
    style = _style(text, blanked, found)
    for depth, name in enumerate(path):
        at = found.index(name)
        if at is None:
            return _added(text, found, name, _nested(path[depth + 1 :], value), style)
        member = found.members[at]
        if depth < len(path) - 1:
            found = _object(blanked, member.value)
    flat = not _own_line(text, member) and not _LINE_END.search(text[found.start : found.end])
    return text[: member.value] + _written(value, _indent(text, member.start), style, flat) + text[member.end :]


def without_json_member(text: str, path: Sequence[str]) -> str:
    """The document without this member, which is there."""
    blanked = _blanked(text)
    found = _object(blanked, _after_blanks(blanked, 0))
    for name in path[:-1]:
        found = _object(blanked, next(one.value for one in found.members if one.name == name))
    at = found.index(path[-1])
    assert at is not None
    member, after = found.members[at], _after(text, found.members[at].end)
    has_comma = text[after] == ","
    end = after + 1 if has_comma else member.end
    if len(found.members) == 1 and not (text[found.start + 1 : member.start] + text[end : found.end]).strip(BLANK):
        return text[: found.start + 1] + text[found.end :]
    comma = _after(text, found.members[at - 1].end) if at and not has_comma else None
    start, end = _extent(text, found, at, end)
    if comma is None:
        return text[:start] + text[end:]
    return text[:comma] + text[comma + 1 : start] + text[end:] if comma < start else text[:comma] + text[end:]


def with_json_values(text: str, values: Mapping[tuple[str, ...], object]) -> str:
    """The document with other values for members that are there, of which none is within another, on one line each."""
    blanked = _blanked(text)
    spans: list[tuple[int, int, object]] = []

    def visit(start: int, below: Mapping[tuple[str, ...], object]) -> None:
        for member in _object(blanked, start).members:
            inside = {path[1:]: value for path, value in below.items() if path[0] == member.name}
            if () in inside:
                spans.append((member.value, member.end, inside[()]))
            elif inside:
                visit(member.value, inside)

    visit(_after_blanks(blanked, 0), values)
    for start, end, value in reversed(spans):
        text = text[:start] + json.dumps(value, ensure_ascii=False) + text[end:]
    return text


def _extent(text: str, found: _Object, at: int, end: int) -> tuple[int, int]:
    """From where to where a member is taken out, whose own text ends at `end`: a line of its own goes as a whole, with
    the comments behind it."""
    member, is_last = found.members[at], at == len(found.members) - 1
    if _own_line(text, member):
        commented = _REST_OF_LINE.match(text, end)
        assert commented is not None
        next_ink = _SPACES.match(text, commented.end())
        assert next_ink is not None
        line_before = text[: member.start].rstrip(" \t")
        start = len(line_before.removesuffix("\n").removesuffix("\r"))
        if text[next_ink.end()] in "\r\n":
            return start, commented.end()
        before = found.members[at - 1].end if at else found.start + 1
        # The brace must not come behind a comment that only the end of its line ends.
        ended = (one.end() for one in _COMMENTS.finditer(text, before, start) if one[0].startswith("//"))
        if text[next_ink.end()] == "}" and start not in ended:
            return start, end
    if not is_last:
        spaces = _SPACES.match(text, end)
        assert spaces is not None
        return member.start, spaces.end()
    return len(text[: member.start].rstrip(" \t")), end


def _added(text: str, found: _Object, name: str, value: object, style: _Style) -> str:
    colon = json.dumps(name, ensure_ascii=False) + style.colon
    if not found.members:
        return _first(text, found, colon, value, style)
    last = found.members[-1]
    after = _after(text, last.end)
    has_comma = text[after] == ","
    place = after + 1 if has_comma else last.end
    if not _own_line(text, last):
        member = colon + _written(value, _indent(text, last.start), style, flat=True)
        space = style.comma[1:]
        return f"{text[:place]}{f'{space}{member},' if has_comma else f',{space}{member}'}{text[place:]}"
    indent = _indent(text, last.start)
    member = f"{style.line_end}{indent}{colon}{_written(value, indent, style, flat=False)}"
    commented = _REST_OF_LINE.match(text, place)
    assert commented is not None
    middle, rest = text[place : commented.end()], text[commented.end() :]
    return f"{text[:place]}{middle}{member},{rest}" if has_comma else f"{text[:place]},{middle}{member}{rest}"


def _first(text: str, found: _Object, colon: str, value: object, style: _Style) -> str:
    """The first member of an object that has none, behind the comments in it."""
    inside = text[found.start + 1 : found.end]
    before, after = text[: found.start + 1] + inside.rstrip(BLANK), text[found.end :]
    on_one_line = not _LINE_END.search(text.strip(BLANK)) and not is_empty(text[: found.start])
    if on_one_line or (inside.strip(BLANK) and not _LINE_END.search(inside)):
        space = " " if inside.strip(BLANK) else ""
        kept = inside[len(inside.rstrip(BLANK)) :] if space else ""
        return f"{before}{space}{colon}{_written(value, '', style, flat=True)}{kept}{after}"
    indent = _indent(text, found.start)
    deeper = indent + style.unit
    kept = inside[len(inside.rstrip(BLANK)) :] if _LINE_END.search(inside) else style.line_end + indent
    return f"{before}{style.line_end}{deeper}{colon}{_written(value, deeper, style, flat=False)}{kept}{after}"


def _written(value: object, indent: str, style: _Style, flat: bool) -> str:
    """The value as JSON. `indent` is that of the line on which it begins."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(style.comma, style.colon))
    if flat or not value or not isinstance(value, list | tuple | Mapping):
        return line
    deeper = indent + style.unit
    if isinstance(value, Mapping):
        parts = [f"{json.dumps(name, ensure_ascii=False)}{style.colon}{_written(one, deeper, style, flat)}"
                 for name, one in value.items()]  # fmt: skip
    elif len(indent) + len(line) <= _WIDTH and not any(isinstance(one, list | tuple | Mapping) for one in value):
        return line
    else:
        parts = [_written(one, deeper, style, flat) for one in value]
    body = f",{style.line_end}".join(deeper + part for part in parts)
    return f"{line[0]}{style.line_end}{body}{style.line_end}{indent}{line[-1]}"


def _nested(path: Sequence[str], value: object) -> object:
    for name in reversed(path):
        value = {name: value}
    return value


def _style(text: str, blanked: str, root: _Object) -> _Style:
    unit = _UNIT
    if root.members and _own_line(text, root.members[0]):
        unit = _indent(text, root.members[0].start)[len(_indent(text, root.start)) :] or _UNIT
    first = root.members[0] if root.members else None
    dense = first is not None and blanked[first.value - 1] == ":" and not _LINE_END.search(text.strip(BLANK))
    return _Style(line_end(text), unit, *((",", ":") if dense else (", ", ": ")))


def _object(blanked: str, start: int) -> _Object:
    """The object that begins at `start` of a text that is JSON."""
    members: list[_Member] = []
    at = _after_blanks(blanked, start + 1)
    while blanked[at] != "}":
        name, end = _decoder.raw_decode(blanked, at)
        value = _after_blanks(blanked, _after_blanks(blanked, end) + 1)
        _, value_end = _decoder.raw_decode(blanked, value)
        members.append(_Member(name, at, value, value_end))
        at = _after_blanks(blanked, value_end)
        if blanked[at] == ",":
            at = _after_blanks(blanked, at + 1)
    return _Object(start, at, tuple(members))


def _own_line(text: str, member: _Member) -> bool:
    """Whether nothing is before the member on its line."""
    before = text[: member.start].rstrip(" \t")
    return before.endswith(("\n", "\r"))


def _indent(text: str, at: int) -> str:
    """The blanks at the beginning of the line that `at` is on."""
    begin = max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1
    found = _SPACES.match(text, begin)
    assert found is not None
    return found[0]


def _after_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    assert found is not None
    return found.end()


def _after(text: str, at: int) -> int:
    """The next place that is neither blank nor comment."""
    found = _BETWEEN.match(text, at)
    assert found is not None
    return found.end()
