"""Where things stand in a chart: values to places, and the ticks of an axis. Pure; any number has a place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

LEAST, MOST = 1e-9, 1e15
LAST_SECOND = 253402300799.0
"""The end of the year 9999 (UTC), after which Python has no dates."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    *(1, 5, 15, 30),
    *(step * _MINUTE for step in (1, 5, 15, 30)),
    *(step * _HOUR for step in (1, 3, 6, 12)),
    *(step * _DAY for step in (1, 2, 7, 14, 30, 90, 365)),
)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis: its value, its place in percent of the axis, and its words."""

    value: float
    at: float
    words: str


def finite(value: float, most: float = MOST) -> float:
    """The value as charts take it: 0 for what is no number or less than `LEAST`, at most `most`."""
    return 0.0 if math.isnan(value) or value < LEAST else min(float(value), most)


def percent(value: float, first: float, last: float) -> float:
    """Where a value stands between `first` and `last`, from 0 to 100; 0 where these are the same."""
    if not last > first:
        return 0.0
    return round(min(max((value - first) / (last - first), 0.0), 1.0) * 100, 3)


def nice_top(value: float, most: int = 4) -> tuple[float, float]:
    """The top of an axis from 0 that has room for `value`, and its step: 1, 2 or 5 times a power of ten, at most `most`
    of them."""
    value = finite(value)
    if value == 0:
        return 1.0, 1.0
    raw = value / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((times * power for times in (1, 2, 5, 10) if times * power >= raw * (1 - 1e-9)), 10 * power)
    return max(1, math.ceil(value / step - 1e-9)) * step, step


def number_ticks(value: float, most: int = 4, *, unit: str = "") -> tuple[Tick, ...]:
    """The ticks of an axis from 0 to the top for `value`. With the unit `ms` their words are durations."""
    top, step = nice_top(value, most)
    count = round(top / step)
    say = duration_words if unit == "ms" else number_words
    return tuple(Tick(index * step, round(100 * index / count, 3), say(index * step)) for index in range(count + 1))


def duration_ticks(total: float, most: int = 4) -> tuple[Tick, ...]:
    """The ticks of an axis from 0 to `total` ms, which is its end: the last tick may stand before it."""
    total = finite(total)
    _, step = nice_top(total, most)
    count = math.floor(total / step + 1e-9)
    return tuple(
        Tick(index * step, percent(index * step, 0, total), duration_words(index * step)) for index in range(count + 1)
    )


def time_ticks(first: float, last: float, most: int = 5) -> tuple[Tick, ...]:
    """The ticks of an axis from `first` to `last` (seconds since 1970), at whole steps of UTC, at most `most`."""
    first, last = finite(first, LAST_SECOND), finite(last, LAST_SECOND)
    if not last > first:
        return (Tick(first, 0.0, time_words(first, 1)),)
    years = 365 * _DAY * max(1, math.ceil((last - first) / (most * 365 * _DAY)))
    step = next((step for step in _STEPS if (last - first) / step <= most - 1), years)
    begin = math.ceil(first / step) * step
    ticks = [Tick(at, percent(at, first, last), time_words(at, step)) for at in range(begin, int(last) + 1, step)]
    return tuple(ticks[:most]) or (Tick(first, 0.0, time_words(first, 1)),)


def time_words(at: float, step: float) -> str:
    """A time in UTC, as exact as steps of so many seconds need it."""
    moment = datetime.fromtimestamp(finite(at, LAST_SECOND), UTC)
    if step >= 365 * _DAY:
        return f"{moment.year}"
    if step >= _DAY or (step >= _MINUTE and moment.hour == moment.minute == 0):
        return f"{moment.day} {_MONTHS[moment.month - 1]}"
    return f"{moment:%H:%M:%S}" if step < _MINUTE else f"{moment:%H:%M}"


def moment_words(at: float) -> str:
    """A time in UTC as tables have it: `2026-11-30 10:00:00`."""
    return f"{datetime.fromtimestamp(finite(at, LAST_SECOND), UTC):%Y-%m-%d %H:%M:%S}"


def number_words(value: float) -> str:
    """A number in few characters: `0`, `12.5`, `1,200`, `35k`, `1.2M`."""
    value = finite(value)
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            scale = 1e3 if letter == "k" else size
            return f"{value / scale:.3g}{letter}" if value / scale < 1000 else f"{value / scale:,.0f}{letter}"
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:.3g}"


def bytes_words(value: float) -> str:
    """An amount of bytes in few characters: `0 B`, `12 kB`, `1.2 MB`."""
    value = finite(value)
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:,.3g} {unit}" if value / size < 1000 else f"{value / size:,.0f} {unit}"
    return f"{value:.0f} B"


def duration_words(ms: float) -> str:
    """A duration in few characters: `0 ms`, `0.4 ms`, `340 ms`, `1.2 s`, `3 min`, `2.5 h`."""
    ms = finite(ms)
    for size, unit in ((3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if ms >= size:
            return f"{ms / size:,.3g} {unit}" if ms / size < 1000 else f"{ms / size:,.0f} {unit}"
    return f"{ms:.3g} ms" if ms < 999.5 else "1 s"
