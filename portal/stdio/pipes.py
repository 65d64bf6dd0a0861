"""The standard input and output of this process, for the protocol alone.

Threads read and write them: they may be pipes, files or terminals, and asyncio waits for pipes only. While they are
held, descriptor 1 leads to standard error, so that what a library prints cannot come between two messages, and
descriptor 0 has nothing, so that no child of ours reads what a client wrote.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

_CHUNK = 64 * 1024
# Chunks that wait to be read. A client that writes more is held up.
_WAITING = 16


@contextmanager
def standard_streams() -> Iterator[tuple[int, int]]:
    """Descriptors of the client's input and output, until the block ends. Nobody else has them."""
    sys.stdout.flush()
    own = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3) for descriptor in (0, 1)]
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, 0)
        try:
            os.dup2(2, 1)
        except OSError:  # started without standard error
            os.dup2(nothing, 1)
        yield own[0], own[1]
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        for descriptor, kept in enumerate(own):
            # Kept open: a thread may still be waiting on it, and its number must not become another file.
            os.dup2(kept, descriptor)
        os.close(nothing)


class InputPipe:
    """Reads a descriptor until its end. An `asyncio.StreamReader` for `LineReader`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._room = threading.Semaphore(_WAITING)
        self._loop = asyncio.get_running_loop()
        self._ended = False
        threading.Thread(target=self._work, name="standard input", daemon=True).start()

    async def read(self, n: int = -1) -> bytes:
        """What comes next, b"" at the end."""
        if self._ended:
            return b""
        chunk = await self._chunks.get()
        self._room.release()
        self._ended = not chunk
        return chunk

    def _work(self) -> None:
        chunk = b"-"
        while chunk:
            self._room.acquire()
            chunk = self._next()
            # The loop is closed when the command has ended for another reason.
            try:
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
            except RuntimeError:
                return

    def _next(self) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, _CHUNK)
            except BlockingIOError:  # whoever shares it wants it so
                select.select([self._descriptor], [], [])
            except OSError:
                return b""


class OutputPipe:
    """Writes lines to a descriptor, whole and in order. `gone` is set when nobody reads it any more."""

    def __init__(self, descriptor: int) -> None:
        self.gone = asyncio.Event()
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self._wanted = threading.Semaphore(0)
        threading.Thread(target=self._work, name="standard output", daemon=True).start()

    async def write(self, line: bytes) -> None:
        """Return when the line is written, or when nobody reads: whoever writes faster than the client reads waits."""
        if self.gone.is_set():
            return
        written = self._loop.create_future()
        self._lines.append((line + b"\n", written))
        self._wanted.release()
        await written

    def _work(self) -> None:
        while True:
            self._wanted.acquire()
            line, written = self._lines.popleft()
            if not self._written(line):
                self._tell(partial(self._leave, written))
                return
            if not self._tell(partial(_settle, written)):
                return

    def _written(self, line: bytes) -> bool:
        """Whether somebody takes it."""
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                return False
        return True

    def _tell(self, what: Callable[[], object]) -> bool:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _leave(self, last: asyncio.Future[None]) -> None:
        self.gone.set()
        _settle(last)
        while self._lines:
            _settle(self._lines.popleft()[1])


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
