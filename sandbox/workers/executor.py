"""The executor that runs programs in child processes.

A worker that dies is replaced at once and takes only its own runs with it. A run stays in the worker it started in;
`freeze` takes it out as bytes, which `thaw` puts into any worker.
"""

from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, Self

from sandbox.compiled import default_cache
from sandbox.conversation import Conversation
from sandbox.engine import Image
from sandbox.errors import EngineError, IsolateClosed, WorkerDied
from sandbox.executor import QUEUE, cores, read_program
from sandbox.fair import QUANTUM, Slots
from sandbox.limits import Limits
from sandbox.workers.boot import Boot, most_memory, most_output
from sandbox.workers.confinement import Confinement
from sandbox.workers.dispatch import Dispatch, Lanes, Placed
from sandbox.workers.execution import GRACE, WorkerExecution
from sandbox.workers.frames import CPU_TIME, SLICES, Kind
from sandbox.workers.images import ImageBuilder
from sandbox.workers.pool import Pool, Watchdog
from sandbox.workers.process import Lane, Worker
from sandbox.workers.process import command as worker_command

LANES: Final = 128
"""Over all workers; a slice paused for others to have a turn keeps its lane."""
LEAST_LANES: Final = 4
MOST_LANES: Final = 64
ISOLATES: Final = 64
RUNS: Final = 10_000
FROZEN_BYTES: Final = 1024 * 1024 * 1024
IMAGE_BYTES: Final = 256 * 1024 * 1024


class WorkerExecutor:
    """An `Executor` on child processes; Linux, and best effort on other POSIX systems (see `confinement`).

    `parallel` bounds the guests that compute at a time in all workers together. A slice that takes long while others
    wait is paused where it is, and goes on in turn.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        workers: int | None = None,
        parallel: int | None = None,
        queue: int = QUEUE,
        isolates: int = ISOLATES,
        runs: int = RUNS,
        quantum: float = QUANTUM,
        grace: float = GRACE,
        cache: Path | None | str = "default",
        command: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            workers: Processes (default: cores).
            parallel: Guests that compute at a time, over all workers (default: as many as workers).
            queue: Programs that may wait for their turn; more are refused as `Overloaded`.
            isolates: Live isolates a worker; further suspended runs are frozen to bytes inside it.
            runs: Runs started and not ended, over all workers; more are refused as `Overloaded`.
            quantum: Seconds after which a guest that computes is paused when others wait.
            grace: Seconds (of wall or CPU time) a slice may take past its limits, or after it was told to stop, before
                the worker is killed for it.
            cache: Folder for the compiled guest, as `Engine` takes it.
            command: The words that start a worker, for one that is not ours.
        """
        self.limits = limits or Limits()
        seats = workers or cores()
        parallel = parallel or seats
        self._lanes = min(max(LEAST_LANES, LANES // seats), MOST_LANES)
        self._caps = dict.fromkeys(SLICES, CPU_TIME.size + most_output(self.limits))
        self._caps |= dict.fromkeys((Kind.FREEZE, Kind.BUILD), most_memory(self.limits))
        self._command = list(command or worker_command())
        boot = Boot(
            limits=self.limits,
            isolates=max(isolates, self._lanes + 1),
            frozen_bytes=FROZEN_BYTES,
            image_bytes=IMAGE_BYTES,
            cache=None if cache is None else str(default_cache() if cache == "default" else cache),
        )
        self._runs = count(1)
        self._closed = False
        self._pool = Pool(
            self._spawn,
            boot.to_json(),
            seats,
            on_ready=self._ready,
            on_death=self._died,
            on_failure=self._failed,
        )
        self._watchdog = Watchdog(self._pool.known)
        slots = Slots[Placed, Lane](
            Lanes(self._pool.workers),
            parallel=parallel,
            bound=queue,
            each=max(parallel, self._lanes * seats // 4),
            quantum=quantum,
        )
        self._dispatch = Dispatch(slots, self._watchdog.arm, runs=runs, grace=grace)
        self._builder = ImageBuilder(self._pool.start_one, self._dispatch.ask, IMAGE_BYTES)

    def __repr__(self) -> str:
        return f"<WorkerExecutor {self._pool!r}, {self._dispatch!r}>"

    @property
    def confinement(self) -> tuple[Confinement, ...]:
        """What holds each worker that is ready now."""
        return tuple(worker.confinement for worker in self._pool.workers)

    @property
    def build_id(self) -> str:
        """The build all workers share, which images and frozen runs are bound to; empty before the first is ready."""
        return self._pool.build_id

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that are ready now."""
        return tuple(worker.pid for worker in self._pool.workers)

    async def open(self) -> None:
        """Start the workers and return when one is ready. The first run does it otherwise.

        Raises:
            EngineError: the first worker could not start.
        """
        if self._closed:
            raise IsolateClosed("the executor is closed")
        await self._pool.open()

    async def image(self, preload: str) -> Image:
        await self.open()
        return await self._builder.build(preload)

    def execution(self, image: Image | None = None, *, identity: str = "") -> WorkerExecution:
        converse = partial(Conversation, self.limits)
        return WorkerExecution(self._dispatch, self.open, next(self._runs), identity, converse, image)

    def thaw(self, frozen: bytes, *, identity: str = "") -> WorkerExecution:
        converse = partial(Conversation, self.limits, waiting=read_program(frozen).waiting)
        return WorkerExecution(self._dispatch, self.open, next(self._runs), identity, converse, None, frozen)

    async def aclose(self) -> None:
        self._closed = True
        self._dispatch.close()
        self._dispatch.fail(IsolateClosed("the executor was closed"))
        self._watchdog.close()
        await self._builder.aclose()
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def _spawn(self) -> Worker:
        return Worker.spawn(self._command, lanes=self._lanes, caps=self._caps)

    def _ready(self) -> None:
        self._dispatch.pump()

    def _died(self, worker: Worker, died: WorkerDied) -> None:
        self._dispatch.fail(died, lambda work: work.worker is worker)

    def _failed(self, error: EngineError) -> None:
        self._dispatch.fail(error)
