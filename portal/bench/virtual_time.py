"""Virtual time: a delay of an hour takes no real time, and equal runs settle their calls in the same order.

The clock of a run stands still while a call is in flight. Then it jumps to the next event: the end of a mock's delay,
or a timer of the program. Calls that settle at the same time return together, in the order in which they were made.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import os
import time
from datetime import UTC, datetime

from codemode import Flight
from portal.errors import InputError
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
        due = min(
            parse_time
            for parse_time in (wake_at, *(entry[0] for entry in self._sleeping[:1]))
            if parse_time is not None
        )
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


def parse_time(value: object, where: str) -> float:
    """Milliseconds since the epoch, from ISO text or a number of milliseconds. Raises `InputError`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 8.64e15:
        return float(value)
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000
    raise InputError(f'{where} must be a time such as "2026-01-31T12:00:00Z", or milliseconds since 1970.')


def parse_seed(value: object, where: str) -> bytes:
    """A seed of 32 bytes from a text or a number. Equal ones give equal runs. Raises `InputError`."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        return hashlib.sha256(str(value).encode()).digest()
    raise InputError(f"{where} must be text or a whole number.")
