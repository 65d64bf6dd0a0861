"""How many requests there were when, within bounds: slots of one width, which doubles when there are too many."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

MAX_SLOTS = 400
NARROWEST = 60
"""Seconds."""


@dataclass(frozen=True, slots=True)
class TimeSlot:
    """So many requests in the `seconds` from `start` on, in seconds of the Unix epoch."""

    start: int
    seconds: int
    requests: int


class Timeline:
    """Counts requests by their time. Those without one are not in it."""

    def __init__(self, most: int = MAX_SLOTS) -> None:
        self._most = most
        self._seconds = NARROWEST
        self._counts: Counter[int] = Counter()

    def count(self, at: float | None) -> None:
        if at is None:
            return
        self._counts[int(at) // self._seconds] += 1
        while len(self._counts) > self._most:
            self._seconds *= 2
            wider: Counter[int] = Counter()
            for number, requests in self._counts.items():
                wider[number // 2] += requests
            self._counts = wider

    @property
    def slots(self) -> tuple[TimeSlot, ...]:
        """Those with requests, the earliest first."""
        seconds = self._seconds
        return tuple(TimeSlot(number * seconds, seconds, self._counts[number]) for number in sorted(self._counts))
