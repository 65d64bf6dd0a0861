"""Runs of programs over the API: those under way and those of the log, each with its calls; and the end of one. Ours.

`access/ai-controls/mcp/runs`, `.../runs/{run_id}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from portal.admin.api import errors
from portal.admin.api.answers import InfoAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Removed
from portal.admin.api.errors import AdminError, Problem, forbidden, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import LOGS, PORTALS
from portal.admin.log_reading import MCP, LogReading, RowId, Text, microseconds
from portal.logs import Filters, event
from portal.runs import CallOfRun, RunFacts, RunHistory, RunStory, WatchedRuns, ended_by
from portal.state import SecretUnreadable

PATH = f"{MCP}/runs"
MAX_RUNS = 200


class RunQuery(BaseModel):
    """`identity` is the key of a person, `email` an address of theirs, in whatever case. `outcome` is how a run ended,
    `since` and `until` are when. `live`: only runs under way, or only those that have ended. `before` is the `log_id`
    of a run: those that ended before it are shown."""

    model_config = ConfigDict(extra="forbid")

    portal_id: Text | None = None
    identity: Text | None = None
    email: Text | None = None
    client: Text | None = None
    outcome: Text | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    live: bool | None = None
    before: RowId | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_RUNS)] = 50


class OneRunQuery(BaseModel):
    """With `program` the text of the program is in the answer, and how it failed. That takes `Logs Write`."""

    model_config = ConfigDict(extra="forbid")

    program: bool = False


class RunPageInfo(BaseModel):
    """`live` of the items, the first ones, are under way; `limit` is about the others. `before` is the id to ask for
    the next page with, where there may be `more`."""

    count: int
    limit: int
    live: int
    more: bool
    before: int | None = None


class ShownWait(BaseModel):
    """What a run waits for a person for. `text` is "" for a question that their client shows: a server may quote
    anything in it. It is for the person alone, as the page is on which they answer."""

    tool: str
    text: str


class ShownRun(BaseModel):
    """A run. `outcome` is that of its row in the log (`log_id`), `running` while it is under way in this process, or
    `unknown`: its calls are in the log and its end is not, because another process runs it, or was killed.

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


class ShownCall(BaseModel):
    """A call of a run. `start_ms` is from the start of the run, `duration_ms` how long it took, so far if its `outcome`
    is `pending`. `line` is the line of the program that makes it, from 1; 0 where that is not known. `bytes_in` went to
    the server, `bytes_out` came back. `findings` are those of screenings, without what was found."""

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


class RunOperations:
    """`live` are the runs under way, None in a process that runs none."""

    def __init__(
        self, reading: LogReading, history: RunHistory, live: WatchedRuns | None, settings: AdminSettings
    ) -> None:
        self._reading = reading
        self._history = history
        self._live = live or WatchedRuns()
        self._settings = settings

    def operations(self) -> list[Operation]:
        one = f"{PATH}/{{run_id}}"
        return [
            Operation(
                "GET", PATH, "List runs of programs", self._list, ShownRun, LOGS, query=RunQuery, info=RunPageInfo
            ),
            Operation("GET", one, "Show a run with its calls", self._get, RunWithCalls, LOGS, query=OneRunQuery),
            Operation("DELETE", one, "End a run that is under way", self._end, Removed, PORTALS, status=202),
        ]

    async def _list(self, request: ApiRequest) -> InfoAnswer:
        asked = request.asked(RunQuery)
        if asked.live and asked.before is not None:
            raise invalid("runs under way have no pages: before cannot be given with live=true")
        filters = Filters(
            portal=await self._reading.portal(request, asked.portal_id),
            identity=asked.identity,
            email=asked.email,
            client=asked.client,
            outcome=asked.outcome,
            since=microseconds(asked.since),
            until=microseconds(asked.until),
        )
        with self._reading.asking(request):
            page = await self._history.page(filters, before=asked.before, limit=asked.limit, live=asked.live)
        items = [_shown(one) for one in (*page.live, *page.ended)]
        info = RunPageInfo(
            count=len(items), limit=asked.limit, live=len(page.live), more=page.more, before=page.reached
        )
        return InfoAnswer(items, info)

    async def _get(self, request: ApiRequest) -> RunWithCalls:
        run_id, with_program = request.path["run_id"], request.asked(OneRunQuery).program
        if with_program and not LOGS.allows(request.caller.permissions, writing=True):
            raise forbidden(f"the program of a run is shown with the permission `{LOGS.write}`")
        with self._reading.asking(request):
            try:
                story = await self._history.find(run_id, with_program=with_program)
            except SecretUnreadable as error:
                raise AdminError(
                    503, [Problem(errors.UNAVAILABLE, f"the program of this run cannot be opened: {error}")]
                ) from None
        if story is None:
            raise not_found("run")
        if story.program is not None or story.failure:
            row = event("change", "OPEN", name=f"{PATH}/{run_id}", client=request.caller.name)
            self._settings.events.write(row._replace(identity=request.by))
        return _with_calls(story)

    async def _end(self, request: ApiRequest) -> Removed:
        run_id = request.path["run_id"]
        found = self._live.find(run_id)
        if found is None:
            message = "this run is not under way in this process: it has ended, or another process runs it"
            raise AdminError(404, [Problem(errors.NOT_FOUND, message)])
        found.end(ended_by("an administrator of the portal", found))
        return Removed(id=run_id)


def _shown(run: RunFacts) -> ShownRun:
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
        "waiting": tuple(ShownWait(tool=one.tool, text="" if one.asked else one.text) for one in run.waiting),
    }


def _with_calls(story: RunStory) -> RunWithCalls:
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
