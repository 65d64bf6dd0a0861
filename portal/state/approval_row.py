"""An approval and a remembered one as their rows are, as plain values: nothing here needs a database library."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

APPROVALS = "approvals"
"""What subscribers are told of that have to hear of approvals."""
APPROVAL_GRANTS = "approval_grants"
"""What subscribers are told of that have to hear of remembered approvals."""
APPROVAL_NOTICES = "approval_notices"
"""What subscribers are told of that have to hear of notices to send."""
WEBHOOK_TARGET = ""
"""The target of notices that is no address, but the webhook."""
OPEN = ("pending", "approved")
"""The states of those that have not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalGrant:
    """A remembered approval, which can be revoked. `uses_left` None is without bound. `run` is the only run that it is
    for, "" for any."""

    id: str
    portal: str
    subject: str
    client: str
    run: str
    server: str
    tool: str
    policy: str
    policy_revision: str
    uses_left: int | None
    until: datetime
    granted_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """One row. `digest` is the SHA-256 of the arguments, `document` what else there is to it, as JSON. `revision`
    counts its changes; `ended_at` is when it became one that nobody decides or uses any more."""

    id: str
    portal: str
    subject: str
    client: str
    run: str
    call: int
    server: str
    tool: str
    digest: bytes
    policy: str
    policy_revision: str
    state: str
    created_at: datetime
    expires_at: datetime
    document: str = field(repr=False)
    revision: int = 1
    decided_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalChange:
    """How a row becomes another: what is None stays. `secret` replaces what is sealed. `grant` is made with it."""

    state: str
    document: str
    decided_at: datetime | None = None
    secret: bytes | None = field(default=None, repr=False)
    grant: ApprovalGrant | None = None


@dataclass(frozen=True, slots=True)
class ApprovalCounts:
    """What there is already when another is asked for: pending ones of the person and of the portal, those that the
    person's calls have made lately, and when calls of the same client were denied lately, newest first."""

    of_subject: int
    of_portal: int
    lately: int
    denied_at: tuple[datetime, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalFilter:
    """Which rows are listed: those that have all that is not empty. `portal` None is every portal. `mentions` is an
    address that is in their document."""

    portal: str | None = None
    subject: str = ""
    client: str = ""
    run: str = ""
    server: str = ""
    states: tuple[str, ...] = ()
    mentions: str = ""
    before: datetime | None = None


NoticeEnd: TypeAlias = Literal["told", "failed", "ended"] | datetime


@dataclass(frozen=True, slots=True)
class NoticeBatch:
    """What one process tells one target at once: `approvals` by their ids, the longest due first. `tries` counts this
    one. `full_until`: after this mail the address gets no other before then."""

    id: str
    portal: str
    target: str
    approvals: tuple[str, ...]
    tries: int
    full_until: datetime | None = None
