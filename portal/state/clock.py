"""Times as the database has them: microseconds since 1970, UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def utc_now() -> datetime:
    return datetime.now(UTC)


def to_stored(at: datetime) -> int:
    """`at` must know its time zone."""
    return (at - _EPOCH) // _MICROSECOND


def from_stored(value: int) -> datetime:
    return _EPOCH + value * _MICROSECOND
