"""Virtual time: a delay of an hour takes no real time, and equal runs settle their calls in the same order.

The clock of a run stands still while a call is in flight. Then it jumps to the next event: the end of a delay that
somebody sleeps, or a timer of the program. Calls that settle at the same time return together, in the order in which
they were made.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import time

from codemode.pace import Flight
from sandbox import Settlement


class VirtualPace:
    """A `Pace` whose time moves only by `sleep` and timers. `now` is in milliseconds since the epoch.

    A run that takes more than `wall_time` seconds of virtual time ends with a timeout.
    """

    def __init__(self, now: float | None = None, seed: bytes | None = None, *, wall_time: float = 60.0) -> None:
        self._start = time.time() * 1000 if now is None else now
        self._seed = os.urandom(32) if seed is None else seed
        self._now = self._start
        self._wall_time = wall_time
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._flight: Flight | None = None

    def begin(self) -> tuple[float, bytes]:
        self._now = self._start
        return self._now, self._seed

    def now(self) -> float:
        return self._now

    def elapsed(self) -> float:
        return self._now - self._start

    async def sleep(self, milliseconds: float) -> None:
        """Wait in virtual time."""
        if milliseconds <= 0:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._now + milliseconds, next(self._order), waiting)
        heapq.heappush(self._sleeping, entry)
        if self._flight is not None:
            self._flight.wake()
        try:
            await waiting
        except asyncio.CancelledError:
            if entry in self._sleeping:
                self._sleeping.remove(entry)
                heapq.heapify(self._sleeping)
            raise

    async def settled(self, flight: Flight, wake_at: float | None) -> list[Settlement]:
        """The settlements to continue with. Raises TimeoutError if the virtual time has run out."""
        self._flight = flight
        while not flight.faulty:
            if flight.in_flight > len(self._sleeping):
                await flight.changed()
            elif flight.ready:
                ready, flight.ready = flight.ready, []
                return sorted(ready, key=lambda settlement: settlement.id)
            elif not self._jump(wake_at):
                return []
        return []

    def _jump(self, wake_at: float | None) -> bool:
        """Move the clock to the next event. Returns False if that is only a timer of the program."""
        due = min(at for at in (wake_at, *(entry[0] for entry in self._sleeping[:1])) if at is not None)
        if due - self._start > self._wall_time * 1000:
            raise TimeoutError
        self._now = max(self._now, due)
        woken = False
        while self._sleeping and self._sleeping[0][0] <= self._now:
            _, _, waiting = heapq.heappop(self._sleeping)
            if not waiting.done():
                waiting.set_result(None)
                woken = True
        return woken
