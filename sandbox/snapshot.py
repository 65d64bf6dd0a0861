"""Snapshots: writes the memory of an initialised instance into its module as data segments, so that every new instance
starts initialised (as Wizer does). Pure functions over bytes (WebAssembly core specification, binary format)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

PAGE = 4096
WASM_PAGE = 65536
_CUSTOM, _MEMORY, _START, _DATA, _DATA_COUNT = 0, 5, 8, 11, 12


def with_memory(module: bytes, memory: bytes, passive: Sequence[bytes] = ()) -> bytes:
    """The module with `memory` as its initial memory, and with these passive data segments in place of its own.

    Passive segments come first: code names a segment by its number. Raises ValueError for a module of another build.
    """
    if module[:8] != b"\0asm\1\0\0\0" or len(memory) % WASM_PAGE:
        raise ValueError("not a module and its memory")
    segments = list(_segments(memory))
    out = bytearray(module[:8])
    for kind, content in _sections(module):
        if kind in (_CUSTOM, _START):
            continue
        if kind == _MEMORY:
            content = _memory_section(content, len(memory) // WASM_PAGE)
        elif kind == _DATA_COUNT:
            content = _unsigned(len(passive) + len(segments))
        elif kind == _DATA:
            active = (b"\0\x41" + _signed(at) + b"\x0b" + _unsigned(len(data)) + data for at, data in segments)
            kept = b"".join(b"\1" + _unsigned(len(data)) + data for data in passive)
            content = _unsigned(len(passive) + len(segments)) + kept + b"".join(active)
        out += bytes([kind]) + _unsigned(len(content)) + content
    return bytes(out)


def passive_segments(module: bytes) -> list[bytes]:
    """The passive data segments that a module begins with."""
    content = next((content for kind, content in _sections(module) if kind == _DATA), b"\0")
    _, at = _read_unsigned(content, 0)
    segments = []
    while at < len(content) and content[at] == 1:
        size, at = _read_unsigned(content, at + 1)
        segments.append(content[at : at + size])
        at += size
    return segments


def _segments(memory: bytes) -> Iterator[tuple[int, bytes]]:
    zero, begin = bytes(PAGE), None
    for at in range(0, len(memory), PAGE):
        if memory[at : at + PAGE] != zero:
            begin = at if begin is None else begin
        elif begin is not None:
            yield begin, memory[begin:at]
            begin = None
    if begin is not None:
        yield begin, memory[begin:]


def _memory_section(content: bytes, pages: int) -> bytes:
    count, at = _read_unsigned(content, 0)
    if count != 1:
        raise ValueError("the module must have one memory")
    flags = content[at]
    _, after = _read_unsigned(content, at + 1)
    return _unsigned(1) + bytes([flags]) + _unsigned(pages) + content[after:]


def _sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    at = 8
    while at < len(module):
        kind = module[at]
        size, at = _read_unsigned(module, at + 1)
        yield kind, module[at : at + size]
        at += size


def _read_unsigned(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def _unsigned(value: int) -> bytes:
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if not value:
            return bytes([*out, byte])
        out.append(byte | 0x80)


def _signed(value: int) -> bytes:
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if (value == 0 and not byte & 0x40) or (value == -1 and byte & 0x40):
            return bytes([*out, byte])
        out.append(byte | 0x80)
