"""A run as people look at it: its calls beside each other in time, how many were open at once, what came of it. Pure.

Made from the rows of the log, or of a run that is under way from the rows that its calls have so far.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import orjson

from codemode import Waiting
from portal.errors import Outcome
from portal.logs import LogRow
from portal.state import ParkReason

RunOutcome = Outcome | Literal["running", "unknown", "parked", "ready"]
"""`running`: it is under way. `parked`: it waits in the database. `ready`: it goes on from there next. `unknown`: the
log has calls of it and not its end, so that another process runs it, or one that ran it was killed."""
GOES_ON: Final[tuple[RunOutcome, ...]] = ("running", "parked", "ready")
"""The outcomes of a run that has not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOfRun:
    """One call. `start_ms` is from the start of the run, `ms` how long it took, so far if `pending`. `line` is the
    line of the program that makes it, from 1; 0 where that is not known. `bytes_in` went to the server, `bytes_out`
    came back. `log_id` is the id of its row, None while it has none in the log."""

    number: int
    server: str
    tool: str
    start_ms: float
    ms: float
    outcome: Outcome | Literal["pending"]
    line: int = 0
    policy: str = ""
    reason: str = ""
    error_code: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    labels: tuple[str, ...] = ()
    findings: tuple[Mapping[str, object], ...] = ()
    log_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run as a whole. `row` is its row; of a run that has none yet it says who, where and since
    when. `us`: how many microseconds it took, or has taken. `waiting`: what it waits for people for. `made`: how many
    calls it has made, None where they have not been counted. `log_id`: the id of its row in the log. Of a run that is
    kept in the database, `parked_for` says why it is parked, and `expires_at` when it ends if it has not gone on."""

    row: LogRow
    us: int
    outcome: RunOutcome
    log_id: int | None = None
    made: int | None = None
    waiting: tuple[Waiting, ...] = ()
    parked_for: ParkReason = ""
    expires_at: datetime | None = None

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended, as far as that is known."""
        return self.outcome in GOES_ON


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStory:
    """A run with its calls, in the order in which it made them. `more`: there are others, which are left out, and
    `width` and `bytes_unseen` know nothing of them.

    `width` is the largest number of calls that were open at once.

    `bytes_unseen` are those that the model never saw: what the calls have received, less what the model got for it,

        max(0, sum of `bytes_out` of the calls - `bytes_out` of the run)

    None until the run has an answer. `bytes_out` of the run are the characters of the texts of its answer.

    `program` is its text, None where it is not kept or not asked for. `failure` says how it failed, as its agent read
    it; "" where it did not, or that is not kept or not asked for.
    """

    run: RunFacts
    calls: tuple[CallOfRun, ...]
    width: int
    bytes_unseen: int | None
    more: bool = False
    program: str | None = None
    failure: str = ""


def call_of(row: LogRow, since: int, log_id: int | None = None) -> CallOfRun:
    """The call that has this row, in a run that began `since` (microseconds since 1970)."""
    return CallOfRun(
        number=row.call,
        server=row.server,
        tool=row.name,
        start_ms=_ms(max(0, row.at - since)),
        ms=row.ms,
        outcome=row.outcome,
        line=row.line,
        policy=row.policy,
        reason=row.reason,
        error_code=row.error_code,
        bytes_in=row.bytes_in,
        bytes_out=row.bytes_out,
        labels=tuple(row.labels.split(",")) if row.labels else (),
        findings=_findings(row.findings),
        log_id=log_id,
    )


def story_of(
    run: RunFacts, calls: Iterable[CallOfRun], *, more: bool = False, program: str | None = None, failure: str = ""
) -> RunStory:
    """The story of a run with these calls."""
    made = tuple(sorted(calls, key=lambda one: (one.number, one.start_ms)))
    received = sum(one.bytes_out for one in made)
    has_answer = not run.goes_on and run.outcome != "unknown"
    return RunStory(
        run=run,
        calls=made,
        width=parallel_width((one.start_ms, one.start_ms + one.ms) for one in made),
        bytes_unseen=max(0, received - run.row.bytes_out) if has_answer else None,
        more=more,
        program=program,
        failure=failure,
    )


def parallel_width(spans: Iterable[tuple[float, float]]) -> int:
    """The largest number of these spans of time, each from its start until before its end, that are open at once. One
    that ends when it starts is open at that moment."""
    ends: list[tuple[float, bool]] = []
    widest = 0
    for start, end in sorted(spans):
        # What ends at this moment makes room, unless it also began at it.
        while ends and (ends[0][0] < start or (ends[0][0] == start and ends[0][1])):
            heapq.heappop(ends)
        heapq.heappush(ends, (end, end > start))
        widest = max(widest, len(ends))
    return widest


def ended_facts(row: LogRow, log_id: int, made: int | None = None) -> RunFacts:
    """What is known of a run that has this row in the log."""
    return RunFacts(row=row, us=row.us, outcome=row.outcome, log_id=log_id, made=made)


def facts_of_calls(rows: Sequence[LogRow]) -> RunFacts:
    """What is known of a run from the rows of its calls alone."""
    first, since = rows[0], min(row.at for row in rows)
    us = max(row.at + row.us for row in rows) - since
    known = ("portal", "identity", "email", "ip", "country", "session", "client", "client_version", "protocol", "trace")
    run = LogRow(since, us, "run", "tools/call", "ok", name="code", run=first.run)
    return RunFacts(
        row=run._replace(**{name: getattr(first, name) for name in known}), us=us, outcome="unknown", made=len(rows)
    )


def _findings(text: str) -> tuple[Mapping[str, object], ...]:
    if not text:
        return ()
    try:
        found = orjson.loads(text)
    except ValueError:
        return ()
    return tuple(one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


def _ms(us: int) -> float:
    return round(us / 1000, 3)
