"""One run in a worker, as its caller sees it.

The guest's batches are decoded here, on the trusted side; the worker only passes them on. A worker that breaks its
protocol is killed. A guest that breaks its contract ends its run.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Self, TypeVar

from sandbox.conversation import Conversation
from sandbox.engine import Image
from sandbox.errors import (
    EngineError,
    ForeignImage,
    GuestAbiError,
    IsolateClosed,
    LocalStateError,
    Overloaded,
    WorkerDied,
)
from sandbox.events import Outcome, Settlement, Suspended
from sandbox.executor import Phase
from sandbox.workers.dispatch import Dispatch
from sandbox.workers.frames import (
    CPU_TIME,
    Fault,
    Frame,
    FrameKind,
    ProtocolViolation,
    pack_named,
    pack_owned,
    pack_resume,
    unpack_fault,
)
from sandbox.workers.process import LaneClient, Worker

T = TypeVar("T")

GRACE: Final = 2.0
"""Seconds of CPU or wall time that a slice may take past its limits or after a stop; then its worker is killed."""
PATIENCE: Final = 30.0
"""Seconds for a request that runs no program: freezing, sending an image."""

_ERRORS: Final[dict[Fault, type[EngineError]]] = {
    Fault.MISSING_IMAGE: ForeignImage,
    Fault.ENGINE: EngineError,
    Fault.ABI: GuestAbiError,
    Fault.LOCAL_STATE: LocalStateError,
    Fault.CLOSED: IsolateClosed,
    Fault.FOREIGN_IMAGE: ForeignImage,
    Fault.OVERLOADED: Overloaded,
}


class WorkerExecution:
    """An `Execution` in a worker process."""

    def __init__(
        self,
        dispatch: Dispatch,
        open: Callable[[], Awaitable[None]],
        run: int,
        identity: str,
        converse: Callable[[], Conversation],
        image: Image | None,
        frozen: bytes = b"",
    ) -> None:
        self.identity = identity
        self.queue_time = 0.0
        self.cpu_time = 0.0
        self.worker: Worker | None = None
        """The worker in which it runs or is suspended; None before the first slice and after the last."""
        self._owner = 0
        """What the worker knows its identity by."""
        self._dispatch = dispatch
        self._open = open
        self._run = run
        self._converse = converse
        self._conversation = converse()
        self._image = image
        self._frozen = frozen
        self._phase = Phase.FROZEN if frozen else Phase.NEW
        self._queued = False
        self._lane: LaneClient | None = None
        self._at_rest = asyncio.Event()
        """Set while it has no lane."""
        self._at_rest.set()

    def __repr__(self) -> str:
        return f"<WorkerExecution {self._run} {self._phase.value}>"

    async def start(self, source: str, now: float, seed: bytes, begin: str = "") -> Outcome:
        self._phase.require("start", Phase.NEW)
        return await self._slice(lambda: self._conversation.start(source, now, seed, begin))

    async def resume(self, settlements: Sequence[Settlement], now: float, excused: float = 0.0) -> Outcome:
        self._phase.require("resume", Phase.SUSPENDED, Phase.FROZEN)
        return await self._slice(lambda: pack_resume(excused, self._conversation.resume(settlements, now)))

    async def freeze(self) -> bytes:
        self._phase.require("freeze", Phase.SUSPENDED, Phase.FROZEN)
        if self._phase is Phase.FROZEN:
            return self._frozen
        lane = await self._acquire()
        try:
            return await self._guarded(lane, Phase.SUSPENDED, self._freeze(lane))
        finally:
            lane.when_idle(self._give_back)

    async def aclose(self) -> None:
        self._end()
        await self._at_rest.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def _slice(self, encode: Callable[[], bytes]) -> Outcome:
        before = self._phase
        lane = await self._acquire()
        try:
            try:
                batch = encode()
            except LocalStateError:
                self._phase = before  # the caller's mistake: nothing has changed
                raise
            return await self._guarded(lane, before, self._exchange(lane, before, batch))
        finally:
            lane.when_idle(self._give_back)

    async def _acquire(self) -> LaneClient:
        """A lane, in fair order. After `Overloaded` nothing has changed; after any other error the run has ended."""
        if self.worker is not None and (death := self.worker.death) is not None:
            self._end()
            raise WorkerDied(*death.args)
        before, self._phase = self._phase, Phase.RUNNING
        began = time.perf_counter()  # not the loop's clock: uvloop's has steps of a millisecond
        self._queued = True
        try:
            if self.worker is None:
                await self._open()
            lane = await self._dispatch.acquire(self, new=self.worker is None)
        except Overloaded:
            self._phase = before if self._is(Phase.RUNNING) else self._phase
            raise
        except BaseException:
            self._end()
            raise
        finally:
            self._queued = False
        self.queue_time += time.perf_counter() - began
        if self._is(Phase.ENDED):  # closed by another task after the lane was granted
            self._dispatch.release(lane)
            raise IsolateClosed("this run was closed")
        self._lane = lane
        self._at_rest.clear()
        return lane

    async def _guarded(self, lane: LaneClient, before: Phase, exchange: Awaitable[T]) -> T:
        """The result of an exchange with the worker. After an error the run has ended; but when the worker had no room
        for a run that was not in it yet, nothing has changed."""
        try:
            return await exchange
        except Overloaded:
            if before is Phase.SUSPENDED or self._is(Phase.ENDED):
                self._end()
            else:
                self._leave_worker()
                self._phase = before
                self._conversation = self._converse()
            raise
        except ProtocolViolation as violation:
            self._end()
            lane.worker.kill(f"it sent {violation}")
            raise WorkerDied(str(await asyncio.shield(lane.worker.ended))) from None
        except BaseException:
            self._end()
            raise

    async def _exchange(self, lane: LaneClient, before: Phase, batch: bytes) -> Outcome:
        frame = await self._run_slice(lane, before, batch)
        if frame.kind is FrameKind.FAULT and unpack_fault(frame.payload)[0] is Fault.MISSING_IMAGE and self._image:
            lane.worker.images.discard(self._image.id)  # evicted there: send it once more
            frame = await self._run_slice(lane, before, batch)
        payload = _expect(frame, FrameKind.SUSPENDED, FrameKind.FINISHED)
        if len(payload) < CPU_TIME.size:
            raise ProtocolViolation("a reply cut short")
        (cpu_time,) = CPU_TIME.unpack_from(payload)
        if not (math.isfinite(cpu_time) and cpu_time >= 0):
            raise ProtocolViolation("an impossible CPU time")
        self.cpu_time = cpu_time
        outcome = self._conversation.receive(payload[CPU_TIME.size :])
        if isinstance(outcome, Suspended) is not (frame.kind is FrameKind.SUSPENDED):
            raise ProtocolViolation("an outcome that contradicts its frame")
        self._check_open()
        self._frozen = b""
        if frame.kind is FrameKind.FINISHED:
            self._end(notify=False)
        else:
            self._phase = Phase.SUSPENDED
        return outcome

    async def _run_slice(self, lane: LaneClient, before: Phase, batch: bytes) -> Frame:
        worker, image = lane.worker, self._image
        if before is Phase.NEW and image is not None and image.id not in worker.images:
            sending = self._dispatch.ask(lane, FrameKind.IMAGE, 0, pack_named(image.id, image.data), PATIENCE)
            _expect(await sending, FrameKind.STORED)
            worker.images.add(image.id)
        self._enter_worker(worker)
        name = "" if image is None else image.id
        match before:
            case Phase.NEW:
                kind, payload = FrameKind.START, pack_owned(self._owner, name, batch)
            case Phase.FROZEN:
                kind, payload = FrameKind.THAW, pack_owned(self._owner, "", self._frozen, batch)
            case _:
                kind, payload = FrameKind.RESUME, batch
        limits, grace = self._conversation.limits, self._dispatch.grace
        return await self._dispatch.ask(
            lane, kind, self._run, payload, limits.wall_time + grace, limits.cpu_time + grace
        )

    async def _freeze(self, lane: LaneClient) -> bytes:
        frozen = _expect(await self._dispatch.ask(lane, FrameKind.FREEZE, self._run, b"", PATIENCE), FrameKind.FROZEN)
        self._check_open()
        self._phase = Phase.SUSPENDED
        return frozen

    def _enter_worker(self, worker: Worker) -> None:
        if self.worker is None:
            self.worker = worker
            worker.runs += 1
            self._owner = self._dispatch.entered(self.identity)

    def _check_open(self) -> None:
        if self._is(Phase.ENDED):
            raise IsolateClosed("this run was closed")

    def _is(self, phase: Phase) -> bool:
        """Whether the run is in this phase now; another task may have closed it during an await."""
        return self._phase is phase

    def _end(self, *, notify: bool = True) -> None:
        """The run is over. `notify`: its worker does not know it yet."""
        if self._phase is Phase.ENDED:
            return
        self._phase = Phase.ENDED
        self._frozen = b""
        if self._queued:
            self._dispatch.fail(IsolateClosed("this run was closed"), lambda work: work is self)
        worker = self._leave_worker()
        if worker is not None and notify:
            worker.stop(self._run)
            if self._lane is not None:
                self._lane.hurry(self._dispatch.grace)

    def _leave_worker(self) -> Worker | None:
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.runs -= 1
            self._dispatch.left(self.identity)
        return worker

    def _give_back(self) -> None:
        lane, self._lane = self._lane, None
        assert lane is not None
        self._at_rest.set()
        self._dispatch.release(lane)


def _expect(frame: Frame, *kinds: FrameKind) -> bytes:
    """
    Raises:
        EngineError: the worker reports a fault.
        ProtocolViolation: the reply is of another kind.
    """
    if frame.kind is FrameKind.FAULT:
        fault, message = unpack_fault(frame.payload)
        raise _ERRORS[fault](message)
    if frame.kind not in kinds:
        raise ProtocolViolation("a reply of the wrong kind")
    return frame.payload
