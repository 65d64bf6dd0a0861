"""Collects the requests that look like MCP into sightings, within bounds.

Each degree of certainty has room of its own: a flood of names that may be MCP pushes out nothing that certainly is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from portal.shadow.places import ORDINARY_PORTS, Hosts, Portals
from portal.shadow.reading import SHOWN, UnreadLine
from portal.shadow.report import ScannedFile, ScanReport, SeenCaller, Sighting, shown, shown_path
from portal.shadow.request import LogRequest
from portal.shadow.signs import RANK, Certainty, Evidence, Sign, judge
from portal.shadow.timeline import Timeline

MAX_PLACES = 10_000
MAX_CALLERS = 20_000
MAX_CALLERS_EACH = 50
MAX_CLIENTS = 2000
SHOWN_CLIENTS = 100

_Key = tuple[str, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a report is about: from `since` on, before `until`. A request without a time is always in it."""

    since: float | None = None
    until: float | None = None

    def has(self, at: float | None) -> bool:
        if at is None:
            return True
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)


@dataclass(slots=True)
class _Span:
    """How many requests there were, the first and the last time of them."""

    requests: int = 0
    first: float | None = None
    last: float | None = None

    def count(self, at: float | None) -> None:
        self.requests += 1
        if at is not None:
            self.first = at if self.first is None else min(at, self.first)
            self.last = at if self.last is None else max(at, self.last)


@dataclass(slots=True)
class _Seen:
    certainty: Certainty
    vendor: str = ""
    server: str = ""
    span: _Span = field(default_factory=_Span)
    signs: set[Sign] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)
    versions: set[str] = field(default_factory=set)
    callers: dict[tuple[str, str, str], _Span] = field(default_factory=dict)
    more_callers: int = 0


class Sightings:
    """What was seen so far. `site` is the host of requests whose log names none."""

    def __init__(
        self,
        portals: Portals | None = None,
        window: Window | None = None,
        hosts: Hosts | None = None,
        *,
        site: str = "",
        places: int = MAX_PLACES,
        callers: int = MAX_CALLERS,
    ) -> None:
        self._portals, self._window, self._hosts = portals or Portals(), window or Window(), hosts or Hosts()
        self._site = site
        self._most_places, self._most_callers = places, callers
        self._seen: dict[_Key, _Seen] = {}
        self._room: Counter[Certainty] = Counter()
        self._left_out: Counter[Certainty] = Counter()
        self._callers: Counter[Certainty] = Counter()
        self._through = 0
        self._by = 0
        self._times = Timeline()
        self._clients: Counter[str] = Counter()
        self._more_clients = 0

    def add(self, request: LogRequest) -> None:
        """Take one request into account."""
        if not request.host and self._site:
            request = replace(request, host=self._site)
        if not (self._window.has(request.at) and self._hosts.have(request.host)):
            return
        server = self._portals.serve(request)
        verdict = judge(request, served=bool(server))
        if self._portals.take(request):
            self._through += verdict is not None or request.path is None
        elif self._portals.make(request):
            self._by += 1
        elif verdict is not None:
            self._times.count(request.at)
            self._count_client(shown(request.agent))
            self._count(request, verdict, server)

    def report(self, files: Iterable[ScannedFile] = (), unread: Iterable[UnreadLine] = ()) -> ScanReport:
        """What was seen, the most certain first, then what was used most."""
        sightings = [_sighting(key, seen) for key, seen in self._seen.items()]
        clients = sorted(self._clients.items(), key=lambda item: (-item[1], item[0]))
        sightings.sort(key=lambda one: (RANK[one.certainty], -one.requests, one.host, one.path or ""))
        return ScanReport(
            tuple(sightings),
            self._through,
            self._by,
            {certainty: self._left_out[certainty] for certainty in Certainty},
            tuple(files),
            tuple(unread)[:SHOWN],
            self._times.slots,
            tuple(clients[:SHOWN_CLIENTS]),
            self._more_clients + sum(requests for _, requests in clients[SHOWN_CLIENTS:]),
        )

    def _count(self, request: LogRequest, verdict: Evidence, server: str) -> None:
        port = None if request.port in ORDINARY_PORTS else request.port
        key = (shown(request.host), port, None if request.path is None else shown_path(request.path))
        seen = self._seen.get(key)
        if seen is None:
            if self._room[verdict.certainty] >= self._most_places:
                self._left_out[verdict.certainty] += 1
                return
            self._room[verdict.certainty] += 1
            vendor = verdict.endpoint.vendor if verdict.endpoint is not None else ""
            seen = self._seen[key] = _Seen(verdict.certainty, vendor, server)
        seen.span.count(request.at)
        seen.signs |= verdict.signs
        seen.methods |= verdict.methods
        if len(seen.versions) < SHOWN:
            seen.versions |= verdict.versions
        if RANK[verdict.certainty] < RANK[seen.certainty]:
            seen.certainty = verdict.certainty
        self._count_caller(seen, request, verdict.certainty)

    def _count_client(self, agent: str) -> None:
        if agent in self._clients or len(self._clients) < MAX_CLIENTS:
            self._clients[agent] += 1
        else:
            self._more_clients += 1

    def _count_caller(self, seen: _Seen, request: LogRequest, certainty: Certainty) -> None:
        who = (shown(request.address), shown(request.user), shown(request.agent))
        span = seen.callers.get(who)
        if span is None:
            if len(seen.callers) >= MAX_CALLERS_EACH or self._callers[certainty] >= self._most_callers:
                seen.more_callers += 1
                return
            self._callers[certainty] += 1
            span = seen.callers[who] = _Span()
        span.count(request.at)


def _sighting(key: _Key, seen: _Seen) -> Sighting:
    host, port, path = key
    callers = (SeenCaller(*who, span.requests, span.first, span.last) for who, span in seen.callers.items())
    return Sighting(
        host,
        port,
        path,
        seen.certainty,
        tuple(sign for sign in Sign if sign in seen.signs),
        tuple(sorted(seen.methods)),
        tuple(sorted(seen.versions)),
        seen.vendor,
        seen.server,
        seen.span.requests,
        seen.span.first,
        seen.span.last,
        tuple(sorted(callers, key=lambda caller: (-caller.requests, caller.address, caller.user, caller.agent))),
        seen.more_callers,
    )
