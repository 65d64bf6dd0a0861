"""Reusable policies and groups: `access/policies` and `access/groups`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from portal.access import Access, PolicyError, Rules, access_document, read_objects
from portal.admin.api.collection import Collection
from portal.admin.api.errors import conflict, invalid
from portal.admin.api.permissions import ORGANIZATION, POLICIES
from portal.state import Transaction

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


async def check_decisions(transaction: Transaction) -> None:
    """Refuse a change that would leave policies nobody could decide by, or an application without its page: a group,
    policy or page missing, or groups in a circle.

    Raises:
        AdminError: says which.
    """
    objects = await read_objects(transaction)
    policies = {one.id for one in objects.policies}
    groups = {one.id for one in objects.groups}
    pages = {one.id for one in await transaction.list("custom_page")}
    for app in objects.apps:
        if not pages.issuperset(app.document.get("custom_pages", ())):
            raise conflict(f"the application {app.document['name']!r} uses a custom page that is not there")
        for entry in app.document.get("policies", []):
            if "decision" not in entry and entry["id"] not in policies:
                raise conflict(f"the application {app.document['name']!r} uses a policy that is not there")
    for holder in (*objects.policies, *objects.groups):
        for rules in ("include", "require", "exclude"):
            for rule in holder.document.get(rules, ()):
                if "group" in rule and rule["group"]["id"] not in groups:
                    raise conflict(f"{holder.document['name']!r} uses a group that is not there")
    for id in [portal.id for portal in objects.portals] or [""]:
        try:
            Access(access_document(objects, id))
        except PolicyError as error:
            raise invalid(str(error)) from None
