"""An engine whose guest is `puppet.wat`: arbitrary WebAssembly in place of ours, which does what its batch says."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import wasmtime

from sandbox import Engine, Limits
from sandbox.engine import _Guest

from .scripts import text

INPUT, LAYOUT = 1024, 64
DIFFERENCE_ANSWER, DEAF, RESERVE_ANSWER, PENDING_SIZE, DIFFERENCE_SIZE = 40, 44, 48, 56, 60
STANDARD_OUTPUT, STANDARD_AT = b'["completed",true,42,[],[]]', 65000
FIELDS = ("abi", "input", "input_size", "output", "output_size", "logs", "logs_size", "stopped", "heap", "end")
DEEDS = {
    "unreachable": 0xFFFFFFF0,
    "loop": 0xFFFFFFF1,
    "recurse": 0xFFFFFFF2,
    "grow": 0xFFFFFFF3,
    "divide by zero": 0xFFFFFFF4,
    "convert nonsense": 0xFFFFFFF5,
    "call nowhere": 0xFFFFFFF6,
    "wipe": 0xFFFFFFF7,
}


def field(name: str) -> int:
    """The address of a word of the layout."""
    return LAYOUT + 4 * FIELDS.index(name)


def words(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<II", at & 0xFFFFFFFF, value & 0xFFFFFFFF) for at, value in pairs)


def say(output: bytes, *, at: int = 0x8000) -> list[tuple[int, int]]:
    """The stores that put an output there and name it in the layout."""
    padded = output.ljust(-(-len(output) // 4) * 4, b" ")
    stores = [(at + i, struct.unpack_from("<I", padded, i)[0]) for i in range(0, len(padded), 4)]
    return [*stores, (field("output"), at), (field("output_size"), len(output))]


def deed(name: str, value: int = 0) -> tuple[int, int]:
    return DEEDS[name], value


@contextmanager
def puppets(limits: Limits, *, slots: int = 4) -> Iterator[Engine]:
    guest = _Guest(bytes(wasmtime.wat2wasm(text("puppet.wat"))), (), ())
    with patch.object(_Guest, "load", lambda: guest), Engine(limits, slots=slots, cache=None) as engine:
        yield engine
