"""Who computes next, and in which worker: the fair queue in front of the lanes of all workers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from sandbox.errors import EngineError, Overloaded
from sandbox.fair import Slots
from sandbox.workers.frames import Frame, FrameKind
from sandbox.workers.process import LaneClient, Worker


class Work(Protocol):
    """Work that needs a lane. `worker`: the one in which it must run; None for any."""

    @property
    def identity(self) -> str: ...
    @property
    def worker(self) -> Worker | None: ...


class Lanes:
    """A `fair.Host`: the lanes of all workers are the places to run."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def take(self, work: Work) -> LaneClient | None:
        if work.worker is not None:
            lane = work.worker.free_lane()
        else:
            lanes = (lane for worker in self._workers if (lane := worker.free_lane()))
            lane = min(lanes, key=lambda lane: lane.worker.load, default=None)
        if lane is not None:
            lane.take()
        return lane

    def free(self, place: LaneClient) -> None:
        place.give_back()

    def pause(self, place: LaneClient) -> bool:
        return place.pause()

    def proceed(self, place: LaneClient) -> None:
        place.proceed()


class Dispatch:
    """Gives out lanes in fair order and sends requests on them. `runs`: how many may exist at a time; `watch`: called
    after every request; `grace`: as in `WorkerExecutor`."""

    def __init__(self, slots: Slots[Work, LaneClient], watch: Callable[[], None], *, runs: int, grace: float) -> None:
        self.grace = grace
        self.runs = 0
        """How many runs are in a worker; the executions count them."""
        self._slots = slots
        self._watch = watch
        self._most_runs = runs

    def __repr__(self) -> str:
        return f"<Dispatch {self.runs} runs, {self._slots!r}>"

    async def acquire(self, work: Work, *, new: bool) -> LaneClient:
        """A lane, in fair order. Give it back with `release` when no request is in flight on it.

        Raises:
            Overloaded: only when `new`.
        """
        if new and self.runs >= self._most_runs:
            raise Overloaded(f"{self._most_runs} programs are running or suspended: try again later")
        return await self._slots.acquire(work.identity, work, refusable=new)

    def release(self, lane: LaneClient) -> None:
        self._slots.release(lane)

    def ask(
        self,
        lane: LaneClient,
        kind: FrameKind,
        run: int,
        payload: bytes,
        patience: float,
        cpu_allowance: float | None = None,
    ) -> "asyncio.Future[Frame]":
        """Send a request, which the watchdog times. See `Lane.request`."""
        reply = lane.request(kind, run, payload, patience, cpu_allowance)
        self._watch()
        return reply

    def pump(self) -> None:
        """To be called when a worker becomes ready."""
        self._slots.pump()

    def fail(self, error: EngineError, which: Callable[[Work], bool] = lambda _: True) -> None:
        """Fail the waiting work for which `which` is true."""
        self._slots.fail(error, which)

    def close(self) -> None:
        self._slots.close()
