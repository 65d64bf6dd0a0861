"""The picture of a run: its calls as a waterfall, and the program with its calls in the margin, linked both ways.

A row is text with a bar below or beside it, so it can be read without the picture. An outcome is a word, a mark, a
colour and a pattern.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from portal.pages.charts import MAX_NAME, Drawing, drawn, safe_link
from portal.pages.scales import duration_ticks, duration_words, finite, percent
from portal.unseen import seen_words, short_words

MAX_CALLS = 200
MAX_LINES = 5_000
MAX_LINE = 2_000
MAX_LABELS, MAX_LABEL = 8, 40


class CallOutcome(StrEnum):
    """How a call ended. `RUNNING` is one that has not."""

    OK = "ok"
    ERROR = "error"
    DENIED = "denied"
    CANCELLED = "cancelled"
    RUNNING = "running"


MARKS = {
    CallOutcome.OK: "✓",
    CallOutcome.ERROR: "✕",
    CallOutcome.DENIED: "⊘",
    CallOutcome.CANCELLED: "–",
    CallOutcome.RUNNING: "…",
}


@dataclass(frozen=True, slots=True)
class TimelineCall:
    """A call of a run: when it began and how long it took, in ms since the start of the run; None for one that has not
    ended. `line` is that of the program that made it, 0 where it is not known; `labels` are those of its data flow."""

    seq: int
    name: str
    start: float
    duration: float | None
    outcome: CallOutcome
    line: int = 0
    labels: tuple[str, ...] = ()
    href: str = ""


@dataclass(frozen=True, slots=True)
class ProgramTimeline:
    """A run: its calls, and how long it has taken, in ms. `ended` is False while it goes on, and `total` is now."""

    calls: tuple[TimelineCall, ...]
    total: float
    ended: bool = True


@dataclass(frozen=True, slots=True)
class CallPlace:
    """A row of the waterfall: where its bar stands and how long it is, in percent. `id` is "" for a second call of the
    same number."""

    call: TimelineCall
    id: str
    name: str
    at: float
    length: float
    mark: str
    began: str
    took: str
    labels: tuple[str, ...]
    more_labels: int
    href: str


@dataclass(frozen=True, slots=True)
class TimelineStretch:
    """A stretch of a run during which so many calls were under way: where and how long, in percent; how high, in
    percent of the most."""

    at: float
    length: float
    calls: int
    height: float


@dataclass(frozen=True, slots=True)
class ListingLine:
    """A line of a program, and the calls that it made."""

    number: int
    text: str
    calls: tuple[TimelineCall, ...]


def waterfall(run: ProgramTimeline) -> Drawing:
    """The calls of a run in their order, one row each, over the time of the run. One for each page: a row's id is
    `call-` and the number of the call, and it links to `#L` and its line (`listing`)."""
    places, total = call_places(run), length_of(run)
    stretches = stretches_of(run)
    return drawn(
        "waterfall",
        calls=places,
        left_out=max(0, len(run.calls) - MAX_CALLS),
        ticks=duration_ticks(total),
        stretches=stretches,
        most=max((stretch.calls for stretch in stretches), default=0),
        own=own_stretches(run),
        words=_words(run, total),
        ended=run.ended,
    )


def listing(source: str, calls: Sequence[TimelineCall]) -> Drawing:
    """A program with a number and an id (`L12`) for each line. Calls stand beside their line and link to their row."""
    lines, left_out = listing_lines(source, calls)
    return drawn("listing", lines=lines, left_out=left_out, marks=MARKS)


def margins(calls: Sequence[TimelineCall]) -> Drawing:
    """What a listing has beside its lines, line by line, to be swapped into one that is on a page already: the calls by
    now, each in an element with the id `M12`."""
    lines = [
        ListingLine(number, "", tuple(made))
        for number, made in sorted(_by_line(calls).items())
        if 0 < number <= MAX_LINES
    ]
    return drawn("margins", lines=lines, marks=MARKS)


def length_of(run: ProgramTimeline) -> float:
    """The length of the time axis in ms: that of the run, or until its last call ended if that is longer."""
    ends = (finite(call.start) + finite(call.duration or 0) for call in run.calls[:MAX_CALLS])
    return max(finite(run.total), *ends, 0.0)


def call_places(run: ProgramTimeline) -> list[CallPlace]:
    """The rows in the order of the calls. Bars stand within the axis; one that has not ended goes on to its end."""
    total, seen = length_of(run), set[int]()
    places: list[CallPlace] = []
    for call in run.calls[:MAX_CALLS]:
        begin, end = _span(call, total)
        at = percent(begin, 0, total)
        places.append(
            CallPlace(
                call=call,
                id="" if call.seq in seen else f"call-{call.seq}",
                at=at,
                length=round(percent(end, 0, total) - at, 3),
                mark=MARKS[call.outcome],
                began=duration_words(begin),
                took=f"{duration_words(end - begin)} so far"
                if call.duration is None
                else duration_words(call.duration),
                name=short_words(call.name, MAX_NAME),
                labels=tuple(short_words(label, MAX_LABEL) for label in call.labels[:MAX_LABELS]),
                more_labels=max(0, len(call.labels) - MAX_LABELS),
                href=safe_link(call.href),
            )
        )
        seen.add(call.seq)
    return places


def stretches_of(run: ProgramTimeline) -> list[TimelineStretch]:
    """How many calls were under way at each time, where there was one; a call of no time is in none."""
    total = length_of(run)
    steps: dict[float, int] = defaultdict(int)
    for call in run.calls[:MAX_CALLS]:
        begin, end = _span(call, total)
        if end > begin:
            steps[begin] += 1
            steps[end] -= 1
    times, under_way = sorted(steps), 0
    found: list[tuple[float, float, int]] = []
    for begin, end in zip(times, times[1:], strict=False):
        under_way += steps[begin]
        if under_way and found and found[-1][1:] == (begin, under_way):
            found[-1] = (found[-1][0], end, under_way)
        elif under_way:
            found.append((begin, end, under_way))
    most = max((calls for _, _, calls in found), default=1)
    return [_stretch(begin, end, calls, most, total) for begin, end, calls in found]


def own_stretches(run: ProgramTimeline) -> list[TimelineStretch]:
    """When no call was under way: the time of the program itself."""
    total, at = length_of(run), 0.0
    found: list[TimelineStretch] = []
    for begin, end in sorted(_span(call, total) for call in run.calls[:MAX_CALLS]):
        if begin > at:
            found.append(_stretch(at, begin, 0, 1, total))
        at = max(at, end)
    return [*found, _stretch(at, total, 0, 1, total)] if total > at else found


def listing_lines(source: str, calls: Sequence[TimelineCall]) -> tuple[list[ListingLine], int]:
    """The lines of a program, and how many of them are left out."""
    at_line = _by_line(calls)
    texts = source.split("\n")
    lines = [
        ListingLine(number, seen_words(_cut(text.removesuffix("\r"))), tuple(at_line[number]))
        for number, text in enumerate(texts[:MAX_LINES], 1)
    ]
    return lines, max(0, len(texts) - MAX_LINES)


def _by_line(calls: Sequence[TimelineCall]) -> dict[int, list[TimelineCall]]:
    at_line: dict[int, list[TimelineCall]] = defaultdict(list)
    for call in calls[:MAX_CALLS]:
        at_line[call.line].append(call)
    return at_line


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} ... ({len(line) - MAX_LINE:,} more characters)"


def _span(call: TimelineCall, total: float) -> tuple[float, float]:
    begin = min(finite(call.start), total)
    return begin, total if call.duration is None else min(begin + finite(call.duration), total)


def _stretch(begin: float, end: float, calls: int, most: int, total: float) -> TimelineStretch:
    at = percent(begin, 0, total)
    return TimelineStretch(at, round(percent(end, 0, total) - at, 3), calls, round(100 * calls / most, 2))


def _words(run: ProgramTimeline, total: float) -> str:
    count = len(run.calls)
    if not count:
        return f"No calls in {duration_words(total)}."
    failed = sum(call.outcome is not CallOutcome.OK and call.duration is not None for call in run.calls)
    open_ones = sum(call.duration is None for call in run.calls)
    parts = [f"{count} {'call' if count == 1 else 'calls'} in {duration_words(total)}"]
    parts += [f"{failed} not ok"] if failed else []
    parts += [f"{open_ones} still under way"] if open_ones else []
    return ", ".join(parts) + "."
