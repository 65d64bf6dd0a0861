"""The rules that give people of an identity provider a role: `access/ai-controls/roles` (ours)."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict

from portal.admin.api.collection import Check, unchecked
from portal.admin.api.errors import forbidden
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import ACCOUNT, permissions_of_role
from portal.admin.api.revisions import whole
from portal.admin.roles import ROLE_RULES, ROLE_RULES_ID, RoleRules, RolesDocument
from portal.login import ROLES
from portal.state import Store, Stored

PATH = "/access/ai-controls/roles"


class RoleRulesBody(RoleRules):
    """The rules of one role. A member that is not known is refused: it may be one that excludes, misspelled."""

    model_config = ConfigDict(extra="forbid")


class RolesBody(RolesDocument):
    """The rules of each role. A role that is left out has none."""

    model_config = ConfigDict(extra="forbid")

    owner: RoleRulesBody | None = None
    admin: RoleRulesBody | None = None
    auditor: RoleRulesBody | None = None


class ShownRoles(RolesDocument):
    updated_at: datetime | None = None


class RoleRulesOperations:
    """`check` sees the result of each change in its transaction, and raises where it cannot be."""

    def __init__(self, store: Store, check: Check = unchecked) -> None:
        self._store = store
        self._check = check

    def operations(self) -> list[Operation]:
        show, change = "Show which people of identity providers have a role", "Set who of identity providers has a role"
        of = whole(self._store, ROLE_RULES, "rules of the roles", lambda path: ROLE_RULES_ID, always=True)
        return [
            Operation("GET", PATH, show, self._get, ShownRoles, ACCOUNT, of=of),
            Operation("PUT", PATH, change, self._replace, ShownRoles, ACCOUNT, RolesBody, of=of),
        ]

    async def _get(self, request: ApiRequest) -> ShownRoles:
        return _shown(await self._store.get(ROLE_RULES, ROLE_RULES_ID))

    async def _replace(self, request: ApiRequest) -> ShownRoles:
        body = request.read(RolesBody)
        for role in ROLES:
            if body.rules_of(role) is not None and not permissions_of_role(role) <= request.caller.permissions:
                raise forbidden(f"Authentication error: the caller has not all the permissions of the role {role}")
        document = RolesDocument.model_validate(body.model_dump(by_alias=True))
        async with request.transaction(self._store) as transaction:
            existing = await transaction.find(ROLE_RULES, ROLE_RULES_ID)
            write = transaction.create if existing is None else transaction.replace
            written = await write(ROLE_RULES, ROLE_RULES_ID, document, by=request.by)
            await self._check(transaction)
        return _shown(written)


def _shown(stored: Stored[RolesDocument] | None) -> ShownRoles:
    if stored is None:
        return ShownRoles()
    return ShownRoles.model_validate({**stored.document.model_dump(by_alias=True), "updated_at": stored.modified_at})
