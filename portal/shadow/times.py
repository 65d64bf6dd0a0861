"""The times that logs write, as seconds of the Unix epoch. Pure: what cannot be read is None."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MONTHS = {name: at for at, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_COMMON = re.compile(
    r"(\d{2})/([A-Z][a-z]{2})/(\d{4}):(\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?(?: ([+-])(\d{2}):?(\d{2}))?", re.ASCII
)
_NUMBER = re.compile(r"\d{1,19}(?:\.\d{1,9})?", re.ASCII)
_END = 253_402_300_800.0
# A number as large as this counts milliseconds, microseconds or nanoseconds.
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def read_time(value: object) -> float | None:
    """The time in a text or a number: ISO 8601, `29/Nov/2026:22:50:24 +0000`, or the Unix epoch in any unit.

    Without a zone it is UTC.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _epoch(float(value)) if -(2**63) < value < 2**63 else None
    if not isinstance(value, str) or len(value) > 60:
        return None
    if _NUMBER.fullmatch(value):
        return _epoch(float(value))
    return _common(value) if "/" in value[:3] else _iso(value)


def iso(at: float) -> str:
    """The time for people and programs: `2026-11-29T22:50:24Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _epoch(number: float) -> float | None:
    for least, unit in _UNITS:
        if number >= least:
            number /= unit
            break
    return number if 0 <= number < _END else None


def _common(text: str) -> float | None:
    found = _COMMON.fullmatch(text)
    if found is None or (month := _MONTHS.get(found[2])) is None:
        return None
    day, year, hour, minute, second = (int(found[at]) for at in (1, 3, 4, 5, 6))
    east = (int(found[8]) * 3600 + int(found[9]) * 60) * (-1 if found[7] == "-" else 1) if found[7] else 0
    try:
        return _epoch(datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC).timestamp() - east)
    except ValueError:
        return None


def _iso(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text)
        return _epoch((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
