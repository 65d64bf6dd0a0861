"""Approvals of exact calls: what needs one, who decides, and that each is good for one call."""

from portal.approvals.model import (
    Approval,
    ApprovalGrant,
    ApprovalNeed,
    ApprovalState,
    ApprovalVote,
    Decider,
    Remember,
    Via,
)

__all__ = [
    "Approval",
    "ApprovalGrant",
    "ApprovalNeed",
    "ApprovalState",
    "ApprovalVote",
    "Decider",
    "Remember",
    "Via",
]
