"""What the stored policies, groups, applications and portals say, as the one document that is compiled to decide.

Policies are attached to applications: one of type `mcp_portal` is for the portal of its domain, one of type `mcp` for
the servers its destinations name. What is attached nowhere decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from portal.access import Access, AccessDocument, LiveAccess, PolicyError, Sources, read_document
from portal.admin.errors import conflict, invalid
from portal.state import StateUnavailable, Store, Stored, Transaction

RETRY_SECONDS = 1.0
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


async def read_access(store: Store, portal_id: str, sources: Sources) -> Access:
    """A new snapshot of who may do what at this portal.

    Raises:
        PolicyError: what is stored cannot be compiled.
    """
    return Access(access_document(await read_objects(store), portal_id), sources)


@asynccontextmanager
async def following_access(store: Store, portal_id: str, sources: Sources) -> AsyncIterator[LiveAccess]:
    """Who may do what at this portal, kept in step with the store while the context is open.

    What cannot be compiled, or read, changes nothing: the last snapshot goes on deciding, and an error is logged.

    Raises:
        PolicyError: what is stored at the start cannot be compiled.
    """
    outdated = asyncio.Event()
    end = store.subscribe(lambda kinds: outdated.set() if kinds.intersection(KINDS) else None)
    live = LiveAccess(await read_access(store, portal_id, sources))
    task = asyncio.create_task(_follow(store, portal_id, sources, live, outdated))
    try:
        yield live
    finally:
        end()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _follow(store: Store, portal_id: str, sources: Sources, live: LiveAccess, outdated: asyncio.Event) -> None:
    log = structlog.get_logger("portal.admin")
    while True:
        await outdated.wait()
        outdated.clear()
        try:
            live.replace(await read_access(store, portal_id, sources))
        except PolicyError as error:
            log.error("the stored policies cannot be used; the former ones hold", reason=str(error))
        except StateUnavailable as error:
            log.error("the stored policies cannot be read; the former ones hold", reason=str(error))
            outdated.set()
            await asyncio.sleep(RETRY_SECONDS)


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
