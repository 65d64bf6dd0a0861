"""The epoch: a thread that ticks while guests run, and the budget that is checked at every tick of a running guest."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sandbox.errors import EngineError

TICK = 0.01  # seconds; a limit takes effect at most one tick late
_LINGER = 100  # ticks without a guest before the thread sleeps, so that a busy host does not wake it for every slice


class TimeBudget:
    """The CPU and wall time of one isolate, in seconds.

    CPU time is that of the thread while the guest runs. Waiting takes wall time only.
    """

    __slots__ = ("_began", "_cpu_at", "_gate", "cpu_limit", "cpu_used", "paused", "stopped", "wall_limit")

    def __init__(self, cpu_limit: float, wall_limit: float, cpu_used: float = 0.0, wall_used: float = 0.0) -> None:
        self.cpu_limit = cpu_limit
        self.wall_limit = wall_limit
        self.cpu_used = cpu_used
        self.stopped = False
        self.paused = False
        self._gate: threading.Event | None = None
        self._began = time.monotonic() - wall_used
        self._cpu_at = 0.0

    def enter(self) -> None:
        self._cpu_at = time.thread_time()

    def leave(self) -> None:
        self.cpu_used += time.thread_time() - self._cpu_at

    @property
    def wall_used(self) -> float:
        return time.monotonic() - self._began

    def limit_reached(self, *, running: bool = True) -> str | None:
        """The kind of the limit that is reached, or None. To be called in the guest's thread."""
        cpu = self.cpu_used + (time.thread_time() - self._cpu_at if running else 0.0)
        if cpu >= self.cpu_limit:
            return "cpu_time"
        if self.wall_used >= self.wall_limit:
            return "wall_time"
        return None

    def excuse(self, seconds: float) -> None:
        """These seconds of waiting do not count as wall time."""
        self._began = min(self._began + seconds, time.monotonic())

    def stop(self) -> None:
        """From any thread: ends the slice that runs, and every later one."""
        self.stopped = True
        self.proceed()

    def pause(self) -> None:
        """From any thread: the slice that runs computes nothing more until `proceed`."""
        self._gate = threading.Event()  # before `paused`: the guest's thread reads them the other way round
        self.paused = True

    def proceed(self) -> None:
        self.paused = False
        if self._gate is not None:
            self._gate.set()

    def wait_while_paused(self) -> None:
        """In the guest's thread: returns when the guest may go on, must stop, or has used up its wall time."""
        while self.paused and not self.stopped and self._gate is not None:
            if not self._gate.wait(max(0.0, self.wall_limit - self.wall_used)):
                return


class Ticker:
    """Calls `tick` every 10 ms from a thread of its own, while a guest runs and for a second after it."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._running: dict[int, TimeBudget] = {}
        self._awake = threading.Event()
        self._asleep = False
        self._closed = False
        self._ticking = True
        _stop_after_fork(weakref.ref(self))
        self._thread = threading.Thread(target=self._loop, name="sandbox-epoch", daemon=True)
        self._thread.start()

    def enter(self, budget: TimeBudget) -> None:
        """To be called before this thread runs a guest. Raises EngineError after a fork: nothing would interrupt it."""
        if not self._ticking:
            raise EngineError("the epoch thread does not run (was the process forked?): make a new engine")
        self._running[threading.get_ident()] = budget
        budget.enter()
        if self._asleep:
            self._awake.set()

    def leave(self, budget: TimeBudget) -> None:
        budget.leave()
        del self._running[threading.get_ident()]

    @contextmanager
    def running(self, budget: TimeBudget) -> Iterator[None]:
        """`enter`, and `leave` at the end of the block."""
        self.enter(budget)
        try:
            yield
        finally:
            self.leave(budget)

    def is_over(self) -> bool:
        """Whether the guest of this thread must stop. The guest asks at every tick, so a paused one waits in here."""
        budget = self._running.get(threading.get_ident())
        if budget is None:
            return True
        if budget.paused:
            budget.wait_while_paused()
        return budget.stopped or budget.limit_reached() is not None

    def close(self) -> None:
        self._closed = True
        self._awake.set()
        self._thread.join()

    def _loop(self) -> None:
        try:
            self._tick_until_closed()
        finally:
            self._ticking = False

    def _tick_until_closed(self) -> None:
        idle = 0
        while not self._closed:
            idle = 0 if self._running else idle + 1
            if idle > _LINGER:
                self._asleep = True
                # A guest may enter just now. It writes `_running` before it reads `_asleep`, and here it is the other
                # way round: one of the two threads sees the other.
                if not self._running:
                    self._awake.wait()
                self._awake.clear()
                self._asleep = False
                idle = 0
            time.sleep(TICK)
            self._tick()

    def _forked(self) -> None:
        self._ticking = False


def _stop_after_fork(ticker: weakref.ref[Ticker]) -> None:
    """In a forked child the thread does not exist, so the ticker of a child lets no guest run."""

    def after_fork() -> None:
        if (alive := ticker()) is not None:
            alive._forked()

    os.register_at_fork(after_in_child=after_fork)
