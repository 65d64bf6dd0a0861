"""Plain values as bytes: a head of rows in JSON, and the values that the rows point to as bytes of their own.

The reader is strict: a row has exactly its members, of exactly their types. Nothing is larger than it says beforehand.

magic, version u8 | SHA-256 of the rest | size of the packed part u64 | packed part, zlib | tail
packed part: size of the head u32 | head, JSON: [[size of each value], rows] | the values, one after the other
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, TypeAlias, TypeVar

import orjson

from codemode.errors import ParkedUnreadable
from codemode.text import encodable

T = TypeVar("T")
Types: TypeAlias = type | tuple[type, ...]

MAX_BYTES = 256 * 1024 * 1024
"""The most bytes that are read, and the most that they may become."""
MAYBE_TEXT, MAYBE_INT, MAYBE_FLOAT = (str, NoneType), (int, NoneType), (float, NoneType)
_LEVEL = 1
_SIZE, _HEAD = struct.Struct("<Q"), struct.Struct("<I")
_DIGEST = 32
_LARGEST_INT = 2**53
_LARGEST_FLOAT = 1e300


def json_bytes(value: object) -> bytes:
    """A JSON value as bytes, exactly, also where it is nested deep or has integers past 64 bits."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def json_value(data: bytes) -> object:
    """Raises ParkedUnreadable for bytes that are no JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:  # lone surrogates, which orjson refuses
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ParkedUnreadable(f"a value in it is no JSON: {error}") from None


class Packer:
    """Collects values; `pack` returns them with the rows that point to them."""

    def __init__(self) -> None:
        self._values: list[bytes] = []

    def add(self, value: bytes) -> int:
        """Where the value is: what a row has in its place."""
        self._values.append(value)
        return len(self._values) - 1

    def add_json(self, value: object) -> int:
        return self.add(json_bytes(value))

    def pack(self, magic: bytes, rows: object, tail: bytes = b"") -> bytes:
        head_of = [[len(value) for value in self._values], rows]
        try:
            head = orjson.dumps(head_of)
        except TypeError:  # a text has half a character, which no JSON can hold
            head = orjson.dumps(_encodable(head_of))
        packed = zlib.compress(b"".join((_HEAD.pack(len(head)), head, *self._values)), _LEVEL)
        rest = b"".join((_SIZE.pack(len(packed)), packed, tail))
        return b"".join((magic, hashlib.sha256(rest).digest(), rest))


class Unpacked:
    """What `Packer.pack` made bytes of. Raises ParkedUnreadable for any other bytes."""

    def __init__(self, magic: bytes, data: bytes) -> None:
        at = len(magic) + _DIGEST
        if len(data) > MAX_BYTES:
            raise ParkedUnreadable(f"it has {len(data):,} bytes, at most {MAX_BYTES:,} are read")
        if not data.startswith(magic) or len(data) < at + _SIZE.size:
            raise ParkedUnreadable("these bytes are of another kind or of another version")
        if hashlib.sha256(memoryview(data)[at:]).digest() != data[len(magic) : at]:
            raise ParkedUnreadable("it is damaged: the integrity hash does not match")
        (size,) = _SIZE.unpack_from(data, at)
        at += _SIZE.size
        if size > len(data) - at:
            raise ParkedUnreadable("it is cut short")
        self.tail = data[at + size :]
        content = _inflated(data[at : at + size])
        head_size = _HEAD.unpack_from(content)[0] if len(content) >= _HEAD.size else 2**32
        self._content = memoryview(content)
        start = _HEAD.size + head_size
        if start > len(content):
            raise ParkedUnreadable("its head is cut short")
        sizes, self.rows = row(json_value(content[_HEAD.size : start]), list, object)
        self._starts = [start]
        for size in each(sizes, lambda one: typed(one, int)):
            if size < 0:
                raise ParkedUnreadable("a value in it has less than no bytes")
            self._starts.append(self._starts[-1] + size)
        if self._starts[-1] != len(content):
            raise ParkedUnreadable("its values have another size than it says")

    def value(self, index: object) -> bytes:
        """The value that a row points to."""
        at = typed(index, int)
        if not 0 <= at < len(self._starts) - 1:
            raise ParkedUnreadable("a row points to a value that is not there")
        return bytes(self._content[self._starts[at] : self._starts[at + 1]])

    def json(self, index: object) -> object:
        return json_value(self.value(index))


def row(value: object, *types: Types) -> list[Any]:
    """The members of a row that has exactly these types. A member of type `object` may be anything."""
    if type(value) is not list or len(value) != len(types):
        raise ParkedUnreadable("a row in it has another form")
    return [typed(member, one) for member, one in zip(value, types, strict=True)]


def typed(value: Any, types: Types) -> Any:
    """The value, if it has one of these types exactly (true is no number), and is no number out of range."""
    allowed = types if isinstance(types, tuple) else (types,)
    kind = type(value)
    if object not in allowed and kind not in allowed:
        raise ParkedUnreadable("a member of a row has another type")
    if (kind is int and abs(value) > _LARGEST_INT) or (kind is float and not abs(value) <= _LARGEST_FLOAT):
        raise ParkedUnreadable("a number in it is out of range")
    return value


def each(rows: object, read: Callable[[object], T]) -> list[T]:
    """What `read` makes of each row of a list."""
    return [read(one) for one in typed(rows, list)]


def hex_bytes(text: object, size: int) -> bytes:
    """So many bytes, written as hexadecimal digits."""
    try:
        data = bytes.fromhex(typed(text, str))
    except ValueError:
        data = b""
    if len(data) != size or len(typed(text, str)) != 2 * size:
        raise ParkedUnreadable("a hash in it has another form")
    return data


def texts(value: object) -> list[str]:
    return each(value, lambda one: str(typed(one, str)))


def _inflated(packed: bytes) -> bytes:
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise ParkedUnreadable(f"it is damaged: {error}") from None
    if not inflate.eof or inflate.unused_data:
        raise ParkedUnreadable("it is cut short, or becomes larger than what is read")
    return content


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, Sequence):
        return [_encodable(part) for part in value]
    return value
