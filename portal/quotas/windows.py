"""How many calls there were in the time that has just passed, in a few numbers.

A period is cut into slices. What was counted in a slice counts until a whole period has passed after its end: there are
never more than the limit in any period, and a call counts for one slice longer than the period at most. A counter that
remembers every call would be exact, and as large as its limit; one that begins again with each period lets twice the
limit through where two of them meet.

Times are milliseconds since 1970, periods seconds. Whole numbers, so that a call may be made at the moment that was
said.
"""

from __future__ import annotations

from collections.abc import Iterable

SLICES = 12
"""The slices of a period: a call of a limit for one hour counts for up to five minutes longer."""


class SlidingCount:
    """A count over the last period. Times do not decrease from call to call."""

    __slots__ = ("_slices", "total")

    def __init__(self, flat: Iterable[int] = ()) -> None:
        # The number of a slice and how much it has, in turns: the lightest form that grows with use alone.
        self._slices = list(flat)
        self.total = sum(self._slices[1::2])

    @property
    def flat(self) -> list[int]:
        """The number of each slice that has something, and how much it has, in turns, the oldest first."""
        return list(self._slices)

    @property
    def newest(self) -> int:
        """The number of the newest slice, -1 without any."""
        return self._slices[-2] if self._slices else -1

    def forget(self, now: int, period: int) -> None:
        """Leave out what does not count any more."""
        slices, oldest = self._slices, oldest_slice(now, period)
        while slices and slices[0] < oldest:
            self.total -= slices[1]
            del slices[:2]

    def add(self, now: int, period: int) -> None:
        """Count one more."""
        slices, at = self._slices, slice_of(now, period)
        if slices and slices[-2] == at:
            slices[-1] += 1
        else:
            slices += (at, 1)
        self.total += 1

    def wait(self, room: int, now: int, period: int) -> int:
        """In how many milliseconds there are at most `room` left; 0 if there are no more already."""
        total, slices = self.total, self._slices
        if total <= room:
            return 0
        for index in range(0, len(slices), 2):
            total -= slices[index + 1]
            if total <= room:
                return max(0, end_of(slices[index], period) - now)
        return 0


def slice_of(now: int, period: int) -> int:
    """The number of the slice that this time is in."""
    return now * SLICES // (period * 1000)


def oldest_slice(now: int, period: int) -> int:
    """The number of the oldest slice that counts now."""
    return slice_of(now, period) - SLICES


def end_of(number: int, period: int) -> int:
    """The first millisecond at which what is in this slice does not count any more."""
    return -(-(number + SLICES + 1) * period * 1000 // SLICES)


def whole_seconds(milliseconds: int) -> int:
    """As a whole number of seconds that is not too early, and at least 1."""
    return max(1, -(-milliseconds // 1000))
