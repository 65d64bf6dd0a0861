"""Runs that are kept in the database, as people look at them: what its row says of one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from codemode import Waiting, WaitKind
from portal.errors import Outcome
from portal.logs import LogRow
from portal.runs.waterfall import CallOfRun, RunFacts, RunOutcome
from portal.state import LIVE, StoredCall, StoredRun, WaitOfRun

_WORDS: Final[Mapping[str, str]] = {
    "approval": "somebody has to approve a call of it",
    "login": "its server needs a login",
    "question": "its server asks something",
    "timer": "its own timer",
    "uncertain": "nobody knows whether a call of it did anything, and somebody has to say so",
}
_PLAN: Final = "the person behind this program has to approve what it would do"
_KINDS: Final[Mapping[str, WaitKind]] = {
    "approval": "approval",
    "login": "login",
    "timer": "timer",
    "uncertain": "uncertain",
}
_ENDS: Final[Mapping[str, Outcome]] = {
    "completed": "ok",
    "cancelled": "cancelled",
    "denied": "denied",
    "expired": "timeout",
}
"""The outcome of a run that has ended in each state; "error" for all others."""
_OUTCOMES: Final[Mapping[str, RunOutcome]] = {"parked": "parked", "ready": "ready", "running": "running", **_ENDS}
"""The outcome of a run in each state; "error" for all others."""
_OUTCOMES_OF_CALLS: Final[Mapping[str, Outcome]] = {"done": "ok", "failed": "error", "refused": "error"}


def waits_of(run: StoredRun) -> tuple[Waiting, ...]:
    """What a parked run waits for, in words of our own."""
    return tuple(
        replace(wait, text=f"{wait.tool}: {wait.text}") if wait.tool else wait for wait in _waits_in_words(run)
    )


def kept_facts(run: StoredRun, now: datetime) -> RunFacts:
    """What is known of a run from its row: while it has not ended it has taken until `now`."""
    end, unended = run.document.end, run.state in LIVE
    at, outcome = int(run.created_at.timestamp() * 1_000_000), _OUTCOMES.get(run.state, "error")
    until = int((now if unended else run.updated_at).timestamp() * 1_000_000)
    row = LogRow(at, max(0, until - at), "run", "tools/call", "ok", name="code", run=run.id)
    return RunFacts(
        row=row._replace(
            portal=run.portal,
            identity=run.subject,
            client=run.document.client_name,
            reason="" if end is None else end.kind,
        ),
        us=max(0, until - at),
        outcome=outcome,
        made=run.document.calls,
        waiting=_waits_in_words(run) if run.state == "parked" else (),
        parked_for=run.reason if run.state == "parked" else "",
        expires_at=run.expires_at if unended else None,
    )


def row_of_end(run: StoredRun) -> LogRow:
    """The row of the log for a run that somebody has ended without having it go on."""
    return kept_facts(run, run.updated_at).row._replace(outcome=_ENDS.get(run.state, "error"))


def kept_call(call: StoredCall, run: StoredRun) -> CallOfRun:
    """A call that is kept of a run."""
    return CallOfRun(
        number=call.seq,
        server=call.server,
        tool=call.tool,
        start_ms=max(0.0, round((call.at - run.created_at).total_seconds() * 1000, 3)),
        ms=round(call.us / 1000, 3),
        outcome=_OUTCOMES_OF_CALLS.get(call.state, "pending"),
    )


def failure_in_words(run: StoredRun) -> str:
    """How a run failed; "" if it did not, or has not ended."""
    end = run.document.end
    return "" if end is None or run.state == "completed" else ": ".join(filter(None, (end.name, end.words)))


def _waits_in_words(run: StoredRun) -> tuple[Waiting, ...]:
    return tuple(
        Waiting(
            _words_of(wait),
            wait.url or None,
            tool=wait.tool,
            run=run.id,
            kind=_KINDS.get(wait.kind, "question"),
        )
        for wait in run.document.waits
    )


def _words_of(wait: WaitOfRun) -> str:
    if wait.kind == "approval" and not wait.tool:
        # Of no call: of the whole plan.
        return _PLAN
    return _WORDS.get(wait.kind, "a person has to do something")
