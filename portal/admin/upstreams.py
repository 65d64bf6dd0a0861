"""What the admin API knows of running servers: an interface, so that it works beside a portal and without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from portal.admin.differences import Difference
from portal.pins.judging import Withheld

Status = Literal["waiting", "ready", "stale", "error"]


class ErrorDetails(BaseModel):
    """`is_upstream`: the server answered with an error, and was not merely out of reach."""

    cause: str | None = None
    is_upstream: bool | None = None
    mcp_code: int | None = None
    retryable: bool | None = None
    status_code: int | None = None


class Change(BaseModel):
    """Something a server offered otherwise than before."""

    at: datetime
    tools: Difference
    prompts: Difference


class Observed(BaseModel):
    """How a server stands, and what it offers as it says itself."""

    status: Status = "waiting"
    error: str | None = None
    error_details: ErrorDetails | None = None
    last_synced: datetime | None = None
    last_successful_sync: datetime | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    prompts: tuple[Mapping[str, Any], ...] = ()
    capability_changes: tuple[Change, ...] = ()
    waiting_approvals: int = 0


class Upstreams(Protocol):
    def observed(self, server_id: str) -> Observed:
        """At once, from what is known; `waiting` for a server that was not heard of yet."""

    async def sync(self, server_id: str) -> Observed:
        """Read its lists now, and say how that went."""

    def withheld(self, server_id: str) -> tuple[Withheld, ...]:
        """What a pinned server offers and nobody has approved."""

    async def approve(self, server_id: str, withheld: Iterable[Withheld], *, by: str) -> None:
        """Let it offer that. Raises `PinsUnusable`."""


class NotRunning:
    """There is no portal in this process: every server is waiting."""

    def observed(self, server_id: str) -> Observed:
        return Observed()

    async def sync(self, server_id: str) -> Observed:
        return Observed()

    def withheld(self, server_id: str) -> tuple[Withheld, ...]:
        return ()

    async def approve(self, server_id: str, withheld: Iterable[Withheld], *, by: str) -> None:
        return None
