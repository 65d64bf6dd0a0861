"""Approvals of exact calls: what needs one, who decides, and that each is good for one call."""

from typing import TYPE_CHECKING

from portal.approvals.approvals import Approvals
from portal.approvals.errors import (
    ApprovalConflict,
    ApprovalError,
    ApprovalImpossible,
    ApprovalRefused,
    ApprovalUnknown,
)
from portal.approvals.model import (
    PLAN_METHOD,
    Approval,
    ApprovalNeed,
    ApprovalState,
    ApprovalVote,
    Decider,
    Remember,
    Via,
)
from portal.approvals.votes import (
    MAX_COMMENT,
    MAX_JUSTIFICATION,
    decided_in_client,
    may_decide,
    may_see,
    missing,
    tally,
)
from portal.approvals.written import MAX_ARGUMENTS, canonical, digest_of
from portal.lazy import lazily
from portal.state import ApprovalGrant

if TYPE_CHECKING:
    from portal.approvals.notice_words import NoticePlace
    from portal.approvals.notices import ApprovalNotices
else:
    # Where nobody signs in nobody is told, and what sends mail is not loaded.
    __getattr__ = lazily(__name__, {"ApprovalNotices": "notices", "NoticePlace": "notice_words"})

__all__ = [
    "MAX_ARGUMENTS",
    "MAX_COMMENT",
    "MAX_JUSTIFICATION",
    "PLAN_METHOD",
    "Approval",
    "ApprovalConflict",
    "ApprovalError",
    "ApprovalGrant",
    "ApprovalImpossible",
    "ApprovalNeed",
    "ApprovalNotices",
    "ApprovalRefused",
    "ApprovalState",
    "ApprovalUnknown",
    "ApprovalVote",
    "Approvals",
    "Decider",
    "NoticePlace",
    "Remember",
    "Via",
    "canonical",
    "decided_in_client",
    "digest_of",
    "may_decide",
    "may_see",
    "missing",
    "tally",
]
