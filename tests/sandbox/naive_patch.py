"""The difference of two memories as plainly as it can be written: what the guest's fast one is compared with."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from sandbox.pages import BLOCK, PAGE, WASM_PAGE

INPUT_SIZE, LARGEST_PART = 16384, 12000
SMALLEST_PART = 8 + BLOCK


def exclusive_or(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def runs(memory: bytes, initial: bytes) -> list[tuple[int, bytes]]:
    """(offset, exclusive or) of the blocks that differ, neighbours together. Both are of the same length."""
    found: list[tuple[int, bytes]] = []
    for at in range(0, len(initial), BLOCK):
        ours, theirs = memory[at : at + BLOCK], initial[at : at + BLOCK]
        if ours == theirs:
            continue
        if found and found[-1][0] + len(found[-1][1]) == at:
            found[-1] = found[-1][0], found[-1][1] + exclusive_or(ours, theirs)
        else:
            found.append((at, exclusive_or(ours, theirs)))
    return found


def parts(of: Iterable[tuple[int, bytes]], most: int = LARGEST_PART) -> list[bytes]:
    """Runs as parts of a patch, no longer than `most` bytes; a run that is longer is cut."""
    made = [b""]
    for at, data in of:
        while data:
            room = (most - 8 - len(made[-1])) // BLOCK * BLOCK
            if room <= 0:
                made.append(b"")
                continue
            made[-1] += struct.pack("<II", at, len(data[:room])) + data[:room]
            at, data = at + len(data[:room]), data[room:]
    return [part for part in made if part]


def patch(size: int, of_parts: Iterable[bytes], pieces: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """The bytes of a patch; nothing is checked. `pieces`: (address, whole pages)."""
    framed = b"".join(struct.pack("<I", len(part)) + part for part in of_parts)
    behind = b"".join(struct.pack("<II", at // PAGE, len(data) // PAGE) + data for at, data in pieces)
    return struct.pack("<II", size // WASM_PAGE, len(framed)) + framed + behind


def difference(memory: bytes, initial: bytes) -> bytes:
    """The patch that turns `initial` into `memory`, which is no shorter."""
    behind = [
        (at, memory[at : at + PAGE])
        for at in range(len(initial), len(memory), PAGE)
        if memory[at : at + PAGE] != bytes(PAGE)
    ]
    return patch(len(memory), parts(runs(memory[: len(initial)], initial)), behind)


def applied(of_parts: Iterable[bytes], initial: bytes) -> bytes:
    """The memory after the parts."""
    memory = bytearray(initial)
    for part in of_parts:
        at = 0
        while at < len(part):
            offset, size = struct.unpack_from("<II", part, at)
            data = part[at + 8 : at + 8 + size]
            memory[offset : offset + size] = exclusive_or(bytes(memory[offset : offset + size]), data)
            at += 8 + size
    return bytes(memory)
