"""Keeps a number of workers alive: starts them, replaces each that dies, and kills one that hangs.

Each place in the pool (a seat) has a task that starts a worker, waits for its end and starts the next one: at once if
the worker was ready before, else after a pause that grows.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from sandbox.errors import EngineError, WorkerDied
from sandbox.workers.process import LaneClient, Worker

START_PATIENCE: Final = 120.0
"""Seconds that a worker may take to become ready. The first one on a machine compiles the guest."""
PAUSES: Final = (0.05, 0.2, 1.0, 5.0)
"""Seconds before the next try, after a worker died at its start. The last pause repeats."""
TICK: Final = 0.25
"""Seconds between two looks of the watchdog while requests are in flight."""


class Watchdog:
    """Looks at the lanes with a request in flight; sleeps when there is none.

    A worker that a signal has stopped is killed at once. A request must be over its time at two looks in a row: if this
    process itself was suspended, the reply has arrived meanwhile and is read between them.
    """

    def __init__(self, workers: Callable[[], Iterable[Worker]]) -> None:
        self._workers = workers
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """To be called after every request."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for worker in self._workers():
            busy = [lane for lane in worker.lanes if lane.due is not None]
            if not busy:
                continue
            self.arm()
            if worker.is_stopped():
                worker.kill("it was stopped by a signal")
            for lane in busy:
                if _is_over(lane, now):
                    if lane.overdue:
                        worker.kill("it did not answer in time")
                    lane.overdue = True


def _is_over(lane: LaneClient, now: float) -> bool:
    """Whether the request of this lane takes too much wall time, or CPU time of the lane's thread."""
    if lane.due is not None and lane.due < now:
        return True
    if lane.cpu_allowance is None or now < lane.cpu_due or (used := lane.cpu_time()) is None:
        return False
    if lane.cpu_base is None:
        lane.cpu_base = used
    left = lane.cpu_allowance - (used - lane.cpu_base)
    lane.cpu_due = now + left
    return left < 0


class Pool:
    """`seats` workers, each from `spawn`. `workers` are those that are ready.

    `on_ready` is called when a worker becomes ready, `on_death` with a worker that has ended, `on_failure` when one
    cannot start and no other is ready.
    """

    def __init__(
        self,
        spawn: Callable[[], Worker],
        boot: bytes,
        seats: int,
        *,
        on_ready: Callable[[], None],
        on_death: Callable[[Worker, WorkerDied], None],
        on_failure: Callable[[EngineError], None],
    ) -> None:
        self.workers: list[Worker] = []
        self.build_id = ""
        """The build of the first worker that became ready. A worker of another build, as after an upgrade of the
        package under a running portal, is refused: images and frozen runs would not fit it."""
        self._spawn = spawn
        self._boot = boot
        self._seats = seats
        self._on_ready = on_ready
        self._on_death = on_death
        self._on_failure = on_failure
        self._alive: set[Worker] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._first: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Pool {len(self.workers)} of {self._seats} workers ready>"

    def alive(self) -> frozenset[Worker]:
        """All workers whose processes may be alive, ready or not."""
        return frozenset(self._alive)

    async def open(self) -> None:
        """Start the workers unless they run. Returns when one is ready.

        Raises:
            EngineError: the first worker cannot start.
        """
        if self._first is None:
            self._first = asyncio.get_running_loop().create_future()
            self._tasks = [asyncio.create_task(self._keep(0))]
        if not self.workers:
            await asyncio.shield(self._first)

    async def aclose(self) -> None:
        """Kill all workers and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._first is not None:
            self._first.cancel()
        for worker in self._alive:
            worker.kill("the executor was closed")
        # Who waits may be cancelled, and a worker ends all the same.
        await asyncio.gather(*(asyncio.shield(worker.ended) for worker in self._alive))

    async def start_one(self) -> Worker:
        """A worker that is ready and has no seat. The caller kills it.

        Raises:
            WorkerDied: it died before it was ready, or was not ready in time.
            EngineError: its process cannot be started.
        """
        try:
            worker = self._spawn()
        except OSError as error:
            raise EngineError(f"a worker process could not be started: {error}") from error
        self._alive.add(worker)
        worker.ended.add_done_callback(lambda _: self._alive.discard(worker))
        try:
            async with asyncio.timeout(START_PATIENCE):
                await worker.connect(self._boot)
                await asyncio.shield(worker.ready)
            self._check_build(worker)
        except TimeoutError:
            worker.kill(f"it was not ready after {START_PATIENCE:.0f} s")
            raise await asyncio.shield(worker.ended) from None
        except BaseException:
            worker.kill()
            raise
        return worker

    def _check_build(self, worker: Worker) -> None:
        self.build_id = self.build_id or worker.build_id
        if worker.build_id != self.build_id:
            raise EngineError("the installed package was replaced while this process runs: restart it")

    async def _keep(self, seat: int) -> None:
        failures = 0
        while True:
            try:
                worker = await self.start_one()
            except Exception as error:  # a background task: the error is reported, then the seat tries again
                self._failed(error if isinstance(error, EngineError) else EngineError(f"a worker failed: {error!r}"))
                await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1
                continue
            failures = 0
            self._joined(worker)
            try:
                death = await asyncio.shield(worker.ended)
            finally:
                self.workers.remove(worker)
            self._on_death(worker, death)

    def _joined(self, worker: Worker) -> None:
        self.workers.append(worker)
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
        # The other seats start after the first worker is ready: only that one compiles a guest that is not cached.
        while len(self._tasks) < self._seats:
            self._tasks.append(asyncio.create_task(self._keep(len(self._tasks))))
        self._on_ready()

    def _failed(self, error: EngineError) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_exception(error)
            self._first.exception()  # so that asyncio does not warn where `open` does not wait for it
            self._first = asyncio.get_running_loop().create_future()
        if not self.workers:
            self._on_failure(error)
