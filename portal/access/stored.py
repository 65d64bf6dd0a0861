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
            "servers": [_of_server(server, objects.apps) for server in objects.servers],
            "policies": [{**one.document, "id": one.id} for one in objects.policies],
            "groups": [{**one.document, "id": one.id} for one in objects.groups],
            "lists": [{**one.document, "id": one.id} for one in objects.lists],
        }
    )


@dataclass(frozen=True, slots=True)
class Attached:
    """What is stored for the portal of one hostname, to be put beside what its configuration says.

    `policies` are the portal's own; `servers` its settings of servers; `of_servers` documents of servers, with their
    policies, by id: those of the portal where one is stored for the hostname, else all.
    """

    policies: Sequence[Mapping[str, Any]]
    servers: Sequence[Mapping[str, Any]]
    of_servers: Mapping[str, Mapping[str, Any]]


def attached_at(objects: Objects, hostname: str) -> Attached:
    portal = next((one for one in objects.portals if one.document["hostname"] == hostname.lower()), None)
    entries = portal.document["servers"] if portal else ()
    shown = {entry["server_id"] for entry in entries} if portal else {server.id for server in objects.servers}
    return Attached(
        policies=_attached(app for app in objects.apps if _is_for_portal(app, hostname.lower())),
        servers=entries,
        of_servers={server.id: _of_server(server, objects.apps) for server in objects.servers if server.id in shown},
    )


def attached_to(objects: Objects, server_id: str) -> list[dict[str, Any]]:
    """The policies that applications attach to a server, whether the server itself is stored or not."""
    return _attached(app for app in objects.apps if _is_for_server(app, server_id))


def _of_server(server: Stored, apps: Iterable[Stored]) -> dict[str, Any]:
    return {
        "id": server.id,
        "updated_tools": server.document["updated_tools"],
        "updated_prompts": server.document["updated_prompts"],
        "policies": _attached(app for app in apps if _is_for_server(app, server.id)),
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
