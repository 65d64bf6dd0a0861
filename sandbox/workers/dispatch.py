"""Who computes next, and in which worker: the fair queue in front of the lanes of all workers."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
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
    """Gives out lanes in fair order and sends requests on them. `runs`: how many may exist at a time, `each`: how many
    of one identity; `watch`: called after every request; `grace`: as in `WorkerExecutor`."""

    def __init__(
        self, slots: Slots[Work, LaneClient], watch: Callable[[], None], *, runs: int, each: int, grace: float
    ) -> None:
        self.grace = grace
        self._slots = slots
        self._watch = watch
        self._most_runs = runs
        self._most_of_one = each
        self.runs = 0
        """How many runs are in a worker."""
        self._runs_of: Counter[str] = Counter()
        """How many runs of each identity are in a worker."""
        self._owners: dict[str, int] = {}
        """What the workers know each identity by that has a run in one."""
        self._next_owner = count(1)

    def __repr__(self) -> str:
        return f"<Dispatch {self.runs} runs, {self._slots!r}>"

    @property
    def load(self) -> tuple[int, int, int]:
        """How many runs compute or are paused, how many wait for a place, and how many are in a worker besides."""
        running = self._slots.computing + self._slots.parked
        return running, self._slots.waiting, max(0, self.runs - running)

    def entered(self, identity: str) -> int:
        """A run of this identity is in a worker now. Returns what the worker knows the identity by, 0 for ""."""
        self.runs += 1
        self._runs_of[identity] += 1
        if not identity:
            return 0
        if identity not in self._owners:
            self._owners[identity] = next(self._next_owner)
        return self._owners[identity]

    def left(self, identity: str) -> None:
        """A run of this identity is in no worker any more."""
        self.runs -= 1
        self._runs_of[identity] -= 1
        if not self._runs_of[identity]:
            del self._runs_of[identity]
            self._owners.pop(identity, None)

    async def acquire(self, work: Work, *, new: bool) -> LaneClient:
        """A lane, in fair order. Give it back with `release` when no request is in flight on it.

        Raises:
            Overloaded: only when `new`.
        """
        if new:
            self._require_room(work.identity)
        return await self._slots.acquire(work.identity, work, refusable=new)

    def _require_room(self, identity: str) -> None:
        """
        Raises:
            Overloaded: the identity has as many runs as it may, or all together have.
        """
        if identity and self._runs_of.get(identity, 0) >= self._most_of_one:
            raise Overloaded(
                f"{self._most_of_one} of your programs are running or suspended, the most for one person: nothing was "
                "run, try again when one of them has ended",
                own=True,
            )
        if self.runs >= self._most_runs:
            raise Overloaded(
                f"{self._most_runs} programs are running or suspended, the most there may be: nothing was run, try "
                "again in a minute"
            )

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
