"""Durations as Cloudflare's API writes them: `24h`, `30m`, `1h30m`, `90s`; and in words for people. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = timedelta(days=3660)


def read_duration(text: str) -> timedelta:
    """Raises ValueError for anything else, and for more than ten years."""
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError("must be a duration such as 24h, 30m or 1h30m")
    lasts = timedelta(seconds=sum(float(part[1]) * _SECONDS[part[2]] for part in parts))
    if lasts > LONGEST:
        raise ValueError("must be at most ten years")
    return lasts


def write_duration(lasts: timedelta) -> str:
    """The shortest spelling in whole hours, minutes and seconds."""
    hours, rest = divmod(int(lasts.total_seconds()), 3600)
    minutes, seconds = divmod(rest, 60)
    return "".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if n) or "0s"


def say_duration(lasts: timedelta) -> str:
    """The duration for people: `24 hours`, `1 hour and 30 minutes`, `30 days`. Days only from the second on."""
    seconds = int(lasts.total_seconds())
    days = seconds // 86_400 if seconds >= 2 * 86_400 else 0
    hours, rest = divmod(seconds - days * 86_400, 3600)
    minutes, seconds = divmod(rest, 60)
    counted = ((days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second"))
    words = [f"{n} {unit}" if n == 1 else f"{n} {unit}s" for n, unit in counted if n]
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words) or "0 seconds"
