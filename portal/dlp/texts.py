"""A JSON value as one text that is searched at once, and the way back from a span of it to the leaves of the value.

The text is the value as JSON without its escapes: a match cannot be missed because a quote or a line end was escaped,
and the name of a member stands before its value, where rules look for it. Control characters other than tab and line
ends count as spaces, so one of them is free: `marked` has `MARK` where a string begins and ends.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import orjson

from portal.dlp.findings import Leaf

MARK = b"\x02"
_AT_ONCE = 32
"""So many members are measured together before one of them is looked into."""
_ESCAPE = re.compile(rb"\\(u00..|.)", re.DOTALL)
_MEANT = {b"\\": b"\\", MARK: b'"', b"n": b"\n", b"t": b"\t", b"r": b"\r"}
_SPACES = bytes(byte if byte >= 0x20 or byte in b"\t\n\r" else 0x20 for byte in range(256))
# A table is several times as fast as `replace` where there is much to replace.
_QUOTED, _LINED = bytes.maketrans(MARK, b'"'), bytes.maketrans(MARK, b"\n")
_MARKED = bytes.maketrans(b'"', MARK)
_CONTINUED = bytes(range(0x80, 0xC0))

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a leaf: characters from `start`, of the leaf as text."""

    leaf: Leaf
    start: int
    length: int


class Text(Protocol):
    """What is searched, and where its spans are in the value."""

    @property
    def marked(self) -> bytes: ...

    def pieces(self, spans: Sequence[Span]) -> list[list[Piece]]:
        """The parts of leaves that each span covers. The spans are in the order of their starts."""


def written(value: object) -> bytes:
    """Bytes that only this value has; empty where there are none without more work."""
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "replace")
    try:
        return b"j" + orjson.dumps(value)
    except TypeError:
        return b""


def text_of(value: object, known: bytes) -> Text:
    """The text of a value, for which `known` is what is `written`.

    A value that orjson does not write (lone surrogates, integers beyond 64 bits, deep nesting) takes some ten times
    longer.
    """
    if isinstance(value, str):
        return Plain(known[1:])
    return Compact(value, _marked(known[1:])) if known else Walked(value)


def unmarked(marked: bytes) -> bytes:
    """The text with the quotes of its strings, as credentials are looked for."""
    return marked.translate(_QUOTED)


def in_lines(marked: bytes) -> bytes:
    """The text with a line end at each end of a string, so that a pattern sees lines, and every string begins one."""
    return marked.translate(_LINED)


def values(marked: bytes) -> Iterator[Span]:
    """The spans of all strings that are values, in their order. Names of members are left out."""
    parts = marked.split(MARK)
    if len(parts) == 1:  # a plain text
        yield 0, len(marked)
        return
    at = 0
    for number, part in enumerate(parts):
        if number % 2 and not parts[number + 1].startswith(b":"):
            yield at, at + len(part)
        at += len(part) + 1


class _Characters:
    """Counts characters of a text of UTF-8, for spans in the order of their starts: each byte is counted once."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._is_ascii = text.isascii()
        self._at = self._before = 0

    def piece(self, leaf: Leaf, start: int, end: int) -> Piece:
        if self._is_ascii:
            return Piece(leaf, start, end - start)
        self._before += self._count(self._at, start)
        self._at = start
        return Piece(leaf, self._before, self._count(start, end))

    def _count(self, start: int, end: int) -> int:
        """How many characters begin there. A span may end inside of one, which then counts."""
        return len(self._text[start:end].translate(None, _CONTINUED))


class Plain:
    """A text that is no JSON value: a program, a message, a string alone."""

    def __init__(self, written: bytes) -> None:
        self.marked = written.translate(_SPACES)

    def pieces(self, spans: Sequence[Span]) -> list[list[Piece]]:
        characters = _Characters(self.marked)
        return [[characters.piece(Leaf(()), start, end)] if start < end else [] for start, end in spans]


class Compact:
    """A value that orjson writes. Only the containers that have a span are looked into."""

    def __init__(self, value: object, marked: bytes) -> None:
        self._value = value
        self.marked = marked

    def pieces(self, spans: Sequence[Span]) -> list[list[Piece]]:
        search = _Descent(spans, room=16 * len(self.marked) + 100_000)
        if search.look_through(self._value, len(self.marked)):
            for found in search.found:
                found.sort(key=_in_order)
            return search.found
        # Spans deep inside nested containers: their sizes were measured too often.
        return Walked(self._value).pieces(spans)


class _Descent:
    """Finds the leaves of spans by the sizes of what stands before them."""

    def __init__(self, spans: Sequence[Span], room: int) -> None:
        self.found: list[list[Piece]] = [[] for _ in spans]
        self._spans = spans
        self._ends = list(accumulate((end for _, end in spans), max))
        self._room = room
        self._pending: list[tuple[object, int, int, tuple[int, ...]]] = []

    def look_through(self, root: object, size: int) -> bool:
        """Whether all were found within the room for measuring."""
        self._pending.append((root, 0, size, ()))
        while self._pending:
            value, at, size, steps = self._pending.pop()
            if isinstance(value, dict):
                self._members(list(value.items()), at, steps)
            elif isinstance(value, list | tuple):
                self._items(value, at, steps)
            else:
                self._leaf(value, at, size, Leaf(steps))
            if self._room < 0:
                return False
        return True

    def _members(self, members: list[tuple[str, object]], at: int, steps: tuple[int, ...]) -> None:
        for first in range(0, len(members), _AT_ONCE):
            some = members[first : first + _AT_ONCE]
            # Each member has a comma or the brace before it.
            after = at + self._size(dict(some)) - 1
            if self._touched(at, after):
                for number, (name, member) in enumerate(some, first):
                    inside = (*steps, number)
                    length = self._size(name)
                    self._leaf(name, at + 1, length, Leaf(inside, is_name=True))
                    at += length + 2
                    length = self._size(member)
                    if self._touched(at, at + length):
                        self._pending.append((member, at, length, inside))
                    at += length
            at = after

    def _items(self, items: Sequence[object], at: int, steps: tuple[int, ...]) -> None:
        for first in range(0, len(items), _AT_ONCE):
            some = items[first : first + _AT_ONCE]
            after = at + self._size(some) - 1
            if self._touched(at, after):
                for number, item in enumerate(some, first):
                    length = self._size(item)
                    if self._touched(at + 1, at + 1 + length):
                        self._pending.append((item, at + 1, length, (*steps, number)))
                    at += length + 1
            at = after

    def _size(self, value: object) -> int:
        raw = orjson.dumps(value)
        self._room -= len(raw)
        return _size(raw)

    def _near(self, start: int, end: int) -> Iterator[int]:
        """The numbers of the spans that overlap these bytes."""
        number = bisect_right(self._ends, start)
        while number < len(self._spans) and self._spans[number][0] < end:
            if self._spans[number][1] > start:
                yield number
            number += 1

    def _touched(self, start: int, end: int) -> bool:
        return next(self._near(start, end), None) is not None

    def _leaf(self, value: object, at: int, size: int, leaf: Leaf) -> None:
        if value is None or isinstance(value, bool) or value == "":
            return
        first, last = (at + 1, at + size - 1) if isinstance(value, str) else (at, at + size)
        near = list(self._near(first, last))
        if near:
            text = _marked(orjson.dumps(value))
            characters = _Characters(text[1:-1] if isinstance(value, str) else text)
            for number in near:
                start, end = self._spans[number]
                self.found[number].append(characters.piece(leaf, max(start - first, 0), min(end, last) - first))


class Walked:
    """Any value, walked through leaf by leaf."""

    def __init__(self, value: object) -> None:
        self._above: list[int] = [-1]
        self._step: list[int] = [-1]
        self._starts: list[int] = []
        self._leaves: list[tuple[int, bool, bytes]] = []
        self._parts: list[bytes] = []
        self._length = 0
        self._known: dict[int, tuple[int, ...]] = {}
        self._walk(value)
        self.marked = b"".join(self._parts)
        self._parts = []

    def _walk(self, root: object) -> None:
        pending: list[tuple[object, int]] = [(root, 0)]
        while pending:
            value, node = pending.pop()
            if isinstance(value, _Written):
                self._write(value.text)
            elif isinstance(value, _Name):
                self._string(value.text, node, is_name=True)
            elif isinstance(value, dict):
                self._write(b"{")
                after: list[tuple[object, int]] = []
                for number, (name, member) in enumerate(value.items()):
                    inside = self._node(node, number)
                    after += [(_Name(str(name)), inside), (_COLON, 0), (member, inside), (_COMMA, 0)]
                after[-1:] = [(_CLOSE, 0)]
                pending += reversed(after)
            elif isinstance(value, list | tuple):
                self._write(b"[")
                after = []
                for number, item in enumerate(value):
                    after += [(item, self._node(node, number)), (_COMMA, 0)]
                after[-1:] = [(_END, 0)]
                pending += reversed(after)
            elif isinstance(value, str):
                self._string(value, node, is_name=False)
            else:
                self._scalar(value, node)

    def _node(self, above: int, step: int) -> int:
        self._above.append(above)
        self._step.append(step)
        return len(self._above) - 1

    def _write(self, text: bytes) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _string(self, value: str, node: int, *, is_name: bool) -> None:
        text = value.encode("utf-8", "replace").translate(_SPACES)
        self._write(MARK)
        self._starts.append(self._length)
        self._leaves.append((node, is_name, text))
        self._write(text)
        self._write(MARK)

    def _scalar(self, value: object, node: int) -> None:
        text = number_text(value).encode()
        if value is not None and not isinstance(value, bool):
            self._starts.append(self._length)
            self._leaves.append((node, False, text))
        self._write(text)

    def pieces(self, spans: Sequence[Span]) -> list[list[Piece]]:
        counted: dict[int, _Characters] = {}
        return [list(self._covered(start, end, counted)) for start, end in spans]

    def _covered(self, start: int, end: int, counted: dict[int, _Characters]) -> Iterator[Piece]:
        number = max(bisect_right(self._starts, start) - 1, 0)
        while number < len(self._starts) and self._starts[number] < end:
            node, is_name, text = self._leaves[number]
            first = max(start - self._starts[number], 0)
            last = min(end - self._starts[number], len(text))
            if first < last:
                if number not in counted:
                    counted[number] = _Characters(text)
                yield counted[number].piece(Leaf(self._steps(node), is_name), first, last)
            number += 1

    def _steps(self, node: int) -> tuple[int, ...]:
        if (known := self._known.get(node)) is not None:
            return known
        steps: list[int] = []
        at = node
        while at:
            steps.append(self._step[at])
            at = self._above[at]
        return self._known.setdefault(node, tuple(reversed(steps)))


class _Written:
    def __init__(self, text: bytes) -> None:
        self.text = text


class _Name:
    def __init__(self, text: str) -> None:
        self.text = text


_COLON, _COMMA, _CLOSE, _END = _Written(b":"), _Written(b","), _Written(b"}"), _Written(b"]")


def number_text(value: object) -> str:
    """A number, a boolean or null as JSON has it."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # of more digits than Python writes
            return hex(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return str(value)


def _marked(raw: bytes) -> bytes:
    """JSON by orjson without its escapes, with marks in place of the quotes around strings.

    What it makes of two texts one after the other is what it makes of both, so that sizes can be added.
    """
    text = raw.translate(_MARKED)
    if b"\\" not in raw:
        return text
    # Between the escapes, and each without its backslash, in turn. A quote that was escaped is a mark by now.
    parts = _ESCAPE.split(text)
    parts[1::2] = [_MEANT.get(escape, b" ") for escape in parts[1::2]]
    return b"".join(parts)


def _size(raw: bytes) -> int:
    """How long the text of this JSON is."""
    if b"\\" not in raw:
        return len(raw)
    return len(raw) - sum(map(len, _ESCAPE.findall(raw)))


def _in_order(piece: Piece) -> tuple[tuple[int, ...], bool]:
    return piece.leaf.steps, not piece.leaf.is_name
