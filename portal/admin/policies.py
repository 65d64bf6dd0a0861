"""Reusable policies and groups: `access/policies` and `access/groups`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from portal.access.documents import Rules
from portal.admin.collection import Collection
from portal.admin.permissions import ORGANIZATION, POLICIES

Name = Annotated[str, Field(min_length=1, max_length=255)]
Duration = Annotated[str, Field(max_length=32, pattern=r"^(\d+(ns|us|µs|ms|s|m|h))+$")]
Some = Annotated[Rules, Field(min_length=1)]


class _Settings(BaseModel):
    """What Cloudflare has beside the rules. What a portal does not enforce is kept and given back."""

    approval_groups: Annotated[tuple[Mapping[str, Any], ...], Field(max_length=100)] = ()
    approval_required: bool = False
    connection_rules: Mapping[str, Any] | None = None
    isolation_required: bool = False
    mfa_config: Mapping[str, Any] | None = None
    purpose_justification_prompt: Annotated[str, Field(max_length=4096)] | None = None
    purpose_justification_required: bool = False
    session_duration: Duration | None = None


class PolicyBody(_Settings):
    name: Name
    decision: Literal["allow", "deny", "non_identity", "bypass"]
    include: Some
    require: Rules = ()
    exclude: Rules = ()


class ShownPolicy(PolicyBody):
    id: str
    reusable: Literal[True] = True
    created_at: datetime
    updated_at: datetime


class GroupBody(BaseModel):
    name: Name
    include: Some
    require: Rules = ()
    exclude: Rules = ()


class ShownGroup(GroupBody):
    id: str
    created_at: datetime
    updated_at: datetime


class Policies(Collection):
    kind, path, noun, area = "policy", "/access/policies", "policy", POLICIES
    body, shown = PolicyBody, ShownPolicy


class Groups(Collection):
    kind, path, noun, area = "group", "/access/groups", "group", ORGANIZATION
    body, shown = GroupBody, ShownGroup
