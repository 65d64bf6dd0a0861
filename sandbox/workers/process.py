"""The parent's side of one worker: its process, the control channel and the lanes, all on the event loop.

A worker is hostile: it is killed for every frame outside the protocol, and for the end of any channel. `Worker.death`
then says why, and every request in flight fails with that error.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import sandbox
from sandbox.errors import WorkerDied
from sandbox.workers.boot import Report
from sandbox.workers.confinement import Confinement
from sandbox.workers.frames import SLICES, Frame, FrameKind, FrameReader, ProtocolViolation, pack, unpack_fault

CONTROL_CAP: Final = 64 * 1024

BOOTSTRAP: Final = """\
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
sys.path[:] = sys.argv[2].split("\\n")
sys.modules["sandbox"] = module_from_spec(PathFinder.find_spec("sandbox", [sys.argv[1]]))
from sandbox.workers.child import main
main([int(word) for word in sys.argv[3:]])
"""
"""What `python -c` runs. The `__init__` of the package is not executed: what only the portal needs of it would take
most of a worker's start."""


def command() -> list[str]:
    """The command that starts a worker; the ids of the parent and of the descriptors follow it. `-S`: no site hooks.
    The path is the portal's own, so both sides run the same code."""
    folder = str(Path(sandbox.__file__).parent.parent)
    return [sys.executable, "-I", "-S", "-c", BOOTSTRAP, folder, "\n".join(filter(None, sys.path))]


class Channel(asyncio.BufferedProtocol):
    """One socket to a worker. `on_frame` gets its frames, `on_broken` the reason for which it is of no more use."""

    def __init__(self, cap: int, on_frame: Callable[[Frame], None], on_broken: Callable[[str], None]) -> None:
        self._reader = FrameReader(cap)
        self._on_frame = on_frame
        self._on_broken = on_broken
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the same methods and another base class

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._reader.feed(nbytes):
                self._on_frame(frame)
        except ProtocolViolation as violation:
            self.abort()
            self._on_broken(f"it sent {violation}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_broken("")

    def send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def allow(self, cap: int) -> None:
        """Set the longest payload from now on (bytes)."""
        self._reader.cap = cap

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class LaneClient:
    """One thread of a worker, with one request at a time."""

    def __init__(self, worker: "Worker", caps: Mapping[FrameKind, int]) -> None:
        """`caps`: the longest reply to each kind of request (bytes), by default `CONTROL_CAP`."""
        self.worker = worker
        self._caps = caps
        self.in_use = False
        """Whether an execution has this lane."""
        self.due: float | None = None
        """The loop time at which the watchdog gives up on the request in flight; None without a request."""
        self.cpu_allowance: float | None = None
        """CPU seconds of the lane's thread after which the watchdog gives up too."""
        self.cpu_base: float | None = None
        """CPU seconds of the thread when the watchdog first saw this request."""
        self.cpu_due = 0.0
        """The loop time before which the thread cannot have used its allowance: it has one core at most."""
        self.thread: int | None = None
        """The system's id of its thread, as the worker reports it."""
        self.overdue = False
        """Whether the request was over its time at the last look of the watchdog."""
        self.channel = Channel(0, self._on_frame, worker.kill)
        self._run = 0
        self._is_slice = False
        self._reply: asyncio.Future[Frame] | None = None
        self._on_idle: Callable[[], None] | None = None

    @property
    def busy(self) -> bool:
        return self.due is not None

    def take(self) -> None:
        self.in_use = True
        self.worker.lanes_in_use += 1

    def give_back(self) -> None:
        self.in_use = False
        self.worker.lanes_in_use -= 1

    def pause(self) -> bool:
        """Stop the slice in flight from computing until `proceed`. False when there is none."""
        if not self._is_slice or not self.busy:
            return False
        self.worker.control.send(pack(FrameKind.PAUSE, self._run))
        return True

    def proceed(self) -> None:
        """End a pause. Also sent when the slice has ended since: the pause may still be on its way."""
        self.worker.control.send(pack(FrameKind.PROCEED, self._run))

    def request(
        self, kind: FrameKind, run: int, payload: bytes, patience: float, cpu_allowance: float | None = None
    ) -> "asyncio.Future[Frame]":
        """Send a request and return the future of its reply. The watchdog kills the worker when the request takes
        longer than `patience`, or its thread uses more CPU time than `cpu_allowance`, both in seconds."""
        assert self._reply is None, "a lane has one request at a time"
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Frame] = loop.create_future()
        if self.worker.death is not None:
            reply.set_exception(WorkerDied(*self.worker.death.args))
            return reply
        self._run, self._reply, self.due, self.overdue = run, reply, loop.time() + patience, False
        self.cpu_allowance, self.cpu_base, self.cpu_due = cpu_allowance, None, 0.0
        self._is_slice = kind in SLICES
        self.channel.allow(self._caps.get(kind, CONTROL_CAP))
        self.channel.send(pack(kind, run, payload))
        return reply

    def hurry(self, patience: float) -> None:
        """Let the watchdog give up on the request in flight within `patience` seconds."""
        if self.due is not None:
            self.due = min(self.due, asyncio.get_running_loop().time() + patience)

    def cpu_time(self) -> float | None:
        """CPU seconds of its thread. None where the system does not tell, or the worker has no such thread."""
        try:
            stat = Path(f"/proc/{self.worker.pid}/task/{self.thread}/stat").read_text(errors="replace")
            fields = stat.rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call `then` when no request is in flight: now, at the reply, or at the worker's death."""
        if self.busy:
            self._on_idle = then
        else:
            then()

    def fail(self, error: WorkerDied) -> None:
        """Fail the request in flight: the worker has died."""
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(WorkerDied(*error.args))
        self._settled()

    def _on_frame(self, frame: Frame) -> None:
        if self._reply is None:
            raise ProtocolViolation("a frame without a request")
        if frame.run != self._run:
            raise ProtocolViolation("a reply for another run")
        if not self._reply.done():
            self._reply.set_result(frame)
        self._settled()

    def _settled(self) -> None:
        self._reply = None
        self.due = None
        self.channel.allow(0)
        if (then := self._on_idle) is not None:
            self._on_idle = None
            then()


class Worker:
    """One child process. `ready` resolves when it is confined; `death` is None while it lives.

    `Worker.spawn` must run on the event loop's thread: the kernel kills the child when the thread that started it ends.
    """

    def __init__(
        self, process: "subprocess.Popen[bytes]", ends: list[socket.socket], caps: Mapping[FrameKind, int]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._ends = ends
        """The sockets that `connect` has not used yet."""
        self._reason = ""
        self._killed = False
        self.pid = process.pid
        self.death: WorkerDied | None = None
        self.build_id = ""
        self.confinement = Confinement({}, {})
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.ready.add_done_callback(_retrieve)
        self.ended: asyncio.Future[WorkerDied] = self._loop.create_future()
        """Resolves when the process has ended and is reaped."""
        self.control = Channel(CONTROL_CAP, self._on_control, self.kill)
        self.lanes = [LaneClient(self, caps) for _ in ends[1:]]
        self.images: set[str] = set()
        """Ids of the images sent to it; the worker may have dropped some since."""
        self.lanes_in_use = 0
        """How many of its lanes executions have."""
        self.runs = 0
        """How many runs are in this worker."""

    def __repr__(self) -> str:
        state = "ready" if self.is_ready else "dead" if self.death else "starting"
        return f"<Worker {self.pid} {state}, {self.runs} runs, {self.lanes_in_use} lanes in use>"

    @classmethod
    def spawn(cls, words: Sequence[str], *, lanes: int, caps: Mapping[FrameKind, int]) -> "Worker":
        """Start a worker with an empty environment, no descriptors but its channels, and a session of its own. `caps`:
        as for `Lane`.

        Raises:
            OSError: the process cannot be started.
        """
        pairs = [socket.socketpair() for _ in range(1 + lanes)]
        ours = [end for end, _ in pairs]
        theirs = [end for _, end in pairs]
        try:
            process = _start(words, [end.fileno() for end in theirs])
        except BaseException:
            _close(ours)
            raise
        finally:
            _close(theirs)
        worker = cls(process, ours, caps)
        worker._watch_process()
        return worker

    async def connect(self, boot: bytes) -> None:
        """Connect the channels and send the settings of the worker, a `Boot` as JSON."""
        for channel in (self.control, *(lane.channel for lane in self.lanes)):
            if self.death is not None:
                raise WorkerDied(*self.death.args)
            end = self._ends.pop(0)
            end.setblocking(False)
            await self._loop.create_unix_connection(lambda channel=channel: channel, sock=end)  # type: ignore[misc]
        self.control.send(pack(FrameKind.BOOT, 0, boot))

    @property
    def is_ready(self) -> bool:
        return self.death is None and self.ready.done() and not self.ready.cancelled() and not self.ready.exception()

    def stop(self, run: int) -> None:
        """Tell the worker that a run is over."""
        self.control.send(pack(FrameKind.STOP, run))

    @property
    def load(self) -> tuple[int, int]:
        """A key for choosing the least busy worker: its lanes in use, then its runs."""
        return self.lanes_in_use, self.runs

    def free_lane(self) -> LaneClient | None:
        if not self.is_ready or self.lanes_in_use == len(self.lanes):
            return None
        return next((lane for lane in self.lanes if not lane.in_use), None)

    def is_stopped(self) -> bool:
        """Whether a signal has stopped the process. Only an enemy or a debugger stops a worker."""
        if self.death is not None or not hasattr(os, "waitid"):
            return False
        try:
            return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return False

    def kill(self, reason: str = "") -> None:
        """Kill the worker and every process of its session. Idempotent; the first reason is the one reported."""
        self._reason = self._reason or reason
        if not self._killed and self.death is None:
            self._killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _on_control(self, frame: Frame) -> None:
        if self.ready.done():
            raise ProtocolViolation("a frame without a request")
        if frame.kind is FrameKind.FAULT:
            self.kill(f"it could not start: {unpack_fault(frame.payload)[1]}")
            return
        if frame.kind is not FrameKind.READY:
            raise ProtocolViolation("a frame out of place")
        report = Report.from_json(frame.payload)
        if len(report.threads) != len(self.lanes):
            raise ProtocolViolation("a report of other lanes than it has")
        for lane, thread in zip(self.lanes, report.threads, strict=True):
            lane.thread = thread
        self.build_id, self.confinement = report.build_id, report.confinement
        self.ready.set_result(None)

    def _watch_process(self) -> None:
        if hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(self.pid)

            def exited() -> None:
                self._loop.remove_reader(descriptor)
                os.close(descriptor)
                self.kill()  # what it may have started. Before it is reaped: afterwards its id may be another process's
                self._reaped()

            self._loop.add_reader(descriptor, exited)
        else:
            waiting = self._loop.run_in_executor(None, self._process.wait)
            waiting.add_done_callback(lambda _: self._reaped())

    def _reaped(self) -> None:
        status = self._process.wait()
        _close(self._ends)
        self.death = death = WorkerDied(_obituary(status, self._reason))
        for channel in (self.control, *(lane.channel for lane in self.lanes)):
            channel.abort()
        if not self.ready.done():
            self.ready.set_exception(death)
        self.ended.set_result(death)
        for lane in self.lanes:
            lane.fail(death)


def _start(words: Sequence[str], descriptors: list[int]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*words, *map(str, (os.getpid(), *descriptors))],
        env={},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
    )


def _close(ends: list[socket.socket]) -> None:
    for end in ends:
        end.close()


def _retrieve(future: "asyncio.Future[None]") -> None:
    if not future.cancelled():
        future.exception()


def _obituary(status: int, reason: str) -> str:
    if reason:
        return f"the worker process running this program was ended: {reason}"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"the worker process running this program died: {name}"
    return f"the worker process running this program ended by itself (status {status})"
