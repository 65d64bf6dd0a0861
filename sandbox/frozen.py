"""The format of frozen programs and images: a header that needs no engine to read, then the compressed difference from
the initial memory.

magic "CMFZ", version u8 | length of the header u32 | header, JSON | SHA-256 of header and body | body, Zstandard

The body of a program may refer to pages that both ends know, as if they stood before it (`KnownPages`).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from sandbox.errors import ForeignImage
from sandbox.zstandard import zstd

_MAGIC, VERSION = b"CMFZ", 3
_LARGEST_HEADER = 8 * 1024 * 1024  # bytes; the ids of a million waiting calls fit
_LEVEL = 1  # measured on many objects: zlib at its fastest takes three times as long, and makes a third more bytes
_DECODER = {int(zstd.DecompressionParameter.window_log_max): 23}  # 8 MiB: the level above has less


@dataclass(frozen=True, slots=True)
class Header:
    """`waiting`: the ids of the calls without a settlement. Times: seconds used before the freeze."""

    build: str
    kind: str
    cpu_used: float = 0.0
    wall_used: float = 0.0
    waiting: tuple[int, ...] = ()


class KnownPages:
    """Pages that are there both to pack and to unpack, with their `digest`. What is like them takes no room."""

    __slots__ = ("_dictionary", "digest")

    def __init__(self, pages: bytes) -> None:
        self.digest = hashlib.sha256(pages).hexdigest()
        self._dictionary = zstd.ZstdDict(pages, is_raw=True)

    def compress(self, pages: bytes) -> bytes:
        return zstd.compress(pages, _LEVEL, zstd_dict=self._dictionary.as_prefix)

    def decompressor(self) -> zstd.ZstdDecompressor:
        return zstd.ZstdDecompressor(self._dictionary.as_prefix, _DECODER)


def pack(header: Header, pages: bytes, known: KnownPages | None = None) -> bytes:
    """The frozen program or image as bytes, for `read_header` and `unpack`."""
    head = orjson.dumps(asdict(header))
    body = zstd.compress(pages, _LEVEL) if known is None else known.compress(pages)
    return b"".join((_MAGIC, struct.pack("<BI", VERSION, len(head)), head, _digest(head, body), body))


def _digest(head: bytes, body: bytes) -> bytes:
    digest = hashlib.sha256(head)
    digest.update(body)
    return digest.digest()


def read_header(frozen: bytes) -> Header:
    """Raises ForeignImage unless this is a whole, undamaged frozen program or image."""
    return _split(frozen)[0]


def unpack(
    frozen: bytes, *, build: str, kind: str, largest: int, known: KnownPages | None = None
) -> tuple[Header, bytes]:
    """The header and the pages. Raises ForeignImage for damage, another build or kind, or over `largest` bytes."""
    header, body = _split(frozen)
    if header.build != build:
        raise ForeignImage(f"it was made by build {header.build[:12]}, this is build {build[:12]}")
    if header.kind != kind:
        raise ForeignImage(f"it is a frozen {header.kind}, expected a {kind}")
    inflate = zstd.ZstdDecompressor(options=_DECODER) if known is None else known.decompressor()
    room = largest + largest // 8 + 65536  # the pages and their frames
    try:
        pages = inflate.decompress(body, room)
    except zstd.ZstdError as error:
        raise ForeignImage(f"it is damaged: {error}") from None
    if not inflate.eof or inflate.unused_data:
        raise ForeignImage(f"it is truncated or needs more than {largest} bytes of memory")
    return header, pages


def _split(frozen: bytes) -> tuple[Header, bytes]:
    at = len(_MAGIC) + 5
    if not frozen.startswith(_MAGIC) or len(frozen) < at:
        raise ForeignImage("these bytes are not a frozen program or image")
    version, size = struct.unpack_from("<BI", frozen, len(_MAGIC))
    if version != VERSION:
        raise ForeignImage(f"it has version {version} of the format, this is version {VERSION}: it cannot be read here")
    if size > _LARGEST_HEADER:
        raise ForeignImage(f"its header has {size} bytes, at most {_LARGEST_HEADER} are allowed")
    head, digest, body = frozen[at : at + size], frozen[at + size : at + size + 32], frozen[at + size + 32 :]
    if _digest(head, body) != digest:
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
