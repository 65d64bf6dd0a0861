"""Programs that keep to their plan: each call with an effect is the next one of it, or a person decides about it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from codemode import (
    Adherence,
    Agreement,
    CallOutcome,
    Catalog,
    Failure,
    OnWait,
    ProgramPlan,
    Reads,
    RunHandle,
    ToolCall,
    ToolCaller,
    ToolDenied,
    ToolReturned,
    off_loop,
    only_reads,
)
from portal.calls import NOBODY_DECIDES, UNREADABLE, PlanApprovals
from portal.servers import Snapshot
from portal.state import StateUnavailable
from portal.upstream import CallContext


def reads_by(catalog: Catalog, snapshot: Snapshot, *, approved: bool) -> Reads:
    """Which tools only read. Servers say so themselves: where only what is `approved` counts, those alone are believed
    whose tools somebody has approved as they are."""

    def reads(server: str, tool: str) -> bool:
        found = snapshot.servers.get(server)
        is_believed = not approved or (found is not None and found.config.pin)
        return is_believed and only_reads(catalog, server, tool)

    return reads


class PlannedCaller:
    """A tool caller for a program with a plan. `asks`: people decide about a call that is not in it; otherwise it is
    refused. `reads`: which tools only read, so that nobody approves a call of them."""

    def __init__(self, caller: ToolCaller, reads: Reads, adherence: Adherence, *, asks: bool) -> None:
        self._caller = caller
        self._reads = reads
        self._adherence = adherence
        self._asks = asks

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        # Before anything is awaited: the calls of a program come in its own order.
        if not self._reads(call.server, call.tool):
            if not self._adherence.takes(call.seq, call.server, call.tool, call.arguments):
                if not self._asks:
                    return ToolDenied(NOBODY_DECIDES, "plans")
                call = replace(call, unplanned=True)
        outcome = await self._caller.call_tool(call)
        if isinstance(outcome, ToolReturned) and self._adherence.awaits(call.seq, call.server, call.tool):
            note = partial(self._adherence.answered, call.seq, call.server, call.tool, outcome.result)
            await off_loop(note, outcome.result)
        return outcome


def held_to(plan: ProgramPlan) -> Adherence:
    """What holds a program to its plan. A plan that would change nothing needs no approval. A program that fails while
    it is planned has nothing that anybody approves: each of its calls with an effect is in no plan."""
    if plan.failure is not None:
        return Adherence(replace(plan, entries=()))
    return Adherence(plan, agreed=not plan.effects)


def agreement_to(
    adherence: Adherence, handle: RunHandle, context: CallContext, approvals: PlanApprovals | None
) -> Agreement:
    """What asks the person behind a program for the approval of its plan. Without it the program ends, and cannot catch
    that. The person may decide hours later, and another process may ask for it again: it is the same approval."""

    async def agree(on_wait: OnWait) -> None:
        refusal: str | None = NOBODY_DECIDES
        if approvals is not None:
            try:
                refusal = await approvals.refusal(adherence.plan, context, on_wait)
            except StateUnavailable:
                if handle.journal is not None:
                    # It was parked, and has not got on: a process takes it up again when the database answers.
                    raise
                refusal = UNREADABLE
        if refusal is None:
            adherence.agreed = True
        else:
            handle.end(Failure("denied", "PlanDenied", refusal))

    return agree
