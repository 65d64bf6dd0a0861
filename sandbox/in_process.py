"""The executor that runs isolates on threads of this process: for the library, tests and the command line.

A crash of the engine ends this process, so a server uses `sandbox.workers`.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Self, TypeVar, cast

from sandbox.engine import Engine, Image
from sandbox.errors import IsolateClosed, LocalStateError, Overloaded
from sandbox.events import Outcome, Settlement, Suspended
from sandbox.executor import QUEUE, Phase, cores, read_program
from sandbox.fair import QUANTUM, Slots
from sandbox.isolate import Isolate
from sandbox.limits import Limits

T = TypeVar("T")

MOST_PARKED: Final = 32
"""How many slices may be paused in their threads while others have a turn."""
GUEST_STACK: Final = 16 * 1024 * 1024
"""Bytes of stack of a thread that runs guests: so many that the engine's own stack limits are reached first."""


class GuestThread:
    """A thread with a stack for guests, which runs one job at a time. Never the main thread or the event loop's."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="guest", daemon=True)
        before = threading.stack_size(GUEST_STACK)
        try:
            self._thread.start()
        finally:
            threading.stack_size(before)

        self.work: ThreadExecution | None = None
        """The execution whose slice it runs."""

    def submit(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def end(self) -> None:
        """End the thread, which must be idle, and wait for its end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class _Threads:
    """The threads of an executor as places to run (`fair.Host`)."""

    def __init__(self, threads: list[GuestThread], idle: list[GuestThread], most: int) -> None:
        self._threads = threads
        self._idle = idle
        self._most = most

    def take(self, work: "ThreadExecution | None") -> GuestThread | None:
        if not self._idle:
            if len(self._threads) == self._most:
                return None
            thread = GuestThread()
            self._threads.append(thread)
            self._idle.append(thread)
        thread = self._idle.pop()
        thread.work = work
        return thread

    def free(self, place: GuestThread) -> None:
        place.work = None
        self._idle.append(place)

    def pause(self, place: GuestThread) -> bool:
        return place.work is not None and place.work.pause()

    def proceed(self, place: GuestThread) -> None:
        if place.work is not None:
            place.work.proceed()


class InProcessExecutor:
    """An `Executor` on threads. The caller closes the engine, after the executor."""

    def __init__(
        self, engine: Engine, *, parallel: int | None = None, queue: int = QUEUE, quantum: float = QUANTUM
    ) -> None:
        """`parallel`: guests that compute at a time (default: the number of cores). `queue`: programs that may wait.
        `quantum`: seconds after which a guest that computes is paused while others wait."""
        self._engine = engine
        parallel = parallel or cores()
        self._threads: list[GuestThread] = []
        self._idle: list[GuestThread] = []
        self._open: set[ThreadExecution] = set()
        self._closed = False
        self._slots = Slots[ThreadExecution | None, GuestThread](
            _Threads(self._threads, self._idle, parallel + MOST_PARKED),
            parallel=parallel,
            bound=queue,
            places=parallel + MOST_PARKED,
            each=parallel + MOST_PARKED // 4,
            quantum=quantum,
        )

    def __repr__(self) -> str:
        return f"<InProcessExecutor {self._slots!r}>"

    @property
    def limits(self) -> Limits:
        return self._engine.limits

    async def build(self) -> str:
        return self._engine.build_id

    async def image(self, preload: str) -> Image:
        thread = await self._acquire(None, refusable=True)
        return await self._submit(thread, lambda: self._engine.image(preload), lambda: None)

    def execution(self, image: Image | None = None, *, identity: str = "") -> "ThreadExecution":
        return ThreadExecution(self, identity, Phase.NEW, lambda: self._engine.isolate(image))

    def thaw(self, frozen: bytes, *, identity: str = "") -> "ThreadExecution":
        read_program(frozen)
        return ThreadExecution(self, identity, Phase.FROZEN, lambda: self._engine.thaw(frozen), frozen)

    async def aclose(self) -> None:
        self._closed = True
        self._slots.close()
        self._slots.fail(IsolateClosed("the executor was closed"))
        for execution in tuple(self._open):
            await execution.aclose()
        for thread in self._threads:
            thread.end()
        self._threads.clear()
        self._idle.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def _acquire(self, work: "ThreadExecution | None", refusable: bool) -> GuestThread:
        if self._closed:
            raise IsolateClosed("the executor is closed")
        return await self._slots.acquire("" if work is None else work.identity, work, refusable=refusable)

    def _submit(self, thread: GuestThread, job: Callable[[], T], at_end: Callable[[], None]) -> "asyncio.Future[T]":
        """Run `job` on the thread. At its end the thread is released and `at_end` called, even if the task that waits
        for the result was cancelled."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._slots.release(thread)
            at_end()
            if reply.cancelled():
                return
            if error is None:
                reply.set_result(cast(T, result))
            else:
                reply.set_exception(error)

        def work() -> None:
            try:
                report = partial(settle, job(), None)
            except BaseException as error:  # raised in the task that waits, not on this thread
                report = partial(settle, None, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed: no task waits
                loop.call_soon_threadsafe(report)

        thread.submit(work)
        return reply


class ThreadExecution:
    """An `Execution` on the threads of an `InProcessExecutor`."""

    def __init__(
        self,
        executor: InProcessExecutor,
        identity: str,
        phase: Phase,
        make: Callable[[], Isolate],
        frozen: bytes = b"",
    ) -> None:
        self.identity = identity
        self.queue_time = 0.0
        self.cpu_time = 0.0
        self._executor = executor
        self._phase = phase
        self._make = make
        self._frozen = frozen
        self._isolate: Isolate | None = None
        self._queued = False
        self._pausable = False
        self._at_rest = asyncio.Event()
        """Set while no slice runs on a thread."""
        self._at_rest.set()

    def __repr__(self) -> str:
        return f"<ThreadExecution {self._phase.value}>"

    async def start(self, source: str, now: float, seed: bytes, begin: str = "") -> Outcome:
        self._phase.require("start", Phase.NEW)
        return await self._slice(lambda isolate: isolate.start(source, now, seed, begin))

    async def resume(self, settlements: Sequence[Settlement], now: float, excused: float = 0.0) -> Outcome:
        self._phase.require("resume", Phase.SUSPENDED, Phase.FROZEN)
        return await self._slice(lambda isolate: isolate.resume(settlements, now, excused))

    async def freeze(self) -> bytes:
        self._phase.require("freeze", Phase.SUSPENDED, Phase.FROZEN)
        if self._isolate is None:
            return self._frozen
        frozen = await self._exclusively(self._isolate.freeze)
        self._phase = Phase.SUSPENDED
        return frozen

    async def aclose(self) -> None:
        self._end()
        await self._at_rest.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def pause(self) -> bool:
        """Stop the slice from computing until `proceed`. False when none runs that can be paused."""
        if self._isolate is None or self._at_rest.is_set() or not self._pausable:
            return False
        self._isolate.pause()
        return True

    def proceed(self) -> None:
        if self._isolate is not None:
            self._isolate.proceed()

    async def _slice(self, step: Callable[[Isolate], Outcome]) -> Outcome:
        self._pausable = True
        outcome = await self._exclusively(lambda: self._on_thread(step))
        self._pausable = False
        if isinstance(outcome, Suspended):
            self._phase = Phase.SUSPENDED
        else:
            self._end()
        return outcome

    async def _exclusively(self, job: Callable[[], T]) -> T:
        """The result of `job`, which waits its turn for a thread.

        When it raises Overloaded or LocalStateError, nothing has changed. After any other error the run has ended.
        """
        before, self._phase = self._phase, Phase.RUNNING
        began = time.perf_counter()  # not the loop's clock: uvloop's has steps of a millisecond
        try:
            self._queued = True
            thread = await self._executor._acquire(self, refusable=self._isolate is None)
            self._queued = False
            self.queue_time += time.perf_counter() - began
            self._at_rest.clear()
            self._executor._open.add(self)
            result = await self._executor._submit(thread, job, self._leave_thread)
        except (Overloaded, LocalStateError):
            self._queued = False
            if self._has_ended():
                raise IsolateClosed("this run was closed") from None
            self._phase = before
            raise
        except BaseException:
            self._end()
            raise
        if self._has_ended():
            raise IsolateClosed("this run was closed")
        return result

    def _has_ended(self) -> bool:
        """Whether the run has ended by now; another task may have closed it during an await."""
        return self._phase is Phase.ENDED

    def _on_thread(self, step: Callable[[Isolate], Outcome]) -> Outcome:
        isolate = self._isolate or self._make()
        self._isolate = isolate
        if self._has_ended():
            raise IsolateClosed("this run was closed")
        outcome = step(isolate)
        self.cpu_time = isolate.cpu_time
        return outcome

    def _leave_thread(self) -> None:
        self._at_rest.set()
        if self._has_ended():
            self._close()

    def _end(self) -> None:
        self._phase = Phase.ENDED
        self._frozen = b""
        if self._queued:
            self._executor._slots.fail(IsolateClosed("this run was closed"), lambda work: work is self)
        if self._at_rest.is_set():
            self._close()
        elif self._isolate is not None:
            self._isolate.interrupt()

    def _close(self) -> None:
        self._executor._open.discard(self)
        if self._isolate is not None:
            self._isolate.close()
            self._isolate = None
