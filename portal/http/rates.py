"""How often something may be tried: a bounded table of token buckets, in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_KEYS = 50_000


class Rate:
    """At most `burst` at once and `per_minute` on average, for each key. The longest unused keys are forgotten."""

    def __init__(self, burst: int, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, *keys: str) -> bool:
        """Count one attempt under every key; whether all of them had room."""
        return all([self._take(key) for key in keys])  # noqa: C419 (every key is counted)

    def forgive(self, key: str) -> None:
        """Forget the attempts under a key, after one that succeeded."""
        self._buckets.pop(key, None)

    @property
    def retry_after(self) -> int:
        """Seconds after which one attempt has room again."""
        return max(1, round(1 / self._per_second))

    def _take(self, key: str) -> bool:
        now = self._clock()
        left, since = self._buckets.pop(key, (float(self._burst), now))
        left = min(float(self._burst), left + (now - since) * self._per_second)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        while len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
        return allowed
