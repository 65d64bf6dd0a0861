"""MCP server portals: `access/ai-controls/mcp/portals`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from portal.admin.api.errors import conflict, invalid, not_found
from portal.admin.api.operations import Asked, Operation
from portal.admin.api.permissions import PORTALS
from portal.admin.capabilities import PortalOverrides, ShownOverride, merged
from portal.admin.servers import Description, Id, Name, Servers, ShownServer
from portal.config import CodeModePolicy
from portal.servers import SERVER
from portal.state import Store, Stored

KIND = "portal"
PATH = "/access/ai-controls/mcp/portals"
MAX_SERVERS = 80

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=253)]


class AttachedServer(BaseModel):
    """A server of a portal, and what the portal says of it."""

    server_id: Annotated[str, Field(min_length=1, max_length=64)]
    default_disabled: bool = False
    on_behalf: bool = True
    updated_tools: PortalOverrides = ()
    updated_prompts: PortalOverrides = ()


class _Settings(BaseModel):
    description: Description | None = None
    allow_code_mode: bool | None = None
    code_mode: CodeModePolicy | None = None
    secure_web_gateway: bool | None = None
    servers: Annotated[tuple[AttachedServer, ...], Field(max_length=MAX_SERVERS)] | None = None


class PortalBody(_Settings):
    id: Id
    hostname: Host
    name: Name


class PortalReplacement(_Settings):
    """What is left out stays as it is. What GET gave may be sent back whole: the rest of it is not looked at."""

    hostname: Host | None = None
    name: Name | None = None


class PortalServer(ShownServer):
    server_id: str
    default_disabled: bool
    on_behalf: bool
    updated_tools: tuple[ShownOverride, ...] = ()  # type: ignore[assignment]
    updated_prompts: tuple[ShownOverride, ...] = ()  # type: ignore[assignment]


class ShownPortal(BaseModel):
    id: str
    name: str
    hostname: str
    description: str | None = None
    code_mode: CodeModePolicy
    allow_code_mode: bool
    secure_web_gateway: bool
    servers: tuple[PortalServer, ...]
    created_at: datetime
    created_by: str
    modified_at: datetime
    modified_by: str


def code_mode_of(
    policy: CodeModePolicy | None, allowed: bool | None, before: CodeModePolicy | None
) -> CodeModePolicy | None:
    """The policy that a request asks for with the newer member, the older one, or both; None when they disagree.

    Who sends back what was read, with only one of the two changed, means the one that was changed.
    """
    if policy is None and allowed is None:
        return before or "opt_in"
    if policy is not None and (allowed is None or allowed == (policy != "off")):
        return policy
    if policy is not None and policy != before:
        return None
    if allowed is False:
        return "off"
    return before if before not in (None, "off") else "opt_in"


class Portals:
    def __init__(self, store: Store, servers: Servers) -> None:
        self._store = store
        self._servers = servers

    def operations(self) -> list[Operation]:
        one = PATH + "/{id}"
        return [
            Operation("GET", PATH, "List portals", self._list, ShownPortal, PORTALS, listed=True),
            Operation("POST", PATH, "Make a portal", self._create, ShownPortal, PORTALS, PortalBody, status=201),
            Operation("GET", one, "Show a portal", self._get, ShownPortal, PORTALS),
            Operation("PUT", one, "Change a portal", self._replace, ShownPortal, PORTALS, PortalReplacement),
            Operation("DELETE", one, "Remove a portal", self._delete, ShownPortal, PORTALS),
        ]

    async def _list(self, asked: Asked) -> list[ShownPortal]:
        wanted = asked.paging.search.lower()
        servers = await self._store.list(SERVER)
        return [
            self._shown(stored, servers)
            for stored in await self._store.list(KIND)
            if any(wanted in text.lower() for text in (stored.id, stored.document["name"], stored.document["hostname"]))
        ]

    async def _get(self, asked: Asked) -> ShownPortal:
        stored = await self._store.get(KIND, asked.path["id"])
        if stored is None:
            raise not_found("portal")
        return self._shown(stored, await self._store.list(SERVER))

    async def _create(self, asked: Asked) -> ShownPortal:
        body: PortalBody = asked.body
        async with self._store.transaction() as transaction:
            servers = await transaction.list(SERVER)
            document = _document(body, {}, servers)
            _one_of_a_host(document["hostname"], body.id, await transaction.list(KIND))
            created = await transaction.create(KIND, body.id, document, by=asked.by)
        return self._shown(created, servers)

    async def _replace(self, asked: Asked) -> ShownPortal:
        async with self._store.transaction() as transaction:
            stored = await transaction.get(KIND, asked.path["id"])
            if stored is None:
                raise not_found("portal")
            servers = await transaction.list(SERVER)
            document = _document(asked.body, stored.document, servers)
            _one_of_a_host(document["hostname"], stored.id, await transaction.list(KIND))
            replaced = await transaction.replace(KIND, stored.id, document, by=asked.by)
        return self._shown(replaced, servers)

    async def _delete(self, asked: Asked) -> ShownPortal:
        async with self._store.transaction() as transaction:
            servers = await transaction.list(SERVER)
            return self._shown(await transaction.delete(KIND, asked.path["id"], by=asked.by), servers)

    def _shown(self, stored: Stored, servers: Sequence[Stored]) -> ShownPortal:
        document = stored.document
        known = {server.id: server for server in servers}
        return ShownPortal(
            **{key: value for key, value in document.items() if key != "servers"},
            id=stored.id,
            allow_code_mode=document["code_mode"] != "off",
            servers=tuple(
                self._shown_server(entry, known[entry["server_id"]])
                for entry in document["servers"]
                if entry["server_id"] in known
            ),
            created_at=stored.created_at,
            created_by=stored.created_by,
            modified_at=stored.modified_at,
            modified_by=stored.modified_by,
        )

    def _shown_server(self, entry: Mapping[str, Any], server: Stored) -> PortalServer:
        said, hidden = server.document, entry["default_disabled"]
        shown = self._servers.shown(server).model_dump(exclude={"updated_tools", "updated_prompts"})
        return PortalServer(
            **shown,
            server_id=server.id,
            default_disabled=hidden,
            on_behalf=entry["on_behalf"],
            updated_tools=tuple(merged(entry["updated_tools"], said["updated_tools"], default_disabled=hidden)),
            updated_prompts=tuple(merged(entry["updated_prompts"], said["updated_prompts"], default_disabled=hidden)),
        )


def _document(
    body: PortalBody | PortalReplacement, before: Mapping[str, Any], servers: Sequence[Stored]
) -> dict[str, Any]:
    """What is stored: what was sent over what there was."""
    policy = code_mode_of(body.code_mode, body.allow_code_mode, before.get("code_mode"))
    if policy is None:
        raise invalid("allow_code_mode and code_mode say different things; send one of them", "/code_mode")
    known = {server.id: server for server in servers}
    attached: Any = before.get("servers", [])
    if body.servers is not None:
        ids = [entry.server_id for entry in body.servers]
        for index, id in enumerate(ids):
            if id not in known:
                raise invalid("there is no server of this id", f"/servers/{index}/server_id")
            if id in ids[:index]:
                raise invalid("this server is attached already", f"/servers/{index}/server_id")
        attached = [_attached(entry, known[entry.server_id].document) for entry in body.servers]
    gateway = body.secure_web_gateway
    return {
        "name": body.name or before["name"],
        "hostname": (body.hostname or before["hostname"]).lower(),
        "description": body.description if "description" in body.model_fields_set else before.get("description"),
        "code_mode": policy,
        "secure_web_gateway": before.get("secure_web_gateway", False) if gateway is None else gateway,
        "servers": attached,
    }


def _attached(entry: AttachedServer, server: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as it is stored. What only repeats the server's own word, as reading it back does, is left out."""
    stored: dict[str, Any] = entry.model_dump(mode="json")
    for key in ("updated_tools", "updated_prompts"):
        said = {one["name"]: one.get("enabled") for one in server[key]}
        stored[key] = [one for one in stored[key] if entry.default_disabled or _says_more(one, said.get(one["name"]))]
    return stored


def _says_more(override: Mapping[str, Any], enabled: bool | None) -> bool:
    """Whether a portal's override is more than what the server says of the tool itself, `enabled`."""
    if override["alias"] or override["description"]:
        return True
    return override["enabled"] is not None and override["enabled"] != enabled


def _one_of_a_host(hostname: str, id: str, portals: Sequence[Stored]) -> None:
    if any(other.document["hostname"] == hostname and other.id != id for other in portals):
        raise conflict("another portal has this hostname")
