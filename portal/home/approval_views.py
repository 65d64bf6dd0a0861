"""Approvals as pages show them to one person: what they may decide, and the words of what is there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from portal.approvals import Approval, ApprovalGrant, Decider, Remember, may_decide
from portal.pages import (
    MAX_APPROVAL_WORDS,
    REMEMBER,
    REMEMBER_SECONDS,
    ApprovalView,
    ArgumentsDrawing,
    CallLineView,
    GrantView,
    arguments_drawing,
    group_view,
    outcome_words,
    plan_drawing,
    short_words,
    tone_of,
    vote_view,
)

MOST_OTHER_CALLS = 50
MAX_USES = 1000
NO_NAMES: Mapping[str, str] = {}


def approval_view(approval: Approval, decider: Decider, clients: Mapping[str, str] = NO_NAMES) -> ApprovalView:
    """The approval as this person sees it. `clients` are what clients are called, by their ids."""
    rule = approval.rule
    approved = {vote.email for vote in approval.votes if vote.approves and vote.via != "client"}
    return ApprovalView(
        id=approval.id,
        state=approval.state,
        tool=_name(approval.tool),
        server=_name(approval.server),
        method=approval.method,
        destructive=approval.destructive,
        portal=approval.portal,
        asker=_name(approval.email or approval.subject),
        own=approval.subject == decider.subject,
        client=_name(clients.get(approval.client, approval.client)),
        created_at=approval.created_at,
        expires_at=approval.expires_at,
        decided_at=approval.decided_at,
        policy=_name(rule.policy_name or rule.policy),
        groups=tuple(group_view(one.needed, one.emails, one.emails & approved) for one in rule.groups),
        person=rule.by != "group" or rule.also_person,
        justified=rule.justified,
        prompt=short_words(rule.prompt, 4096),
        is_plan=approval.is_plan,
        because=tuple(short_words(why, 1024) for why in rule.because),
        justification=short_words(approval.justification, 4096),
        run=_name(approval.run),
        call=approval.call,
        votes=tuple(
            vote_view(one.email or one.subject, one.approves, one.via, one.at, one.comment) for one in approval.votes
        ),
        digest=approval.digest.hex(),
        refusal=may_decide(approval, decider) or "",
        denial=may_decide(approval, decider, approves=False) or "",
    )


def grant_view(
    grant: ApprovalGrant, decider: Decider, clients: Mapping[str, str] = NO_NAMES, who: str = ""
) -> GrantView:
    """A remembered approval as its person sees it, or with `who` that is as others do."""
    return GrantView(
        id=grant.id,
        name=_name(f"{grant.server}.{grant.tool}"),
        who=who,
        client=_name(clients.get(grant.client, grant.client)),
        run=_name(grant.run),
        uses=grant.uses_left,
        until=grant.until,
        granted_by=_name(grant.granted_by),
        created_at=grant.created_at,
        revocable=decider.administers
        or decider.subject == grant.subject
        or grant.granted_by in (decider.subject, decider.email),
    )


def call_lines(calls: Sequence[tuple[int, str, str, str]], besides: int) -> list[CallLineView]:
    """The calls of a run but that of this number, the newest last. Each is its number, server, tool and outcome."""
    return [
        CallLineView(number, _name(f"{server}.{tool}"), outcome_words(outcome), tone_of(outcome))
        for number, server, tool, outcome in calls[-MOST_OTHER_CALLS - 1 :]
        if number != besides
    ][-MOST_OTHER_CALLS:]


def drawing_of(approval: Approval) -> Callable[[str], ArgumentsDrawing]:
    """What draws that which is approved, from its canonical JSON."""
    return plan_drawing if approval.is_plan else arguments_drawing


def remember_choices(approval: Approval) -> Sequence[tuple[str, str]]:
    """For how long an approval may be remembered, with the words of each; nothing if it is for the one call alone."""
    if approval.method != "tools/call" or not approval.rule.memorable:
        return ()
    # Of a call that is of no program there is no run to remember it for.
    return [one for one in REMEMBER if approval.run or one[0] != "run"]


def remember_of(form: Mapping[str, str]) -> Remember | None:
    """For how long a form wants an approval to be remembered, None for the one call.

    Raises:
        ValueError: what it says of that cannot be read; the message is for the person.
    """
    chosen, uses = form.get("remember", ""), form.get("uses", "").strip()
    if not chosen:
        return None
    if chosen not in REMEMBER_SECONDS:
        raise ValueError("Choose for how long it is remembered.")
    if uses and not (uses.isascii() and uses.isdigit() and len(uses) < 5 and 1 <= int(uses) <= MAX_USES):
        raise ValueError(f"An approval is remembered for 1 to {MAX_USES} further calls, or without a number for any.")
    return Remember(seconds=REMEMBER_SECONDS[chosen], uses=int(uses) if uses else None, this_run=chosen == "run")


def digest_of_list(approvals: Sequence[Approval]) -> str:
    """A short text that is another after each change of these."""
    newest = max((one.created_at for one in approvals), default=datetime.min)
    return f"{len(approvals)}-{sum(one.revision for one in approvals)}-{newest:%Y%m%d%H%M%S%f}"


def _name(text: str) -> str:
    return short_words(text, MAX_APPROVAL_WORDS)
