"""What a policy says of approvals: whose, and how many, a call needs that the policy allows.

The fields are Cloudflare's (`approval_required`, `approval_groups`, `purpose_justification_required`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ApproveBy = Literal["group", "person", "client"]
"""Who approves: members of the groups, the person in the browser, or also the person in their client."""


@dataclass(frozen=True, slots=True)
class ApprovalGroup:
    """So many of these people have to approve. `emails` are in lower case; `lists` are ids of lists of addresses, whose
    members `emails` has too, as they were when the policies were compiled."""

    needed: int
    emails: frozenset[str] = field(repr=False)
    lists: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """The approval that one call needs. `revision` is another after each change of the policy. Every group has to
    approve. `justified`: the person says what for. `seconds`: how long it is waited for."""

    policy: str
    policy_name: str
    revision: str
    by: ApproveBy
    groups: tuple[ApprovalGroup, ...] = ()
    justified: bool = False
    prompt: str = ""
    seconds: float = 86_400.0
