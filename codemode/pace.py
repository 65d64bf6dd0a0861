"""Decides when a waiting program resumes, with which settlements, and what time it reads then.

A `Pace` belongs to one run. The real one follows the clock. Others make up the time, so that a run can be repeated
exactly.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from sandbox import Settlement


class Flight(Protocol):
    """The calls of a run. `ready` are the settlements that the program has not got yet."""

    ready: list[Settlement]

    @property
    def in_flight(self) -> int:
        """The number of calls in progress, without those that still queue."""

    @property
    def faulty(self) -> bool:
        """Whether a fault of ours ended a call, so that the run must end."""

    async def changed(self, seconds: float | None = None) -> None:
        """Wait until a call ends or `wake` is called, at most `seconds`."""

    def wake(self) -> None:
        """End a wait for a change."""


class Pace(Protocol):
    """The time and the order of settlements in one run. All times are milliseconds."""

    def begin(self) -> tuple[float, bytes]:
        """The time since the epoch and the 32 bytes of randomness to start with. A second call restarts the run."""

    def now(self) -> float:
        """The time since the epoch that a resumed program reads. It never goes back within a run."""

    def elapsed(self) -> float:
        """The time since the run began."""

    async def settled(self, flight: Flight, wake_at: float | None) -> list[Settlement]:
        """Take from `flight.ready` the settlements to resume with; none when the timer at `wake_at` is due."""


class RealPace:
    """The clock's time, the system's randomness, and each call as soon as it has settled."""

    def __init__(self, now: float = 0.0, elapsed: float = 0.0) -> None:
        """`now`, `elapsed`: the time that a program that goes on read last, and its milliseconds so far."""
        self._began = time.perf_counter() - elapsed / 1000
        self._now = now

    def begin(self) -> tuple[float, bytes]:
        self._began = time.perf_counter()
        return self.now(), os.urandom(32)

    def now(self) -> float:
        self._now = max(self._now, time.time() * 1000)
        return self._now

    def elapsed(self) -> float:
        return (time.perf_counter() - self._began) * 1000

    async def settled(self, flight: Flight, wake_at: float | None) -> list[Settlement]:
        if not flight.ready and not flight.faulty:
            await flight.changed(None if wake_at is None else max(0.0, wake_at - self.now()) / 1000)
            if wake_at is not None and not flight.ready:
                # The loop's clock and the calendar's differ. A timer that is due must not read an earlier time.
                self._now = max(self._now, wake_at)
        ready, flight.ready = flight.ready, []
        return ready
