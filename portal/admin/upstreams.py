"""What the admin API knows of running servers: an interface, so that it works beside a portal and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Literal, Protocol

from pydantic import BaseModel

from portal.pins import PendingDefinition
from portal.servers import History, ListingChange, Servers, ServerSnapshot, StoredServers

SYNC_SECONDS = 60.0

Status = Literal["waiting", "ready", "stale", "error"]


class ErrorDetails(BaseModel):
    """`is_upstream`: the server answered with an error, and was not merely out of reach."""

    cause: str | None = None
    is_upstream: bool | None = None
    mcp_code: int | None = None
    retryable: bool | None = None
    status_code: int | None = None


class Observed(BaseModel):
    """How a server stands, and what it offers as it says itself."""

    status: Status = "waiting"
    error: str | None = None
    error_details: ErrorDetails | None = None
    last_synced: datetime | None = None
    last_successful_sync: datetime | None = None
    tools: tuple[Mapping[str, object], ...] = ()
    prompts: tuple[Mapping[str, object], ...] = ()
    capability_changes: tuple[ListingChange, ...] = ()
    waiting_approvals: int = 0


class Upstreams(Protocol):
    def observed(self, server_id: str) -> Observed:
        """At once, from what is known; `waiting` for a server that was not heard of yet."""

    async def sync(self, server_id: str) -> Observed:
        """Read its lists now, and say how that went."""

    def withheld(self, server_id: str) -> tuple[PendingDefinition, ...]:
        """What a pinned server offers and nobody has approved."""

    async def approve(self, server_id: str, withheld: Iterable[PendingDefinition], *, by: str) -> None:
        """Let it offer that. Raises `PinsUnusable`."""


class NotRunning:
    """There is no portal in this process: every server is waiting."""

    def observed(self, server_id: str) -> Observed:
        return Observed()

    async def sync(self, server_id: str) -> Observed:
        return Observed()

    def withheld(self, server_id: str) -> tuple[PendingDefinition, ...]:
        return ()

    async def approve(self, server_id: str, withheld: Iterable[PendingDefinition], *, by: str) -> None:
        return None


class RegistryUpstreams:
    """Implements `Upstreams` over the registry of a running portal."""

    def __init__(self, servers: Servers, stored: StoredServers) -> None:
        self._servers = servers
        self._stored = stored

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
            }
        )

    async def sync(self, server_id: str) -> Observed:
        if server_id in self._servers.snapshot.servers:
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._servers.refresh(server_id)
            self._stored.synced(server_id)
        return self.observed(server_id)

    def withheld(self, server_id: str) -> tuple[PendingDefinition, ...]:
        server = self._servers.snapshot.servers.get(server_id)
        return server.pending if server is not None and self._stored.history(server_id) is not None else ()

    async def approve(self, server_id: str, withheld: Iterable[PendingDefinition], *, by: str) -> None:
        await self._servers.approve(server_id, withheld, by=by)


def error_details(server: ServerSnapshot) -> ErrorDetails | None:
    """Why a server is out of service, or None while it is not."""
    if server.state not in ("error", "stale") or not server.reason:
        return None
    # Redirects and successes are no error of the server's own: something else is wrong with the answer.
    status = server.status if server.status is not None and server.status >= 400 else None
    return ErrorDetails(
        cause=server.reason,
        is_upstream=status is not None,
        retryable=status is None or status >= 500 or status in (408, 429),
        status_code=status,
    )
