"""How often something may be tried: a bounded map of token buckets, in memory."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from portal.bounded import Bounded
from portal.shares import network_of

MAX_KEYS = 50_000


class Rate:
    """At most `burst` attempts at once and `per_minute` on average, for each key. An address counts as its network.

    Of more than `MAX_KEYS` keys, those used least recently are forgotten.
    """

    def __init__(self, burst: int, per_minute: float, clock: Callable[[], float] = lambda: monotonic()) -> None:
        self._burst = burst
        self._per_second = per_minute / 60
        self._clock = clock
        # By key: how many attempts had room at a time of the clock.
        self._buckets: Bounded[str, tuple[float, float]] = Bounded(MAX_KEYS)

    def allows(self, *keys: str) -> bool:
        """Whether every key has room for one attempt, which is counted under all of them."""
        return all([self._take(key) for key in keys])  # noqa: C419 (every key is counted)

    def forgive(self, key: str) -> None:
        """Forget the attempts under a key, after one that succeeded."""
        self._buckets.pop(network_of(key))

    @property
    def retry_after(self) -> int:
        """Seconds after which one attempt has room again."""
        return max(1, round(1 / self._per_second))

    def _take(self, key: str) -> bool:
        key = network_of(key)
        now = self._clock()
        left, since = self._buckets.get(key) or (float(self._burst), now)
        left = min(float(self._burst), left + (now - since) * self._per_second)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        return allowed
