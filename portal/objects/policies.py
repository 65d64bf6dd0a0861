"""Reusable policies, groups and lists, and the policies that applications attach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, ValidationError

from portal.objects.base import Document
from portal.objects.rules import Rule, Text
from portal.state import Kind

MAX_RULES = 1000
MAX_POLICIES = 1000
MAX_LIST = 100_000
MAX_APPROVERS = 1000
MAX_APPROVAL_GROUPS = 20
Rules = Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)]
SomeRules = Annotated[tuple[Rule, ...], Field(min_length=1, max_length=MAX_RULES)]
Id = Annotated[str, Field(max_length=256)]
Effect = Literal["allow", "deny", "non_identity", "bypass"]


class ApprovalGroupDocument(Document):
    """So many of these people have to approve a call: `email_addresses`, and those of the list `email_list_uuid`. None
    needed counts as one."""

    approvals_needed: Annotated[int, Field(ge=0, le=MAX_APPROVERS)]
    email_addresses: Annotated[tuple[Text, ...], Field(max_length=MAX_APPROVERS)] = ()
    email_list_uuid: Id | None = None


def read_approval_groups(groups: Sequence[Mapping[str, object]]) -> tuple[ApprovalGroupDocument, ...]:
    """The groups of a stored policy. One that cannot be read has nobody who could approve."""
    read: list[ApprovalGroupDocument] = []
    for group in groups[:MAX_APPROVAL_GROUPS]:
        try:
            read.append(ApprovalGroupDocument.model_validate(group))
        except ValidationError:
            read.append(ApprovalGroupDocument(approvals_needed=1))
    return tuple(read)


ApprovalGroups = Annotated[tuple[ApprovalGroupDocument, ...], Field(max_length=MAX_APPROVAL_GROUPS)]


class PolicyDocument(Document):
    """A policy. The members after `exclude` are Cloudflare's. Those about approvals and the purpose hold for each call
    that the policy lets somebody make; the others are stored, returned and not enforced. An approval group that is not
    of the form of `ApprovalGroupDocument` is one of nobody."""

    name: str = ""
    decision: Effect
    include: SomeRules
    require: Rules = ()
    exclude: Rules = ()
    approval_groups: tuple[Mapping[str, object], ...] = ()
    approval_required: bool = False
    connection_rules: Mapping[str, object] | None = None
    isolation_required: bool = False
    mfa_config: Mapping[str, object] | None = None
    purpose_justification_prompt: str | None = None
    purpose_justification_required: bool = False
    session_duration: str | None = None


class OwnPolicy(PolicyDocument):
    """A policy that belongs to one application only."""

    id: Id
    precedence: int | None = None


class PolicyLink(Document):
    """A reference of an application to a reusable policy."""

    id: Id
    precedence: int | None = None


class GroupDocument(Document):
    """A reusable set of rules."""

    name: str = ""
    include: SomeRules
    require: Rules = ()
    exclude: Rules = ()


class ListItem(Document):
    """`created_at` is the time at which the value was added to the list."""

    value: Text
    description: str = ""
    created_at: datetime | None = None


class ListDocument(Document):
    """A list of e-mail addresses (`type` EMAIL) or of IP addresses and networks (IP)."""

    name: str = ""
    type: Literal["EMAIL", "IP"]
    description: str = ""
    items: Annotated[tuple[ListItem, ...], Field(max_length=MAX_LIST)] = ()


def own_or_link(value: object) -> str:
    """The tag of an attached policy: `own` if it has a decision or rules, otherwise `link`."""
    if isinstance(value, OwnPolicy):
        return "own"
    if not isinstance(value, Mapping):
        return "link"
    return "link" if value.get("decision") is None and value.get("include") is None else "own"


AttachedPolicy = Annotated[
    Annotated[OwnPolicy, Tag("own")] | Annotated[PolicyLink, Tag("link")], Discriminator(own_or_link)
]

POLICY = Kind("policy", PolicyDocument)
GROUP = Kind("group", GroupDocument)
LIST = Kind("list", ListDocument)
