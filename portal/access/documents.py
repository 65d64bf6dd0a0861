"""Policies, groups, lists and settings of capabilities as JSON, in Cloudflare's shapes where Cloudflare has one.

Members of Cloudflare's that a portal does not enforce (isolation, connection rules, ...) are accepted.
`unenforced` names them, so that their author is warned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from portal.access.approval_rules import LEAST_SECONDS, MOST_SECONDS, ApproveBy
from portal.access.errors import PolicyError
from portal.misfits import fitted, misfits
from portal.objects import (
    MAX_POLICIES,
    ApprovalGroups,
    Effect,
    GroupDocument,
    Id,
    ListDocument,
    OwnPolicy,
    PolicyDocument,
    PolicyLink,
    PortalServer,
    Rules,
    Settings,
    SomeRules,
    own_or_link,
    read_approval_groups,
    rules,
)

MAX_EXPRESSION = 2000
Text = rules.Text
MAX_PROMPT = 4096
Stamp = Annotated[str, Field(max_length=128)]
"""Which change of an object or of an entry of the configuration this is, "" where nobody counts these."""
_UNENFORCED = ("isolation_required", "mfa_config", "connection_rules")


class _Document(BaseModel):
    """The base of these models. Other stored members (dates, counts) are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AccessGroup(_Document):
    """A reusable set of rules. Its members match any of `include`, all of `require` and none of `exclude`."""

    id: Id
    name: str = ""
    include: SomeRules
    require: Rules = ()
    exclude: Rules = ()

    @classmethod
    def of(cls, id: str, document: GroupDocument) -> AccessGroup:
        """The stored group of this id."""
        return cls.model_construct(
            id=id, name=document.name, include=document.include, require=document.require, exclude=document.exclude
        )


class AccessList(_Document):
    """A list of e-mail addresses (`type` EMAIL) or of IP addresses and networks (IP)."""

    class Item(_Document):
        value: Text

    id: Id
    name: str = ""
    type: Literal["EMAIL", "IP"]
    items: Annotated[tuple[Item, ...], Field(max_length=100_000)] = ()
    stamp: Stamp = ""

    @classmethod
    def of(cls, id: str, document: ListDocument, stamp: str = "") -> AccessList:
        """The stored list of this id. `stamp` is another after each of its changes."""
        items = tuple(cls.Item.model_construct(value=item.value) for item in document.items)
        return cls.model_construct(id=id, name=document.name, type=document.type, items=items, stamp=stamp)


class Policy(_Document):
    """An Access policy. `precedence` orders the policies of one place, lowest first; those without one come last."""

    id: Id
    name: str = ""
    decision: Effect
    include: SomeRules
    require: Rules = ()
    exclude: Rules = ()
    precedence: int | None = None
    approval_required: bool = False
    approval_groups: ApprovalGroups = ()
    purpose_justification_required: bool = False
    purpose_justification_prompt: Annotated[str, Field(max_length=MAX_PROMPT)] | None = None
    unenforced: tuple[str, ...] = ()
    stamp: Stamp = ""

    @model_validator(mode="before")
    @classmethod
    def _collect_unenforced(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return {**value, "unenforced": tuple(name for name in _UNENFORCED if value.get(name))}
        return value

    @classmethod
    def of(cls, id: str, document: PolicyDocument, stamp: str = "") -> Policy:
        """The stored policy of this id, with the precedence of an application's own. `stamp` is another after each of
        its changes."""
        return cls.model_construct(
            id=id,
            name=document.name,
            decision=document.decision,
            include=document.include,
            require=document.require,
            exclude=document.exclude,
            precedence=document.precedence if isinstance(document, OwnPolicy) else None,
            approval_required=document.approval_required,
            approval_groups=read_approval_groups(document.approval_groups),
            purpose_justification_required=document.purpose_justification_required,
            purpose_justification_prompt=document.purpose_justification_prompt,
            unenforced=tuple(name for name in _UNENFORCED if getattr(document, name)),
            stamp=stamp,
        )


class UnreadablePolicy(Policy):
    """Stands for a stored policy that cannot be read.

    It denies everyone where it is attached, because the policy may have denied callers whom other policies allow.
    """

    @classmethod
    def with_id(cls, id: str) -> UnreadablePolicy:
        """The policy that stands for the one with this id."""
        everyone = rules.Everyone(everyone=rules.Empty())
        return cls.model_construct(id=id, name=f"{id} (cannot be read)", decision="deny", include=(everyone,))


class ToolMatch(_Document):
    """The tools that a tool policy covers. A member that is left out matches every tool; patterns may have `*` and `?`.

    `annotations` are compared with the tool's own. A hint that the tool does not have counts with MCP's default (a tool
    may be destructive unless it says otherwise). `expression` is CEL over `arguments`, `annotations`,
    `tool`, `server` and `identity`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    servers: tuple[Text, ...] = ()
    names: tuple[Text, ...] = ()
    annotations: Mapping[Text, bool] = Field(default_factory=dict)
    expression: Annotated[str, Field(max_length=MAX_EXPRESSION)] = ""


class ToolPolicy(_Document):
    """A policy about calls of single tools (ours). The first that matches decides; if none does, a call is allowed.

    `calls_per_run` bounds the calls that one program may make under an `allow`. With `approval_required` each of them
    needs an approval, of the groups or, without any, of the person: `approve_by` says which, and `client` lets the
    person answer in their client too. It is waited for `approval_seconds`. With `purpose_justification_required` the
    person says what for.
    """

    id: Id
    name: str = ""
    decision: Literal["allow", "deny"]
    include: SomeRules
    require: Rules = ()
    exclude: Rules = ()
    tools: ToolMatch = ToolMatch()
    calls_per_run: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    precedence: int | None = None
    approval_required: bool = False
    approval_groups: ApprovalGroups = ()
    approve_by: ApproveBy | None = None
    approval_seconds: Annotated[float, Field(ge=LEAST_SECONDS, le=MOST_SECONDS)] | None = None
    purpose_justification_required: bool = False
    purpose_justification_prompt: Annotated[str, Field(max_length=MAX_PROMPT)] | None = None
    stamp: Stamp = ""

    @model_validator(mode="after")
    def _only_an_allow_has_a_budget(self) -> ToolPolicy:
        if self.calls_per_run is not None and self.decision != "allow":
            raise ValueError("calls_per_run belongs to a policy whose decision is allow")
        return self

    @model_validator(mode="after")
    def _only_an_allow_asks(self) -> ToolPolicy:
        asks = self.approval_required or self.purpose_justification_required
        if asks and self.decision != "allow":
            raise ValueError("approval_required and purpose_justification_required belong to a policy that allows")
        if not self.approval_required and (self.approval_groups or self.approve_by or self.approval_seconds):
            raise ValueError("approval_groups, approve_by and approval_seconds need approval_required")
        if (self.approve_by == "group") != bool(self.approval_groups) and self.approve_by is not None:
            raise ValueError("approve_by group needs approval_groups, and nobody else has them")
        return self


def _attachment(value: object) -> str:
    """The tag of an attachment: `id`, `policy` (written in place: it has a decision or rules) or `link`."""
    if isinstance(value, str):
        return "id"
    return "policy" if isinstance(value, Policy) or own_or_link(value) == "own" else "link"


Attachment = Annotated[
    Annotated[Id, Tag("id")] | Annotated[PolicyLink, Tag("link")] | Annotated[Policy, Tag("policy")],
    Discriminator(_attachment),
]
Attached = Annotated[tuple[Attachment, ...], Field(max_length=MAX_POLICIES)]


class ServerAccess(_Document):
    """The policies and settings of a server, in every portal that has it."""

    id: Id
    policies: Attached = ()
    tool_policies: Annotated[tuple[ToolPolicy, ...], Field(max_length=MAX_POLICIES)] = ()
    updated_tools: Settings = ()
    updated_prompts: Settings = ()


class PortalAccess(_Document):
    """The policies and settings of a portal. Servers that are not in `servers` are listed unchanged."""

    name: str = ""
    policies: Attached = ()
    tool_policies: Annotated[tuple[ToolPolicy, ...], Field(max_length=MAX_POLICIES)] = ()
    servers: tuple[PortalServer, ...] = ()


class AccessDocument(_Document):
    """All that the access decisions of one portal depend on. `policies` are the reusable ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    portal: PortalAccess = PortalAccess()
    servers: tuple[ServerAccess, ...] = ()
    policies: Annotated[tuple[Policy, ...], Field(max_length=MAX_POLICIES)] = ()
    groups: Annotated[tuple[AccessGroup, ...], Field(max_length=MAX_POLICIES)] = ()
    lists: Annotated[tuple[AccessList, ...], Field(max_length=MAX_POLICIES)] = ()


def read_document(value: object, *, where: str = "") -> AccessDocument:
    """The document in this JSON value, validated.

    Raises:
        PolicyError: the value is not valid. The error names the place and the problem.
    """
    try:
        return fitted(AccessDocument, value)
    except ValidationError as error:
        first = misfits(error, value)[0]
        raise PolicyError(first.problem, where=": ".join(part for part in (where, first.dotted) if part)) from None
