"""The format of frozen programs and images: a header that needs no engine to read, then the compressed difference from
the base memory.

magic "CMFZ", version u8 | length of the header u32 | header, JSON | SHA-256 of header and body | body, zlib of a patch
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from sandbox.errors import ForeignImage

_MAGIC = b"CMFZ\x01"
_SAMPLES, _SAMPLE = 64, 1024
_LARGEST_HEADER = 8 * 1024 * 1024  # bytes; the ids of a million waiting calls fit
_LEVEL = 1  # measured: higher levels take ten times as long and save a few percent


@dataclass(frozen=True, slots=True)
class Header:
    """`waiting`: the ids of the calls without a settlement. Times: seconds used before the freeze."""

    build: str
    kind: str
    cpu_used: float = 0.0
    wall_used: float = 0.0
    waiting: tuple[int, ...] = ()


def pack(header: Header, pages: bytes) -> bytes:
    """The frozen program or image as bytes, for `read_header` and `unpack`."""
    head = orjson.dumps(asdict(header))
    body = zlib.compress(pages, _LEVEL if _is_compressible(pages) else 0)
    return b"".join((_MAGIC, struct.pack("<I", len(head)), head, hashlib.sha256(head + body).digest(), body))


def _is_compressible(pages: bytes) -> bool:
    """Whether a sample of the pages compresses. Compressing in vain takes ten times as long as storing them."""
    if len(pages) < 16 * _SAMPLES * _SAMPLE:
        return True
    stride = len(pages) // _SAMPLES
    sample = b"".join(pages[at : at + _SAMPLE] for at in range(0, stride * _SAMPLES, stride))
    return len(zlib.compress(sample, _LEVEL)) < 0.9 * len(sample)


def read_header(frozen: bytes) -> Header:
    """Raises ForeignImage unless this is a whole, undamaged frozen program or image."""
    return _split(frozen)[0]


def unpack(frozen: bytes, *, build: str, kind: str, largest: int) -> tuple[Header, bytes]:
    """The header and the pages. Raises ForeignImage for damage, another build or kind, or over `largest` bytes."""
    header, body = _split(frozen)
    if header.build != build:
        raise ForeignImage(f"it was made by build {header.build[:12]}, this is build {build[:12]}")
    if header.kind != kind:
        raise ForeignImage(f"it is a frozen {header.kind}, expected a {kind}")
    inflate = zlib.decompressobj()
    room = largest + largest // 256 + 65536  # the pages and their frames
    try:
        pages = inflate.decompress(body, room)
    except zlib.error as error:
        raise ForeignImage(f"it is damaged: {error}") from None
    if not inflate.eof:
        raise ForeignImage(f"it is truncated or needs more than {largest} bytes of memory")
    return header, pages


def _split(frozen: bytes) -> tuple[Header, bytes]:
    at = len(_MAGIC) + 4
    if not frozen.startswith(_MAGIC) or len(frozen) < at:
        raise ForeignImage("these bytes are not a frozen program or image")
    size = struct.unpack_from("<I", frozen, len(_MAGIC))[0]
    if size > _LARGEST_HEADER:
        raise ForeignImage(f"its header has {size} bytes, at most {_LARGEST_HEADER} are allowed")
    head, digest, body = frozen[at : at + size], frozen[at + size : at + size + 32], frozen[at + size + 32 :]
    if hashlib.sha256(head + body).digest() != digest:
        raise ForeignImage("it is damaged: the integrity hash does not match")
    try:
        fields = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise ForeignImage(f"its header is not JSON: {error}") from None
    return _header(fields), body


def _header(fields: Any) -> Header:
    match fields:
        case {
            "build": str(build),
            "kind": str(kind),
            "cpu_used": float(cpu),
            "wall_used": float(wall),
            "waiting": [*ids],
        }:
            if are_call_ids(ids) and cpu >= 0 and wall >= 0:
                return Header(build, kind, cpu, wall, tuple(ids))
    raise ForeignImage("its header is malformed")


def are_call_ids(value: Any) -> bool:
    """Whether this is a list of ids of calls, each there once."""
    if type(value) is not list or not all(type(id) is int and 0 < id < 2**31 for id in value):
        return False
    return len(set(value)) == len(value)
