"""Memory as its difference from the image, in runs of 4 KiB pages. Pure functions over bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

from sandbox.errors import ForeignImage

PAGE = 4096
WASM_PAGE = 65536
Runs: TypeAlias = tuple[int, tuple[tuple[int, bytes], ...]]  # size of the memory, (offset, bytes)


def dirty(memory: bytes, base: bytes) -> bytes:
    """What of `memory` differs from `base` (which counts as zero past its end), serialised."""
    parts = [struct.pack("<I", len(memory) // WASM_PAGE)]
    for begin, end in _runs(memory, base):
        parts += (struct.pack("<II", begin, end - begin), memory[begin:end])
    return b"".join(parts)


def _runs(memory: bytes, base: bytes) -> Iterator[tuple[int, int]]:
    zero = bytes(PAGE)
    begin = None
    for at in range(0, len(memory), PAGE):
        page = memory[at : at + PAGE]
        if page != (base[at : at + PAGE] if at < len(base) else zero):
            begin = at if begin is None else begin
        elif begin is not None:
            yield begin, at
            begin = None
    if begin is not None:
        yield begin, len(memory)


def parse(data: bytes, largest: int) -> Runs:
    """Reads what `dirty` wrote. Raises ForeignImage unless every run lies inside a memory of at most `largest` bytes."""
    if len(data) < 4:
        raise ForeignImage("the image is truncated")
    size = struct.unpack_from("<I", data)[0] * WASM_PAGE
    if size > largest:
        raise ForeignImage(f"the image needs {size} bytes of memory, at most {largest} are allowed")
    runs, at, last = [], 4, 0
    while at < len(data):
        if len(data) - at < 8:
            raise ForeignImage("the image is truncated")
        offset, length = struct.unpack_from("<II", data, at)
        at += 8
        if offset < last or offset + length > size or length > len(data) - at:
            raise ForeignImage("the image has a run outside its memory")
        runs.append((offset, data[at : at + length]))
        at, last = at + length, offset + length
    return size, tuple(runs)
