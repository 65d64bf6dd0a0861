"""The numbers of an instance, for Prometheus: counted from rows as they are written, and read when somebody asks.

Names of servers and tools become labels only if a server of that name has a tool of that name, and only so many of
them: a caller may ask for any name, and each would be remembered for ever. All others are `other`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from portal.logs import LogRow
from portal.observe import names

OTHER = "other"
MOST_PLACES = 1_000
"""Pairs of a portal and a server that have labels of their own."""
MOST_TOOLS = 2_000
MOST_SHOWN = 500
"""Servers whose state is shown, and portals whose sessions are."""
MAX_LABEL = 128
"""Characters of the name of a tool that is a label."""
_CALLS = frozenset({"tool", "prompt", "resource", "completion", "subscription", "setting"})
_MOST_KNOWN = 20_000
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
LATE_SECONDS = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0)
STATES = ("waiting", "ready", "stale", "error")

T = TypeVar("T")
Knows = Callable[[str, str], bool]
"""Whether there is a server of this id, and, unless the second text is empty, a tool of that name at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What is read when somebody asks. None stands for a part that the instance does not have.

    `states` are those of servers by id, `sessions` how many there are at each portal. `programs` has numbers by what
    they are: `running`, `queued`, `suspended`. `notices` are those of approvals, by channel and what became of them.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[str, int] = field(default_factory=dict)
    programs: Mapping[str, int] | None = None
    workers: int | None = None
    store_ok: bool | None = None
    log_ok: bool | None = None
    log_waiting: int = 0
    log_dropped: int = 0
    spans_waiting: int = 0
    spans: Mapping[str, int] = field(default_factory=dict)
    notices: Mapping[tuple[str, str], int] = field(default_factory=dict)


class Metrics:
    """`take` is given each row; `render` answers a scrape. The registry is its own: nothing else is in it."""

    def __init__(self, knows: Knows) -> None:
        self._knows = knows
        self._registry = registry = CollectorRegistry()
        place = ["portal", "server", "kind"]
        self._calls = Counter(names.CALLS, "Calls of servers.", [*place, "outcome"], registry=registry)
        self._seconds = Histogram(
            names.CALL_SECONDS, "How long calls took.", ["server", "kind"], buckets=SECONDS, registry=registry
        )
        self._tools = Counter(names.TOOL_CALLS, "Calls of tools.", ["server", "tool", "outcome"], registry=registry)
        self._bytes = Counter(
            names.CALL_BYTES, "Bytes to and from servers.", ["server", "direction"], registry=registry
        )
        self._findings = Counter(
            names.CALLS_WITH_FINDINGS, "Calls in which screenings found something.", ["server"], registry=registry
        )
        self._runs = Counter(names.RUNS, "Runs of programs.", ["portal", "outcome"], registry=registry)
        self._run_seconds = Histogram(names.RUN_SECONDS, "How long runs took.", buckets=SECONDS, registry=registry)
        self._saved = Counter(
            names.RUN_TOKENS_SAVED, "Tokens of results that no model has read.", ["portal"], registry=registry
        )
        self._events = Counter(names.EVENTS, "Other events of the log.", ["kind", "outcome"], registry=registry)
        self.late = Histogram(
            names.LOOP_SECONDS, "How late the event loop was.", buckets=LATE_SECONDS, registry=registry
        )
        self._places: set[tuple[str, str]] = set()
        self._tool_names: set[tuple[str, str]] = set()
        self._known: dict[tuple[str, str, str, str, str], _OfCall] = {}
        self._scrape = asyncio.Lock()

    def take(self, row: LogRow, holder: str = "") -> None:
        """Count a row."""
        if row.kind == "run":
            self._runs.labels(self._portal(row.portal), row.outcome).inc()
            self._run_seconds.observe(row.us / 1_000_000)
            if row.tokens_saved:
                self._saved.labels(self._portal(row.portal)).inc(row.tokens_saved)
            return
        if row.kind not in _CALLS:
            self._events.labels(row.kind, row.outcome).inc()
            return
        # The same few come with nearly every call, and looking labels up costs more than counting.
        key = row.portal, row.server, row.kind, row.name if row.kind == "tool" else "", row.outcome
        found = self._known.get(key)
        if found is None:
            found = self._counted_as(row, key)
        found.calls.inc()
        found.seconds.observe(row.us / 1_000_000)
        found.sent.inc(row.bytes_in)
        found.received.inc(row.bytes_out)
        if found.tool is not None:
            found.tool.inc()
        if row.findings:
            found.findings.inc()

    async def render(self, accept: str, readings: Readings) -> tuple[bytes, str]:
        """The numbers in the form that a request accepts, and the content type of that."""
        encode, content_type = choose_encoder(accept)
        async with self._scrape:
            # In a thread: thousands of lines.
            return await asyncio.to_thread(encode, _Shown(self._registry, families(readings))), content_type

    def _counted_as(self, row: LogRow, key: tuple[str, str, str, str, str]) -> _OfCall:
        is_known = self._knows(row.server, "")
        portal, server = self._place(row.portal, row.server if is_known else OTHER)
        tool = self._tool(server, row.name) if row.kind == "tool" else ""
        found = _OfCall(
            self._calls.labels(portal, server, row.kind, row.outcome),
            self._seconds.labels(server, row.kind),
            self._bytes.labels(server, "sent"),
            self._bytes.labels(server, "received"),
            self._findings.labels(server),
            self._tools.labels(server, tool, row.outcome) if tool else None,
        )
        # What nobody knows is looked up again each time: it takes no room.
        if OTHER not in (server, tool) and len(self._known) < _MOST_KNOWN:
            self._known[key] = found
        return found

    def _place(self, portal: str, server: str) -> tuple[str, str]:
        place = portal, server
        if place in self._places:
            return place
        if len(self._places) >= MOST_PLACES:
            return OTHER, OTHER
        self._places.add(place)
        return place

    def _portal(self, portal: str) -> str:
        return self._place(portal, "")[0]

    def _tool(self, server: str, name: str) -> str:
        key = server, name
        if key in self._tool_names:
            return name
        if server == OTHER or len(self._tool_names) >= MOST_TOOLS or not _fits(name) or not self._knows(server, name):
            return OTHER
        self._tool_names.add(key)
        return name


def _fits(name: str) -> bool:
    """Whether a name may be a label: not too long, and text that can be written."""
    return len(name) <= MAX_LABEL and not any("\ud800" <= character <= "\udfff" for character in name)


@dataclass(frozen=True, slots=True)
class _OfCall:
    """Where calls of one kind are counted."""

    calls: Counter
    seconds: Histogram
    sent: Counter
    received: Counter
    findings: Counter
    tool: Counter | None


class _Shown(Collector):
    """What a scrape shows: what was counted, without when that began, and what was read now."""

    def __init__(self, registry: CollectorRegistry, read: Iterable[Metric]) -> None:
        self._registry = registry
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            # For each counter the time when it began: twice as many lines, which nobody asks for.
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
        yield from self._read


def families(readings: Readings) -> list[Metric]:
    """What was read, as metrics."""
    return [
        *_of_servers(readings.states),
        *_gauges(names.SESSIONS, "Sessions of 2025 clients.", "portal", _first(readings.sessions)),
        *_gauges(names.PROGRAMS, "Programs, by what they are at.", "state", readings.programs),
        *_gauge(names.WORKERS, "Processes of the sandbox that are ready.", readings.workers),
        *_gauge(names.STORE_OK, "Whether the database can be read and written.", readings.store_ok),
        *_gauge(names.LOG_OK, "Whether rows of the log can be stored.", readings.log_ok),
        *_gauge(names.LOG_WAITING, "Rows of the log that are not stored yet.", readings.log_waiting),
        CounterMetricFamily(names.LOG_DROPPED, "Rows that there was no room for.", readings.log_dropped),
        *_gauge(names.SPANS_WAITING, "Rows whose spans are not sent yet.", readings.spans_waiting),
        _counters(names.SPANS, "Spans, by what became of them.", "fate", readings.spans),
        _of_notices(readings.notices),
    ]


def _of_notices(counts: Mapping[tuple[str, str], int]) -> Metric:
    says = "Mails and webhooks that tell people of calls that wait for them, by what became of them."
    family = CounterMetricFamily(names.NOTICES, says, labels=["channel", "fate"])
    for labels, value in counts.items():
        family.add_metric(labels, value)
    return family


def _of_servers(states: Mapping[str, str]) -> list[Metric]:
    counts = {state: sum(found == state for found in states.values()) for state in STATES}
    ready = {id: int(state == "ready") for id, state in _first(states).items()}
    return [
        *_gauges(names.UPSTREAMS, "Servers, by state.", "state", counts),
        *_gauges(names.UPSTREAM_READY, "Whether a server is connected.", "server", ready),
    ]


def _first(values: Mapping[str, T]) -> Mapping[str, T]:
    return dict([*values.items()][:MOST_SHOWN])


def _gauge(name: str, says: str, value: int | None) -> list[Metric]:
    return [] if value is None else [GaugeMetricFamily(name, says, value)]


def _gauges(name: str, says: str, label: str, values: Mapping[str, int] | None) -> list[Metric]:
    if values is None:
        return []
    family = GaugeMetricFamily(name, says, labels=[label])
    for named, value in values.items():
        family.add_metric([named], value)
    return [family]


def _counters(name: str, says: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, says, labels=[label])
    for named, value in values.items():
        family.add_metric([named], value)
    return family
