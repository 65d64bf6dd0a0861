"""Memory as its difference from a base memory: pure functions over bytes.

A patch is the memory's size and runs of 128-byte blocks that differ, `offset u32 | length u32 | bytes`. The guest
applies one itself (`patch` in guest.c): its loop of copies takes a hundredth of the time of one in Python.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.errors import ForeignImage

BLOCK = 128  # measured: smaller blocks take longer to find than they save, and larger ones compress to more bytes
PAGE = 4096
WASM_PAGE = 65536


@dataclass(frozen=True, slots=True)
class Patch:
    """`size`: bytes of memory after the `runs` are applied."""

    size: int
    runs: bytes


def whole(size: int) -> int:
    """`size` rounded up to WebAssembly pages."""
    return -(-size // WASM_PAGE) * WASM_PAGE


def difference(memory: bytes, base: bytes) -> bytes:
    """The patch that turns `base`, which counts as zeros past its end, into `memory`."""
    parts = [struct.pack("<I", len(memory) // WASM_PAGE)]
    for begin, end in _runs(memory, base):
        parts += (struct.pack("<II", begin, end - begin), memory[begin:end])
    return b"".join(parts)


def parse(data: bytes, largest: int) -> Patch:
    """Reads what `difference` wrote. Raises ForeignImage for a memory larger than `largest` bytes.

    The runs are not checked here: the guest applies them to its own memory, and traps when one lies outside it.
    """
    if len(data) < 4:
        raise ForeignImage("the image is truncated")
    size = struct.unpack_from("<I", data)[0] * WASM_PAGE
    if size > largest:
        raise ForeignImage(f"the image needs {size} bytes of memory, at most {largest} are allowed")
    return Patch(size, data[4:])


def split(runs: bytes) -> Iterator[tuple[int, bytes]]:
    """The runs one by one, as (offset, bytes). Raises ForeignImage when they are cut off or not of whole blocks; so
    their number is bounded by their bytes."""
    at = 0
    while at < len(runs):
        if len(runs) - at < 8:
            raise ForeignImage("the image is truncated")
        offset, size = struct.unpack_from("<II", runs, at)
        at += 8 + size
        if at > len(runs):
            raise ForeignImage("the image is truncated")
        if not size or size % BLOCK or offset % BLOCK:
            raise ForeignImage("the image is malformed")
        yield offset, runs[at - size : at]


def merge(runs: bytes, base: bytes) -> tuple[tuple[int, bytes], ...]:
    """The runs as fewer, longer ones, with short gaps filled from `base`: for an image, which is applied often."""
    merged: list[tuple[int, bytearray]] = []
    for at, data in split(runs):
        end = merged[-1][0] + len(merged[-1][1]) if merged else -PAGE
        if 0 <= at - end < PAGE:
            merged[-1][1].extend(base[end:at].ljust(at - end, b"\0") + data)
        else:
            merged.append((at, bytearray(data)))
    return tuple((at, bytes(data)) for at, data in merged)


def _runs(memory: bytes, base: bytes) -> Iterator[tuple[int, int]]:
    begin = end = -1
    for at in _blocks(memory, base):
        if at != end:
            if begin >= 0:
                yield begin, end
            begin = at
        end = at + BLOCK
    if begin >= 0:
        yield begin, end


def _blocks(memory: bytes, base: bytes) -> Iterator[int]:
    """The offsets of blocks that differ. Compares large pieces first, since most of a memory is unchanged."""
    zero = bytes(WASM_PAGE)
    for big in range(0, len(memory), WASM_PAGE):
        ours = memory[big : big + WASM_PAGE]
        theirs = base[big : big + WASM_PAGE] if big < len(base) else zero
        if ours == theirs:
            continue
        for page in range(0, WASM_PAGE, PAGE):
            if ours[page : page + PAGE] == theirs[page : page + PAGE]:
                continue
            for at in range(page, page + PAGE, BLOCK):
                if ours[at : at + BLOCK] != theirs[at : at + BLOCK]:
                    yield big + at
