"""The roles of administrators: as the API shows them, and who has which.

A local account has its own role. Anybody else has the highest one whose rules let them in: rules of Access, over what
their identity provider said when they signed in, so that a group there can be a role here. What cannot be known, and
what cannot be read, gives nobody a role.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from pydantic import BaseModel, ValidationError

from portal.access import AccessGroup, AccessList, Policies, PolicyError, Sources, compile_policies, read_objects
from portal.access import Policy as AccessPolicy
from portal.admin.api.permissions import AREAS, permissions_of_role
from portal.config import IdentitySection
from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.login import ADMINISTRATOR, IDP, ROLES, Role
from portal.objects import GROUP, IDENTITY_PROVIDER, LIST, Document, Rules, SomeRules
from portal.state import Kept, Kind, Store, Stored, Transaction

_NAMES: Mapping[Role, tuple[str, str]] = {
    "owner": ("Owner", "Everything."),
    "admin": ("Administrator", "Changes everything but administrators, API tokens and account settings."),
    "auditor": ("Auditor", "Reads everything, and changes nothing."),
}


class PermissionGrant(BaseModel):
    read: bool
    write: bool


class ShownRole(BaseModel):
    """A role in Cloudflare's shape. `permissions` are by area of the API, `key` is what this portal calls the role."""

    id: str
    key: Role
    name: str
    description: str
    permissions: Mapping[str, PermissionGrant]


def role_id(role: Role) -> str:
    """The stable id of a role: 32 hexadecimal digits."""
    return hashlib.sha256(f"role {role}".encode()).hexdigest()[:32]


_BY_ID: Mapping[str, Role] = {role_id(role): role for role in ROLES}


def role_of_id(id: str) -> Role | None:
    """The role with this id. Its key is one too."""
    return _BY_ID.get(id) or next((role for role in ROLES if role == id), None)


def shown_role(role: Role) -> ShownRole:
    """A role, with what it may do."""
    name, description = _NAMES[role]
    held = permissions_of_role(role)
    permissions = {
        re.sub(r"[^a-z]+", "_", area.name.lower()): PermissionGrant(
            read=area.allows(held, writing=False), write=area.allows(held, writing=True)
        )
        for area in AREAS
    }
    return ShownRole(id=role_id(role), key=role, name=name, description=description, permissions=permissions)


class RoleRules(Document):
    """Who has a role: whoever matches one of `include`, all of `require` and none of `exclude`."""

    include: SomeRules
    require: Rules = ()
    exclude: Rules = ()


class RolesDocument(Document):
    """The rules of each role, by its key. A role without rules is that of local accounts alone."""

    owner: RoleRules | None = None
    admin: RoleRules | None = None
    auditor: RoleRules | None = None

    def rules_of(self, role: Role) -> RoleRules | None:
        rules: RoleRules | None = getattr(self, role)
        return rules


ROLE_RULES, ROLE_RULES_ID = Kind("settings", RolesDocument), "administrator_roles"


async def role_holders(transaction: Transaction) -> list[tuple[str, RoleRules]]:
    """The rules of roles that are stored, each with what a sentence calls it."""
    found = await transaction.find(ROLE_RULES, ROLE_RULES_ID)
    if not isinstance(found, Stored):
        return []
    held = [(f"the role {role}", found.document.rules_of(role)) for role in ROLES]
    return [(name, rules) for name, rules in held if rules is not None]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The rules in force, and the section of the configuration that they were compiled with."""

    section: IdentitySection | None = field(repr=False)
    roles: Mapping[Role, Policies]


class AdministratorRoles:
    """Who has which role now. `section` gives the section of the configuration that is in force: its groups and lists
    are those of rules too.

    A question costs no reading of the store until something changes there: at once in this process, within half a
    second by another. Close it before its store.
    """

    def __init__(self, store: Store, section: Callable[[], IdentitySection | None] = lambda: None) -> None:
        self._store = store
        self._section = section
        self._accounts = Kept(store, {ADMINISTRATOR.name}, self._read_accounts)
        kinds = {ROLE_RULES.name, GROUP.name, LIST.name, IDENTITY_PROVIDER.name}
        self._compiled = Kept(store, kinds, self._read_rules)
        self._log = structlog.get_logger("portal.admin")

    def close(self) -> None:
        self._accounts.close()
        self._compiled.close()

    async def of(self, identity: Identity) -> Role | None:
        """The role of somebody who has signed in; None for nobody in particular, and for whoever has none.

        Raises:
            StateUnavailable: it is not known, and the store does not answer.
        """
        if not identity.logged_in:
            return None
        if identity.idp_id == IDP or identity.id.startswith(f"{IDP}:"):
            return (await self._accounts.get()).get(identity.id)
        compiled = await self._compiled.get()
        if compiled.section is not self._section():
            self._compiled.forget()
            compiled = await self._compiled.get()
        return next((role for role in ROLES if _lets_in(compiled.roles.get(role), identity)), None)

    async def _read_accounts(self) -> Mapping[str, Role]:
        return {f"{IDP}:{stored.id}": stored.document.role for stored in await self._store.list(ADMINISTRATOR)}

    async def _read_rules(self) -> _Compiled:
        section = self._section()
        found = await self._store.find(ROLE_RULES, ROLE_RULES_ID)
        if not isinstance(found, Stored):
            if found is not None:
                self._log.error("the rules of roles cannot be read; they give nobody a role", why=found.problem)
            return _Compiled(section, {})
        try:
            return _Compiled(section, await self._compile(found.document, section))
        except (PolicyError, ValidationError) as error:
            self._log.error("the rules of roles cannot be used; they give nobody a role", why=str(error))
            return _Compiled(section, {})

    async def _compile(self, document: RolesDocument, section: IdentitySection | None) -> Mapping[Role, Policies]:
        objects = await read_objects(self._store)
        providers = {one.id: one.document.type for one in await self._store.list(IDENTITY_PROVIDER)}
        providers[LOCAL_ACCOUNTS] = LOCAL_ACCOUNTS
        groups, lists = objects.reusable_groups, objects.reusable_lists
        if section is not None:
            groups = [*map(AccessGroup.model_validate, section.groups), *groups]
            lists = [*map(AccessList.model_validate, section.lists), *lists]
            if section.pin:
                providers["onetimepin"] = "onetimepin"
        sources = Sources(identity_providers=providers)
        compiled: dict[Role, Policies] = {}
        for role in ROLES:
            if (rules := document.rules_of(role)) is not None:
                # One for each role: what they have in common is small, and a highest role is asked for.
                policy = AccessPolicy(
                    id=role,
                    decision="allow",
                    include=rules.include,
                    require=rules.require,
                    exclude=rules.exclude,
                )
                compiled[role] = compile_policies([policy], groups, lists, sources)
        return compiled


def _lets_in(policies: Policies | None, identity: Identity) -> bool:
    return policies is not None and policies.decide(identity).allowed
