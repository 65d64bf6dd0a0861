"""The page of `codemode scan`: what was found, in words, bars and a table. Pure.

Everything that a log says is text to the template, which escapes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from portal.config import say_duration
from portal.pages import whole_page
from portal.shadow import Certainty, ScanReport, Sighting, Sign, TimeSlot, Window, iso

MAX_ROWS = 1000
MAX_BARS = 10
MAX_CALLERS = 3
MAX_COLUMNS = 60
AGENT = 60
NOT_SAID = "not said in the log"
COLUMN, HEIGHT = 10, 100
"""The width of a column and the height of the tallest, in units of the drawing."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a list: `percent` of the longest. `certainty` is that of the surest request in it, "" for none."""

    name: str
    requests: int
    percent: float
    certainty: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the drawing over time: where it stands and how tall it is, in units of the drawing."""

    at: int
    height: float


@dataclass(frozen=True, slots=True)
class Columns:
    """The drawing over time. `words` say what it shows to whoever does not see it."""

    columns: Sequence[Column]
    width: int
    first: str
    last: str
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `who` has a line for each of the first callers, with their client."""

    certainty: str
    place: str
    note: str
    configured: bool
    requests: int
    first: str
    last: str
    who: Sequence[tuple[str, str]]
    others: int
    signs: str


def scan_page(report: ScanReport, window: Window, now: float) -> str:
    """The text of the page. `window` is what the report is about, `now` when it was made."""
    degrees = Counter(sighting.certainty for sighting in report.sightings)
    unread = sum(file.unread for file in report.files)
    return whole_page(
        "scan.html",
        "scan.css",
        made=_minute(now),
        period=_period(window),
        degrees=[(degree.value, degrees[degree]) for degree in Certainty],
        around=sum(sighting.requests for sighting in report.sightings) + sum(report.left_out.values()),
        through=report.through_portals,
        by=report.by_portals,
        read=sum(file.lines for file in report.files) - unread,
        steps=list(steps(report)),
        hosts=host_bars(report.sightings),
        clients=client_bars(report),
        times=columns_of(report.times),
        rows=[_row(sighting) for sighting in report.sightings[:MAX_ROWS]],
        more=max(0, len(report.sightings) - MAX_ROWS),
        left_out=[(degree.value, requests) for degree, requests in report.left_out.items() if requests],
        files=report.files,
        unread=report.unread,
        unread_lines=unread,
    )


def steps(report: ScanReport) -> Iterable[tuple[str, str]]:
    """What to do next, the most pressing first: what it is about, and a few sentences."""
    configured = sorted({sighting.server for sighting in report.sightings if sighting.server})
    sure = [one for one in report.sightings if one.certainty is not Certainty.POSSIBLE and not one.server]
    possible = [one for one in report.sightings if one.certainty is Certainty.POSSIBLE and not one.server]
    if configured:
        yield (
            f"Configured here, and used around the portal: {_listed(configured)}.",
            "Give the clients below the address of the portal, and take back the credentials that they have for the "
            "server itself: then its policies and its log are about these calls too.",
        )
    if sure:
        yield (
            f"{_endpoints(sure)} that no portal of this configuration has.",
            "Decide about each: add it as a server, so that people use it through the portal, or close its host where "
            "the log was written. Ask the people below first: they use it for something.",
        )
    if possible:
        yield (
            f"{_endpoints(possible)} with one sign only.",
            "It may be something else. A log with paths and user agents, or a HAR file, says more than one of CONNECT.",
        )
    if not report.sightings:
        yield (
            "Nothing in these files looks like MCP around the portals.",
            "That is about what they have: a log without hosts, paths and user agents shows little, and one of another "
            "proxy may show something else.",
        )
    if not report.through_portals:
        yield (
            "No request to a portal was seen.",
            "If there are portals at other addresses, name them with --portal: requests to them would count as around.",
        )
    if any(not sighting.host for sighting in report.sightings):
        yield "? is a server whose log does not say its name.", "Name it with --site."
    if unread := sum(file.unread for file in report.files):
        yield (
            f"{unread:,} {'line was' if unread == 1 else 'lines were'} not understood.",
            "Their shapes are at the end. What they say is not in this report.",
        )
    for file in report.files:
        if file.damage:
            yield f"The end of {file.name} could not be read.", "What is before it is in this report."


def host_bars(sightings: Sequence[Sighting]) -> list[Bar]:
    """The hosts with the most requests; the others are one bar."""
    requests: Counter[str] = Counter()
    surest: dict[str, Certainty] = {}
    for sighting in sightings:
        host = sighting.host or "?"
        requests[host] += sighting.requests
        # Sightings come with the most certain first.
        surest.setdefault(host, sighting.certainty)
    return _bars(requests, surest, "other hosts")


def client_bars(report: ScanReport) -> list[Bar]:
    """The clients with the most requests, by what they call themselves; the others are one bar."""
    requests: Counter[str] = Counter()
    for agent, number in report.clients:
        requests[_cut(agent) or NOT_SAID] += number
    return _bars(requests, {}, "other clients", report.more_clients)


def columns_of(slots: Sequence[TimeSlot]) -> Columns | None:
    """The drawing over time; None where the log says no times."""
    if not slots:
        return None
    first, last, seconds = slots[0].start, slots[-1].start + slots[0].seconds, slots[0].seconds
    in_all = -(-(last - first) // seconds)
    each = -(-in_all // MAX_COLUMNS)
    counts: Counter[int] = Counter()
    for slot in slots:
        counts[(slot.start - first) // seconds // each] += slot.requests
    tallest, most = max(counts.items(), key=lambda item: item[1])
    number = -(-in_all // each)
    columns = [
        Column(at * COLUMN, max(2.0, round(counts[at] * HEIGHT / most, 2))) for at in range(number) if counts[at]
    ]
    lasts = say_duration(timedelta(seconds=seconds * each)).removeprefix("1 ")
    words = f"The most are {most:,} in the {lasts} from {_minute(first + tallest * seconds * each)}."
    return Columns(columns, number * COLUMN, _minute(first), _minute(last), words)


def _bars(requests: Counter[str], surest: dict[str, Certainty], rest: str, others: int = 0) -> list[Bar]:
    listed = sorted(requests.items(), key=lambda item: (-item[1], item[0]))
    if len(listed) > MAX_BARS:
        others += sum(number for _, number in listed[MAX_BARS - 1 :])
        listed = listed[: MAX_BARS - 1]
    shown = [(name, number, surest[name].value if name in surest else "") for name, number in listed]
    if others:
        shown.append((rest, others, ""))
    most = max((number for _, number, _ in shown), default=1)
    return [Bar(name, number, max(0.5, round(number * 100 / most, 2)), degree) for name, number, degree in shown]


def _row(sighting: Sighting) -> Row:
    listed = sighting.callers[:MAX_CALLERS]
    who = [
        (" ".join(part for part in (one.user, one.address) if part) or "nobody named", _cut(one.agent))
        for one in listed
    ]
    words = [sign.value for sign in sighting.signs if sign not in (Sign.METHOD, Sign.VERSION)]
    note = f"configured here: {sighting.server}" if sighting.server else sighting.vendor
    return Row(
        sighting.certainty.value,
        sighting.place,
        note,
        bool(sighting.server),
        sighting.requests,
        _minute(sighting.first),
        _minute(sighting.last),
        who,
        sighting.more_callers + sum(one.requests for one in sighting.callers[MAX_CALLERS:]),
        ", ".join([*sighting.methods, *(f"protocol {version}" for version in sighting.versions), *words]),
    )


def _cut(agent: str) -> str:
    return agent if len(agent) <= AGENT else f"{agent[: AGENT - 1]}\N{HORIZONTAL ELLIPSIS}"


def _minute(at: float | None) -> str:
    return "" if at is None else iso(at)[:16].replace("T", " ")


def _period(window: Window) -> str:
    parts = [
        f"{word} {_minute(at)}" for word, at in (("from", window.since), ("before", window.until)) if at is not None
    ]
    return " ".join(parts)


def _endpoints(sightings: Sequence[Sighting]) -> str:
    return "1 endpoint" if len(sightings) == 1 else f"{len(sightings):,} endpoints"


def _listed(names: Sequence[str]) -> str:
    shown = names[:MAX_BARS]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
