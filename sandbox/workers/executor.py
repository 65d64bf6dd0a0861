"""The executor that runs programs in child processes.

A worker that dies ends only its own runs, and is replaced at once. A run stays in the worker in which it started;
`freeze` returns it as bytes, which `thaw` continues in any worker.
"""

from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple, Self

from sandbox.compiled import default_cache
from sandbox.conversation import Conversation
from sandbox.engine import Image
from sandbox.errors import EngineError, IsolateClosed, WorkerDied
from sandbox.executor import QUEUE, cores, read_program
from sandbox.fair import QUANTUM, Slots
from sandbox.limits import Limits
from sandbox.workers.boot import Boot, most_memory, most_output
from sandbox.workers.confinement import Confinement
from sandbox.workers.dispatch import Dispatch, Lanes, Work
from sandbox.workers.execution import GRACE, WorkerExecution
from sandbox.workers.frames import CPU_TIME, SLICES, FrameKind
from sandbox.workers.images import ImageBuilder
from sandbox.workers.pool import Pool, Watchdog
from sandbox.workers.process import LaneClient, Worker
from sandbox.workers.process import command as worker_command

LANES: Final = 128
"""Over all workers. A slice that is paused while others have a turn keeps its lane."""
LEAST_LANES: Final = 4
MOST_LANES: Final = 64
ISOLATES: Final = 64
RUNS: Final = 10_000
PART_OF_RUNS: Final = 8
"""One identity has at most this part of the runs."""
FROZEN_BYTES: Final = 1024 * 1024 * 1024
IMAGE_BYTES: Final = 256 * 1024 * 1024


class WorkerLoad(NamedTuple):
    """How many `workers` are ready, how many programs are `running` in them (or paused for others), how many are
    `queued`, and how many are `suspended` until their calls are answered."""

    workers: int
    running: int
    queued: int
    suspended: int


class WorkerExecutor:
    """An `Executor` on child processes. Confined on Linux; elsewhere `confinement` says what is missing.

    `parallel` bounds the guests that compute at a time in all workers together. A slice that takes long while others
    wait is paused in its place, and continues in fair order.
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
        common: str = "",
        command: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            workers: Processes (default: the number of cores).
            parallel: Guests that compute at a time, over all workers (default: the number of workers).
            queue: Programs that may wait for their turn; more are refused with `Overloaded`.
            isolates: Live isolates of a worker; more suspended runs are frozen to bytes inside it.
            runs: Runs that have started and not ended, over all workers; more are refused with `Overloaded`. One
                identity may have an eighth of them. The identity "" has no part of its own, only what there is.
            quantum: Seconds after which a guest that computes is paused while others wait.
            grace: Seconds (of wall or CPU time) that a slice may take past its limits or after a stop, before its
                worker is killed.
            cache: The folder for the compiled guest, as for `Engine`.
            common: What most images begin with, as for `Engine`.
            command: The command that starts a worker, when it is not the default one.
        """
        self.limits = limits or Limits()
        seats = workers or cores()
        parallel = parallel or seats
        self._lanes = min(max(LEAST_LANES, LANES // seats), MOST_LANES)
        self._caps = dict.fromkeys(SLICES, CPU_TIME.size + most_output(self.limits))
        self._caps |= dict.fromkeys((FrameKind.FREEZE, FrameKind.BUILD), most_memory(self.limits))
        self._command = list(command or worker_command())
        boot = Boot(
            limits=self.limits,
            isolates=max(isolates, self._lanes + 1),
            frozen_bytes=FROZEN_BYTES,
            image_bytes=IMAGE_BYTES,
            cache=None if cache is None else str(default_cache() if cache == "default" else cache),
            common=common,
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
        self._watchdog = Watchdog(self._pool.alive)
        slots = Slots[Work, LaneClient](
            Lanes(self._pool.workers),
            parallel=parallel,
            bound=queue,
            places=self._lanes * seats,
            each=max(parallel, self._lanes * seats // 4),
            quantum=quantum,
        )
        self._dispatch = Dispatch(slots, self._watchdog.arm, runs=runs, each=max(1, runs // PART_OF_RUNS), grace=grace)
        self._builder = ImageBuilder(self._pool.start_one, self._dispatch.ask, IMAGE_BYTES)

    def __repr__(self) -> str:
        return f"<WorkerExecutor {self._pool!r}, {self._dispatch!r}>"

    @property
    def confinement(self) -> tuple[Confinement, ...]:
        """The measures that confine each worker that is ready."""
        return tuple(worker.confinement for worker in self._pool.workers)

    @property
    def build_id(self) -> str:
        """The build of all workers, to which images and frozen runs belong. Empty before the first worker is ready."""
        return self._pool.build_id

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that are ready."""
        return tuple(worker.pid for worker in self._pool.workers)

    @property
    def load(self) -> WorkerLoad:
        """What the workers do now."""
        return WorkerLoad(len(self._pool.workers), *self._dispatch.load)

    async def open(self) -> None:
        """Start the workers and return when one is ready. Without it the first run does so.

        Raises:
            EngineError: the first worker could not start.
        """
        if self._closed:
            raise IsolateClosed("the executor is closed")
        await self._pool.open()

    async def build(self) -> str:
        await self.open()
        return self.build_id

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

    def _died(self, worker: Worker, death: WorkerDied) -> None:
        self._dispatch.fail(death, lambda work: work.worker is worker)

    def _failed(self, error: EngineError) -> None:
        self._dispatch.fail(error)
