"""The state of running servers for the admin API, as an interface: the API also works without a portal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from pydantic import BaseModel

from portal.credentials import OwnToken, ServerCredentials
from portal.pins import PendingDefinition
from portal.servers import Fault, History, ListingChange, Servers, ServerSnapshot, StoredServers

SYNC_SECONDS = 60.0

Status = Literal["waiting", "ready", "stale", "error"]


class ErrorDetails(BaseModel):
    """`is_upstream`: the server itself answered with an error, rather than being out of reach."""

    cause: str | None = None
    is_upstream: bool | None = None
    mcp_code: int | None = None
    retryable: bool | None = None
    status_code: int | None = None


class Observed(BaseModel):
    """The state of a server, and the tools and prompts that it lists. `notices` are lines about what of its lists, or
    of the document of an API, is left out."""

    status: Status = "waiting"
    error: str | None = None
    error_details: ErrorDetails | None = None
    last_synced: datetime | None = None
    last_successful_sync: datetime | None = None
    tools: tuple[Mapping[str, object], ...] = ()
    prompts: tuple[Mapping[str, object], ...] = ()
    capability_changes: tuple[ListingChange, ...] = ()
    waiting_approvals: int = 0
    notices: tuple[str, ...] = ()


class ListedDefinition(NamedTuple):
    """A tool or prompt of a server as its list has it now, by raw name. `waits` is None for what may be used, otherwise
    whether it is new or has changed since it was approved."""

    kind: Literal["tool", "prompt"]
    name: str
    description: str
    waits: Literal["new", "changed"] | None


class Upstreams(Protocol):
    def fault(self, server_id: str) -> Fault:
        """What about a stored server keeps it from being configured, "" where nothing does."""

    def definitions(self, server_id: str) -> Sequence[ListedDefinition]:
        """What a server lists now, also what waits for approval."""

    def observed(self, server_id: str) -> Observed:
        """The state that is known now, without a request; `waiting` for a server without one."""

    async def sync(self, server_id: str) -> Observed:
        """The state after reading the server's lists now."""

    def own_token(self, server_id: str) -> OwnToken | None:
        """How it stands with the token that the portal asks for as a client; None before it has asked for one."""

    def pending(self, server_id: str) -> tuple[PendingDefinition, ...]:
        """The definitions of a pinned server that wait for approval."""

    async def approve(self, server_id: str, definitions: Iterable[PendingDefinition], *, by: str) -> None:
        """Approve these definitions. Raises `PinsUnusable` if the approval cannot be stored."""


class NotRunning:
    """The answers of a process that runs no portal: every server is `waiting`."""

    def observed(self, server_id: str) -> Observed:
        return Observed()

    async def sync(self, server_id: str) -> Observed:
        return Observed()

    def fault(self, server_id: str) -> Fault:
        return ""

    def definitions(self, server_id: str) -> Sequence[ListedDefinition]:
        return ()

    def own_token(self, server_id: str) -> OwnToken | None:
        return None

    def pending(self, server_id: str) -> tuple[PendingDefinition, ...]:
        return ()

    async def approve(self, server_id: str, definitions: Iterable[PendingDefinition], *, by: str) -> None:
        return None


class RegistryUpstreams:
    """Implements `Upstreams` over the registry of a running portal, and the credentials of its servers."""

    def __init__(self, servers: Servers, stored: StoredServers, credentials: ServerCredentials | None = None) -> None:
        self._servers = servers
        self._stored = stored
        self._credentials = credentials

    def observed(self, server_id: str) -> Observed:
        history = self._stored.history(server_id) or History()
        past = Observed(
            last_synced=history.last_synced,
            last_successful_sync=history.last_successful_sync,
            capability_changes=tuple(history.changes),
        )
        if history.problem is not None:
            details = ErrorDetails(cause=history.problem, is_upstream=False, retryable=False)
            return past.model_copy(update={"status": "error", "error": history.problem, "error_details": details})
        server = self._servers.snapshot.servers.get(server_id)
        if server is None:
            return past
        return past.model_copy(
            update={
                "status": server.state,
                "error": server.reason if server.state in ("error", "stale") else None,
                "error_details": error_details(server),
                "tools": server.tools,
                "prompts": server.prompts,
                "waiting_approvals": len(server.pending),
                "notices": server.notices,
            }
        )

    def fault(self, server_id: str) -> Fault:
        history = self._stored.history(server_id)
        return history.fault if history is not None else ""

    def definitions(self, server_id: str) -> Sequence[ListedDefinition]:
        server = self._servers.snapshot.servers.get(server_id)
        if server is None:
            return ()
        waiting = [
            ListedDefinition(one.kind, one.name, _text(json.loads(one.now)), "new" if one.is_new else "changed")
            for one in server.pending
        ]
        tools = [ListedDefinition("tool", str(tool["name"]), _text(tool), None) for tool in server.tools]
        prompts = [ListedDefinition("prompt", str(prompt["name"]), _text(prompt), None) for prompt in server.prompts]
        return [*tools, *prompts, *waiting]

    async def sync(self, server_id: str) -> Observed:
        if server_id in self._servers.snapshot.servers:
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._servers.refresh(server_id)
            self._stored.synced(server_id)
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._stored.described()
        return self.observed(server_id)

    def own_token(self, server_id: str) -> OwnToken | None:
        return self._credentials.own_token(server_id) if self._credentials is not None else None

    def pending(self, server_id: str) -> tuple[PendingDefinition, ...]:
        server = self._servers.snapshot.servers.get(server_id)
        return server.pending if server is not None else ()

    async def approve(self, server_id: str, definitions: Iterable[PendingDefinition], *, by: str) -> None:
        await self._servers.approve(server_id, definitions, by=by)


def _text(definition: Mapping[str, object]) -> str:
    description = definition.get("description")
    return description if isinstance(description, str) else ""


def error_details(server: ServerSnapshot) -> ErrorDetails | None:
    """Why a server is out of service, or None while it is not."""
    if server.state not in ("error", "stale") or not server.reason:
        return None
    # With a status below 400 the server did not report an error itself; its answer is wrong in another way.
    status = server.status if server.status is not None and server.status >= 400 else None
    return ErrorDetails(
        cause=server.reason,
        is_upstream=status is not None,
        retryable=status is None or status >= 500 or status in (408, 429),
        status_code=status,
    )
