"""What the stored policies, groups, applications and portals say, as the one document that is compiled to decide.

Policies are attached to applications: one of type `mcp_portal` is for the portal of its domain, one of type `mcp` for
the servers its destinations name. What is attached nowhere decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portal.access.documents import AccessDocument, read_document

if TYPE_CHECKING:
    from portal.state import Store, Stored, Transaction

KINDS = ("portal", "server", "policy", "group", "list", "app")


@dataclass(frozen=True, slots=True)
class Objects:
    """All that decides, as it is stored."""

    portals: Sequence[Stored]
    servers: Sequence[Stored]
    policies: Sequence[Stored]
    groups: Sequence[Stored]
    lists: Sequence[Stored]
    apps: Sequence[Stored]


NOTHING_STORED = Objects((), (), (), (), (), ())


async def read_objects(store: Store | Transaction) -> Objects:
    return Objects(*[await store.list(kind) for kind in KINDS])


def access_document(objects: Objects, portal_id: str) -> AccessDocument:
    """The document of one portal.

    Raises:
        PolicyError: something of it cannot be read.
    """
    portal = next((one for one in objects.portals if one.id == portal_id), None)
    said: Mapping[str, Any] = portal.document if portal else {"name": "", "hostname": "", "servers": []}
    return read_document(
        {
            "portal": {
                "name": said["name"],
                "servers": said["servers"],
                "policies": _attached(app for app in objects.apps if _is_for_portal(app, said["hostname"])),
            },
            "servers": [server_document(server, objects) for server in objects.servers],
            "policies": [{**one.document, "id": one.id} for one in objects.policies],
            "groups": [{**one.document, "id": one.id} for one in objects.groups],
            "lists": [{**one.document, "id": one.id} for one in objects.lists],
        }
    )


def portal_policies(objects: Objects, hostname: str) -> list[dict[str, Any]]:
    """The policies that applications attach to the portal of a host name."""
    hostname = hostname.lower()
    return _attached(app for app in objects.apps if hostname and _is_for_portal(app, hostname))


def attached_to(objects: Objects, server_id: str) -> list[dict[str, Any]]:
    """The policies that applications attach to a server, whether the server itself is stored or not."""
    return _attached(app for app in objects.apps if _is_for_server(app, server_id))


def server_document(server: Stored, objects: Objects) -> dict[str, Any]:
    """A stored server as the access document has it: how it is shown, and the policies attached to it."""
    return {
        "id": server.id,
        "updated_tools": server.document["updated_tools"],
        "updated_prompts": server.document["updated_prompts"],
        "policies": attached_to(objects, server.id),
    }


def _attached(apps: Iterable[Stored]) -> list[dict[str, Any]]:
    return [entry for app in apps for entry in app.document.get("policies", [])]


def _is_for_portal(app: Stored, hostname: str) -> bool:
    return app.document["type"] == "mcp_portal" and str(app.document.get("domain", "")).lower() == hostname


def _is_for_server(app: Stored, server_id: str) -> bool:
    return app.document["type"] == "mcp" and any(
        place.get("type") == "via_mcp_server_portal" and place.get("mcp_server_id") == server_id
        for place in app.document.get("destinations", [])
    )
