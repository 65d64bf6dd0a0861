"""Memory as its difference from the initial memory: pure functions over bytes.

A patch is the size of the memory and two kinds of differences:

- `parts`, of the initial memory itself: what the guest's `difference` writes, for its `patch`. They are the exclusive
  or of blocks (`guest/freeze.c`). The host passes them on unread.
- `pieces`, of the memory behind it: the pages of 4 KiB that are not zeros, as they are.

As bytes: `WebAssembly pages u32 | bytes of all parts u32 | part: size u32, bytes | ... |
piece: page u32, pages u32, bytes | ...`
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sandbox.errors import ForeignImage

BLOCK = 16  # bytes, as in guest.h
PAGE = 4096
WASM_PAGE = 65536
RUN_HEAD = 8  # `offset u32 | size u32`, before the bytes of a run
_ZEROS, _ZERO_PAGE = bytes(WASM_PAGE), bytes(PAGE)


@dataclass(frozen=True, slots=True)
class Patch:
    """`size`: bytes of the memory. `pieces`: (address, bytes), in ascending order."""

    size: int
    parts: tuple[bytes, ...]
    pieces: tuple[tuple[int, bytes], ...]


def whole(size: int) -> int:
    """`size` rounded up to WebAssembly pages."""
    return -(-size // WASM_PAGE) * WASM_PAGE


def pieces_of(memory: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    """The pages that are not zeros, neighbours together: (address, pages). `memory`: (address, a WebAssembly page)."""
    together: list[bytes] = []
    begin = end = -1
    for at, page in _filled(memory):
        if at != end:
            if together:
                yield begin, together
            begin, together = at, []
        together.append(page)
        end = at + PAGE
    if together:
        yield begin, together


def _filled(memory: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for at, large in memory:
        if large != _ZEROS:
            for place in range(0, len(large), PAGE):
                if (page := large[place : place + PAGE]) != _ZERO_PAGE:
                    yield at + place, page


def serialise(size: int, parts: Iterable[bytes], pieces: Iterable[tuple[int, list[bytes]]]) -> bytes:
    """The patch as bytes, for `parse`."""
    framed = [field for part in parts for field in (struct.pack("<I", len(part)), part)]
    out = [struct.pack("<II", size // WASM_PAGE, sum(map(len, framed))), *framed]
    for at, pages in pieces:
        out += (struct.pack("<II", at // PAGE, len(pages)), *pages)
    return b"".join(out)


def parse(data: bytes, *, initial: int, largest: int, part: int) -> Patch:
    """Reads what `serialise` wrote. Raises ForeignImage for what is none, a memory smaller than `initial` bytes or
    larger than `largest`, or a part of more than `part` bytes.

    The runs in the parts are not checked: the guest applies them to its own memory, and traps when one lies outside.
    """
    if len(data) < 8:
        raise ForeignImage("the image is truncated")
    count, bytes_of_parts = struct.unpack_from("<II", data)
    size = count * WASM_PAGE
    if size > largest:
        raise ForeignImage(f"the image needs {size} bytes of memory, at most {largest} are allowed")
    if size < initial or bytes_of_parts > 2 * initial:
        raise ForeignImage("the image is malformed")
    end = 8 + bytes_of_parts
    parts = tuple(_parts(data, 8, end, part))
    if len(parts) > initial // PAGE:
        raise ForeignImage("the image is malformed")
    return Patch(size, parts, tuple(_pieces(data, end, initial, size)))


def _parts(data: bytes, at: int, end: int, most: int) -> Iterator[bytes]:
    if end > len(data):
        raise ForeignImage("the image is truncated")
    while at < end:
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4 + size
        if at > end or not RUN_HEAD + BLOCK <= size <= most:
            raise ForeignImage("the image is malformed")
        yield data[at - size : at]


def _pieces(data: bytes, at: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at < len(data):
        if len(data) - at < 8:
            raise ForeignImage("the image is truncated")
        page, count = struct.unpack_from("<II", data, at)
        place, size = page * PAGE, count * PAGE
        at += 8 + size
        if at > len(data):
            raise ForeignImage("the image is truncated")
        if not size or place < begin or place + size > end:
            raise ForeignImage("the image is malformed")
        yield place, data[at - size : at]
        begin = place + size


def runs_of(part: bytes) -> Iterator[tuple[int, bytes]]:
    """The runs of a part, as (offset, exclusive or). Raises ForeignImage for one that is cut off or not of blocks."""
    at = 0
    while at < len(part):
        if len(part) - at < RUN_HEAD:
            raise ForeignImage("the image is truncated")
        offset, size = struct.unpack_from("<II", part, at)
        at += RUN_HEAD + size
        if at > len(part):
            raise ForeignImage("the image is truncated")
        if not size or size % BLOCK or offset % BLOCK:
            raise ForeignImage("the image is malformed")
        yield offset, part[at - size : at]


def written(patch: Patch, initial: bytes) -> tuple[tuple[int, bytes], ...]:
    """What is to be written over `initial`, as few long runs (address, bytes): for an image, which is applied often.
    Raises ForeignImage for a run outside of `initial`."""
    memory = bytearray(initial)
    spans: list[tuple[int, int]] = []
    for part in patch.parts:
        for at, data in runs_of(part):
            end = at + len(data)
            if end > len(initial):
                raise ForeignImage("the image is malformed")
            memory[at:end] = _exclusive_or(memory[at:end], data)
            spans.append((at, end))
    runs = ((begin, bytes(memory[begin:end])) for begin, end in _joined(spans))
    return (*runs, *patch.pieces)


def _exclusive_or(one: bytes | bytearray, other: bytes) -> bytes:
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(other), "little")


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in ascending order, those with a short gap between them as one."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin - joined[-1][1] < PAGE:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined
