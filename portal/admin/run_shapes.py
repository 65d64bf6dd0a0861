"""Runs as the API shows them: those under way here, those of the log, and those that outlive their process. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, Field

from portal.identity import Identity
from portal.runs import CallOfRun, RunFacts, RunStory, failure_in_words, kept_call
from portal.state import ParkReason, RunState, StoredCall, StoredRun


class RunPageInfo(BaseModel):
    """`live` of the items, the first ones, are under way here; the `kept` ones after them outlive their process;
    `limit` is about the others. `before` is the id to ask for the next page with, where there may be `more`;
    `before_run` is that of the next page of runs in a `state`."""

    count: int
    limit: int
    live: int
    more: bool
    before: int | None = None
    kept: int = 0
    before_run: str | None = None


class ShownWait(BaseModel):
    """What a run waits for a person for. `text` is "" for a question that their client shows: a server may quote
    anything in it. It is for the person alone, as the page is on which they answer. `kind` is `approval`, `login` or
    another, where it is known."""

    tool: str
    text: str
    kind: str = ""


class ShownRun(BaseModel):
    """A run. `outcome` is that of its row in the log (`log_id`), `running` while it is under way in this process, or
    `unknown`: its calls are in the log and its end is not, because another process runs it, or was killed. Of a run
    that outlives its process, and has not ended, it is its `state`.

    Such a run has a `state`, null for all others: `parked` waits, for what `parked_for` says; `ready` is taken up again
    next, `running` is under way in a process. `wake_at` is when it goes on by itself, `expires_at` when it ends if what
    it waits for has not come, or until when its result is kept.

    `bytes_in` has the program, `bytes_out` the answer that the model got. `calls_made` is null where the calls have not
    been counted, in lists of what has ended.
    """

    id: str
    log_id: int | None
    live: bool
    outcome: str
    portal: str
    identity: str
    email: str
    ip: str
    client: str
    client_version: str
    session: str
    started_at: str
    duration_ms: float
    calls_made: int | None
    waiting: tuple[ShownWait, ...]
    policy: str
    reason: str
    bytes_in: int
    bytes_out: int
    tokens_saved: int
    findings: str
    trace: str
    state: RunState | None = None
    parked_for: ParkReason = ""
    wake_at: datetime | None = None
    expires_at: datetime | None = None


class ShownCall(BaseModel):
    """A call of a run. `start_ms` is from the start of the run, `duration_ms` how long it took, so far if its `outcome`
    is `pending`. `line` is the line of the program that makes it, from 1; 0 where that is not known. `bytes_in` went to
    the server, `bytes_out` came back. `findings` are those of screenings, without what was found.

    `uncertain`: its process ended while it was made, and nobody knows what became of it: its run waits until somebody
    says so. `arguments` are the JSON of those of such a call, where they are asked for."""

    call: int
    server: str
    tool: str
    start_ms: float
    duration_ms: float
    outcome: str
    line: int
    policy: str
    reason: str
    error_code: int | None
    bytes_in: int
    bytes_out: int
    labels: tuple[str, ...]
    findings: tuple[Mapping[str, object], ...]
    log_id: int | None
    uncertain: bool = False
    arguments: str | None = Field(default=None, repr=False)


class RunWithCalls(ShownRun):
    """A run with its calls in the order in which it made them; `more` says that some are left out.

    `width` is the largest number of calls that were open at once. `bytes_unseen` are those that the model never saw:
    max(0, the sum of `bytes_out` of the calls - `bytes_out` of the run); null until there is an answer. `tokens_saved`
    is the same in tokens, four bytes each. `program` is null where it is not asked for or not kept; `failure`, which is
    how the run failed as its agent read it, is "" there.
    """

    calls: tuple[ShownCall, ...]
    more: bool
    width: int
    bytes_unseen: int | None
    program: str | None
    failure: str


def shown_run(run: RunFacts) -> ShownRun:
    return ShownRun.model_validate(_members(run))


def _members(run: RunFacts) -> dict[str, object]:
    row = run.row
    same = ("portal", "identity", "email", "ip", "client", "client_version", "session", "policy", "reason")
    numbers = ("bytes_in", "bytes_out", "tokens_saved", "findings", "trace")
    return {
        **{name: getattr(row, name) for name in (*same, *numbers)},
        "id": row.run,
        "log_id": run.log_id,
        "live": run.outcome == "running",
        "outcome": run.outcome,
        "started_at": row.time,
        "duration_ms": round(run.us / 1000, 3),
        "calls_made": run.made,
        "waiting": tuple(
            ShownWait(tool=one.tool, text="" if one.asked else one.text, kind=one.kind) for one in run.waiting
        ),
    }


def run_with_calls(story: RunStory) -> RunWithCalls:
    return RunWithCalls.model_validate(
        {
            **_members(story.run),
            "calls": tuple(map(_call, story.calls)),
            "more": story.more,
            "width": story.width,
            "bytes_unseen": story.bytes_unseen,
            "program": story.program,
            "failure": story.failure,
        }
    )


def _call(call: CallOfRun) -> ShownCall:
    return ShownCall(
        call=call.number,
        server=call.server,
        tool=call.tool,
        start_ms=call.start_ms,
        duration_ms=call.ms,
        outcome=call.outcome,
        line=call.line,
        policy=call.policy,
        reason=call.reason,
        error_code=call.error_code,
        bytes_in=call.bytes_in,
        bytes_out=call.bytes_out,
        labels=call.labels,
        findings=call.findings,
        log_id=call.log_id,
    )


_OUTCOMES: Mapping[str, str] = {"completed": "ok", "failed": "error", "expired": "timeout", "lost": "error"}
_OUTCOMES_OF_CALLS: Mapping[str, str] = {"started": "pending", "done": "ok", "failed": "error"}


def kept_run(run: StoredRun, person: Identity | None) -> ShownRun:
    """A run as its row alone has it; its `person` where they are known."""
    return ShownRun.model_validate(_kept_members(run, person))


def kept_run_with_calls(run: StoredRun, person: Identity | None, calls: tuple[ShownCall, ...]) -> RunWithCalls:
    """The same with the calls that are kept."""
    more = {"calls": calls, "more": len(calls) < run.document.calls, "width": 0, "bytes_unseen": None, "program": None}
    return RunWithCalls.model_validate({**_kept_members(run, person), **more, "failure": failure_in_words(run)})


def shown_kept_call(call: StoredCall, run: StoredRun, arguments: str | None = None) -> ShownCall:
    """A call that is kept of a run."""
    more = {
        "outcome": _OUTCOMES_OF_CALLS.get(call.state, "unknown"),
        "uncertain": call.state == "unknown",
        "arguments": arguments,
    }
    return _call(kept_call(call, run)).model_copy(update=more)


def members_of_kept(run: StoredRun) -> dict[str, object]:
    """What its row says of a run that is known from elsewhere too."""
    return {
        "state": run.state,
        "parked_for": run.reason,
        "wake_at": run.wake_at,
        "expires_at": run.expires_at,
    }


def _kept_members(run: StoredRun, person: Identity | None) -> dict[str, object]:
    document, end = run.document, run.document.end
    texts = ("ip", "client_version", "session", "policy", "findings", "trace")
    numbers = ("bytes_in", "bytes_out", "tokens_saved")
    return {
        **dict.fromkeys(texts, ""),
        **dict.fromkeys(numbers, 0),
        **members_of_kept(run),
        "id": run.id,
        "log_id": None,
        "live": False,
        "outcome": _OUTCOMES.get(run.state, run.state),
        "portal": run.portal,
        "identity": run.subject,
        "email": "" if person is None else person.email,
        "client": document.client_name or run.client,
        "started_at": run.created_at.isoformat(),
        "duration_ms": round((run.updated_at - run.created_at).total_seconds() * 1000, 3),
        "calls_made": document.calls,
        "waiting": tuple(ShownWait(tool=one.tool, text="", kind=one.kind) for one in document.waits),
        "reason": "" if end is None else end.kind,
    }
