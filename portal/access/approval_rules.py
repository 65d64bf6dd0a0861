"""What a policy says of approvals: whose, and how many, a call needs that the policy allows.

The fields are Cloudflare's (`approval_required`, `approval_groups`, `purpose_justification_required`). Of several
policies that apply to a call the strictest holds in everything: they become one rule, with all of their groups. One
rule is one question to people, who see the call once and whole; one question after the other would have the second
group approve what the first has approved long ago.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson

ApproveBy = Literal["group", "person", "client"]
"""Who approves: members of the groups, the person in the browser, or also the person in their client."""

DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS = 86_400.0, 300.0, 30 * 86_400.0
CLIENT_SECONDS = 900.0
"""How long an approval is waited for that is given in the client, unless the policy says otherwise."""
MAX_MEMBERS = 1000
"""People in one group. A larger one is no group of people who look at calls."""
_SHOWN = 5
_LEAST: tuple[ApproveBy, ...] = ("client", "person", "group")


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
    approve. `also_person`: so has the person whose call it is, beside the groups. `justified`: the person says what
    for. `seconds`: how long it is waited for. `because` says to whoever decides why this call needs it; without
    `memorable` it is good for this call alone."""

    policy: str
    policy_name: str
    revision: str
    by: ApproveBy
    groups: tuple[ApprovalGroup, ...] = ()
    also_person: bool = False
    justified: bool = False
    prompt: str = ""
    seconds: float = DEFAULT_SECONDS
    because: tuple[str, ...] = ()
    memorable: bool = True


def combined(rules: Sequence[ApprovalRule]) -> ApprovalRule | None:
    """The one rule that asks for all that these ask for; None of none."""
    distinct = list({(rule.policy, rule.revision): rule for rule in rules}.values())
    if len(distinct) <= 1:
        return distinct[0] if distinct else None
    by = max((rule.by for rule in distinct), key=_LEAST.index)
    names = [rule.policy_name or rule.policy for rule in distinct]
    return ApprovalRule(
        policy="+".join(rule.policy for rule in distinct)[:512],
        policy_name=", ".join(names)[:512],
        revision=digest_of([[rule.policy, rule.revision] for rule in distinct]),
        by=by,
        groups=tuple(dict.fromkeys(group for rule in distinct for group in rule.groups)),
        also_person=by == "group" and any(rule.also_person or rule.by != "group" for rule in distinct),
        justified=any(rule.justified for rule in distinct),
        prompt="\n".join(dict.fromkeys(rule.prompt for rule in distinct if rule.prompt)),
        seconds=min(rule.seconds for rule in distinct),
        because=tuple(dict.fromkeys(why for rule in distinct for why in rule.because)),
        memorable=all(rule.memorable for rule in distinct),
    )


def who_approves(rule: ApprovalRule) -> str:
    """Who has to approve a call, for whoever administers: it has addresses."""
    whom = [_group_in_words(group) for group in rule.groups]
    if rule.by != "group" or rule.also_person:
        channel = ", in the browser or their client" if rule.by == "client" else ""
        whom.append(f"the person whose call it is{channel}")
    said = ", who says what it is for" if rule.justified and whom[-1].startswith("the person") else ""
    also = ". The person whose call it is says what for" if rule.justified and not said else ""
    return f"the approval of {' and of '.join(whom)}{said}{also}"


def _group_in_words(group: ApprovalGroup) -> str:
    shown = sorted(group.emails)[:_SHOWN]
    more = [f"{len(group.emails) - _SHOWN} others"] if len(group.emails) > _SHOWN else []
    return f"{group.needed} of {', '.join([*shown, *more]) or 'nobody, so that nobody can approve it'}"


def digest_of(value: object) -> str:
    """A short text that is another for every other value of JSON."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:32]
