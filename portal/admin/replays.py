"""Replays of recorded runs over the API: a run repeated in this process, without a server, and compared. Ours.

`access/ai-controls/mcp/runs/{run_id}/replay`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from codemode import Replayed
from portal.admin.api import errors
from portal.admin.api.errors import AdminError, Problem, conflict, not_found
from portal.admin.api.operations import ApiRequest, NoBody, Operation
from portal.admin.api.permissions import LOGS
from portal.admin.log_reading import MCP, LogReading
from portal.runs import ReplayImpossible, RunReplays

PATH = f"{MCP}/runs/{{run_id}}/replay"
MOST_UNDER_WAY = 8


class ShownDifference(BaseModel):
    """The first difference, in `words`. `what` it is about: `call` with its number `at`, a line of the `log` with its
    number, the `result`, or the `end`. `then` is that of the run and `now` that of the replay, cut around the place
    where they differ; "" where there is nothing."""

    what: Literal["call", "log", "result", "end"]
    at: int
    words: str
    then: str
    now: str


class ShownReplay(BaseModel):
    """What came of a replay. `calls` and `logs` are how many the recording has, and `ended` how the run had ended:
    `result`, or the kind of its error. `same_build`: whether this version of the engine is that of the run. `equal`:
    every call with its arguments, every line and the end are the same; otherwise there is a `difference`."""

    id: str
    equal: bool
    calls: int
    logs: int
    ended: str
    same_build: bool
    difference: ShownDifference | None


class ReplayOperations:
    def __init__(self, reading: LogReading, replays: RunReplays) -> None:
        self._reading = reading
        self._replays = replays
        self._under_way = 0

    def operations(self) -> list[Operation]:
        # What it shows are values of calls: those take the permission to write, as the contents of calls do.
        what = "Replay a recorded run"
        return [Operation("POST", PATH, what, self._replay, ShownReplay, LOGS, NoBody, body_required=False)]

    async def _replay(self, request: ApiRequest) -> ShownReplay:
        run_id = request.path["run_id"]
        if self._under_way >= MOST_UNDER_WAY:
            message = f"{MOST_UNDER_WAY} replays are under way or wait for their turn: try again"
            raise AdminError(503, [Problem(errors.UNAVAILABLE, message)], {"Retry-After": "5"})
        self._under_way += 1
        try:
            with self._reading.asking(request):
                replayed = await self._replays.replay(run_id, request.by)
        except ReplayImpossible as reason:
            if not reason.known:
                raise not_found("run") from None
            if reason.now:
                raise AdminError(503, [Problem(errors.UNAVAILABLE, str(reason))]) from None
            raise conflict(str(reason)) from None
        finally:
            self._under_way -= 1
        return shown_replay(run_id, replayed)


def shown_replay(run_id: str, replayed: Replayed) -> ShownReplay:
    found = replayed.difference
    return ShownReplay(
        id=run_id,
        equal=found is None,
        calls=replayed.calls,
        logs=replayed.logs,
        ended=replayed.ended,
        same_build=replayed.same_build,
        difference=None
        if found is None
        else ShownDifference(what=found.what, at=found.at, words=found.words, then=found.then, now=found.now),
    )
