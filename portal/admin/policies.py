"""Reusable policies and groups: `access/policies` and `access/groups`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator

from portal.access import Access, PolicyError, access_document, read_objects
from portal.admin.api.collection import Collection, Removed
from portal.admin.api.errors import conflict, in_use, invalid
from portal.admin.api.operations import ApiRequest
from portal.admin.api.permissions import ORGANIZATION, POLICIES
from portal.admin.roles import RoleRules, role_holders
from portal.misfits import misfits
from portal.objects import (
    APP,
    CUSTOM_PAGE,
    GROUP,
    MAX_APPROVAL_GROUPS,
    POLICY,
    ApprovalGroupDocument,
    Effect,
    GroupDocument,
    OwnPolicy,
    PolicyDocument,
    Rules,
    SomeRules,
    rules,
)
from portal.state import Transaction

Name = Annotated[str, Field(min_length=1, max_length=255)]
Duration = Annotated[str, Field(max_length=32, pattern=r"^(\d+(ns|us|µs|ms|s|m|h))+$")]


def check_approval_groups(groups: tuple[Mapping[str, object], ...]) -> tuple[Mapping[str, object], ...]:
    """These groups.

    Raises:
        ValueError: one is not of Cloudflare's form, or has fewer people than have to approve.
    """
    if len(groups) > MAX_APPROVAL_GROUPS:
        raise ValueError(f"has more than {MAX_APPROVAL_GROUPS} groups")
    for group in groups:
        try:
            read = ApprovalGroupDocument.model_validate(group)
        except ValidationError as error:
            first = misfits(error, group)[0]
            raise ValueError(f"has a group that does not fit: {first.dotted}: {first.problem}") from None
        people = {address.strip().lower() for address in read.email_addresses}
        if read.email_list_uuid is None and len(people) < max(1, read.approvals_needed):
            raise ValueError(f"has a group of {len(people)} people, of whom {read.approvals_needed} have to approve")
    return groups


class PolicyBody(PolicyDocument):
    """The body of a policy. Members that a portal does not enforce are stored and returned. An approval group has at
    least as many people as have to approve."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    decision: Effect
    include: SomeRules
    require: Rules = ()
    exclude: Rules = ()
    purpose_justification_prompt: Annotated[str, Field(max_length=4096)] | None = None
    session_duration: Duration | None = None

    _approvable = field_validator("approval_groups")(check_approval_groups)


class ShownPolicy(PolicyBody):
    id: str
    reusable: Literal[True] = True
    created_at: datetime
    updated_at: datetime


class GroupBody(GroupDocument):
    """The body of a group."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    include: SomeRules
    require: Rules = ()
    exclude: Rules = ()


class ShownGroup(GroupBody):
    id: str
    created_at: datetime
    updated_at: datetime


class PolicyOperations(Collection[PolicyBody, PolicyDocument]):
    kind, path, noun, area = POLICY, "/access/policies", "policy", POLICIES
    body, answer = PolicyBody, ShownPolicy

    def document(self, body: PolicyBody, before: PolicyDocument | None) -> PolicyDocument:
        return body

    async def delete(self, request: ApiRequest) -> Removed:
        """The id of the policy that is removed.

        Raises:
            AdminError: 409 while an application attaches it.
        """
        async with request.transaction(self._store) as transaction:
            for app in await transaction.list(APP):
                if any(
                    not isinstance(one, OwnPolicy) and one.id == request.path["id"] for one in app.document.policies
                ):
                    raise in_use(f"the application {app.document.name!r} uses this policy; detach it there first")
            deleted = await transaction.delete(POLICY, request.path["id"], by=request.by)
            await self._check(transaction)
        return Removed(id=deleted.id)


class GroupOperations(Collection[GroupBody, GroupDocument]):
    kind, path, noun, area = GROUP, "/access/groups", "group", ORGANIZATION
    body, answer = GroupBody, ShownGroup

    def document(self, body: GroupBody, before: GroupDocument | None) -> GroupDocument:
        return body

    async def delete(self, request: ApiRequest) -> Removed:
        """The id of the group that is removed.

        Raises:
            AdminError: 409 while a policy or another group names it.
        """
        id = request.path["id"]
        async with request.transaction(self._store) as transaction:
            await self._guard(transaction, request, self.kind.name, id)
            holders: list[PolicyDocument | GroupDocument] = [one.document for one in await transaction.list(POLICY)]
            holders += [one.document for one in await transaction.list(GROUP) if one.id != id]
            for app in await transaction.list(APP):
                holders += [one for one in app.document.policies if isinstance(one, OwnPolicy)]
            if (user := next((one.name for one in holders if id in _groups_of(one)), None)) is not None:
                raise in_use(f"{user!r} uses this group; take it out there first")
            deleted = await transaction.delete(GROUP, id, by=request.by)
            await self._check(transaction)
        return Removed(id=deleted.id)


def _groups_of(holder: PolicyDocument | GroupDocument) -> set[str]:
    holds = (*holder.include, *holder.require, *holder.exclude)
    return {rule.group.id for rule in holds if isinstance(rule, rules.InGroup)}


async def check_decisions(transaction: Transaction) -> None:
    """Require that every policy can be evaluated and every application has its policies and custom pages.

    Raises:
        AdminError: a group, policy or page is missing, or groups include each other. The message says which.
    """
    objects = await read_objects(transaction)
    pages = await transaction.scan(CUSTOM_PAGE)
    # An object that cannot be read counts as present. Otherwise it would block every other change.
    known_pages = {one.id for one in pages.stored} | {one.id for one in pages.broken}
    policies = {one.id for one in objects.policies} | objects.broken_ids(POLICY.name)
    groups = {one.id for one in objects.groups} | objects.broken_ids(GROUP.name)
    for app in objects.apps:
        if not known_pages.issuperset(app.document.custom_pages):
            raise conflict(f"the application {app.document.name!r} uses a custom page that does not exist")
        for entry in app.document.policies:
            if not isinstance(entry, OwnPolicy) and entry.id not in policies:
                raise conflict(f"the application {app.document.name!r} uses a policy that does not exist")
    holders: list[PolicyDocument | GroupDocument] = [one.document for one in objects.policies]
    holders += [one.document for one in objects.groups]
    named: list[tuple[str, PolicyDocument | GroupDocument | RoleRules]] = [
        (repr(holder.name), holder) for holder in holders
    ]
    for name, holder in [*named, *await role_holders(transaction)]:
        for rule in (*holder.include, *holder.require, *holder.exclude):
            if isinstance(rule, rules.InGroup) and rule.group.id not in groups:
                raise conflict(f"{name} uses a group that does not exist")
    for id in [portal.id for portal in objects.portals] or [""]:
        try:
            Access(access_document(objects, id))
        except PolicyError as error:
            raise invalid(str(error)) from None
