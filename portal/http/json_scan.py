"""How deep JSON text nests and how many values it has, found without parsing it. Pure.

Parsers recurse, and what they make of a text is many times its size: four million bytes of `[],[],` are two million
objects. So a text is measured first, while it arrives, by operations on whole pieces of bytes. Exact for well-formed
JSON; of any other text exact up to where a parser gives up.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import Final, Literal, TypeAlias

PIECE: Final = 32 * 1024
"""How much is measured at once: well below a millisecond of plain text, a few where every byte is a bracket."""
Excess: TypeAlias = Literal["depth", "values"]

_STRUCTURE = b"[]{},"
_NOT_STRUCTURE = bytes(set(range(256)) - set(_STRUCTURE))
_STEP = tuple(1 if byte in b"[{" else -1 for byte in range(256))


class JsonScan:
    """Measures a text that comes in pieces: at most `depth` levels of arrays and objects, and `values` values."""

    def __init__(self, depth: int, values: int) -> None:
        self._depth = depth
        self._values = values
        self._level = 0
        self._count = 0
        self._quotes = 0
        self._in_string = False
        self._escape = b""

    def feed(self, piece: bytes) -> Excess | None:
        """Which bound the text exceeds with this piece, None for none."""
        outside = self._outside_strings(piece)
        if len(outside) and (excess := self._measured(outside.translate(None, _NOT_STRUCTURE))) is not None:
            return excess
        # A value and the name of a member may each be a string.
        return "values" if self._quotes > 4 * self._values else None

    def _outside_strings(self, piece: bytes) -> bytes:
        text = self._escape + piece
        self._escape = b""
        if b"\\" in text:
            # Escaped backslashes first: what is left of each run of them escapes the character behind it, or nothing.
            text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
            if text.endswith(b"\\"):
                text, self._escape = text[:-1], b"\\"
        quotes = text.count(b'"')
        if not quotes:
            return b"" if self._in_string else text
        parts = text.split(b'"')[1 if self._in_string else 0 :: 2]
        self._quotes += quotes
        self._in_string ^= bool(quotes & 1)
        return b"".join(parts)

    def _measured(self, structure: bytes) -> Excess | None:
        opening = structure.count(b"[") + structure.count(b"{")
        commas = structure.count(b",")
        # Each value but the first comes behind a comma or a bracket that opens.
        self._count += opening + commas
        if self._count >= self._values:
            return "values"
        if self._level + opening > self._depth:
            brackets = structure.replace(b",", b"")
            levels = accumulate(map(_STEP.__getitem__, brackets), initial=self._level)
            if any(level > self._depth for level in levels):
                return "depth"
        self._level += 2 * opening + commas - len(structure)
        return None


def pieces_of(text: bytes) -> Iterator[bytes]:
    """A text in pieces that are measured at once."""
    if len(text) <= PIECE:
        yield text
        return
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def may_exceed(text: bytes, depth: int, values: int) -> bool:
    """Whether a text has to be measured at all. Quick, and never wrong about a no."""
    return len(text) >= values or text.count(b"[") + text.count(b"{") > depth
