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
from collections.abc import Iterable, Sequence
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
_OPEN = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# Besides escape sequences: every character that controls a terminal or turns text around.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def log_file(folder: Path, server: str) -> Path:
    return folder / f"{server}.log"


def former_file(folder: Path, server: str) -> Path:
    return folder / f"{server}.log.1"


@dataclass(frozen=True, slots=True)
class _Line:
    """What is to be written. `secrets` are those of the process."""

    at: float
    pid: int | None
    kind: Kind
    text: bytes | TooLarge
    secrets: Sequence[str]

    @property
    def size(self) -> int:
        return len(self.text) if isinstance(self.text, bytes) else 2 * END_BYTES


@dataclass(eq=False, slots=True)
class _Waiting:
    """The lines of one process that wait for the thread. Kept are the newest, and every start and end."""

    lines: deque[_Line] = field(default_factory=deque)
    marks: list[_Line] = field(default_factory=list)
    size: int = 0
    dropped: int = 0
    dropped_at: float = 0.0

    def add(self, lines: Iterable[_Line], left_out: int) -> None:
        for line in lines:
            if line.kind in ("stderr", "stdout"):
                if left_out:
                    self.leave_out(left_out, line.at)
                    left_out = 0
                self.lines.append(line)
                self.size += line.size
            else:
                self.marks.append(line)
        while len(self.lines) > WAITING_LINES or self.size > WAITING_BYTES:
            gone = self.lines.popleft()
            self.size -= gone.size
            self.leave_out(1, gone.at)

    def leave_out(self, count: int, at: float) -> None:
        self.dropped += count
        self.dropped_at = at

    def take(self, pid: int | None) -> list[_Line]:
        """What is to be written, in order."""
        taken = [*self.marks, *self.lines]
        if self.dropped:
            taken.insert(0, _Line(self.dropped_at, pid, "dropped", str(self.dropped).encode(), ()))
        self.marks, self.size, self.dropped = [], 0, 0
        self.lines.clear()
        return sorted(taken, key=lambda line: (line.at, line.kind != "start", line.kind == "end"))


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

    def put(self, process: ProcessLog, lines: Iterable[_Line], left_out: int) -> None:
        """Put lines of a process aside to be written; `left_out` more were not kept. Never waits for a file."""
        if self.folder is None or self._closing.is_set():
            return
        with self._lock:
            self._waiting.setdefault(process, _Waiting()).add(lines, left_out)
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
        found: dict[str, list[_Line]] = {}
        with self._lock:
            for process, waiting in self._waiting.items():
                found.setdefault(process.server, []).extend(waiting.take(process.pid))
            self._waiting.clear()
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
        self._secrets: Sequence[str] = ()

    def begin(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self.pid = None

    def started(self, pid: int, program: str) -> None:
        self.pid = pid
        self._put("start", [program.encode("utf-8", "replace")])

    def failed(self, why: str) -> None:
        self._put("failed", [why.encode("utf-8", "replace")])

    def wrote(self, output: Literal["stderr", "stdout"], lines: Iterable[bytes | TooLarge], left_out: int = 0) -> None:
        """Lines on this output; `left_out` before them were not kept by whoever read them."""
        self._put(output, lines, left_out)

    def ended(self, how: str) -> None:
        self._put("end", [how.encode("utf-8", "replace")])

    def _put(self, kind: Kind, lines: Iterable[bytes | TooLarge], left_out: int = 0) -> None:
        if self._logs.folder is None:
            return
        at = time.time()
        found = (_Line(at, self.pid, kind, _bounded(line), self._secrets) for line in lines)
        self._logs.put(self, found, left_out)


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
        for line in lines:
            piece += _record(line)
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
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._folder.stat()
            if status.st_mode & 0o077 and status.st_uid == os.geteuid():
                self._folder.chmod(0o700)
            descriptor = os.open(self._path, _OPEN, 0o600)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(0, "another thing than a file is in its place")
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
