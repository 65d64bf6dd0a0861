"""The permissions of API tokens and of administrators, under Cloudflare's names. A permission that is not granted is
denied. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portal.login import Role


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the API. Permission to write includes permission to read."""

    name: str

    @property
    def read(self) -> str:
        return f"{self.name} Read"

    @property
    def write(self) -> str:
        return f"{self.name} Write"

    def allows(self, permissions: frozenset[str], *, writing: bool) -> bool:
        return self.write in permissions or (not writing and self.read in permissions)


PORTALS = Area("MCP Portals")
APPROVALS = Area("MCP Approvals")
POLICIES = Area("Access: Apps and Policies")
ORGANIZATION = Area("Access: Organizations, Identity Providers, and Groups")
SERVICE_TOKENS = Area("Access: Service Tokens")
CUSTOM_PAGES = Area("Access: Custom Pages")
POSTURE = Area("Access: Device Posture")
ZERO_TRUST = Area("Zero Trust")
LOGS = Area("Logs")
API_TOKENS = Area("Account API Tokens")
ACCOUNT = Area("Account Settings")

AREAS = (
    PORTALS,
    APPROVALS,
    POLICIES,
    ORGANIZATION,
    SERVICE_TOKENS,
    CUSTOM_PAGES,
    POSTURE,
    ZERO_TRUST,
    LOGS,
    API_TOKENS,
    ACCOUNT,
)
ALL = frozenset(name for area in AREAS for name in (area.read, area.write))
READING = frozenset(area.read for area in AREAS)
OF_OWNERS = frozenset({ACCOUNT.write, API_TOKENS.write})
"""The permissions that are as good as a way to every other one."""


_OF_ROLES: Mapping[Role, frozenset[str]] = {"owner": ALL, "admin": ALL - OF_OWNERS, "auditor": READING}


def permissions_of_role(role: Role) -> frozenset[str]:
    """What an administrator of this role may do."""
    return _OF_ROLES[role]


def group_id(permission: str) -> str:
    """The stable id of a permission in the policies of a token: 32 hexadecimal digits."""
    return hashlib.sha256(permission.encode()).hexdigest()[:32]


_BY_ID = {group_id(name): name for name in ALL}


def permissions_of_ids(ids: Iterable[str]) -> frozenset[str]:
    """The permissions with these ids. An unknown id grants nothing."""
    return frozenset(_BY_ID[id] for id in ids if id in _BY_ID)


def permission_of_id(id: str) -> str | None:
    return _BY_ID.get(id)
