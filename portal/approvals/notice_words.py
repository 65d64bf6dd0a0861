"""Who is told that a call waits for people, and in which words. Pure.

A mail and a webhook go where the portal decides nothing any more: they have who asks for which tool, and a link that
signs nobody in; never an argument, and not what the call is said to be for. The name that a client or a server gives
itself is on one line, with unseen characters written out, and no mail program makes a link of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, zip_longest

import orjson

from portal.approvals.model import Approval, Decider
from portal.approvals.votes import may_decide
from portal.notices import Message, normal_email
from portal.unseen import short_words

MAX_TARGETS = 100
"""People that are told of one approval by mail: of larger groups the first of each."""
MAX_LISTED = 20
"""Calls that one mail names; of more it says how many."""
MAX_NAMED = 100
"""Addresses in what a webhook gets."""
_MAX_WORDS = 80


@dataclass(frozen=True, slots=True)
class NoticePlace:
    """A portal as it is told of: its name, and the address below which its pages are."""

    name: str
    address: str

    def page(self, id: str) -> str:
        return f"{self.address}/approve/{id}"

    @property
    def all(self) -> str:
        return f"{self.address}/approvals"


def people(approval: Approval, *, members: bool, person: bool) -> tuple[str, ...]:
    """The addresses that a mail goes to: of the `members` of its groups who may approve now, and of the `person` whose
    call it is, if they have to confirm it or to say what it is for."""
    own = normal_email(approval.email)
    found: list[str] = []
    if members:
        may = (email for email in _members(approval) if may_decide(approval, _decider(approval, email, own)) is None)
        found += [email for email in may if normal_email(email) == email]
    if person and own is not None and own not in found and _waits_for_person(approval):
        found.insert(0, own)
    return tuple(found[:MAX_TARGETS])


def _waits_for_person(approval: Approval) -> bool:
    rule = approval.rule
    if approval.state != "pending" or any(vote.subject == approval.subject for vote in approval.votes):
        return False
    # What they may answer in their client they are asked there.
    in_browser = rule.by == "person" or (rule.by == "client" and approval.destructive)
    return in_browser or rule.also_person or (rule.justified and not approval.justification)


def _members(approval: Approval) -> Iterator[str]:
    """Of each group in turn, so that of all some are told where they are too many."""
    in_turn = zip_longest(*(sorted(group.emails) for group in approval.rule.groups))
    return iter(dict.fromkeys(email for email in chain.from_iterable(in_turn) if email is not None))


def _decider(approval: Approval, email: str, own: str | None) -> Decider:
    # Who has the address has not signed in here: whoever opens the page is asked.
    subject = approval.subject if email == own else f"address:{email}"
    return Decider(subject=subject, email=email, via="browser")


def letter(
    to: str, id: str, calls: Sequence[tuple[Approval, str]], place: NoticePlace, full_until: datetime | None
) -> Message:
    """The mail about these calls, each with the name of its client."""
    name = plain(place.name)
    count = len(calls)
    subject = f"{name}: {'a call waits' if count == 1 else f'{count} calls wait'} for your approval"
    lines = [f"{'A call waits' if count == 1 else f'{count} calls wait'} for your approval at {name}.", ""]
    for approval, client in calls[:MAX_LISTED]:
        ends = f"Ends at {approval.expires_at:%Y-%m-%d %H:%M} UTC"
        lines += [_call(approval), f"Asked for {_asker(approval, client)}", ends, place.page(approval.id), ""]
    if count > MAX_LISTED:
        lines += [f"And {count - MAX_LISTED} more.", ""]
    lines += ["All that waits for you:", place.all, ""]
    if full_until is not None:
        words = f"This is the last mail about calls before {full_until:%H:%M} UTC."
        lines += [f"{words} What comes till then is in one mail after that.", ""]
    lines += [
        "What a call carries is not in this mail: the page shows it when you have signed in. A link signs nobody in.",
        "Do not answer this mail: only what is decided on the page counts.",
    ]
    return Message(to, subject, "\n".join(lines), id)


def event_body(approval: Approval, client: str, place: NoticePlace) -> bytes:
    """What a webhook gets of an approval, as JSON."""
    approvers = list(_members(approval))
    data = {
        "portal": approval.portal,
        "portal_name": place.name,
        "approval": approval.id,
        "url": place.page(approval.id),
        "server": approval.server,
        "tool": short_words(approval.tool, 512),
        "method": approval.method,
        "requested_by": approval.email or approval.subject,
        "client": short_words(approval.client, 512),
        "client_name": short_words(client, _MAX_WORDS),
        "run": approval.run or None,
        "by": approval.rule.by,
        "policy": approval.rule.policy,
        "policy_name": approval.rule.policy_name,
        "approvers": approvers[:MAX_NAMED],
        "approvers_left_out": max(0, len(approvers) - MAX_NAMED),
        "expires_at": approval.expires_at.isoformat(),
        "text": f"{_call(approval)} waits for approval, asked for {_asker(approval, client)}.",
    }
    told = {"type": "approval.requested", "timestamp": approval.created_at.isoformat(), "data": data}
    return orjson.dumps(told)


def plain(text: str) -> str:
    """The text on one line, with what is not seen written out and nothing that a mail program makes a link of."""
    line = short_words(" ".join(text.split()), _MAX_WORDS)
    return line.replace(".", "[.]").replace("://", "[:]//").replace("@", "[@]")


def _call(approval: Approval) -> str:
    return f"{plain(approval.tool)} of {plain(approval.server)}"


def _asker(approval: Approval, client: str) -> str:
    email = normal_email(approval.email)
    who = f"by {email}" if email is not None else f"by {plain(approval.email or approval.subject)}"
    through = client or approval.client
    return f"{who} through {plain(through)}" if through else who
