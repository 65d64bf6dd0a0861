"""What this instance serves, wherever it is from: `access/ai-controls/mcp/served`. Ours.

The lists of servers and portals are Cloudflare's, and have what is stored. An instance also serves what is in the
operator's document, which the API cannot change: it reads the lists of such a server again, and approves what waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import BaseModel

from portal.admin.api.errors import not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import PORTALS
from portal.admin.capabilities import OfferedCapability
from portal.admin.fixes import Fix
from portal.admin.pins import ApprovalOperations
from portal.admin.servers import Synced
from portal.admin.upstreams import ErrorDetails, Status, Upstreams
from portal.config import CodeModePolicy

PATH = "/access/ai-controls/mcp/served"
OWN_PORTAL = "_"
"""The id by which the API names the portal of the operator's document."""
ServedFrom = Literal["configuration", "store"]


class ServedServer(BaseModel):
    """A server of this instance. `source` is the operator's document or the store; `key` is where the document has it.

    `origin` is the scheme and host of its URL, "" for a program: what is behind the host may be a secret. One of the
    document that is not `enabled` is not connected. `offered` is what it lists, before any portal's settings.
    """

    id: str
    name: str
    description: str | None = None
    source: ServedFrom
    key: str | None = None
    enabled: bool = True
    transport: Literal["http", "sse", "stdio", "openapi"]
    origin: str = ""
    pin: bool = False
    secure_web_gateway: bool = False
    labels: tuple[str, ...] = ()
    status: Status
    error: str | None = None
    error_details: ErrorDetails | None = None
    offered: tuple[OfferedCapability, ...] = ()
    waiting_approvals: int = 0
    notices: tuple[str, ...] = ()
    fix: Fix | None = None


class ServedPortalServer(BaseModel):
    """A server of a portal."""

    server_id: str
    default_disabled: bool = False
    on_behalf: bool = True


class ServedPortal(BaseModel):
    """A portal of this instance; the id of the document's own is "_". `key` is where the document has it. `url` is its
    MCP endpoint, without a parameter for code mode. `servers` is null for the portal that has every server."""

    id: str
    name: str
    hostname: str = ""
    description: str | None = None
    source: ServedFrom
    key: str | None = None
    code_mode: CodeModePolicy
    secure_web_gateway: bool = False
    url: str
    servers: tuple[ServedPortalServer, ...] | None = None


class Serving(Protocol):
    """What a running instance serves now."""

    def servers(self) -> Sequence[ServedServer]:
        """Its servers, those of the document first."""

    def portals(self) -> Sequence[ServedPortal]:
        """Its portals, the document's own first."""


class ServedOperations:
    """Without `serving` this process serves nothing, and the lists are empty."""

    def __init__(self, serving: Serving | None, upstreams: Upstreams) -> None:
        self._serving = serving
        self._upstreams = upstreams

    def operations(self) -> list[Operation]:
        servers, portals = f"{PATH}/servers", f"{PATH}/portals"
        again = "Read the tools and prompts of a server in service again"
        return [
            Operation("POST", f"{servers}/{{id}}/sync", again, self._sync, Synced, PORTALS),
            *ApprovalOperations(self._require, self._upstreams).operations(f"{servers}/{{id}}"),
            Operation("GET", servers, "List the servers in service", self._servers, ServedServer, PORTALS, listed=True),
            Operation("GET", f"{servers}/{{id}}", "Show a server in service", self._server, ServedServer, PORTALS),
            Operation("GET", portals, "List the portals in service", self._portals, ServedPortal, PORTALS, listed=True),
            Operation("GET", f"{portals}/{{id}}", "Show a portal in service", self._portal, ServedPortal, PORTALS),
        ]

    async def _servers(self, request: ApiRequest) -> Sequence[ServedServer]:
        search = request.paging.search.lower()
        servers = self._serving.servers() if self._serving is not None else ()
        return [one for one in servers if search in one.id.lower() or search in one.name.lower()]

    async def _server(self, request: ApiRequest) -> ServedServer:
        return self._found(request.path["id"])

    async def _sync(self, request: ApiRequest) -> Synced:
        server = self._found(request.path["id"])
        observed = await self._upstreams.sync(server.id)
        return Synced(status=observed.status, error=observed.error, error_details=observed.error_details)

    async def _require(self, id: str) -> None:
        self._found(id)

    def _found(self, id: str) -> ServedServer:
        servers = self._serving.servers() if self._serving is not None else ()
        for one in servers:
            if one.id == id:
                return one
        raise not_found("server")

    async def _portals(self, request: ApiRequest) -> Sequence[ServedPortal]:
        search = request.paging.search.lower()
        portals = self._serving.portals() if self._serving is not None else ()
        return [one for one in portals if any(search in text.lower() for text in (one.id, one.name, one.hostname))]

    async def _portal(self, request: ApiRequest) -> ServedPortal:
        portals = self._serving.portals() if self._serving is not None else ()
        for one in portals:
            if one.id == request.path["id"]:
                return one
        raise not_found("portal")
