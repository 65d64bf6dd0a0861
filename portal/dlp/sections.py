"""What is searched besides the text itself: words without their neighbours, what base64 hides, strings put together.

Each is a section: a text of its own, and the way from its spans to those of the root text.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from portal.dlp.texts import Span

MOST_DECODED = 1024 * 1024
"""Bytes that base64 may decode to, in all layers of a scan together."""
LAYERS = 2
MOST_JOINED = 256 * 1024
"""Bytes of strings put together in twos, threes and fours."""
_SHORTEST_RUN = 20
_SHORTEST_BASE64 = 24
_NEAR = 200
_SEVERAL = (2, 3, 4)

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-"
_SHAPE = bytes(0x78 if byte in _BASE64 + b".~" else 0x20 for byte in range(256))
_RUN = b"x" * _SHORTEST_RUN
_HEXADECIMAL = b"0123456789abcdefABCDEF-"
_NOT_BASE64 = re.compile(rb"[.~]+")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_LINE_END = re.compile(rb"\r?\n")
_BINARY = bytes(byte for byte in range(0x20) if byte not in b"\t\n\r")
# Between these the catalog's rules find a token; beside a comma, a bracket or an ampersand most of them do not.
_BOUNDS = frozenset(b" \t\r\n\"'`\x02")


@dataclass
class Section:
    """A text, and of its parts where each begins here, and where it is in the root.

    With `whole` a span of a part stands for all of the part in the root, as with base64.
    """

    whole: bool = False
    parts: list[bytes] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    spans: list[list[Span]] = field(default_factory=list)
    size: int = 0

    def add(self, text: bytes, spans: list[Span]) -> None:
        """Append a part, on lines of its own. Unless `whole`, the spans together are as long as the text."""
        self.starts.append(self.size)
        self.spans.append(spans)
        self.parts += (text, b"\n")
        self.size += len(text) + 1

    @property
    def text(self) -> bytes:
        return b"".join(self.parts)

    def in_root(self, start: int, end: int) -> list[Span]:
        """Where a span of this section is in the root; empty if it goes over the end of a part."""
        part = bisect_right(self.starts, start) - 1
        after = self.starts[part + 1] if part + 1 < len(self.starts) else self.size
        if part < 0 or end > after - 1:
            return []
        if self.whole:
            return self.spans[part]
        found: list[Span] = []
        at = self.starts[part]
        for first, last in self.spans[part]:
            inside = max(start - at, 0), min(end - at, last - first)
            if inside[0] < inside[1]:
                found.append((first + inside[0], first + inside[1]))
            at += last - first
        return found


class Root(Section):
    """The text itself."""

    def __init__(self, text: bytes) -> None:
        super().__init__(parts=[text], starts=[0], spans=[[(0, len(text))]], size=len(text) + 1)


@dataclass
class Room:
    """How many bytes may still be decoded, and whether that was enough."""

    left: int = MOST_DECODED
    enough: bool = True


def opened(section: Section, text: bytes, room: Room, *, deeper: bool) -> tuple[Section, Section]:
    """The words of a section without their neighbours, and, if `deeper`, the texts that its base64 hides."""
    words, decoded = Section(), Section(whole=True)
    for start, end in _runs(text):
        if not _is_between_bounds(text, start, end) and (spans := section.in_root(start, end)):
            words.add(text[start:end].rstrip(b".-~"), spans)
        if not deeper:
            continue
        for first, last in _base64_parts(text, start, end):
            hidden = _decoded(text[first:last])
            if hidden is None:
                continue
            if len(hidden) > room.left:
                room.enough = False
                return words, decoded
            room.left -= len(hidden)
            if spans := section.in_root(first, _with_padding(text, last)):
                decoded.add(hidden, spans)
    return words, decoded


def joined(text: bytes, values: Sequence[Span]) -> Section:
    """Strings put together without anything between: all of them, and each two, three and four that follow one another.

    Of a long string only its end or its beginning is put to its neighbours.
    """
    section = Section()
    if len(values) < 2:
        return section
    for start in range(len(values) - 1):
        for count in _SEVERAL:
            some = values[start : start + count]
            if len(some) < count or section.size > MOST_JOINED:
                break
            first, last = some[0], some[-1]
            inner = some[1:-1]
            if any(end - begin > _NEAR for begin, end in inner):
                break
            ends = [(max(first[0], first[1] - _NEAR), first[1]), *inner, (last[0], min(last[1], last[0] + _NEAR))]
            section.add(b"".join(text[begin:end] for begin, end in ends), ends)
    section.add(b"".join(text[begin:end] for begin, end in values), list(values))
    return section


def _runs(text: bytes) -> list[Span]:
    """The spans of long words: what tokens and base64 are made of."""
    shape = text.translate(_SHAPE)
    found: list[Span] = []
    at = 0
    while (at := shape.find(_RUN, at)) >= 0:
        end = shape.find(b" ", at + _SHORTEST_RUN)
        end = len(text) if end < 0 else end
        found.append((at, end))
        at = end
    return found


def _is_between_bounds(text: bytes, start: int, end: int) -> bool:
    return (
        (not start or text[start - 1] in _BOUNDS)
        and (end == len(text) or text[end] in _BOUNDS)
        and text[end - 1] != 0x2E
    )


def _base64_parts(text: bytes, start: int, end: int) -> list[Span]:
    """The parts of a run that may be base64. Lines of 64 or 76 characters that follow one another are one part."""
    run = text[start:end]
    if b"." not in run and b"~" not in run:
        return [(start, end)] if _may_be_base64(run) else []
    found: list[Span] = []
    at = start
    for part in _NOT_BASE64.split(run):
        first = text.find(part, at, end)
        at = first + len(part)
        if _may_be_base64(part):
            found.append((first, at))
    return found


def _may_be_base64(part: bytes) -> bool:
    return len(part) >= _SHORTEST_BASE64 and bool(part.translate(None, _HEXADECIMAL))


def _with_padding(text: bytes, end: int) -> int:
    while text[end : end + 1] == b"=":
        end += 1
    return end


def _decoded(part: bytes) -> bytes | None:
    """The text that base64 stands for, None where it stands for something else. UTF-16 becomes UTF-8."""
    part = part.translate(_STANDARD)
    part = part[: len(part) - (len(part) % 4 == 1)]
    try:
        hidden = binascii.a2b_base64(part + b"=" * (-len(part) % 4))
    except binascii.Error:
        return None
    if hidden.count(0) * 5 > len(hidden) * 2:
        try:
            hidden = hidden[: len(hidden) // 2 * 2].decode("utf-16-le").encode()
        except UnicodeError:
            return None
    try:
        hidden.decode()
    except UnicodeDecodeError as error:
        # A run may be cut off inside of a character.
        if error.start < len(hidden) - 3:
            return None
    return None if len(hidden.translate(None, _BINARY)) < len(hidden) else hidden
