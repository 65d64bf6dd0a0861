"""Charts as markup: bars, sparklines, columns and lines over time. They need no script, and no style in an attribute.

Each is a figure of SVG whose places are percentages, so that its words keep their size on a narrow screen, with the
numbers in a table that can be opened: a screen reader gets what is drawn. Colours are classes of `charts.css`. Whatever
a name or number says, it is escaped, and has a place in the picture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from portal.pages.pages import templates
from portal.pages.scales import (
    LAST_SECOND,
    Tick,
    duration_words,
    finite,
    moment_words,
    nice_top,
    number_ticks,
    number_words,
    percent,
    time_ticks,
)
from portal.unseen import short_words

PLOT_HEIGHT = 140
"""Of columns and lines, in px."""
SPARK_WIDTH, SPARK_HEIGHT = 100, 24
MAX_NAME = 120
MAX_POINTS = 500
"""Of one chart: what is more is left out from the front, because the newest matters most."""


class Drawing(str):
    """Markup that templates take as it is. Only this room makes it."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class ChartBar:
    """A bar: what it is about, how much that is, and where a click leads ("" for nowhere). `shown` are the words for
    the value if they are not just the number."""

    label: str
    value: float
    href: str = ""
    shown: str = ""


@dataclass(frozen=True, slots=True)
class ChartSlot:
    """What happened from `start` until `end` (seconds since 1970): how many ended well, and how many did not."""

    start: float
    end: float
    ok: float
    error: float
    href: str = ""


@dataclass(frozen=True, slots=True)
class LatencyPoint:
    """How long calls took around a time (seconds since 1970), in ms. None where there were none."""

    at: float
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class BarPlace:
    """Where a bar is drawn: its length in percent."""

    label: str
    length: float
    shown: str
    href: str


@dataclass(frozen=True, slots=True)
class SlotPlace:
    """Where a column is drawn: across in percent, up and down in px from the top of the plot. Errors stand below, so
    that they can be compared."""

    slot: ChartSlot
    at: float
    width: float
    ok_top: float
    ok_height: float
    error_top: float
    error_height: float
    words: str
    when: str
    ok_shown: str
    error_shown: str
    href: str


def bars(rows: Sequence[ChartBar], *, label: str, unit: str = "") -> Drawing:
    """Horizontal bars in the order of `rows`. With the unit `ms` numbers are said as durations."""
    return drawn("bars", label=label, rows=bar_places(rows, unit=unit))


def sparkline(values: Sequence[float], *, label: str, unit: str = "") -> Drawing:
    """A line without axes, to stand in a row of text. Its label says the last value and the highest."""
    kept = [finite(value) for value in values[-MAX_POINTS:]]
    say = duration_words if unit == "ms" else number_words
    words = f"{label}: last {say(kept[-1])}, highest {say(max(kept))}" if kept else f"{label}: nothing yet"
    path = _path(list(enumerate(kept)), max(kept, default=0), SPARK_WIDTH, SPARK_HEIGHT, max(1, len(kept) - 1))
    return drawn("sparkline", words=words, path=path, width=SPARK_WIDTH, height=SPARK_HEIGHT)


def columns(slots: Sequence[ChartSlot], *, id: str, label: str, zoom: str = "") -> Drawing:
    """Columns over time, of what ended well and what did not. `id` is unlike that of any other chart of the page.

    `zoom` is the path and query to which a script adds `from` and `to`, the times between which somebody drags.
    """
    kept = _kept_slots(slots)
    top = max((finite(slot.ok) + finite(slot.error) for slot in kept), default=0.0)
    series = {
        "at": [slot.start for slot in kept],
        "span": kept[-1].end - kept[-1].start if kept else 0,
        "series": [
            {"label": "All", "colour": 1, "values": [finite(slot.ok) + finite(slot.error) for slot in kept]},
            {"label": "Failed", "colour": 2, "values": [finite(slot.error) for slot in kept]},
        ],
        "kind": "columns",
    }
    first, last = (kept[0].start, max(slot.end for slot in kept)) if kept else (0.0, 0.0)
    return drawn(
        "columns",
        id=id,
        label=label,
        words=_columns_words(kept),
        slots=slot_places(kept),
        ticks=y_ticks(number_ticks(top)),
        times=time_ticks(first, last) if kept else (),
        height=PLOT_HEIGHT,
        series=json.dumps(series, allow_nan=False),
        zoom=safe_link(zoom),
    )


def lines(points: Sequence[LatencyPoint], *, id: str, label: str, zoom: str = "") -> Drawing:
    """How long calls took over time: the median, and what one of a hundred exceeds."""
    kept = sorted((_point(point) for point in points), key=lambda point: point.at)[-MAX_POINTS:]
    top = max((value for point in kept for value in (point.p50, point.p99) if value is not None), default=0.0)
    ceiling, _ = nice_top(top)
    first, last = (kept[0].at, kept[-1].at) if kept else (0.0, 0.0)
    names = (("p50", "Median", 1), ("p99", "99th percentile", 3))
    values = {"p50": [point.p50 for point in kept], "p99": [point.p99 for point in kept]}
    series = [{"label": name, "colour": colour, "values": values[key]} for key, name, colour in names]
    at = [percent(point.at, first, last) for point in kept]
    return drawn(
        "lines",
        id=id,
        label=label,
        words=_lines_words(kept),
        paths=[(name, key, _gapped(at, values[key], ceiling)) for key, name, _ in names],
        rows=[(moment_words(point.at), _said(point.p50), _said(point.p99)) for point in kept],
        ticks=y_ticks(number_ticks(top, unit="ms")),
        times=time_ticks(first, last) if kept else (),
        height=PLOT_HEIGHT,
        series=json.dumps(
            {"at": [point.at for point in kept], "series": series, "unit": "ms", "kind": "lines"}, allow_nan=False
        ),
        zoom=safe_link(zoom),
    )


def bar_places(rows: Sequence[ChartBar], *, unit: str = "") -> list[BarPlace]:
    """The bars in their order, each as long as its part of the longest."""
    longest = max((finite(row.value) for row in rows), default=0.0)
    say = duration_words if unit == "ms" else number_words
    return [
        BarPlace(
            short_words(row.label, MAX_NAME),
            percent(finite(row.value), 0, longest),
            row.shown or say(row.value),
            safe_link(row.href),
        )
        for row in rows
    ]


def slot_places(slots: Sequence[ChartSlot]) -> list[SlotPlace]:
    """The columns in the order of their times, within the box."""
    kept = _kept_slots(slots)
    if not kept:
        return []
    top, _ = nice_top(max(finite(slot.ok) + finite(slot.error) for slot in kept))
    first, last = kept[0].start, max(slot.end for slot in kept)
    return [_slot_place(slot, first, last, top) for slot in kept]


def y_ticks(ticks: Sequence[Tick]) -> list[tuple[float, str]]:
    """How far below the top of the plot each tick stands, in px, and its words."""
    return [(round(PLOT_HEIGHT * (1 - tick.at / 100), 2), tick.words) for tick in ticks]


def safe_link(href: str) -> str:
    """A link within this site as it is, "" for any other: none leads elsewhere, or runs something."""
    # A browser takes "/\" for "//", and leaves out tabs and line ends.
    plain = href.isprintable() and href[:1] in ("/", "?", "#") and href[1:2] not in ("/", "\\")
    return href if plain else ""


def drawn(macro: str, **values: object) -> Drawing:
    """What a macro of `charts.html` makes of these values."""
    return Drawing(getattr(templates().get_template("charts.html").module, macro)(values))


def _kept_slots(slots: Sequence[ChartSlot]) -> list[ChartSlot]:
    tame = [
        ChartSlot(start := finite(slot.start, LAST_SECOND), max(start, finite(slot.end, LAST_SECOND)), slot.ok,
                  slot.error, slot.href)
        for slot in slots
    ]  # fmt: skip
    return sorted(tame, key=lambda slot: slot.start)[-MAX_POINTS:]


def _slot_place(slot: ChartSlot, first: float, last: float, top: float) -> SlotPlace:
    at = percent(slot.start, first, last)
    whole = percent(slot.end, first, last) - at if last > first else 100.0
    error_height = round(finite(slot.error) / top * PLOT_HEIGHT, 2)
    ok_height = round(min(finite(slot.ok) / top * PLOT_HEIGHT, PLOT_HEIGHT - error_height), 2)
    # One of thousands is seen, too.
    error_height = max(error_height, 2.0) if slot.error > 0 else error_height
    ok_height = min(ok_height, PLOT_HEIGHT - error_height)
    failed = f", {number_words(slot.error)} failed" if finite(slot.error) else ""
    when = moment_words(slot.start)
    return SlotPlace(
        slot=slot,
        at=round(at + whole * 0.07, 3),
        width=round(max(whole * 0.86, 0.05), 3),
        ok_top=round(PLOT_HEIGHT - error_height - ok_height, 2),
        ok_height=round(ok_height, 2),
        error_top=round(PLOT_HEIGHT - error_height, 2),
        error_height=round(error_height, 2),
        words=f"{when} UTC: {number_words(finite(slot.ok) + finite(slot.error))}{failed}",
        when=when,
        ok_shown=f"{finite(slot.ok):,.15g}",
        error_shown=f"{finite(slot.error):,.15g}",
        href=safe_link(slot.href),
    )


def _columns_words(slots: Sequence[ChartSlot]) -> str:
    if not slots:
        return "Nothing in this time."
    total = sum(finite(slot.ok) + finite(slot.error) for slot in slots)
    failed = sum(finite(slot.error) for slot in slots)
    return (
        f"From {moment_words(slots[0].start)} to {moment_words(slots[-1].end)} UTC: {number_words(total)} in all, "
        f"{number_words(failed)} failed."
    )


def _lines_words(points: Sequence[LatencyPoint]) -> str:
    slowest = max((point.p99 for point in points if point.p99 is not None), default=None)
    if slowest is None:
        return "Nothing in this time."
    return (
        f"From {moment_words(points[0].at)} to {moment_words(points[-1].at)} UTC. "
        f"The 99th percentile is at most {duration_words(slowest)}."
    )


def _said(ms: float | None) -> str:
    return "-" if ms is None else duration_words(ms)


def _point(point: LatencyPoint) -> LatencyPoint:
    p50 = None if point.p50 is None else finite(point.p50)
    p99 = None if point.p99 is None else finite(point.p99)
    return LatencyPoint(finite(point.at, LAST_SECOND), p50, p99)


def _gapped(at: Sequence[float], values: Sequence[float | None], ceiling: float) -> str:
    """The path of a line that is interrupted where there is no value; one value alone is a short stroke."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for place, value in zip(at, values, strict=True):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((place, value))
    return " ".join(_path(piece, ceiling, 100, PLOT_HEIGHT, 100) for piece in pieces if piece)


def _path(points: Sequence[tuple[float, float]], highest: float, width: float, height: float, last: float) -> str:
    """Through points whose places go from 0 to `last` and values from 0 to `highest`, as the data of an SVG path."""
    placed = [
        (round(place / last * width, 2), round(height - (value / highest if highest else 0) * (height - 2) - 1, 2))
        for place, value in points
    ]
    if len(placed) == 1:
        (x, y) = placed[0]
        placed = [(max(x - 1, 0), y), (min(max(x - 1, 0) + 2, width), y)]
    steps = [f"L{x} {y}" for _, (x, y) in pairwise(placed)]
    return " ".join([f"M{placed[0][0]} {placed[0][1]}", *steps]) if placed else ""
