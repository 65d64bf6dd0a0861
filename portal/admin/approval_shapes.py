"""Approvals and what is remembered of them as the API shows them. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from portal.access import ApproveBy
from portal.approvals import Approval, ApprovalGrant, ApprovalState, Via, missing


class ApprovalPageInfo(BaseModel):
    """`before` is the id to ask for the next page with, where there may be `more`."""

    count: int
    limit: int
    more: bool
    before: str | None = None


class ShownApprovalGroup(BaseModel):
    """`needed` of the people with these `emails` have to approve."""

    needed: int
    emails: tuple[str, ...]
    lists: tuple[str, ...]


class ShownVote(BaseModel):
    """What one person decided. `via` is through what."""

    identity: str
    email: str
    via: Via
    decision: Literal["approve", "deny"]
    at: datetime
    comment: str


class ShownApproval(BaseModel):
    """The approval of one exact call of a person (`identity`, `email`) through their `client`.

    `call` is its number in its `run`; outside of programs these are 0 and "". `policy` asks for it, and `approve_by`
    says who approves: `group`, `person`, or the person also in their `client`. `because` is why this call needs it,
    where a rule of data flow or of the gateway wants it; without `memorable` it cannot be remembered. `missing` is how
    many people have to approve yet, at least. `approved` has not been used by its call yet, `used` has. `arguments` is
    their canonical JSON where it is asked for, null once they are erased, and without what a gateway rule has found;
    `arguments_sha256` is of the canonical JSON that is sent.
    """

    id: str
    state: ApprovalState
    portal: str
    identity: str
    email: str
    client: str
    run: str
    call: int
    server: str
    tool: str
    method: str
    destructive: bool
    policy: str
    policy_name: str
    approve_by: ApproveBy
    because: tuple[str, ...] = ()
    memorable: bool = True
    groups: tuple[ShownApprovalGroup, ...]
    also_person: bool
    justification_required: bool
    justification_prompt: str
    justification: str = Field(repr=False)
    missing: int
    votes: tuple[ShownVote, ...]
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    arguments_sha256: str
    arguments: str | None = Field(repr=False)


class DecisionResult(BaseModel):
    """What became of one decision. `status` is that of the same decision alone: 200, or with an `error` 403, 404, 409
    or 410."""

    id: str
    status: int
    error: str | None = None
    approval: ShownApproval | None = None


class ShownGrant(BaseModel):
    """A remembered approval: so many further calls (`uses_left`, null for any number) of a tool by a person and client
    need none until an end. `run` is that of the only program it is for, "" for any."""

    id: str
    portal: str
    identity: str
    client: str
    run: str
    server: str
    tool: str
    policy: str
    uses_left: int | None
    until: datetime
    granted_by: str
    created_at: datetime


def shown_approval(approval: Approval, arguments: str | None = None) -> ShownApproval:
    rule = approval.rule
    return ShownApproval(
        id=approval.id,
        state=approval.state,
        portal=approval.portal,
        identity=approval.subject,
        email=approval.email,
        client=approval.client,
        run=approval.run,
        call=approval.call,
        server=approval.server,
        tool=approval.tool,
        method=approval.method,
        destructive=approval.destructive,
        policy=rule.policy,
        policy_name=rule.policy_name,
        approve_by=rule.by,
        because=rule.because,
        memorable=rule.memorable,
        groups=tuple(
            ShownApprovalGroup(needed=one.needed, emails=tuple(sorted(one.emails)), lists=one.lists)
            for one in rule.groups
        ),
        also_person=rule.also_person,
        justification_required=rule.justified,
        justification_prompt=rule.prompt,
        justification=approval.justification,
        missing=missing(approval) if approval.state == "pending" else 0,
        votes=tuple(
            ShownVote(
                identity=vote.subject,
                email=vote.email,
                via=vote.via,
                decision="approve" if vote.approves else "deny",
                at=vote.at,
                comment=vote.comment,
            )
            for vote in approval.votes
        ),
        created_at=approval.created_at,
        expires_at=approval.expires_at,
        decided_at=approval.decided_at,
        arguments_sha256=approval.digest.hex(),
        arguments=arguments,
    )


def shown_grant(grant: ApprovalGrant) -> ShownGrant:
    return ShownGrant(
        id=grant.id,
        portal=grant.portal,
        identity=grant.subject,
        client=grant.client,
        run=grant.run,
        server=grant.server,
        tool=grant.tool,
        policy=grant.policy,
        uses_left=grant.uses_left,
        until=grant.until,
        granted_by=grant.granted_by,
        created_at=grant.created_at,
    )
