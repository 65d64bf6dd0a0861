"""What is searched besides the text itself: words without their neighbours, what base64 hides, strings put together.

Each is a section: a text of its own, and the way from its spans to those of the root text.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from portal.dlp.texts import MARK, Span

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
_NOT_BASE64 = re.compile(rb"[.~]+")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_LINE_END = re.compile(rb"\r?\n")
_BINARY = bytes(byte for byte in range(0x20) if byte not in b"\t\n\r")
_BOUNDS = frozenset(b" \t\r\n\"'`\x02")


class SearchSection:
    """A text of parts, each on lines of its own, and where they are in the root.

    With `whole` a span of a part stands for all of the part in the root, as with base64.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.size = 0
        self.whole = whole
        self._parts: list[bytes] = []
        # Of each span of the root that is here: where it begins here, where it ends, its part, and itself.
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._part: list[int] = []
        self._spans: list[Span] = []

    def add(self, text: bytes, spans: Sequence[Span]) -> None:
        """Append a part. Unless `whole`, the spans together are as long as the text, or longer."""
        at, end = self.size, self.size + len(text)
        number = len(self._parts)
        for first, last in spans:
            self._starts.append(at)
            at = end if self.whole else min(at + last - first, end)
            self._ends.append(at)
            self._part.append(number)
            self._spans.append((first, last))
            if self.whole:
                at = end
        self._parts += (text, b"\n")
        self.size = end + 1

    @property
    def text(self) -> bytes:
        return b"".join(self._parts)

    def in_root(self, start: int, end: int) -> tuple[Span, ...]:
        """Where a span of this section is in the root; empty if it goes over the end of a part."""
        at = bisect_right(self._starts, start) - 1
        if at < 0:
            return ()
        part = self._part[at]
        if self.whole:
            # All spans of a part but the first begin where it ends.
            first = bisect_left(self._part, part, 0, at + 1)
            last = bisect_right(self._part, part, at)
            return tuple(self._spans[first:last]) if end <= self._ends[last - 1] else ()
        found: list[Span] = []
        while at < len(self._starts) and self._starts[at] < end:
            if self._part[at] != part:
                return ()
            origin, here = self._spans[at][0] - self._starts[at], self._ends[at]
            if (first := max(start, self._starts[at])) < (last := min(end, here)):
                found.append((first + origin, last + origin))
            at += 1
        return tuple(found) if end <= self._ends[at - 1] else ()


class Root(SearchSection):
    """The text itself."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.add(text, [(0, len(text))])

    def in_root(self, start: int, end: int) -> tuple[Span, ...]:
        return ((start, end),)


@dataclass
class DecodingRoom:
    """How many bytes may still be decoded, and whether that was enough."""

    left: int = MOST_DECODED
    enough: bool = True


def opened(
    section: SearchSection, text: bytes, room: DecodingRoom, *, deeper: bool
) -> tuple[SearchSection, SearchSection]:
    """The words of a section without their neighbours, and, if `deeper`, the texts that its base64 hides."""
    words, decoded = SearchSection(), SearchSection(whole=True)
    for start, end, is_cut in _runs(text):
        if is_cut:
            word = text[start:end].rstrip(b".-~")
            if word.startswith(b"//"):
                # An address: its last part may be a token, and the rest of it is found where it stands.
                first = start + word.rfind(b"/") + 1
                word = text[first : start + len(word)]
            else:
                first = start
            if len(word) >= _SHORTEST_RUN and (spans := section.in_root(first, first + len(word))):
                words.add(word, spans)
        if not deeper or end - start < _SHORTEST_BASE64:
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


def commands(marked: bytes) -> list[Span]:
    """The strings that have a command of curl in them: rules for these want the end of the text or a space behind."""
    found: list[Span] = []
    at = 0
    while (at := marked.find(b"curl", at)) >= 0:
        start, end = marked.rfind(MARK, 0, at) + 1, marked.find(MARK, at)
        end = len(marked) if end < 0 else end
        found.append((start, end))
        at = end
    return found


def joined(text: bytes, values: Sequence[Span]) -> SearchSection:
    """Strings put together without anything between: all of them, and each two, three and four that follow one another.

    Of a long string only its end or its beginning is put to its neighbours.
    """
    section = SearchSection()
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
    section.add(b"".join(text[begin:end] for begin, end in values), values)
    return section


def _runs(text: bytes) -> Iterator[tuple[int, int, bool]]:
    """The spans of long words, and whether something goes on behind: what tokens and base64 are made of.

    Left out are those of small letters alone with a space or a quote behind, nearly all: identifiers, hexadecimal
    digits, names.
    """
    # Split at runs of the shortest length: that is one pass, and a search for each run is some thousand. A long run is
    # split several times, with nothing between.
    between = text.translate(_SHAPE).split(_RUN)
    size = len(text)
    at, start = len(between[0]), -1
    for part in between[1:]:
        if start < 0:
            start = at
        at += _SHORTEST_RUN
        if part:
            more = part.find(b" ")
            end = at + more if more >= 0 else at + len(part)
            at += len(part)
            # Most rules of the catalog find a token before a space or a quote only.
            is_cut = end < size and text[end] not in _BOUNDS or text[end - 1] == 0x2E
            if is_cut or not text[start:end].islower():
                yield start, end, is_cut
            start = -1
    if start >= 0:
        yield start, at, text[at - 1] == 0x2E


def _base64_parts(text: bytes, start: int, end: int) -> list[Span]:
    """The parts of a run that may be base64. Lines of 64 or 76 characters that follow one another are one part."""
    run = text[start:end]
    if run.islower():
        return []
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
    """Whether it is long enough, and has letters of both cases: paths, hexadecimal digits and identifiers have not."""
    return len(part) >= _SHORTEST_BASE64 and not part.islower() and not part.isupper()


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
