"""The first page: what was called in a window beside the one before, by whom, how long it took, and what needs
somebody now. Each part is there or says why not, whatever the others do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.routing import Route

from portal.admin import (
    ORGANIZATION,
    Amount,
    LoggedRow,
    LogPageInfo,
    NumberedPage,
    Overview,
    RunPageInfo,
    ServedServer,
    ShownPortal,
    ShownRun,
    ShownServer,
    TopAmount,
    TopAmounts,
)
from portal.console.frame import ConsoleFrame
from portal.console.servers import SERVED, TONES, configured_path, server_path
from portal.console.start import first_steps
from portal.console.url_state import PagePart, UrlState, link_to, tried
from portal.console.visit import Answer, Shown, Visit, portal_said
from portal.pages import (
    ChartBar,
    ChartSlot,
    Drawing,
    LatencyPoint,
    bars,
    bytes_words,
    columns,
    duration_words,
    lines,
    moment_words,
    number_words,
)

HERE, PATH, LOGS_PATH = "overview", "/admin", "/admin/logs"
MCP = "/access/ai-controls/mcp"
OVERVIEW_API, SERVERS_API, PORTALS_API = f"{MCP}/analytics/overview", f"{MCP}/servers", f"{MCP}/portals"
RUNS_API, LOGS_API = f"{MCP}/runs", f"{MCP}/logs"
WINDOWS = (("1h", "1 hour"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))
FILTERS: Mapping[str, tuple[str, str]] = {
    "portal": ("Portal", "portal_id"),
    "server": ("Server", "server_id"),
    "person": ("Person", "identity"),
    "client": ("Client", "client"),
}
"""Each with its word, and its name in the API."""
TOP, MOST_NEEDS = 8, 8
OWN = "_"
NEXT: Mapping[str, str] = {
    "wait": "Look at it",
    "sync": "Sync it",
    "log_in": "Log in",
    "approve": "Review",
    "edit_credentials": "Change its credentials",
    "edit_url": "Look at its URL",
    "change_auth_type": "Look at how it is let in",
    "start_server": "Look at it",
    "start_program": "Look at it",
    "replace_server": "Replace it",
    "edit_configuration": "Look at it",
}
"""What the link to a server says, by what is to be done about it."""


@dataclass(frozen=True, slots=True)
class OverviewTile:
    """A figure, and in words how it was in the window before."""

    name: str
    figure: str
    change: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class FilterChip:
    """A filter in force, and the link to the page without it."""

    name: str
    value: str
    off: str


@dataclass(frozen=True, slots=True)
class ServerNeed:
    """A server that needs somebody: the path of its page, how it is, what to do, and what the link to it says."""

    path: str
    name: str
    state: str
    tone: str
    words: str
    label: str


@dataclass(frozen=True, slots=True)
class NowState:
    """How the servers are at this moment."""

    servers: int
    ready: int
    waiting: int
    needs: Sequence[ServerNeed]
    more: int


class OverviewPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [self._frame.page("", HERE, self._show)]

    async def _show(self, visit: Visit) -> Answer:
        state = UrlState.of(visit, PATH, ("window", "from", "to", *FILTERS))
        # One after the other: each administrator may ask the log only so much at once.
        found = await tried(visit.api.show(Overview, OVERVIEW_API, _query(state)))
        programs = await tried(_programs(visit, state))
        live = await tried(visit.api.keyed(ShownRun, RunPageInfo, RUNS_API, {"live": "true", "limit": "1"}))
        servers = await tried(visit.api.list(ShownServer, SERVERS_API))
        portals = await tried(visit.api.list(ShownPortal, PORTALS_API))
        # Who may do none of them is not asked to.
        steps = await tried(first_steps(visit)) if visit.may(ORGANIZATION) else PagePart(())
        served = await tried(visit.api.list(ServedServer, f"{SERVED}/servers"))
        listed = in_service(
            servers.value.items if servers.value is not None else (),
            served.value.items if served.value is not None else (),
        )
        shown = found.value
        values: dict[str, object] = {
            "state": state,
            "windows": WINDOWS,
            "chips": _chips(state, shown),
            "found": found,
            "tiles": _tiles(shown, programs, state) if shown is not None else (),
            "charts": _charts(shown, state) if shown is not None else (),
            "tops": _tops(shown, state) if shown is not None else (),
            "counted": _counted(shown) if shown is not None else "",
            "nothing": await _nothing(visit, state) if shown is not None and not _calls(shown) else "",
            "servers": servers,
            "now": _now(listed),
            "live": live,
            "live_count": live.value.info.live if live.value is not None else 0,
            "steps": [step for step in steps.value if not step.done] if steps.value is not None else (),
            "portal_choices": _portal_choices(portals, state),
            "server_choices": _choices([(one.id, one.name) for one in listed], state["server"]),
        }
        return Shown("overview.html", "Overview", values)


def _query(state: UrlState, **more: str) -> dict[str, str]:
    """What the API is asked for a page in this state."""
    asked = {FILTERS[name][1]: value for name, value in state.values.items() if name in FILTERS}
    times = {"since": state["from"], "until": state["to"], "window": state["window"]}
    known = {**asked, **{name: value for name, value in times.items() if value}}
    return {**known, "limit": str(TOP), "lists": "short", **more}


async def _programs(visit: Visit, state: UrlState) -> Overview | None:
    """The sums of the runs of programs; None where a filter is set that no run as a whole has."""
    if state["server"]:
        return None
    return await visit.api.show(Overview, OVERVIEW_API, _query(state, kind="run", parts="total"))


async def _nothing(visit: Visit, state: UrlState) -> str:
    """Why nothing is shown: `filtered`, `quiet` for this time alone, `never` where nothing was called yet."""
    if any(state[name] for name in FILTERS):
        return "filtered"
    rows = await tried(visit.api.keyed(LoggedRow, LogPageInfo, LOGS_API, {"kind": "tool", "limit": "1"}))
    return "never" if rows.value is not None and not rows.value.items else "quiet"


def _calls(found: Overview) -> int:
    return found.total.calls if found.total is not None else 0


# Figures


def _tiles(found: Overview, programs: PagePart[Overview | None], state: UrlState) -> Sequence[OverviewTile]:
    now, before = found.total, found.total_before
    if now is None or before is None:
        return ()
    logs = {name: state[name] for name in FILTERS} | _times(found.window.start, found.window.end)
    base = state.path.removesuffix(PATH) + LOGS_PATH
    saved = _saved(programs.value) if programs.value is not None else None
    tiles = [
        _tile("Calls", now.calls, before.calls, number_words, link_to(base, {**logs, "kind": "tool"})),
        OverviewTile(
            "Errors",
            number_words(now.errors),
            _share(now.errors, now.calls) + compared(now.errors, before.errors, number_words),
            link_to(base, {**logs, "kind": "tool", "outcome": "failed"}),
        ),
        _tile(
            "Denied",
            now.denied,
            before.denied,
            number_words,
            link_to(base, {**logs, "kind": "tool", "outcome": "denied"}),
        ),
        _tile("Median time", now.p50_ms, before.p50_ms, duration_words),
        _tile("99th percentile", now.p99_ms, before.p99_ms, duration_words),
        _tile("Received from servers", now.bytes_out, before.bytes_out, bytes_words),
        _tile("Sent to servers", now.bytes_in, before.bytes_in, bytes_words),
    ]
    if saved is not None:
        tiles.append(_tile("Tokens saved by programs", *saved, number_words))
    return tiles


def _saved(programs: Overview) -> tuple[int, int] | None:
    if programs.total is None or programs.total_before is None:
        return None
    return programs.total.tokens_saved, programs.total_before.tokens_saved


def _tile(
    name: str, now: float | None, before: float | None, say: Callable[[float], str], href: str = ""
) -> OverviewTile:
    return OverviewTile(name, "–" if now is None else say(now), compared(now, before, say), href)


def _share(errors: int, calls: int) -> str:
    return f"{errors / calls:.1%} of calls, " if errors else ""


def compared(now: float | None, before: float | None, say: Callable[[float], str]) -> str:
    """How a figure is beside the one of the window before, in words."""
    if not before:
        return "none before" if now else "as before"
    if not now:
        return f"{say(before)} before"
    if say(now) == say(before):
        return "as before"
    word, change = ("up" if now > before else "down"), abs(now - before) / before
    return f"{word} {change:.0%} from {say(before)}" if 0.005 <= change < 10 else f"{word} from {say(before)}"


# Charts


def _charts(found: Overview, state: UrlState) -> Sequence[Drawing]:
    points = found.series or ()
    ends = [*(one.start for one in points[1:]), found.window.end]
    zoom = state.without("window", "from", "to").href()
    slots = [
        ChartSlot(
            one.start.timestamp(),
            end.timestamp(),
            one.amount.calls - one.amount.errors,
            one.amount.errors,
            _closer(found, state, one.start, end) if one.amount.calls else "",
        )
        for one, end in zip(points, ends, strict=True)
    ]
    times = [LatencyPoint(one.start.timestamp(), one.amount.p50_ms, one.amount.p99_ms) for one in points]
    return (
        columns(slots, id="calls", label="Calls", zoom=zoom),
        lines(times, id="times", label="How long calls took", zoom=zoom),
    )


def _closer(found: Overview, state: UrlState, start: datetime, end: datetime) -> str:
    """Where a click on a column leads: to the day by the hour, else to the rows."""
    if found.step == "day":
        return state.href({"window": "", "from": _moment(start), "to": _moment(end)})
    base = state.path.removesuffix(PATH) + LOGS_PATH
    return link_to(base, {**{name: state[name] for name in FILTERS}, "kind": "tool", **_times(start, end)})


def _times(start: datetime, end: datetime) -> dict[str, str]:
    return {"since": _moment(start), "until": _moment(end)}


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class TopBars:
    """Those with the most calls of one kind. `counted` says what is not in it."""

    title: str
    drawing: Drawing
    more: bool
    counted: str


def _tops(found: Overview, state: UrlState) -> Sequence[TopBars]:
    base = state.path.removesuffix(PATH) + LOGS_PATH
    rows = {name: state[name] for name in FILTERS} | _times(found.window.start, found.window.end)

    def server(one: TopAmount) -> tuple[str, str]:
        return (one.server or "The portal itself", state.href({"server": one.server}) if one.server else "")

    def person(one: TopAmount) -> tuple[str, str]:
        name = one.email or one.identity or "Nobody signed in"
        return ("All others", "") if one.others else (name, state.href({"person": one.identity or ""}))

    def client(one: TopAmount) -> tuple[str, str]:
        if one.others or not one.client:
            return "All others" if one.others else "A client without a name", ""
        return f"{one.client} {one.client_version or ''}".strip(), state.href({"client": one.client})

    def tool(one: TopAmount) -> tuple[str, str]:
        asked = {**rows, "kind": "tool", "server": one.server or "", "tool": one.tool or ""}
        return f"{one.tool} · {one.server}", link_to(base, asked)

    kinds: Sequence[tuple[str, TopAmounts | None, Callable[[TopAmount], tuple[str, str]]]] = (
        ("Servers", found.servers, server),
        ("Tools", found.tools, tool),
        ("People", found.people, person),
        ("Clients", found.clients, client),
    )
    made = []
    for title, top, named in kinds:
        if top is not None:
            rows_of = [ChartBar(name, one.now.calls, href, _bar_words(one.now)) for one in top.groups
                       for name, href in (named(one),)]  # fmt: skip
            since = f"Only calls since {moment_words(top.counted_since.timestamp())} UTC." if top.counted_since else ""
            made.append(TopBars(title, bars(rows_of, label=f"{title} with the most calls"), top.more, since))
    return made


def _bar_words(one: Amount) -> str:
    return number_words(one.calls) + (f", {number_words(one.errors)} failed" if one.errors else "")


def _counted(found: Overview) -> str:
    """What is not in the sums, "" where all is."""
    if found.counted_since is not None:
        return f"There are too many calls to add them all up: only those since {_said(found.counted_since)} are shown."
    if found.counted_until is not None:
        return f"The log is being added up: calls after {_said(found.counted_until)} are not in it yet."
    return ""


def _said(at: datetime) -> str:
    return f"{moment_words(at.timestamp())} UTC"


# Filters


def _chips(state: UrlState, found: Overview | None) -> Sequence[FilterChip]:
    made = []
    if state["from"] or state["to"]:
        words = f"{state['from']} to {state['to'] or 'now'}"
        if found is not None:
            words = f"{_said(found.window.start)} to {_said(found.window.end)}"
        made.append(FilterChip("Time", words, state.href({"from": "", "to": ""})))
    emails = {one.identity: one.email for one in found.people.groups} if found is not None and found.people else {}
    for name, (word, _) in FILTERS.items():
        if value := state[name]:
            said = portal_said(OWN) if name == "portal" and value == OWN else emails.get(value) or value
            made.append(FilterChip(word, said[:120], state.href({name: ""})))
    return made


def _portal_choices(portals: PagePart[NumberedPage[ShownPortal]], state: UrlState) -> Sequence[tuple[str, str]]:
    stored = [(one.id, one.name) for one in portals.value.items] if portals.value is not None else []
    return _choices([(OWN, portal_said(OWN)), *stored], state["portal"]) if stored or state["portal"] else ()


def _choices(known: Sequence[tuple[str, str]], chosen: str) -> Sequence[tuple[str, str]]:
    """What a field offers: everything, what there is, and what is chosen though it is gone."""
    gone = [(chosen, chosen[:120])] if chosen and chosen not in {id for id, _ in known} else []
    return [("", "All"), *known, *gone]


# What needs somebody


def in_service(stored: Sequence[ShownServer], served: Sequence[ServedServer]) -> list[ShownServer | ServedServer]:
    """The stored servers, and those of the operator's document, of which one takes the place of a stored one."""
    configured = [one for one in served if one.source == "configuration" and one.enabled]
    taken = {one.id for one in configured}
    return [*(one for one in stored if one.id not in taken), *configured]


def _now(servers: Sequence[ShownServer | ServedServer]) -> NowState:
    needing = [one for one in servers if one.fix is not None or one.status != "ready"]
    needs = [
        ServerNeed(
            server_path(one.id) if isinstance(one, ShownServer) else configured_path(one.id),
            one.name,
            one.status.capitalize(),
            TONES[one.status],
            one.fix.words if one.fix is not None else one.error or "",
            NEXT.get(one.fix.action, "Look at it") if one.fix is not None else "Look at it",
        )
        for one in needing[:MOST_NEEDS]
    ]
    waiting = sum(one.waiting_approvals for one in servers)
    return NowState(
        len(servers), sum(one.status == "ready" for one in servers), waiting, needs, len(needing) - len(needs)
    )
