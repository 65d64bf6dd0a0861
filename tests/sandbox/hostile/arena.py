"""Runs hostile programs and checks after each that the host is as it was: a good program answers on the same engine, no
isolate is left, and the memory of the process has not grown past what its limits allow."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sandbox import (
    Completed,
    Engine,
    Failed,
    GuestException,
    HostCall,
    Image,
    Isolate,
    Limits,
    LogLine,
    Outcome,
    Settlement,
    Suspended,
)
from tests.patience import PATIENCE

T = TypeVar("T")

NOW = 1_700_000_000_000.0
SEED = bytes(range(32))
KiB, MiB = 1 << 10, 1 << 20
HOUR = 3600.0
"""A wall limit that no run reaches, however slow the machine: pytest's own timeout ends a test that hangs."""
QUICK = Limits(cpu_time=0.15, wall_time=HOUR, memory=16 * MiB)
GUEST_STACK = 16 * MiB
SLACK = 256 * MiB
"""What a process may gain for reasons of its own: the allocator's caches, the interpreter, compiled code."""
LATE = 2.0
"""Seconds of CPU past the limit: generous, since one bulk operation may be long where cores are shared."""
SLICES = 2000

Answer = Callable[[HostCall], Settlement]
_give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)


def echo(call: HostCall) -> Settlement:
    return Settlement.value(call.id, call.arguments)


@dataclass(frozen=True)
class Ended:
    """How a run ended, and everything it said on the way."""

    outcome: Outcome
    calls: tuple[HostCall, ...]
    logs: tuple[LogLine, ...]
    slices: int

    @property
    def kind(self) -> str:
        """`completed`, `suspended`, or the kind of the failure."""
        if isinstance(self.outcome, Failed):
            return self.outcome.error.kind
        return type(self.outcome).__name__.lower()

    @property
    def value(self) -> Any:
        assert isinstance(self.outcome, Completed), self.outcome
        return self.outcome.value

    @property
    def message(self) -> str:
        assert isinstance(self.outcome, Failed), self.outcome
        return self.outcome.error.message

    @property
    def exception(self) -> GuestException:
        assert isinstance(self.outcome, Failed), self.outcome
        assert isinstance(self.outcome.error, GuestException), self.outcome.error
        return self.outcome.error


def peak(work: Callable[[], object]) -> int:
    """The most bytes of Python's memory that were in use at a time because of `work`."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def resident(*, trimmed: bool = True) -> int:
    """Bytes of memory this process holds; 0 where the system does not tell.

    Trimmed it is without what was freed and is kept, which takes long in a process that has many objects.
    """
    if trimmed:
        gc.collect()
        if _give_back is not None:
            _give_back(0)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def guest_threads(count: int) -> ThreadPoolExecutor:
    """Threads with a stack deep enough for guests; they must not run on the main thread."""
    before = threading.stack_size(GUEST_STACK)
    pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="guest")
    gate = threading.Barrier(count)
    list(pool.map(lambda _: gate.wait(PATIENCE), range(count)))
    threading.stack_size(before)
    return pool


class Arena:
    """One engine. `run` takes a program to its end, answering its calls; `on_thread` is for everything else."""

    def __init__(self, limits: Limits = QUICK, *, threads: int = 1, slots: int = 16) -> None:
        self.limits = limits
        self.engine = Engine(limits, slots=slots)
        self.threads = guest_threads(threads)
        self._resident = resident()

    def close(self) -> None:
        self.threads.shutdown()
        self.engine.close()

    def run(
        self, source: str, *, answer: Answer = echo, seed: bytes = SEED, image: Image | None = None, check: bool = True
    ) -> Ended:
        """Settles every call at once with `answer` and lets time pass only while the program waits for a timer."""
        ended = self.on_thread(lambda: self.drive(source, answer, seed, image))
        if check:
            self.check()
        return ended

    def on_thread(self, work: Callable[[], T]) -> T:
        return self.threads.submit(work).result(PATIENCE)

    def check(self) -> None:
        """The host is as it was."""
        assert self.on_thread(lambda: self.drive("6 * 7")).value == 42
        assert self.engine.live_isolates == 0
        most = self._resident + SLACK + self.limits.memory
        assert resident(trimmed=False) < most or resident() < most

    def drive(self, source: str, answer: Answer = echo, seed: bytes = SEED, image: Image | None = None) -> Ended:
        """What `run` does, in the calling thread and without the check."""
        with self.engine.isolate(image) as isolate:
            ended = drive(isolate, source, answer, seed)
            assert isolate.cpu_time < self.limits.cpu_time + LATE
        return ended


def drive(isolate: Isolate, source: str, answer: Answer = echo, seed: bytes = SEED) -> Ended:
    """In the guest's thread: one isolate from its start to its end, or to a wait for nothing we could do."""
    now = NOW
    calls: list[HostCall] = []
    logs: list[LogLine] = []
    outcome = isolate.start(source, now, seed)
    slices = 0
    while True:
        calls += outcome.calls
        logs += outcome.logs
        slices += 1
        if not isinstance(outcome, Suspended) or slices == SLICES:
            return Ended(outcome, tuple(calls), tuple(logs), slices)
        settlements = [answer(call) for call in outcome.calls]
        if not settlements and outcome.wake_at is not None:
            now = max(now, outcome.wake_at)
        outcome = isolate.resume(settlements, now)


def let_time_pass(isolate: Isolate, seconds: float) -> None:
    """Makes the isolate's wall time read `seconds` more, without waiting for them."""
    isolate._budget._began -= seconds


@contextmanager
def arena(limits: Limits = QUICK, *, threads: int = 1, slots: int = 16) -> Iterator[Arena]:
    made = Arena(limits, threads=threads, slots=slots)
    try:
        yield made
    finally:
        made.close()
