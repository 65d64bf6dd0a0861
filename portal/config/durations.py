"""Durations as Cloudflare's API writes them: `24h`, `30m`, `1h30m`, `90s`. Pure."""

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
