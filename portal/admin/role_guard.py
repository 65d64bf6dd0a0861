"""Keeps what the rules of roles look at to those who have these roles.

A group, a list or an identity provider by which somebody gets a role gives that role to whoever may change it. So who
lacks a permission of the role changes none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from portal.access import AccessGroup
from portal.admin.api.errors import forbidden
from portal.admin.api.operations import ApiRequest
from portal.admin.api.permissions import permissions_of_role
from portal.admin.roles import ROLE_RULES, ROLE_RULES_ID, RoleRules
from portal.config import IdentitySection
from portal.login import ROLES
from portal.objects import GROUP, IDENTITY_PROVIDER, LIST, GroupDocument, rules
from portal.state import Stored, Transaction

Holder = RoleRules | GroupDocument | AccessGroup


@dataclass(frozen=True, slots=True)
class RoleGuard:
    """`section` gives the section of the configuration that is in force: its groups may name stored ones."""

    section: Callable[[], IdentitySection | None] = field(default=lambda: None)

    async def require(self, transaction: Transaction, request: ApiRequest, kind: str, id: str) -> None:
        """Require that the caller has every role that this object (`id` is "" for a new one) may give.

        Raises:
            AdminError: 403, with the role.
        """
        found = await transaction.find(ROLE_RULES, ROLE_RULES_ID)
        if not isinstance(found, Stored):
            # Rules that cannot be read give nobody a role.
            return
        groups: Mapping[str, Holder] | None = None
        for role in ROLES:
            role_rules = found.document.rules_of(role)
            if role_rules is None or permissions_of_role(role) <= request.caller.permissions:
                continue
            if kind != IDENTITY_PROVIDER.name:
                groups = await self._groups(transaction) if groups is None else groups
                if (kind, id) not in looked_at(role_rules, groups):
                    continue
            # A provider says itself who signs in there: each may be one that the rules let in.
            raise forbidden(f"this may give somebody the role {role}: it is changed by who has that role")

    async def _groups(self, transaction: Transaction) -> Mapping[str, Holder]:
        section = self.section()
        documented: Sequence[AccessGroup] = ()
        if section is not None:
            try:
                documented = [AccessGroup.model_validate(one) for one in section.groups]
            except ValidationError:
                # Then the rules of roles cannot be compiled, and give nobody a role.
                documented = ()
        stored = {one.id: one.document for one in await transaction.list(GROUP)}
        return {**{one.id: one for one in documented}, **stored}


def looked_at(holder: Holder, groups: Mapping[str, Holder]) -> frozenset[tuple[str, str]]:
    """The kinds and ids of the groups and lists that these rules look at, also by way of groups."""
    found: set[tuple[str, str]] = set()
    waiting: list[Holder] = [holder]
    while waiting:
        one = waiting.pop()
        for rule in (*one.include, *one.require, *one.exclude):
            if isinstance(rule, rules.EmailList):
                found.add((LIST.name, rule.email_list.id))
            elif isinstance(rule, rules.IpList):
                found.add((LIST.name, rule.ip_list.id))
            elif isinstance(rule, rules.InGroup) and (GROUP.name, rule.group.id) not in found:
                found.add((GROUP.name, rule.group.id))
                if (inner := groups.get(rule.group.id)) is not None:
                    waiting.append(inner)
    return frozenset(found)
