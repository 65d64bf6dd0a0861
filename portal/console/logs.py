"""The log: its rows with filters, a page behind a key, one row in words, and rows as they come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from starlette.routing import Route

from portal.admin import AdminError, LoggedDetail, LoggedRow, LogPageInfo, ShownServer
from portal.console.frame import ConsoleFrame
from portal.console.overview import FilterChip
from portal.console.url_state import UrlState, link_to, tried
from portal.console.visit import Answer, Crumb, Problems, Shown, Visit, portal_said
from portal.pages import bytes_words, duration_words, number_words

HERE, PATH = "logs", "/admin/logs"
API = "/access/ai-controls/mcp/logs"
SERVERS_API = "/access/ai-controls/mcp/servers"
ROWS = 50
MOST_LIVE = 500
"""Rows that a page has at most while rows are added to it."""
MAX_CALLS, MAX_FINDINGS = 50, 50
MAX_PERSON = 40
"""Characters of a person's name in the list."""
FAILED = "failed"
ABOVE = (Crumb("Logs", PATH),)
KINDS: Mapping[str, str] = {
    "tool": "Tool",
    "prompt": "Prompt",
    "resource": "Resource",
    "completion": "Completion",
    "subscription": "Subscription",
    "setting": "Setting",
    "run": "Run of a program",
    "request": "Request",
    "sign_in": "Sign-in",
    "consent": "Consent",
    "refusal": "Refusal",
    "change": "Change",
}
CALLED = ("tool", "prompt", "resource", "completion", "subscription")
"""The kinds of capabilities."""
OUTCOMES: Mapping[str, tuple[str, str]] = {
    "ok": ("Success", "good"),
    "tool_error": ("Tool error", "bad"),
    "error": ("Error", "bad"),
    "denied": ("Denied", "warn"),
    "timeout": ("Timeout", "bad"),
    "unavailable": ("Unavailable", "bad"),
    "cancelled": ("Cancelled", "off"),
}
METHODS: Mapping[tuple[str, str], str] = {
    ("sign_in", "sign_in"): "Signed in",
    ("sign_in", "pin"): "Asked for a PIN",
    ("sign_in", "claim"): "Claimed the portal",
    ("sign_in", "invitation"): "Took up an invitation",
    ("sign_in", "reset"): "Set a new password",
    ("sign_in", "application"): "Signed in to an application",
    ("sign_in", "sign_out"): "Signed out",
    ("sign_in", "sign_out_everywhere"): "Signed out everywhere",
    ("consent", "consent"): "Let an agent in",
    ("consent", "revoke"): "Ended an agent",
    ("change", "POST"): "Made or done",
    ("change", "PUT"): "Changed",
    ("change", "PATCH"): "Changed",
    ("change", "DELETE"): "Removed",
    ("change", "OPEN"): "Read what is kept",
    ("refusal", "enter"): "Entered with a browser",
}
"""What a row is about that is no call, by its kind and method."""
FILTERS: Mapping[str, tuple[str, str]] = {
    "portal": ("Portal", "portal_id"),
    "server": ("Server", "server_id"),
    "kind": ("Kind", "kind"),
    "outcome": ("Status", "outcome"),
    "person": ("Person", "identity"),
    "email": ("E-mail", "email"),
    "client": ("Client", "client"),
    "tool": ("Capability", "name"),
    "run": ("Run", "run"),
    "policy": ("Policy", "policy"),
    "trace": ("Trace", "trace"),
    "since": ("From", "since"),
    "until": ("To", "until"),
}
"""Each with its word, and its name in the API."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OUTCOME_CHOICES = (("", "All"), (FAILED, "All that failed"), *((id, words) for id, (words, _) in OUTCOMES.items()))
KIND_CHOICES = (("", "All"), *KINDS.items())


@dataclass(frozen=True, slots=True)
class LogTableRow:
    """A row as the list shows it, each value with the link that filters by it ("" for none)."""

    id: int
    at: datetime
    time: str
    status: str
    tone: str
    status_href: str
    server: str
    server_href: str
    what: str
    what_href: str
    kind: str
    duration: str
    person: str
    person_href: str
    reason: str


@dataclass(frozen=True, slots=True)
class LogFact:
    """A member of a row in words. `href` filters the log by it, or leads to what it names."""

    name: str
    value: str
    href: str = ""


class LogPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page = self._frame.page
        return [
            page("/logs", HERE, self._list),
            page("/logs/rows", HERE, self._rows),
            page("/logs/{id}", HERE, self._show),
        ]

    async def _list(self, visit: Visit) -> Answer:
        state = _state(visit)
        values, status = await _page(visit, state)
        servers = await tried(visit.api.list(ShownServer, SERVERS_API))
        listed = [(one.id, one.name) for one in servers.value.items] if servers.value is not None else []
        gone = (
            [(state["server"], state["server"][:120])] if state["server"] not in {"", *(id for id, _ in listed)} else []
        )
        values |= {
            "servers": [("", "All"), *listed, *gone],
            "kinds": KIND_CHOICES,
            "outcomes": OUTCOME_CHOICES,
            "chips": _chips(state),
            "fields": {name: _field(name, state[name]) for name in ("since", "until")},
        }
        return Shown("logs.html", "Logs", values, status=status)

    async def _rows(self, visit: Visit) -> Answer:
        """What is asked for again and again while the page is live: the rows that came after those that it has, or all
        of them while it has none."""
        state = _state(visit)
        # A part that says why it has no rows is swapped in like one that has some: its status stays 200.
        values, _ = await _page(visit, state)
        return Shown("logs_newer.html" if state["live"] and state["after"] else "logs_rows.html", "Logs", values)

    async def _show(self, visit: Visit) -> Answer:
        found = await visit.api.show(LoggedDetail, f"{API}/{{log_id}}", log_id=visit.id())
        state = UrlState(visit.visitor.address.path(PATH), {})
        run = found.run if found.run is not None and found.run.id != found.row.id else None
        words, tone = _outcome(found.row)
        values = {
            "row": found.row,
            "line": _line(found.row, state),
            "words": words,
            "tone": tone,
            "groups": _facts(found.row, state),
            "findings": _findings(found.row.findings),
            "run": run,
            "calls": [_line(one, state) for one in found.calls[:MAX_CALLS]] if found.row.run else [],
            "more_calls": found.more or len(found.calls) > MAX_CALLS,
        }
        return Shown("log.html", f"{_what(found.row)}: {words.lower()}", values, ABOVE)


def _state(visit: Visit) -> UrlState:
    return UrlState.of(visit, PATH, (*FILTERS, "before", "after", "live"))


async def _page(visit: Visit, state: UrlState) -> tuple[dict[str, object], int]:
    """The rows that are asked for, or the sentence that says why there are none to be shown; and the status of the
    answer."""
    filters = state.without("before", "after", "live")
    live, after = bool(state["live"]), state["after"]
    asked = {FILTERS[name][1]: value for name, value in filters.values.items()} | {"limit": str(ROWS)}
    if asked.get("outcome") == FAILED:
        asked = {**asked, "failed": "true"}
        del asked["outcome"]
    for name in ("since", "until"):
        if name in asked:
            asked[name] = _moment(asked[name])
    if not live:
        asked |= {name: state[name] for name in ("before", "after") if state[name]}
        asked |= {"newest_first": "true"} if after else {}
        asked["count"] = "true"
    values: dict[str, object] = {
        "state": state,
        "filtered": bool(filters.values),
        "live": live,
        "after": after if live else "",
        "poll_all": link_to(f"{state.path}/rows", {**filters.values, "live": "on"}),
        "live_href": filters.href({"live": "on"}),
        **_following(filters, after),
        "still_href": filters.href(),
        "most_live": MOST_LIVE,
        "left_out": "",
        "left_out_href": "",
        "problem": "",
        "lines": (),
        "total": "",
        "newer": "",
        "older": "",
    }
    try:
        if live and after:
            return await _newer(visit, values, filters, asked, after), 200
        page = await visit.api.keyed(LoggedRow, LogPageInfo, API, asked)
    except AdminError as error:
        problems = Problems.of(error)
        # The page is there also where no log is.
        status = 200 if error.status == 404 else error.status
        return {**values, "problem": " ".join((*problems.loose, *problems.fields.values()))}, status
    values["lines"] = [_line(one, filters) for one in page.items]
    values["total"] = page.info.total or ""
    values["newer"] = filters.href({"after": str(page.info.previous)}) if page.info.previous is not None else ""
    values["older"] = filters.href({"before": str(page.info.next)}) if page.info.next is not None else ""
    if live and page.items:
        values |= {**_following(filters, str(page.items[0].id)), "older": _before(filters, page.items)}
    return values, 200


async def _newer(
    visit: Visit, values: Mapping[str, object], filters: UrlState, asked: Mapping[str, str], after: str
) -> dict[str, object]:
    """The rows that came after a row, the newest first; of more than a page the newest, and how many others came.

    Raises:
        AdminError: there is no such row, or the log does not answer.
    """
    page = await visit.api.keyed(LoggedRow, LogPageInfo, API, {**asked, "after": after, "newest_first": "true"})
    items, reached, left_out = page.items, page.info.after, ""
    if page.info.previous is not None and len(items) == ROWS:
        since = _later(_EPOCH + timedelta(microseconds=int(after) + 1), asked.get("since", ""))
        newest = await visit.api.keyed(LoggedRow, LogPageInfo, API, {**asked, "since": since, "count": "true"})
        if newest.items:
            items, reached = newest.items, newest.items[0].id
        others = (newest.info.total_count or 0) - len(items)
        counted_all = newest.info.total == f"{newest.info.total_count:,}"
        left_out = (number_words(others) if counted_all else f"more than {number_words(others)}") if others > 0 else ""
    return {
        **values,
        **_following(filters, str(reached if reached is not None else after)),
        "lines": [_line(one, filters) for one in items],
        "older": _before(filters, items),
        "left_out": left_out,
        "left_out_href": filters.href({"after": after}),
    }


def _following(filters: UrlState, after: str) -> dict[str, object]:
    """Where a live page goes on that has the rows up to this one."""
    query = {**filters.values, "live": "on", "after": after}
    return {"poll": link_to(f"{filters.path}/rows", query), "newer_href": filters.href(query)}


def _before(filters: UrlState, rows: Sequence[LoggedRow]) -> str:
    """The link to the rows before these, "" without any."""
    return filters.href({"before": str(rows[-1].id)}) if rows else ""


# Rows in words


def _line(row: LoggedRow, state: UrlState) -> LogTableRow:
    words, tone = _outcome(row)

    def by(name: str, value: str) -> str:
        return state.href({name: value, "before": "", "after": ""}) if value else ""

    return LogTableRow(
        id=row.id,
        at=datetime.fromisoformat(row.time),
        time=_said(row.time),
        status=words,
        tone=tone,
        status_href=by("outcome", row.outcome),
        server=row.server,
        server_href=by("server", row.server),
        what=_what(row),
        what_href=by("tool", row.name),
        kind="" if row.kind == "tool" else KINDS.get(row.kind, row.kind),
        duration=duration_words(row.duration_ms),
        person=_short(row.email or row.identity),
        person_href=by("person", row.identity),
        reason=row.reason,
    )


def _what(row: LoggedRow) -> str:
    """What a row is about: the capability, or what was done."""
    done = METHODS.get((row.kind, row.method))
    if done is not None:
        return f"{done}: {row.name}" if row.name else done
    if row.kind == "run":
        return "Program"
    return row.name or row.method or KINDS.get(row.kind, row.kind)


def _outcome(row: LoggedRow) -> tuple[str, str]:
    return OUTCOMES.get(row.outcome, (row.outcome, "off"))


def _facts(row: LoggedRow, state: UrlState) -> Sequence[tuple[str, Sequence[LogFact]]]:
    """All members of a row that say something, in groups."""

    def by(name: str, value: str) -> str:
        return state.href({name: value}) if value else ""

    base = state.path.removesuffix(PATH)
    groups = [
        (
            "What it was",
            [
                LogFact("Kind", KINDS.get(row.kind, row.kind), by("kind", row.kind)),
                LogFact("Method", row.method),
                LogFact("Capability" if row.kind in CALLED else "Name", row.name, by("tool", row.name)),
                LogFact("Server", row.server, by("server", row.server)),
                LogFact("URL of the server", row.server_url),
                LogFact("Portal", portal_said(row.portal), by("portal", row.portal or "_")),
                LogFact("Labels", row.labels.replace(",", ", ")),
                LogFact("Protocol of the server", row.upstream_protocol),
            ],
        ),
        (
            "How it ended",
            [
                LogFact("Status", _outcome(row)[0], by("outcome", row.outcome)),
                LogFact("Policy", row.policy, by("policy", row.policy)),
                LogFact("Reason", row.reason),
                LogFact("Error code", "" if row.error_code is None else str(row.error_code)),
                LogFact("Began", _said(row.time)),
                LogFact("Duration", duration_words(row.duration_ms)),
                LogFact(
                    "The program" if row.kind == "run" else "Sent to the server",
                    bytes_words(row.bytes_in) if row.bytes_in else "",
                ),
                LogFact(
                    "The answer to the model" if row.kind == "run" else "Came back",
                    bytes_words(row.bytes_out) if row.bytes_out else "",
                ),
                LogFact("Tokens saved", number_words(row.tokens_saved) if row.tokens_saved else ""),
            ],
        ),
        (
            "Who",
            [
                LogFact("Person", row.email, by("email", row.email)),
                LogFact("Identity", row.identity, by("person", row.identity)),
                LogFact("Client", f"{row.client} {row.client_version}".strip(), by("client", row.client)),
                LogFact("IP address", row.ip),
                LogFact("Country", row.country),
                LogFact("Protocol", row.protocol),
                LogFact("Session", row.session),
            ],
        ),
        (
            "Where it belongs",
            [
                LogFact("Run", row.run, f"{base}/admin/runs/{_escaped(row.run)}" if row.run else ""),
                LogFact("Number in the run", str(row.call) if row.call else ""),
                LogFact("Line of the program", str(row.line) if row.line else ""),
                LogFact("Caused by", row.parent),
                LogFact("Trace ID", row.trace, by("trace", row.trace)),
                LogFact("Span", row.span),
                LogFact("Parent span", row.parent_span),
                LogFact("Row", f"{row.number} of the journal {row.instance}"),
            ],
        ),
    ]
    return [(title, shown) for title, facts in groups if (shown := [one for one in facts if one.value])]


def _findings(text: str) -> Sequence[Sequence[tuple[str, str]]]:
    """The findings of screenings as names and values. They have nothing of the text that they were found in."""
    try:
        found = json.loads(text) if text else []
    except ValueError:
        return ()
    if not isinstance(found, list):
        return ()
    return [
        [(str(name).replace("_", " ").capitalize(), _words(value)) for name, value in one.items()]
        for one in found[:MAX_FINDINGS]
        if isinstance(one, dict)
    ]


def _words(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}..."


def _said(time: str) -> str:
    """`2026-11-30 10:00:00.123 UTC`."""
    return time.replace("T", " ").replace("Z", " UTC")


def _short(text: str) -> str:
    return text if len(text) <= MAX_PERSON else f"{text[:MAX_PERSON]}..."


def _escaped(text: str) -> str:
    return quote(text, safe="")


# Filters


def _moment(text: str) -> str:
    """A time of the URL as the API takes it: without a zone it is UTC. What is no time stays, and is refused."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return at.replace(tzinfo=UTC).isoformat() if at.tzinfo is None else text


def _later(at: datetime, asked: str) -> str:
    """The later one of a time and of one that is asked for as the API takes it, "" for none."""
    return max(at, datetime.fromisoformat(asked) if asked else at).isoformat()


def _field(name: str, text: str) -> str:
    """A time of the URL as the field of a form takes it, in UTC; "" for what is none."""
    try:
        at = datetime.fromisoformat(_moment(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return ""
    return at.strftime("%Y-%m-%dT%H:%M:%S") if at.year >= 1000 else ""


def _chips(state: UrlState) -> Sequence[FilterChip]:
    filters = state.without("before", "after")
    made = []
    for name, (word, _) in FILTERS.items():
        if value := state[name]:
            said = value[:120]
            if name == "kind":
                said = KINDS.get(value, said)
            elif name == "outcome":
                said = "All that failed" if value == FAILED else OUTCOMES.get(value, (said, ""))[0]
            elif name in ("since", "until"):
                said = f"{shown.replace('T', ' ')} UTC" if (shown := _field(name, value)) else said
            made.append(FilterChip(word, said, filters.href({name: ""})))
    return made
