"""How long ago something was, and when something ends, in words. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

_UNITS = ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute"))
LONG_AGO = timedelta(days=14)


def ago(then: datetime, now: datetime) -> str:
    """`just now`, `5 minutes ago`, `3 days ago`; a date from two weeks on."""
    passed = now - then
    if passed >= LONG_AGO:
        return f"on {say_date(then)}"
    return f"{words} ago" if (words := _largest(passed)) else "just now"


def ahead(then: datetime, now: datetime) -> str:
    """`in 5 minutes`, `in 3 days`, `in a moment`; a date from two weeks on."""
    left = then - now
    if left >= LONG_AGO:
        return f"on {say_date(then)}"
    return f"in {words}" if (words := _largest(left)) else "in a moment"


def say_date(at: datetime) -> str:
    """`9 November 2026`."""
    return f"{at.day} {at:%B %Y}"


def _largest(lasts: timedelta) -> str:
    """How many whole days, or hours, or minutes; "" below a minute."""
    for unit, name in _UNITS:
        if count := lasts // unit if lasts > timedelta() else 0:
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return ""
