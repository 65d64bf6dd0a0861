"""Rows that were accepted and are not in the database yet, in a file mapped into memory.

A row is written there before the call that it is about is answered, which costs a copy in memory and no system call.
The system keeps what is in the mapping when the process is killed, so the next process finds it (`open`) and stores it
then. Only a loss of power takes rows that nobody has stored.

The file is a ring of records behind a head. A record has its length, a checksum over its number and text, its number
and its text; numbers count from 1 and never again. What is not the record that comes next, by checksum and number, is
the end: also a record that was cut off in the middle. The head says from where on records are not stored yet, in two
places that are written in turn, each with a checksum: one of them is whole whenever the process ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from zlib import crc32

MAGIC = b"codemode journal 1\n"
HEAD_BYTES = 4096
DEFAULT_BYTES = 8 * 1024 * 1024
"""Room for more than 10,000 rows."""
MAX_RECORD = 64 * 1024
"""Bytes of a record. Rows are bounded far below."""
_RECORD = struct.Struct("<IIQ")
_STATE = struct.Struct("<QQQQI")
_STATES = (1024, 2048)
_INSTANCE_AT, _INSTANCE_BYTES = 64, 16
_SIZE_AT = 128
_SIZE = struct.Struct("<Q")
_TO_THE_START = 0xFFFFFFFF


class JournalUnusable(Exception):
    """The file is no journal, or another process has it. `str()` says which."""


class JournalInUse(JournalUnusable):
    """Another process has it."""


class Journal:
    """Use `open`. One process has a journal at a time, and one thread.

    `instance` is its own name: with the number of a row it names that row for ever. `last` is the number of the last
    row in it, `stored` of the last that is known to be in the database. `dropped` counts the rows for which there was
    no room. `size` is how many bytes of records it takes.
    """

    def __init__(self, path: Path, descriptor: int, mapping: mmap.mmap) -> None:
        self.path = path
        self._descriptor = descriptor
        self._map = mapping
        self.size: int = _SIZE.unpack_from(mapping, _SIZE_AT)[0]
        self.instance = mapping[_INSTANCE_AT : _INSTANCE_AT + _INSTANCE_BYTES].hex()
        self._generation, self._begin, self.stored, self.dropped = self._read_state()
        self._end = self._begin
        self.last = self.stored

    @classmethod
    def open(cls, path: Path, size: int = DEFAULT_BYTES) -> Journal:
        """The journal in this file, which is made if it is not there. Read what is in it with `waiting` first.

        Raises:
            JournalInUse: another process has it.
            JournalUnusable: it is no journal.
            OSError: the file cannot be had.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise JournalInUse(f"{path}: another process has it") from None
            if _is_empty(descriptor):
                _make(descriptor, size)
            length = os.fstat(descriptor).st_size
            if length <= HEAD_BYTES:
                raise JournalUnusable(f"{path}: it is no journal")
            mapping = mmap.mmap(descriptor, length)
            found = _SIZE.unpack_from(mapping, _SIZE_AT)[0]
            if mapping[: len(MAGIC)] != MAGIC or found != length - HEAD_BYTES:
                mapping.close()
                raise JournalUnusable(f"{path}: it is no journal")
            return cls(path, descriptor, mapping)
        except BaseException:
            os.close(descriptor)
            raise

    def waiting(self) -> Iterator[bytes]:
        """The texts that an earlier process left and nobody has stored, in order. Until they are read, nothing may be
        appended."""
        while (found := self._record_at(self._end, self.last + 1)) is not None:
            text, self._end = found
            self.last += 1
            yield text

    def append(self, text: bytes) -> bool:
        """Write a text, which has the number `last` then. False if there is no room for it."""
        length = _RECORD.size + len(text)
        padded = length + -length % 8
        at = self._end % self.size
        skipped = self.size - at if at + padded > self.size else 0
        if len(text) > MAX_RECORD or self._end + skipped + padded - self._begin > self.size:
            return False
        if skipped:
            if skipped >= _RECORD.size:
                _RECORD.pack_into(self._map, HEAD_BYTES + at, _TO_THE_START, 0, 0)
            self._end += skipped
            at = 0
        number = self.last + 1
        begin = HEAD_BYTES + at
        self._map[begin + _RECORD.size : begin + length] = text
        _RECORD.pack_into(self._map, begin, len(text), crc32(text, number & 0xFFFFFFFF), number)
        self.last = number
        self._end += padded
        return True

    def drop(self) -> None:
        """Count a row that was not written."""
        self.dropped += 1
        self._write_state()

    @property
    def room(self) -> int:
        """The bytes that are free."""
        return self.size - (self._end - self._begin)

    @property
    def mark(self) -> tuple[int, int]:
        """Where the journal ends now: what `stored_until` takes."""
        return self._end, self.last

    def stored_until(self, mark: tuple[int, int]) -> None:
        """All rows up to this mark are in the database. Their room is free."""
        self._begin, self.stored = mark
        self._write_state()

    def close(self) -> None:
        self._map.close()
        os.close(self._descriptor)

    def remove(self) -> None:
        """Remove the file. Close it then: nobody else may have it before that."""
        with suppress(FileNotFoundError):
            self.path.unlink()

    def _record_at(self, position: int, number: int) -> tuple[bytes, int] | None:
        """The record of this number, and where the next one begins; None if it is not there."""
        at = position % self.size
        if self.size - at < _RECORD.size:
            return self._record_at(position + self.size - at, number) if at else None
        length, checksum, found = _RECORD.unpack_from(self._map, HEAD_BYTES + at)
        if length == _TO_THE_START:
            return self._record_at(position + self.size - at, number) if at else None
        begin = HEAD_BYTES + at + _RECORD.size
        end = begin + length
        if found != number or length > MAX_RECORD or end > HEAD_BYTES + self.size:
            return None
        text = self._map[begin:end]
        if crc32(text, number & 0xFFFFFFFF) != checksum:
            return None
        whole = _RECORD.size + length
        return text, position + whole + -whole % 8

    def _read_state(self) -> tuple[int, int, int, int]:
        found = [state for at in _STATES if (state := self._state_at(at)) is not None]
        if not found:
            raise JournalUnusable(f"{self.path}: it is damaged")
        return max(found)

    def _state_at(self, at: int) -> tuple[int, int, int, int] | None:
        *state, checksum = _STATE.unpack_from(self._map, at)
        generation, begin, stored, dropped = state
        return (generation, begin, stored, dropped) if checksum == _checksum(*state) else None

    def _write_state(self) -> None:
        self._generation += 1
        state = (self._generation, self._begin, self.stored, self.dropped)
        _STATE.pack_into(self._map, _STATES[self._generation % 2], *state, _checksum(*state))


def _checksum(generation: int, begin: int, stored: int, dropped: int) -> int:
    return crc32(struct.pack("<QQQQ", generation, begin, stored, dropped), 1)


def _is_empty(descriptor: int) -> bool:
    """Whether nothing was written: the process that made the file may have ended before its head was there."""
    return not os.pread(descriptor, HEAD_BYTES, 0).strip(b"\0")


def _make(descriptor: int, size: int) -> None:
    """Make an empty journal. Its disk is taken now: later a full one would end the process that writes."""
    size -= size % 8
    length = HEAD_BYTES + size
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, length)
    else:
        os.ftruncate(descriptor, length)
    head = bytearray(HEAD_BYTES)
    head[: len(MAGIC)] = MAGIC
    head[_INSTANCE_AT : _INSTANCE_AT + _INSTANCE_BYTES] = secrets.token_bytes(_INSTANCE_BYTES)
    _SIZE.pack_into(head, _SIZE_AT, size)
    for generation, at in enumerate(_STATES):
        _STATE.pack_into(head, at, generation, 0, 0, 0, _checksum(generation, 0, 0, 0))
    os.pwrite(descriptor, head, 0)
