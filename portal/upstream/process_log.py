"""Writes what the processes of servers say besides messages into files, one a server, for `codemode logs NAME`.

The event loop only puts lines aside. One thread writes what has come, five times a second; of what a process writes
faster than that the newest lines are kept, and how many were left out is a line of its own. A file has a bound, and one
former file beside it. Several portals may write into the same file: each writes whole lines at its end, and whoever
finds it full moves it aside under a lock.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import stat
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

import orjson
import structlog

from portal.upstream.transports.duplex import TooLarge
from portal.upstream.transports.wire import END_BYTES, redact, redact_cut, without_escapes

Kind = Literal["start", "stderr", "stdout", "end", "failed", "dropped"]
"""`start` and `end` of a process; a line on one of its outputs; `failed`: it could not be started; `dropped`: so many
lines were left out."""

FILE_BYTES = 1024 * 1024
LINE_CHARS = 4096
# What waits for the thread, of one server.
WAITING_LINES = 1000
WAITING_BYTES = 256 * 1024
WRITE_SECONDS = 0.2
LEAVING_SECONDS = 2.0
_PIECE = 64 * 1024
_LARGEST = 64 * 1024
_BREATH, _BREATH_SECONDS = 25, 0.001
_OPEN = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# Besides escape sequences: every character that controls a terminal or turns text around.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def log_file(folder: Path, server: str) -> Path:
    return folder / f"{server}.log"


def former_file(folder: Path, server: str) -> Path:
    return folder / f"{server}.log.1"


Output = Literal["stderr", "stdout"]


@dataclass(frozen=True, slots=True)
class _Line:
    """What is to be written. `secrets` are those of the process."""

    at: float
    pid: int | None
    kind: Kind
    text: bytes | TooLarge
    secrets: Sequence[str]


@dataclass(eq=False, slots=True)
class _Batch:
    """Lines that came at once on one output of a process: a flood is put aside in few steps."""

    at: float
    kind: Output
    lines: list[bytes | TooLarge]
    size: int


@dataclass(eq=False, slots=True)
class _Waiting:
    """What one process has said and waits for the thread: the newest lines, and every start and end."""

    secrets: Sequence[str]
    batches: deque[_Batch] = field(default_factory=deque)
    marks: list[_Line] = field(default_factory=list)
    count: int = 0
    size: int = 0
    dropped: int = 0
    dropped_at: float = 0.0

    def add(self, batch: _Batch, left_out: int) -> None:
        if left_out:
            self._leave_out(left_out, batch.at)
        self.batches.append(batch)
        self.count += len(batch.lines)
        self.size += batch.size
        while self.count > WAITING_LINES or self.size > WAITING_BYTES:
            self._shorten(self.batches[0])

    def _shorten(self, oldest: _Batch) -> None:
        """Leave out the beginning of the oldest batch, and all of it if the others are enough."""
        excess = max(self.count - WAITING_LINES, 1)
        if excess >= len(oldest.lines) or self.size - oldest.size >= WAITING_BYTES:
            self.batches.popleft()
            gone, size = len(oldest.lines), oldest.size
        else:
            gone, size = excess, sum(map(_size, oldest.lines[:excess]))
            del oldest.lines[:excess]
            oldest.size -= size
        self.count -= gone
        self.size -= size
        self._leave_out(gone, oldest.at)

    def _leave_out(self, count: int, at: float) -> None:
        self.dropped += count
        self.dropped_at = at

    def in_order(self, pid: int | None) -> list[_Line]:
        """What is to be written."""
        found = list(self.marks)
        if self.dropped:
            found.append(_Line(self.dropped_at, pid, "dropped", str(self.dropped).encode(), ()))
        for batch in self.batches:
            found += [_Line(batch.at, pid, batch.kind, line, self.secrets) for line in batch.lines]
        return sorted(found, key=lambda line: (line.at, _ORDER.get(line.kind, 2)))


# Of what came at the same moment.
_ORDER: Mapping[Kind, int] = {"start": 0, "dropped": 1, "end": 3}


def _size(line: bytes | TooLarge) -> int:
    return len(line) if isinstance(line, bytes) else 2 * END_BYTES


class ProcessLogs:
    """The log files of the servers of one configuration, in `folder`, which is made when there is something to write.
    An async context manager; what waits is written at its end. Without a folder nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._files: dict[str, _File] = {}
        self._waiting: dict[ProcessLog, _Waiting] = {}
        self._lock = threading.Lock()
        self._come = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> ProcessLogs:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._come.set()
        if self._thread is not None:
            # A disk that hangs does not keep anybody: the thread ends with the process.
            await asyncio.to_thread(self._thread.join, LEAVING_SECONDS)

    def of(self, server: str) -> ProcessLog:
        """The log of a new process of this server."""
        return ProcessLog(self, server)

    def put(self, process: ProcessLog, said: _Line | _Batch, left_out: int = 0) -> None:
        """Put aside what a process said; `left_out` more lines were not kept. Never waits for a file."""
        if self.folder is None or self._closing.is_set():
            return
        with self._lock:
            waiting = self._waiting.get(process)
            if waiting is None:
                waiting = self._waiting[process] = _Waiting(process.secrets)
            if isinstance(said, _Batch):
                waiting.add(said, left_out)
            else:
                waiting.marks.append(said)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="process-logs", daemon=True)
                self._thread.start()
        self._come.set()

    def _write_all(self) -> None:
        log, failing = structlog.get_logger("portal.upstream"), set[str]()
        closing = False
        while not closing:
            self._come.wait()
            self._come.clear()
            closing = self._closing.wait(WRITE_SECONDS)
            for server, lines in self._taken().items():
                try:
                    self._file(server).write(sorted(lines, key=lambda line: line.at))
                    failing.discard(server)
                except OSError as error:
                    if server not in failing:
                        why = error.strerror or "it cannot be written to"
                        log.warning("what a server writes cannot be kept", server=server, reason=why)
                    failing.add(server)
        for file in self._files.values():
            file.close()

    def _taken(self) -> dict[str, list[_Line]]:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        found: dict[str, list[_Line]] = {}
        for process, said in waiting.items():
            found.setdefault(process.server, []).extend(said.in_order(process.pid))
        return found

    def _file(self, server: str) -> _File:
        assert self.folder is not None, "without one nothing is put aside"
        if server not in self._files:
            self._files[server] = _File(self.folder, server)
        return self._files[server]


NO_PROCESS_LOGS = ProcessLogs(None)
"""Keeps nothing."""


class ProcessLog:
    """Takes what one process says. `begin` comes first; what follows is kept without the secrets named there."""

    def __init__(self, logs: ProcessLogs, server: str) -> None:
        self.server = server
        self.pid: int | None = None
        self._logs = logs
        self.secrets: Sequence[str] = ()

    def begin(self, secrets: Sequence[str]) -> None:
        self.secrets = secrets
        self.pid = None

    def started(self, pid: int, program: str) -> None:
        self.pid = pid
        self._mark("start", program)

    def failed(self, why: str) -> None:
        self._mark("failed", why)

    def wrote(self, output: Output, lines: Sequence[bytes | TooLarge], left_out: int = 0) -> None:
        """Lines on this output; `left_out` before them were not kept by whoever read them."""
        if self._logs.folder is not None and lines:
            kept = [_bounded(line) for line in lines[-WAITING_LINES:]]
            batch = _Batch(time.time(), output, kept, sum(map(_size, kept)))
            self._logs.put(self, batch, left_out + len(lines) - len(kept))

    def ended(self, how: str) -> None:
        self._mark("end", how)

    def _mark(self, kind: Kind, text: str) -> None:
        self._logs.put(self, _Line(time.time(), self.pid, kind, text.encode("utf-8", "replace"), self.secrets))


def _bounded(line: bytes | TooLarge) -> bytes | TooLarge:
    if isinstance(line, bytes) and len(line) > _LARGEST:
        return TooLarge(line[:END_BYTES], line[-END_BYTES:])
    return line


def shown(line: bytes | TooLarge, secrets: Sequence[str]) -> str:
    """A line as it is kept: without secrets, and without what would control a terminal. A long one loses its middle."""
    if isinstance(line, TooLarge):
        beginning = redact_cut(_harmless(line.beginning), secrets, at_end=True)
        return f"{beginning} … {redact_cut(_harmless(line.end), secrets, at_start=True)}"
    # As it was written, and as it reads: colours may stand between the letters of a secret.
    text = redact(_harmless(redact(line.decode("utf-8", "replace"), secrets)), secrets).rstrip()
    if len(text) > LINE_CHARS:
        text = f"{text[: LINE_CHARS // 2]} … {text[-LINE_CHARS // 2 :]}"
    return text


def _harmless(text: bytes | str) -> str:
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", without_escapes(decoded.rstrip("\r\n")))


def _record(line: _Line) -> bytes:
    found = {"at": round(line.at * 1000), "pid": line.pid, "kind": line.kind, "text": shown(line.text, line.secrets)}
    return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)


class _File:
    """The file of one server. Used by one thread."""

    def __init__(self, folder: Path, server: str) -> None:
        self._folder = folder
        self._path = log_file(folder, server)
        self._former = former_file(folder, server)
        self._descriptor: int | None = None
        self._torn = False

    def write(self, lines: Sequence[_Line]) -> None:
        """
        Raises:
            OSError: they cannot be written.
        """
        piece = bytearray()
        for number, line in enumerate(lines):
            piece += _record(line)
            if number % _BREATH == _BREATH - 1:
                # The event loop wants the interpreter back, and would wait for a switch.
                time.sleep(_BREATH_SECONDS)
            if len(piece) > _PIECE:
                self._append(piece)
                piece = bytearray()
        if piece:
            self._append(piece)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, data: bytes | bytearray) -> None:
        descriptor = self._opened()
        if os.fstat(descriptor).st_size + len(data) > FILE_BYTES:
            descriptor = self._turned(descriptor)
        # One call: what another process writes stands before or behind it. After half a line another one begins.
        data = b"\n" + data if self._torn else data
        self._torn = os.write(descriptor, data) < len(data)

    def _opened(self) -> int:
        if self._descriptor is not None and not self._is_current(self._descriptor):
            self.close()
        if self._descriptor is None:
            for folder in reversed([one for one in (self._folder, *self._folder.parents) if not one.exists()]):
                # Those above it too: the database may come to lie in one of them.
                folder.mkdir(mode=0o700, exist_ok=True)
            status = self._folder.stat()
            if status.st_uid != os.geteuid():
                # Whoever it belongs to could read what is written, and has put there what they like.
                raise OSError(0, "the folder belongs to another user")
            if status.st_mode & 0o077:
                self._folder.chmod(0o700)
            descriptor = os.open(self._path, _OPEN, 0o600)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                os.close(descriptor)
                raise OSError(0, "another thing than a file of this user is in its place")
            self._descriptor = descriptor
        return self._descriptor

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file is still in its place: another process may have moved it aside, or somebody removed it."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(self._path))
        except OSError:
            return False

    def _turned(self, descriptor: int) -> int:
        """The file to write to after the full one was moved aside, by this process or another one."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Whoever holds it moves the file just now: it has a little more than its bound once.
            with suppress(BlockingIOError):
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current(descriptor):
                    self._path.replace(self._former)
        finally:
            os.close(folder)
        return self._opened()
