"""Who may decide about a call, and what becomes of it by the votes. Pure: the same votes have the same outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from portal.access import ApprovalGroup, ApprovalRule
from portal.approvals.errors import ApprovalConflict, ApprovalRefused
from portal.approvals.model import Approval, ApprovalVote, Decider, Remember

MAX_COMMENT = 1000
SAID = "What this call is for stays as it was said: others have decided about it so, or may. Deny it to say another."
MAX_JUSTIFICATION = 4096
MAX_REMEMBER = timedelta(days=30)
MAX_USES = 1000
MAX_DENIALS, DENIAL_WINDOW = 3, timedelta(minutes=10)
"""So many denials within that time have a client wait as long again."""

TallyOutcome = Literal["pending", "approved", "denied"]
_ENDED = {
    "approved": "It is approved already.",
    "denied": "It is denied already.",
    "expired": "It was not decided in time.",
    "withdrawn": "Nobody is asked about the call any more: its program has ended, or it may be made without that.",
    "used": "It is approved already, and the call was made.",
}


def tally(approval: Approval) -> TallyOutcome:
    """What the votes say. One denial is enough. Of a group the requester is never the only one who approves: their vote
    counts in a group once another member of it has approved."""
    if any(not vote.approves for vote in approval.votes):
        return "denied"
    rule, votes = approval.rule, approval.votes
    if rule.justified and not approval.justification:
        return "pending"
    confirmed = any(vote.subject == approval.subject and vote.via in ("browser", "client") for vote in votes)
    if rule.by != "group":
        return "approved" if confirmed else "pending"
    if rule.also_person and not confirmed:
        return "pending"
    satisfied = bool(rule.groups) and all(_approves(group, approval) for group in rule.groups)
    return "approved" if satisfied else "pending"


def missing(approval: Approval) -> int:
    """How many more people have to approve, at least."""
    counts = [max(0, group.needed - len(_members(group, approval.votes))) for group in approval.rule.groups]
    return max([1, *counts]) if tally(approval) == "pending" else 0


def may_see(approval: Approval, decider: Decider) -> bool:
    """Whether somebody may see it: the requester, members of its groups, and administrators."""
    return decider.administers or _is_requester(approval, decider) or _is_member(approval.rule, decider.email)


def may_decide(approval: Approval, decider: Decider, *, approves: bool = True) -> str | None:
    """Why somebody may not approve or deny it, None if they may."""
    if approval.state != "pending":
        return _ENDED[approval.state]
    if _vote_of(approval, decider) is not None:
        return "You have decided about it already."
    return _right(approval, decider, approves=approves)


def voted(
    approval: Approval,
    decider: Decider,
    approves: bool,
    *,
    now: datetime,
    comment: str = "",
    justification: str = "",
    remember: Remember | None = None,
) -> Approval:
    """The approval after a decision. It is the same one if the decision is there already.

    Raises:
        ApprovalRefused: they may not decide so.
        ApprovalConflict: it is decided otherwise, or has ended.
    """
    if not may_see(approval, decider):
        raise ApprovalRefused("You are not among those who decide about this call.")
    earlier = _vote_of(approval, decider)
    if earlier is not None:
        if earlier.approves is approves:
            return approval
        raise ApprovalConflict("You have decided otherwise before. A decision holds.")
    if approval.state != "pending" or approval.expires_at <= now:
        if (refusal := _right(approval, decider, approves=approves)) is not None:
            raise ApprovalRefused(refusal)
        if approval.state in (("approved", "used") if approves else ("denied",)):
            return approval
        raise ApprovalConflict(_ENDED["expired" if approval.state == "pending" else approval.state])
    if (refusal := _right(approval, decider, approves=approves)) is not None:
        raise ApprovalRefused(refusal)
    if approves:
        approval = _justified(approval, decider, justification)
        _require_memorable(approval, remember)
    vote = ApprovalVote(
        subject=decider.subject,
        email=decider.email,
        via=decider.via,
        approves=approves,
        at=now,
        comment=comment.strip()[:MAX_COMMENT],
        remember=remember if approves else None,
    )
    approval = replace(approval, votes=(*approval.votes, vote))
    outcome = tally(approval)
    return replace(approval, state=outcome, decided_at=None if outcome == "pending" else now)


def remembered(approval: Approval) -> Remember | None:
    """For how long an approved call is remembered; None if it is not. What a group has approved is remembered only if
    all of its members who approved have said so, as shortly as any of them said."""
    rule = approval.rule
    if approval.state != "approved":
        return None
    votes: Sequence[ApprovalVote] = approval.votes
    if rule.by == "group":
        votes = [vote for vote in votes if _is_member(rule, vote.email)]
    chosen = [vote.remember for vote in votes]
    wanted = [one for one in chosen if one is not None]
    if not wanted or len(wanted) < len(chosen):
        return None
    uses = [one.uses for one in wanted if one.uses is not None]
    return Remember(
        seconds=min(one.seconds for one in wanted),
        uses=min(uses) if uses else None,
        this_run=any(one.this_run for one in wanted),
    )


def paused_until(denied_at: Iterable[datetime], now: datetime) -> datetime | None:
    """Until when a client asks for nothing, because people have denied what it asked for; None if it may ask. Calls
    that were denied with one decision count as one."""
    moments = sorted(set(denied_at), reverse=True)[:MAX_DENIALS]
    if len(moments) < MAX_DENIALS or moments[0] - moments[-1] > DENIAL_WINDOW:
        return None
    until = moments[0] + DENIAL_WINDOW
    return until if until > now else None


def _right(approval: Approval, decider: Decider, *, approves: bool) -> str | None:
    """Why somebody may not decide so, whatever was decided before."""
    rule, own = approval.rule, approval.subject == decider.subject
    if decider.via == "client":
        return _right_in_client(approval, own=own)
    member = _is_member(rule, decider.email)
    if not approves:
        # Whoever wanted the call may take it back, and an administrator may stop anything.
        return None if own or member or decider.administers else "You are not among those who decide about this call."
    if rule.by == "group":
        if own and rule.also_person:
            # A member of a group as well would have no other vote left for the browser.
            return None if decider.via == "browser" else "This call is approved in the browser."
        if not member:
            return "Only members of the groups that the policy names approve this call."
        if rule.justified and not approval.justification and not own:
            return "The person behind this call has not said yet what it is for."
        return None
    if not own:
        return "Only the person whose call it is approves it."
    # An agent may have the command line of its person, but not their browser.
    return None if decider.via == "browser" else "This call is approved in the browser."


def decided_in_client(approval: Approval) -> bool:
    """Whether the policy lets its person decide in their client, which may answer by itself."""
    return _right_in_client(approval, own=True) is None


def _right_in_client(approval: Approval, *, own: bool) -> str | None:
    if not own:
        return "Only the person whose call it is decides in their client."
    if approval.rule.by != "client":
        return "The policy does not let this call be decided in the client. Open the page."
    if approval.rule.justified:
        return "A call whose purpose is to be said is decided in the browser."
    # A client may answer by itself.
    return "A tool that may destroy something is decided in the browser." if approval.destructive else None


def _justified(approval: Approval, decider: Decider, justification: str) -> Approval:
    justification = justification.strip()[:MAX_JUSTIFICATION]
    if justification and decider.subject == approval.subject:
        if approval.votes and not approval.justification:
            raise ApprovalRefused("What this call is for is said before anybody decides about it.")
        if approval.justification and justification != approval.justification:
            raise ApprovalRefused(SAID)
        approval = replace(approval, justification=justification)
    if approval.rule.justified and not approval.justification:
        raise ApprovalRefused(approval.rule.prompt or "Say first what this call is for.")
    return approval


def _require_memorable(approval: Approval, remember: Remember | None) -> None:
    if remember is None:
        return
    if not approval.rule.memorable:
        raise ApprovalRefused("What asks for this approval wants one for each call: it is not remembered.")
    if approval.method != "tools/call":
        raise ApprovalRefused("Only approvals of tools are remembered.")
    if not 60 <= remember.seconds <= MAX_REMEMBER.total_seconds():
        raise ApprovalRefused(f"An approval is remembered for a minute to {MAX_REMEMBER.days} days.")
    if remember.uses is not None and not 1 <= remember.uses <= MAX_USES:
        raise ApprovalRefused(f"An approval is remembered for 1 to {MAX_USES} calls.")
    if remember.this_run and not approval.run:
        raise ApprovalRefused("This call is of no program: it cannot be remembered for one.")


def _approves(group: ApprovalGroup, approval: Approval) -> bool:
    members = _members(group, approval.votes)
    others = any(not _is_by_requester(approval, vote) for vote in members)
    return others and len({vote.email for vote in members}) >= group.needed


def _members(group: ApprovalGroup, votes: Iterable[ApprovalVote]) -> list[ApprovalVote]:
    return [vote for vote in votes if vote.approves and vote.email in group.emails and vote.via != "client"]


def _is_member(rule: ApprovalRule, email: str) -> bool:
    return bool(email) and any(email in group.emails for group in rule.groups)


def _is_requester(approval: Approval, decider: Decider) -> bool:
    return decider.subject == approval.subject


def _is_by_requester(approval: Approval, vote: ApprovalVote) -> bool:
    # A person may have a second account, with the same address.
    return vote.subject == approval.subject or vote.email == approval.email.strip().lower()


def _vote_of(approval: Approval, decider: Decider) -> ApprovalVote | None:
    for vote in approval.votes:
        if vote.subject == decider.subject or (vote.email and vote.email == decider.email):
            return vote
    return None
