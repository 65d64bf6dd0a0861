"""Approvals and parked runs for people: tables of them, and one with all that somebody needs who decides.

What agents, servers and people wrote stands here with nothing hidden (`unseen`), and is never cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from portal.admin import DecisionResult, RunWithCalls, ShownApproval, ShownRun
from portal.cli.show.unseen import json_lines, seen

STATE_STYLE = {
    "pending": "yellow",
    "approved": "green",
    "used": "green",
    "denied": "red",
    "parked": "yellow",
    "ready": "yellow",
    "running": "yellow",
    "completed": "green",
    "failed": "red",
    "lost": "red",
    "cancelled": "dim",
    "expired": "dim",
    "withdrawn": "dim",
}
NO_NAMES: Mapping[str, str] = {}
_WIDEST = 10_000
NOT_KEPT = "The arguments are not kept any more: this has ended."


def approvals_table(approvals: Iterable[ShownApproval], names: Mapping[str, str] = NO_NAMES) -> RenderableType:
    """A row for each: its id, state, tool, whose call it is, and until when it waits. `names`: of service tokens."""
    rows = [
        (
            Text(one.id, style="bold"),
            state_text(one.state),
            Text(tool_name(one)),
            Text(seen(one.email or names.get(one.identity, one.identity))),
            Text(seen(names.get(one.client, one.client))),
            Text(f"{one.run}#{one.call}" if one.run else ""),
            Text(moment(one.expires_at)),
        )
        for one in approvals
    ]
    return _Fitting(("id", "state", "tool", "who", "client", "run", "until"), rows)


def approval_lines(approval: ShownApproval) -> Iterable[Text]:
    """The whole of one approval, line by line: the call last."""
    yield _line("approval", Text.assemble((approval.id, "bold"), "  ", state_text(approval.state)))
    yield _line("who", seen(approval.email or approval.identity))
    yield _line("client", seen(approval.client) or "-")
    yield _line("portal", approval.portal or "that of the configuration")
    if approval.run:
        yield _line("run", f"{approval.run}, call {approval.call}")
    yield _line("asked", f"{moment(approval.created_at)}, until {moment(approval.expires_at)}")
    yield _line("policy", seen(approval.policy_name or approval.policy))
    for why in approval.because:
        yield _line("why", seen(why))
    yield _line("needs", _needs(approval))
    if approval.justification_required or approval.justification:
        yield _line("for", seen(approval.justification) or "has not been said yet")
    for vote in approval.votes:
        said = f": {seen(vote.comment)}" if vote.comment else ""
        who = seen(vote.email or vote.identity)
        yield _line("denied" if vote.decision == "deny" else "approved", f"{who}, {moment(vote.at)}, {vote.via}{said}")
    yield _line("call", Text(tool_name(approval), style="bold"))
    if approval.destructive:
        yield Text("          It may destroy something.", style="red")
    yield _line("SHA-256", approval.arguments_sha256)
    yield Text()
    yield Text(NOT_KEPT, style="dim") if approval.arguments is None else Text(json_lines(approval.arguments))


def decision_line(result: DecisionResult) -> Text:
    """What became of one decision."""
    if result.approval is None:
        return Text.assemble((result.id, "bold"), ": ", (f"{result.error}.", "red"))
    one = result.approval
    rest = f", {one.missing} more to approve" if one.state == "pending" else ""
    return Text.assemble((one.id, "bold"), ": ", state_text(one.state), f"{rest}: {tool_name(one)}")


def runs_table(runs: Iterable[ShownRun], names: Mapping[str, str] = NO_NAMES) -> RenderableType:
    """A row for each run: its id, state, what it waits for, whose it is, and until when it is kept. `names`: of
    service tokens."""
    rows = [
        (
            Text(one.id, style="bold"),
            state_text(one.state or one.outcome),
            Text(waits_words(one)),
            Text(seen(one.email or names.get(one.identity, one.identity))),
            Text(seen(names.get(one.client, one.client))),
            Text(_short(one.started_at)),
            Text("" if one.expires_at is None else moment(one.expires_at)),
        )
        for one in runs
    ]
    return _Fitting(("id", "state", "waits for", "who", "client", "began", "until"), rows)


def run_lines(run: RunWithCalls, approvals: Sequence[ShownApproval]) -> Iterable[RenderableType]:
    """One run with the calls that are kept of it, and what it asks people for."""
    yield _line("run", Text.assemble((run.id, "bold"), "  ", state_text(run.state or run.outcome)))
    yield _line("who", seen(run.email or run.identity) or "-")
    yield _line("client", seen(run.client) or "-")
    yield _line("portal", run.portal or "that of the configuration")
    yield _line("began", _short(run.started_at))
    if run.expires_at is not None:
        yield _line("until", moment(run.expires_at))
    if words := waits_words(run):
        yield _line("waits for", words)
    if run.wake_at is not None:
        yield _line("goes on", moment(run.wake_at))
    if run.failure:
        yield _line("ended", Text(seen(run.failure), style="red"))
    if run.calls_made is not None:
        yield _line("calls", str(run.calls_made))
    unsure = [one for one in run.calls if one.uncertain]
    for call in unsure:
        words = f"call {call.call}, {seen(call.server)}.{seen(call.tool)}: nobody knows what became of it"
        yield Text(f"          {words}", style="yellow")
    if approvals:
        yield Group(Text(), approvals_table(approvals))


def waits_words(run: ShownRun) -> str:
    """What it waits for: for which calls, or how long."""
    tools = ", ".join(dict.fromkeys(seen(one.tool) for one in run.waiting if one.tool))
    kinds = ", ".join(dict.fromkeys(seen(one.kind) for one in run.waiting if one.kind))
    what = run.parked_for or kinds
    return f"{what}: {tools}" if what and tools else what or tools


def tool_name(approval: ShownApproval) -> str:
    return seen(f"{approval.server}.{approval.tool}" if approval.tool else approval.server)


def state_text(state: str) -> Text:
    return Text(state, style=STATE_STYLE.get(state, ""))


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _short(at: str) -> str:
    try:
        return moment(datetime.fromisoformat(at))
    except ValueError:
        return seen(at)


def _needs(approval: ShownApproval) -> str:
    person = seen(approval.email or approval.identity)
    if approval.approve_by != "group":
        return f"{person}, in the browser" + (" or their client" if approval.approve_by == "client" else "")
    groups = [f"{group.needed} of {', '.join(map(seen, group.emails)) or 'nobody'}" for group in approval.groups]
    return "; and ".join([*groups, *([f"{person}, in the browser"] if approval.also_person else [])])


def _line(name: str, value: str | Text) -> Text:
    return Text.assemble((f"{name:<10}", "dim"), value)


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A table where there is room for it on the screen. Where there is not, an id and a state begin each row, and the
    rest is below them, a line each."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = _table(*self.columns)
        for row in self.rows:
            table.add_row(*row)
        if console.measure(table, options=options.update(max_width=_WIDEST)).maximum <= options.max_width:
            yield table
            return
        for row in self.rows:
            yield Text.assemble(row[0], "  ", row[1])
            for name, value in zip(self.columns[2:], row[2:], strict=True):
                if value:
                    yield Padding(_line(name, value), (0, 0, 0, 2))


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("id", "state"))
    return table
