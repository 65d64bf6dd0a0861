"""The roles of administrators: as the API shows them, and who has which."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from pydantic import BaseModel

from portal.admin.api.permissions import AREAS, permissions_of_role
from portal.login import ROLES, Role

_NAMES: Mapping[Role, tuple[str, str]] = {
    "owner": ("Owner", "Everything."),
    "admin": ("Administrator", "Everything but to change administrators, API tokens and account settings."),
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
