"""The approval of one exact call, as plain values: what is asked for, who decides, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from portal.access import ApprovalRule
from portal.identity import Identity

ApprovalState = Literal["pending", "approved", "denied", "expired", "withdrawn", "used"]
"""`approved` is an approval that no call has used yet: it is good for one."""
Via = Literal["browser", "client", "api", "cli"]
"""Through what somebody decides."""
PLAN_METHOD = "codemode/plan"
"""The method of what is approved where that is a plan: all that a program would do."""
# The keys of callers who are no people (`Identity.key`).
_NO_PEOPLE = ("service:", "certificate:")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalNeed:
    """A call that needs an approval. `subject` is the key of whose call it is, `email` their address, `client` their
    client. `run` and `call` are its run and its number in it, "" and 0 for a call outside of any program. `arguments`
    are those that are sent; `shown` is what people see in their place, None for all of it."""

    portal: str
    subject: str
    email: str
    client: str
    run: str
    call: int
    server: str
    tool: str
    arguments: Mapping[str, object] = field(repr=False)
    rule: ApprovalRule
    destructive: bool = True
    justification: str = ""
    method: str = "tools/call"
    shown: Mapping[str, object] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Who decides: a person who has signed in, never a service token and never a client of a model.

    It is made where a person has shown their own login: `Decider.of` refuses every other caller. `administers`: by
    their role they see every approval, and may deny each; they approve only what the rule lets them."""

    subject: str
    email: str
    via: Via
    administers: bool = False

    def __post_init__(self) -> None:
        if not self.subject or self.subject.startswith(_NO_PEOPLE):
            raise ValueError("only a person who has signed in decides about approvals")
        object.__setattr__(self, "email", self.email.strip().lower())

    @classmethod
    def of(cls, person: Identity, via: Via, *, administers: bool = False) -> Decider:
        """
        Raises:
            ValueError: the caller has not signed in as a person, or has shown a credential of a service.
        """
        if not person.logged_in or person.by_credential:
            raise ValueError("only a person who has signed in decides about approvals")
        return cls(subject=person.key, email=person.email, via=via, administers=administers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """How long an approval holds for further calls of the same tool by the same person: `uses` None is without bound,
    `this_run` is for the run of the call alone."""

    seconds: float
    uses: int | None = None
    this_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalVote:
    """What one person decided. `comment` is theirs, for the requester and the log."""

    subject: str
    email: str
    via: Via
    approves: bool
    at: datetime
    comment: str = ""
    remember: Remember | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An approval as it stands. `digest` is the SHA-256 of the canonical arguments. The arguments themselves are read
    with `Approvals.arguments`: they are sealed. `rounds` counts those that its call had after the first one."""

    id: str
    portal: str
    subject: str
    email: str
    client: str
    run: str
    call: int
    server: str
    tool: str
    digest: bytes
    rule: ApprovalRule
    destructive: bool
    justification: str = field(repr=False)
    state: ApprovalState
    revision: int
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    votes: tuple[ApprovalVote, ...] = ()
    method: str = "tools/call"
    rounds: int = 0

    @property
    def is_plan(self) -> bool:
        """Whether it is of all that a program would do, and not of a call."""
        return self.method == PLAN_METHOD

    @property
    def denial(self) -> ApprovalVote | None:
        """The vote that denied it, None if nobody has."""
        return next((vote for vote in self.votes if not vote.approves), None)
