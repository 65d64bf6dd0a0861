"""How many values a JSON text has, so that a text with too many is not parsed.

The cost of parsing grows with the number of values, not of bytes, and it holds the interpreter until it is done: 4 MiB
may be one string, or a million empty lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

MAX_VALUES = 262_144
MAX_GROUPS = 52_428
"""Lists and objects."""
UNCOUNTED_BYTES = 64 * 1024
"""Texts up to this length are not counted."""

_PIECE = 64 * 1024
_BRACKETS = b"[{"


def excess(
    data: bytes | bytearray, values: int = MAX_VALUES, groups: int = MAX_GROUPS
) -> Literal["values", "lists and objects"] | None:
    """What a JSON text has more of than it may have; None for a text without too many.

    Quick for most texts, and in short pieces for others, so that it may run in a thread.
    """
    if len(data) <= UNCOUNTED_BYTES:
        return None
    # This also counts what stands in strings. Most texts have few enough all the same.
    counted = data.count(b"[") + data.count(b"{")
    if counted <= groups and counted + data.count(b",") <= values:
        return None
    found_groups = found_values = 0
    for piece in _outside_strings(data):
        bare = piece.translate(None, _BRACKETS)
        found_groups += len(piece) - len(bare)
        found_values += len(piece) - len(bare) + bare.count(b",")
        if found_groups > groups:
            return "lists and objects"
        if found_values > values:
            return "values"
    return None


def _outside_strings(data: bytes | bytearray) -> Iterator[bytes]:
    """The parts of a JSON text that are outside of its strings, for each piece of it."""
    inside, rest = 0, b""
    for start in range(0, len(data), _PIECE):
        piece = rest + data[start : start + _PIECE]
        # A backslash stays together with the character that it escapes.
        rest = b"\\" if (len(piece) - len(piece.rstrip(b"\\"))) % 2 else b""
        whole = piece[: len(piece) - len(rest)]
        parts = whole.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2
