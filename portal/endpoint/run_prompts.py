"""The approvals that programs wait for: how the request that waits for a program asks its client for them.

The request asks, not the call: a program that waits is parked, and its calls are made again when people have decided. A
client of 2025 is asked on the stream of its request. One of 2026-07-28 is answered with a state that names the run, so
that any process goes on with it: nothing of it is held here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from portal.endpoint.approval_prompts import MOST_QUESTIONS, ApprovalPrompts
from portal.endpoint.questions import RUN_STATE, HeldWork
from portal.endpoint.request import RawResult
from portal.runs import LiveRun
from portal.state import StateUnavailable, StoredRun


@dataclass(frozen=True, slots=True)
class RunState:
    """What a client carries of a parked run that it was asked about: the run, and its revision at that time. Its
    row says whose the run is, and at which portal; the seal says until when the state may be carried, and by whom."""

    run: str
    revision: int

    def __str__(self) -> str:
        return RUN_STATE + json.dumps([self.run, self.revision])

    @classmethod
    def of(cls, state: str) -> RunState:
        run, revision = json.loads(state.removeprefix(RUN_STATE))
        return cls(str(run), int(revision))


class RunPrompts:
    """What one request asks its client about the approvals that its program waits for. None is asked for twice."""

    def __init__(self, prompts: ApprovalPrompts, held: HeldWork) -> None:
        self._prompts = prompts
        self._held = held
        self._asked: set[str] = set()
        self._tasks: set[asyncio.Task[bool]] = set()

    @asynccontextmanager
    async def during(self, run: LiveRun) -> AsyncIterator[None]:
        """A block in which the client is asked for what a program of this process waits for."""
        if self._held.on_request is None:
            yield
            return
        asking = asyncio.create_task(self._live(run), name=f"asking for {run.id}")
        try:
            yield
        finally:
            asking.cancel()

    async def asks(self, run: StoredRun, *, is_late: bool = False) -> RawResult | None:
        """Ask for what a parked run waits for. The result that has a client of 2026-07-28 do so; None for others, and
        where there is nothing to ask. If it `is_late` and the client takes tasks, the task of the run asks."""
        if self._held.on_request is None or (is_late and self._held.becomes_task):
            return None
        if not self._held.between_rounds:
            await self._ask({run.id})
            return None
        pending = [one for one in await self._prompts.pending({run.id}) if one.id not in self._asked]
        asked = await self._prompts.questions(self._held.request, pending)
        if not asked:
            return None
        state = str(RunState(run.id, run.revision))
        return {"resultType": "input_required", "inputRequests": asked, "requestState": state}

    async def take(self, run: StoredRun) -> None:
        """Take what the client has answered about a parked run."""
        request = self._held.request
        self._asked |= await self._prompts.take_all(request, run.id, request.params.get("inputResponses"))

    async def paused(self, answer: RawResult) -> RawResult:
        """The answer of a request that waits no more: with the approvals, if its program goes on without it."""
        content = answer.get("structuredContent")
        if not isinstance(content, Mapping) or content.get("status") != "paused":
            return answer
        return await self._prompts.with_approvals(answer, {str(content.get("executionId"))})

    def stop(self) -> None:
        """The client has left: it is asked nothing any more."""
        for task in self._tasks:
            task.cancel()

    async def _live(self, run: LiveRun) -> None:
        """Ask for what a program of this process waits for. One that is about to be parked is asked about then."""
        with suppress(StateUnavailable):
            while not run.ended:
                waits = run.handle.waits
                waiting = waits.open
                runs = {one.run or run.id for one in waiting if one.kind == "approval"}
                parks = run.handle.wants_to_park and waits.only_for_people and all(waits.calls.values())
                if runs and not parks:
                    await self._ask(runs)
                if waits.open == waiting:
                    await run.change()

    async def _ask(self, runs: Collection[str]) -> None:
        ask, request = self._held.on_request, self._held.request
        if ask is None:
            return
        for approval in await self._prompts.pending(runs):
            under_way = sum(not task.done() for task in self._tasks)
            if approval.id in self._asked or under_way >= MOST_QUESTIONS:
                continue
            question = await self._prompts.question(request, approval.id)
            if question is not None and (asking := self._prompts.ask(request, question, ask)) is not None:
                self._asked.add(approval.id)
                self._tasks.add(asking)
