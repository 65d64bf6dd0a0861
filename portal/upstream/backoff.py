"""When to try again. Pure: time comes in, nothing sleeps here."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SHORTEST, LONGEST = 0.5, 30.0
# A link that lived this long was a good one: what ended it starts a new count.
GOOD_LIFE = 30.0
# Failures in a row after which the breaker opens.
OPEN_AFTER = 3


@dataclass(slots=True)
class Backoff:
    """Counts failures in a row. `open` is a circuit breaker's word: do not even wait for the next attempt."""

    failures: int = 0
    retry_at: float = 0.0
    jitter: random.Random = field(default_factory=random.Random)

    @property
    def open(self) -> bool:
        return self.failures >= OPEN_AFTER

    def opened(self) -> None:
        """An attempt worked: the breaker closes; whether the count starts anew is for the link's life to show."""
        self.failures = min(self.failures, OPEN_AFTER - 1)

    def failed(self, now: float, lived: float) -> float:
        """Note a failure after `lived` seconds of link; how many seconds to wait before the next attempt."""
        if lived >= GOOD_LIFE:
            self.failures = 0
        delay = min(SHORTEST * 2.0 ** min(self.failures, 16), LONGEST) * self.jitter.uniform(0.8, 1.2)
        self.failures += 1
        self.retry_at = now + delay
        return delay
