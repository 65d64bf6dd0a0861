"""Work that is done once for everybody who wants its result, and ends when nobody wants it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True, eq=False)
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    waiting: int = 0


class Flights(Generic[K, V]):
    """Work in progress, by what it is about."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __bool__(self) -> bool:
        return True

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    async def join(self, key: K, work: Callable[[], Coroutine[None, None, V]]) -> V:
        """What the work about `key` returns or raises. The first to ask begins it, and it is cancelled when the last
        one who waits gives up."""
        flight = self._flights.get(key)
        if flight is None or flight.task.done():  # What has ended is for those who have waited for it.
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                if self._flights.get(key) is flight:
                    del self._flights[key]
                flight.task.cancel()
