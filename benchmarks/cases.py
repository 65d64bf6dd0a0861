"""What a benchmark is made of: cases to time, readings that measure themselves, measurements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Case:
    """How to measure one thing: `prepare` sets up and returns the operation; one operation is `per` of the thing."""

    prepare: Callable[[], Callable[[], object]]
    per: int = 1
    rounds: int = 200


@dataclass(frozen=True, slots=True)
class Reading:
    """A case whose set-up measures itself (memory, latencies): its value in `unit`."""

    read: Callable[[bool], Measurement]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Seconds (or `unit`) per thing: the least and the median over the rounds."""

    minimum: float
    median: float
    unit: str = "s"
    note: str = ""
    details: dict[str, float] = field(default_factory=dict)


class Unavailable(Exception):
    """A peer is not installed here; the table says so instead of leaving it out."""
