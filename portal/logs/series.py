"""Calls of tools by day or month of a time zone, from the sums of the hours alone.

An hour of the sums is a whole hour of UTC. Where a day begins within one, as in zones with half hours, that hour counts
in the day in which it begins.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from portal.logs.schema import HOUR
from portal.logs.summing import numbers
from portal.logs.totals import CallWindow

MONTHS = 12
_SECONDS_OF_HOUR = HOUR // 1_000_000
_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){1,2}")
_LEAST, _LARGEST = timedelta(hours=-12), timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a month of a series: its first day, and from when to when it is, in seconds since 1970."""

    day: date
    start: int
    end: int


def zone(text: str) -> tzinfo:
    """The time zone of `utc`, `Z`, `+05:30` (from -12:00 to +14:00) or `Europe/Berlin`.

    Raises:
        ValueError: it is none. The text says what it may be.
    """
    if text.lower() in ("utc", "z"):
        return UTC
    if found := _OFFSET.fullmatch(text):
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
        if int(minutes) < 60 and _LEAST <= offset <= _LARGEST:
            return timezone(offset)
    elif len(text) <= 64 and _NAME.fullmatch(text):
        try:
            return ZoneInfo(text)
        except (OSError, ValueError, KeyError):
            # Not there, or a folder of the zones: the same for whoever asks.
            pass
    raise ValueError("must be utc, Z, an offset from -12:00 to +14:00 or the name of a time zone (Europe/Berlin)")


def days(now: datetime, tz: tzinfo, number: int) -> list[Period]:
    """So many days up to today, which is the last one, in this time zone."""
    today = now.astimezone(tz).date()
    return _periods([today + timedelta(days=more) for more in range(1 - number, 2)], tz)


def months(now: datetime, tz: tzinfo, number: int = MONTHS) -> list[Period]:
    """So many months up to this one, which is the last one, in this time zone."""
    today = now.astimezone(tz).date()
    last = today.year * 12 + today.month - 1
    return _periods([date(m // 12, m % 12 + 1, 1) for m in range(last - number + 1, last + 2)], tz)


def count_calls(
    connection: Connection, periods: Sequence[Period], portal: str | None = None, server: str | None = None
) -> list[int]:
    """How many calls of tools there were in each of these periods, which follow one another."""
    starts = [-(-one.start // _SECONDS_OF_HOUR) for one in periods]
    end = -(-periods[-1].end // _SECONDS_OF_HOUR)
    wanted = CallWindow(since=starts[0] * HOUR, until=end * HOUR, portal=portal, server=server, kind="tool")
    counts = [0] * len(periods)
    for hour, n in numbers(connection, wanted).items():
        counts[bisect_right(starts, hour) - 1] += n
    return counts


def _periods(firsts: Sequence[date], tz: tzinfo) -> list[Period]:
    """The periods between these days, from midnight to midnight: a day in which clocks change has 23 or 25 hours."""
    edges = [int(datetime(one.year, one.month, one.day, tzinfo=tz).timestamp()) for one in firsts]
    return [Period(day, start, end) for day, start, end in zip(firsts, edges, edges[1:], strict=False)]
