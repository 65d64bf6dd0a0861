"""The access document of a portal, from the stored policies, groups, lists, applications, servers and portals.

Policies are attached to applications: one of type `mcp_portal` is for the portal of its domain, one of type `mcp` for
the servers its destinations name. A policy that is attached nowhere decides nothing.

An object that cannot be read must not allow more than before. Access is denied to everyone where a broken policy is
attached, and where a broken application may have attached one. A rule with a broken group or list cannot be known. A
broken server is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from portal.access.documents import (
    AccessDocument,
    AccessGroup,
    AccessList,
    Attachment,
    Policy,
    ServerAccess,
    UnreadablePolicy,
    read_document,
)
from portal.objects import (
    APP,
    GROUP,
    LIST,
    POLICY,
    PORTAL,
    SERVER,
    AppDocument,
    AttachedPolicy,
    GroupDocument,
    ListDocument,
    OwnPolicy,
    PolicyDocument,
    PortalDocument,
    ServerDocument,
)

if TYPE_CHECKING:
    from portal.state import Broken, Store, Stored, Transaction

KINDS = tuple(kind.name for kind in (PORTAL, SERVER, POLICY, GROUP, LIST, APP))


@dataclass(frozen=True, slots=True)
class Objects:
    """The stored objects that access depends on. `broken` are the objects of these kinds that cannot be read."""

    portals: Sequence[Stored[PortalDocument]] = ()
    servers: Sequence[Stored[ServerDocument]] = ()
    policies: Sequence[Stored[PolicyDocument]] = ()
    groups: Sequence[Stored[GroupDocument]] = ()
    lists: Sequence[Stored[ListDocument]] = ()
    apps: Sequence[Stored[AppDocument]] = ()
    broken: Sequence[Broken] = ()

    def broken_ids(self, kind: str) -> frozenset[str]:
        """The ids of the objects of one kind that cannot be read."""
        return frozenset(one.id for one in self.broken if one.kind == kind)

    @property
    def reusable_policies(self) -> list[Policy]:
        """The policies that links refer to. One that cannot be read is replaced by one that denies everyone."""
        unreadable = [UnreadablePolicy.with_id(id) for id in sorted(self.broken_ids(POLICY.name))]
        return [*(Policy.of(one.id, one.document, one.stamp) for one in self.policies), *unreadable]

    @property
    def reusable_groups(self) -> list[AccessGroup]:
        return [AccessGroup.of(one.id, one.document) for one in self.groups]

    @property
    def reusable_lists(self) -> list[AccessList]:
        return [AccessList.of(one.id, one.document, one.stamp) for one in self.lists]


NOTHING_STORED = Objects()


async def read_objects(store: Store | Transaction) -> Objects:
    """The current objects of the store."""
    portals, servers, policies = await store.scan(PORTAL), await store.scan(SERVER), await store.scan(POLICY)
    groups, lists, apps = await store.scan(GROUP), await store.scan(LIST), await store.scan(APP)
    broken = [entry for scan in (portals, servers, policies, groups, lists, apps) for entry in scan.broken]
    return Objects(
        portals.stored, servers.stored, policies.stored, groups.stored, lists.stored, apps.stored, tuple(broken)
    )


def access_document(objects: Objects, portal_id: str) -> AccessDocument:
    """The access document of one portal.

    Raises:
        PolicyError: the document is not valid.
    """
    portal = next((one.document for one in objects.portals if one.id == portal_id), None)
    return read_document(
        {
            "portal": {
                "name": portal.name if portal is not None else "",
                "servers": portal.servers if portal is not None else (),
                "policies": portal_policies(objects, portal.hostname if portal is not None else ""),
            },
            "servers": [server_access(server, objects) for server in objects.servers],
            "policies": objects.reusable_policies,
            "groups": objects.reusable_groups,
            "lists": objects.reusable_lists,
        }
    )


def portal_policies(objects: Objects, hostname: str) -> list[Attachment]:
    """The policies that applications attach to the portal of a host name."""
    hostname = hostname.lower()
    return _attached(
        (app for app in objects.apps if app.document.is_for_portal(hostname)),
        (app for app in _broken_apps(objects) if hostname and _may_be_for_portal(app.members, hostname)),
    )


def attached_to(objects: Objects, server_id: str) -> list[Attachment]:
    """The policies that applications attach to a server, whether the server itself is stored or not."""
    return _attached(
        (app for app in objects.apps if app.document.is_for_server(server_id)),
        (app for app in _broken_apps(objects) if _may_be_for_server(app.members, server_id)),
    )


def policies_of(app: AppDocument, stamp: str = "") -> list[Attachment]:
    """The policies of one application. `stamp` is another after each change of the application."""
    return [_attachment(policy, stamp) for policy in app.policies]


def server_access(server: Stored[ServerDocument], objects: Objects) -> ServerAccess:
    """The settings of a stored server's tools and prompts, and the policies attached to it."""
    return ServerAccess(
        id=server.id,
        updated_tools=server.document.updated_tools,
        updated_prompts=server.document.updated_prompts,
        policies=tuple(attached_to(objects, server.id)),
    )


def _attached(apps: Iterable[Stored[AppDocument]], broken: Iterable[Broken]) -> list[Attachment]:
    unreadable: list[Attachment] = [UnreadablePolicy.with_id(app.id) for app in broken]
    return [*unreadable, *(policy for app in apps for policy in policies_of(app.document, app.stamp))]


def _attachment(policy: AttachedPolicy, stamp: str) -> Attachment:
    return Policy.of(policy.id, policy, stamp) if isinstance(policy, OwnPolicy) else policy


def _broken_apps(objects: Objects) -> Iterable[Broken]:
    return (one for one in objects.broken if one.kind == APP.name)


def _may_be_for_portal(members: Mapping[str, object], hostname: str) -> bool:
    """Whether an application that cannot be read may be for this portal, by its members that can be read."""
    if members.get("type") in ("mcp", "self_hosted", "saas"):
        return False
    domain = members.get("domain")
    return not isinstance(domain, str) or domain.lower() == hostname


def _may_be_for_server(members: Mapping[str, object], server_id: str) -> bool:
    if members.get("type") in ("mcp_portal", "self_hosted", "saas"):
        return False
    places = members.get("destinations")
    if not isinstance(places, list):
        return True
    return any(
        not isinstance(place, Mapping)
        or not isinstance(place.get("mcp_server_id"), str | None)
        or place.get("mcp_server_id") == server_id
        for place in places
    )
