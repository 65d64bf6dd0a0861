"""The pauses between attempts to connect, and a circuit breaker. Pure: the time is passed in."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SHORTEST, LONGEST = 0.5, 30.0
# A link that lived this many seconds was a good one: its end counts as the first failure.
GOOD_LIFE = 30.0
# Failures in a row that open the circuit breaker.
OPEN_AFTER = 3


@dataclass(slots=True)
class Backoff:
    """Counts failures in a row. `retry_at` is the event loop's time of the next attempt.

    While the circuit breaker is `open`, callers do not wait for the next attempt.
    """

    failures: int = 0
    retry_at: float = 0.0
    jitter: random.Random = field(default_factory=random.Random)

    @property
    def open(self) -> bool:
        return self.failures >= OPEN_AFTER

    def opened(self) -> None:
        """Note an attempt that worked. The breaker closes, but the count starts again only after a long-lived link."""
        self.failures = min(self.failures, OPEN_AFTER - 1)

    def failed(self, now: float, lived: float) -> float:
        """Seconds to wait before the next attempt, after a link that lived for `lived` seconds has failed."""
        if lived >= GOOD_LIFE:
            self.failures = 0
        delay = min(SHORTEST * 2.0 ** min(self.failures, 16), LONGEST) * self.jitter.uniform(0.8, 1.2)
        self.failures += 1
        self.retry_at = now + delay
        return delay
