"""The parent's side of one worker: its process, the control channel and the lanes, all on the event loop.

A worker is hostile to this module: whatever it sends that the protocol does not ask for, and every end of a channel,
kills it. `Worker.gone` then tells why, and every request in flight fails with that.
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
from sandbox.workers.frames import SLICES, Frame, FrameReader, Kind, ProtocolViolation, pack, unpack_fault

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
"""What `python -c` runs. The package's own `__init__` is not executed: the portal's half of it would cost the worker
most of its start-up time."""


def command() -> list[str]:
    """The words that start a worker; parent id, control and lane descriptors follow. `-S`: no site hooks; the path is
    the portal's own, so both sides run the same code."""
    folder = str(Path(sandbox.__file__).parent.parent)
    return [sys.executable, "-I", "-S", "-c", BOOTSTRAP, folder, "\n".join(filter(None, sys.path))]


class Channel(asyncio.BufferedProtocol):
    """One socket to a worker. Frames, violations and the end of the stream go to the functions given."""

    def __init__(self, cap: int, on_frame: Callable[[Frame], None], on_broken: Callable[[str], None]) -> None:
        self._reader = FrameReader(cap)
        self._on_frame = on_frame
        self._on_broken = on_broken
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._reader.received(nbytes):
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
        """How long a payload may be from now on (bytes)."""
        self._reader.cap = cap

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Lane:
    """One thread of a worker, and one request at a time on it."""

    def __init__(self, worker: "Worker", caps: Mapping[Kind, int]) -> None:
        """`caps`: the most bytes of a reply to each kind of request, where it is more than `CONTROL_CAP`."""
        self.worker = worker
        self._caps = caps
        self.taken = False
        """Whether somebody holds this lane."""
        self.due: float | None = None
        """When (loop time) the watchdog gives up on the request in flight; None when there is none."""
        self.cpu_allowance: float | None = None
        """CPU seconds of this lane's thread after which it gives up as well."""
        self.cpu_base: float | None = None
        """What the thread had used when the watchdog first saw this request."""
        self.cpu_due = 0.0
        """Before this (loop time) the thread cannot have used its allowance, for it has one core at most."""
        self.thread: int | None = None
        """The system's id of its thread, by the worker's own word."""
        self.overdue = False
        """Whether the watchdog has found it over its time once already."""
        self.channel = Channel(0, self._on_frame, worker.kill)
        self._run = 0
        self._is_slice = False
        self._reply: asyncio.Future[Frame] | None = None
        self._on_idle: Callable[[], None] | None = None

    @property
    def busy(self) -> bool:
        return self.due is not None

    def take(self) -> None:
        self.taken = True
        self.worker.taken += 1

    def give_back(self) -> None:
        self.taken = False
        self.worker.taken -= 1

    def pause(self) -> bool:
        """Let the slice in flight compute no more until `proceed`. False when there is none."""
        if not self._is_slice or not self.busy:
            return False
        self.worker.control.send(pack(Kind.PAUSE, self._run))
        return True

    def proceed(self) -> None:
        """Undo `pause`, even if the slice has ended since."""
        self.worker.control.send(pack(Kind.PROCEED, self._run))

    def request(
        self, kind: Kind, run: int, payload: bytes, patience: float, cpu_allowance: float | None = None
    ) -> "asyncio.Future[Frame]":
        """Send one request; the reply comes with the future. The watchdog kills the worker when the request takes
        longer than `patience`, or its thread more CPU time than `cpu_allowance` (seconds both)."""
        assert self._reply is None, "a lane has one request at a time"
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Frame] = loop.create_future()
        if self.worker.gone is not None:
            reply.set_exception(WorkerDied(*self.worker.gone.args))
            return reply
        self._run, self._reply, self.due, self.overdue = run, reply, loop.time() + patience, False
        self.cpu_allowance, self.cpu_base, self.cpu_due = cpu_allowance, None, 0.0
        self._is_slice = kind in SLICES
        self.channel.allow(self._caps.get(kind, CONTROL_CAP))
        self.channel.send(pack(kind, run, payload))
        return reply

    def hurry(self, patience: float) -> None:
        """Bring the watchdog's time for the request in flight forward."""
        if self.due is not None:
            self.due = min(self.due, asyncio.get_running_loop().time() + patience)

    def cpu_time(self) -> float | None:
        """CPU seconds its thread has used; None where the system does not tell, or the worker has no such thread."""
        try:
            stat = Path(f"/proc/{self.worker.pid}/task/{self.thread}/stat").read_text(errors="replace")
            fields = stat.rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call `then` once no request is in flight: now, or on the reply, or on the worker's death."""
        if self.busy:
            self._on_idle = then
        else:
            then()

    def fail(self, error: WorkerDied) -> None:
        """The worker died."""
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(WorkerDied(*error.args))
        self._settled()

    def _on_frame(self, frame: Frame) -> None:
        if self._reply is None:
            raise ProtocolViolation("a frame nobody asked for")
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
    """One child process. `ready` resolves once it is confined; `gone` is None while it lives.

    Made by `Worker.spawn`, on the event loop's own thread: the kernel ties the child's life to the thread that made it.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", ends: list[socket.socket], caps: Mapping[Kind, int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._ends = ends
        """Of the channels not taken up yet."""
        self._reason = ""
        self._killed = False
        self.pid = process.pid
        self.gone: WorkerDied | None = None
        self.build_id = ""
        self.confinement = Confinement({}, {})
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.ready.add_done_callback(_retrieve)
        self.ended: asyncio.Future[WorkerDied] = self._loop.create_future()
        """Resolves when the process is reaped."""
        self.control = Channel(CONTROL_CAP, self._on_control, self.kill)
        self.lanes = [Lane(self, caps) for _ in ends[1:]]
        self.images: set[str] = set()
        """Ids of images sent; the worker may have dropped some since."""
        self.taken = 0
        """How many of its lanes are taken."""
        self.runs = 0
        """How many runs live in this worker."""

    def __repr__(self) -> str:
        state = "ready" if self.is_ready else "gone" if self.gone else "starting"
        return f"<Worker {self.pid} {state}, {self.runs} runs, {self.taken} lanes taken>"

    @classmethod
    def spawn(cls, words: Sequence[str], *, lanes: int, caps: Mapping[Kind, int]) -> "Worker":
        """Start a worker: an empty environment, no descriptor but the channels, a session of its own. `caps` as for
        `Lane`.

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
        """Take up the channels and tell the worker how to be."""
        for channel in (self.control, *(lane.channel for lane in self.lanes)):
            if self.gone is not None:
                raise WorkerDied(*self.gone.args)
            end = self._ends.pop(0)
            end.setblocking(False)
            await self._loop.create_unix_connection(lambda channel=channel: channel, sock=end)  # type: ignore[misc]
        self.control.send(pack(Kind.BOOT, 0, boot))

    @property
    def is_ready(self) -> bool:
        return self.gone is None and self.ready.done() and not self.ready.cancelled() and not self.ready.exception()

    def stop(self, run: int) -> None:
        """Tell the worker that a run is over, whatever it does now."""
        self.control.send(pack(Kind.STOP, run))

    @property
    def load(self) -> tuple[int, int]:
        """For choosing the least loaded: slices that run, then runs."""
        return self.taken, self.runs

    def free_lane(self) -> Lane | None:
        if not self.is_ready or self.taken == len(self.lanes):
            return None
        return next((lane for lane in self.lanes if not lane.taken), None)

    def is_stopped(self) -> bool:
        """Whether the process is stopped by a signal: nobody but an enemy or a debugger does that to a worker."""
        if self.gone is not None or not hasattr(os, "waitid"):
            return False
        try:
            return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return False

    def kill(self, reason: str = "") -> None:
        """End the worker and whatever it may have started. Idempotent; the first reason given is the one told."""
        self._reason = self._reason or reason
        if not self._killed and self.gone is None:
            self._killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _on_control(self, frame: Frame) -> None:
        if self.ready.done():
            raise ProtocolViolation("a frame nobody asked for")
        if frame.kind is Kind.FAULT:
            self.kill(f"it could not start: {unpack_fault(frame.payload)[1]}")
            return
        if frame.kind is not Kind.READY:
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
                self.kill()  # whatever it may have started; before it is reaped, while its id is still its own
                self._reaped()

            self._loop.add_reader(descriptor, exited)
        else:
            waiting = self._loop.run_in_executor(None, self._process.wait)
            waiting.add_done_callback(lambda _: self._reaped())

    def _reaped(self) -> None:
        status = self._process.wait()
        _close(self._ends)
        self.gone = died = WorkerDied(_obituary(status, self._reason))
        for channel in (self.control, *(lane.channel for lane in self.lanes)):
            channel.abort()
        if not self.ready.done():
            self.ready.set_exception(died)
        self.ended.set_result(died)
        for lane in self.lanes:
            lane.fail(died)


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
