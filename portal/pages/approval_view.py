"""An approval as its page and lists show it: who wants which call, who has to approve, and what has been decided. Pure.

The page of a person and the console show the same of it, from values that each of them has in another shape. The text
of agents and of other people goes through `seen_words`, so that nothing in it hides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from portal.pages.arguments import ArgumentsDrawing
from portal.unseen import seen_words, short_words

MOST_NAMES = 12
"""Members of a group that are named."""
MAX_APPROVAL_WORDS = 300
STATE_WORDS: Mapping[str, tuple[str, str]] = {
    "pending": ("Waits", "warn"),
    "approved": ("Approved", "good"),
    "used": ("Approved, the call was made", "good"),
    "denied": ("Denied", "bad"),
    "expired": ("Not decided in time", "off"),
    "withdrawn": ("Not wanted any more", "off"),
}
"""The words and the tone of each state."""
VIA_WORDS: Mapping[str, str] = {
    "browser": "in the browser",
    "client": "in their client",
    "api": "over the API",
    "cli": "with the command line",
}
REMEMBER: Sequence[tuple[str, str]] = (
    ("", "This call only"),
    ("15-minutes", "15 minutes"),
    ("run", "Until this run ends"),
    ("24-hours", "24 hours"),
)
"""For how long an approval may be remembered, with the words of each."""
REMEMBER_SECONDS: Mapping[str, int] = {"15-minutes": 900, "run": 86_400, "24-hours": 86_400}


@dataclass(frozen=True, slots=True)
class VoteView:
    """What one person decided: `who`, `how` and when, with their comment."""

    who: str
    approves: bool
    how: str
    at: datetime
    comment: str


@dataclass(frozen=True, slots=True)
class GroupView:
    """So many of a group have to approve. `names` are the first of its members, `others` how many there are besides,
    and `approved` who of them has."""

    needed: int
    names: tuple[str, ...]
    others: int
    approved: tuple[str, ...]

    @property
    def left(self) -> int:
        return max(0, self.needed - len(self.approved))


@dataclass(frozen=True, slots=True)
class CallLineView:
    """Another call of the same run: its number, name and outcome."""

    number: int
    name: str
    outcome: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalView:
    """An approval. `asker` is whose call it is and `own` whether they look at it themselves; `portal` is where.

    `groups` have to approve, and with `person` also the asker. `justified`: the asker says what for, by the `prompt`.
    `run` is "" for a call outside of programs, `call` its number there. `refusal` is why the one who looks may not
    approve it, "" if they may, and `denial` the same of denying it. They may be administrators who see all of them.
    `because` says why this call needs it, where more than its name is the reason. `is_plan`: it is of all that a
    program would do, and of no single call.
    """

    id: str
    state: str
    tool: str
    server: str
    method: str
    destructive: bool
    portal: str
    asker: str
    own: bool
    client: str
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    policy: str
    groups: tuple[GroupView, ...]
    person: bool
    justified: bool
    prompt: str
    justification: str
    run: str
    call: int
    votes: tuple[VoteView, ...]
    digest: str
    refusal: str = ""
    denial: str = ""
    because: tuple[str, ...] = ()
    is_plan: bool = False

    @property
    def name(self) -> str:
        if self.is_plan:
            return "Plan"
        return f"{self.server}.{self.tool}" if self.tool else self.server

    @property
    def waits(self) -> bool:
        return self.state == "pending"

    @property
    def words(self) -> str:
        """Its state in words."""
        return STATE_WORDS.get(self.state, (self.state, "off"))[0]

    @property
    def tone(self) -> str:
        """The class of its state in the style sheet."""
        return STATE_WORDS.get(self.state, ("", "off"))[1]

    @property
    def must_say(self) -> bool:
        """Whether the one who looks has to say what the call is for, before anybody can approve it."""
        return self.own and self.waits and self.justified and not self.justification and not self.votes

    @property
    def may_approve(self) -> bool:
        return self.waits and not self.refusal

    @property
    def may_deny(self) -> bool:
        return self.waits and not self.denial


@dataclass(frozen=True, slots=True)
class RunApprovalsView:
    """The calls of one run that wait together, by tool; those without a run stand alone. `drawings` has the arguments
    of those that are short enough to stand in a list, by id; the others are on their own page. `ids` are all that a
    decision about the whole card is about: what was shown, and nothing that came later."""

    run: str
    asker: str
    own: bool
    client: str
    portal: str
    tools: tuple[tuple[str, tuple[ApprovalView, ...]], ...]
    drawings: Mapping[str, ArgumentsDrawing]

    @property
    def all(self) -> tuple[ApprovalView, ...]:
        return tuple(one for _, some in self.tools for one in some)

    @property
    def ids(self) -> tuple[str, ...]:
        """Those that may be approved and whose arguments are here: nobody approves what they were not shown."""
        return tuple(one.id for one in self.all if one.may_approve and not one.must_say and one.id in self.drawings)

    @property
    def deniable(self) -> tuple[str, ...]:
        return tuple(one.id for one in self.all if one.may_deny)


@dataclass(frozen=True, slots=True)
class GrantView:
    """A remembered approval: `who` needs none for `name` until `until`, `uses` more times (None for any number)."""

    id: str
    name: str
    who: str
    client: str
    run: str
    uses: int | None
    until: datetime
    granted_by: str
    created_at: datetime
    revocable: bool = True


def group_view(needed: int, emails: Collection[str], approved: Collection[str]) -> GroupView:
    """A group of these addresses, of which these have approved."""
    names = sorted(emails)
    return GroupView(
        needed,
        tuple(short_words(one, MAX_APPROVAL_WORDS) for one in names[:MOST_NAMES]),
        max(0, len(names) - MOST_NAMES),
        tuple(short_words(one, MAX_APPROVAL_WORDS) for one in names if one in approved),
    )


def vote_view(who: str, approves: bool, via: str, at: datetime, comment: str) -> VoteView:
    return VoteView(short_words(who, MAX_APPROVAL_WORDS), approves, VIA_WORDS.get(via, ""), at, seen_words(comment))


def cards(views: Sequence[ApprovalView], drawings: Mapping[str, ArgumentsDrawing]) -> list[RunApprovalsView]:
    """A card for each run of these, in the order in which they come, and one for each call that is of none."""
    runs: dict[tuple[str, str], list[ApprovalView]] = {}
    for one in views:
        runs.setdefault((one.portal, one.run or one.id), []).append(one)
    return [_card(some, drawings) for some in runs.values()]


def _card(views: Sequence[ApprovalView], drawings: Mapping[str, ArgumentsDrawing]) -> RunApprovalsView:
    tools: dict[str, list[ApprovalView]] = {}
    for one in sorted(views, key=lambda view: (view.call, view.created_at)):
        tools.setdefault(one.name, []).append(one)
    first = views[0]
    return RunApprovalsView(
        run=first.run,
        asker=first.asker,
        own=first.own,
        client=first.client,
        portal=first.portal,
        tools=tuple((name, tuple(some)) for name, some in tools.items()),
        drawings={one.id: drawings[one.id] for one in views if one.id in drawings},
    )
