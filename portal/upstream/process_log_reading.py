"""Reads what `process_log` has written: the newest lines of a server, and those that come.

A file may be moved aside while it is read, by whichever process finds it full. What was read of it is read no more, and
the rest of it is read first.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import orjson

from portal.upstream.process_log import FILE_BYTES, Kind, former_file, log_file

_CHUNK = 256 * 1024
# With what several processes write at the same moment a file may become a little larger than its bound.
_MOST_BYTES = 4 * FILE_BYTES
# The end of the year 9999, after which a moment has no date.
_LAST = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """A line of the log of a server. `at` is Unix time in milliseconds, `pid` the process, None if there was none."""

    at: int
    pid: int | None
    kind: Kind
    text: str


def read_line(written: bytes) -> ProcessLine | None:
    """A line of a file; None if it is none, as after a full disk."""
    try:
        found = orjson.loads(written)
        at, pid, kind, text = (found[name] for name in ("at", "pid", "kind", "text"))
    except (ValueError, KeyError, TypeError):
        return None
    is_right = isinstance(at, int) and isinstance(text, str) and isinstance(pid, int | None) and 0 <= at <= _LAST
    return ProcessLine(at, pid, kind, text) if is_right and kind in get_args(Kind) else None


class ProcessLogReader:
    """The log of one server, from its newest lines on. `close` it at the end."""

    def __init__(self, folder: Path, server: str) -> None:
        self._path = log_file(folder, server)
        self._former = former_file(folder, server)
        self._descriptor: int | None = None
        self._rest = b""

    def newest(self, count: int) -> list[ProcessLine]:
        """The last `count` lines; `more` goes on behind them."""
        found: deque[ProcessLine] = deque(maxlen=count)
        with suppress(OSError):
            self._descriptor = os.open(self._former, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            found.extend(self._read())
        self.close()
        self._rest = b""
        found.extend(self.more())
        return list(found)

    def more(self) -> Iterator[ProcessLine]:
        """What was written since, in order. Ends where there is no more now."""
        while True:
            if self._descriptor is not None:
                yield from self._read()
            if self._descriptor is not None and self._is_current(self._descriptor):
                return
            # It was moved aside, or is not there yet. What came between the two looks is read before the next file.
            if self._descriptor is not None:
                yield from self._read()
            self.close()
            self._rest = b""
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                return

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read(self) -> Iterator[ProcessLine]:
        assert self._descriptor is not None
        seen = 0
        while seen < _MOST_BYTES and (chunk := os.read(self._descriptor, _CHUNK)):
            seen += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._rest = self._rest[-_MOST_BYTES:]
            yield from (line for written in lines if (line := read_line(written)) is not None)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            # Between its being moved aside and the next one there is none for a moment.
            return False
        except OSError:
            return True
