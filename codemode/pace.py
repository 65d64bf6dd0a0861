"""When a program that waits goes on, with which of its calls, and what time it is for it then.

A `Pace` belongs to one run. The real one follows the clock; others make time, so that a run can be repeated exactly.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from sandbox import Settlement


class Flight(Protocol):
    """The calls of a run that are on their way. `ready` are the settlements nobody has taken yet."""

    ready: list[Settlement]

    @property
    def in_flight(self) -> int:
        """How many calls are being made at this moment; those that queue for a place are not."""

    @property
    def faulty(self) -> bool:
        """Whether a fault of ours ended a call: the run is to end."""

    async def changed(self, seconds: float | None = None) -> None:
        """Wait until a call has ended or `wake` was called, at most that long."""

    def wake(self) -> None:
        """Let whoever waits for a change look again."""


class Pace(Protocol):
    """Decides about time and turns in one run. All times are milliseconds."""

    def begin(self) -> tuple[float, bytes]:
        """The time since the epoch and the 32 bytes of randomness a program starts with. Begins anew when repeated."""

    def now(self) -> float:
        """The program's time since the epoch as it is resumed; never goes back within a run."""

    def elapsed(self) -> float:
        """Time since the run began."""

    async def settled(self, flight: Flight, wake_at: float | None) -> list[Settlement]:
        """Take from `flight.ready` what the program is resumed with; nothing when its timer at `wake_at` is due."""


class RealPace:
    """The clock's time, the system's randomness, and each call as soon as it has settled."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._now = 0.0

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
                # The loop's clock and the calendar's differ; a due timer must find its time reached.
                self._now = max(self._now, wake_at)
        ready, flight.ready = flight.ready, []
        return ready
