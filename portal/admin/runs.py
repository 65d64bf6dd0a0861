"""Runs of programs over the API: those under way, those that outlive their process and those of the log, each with its
calls; the end of one; and what became of a call. Ours.

`access/ai-controls/mcp/runs`, `.../runs/{run_id}`, `.../runs/{run_id}/decide`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from portal.admin.api import errors
from portal.admin.api.answers import InfoAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Removed
from portal.admin.api.errors import AdminError, Problem, forbidden, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import APPROVALS, LOGS, PORTALS
from portal.admin.deciding import Deciding
from portal.admin.kept_runs import OutlivingRuns, with_kept
from portal.admin.log_reading import MCP, LogReading, RowId, Text, microseconds
from portal.admin.run_shapes import (
    RunPageInfo,
    RunWithCalls,
    ShownCall,
    ShownRun,
    kept_run,
    kept_run_with_calls,
    run_with_calls,
    shown_run,
)
from portal.logs import Filters, event
from portal.runs import RunHistory, RunStory, WatchedRuns, ended_by
from portal.state import RunState, SecretUnreadable, Verdict

PATH = f"{MCP}/runs"
MAX_RUNS = 200


class RunQuery(BaseModel):
    """`identity` is the key of a person, `email` an address of theirs, in whatever case. `outcome` is how a run ended,
    `since` and `until` are when. `live`: only runs under way, or only those that have ended. `before` is the `log_id`
    of a run: those that ended before it are shown.

    `state`: only the runs in this state that outlive their process, also if they have ended, by when they began;
    `before_run` is the id of the last one of the page before."""

    model_config = ConfigDict(extra="forbid")

    portal_id: Text | None = None
    identity: Text | None = None
    email: Text | None = None
    client: Text | None = None
    outcome: Text | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    live: bool | None = None
    state: RunState | None = None
    before: RowId | None = None
    before_run: Text | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_RUNS)] = 50


class OneRunQuery(BaseModel):
    """With `program` the text of the program is in the answer, and how it failed; with `arguments` those of calls of
    which nobody knows what became. Each takes `Logs Write`."""

    model_config = ConfigDict(extra="forbid")

    program: bool = False
    arguments: bool = False


class OutcomeBody(BaseModel):
    """What became of a call, by its number in the run. `happened`: it was made, and answered with `result`.
    `not_happened`: it was not, and is made now. `fail`: the program gets an error for it."""

    model_config = ConfigDict(extra="forbid")

    call: Annotated[int, Field(ge=1, le=1_000_000)]
    outcome: Literal["happened", "not_happened", "fail"]
    result: object = None


_VERDICTS: Mapping[str, Verdict] = {"happened": "happened", "not_happened": "repeat", "fail": "refused"}
CANCELLED = "an administrator of the portal ended this program"


class RunOperations:
    """`live` are the runs under way, None in a process that runs none. `kept` are those that outlive their process."""

    def __init__(
        self,
        reading: LogReading,
        history: RunHistory,
        live: WatchedRuns | None,
        kept: OutlivingRuns,
        deciding: Deciding,
        settings: AdminSettings,
    ) -> None:
        self._reading = reading
        self._history = history
        self._live = live or WatchedRuns()
        self._kept = kept
        self._deciding = deciding
        self._settings = settings

    def operations(self) -> list[Operation]:
        one = f"{PATH}/{{run_id}}"
        return [
            Operation(
                "GET", PATH, "List runs of programs", self._list, ShownRun, LOGS, query=RunQuery, info=RunPageInfo
            ),
            Operation("GET", one, "Show a run with its calls", self._get, RunWithCalls, LOGS, query=OneRunQuery),
            Operation("DELETE", one, "End a run that has not ended", self._end, Removed, PORTALS, status=202),
            Operation(
                "POST",
                f"{one}/decide",
                "Say what became of a call",
                self._decide,
                ShownRun,
                APPROVALS,
                OutcomeBody,
            ),
        ]

    async def _list(self, request: ApiRequest) -> InfoAnswer:
        asked = request.asked(RunQuery)
        portal = await self._reading.portal(request, asked.portal_id)
        if asked.state is not None:
            return await self._in_state(asked, asked.state, portal)
        if asked.before_run is not None:
            raise invalid("before_run is for the runs in a state: give `state` too")
        if asked.live and asked.before is not None:
            raise invalid("runs under way have no pages: before cannot be given with live=true")
        filters = Filters(
            portal=portal,
            identity=asked.identity,
            email=asked.email,
            client=asked.client,
            outcome=asked.outcome,
            since=microseconds(asked.since),
            until=microseconds(asked.until),
        )
        with self._reading.asking(request):
            page = await self._history.page(filters, before=asked.before, limit=asked.limit, live=asked.live)
        live = [shown_run(one) for one in page.live]
        kept: list[ShownRun] = []
        of_ended = (asked.before, asked.outcome, asked.until, asked.client)
        if asked.live is not False and all(one is None for one in of_ended):
            here = {one.id for one in live}
            kept = await self._kept.unended(portal, asked.identity, asked.email, but=here, limit=asked.limit)
        ended = [shown_run(one) for one in page.ended]
        info = RunPageInfo(
            count=len(live) + len(kept) + len(ended),
            limit=asked.limit,
            live=len(live),
            kept=len(kept),
            more=page.more,
            before=page.reached,
        )
        return InfoAnswer([*live, *kept, *ended], info)

    async def _in_state(self, asked: RunQuery, state: RunState, portal: str | None) -> InfoAnswer:
        """Runs of the store alone: the log does not have what becomes of a run that waits."""
        others = ("outcome", "client", "since", "until", "live", "before")
        if more := [name for name in others if getattr(asked, name) is not None]:
            raise invalid(f"{more[0]} is about the log: it cannot be given with state")
        items, reached = await self._kept.in_state(
            state, portal, asked.identity, asked.email, before=asked.before_run, limit=asked.limit
        )
        info = RunPageInfo(
            count=len(items),
            limit=asked.limit,
            live=0,
            kept=len(items),
            more=reached is not None,
            before_run=reached,
        )
        return InfoAnswer(items, info)

    async def _get(self, request: ApiRequest) -> RunWithCalls:
        run_id, asked = request.path["run_id"], request.asked(OneRunQuery)
        if (asked.program or asked.arguments) and not LOGS.allows(request.caller.permissions, writing=True):
            what = "program" if asked.program else "arguments"
            raise forbidden(f"the {what} of a run is shown with the permission `{LOGS.write}`")
        story = await self._story(request, run_id, with_program=asked.program)
        shown, opened = await self._with_kept(run_id, story, with_arguments=asked.arguments)
        if opened or (story is not None and (story.program is not None or story.failure)):
            row = event("change", "OPEN", name=f"{PATH}/{run_id}", client=request.caller.name)
            self._settings.events.write(row._replace(identity=request.by))
        return shown

    async def _story(self, request: ApiRequest, run_id: str, *, with_program: bool) -> RunStory | None:
        with self._reading.asking(request):
            try:
                return await self._history.find(run_id, with_program=with_program)
            except SecretUnreadable as error:
                raise AdminError(
                    503, [Problem(errors.UNAVAILABLE, f"the program of this run cannot be opened: {error}")]
                ) from None

    async def _with_kept(
        self, run_id: str, story: RunStory | None, *, with_arguments: bool
    ) -> tuple[RunWithCalls, bool]:
        """The run as all that know it have it, and whether arguments of its calls are in it.

        Raises:
            AdminError: 404, nobody knows it.
        """
        kept = await self._kept.find(run_id)
        if kept is None:
            if story is None:
                raise not_found("run")
            return run_with_calls(story), False
        calls, opened = await self._kept.calls(kept, with_arguments=with_arguments)
        if story is None:
            return kept_run_with_calls(kept, await self._kept.person(kept), calls), opened
        shown = run_with_calls(story)
        return shown.model_copy(update={**with_kept(story, kept), "calls": _joined(shown.calls, calls)}), opened

    async def _end(self, request: ApiRequest) -> Removed:
        run_id = request.path["run_id"]
        found = self._live.find(run_id)
        if found is not None:
            # Also one that was parked before: its own process stores its end, and writes its row.
            found.end(ended_by("an administrator of the portal", found))
        elif not await self._kept.cancel(run_id, CANCELLED):
            message = "this run is not under way in this process: it has ended, or another process runs it"
            raise AdminError(404, [Problem(errors.NOT_FOUND, message)])
        return Removed(id=run_id)

    async def _decide(self, request: ApiRequest) -> ShownRun:
        body = request.read(OutcomeBody)
        decider = await self._deciding.decider(request)
        if not decider.administers:
            raise forbidden("what became of a call is said by an administrator. Nothing was decided")
        if body.outcome != "happened" and body.result is not None:
            raise invalid("only a call that happened has a result", "/result")
        run = await self._kept.resolve(request.path["run_id"], body.call, _VERDICTS[body.outcome], body.result)
        return kept_run(run, await self._kept.person(run))


def _joined(shown: tuple[ShownCall, ...], kept: tuple[ShownCall, ...]) -> tuple[ShownCall, ...]:
    """The calls of the log or of this process, and those of the store that they have not, in order. Of one that is
    uncertain the store knows more."""
    by_number = {one.call: one for one in kept}
    unsure = {one.call for one in kept if one.uncertain}
    known = {one.call for one in shown}
    joined = [by_number[one.call] if one.call in unsure else one for one in shown]
    joined += [one for one in kept if one.call not in known]
    return tuple(sorted(joined, key=lambda one: one.call))
