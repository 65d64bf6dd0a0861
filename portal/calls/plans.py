"""The approval of a whole plan: the person behind a program decides once about all that it is about to do.

It is asked for before the first call of the program. It is bound to the run, the program and every call of the plan, is
good once, and is given in the browser alone: no client, service token or command line decides about it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from codemode import OnWait, ProgramPlan, Waiting
from portal.access import ApprovalRule
from portal.approvals import PLAN_METHOD, Approval, ApprovalImpossible, ApprovalNeed, Approvals, ApprovalUnknown
from portal.identity import ANONYMOUS
from portal.upstream import CallContext

PLANS: Final = ApprovalRule(policy="plans", policy_name="programs keep to their plan", revision="required", by="person")
"""What holds for a plan, and for each call that is in none."""
NOBODY_DECIDES: Final = (
    "This portal lets a program change something when its person has approved that, and here nobody can: people do not "
    "sign in, or there is no database. It was not done."
)
HIDDEN: Final = (
    "The plan of this program has something that a rule of data loss prevention asks for, and cannot be shown without "
    "it now. Nothing was changed. Leave it out of the program, or ask the portal's administrator."
)

UNREADABLE: Final = "The portal cannot read now whether the plan is approved. Nothing was changed. Try again later."


class PlanApprovals:
    """Those of one portal. `page` gives the address of the page for an approval, and `shown` what people may see of a
    plan, None where that cannot be known."""

    def __init__(
        self,
        approvals: Approvals,
        portal: str,
        page: Callable[[str], str],
        shown: Callable[[dict[str, object]], Awaitable[dict[str, object] | None]],
    ) -> None:
        self._approvals = approvals
        self._portal = portal
        self._page = page
        self._shown = shown

    async def refusal(self, plan: ProgramPlan, context: CallContext, on_wait: OnWait) -> str | None:
        """Why a program with this plan may make no call, in words; None once its person has approved it, which is used
        up then.

        Raises:
            StateUnavailable: the database does not answer.
        """
        caller = context.principal or ANONYMOUS
        if not caller.key or not caller.logged_in:
            return "A person approves what a program would do, and none is behind this caller. Nothing was changed."
        approved = plan.to_approve()
        need = ApprovalNeed(
            portal=self._portal,
            subject=caller.key,
            email=caller.email,
            client=context.source.client_id,
            run=context.run_id,
            call=0,
            server="code",
            tool="plan",
            arguments=approved,
            shown=None,
            rule=PLANS,
            method=PLAN_METHOD,
        )
        try:
            # The run may have asked before it was parked.
            approval = await self._approvals.last(need)
            if approval is None:
                if (shown := await self._shown(approved)) is None:
                    return HIDDEN
                approval = await self._approvals.request(replace(need, shown=None if shown == approved else shown))
            approval = await self._decided(approval, on_wait)
            is_good = await self._used(approval)
        except ApprovalImpossible as error:
            return str(error)
        except ApprovalUnknown:
            return UNREADABLE
        return None if is_good else _in_words(approval)

    async def _decided(self, approval: Approval, on_wait: OnWait) -> Approval:
        if approval.state == "pending":
            # Before the run waits, and is parked at once: its time may be over since it asked.
            approval = await self._approvals.changed(approval.id, 0)
        if approval.state != "pending":
            return approval
        text = "The person behind this program has to approve what it would do"
        async with on_wait(Waiting(text, self._page(approval.id), kind="approval", repeatable=True)):
            return await self._approvals.ended(approval)

    async def _used(self, approval: Approval) -> bool:
        """Whether the plan is approved, which this run has used up then, now or in a process that ended before it wrote
        that down."""
        if approval.state != "approved":
            return approval.state == "used"
        return await self._approvals.use(approval.id, approval.digest, PLANS.revision)


def _in_words(approval: Approval) -> str:
    if approval.state == "denied":
        why = f": {approval.denial.comment}" if approval.denial is not None and approval.denial.comment else ""
        ending = "None of its calls was made. Do not run it again unless the person asks for that."
        return f"The person behind this program has denied its plan{why}. {ending}"
    again = "None of its calls was made. Run it again to have it asked for."
    return f"The plan of this program was not approved in time. {again}"
