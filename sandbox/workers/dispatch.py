"""Who computes next, and in which worker: the fair queue over all lanes of all workers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from sandbox.errors import EngineError, Overloaded
from sandbox.fair import Slots
from sandbox.workers.frames import Frame, Kind
from sandbox.workers.process import Lane, Worker


class Placed(Protocol):
    """What asks for a lane. `worker`: the one it must run in; None when any will do."""

    @property
    def identity(self) -> str: ...
    @property
    def worker(self) -> Worker | None: ...


class Lanes:
    """The lanes of all workers as places to run (`fair.Host`)."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def take(self, work: Placed) -> Lane | None:
        if work.worker is not None:
            lane = work.worker.free_lane()
        else:
            lanes = (lane for worker in self._workers if (lane := worker.free_lane()))
            lane = min(lanes, key=lambda lane: lane.worker.load, default=None)
        if lane is not None:
            lane.take()
        return lane

    def free(self, place: Lane) -> None:
        place.give_back()

    def pause(self, place: Lane) -> bool:
        return place.pause()

    def proceed(self, place: Lane) -> None:
        place.proceed()


class Dispatch:
    """Lanes in turn, and requests on them. At most `runs` live at a time; `watch` is called with every request sent;
    `grace` as in `WorkerExecutor`."""

    def __init__(self, slots: Slots[Placed, Lane], watch: Callable[[], None], *, runs: int, grace: float) -> None:
        self.grace = grace
        self.runs = 0
        """How many runs live in some worker; counted by the executions."""
        self._slots = slots
        self._watch = watch
        self._most_runs = runs

    def __repr__(self) -> str:
        return f"<Dispatch {self.runs} runs, {self._slots!r}>"

    async def acquire(self, work: Placed, *, new: bool) -> Lane:
        """A lane, in turn. Give it back with `release`, when no request is in flight on it.

        Raises:
            Overloaded: only when `new`.
        """
        if new and self.runs >= self._most_runs:
            raise Overloaded(f"{self._most_runs} programs are running or suspended already: try again later")
        return await self._slots.acquire(work.identity, work, refusable=new)

    def release(self, lane: Lane) -> None:
        self._slots.release(lane)

    def ask(
        self, lane: Lane, kind: Kind, run: int, payload: bytes, patience: float, cpu_allowance: float | None = None
    ) -> "asyncio.Future[Frame]":
        """Send a request under the watchdog's eyes; see `Lane.request`."""
        reply = lane.request(kind, run, payload, patience, cpu_allowance)
        self._watch()
        return reply

    def pump(self) -> None:
        """A worker became ready."""
        self._slots.pump()

    def fail(self, error: EngineError, which: Callable[[Placed], bool] = lambda _: True) -> None:
        """Let the waiting work for which `which` is true fail."""
        self._slots.fail(error, which)

    def close(self) -> None:
        self._slots.close()
