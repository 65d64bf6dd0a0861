"""Policies, groups, lists and settings of capabilities as JSON, in Cloudflare's shapes where Cloudflare has one.

Members of Cloudflare's that a portal does not enforce (purpose justification, isolation, approval, ...) are accepted
and named by `unenforced`, so that whoever wrote them hears of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from portal.access.errors import PolicyError
from portal.objects import (
    MAX_POLICIES,
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
    rules,
)

MAX_EXPRESSION = 2000
Text = rules.Text
_UNENFORCED = (
    *("approval_required", "isolation_required", "purpose_justification_required", "mfa_config"),
    *("connection_rules",),
)


class _Document(BaseModel):
    """What is stored beside what is read (dates, counts) is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AccessGroup(_Document):
    """A reusable set of rules: somebody is in it when any of `include`, all of `require`, none of `exclude` match."""

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

    @classmethod
    def of(cls, id: str, document: ListDocument) -> AccessList:
        """The stored list of this id."""
        items = tuple(cls.Item.model_construct(value=item.value) for item in document.items)
        return cls.model_construct(id=id, name=document.name, type=document.type, items=items)


class Policy(_Document):
    """`precedence` orders the policies of one place, the lowest first; without one they keep their order."""

    id: Id
    name: str = ""
    decision: Effect
    include: SomeRules
    require: Rules = ()
    exclude: Rules = ()
    precedence: int | None = None
    unenforced: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _note_unenforced(cls, given: object) -> object:
        if isinstance(given, Mapping):
            return {**given, "unenforced": tuple(name for name in _UNENFORCED if given.get(name))}
        return given

    @classmethod
    def of(cls, id: str, document: PolicyDocument) -> Policy:
        """The stored policy of this id, with the precedence of an application's own."""
        return cls.model_construct(
            id=id,
            name=document.name,
            decision=document.decision,
            include=document.include,
            require=document.require,
            exclude=document.exclude,
            precedence=document.precedence if isinstance(document, OwnPolicy) else None,
            unenforced=tuple(name for name in _UNENFORCED if getattr(document, name)),
        )


class UnreadablePolicy(Policy):
    """In the place of a stored policy that cannot be read. Where it is attached, nobody is let in: it may have denied
    somebody whom the other policies allow."""

    @classmethod
    def called(cls, id: str) -> UnreadablePolicy:
        """The one of this id."""
        everyone = rules.Everyone(everyone=rules.Empty())
        return cls.model_construct(id=id, name=f"{id} (cannot be read)", decision="deny", include=(everyone,))


class ToolMatch(_Document):
    """Which tools a tool policy is about. What is left out does not matter; patterns may have `*` and `?`.

    `annotations` are compared with what the server says of the tool, hints it does not give having the values MCP
    assumes (a tool may be destructive unless it says otherwise). `expression` is CEL over `arguments`, `annotations`,
    `tool`, `server` and `identity`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    servers: tuple[Text, ...] = ()
    names: tuple[Text, ...] = ()
    annotations: Mapping[Text, bool] = Field(default_factory=dict)
    expression: Annotated[str, Field(max_length=MAX_EXPRESSION)] = ""


class ToolPolicy(_Document):
    """Ours: what one may do of what a server policy lets one see. The first one that matches decides; none: allowed.

    `calls_per_run` bounds how often one program may make use of an `allow`.
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

    @model_validator(mode="after")
    def _budget_of_an_allow(self) -> ToolPolicy:
        if self.calls_per_run is not None and self.decision != "allow":
            raise ValueError("calls_per_run belongs to a policy whose decision is allow")
        return self


def _attachment(given: object) -> str:
    """An id, a link to a reusable policy, or a policy written in place: whatever says what it decides is one."""
    if isinstance(given, str):
        return "id"
    if isinstance(given, Policy) or (isinstance(given, Mapping) and given.keys() & {"decision", "include"}):
        return "policy"
    return "link"


Attachment = Annotated[
    Annotated[Id, Tag("id")] | Annotated[PolicyLink, Tag("link")] | Annotated[Policy, Tag("policy")],
    Discriminator(_attachment),
]
Attached = Annotated[tuple[Attachment, ...], Field(max_length=MAX_POLICIES)]


class ServerAccess(_Document):
    """What is attached to a server wherever it is used."""

    id: Id
    policies: Attached = ()
    tool_policies: Annotated[tuple[ToolPolicy, ...], Field(max_length=MAX_POLICIES)] = ()
    updated_tools: Settings = ()
    updated_prompts: Settings = ()


class PortalAccess(_Document):
    """What is attached to a portal. Servers that are not in `servers` are shown as they are."""

    name: str = ""
    policies: Attached = ()
    tool_policies: Annotated[tuple[ToolPolicy, ...], Field(max_length=MAX_POLICIES)] = ()
    servers: tuple[PortalServer, ...] = ()


class AccessDocument(_Document):
    """Everything that decides who may do what at one portal. `policies` are the reusable ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    portal: PortalAccess = PortalAccess()
    servers: tuple[ServerAccess, ...] = ()
    policies: Annotated[tuple[Policy, ...], Field(max_length=MAX_POLICIES)] = ()
    groups: Annotated[tuple[AccessGroup, ...], Field(max_length=MAX_POLICIES)] = ()
    lists: Annotated[tuple[AccessList, ...], Field(max_length=MAX_POLICIES)] = ()


def read_document(given: object, *, where: str = "") -> AccessDocument:
    """A document from JSON, checked.

    Raises:
        PolicyError: it is none; says the place and what is wrong there.
    """
    try:
        return AccessDocument.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        problem = first["msg"].removeprefix("Value error, ")
        raise PolicyError(problem, where=": ".join(part for part in (where, place) if part)) from None
