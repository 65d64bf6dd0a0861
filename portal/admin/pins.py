"""What waits for approval at a pinned server: `access/ai-controls/mcp/servers/{id}/pins`. Ours, not Cloudflare's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import structlog
from pydantic import BaseModel, Field

from portal.admin.api import errors
from portal.admin.api.errors import AdminError, Problem, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import PORTALS
from portal.admin.upstreams import Upstreams
from portal.objects import SERVER
from portal.pins import PendingDefinition, PinsUnusable, describe_changes
from portal.state import Store

Kind = Literal["tool", "prompt"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ShownWithheld(BaseModel):
    """`what`: the differences in words. `definition` and `approved_definition` are JSON, as text."""

    kind: Kind
    name: str
    digest: str
    new: bool
    what: tuple[str, ...]
    definition: str
    approved_definition: str | None = None


class Named(BaseModel):
    """One definition, as it was read: another of the same name is not meant."""

    kind: Kind
    name: Annotated[str, Field(min_length=1, max_length=256)]
    digest: Digest


class ApprovalBody(BaseModel):
    approve: Annotated[tuple[Named, ...], Field(min_length=1, max_length=5000)]


class Approved(BaseModel):
    """`waiting_approvals`: how many still wait."""

    approved: tuple[Named, ...]
    waiting_approvals: int


class ApprovalOperations:
    def __init__(self, store: Store, upstreams: Upstreams) -> None:
        self._store = store
        self._upstreams = upstreams

    def operations(self, server: str) -> list[Operation]:
        """Below the path of one server."""
        path, approve = f"{server}/pins", f"{server}/pins/approve"
        return [
            Operation("GET", path, "List what waits for approval", self._list, ShownWithheld, PORTALS, listed=True),
            Operation("POST", approve, "Approve what waits", self._approve, Approved, PORTALS, ApprovalBody),
        ]

    async def _list(self, asked: ApiRequest) -> list[ShownWithheld]:
        wanted = asked.paging.search.lower()
        withheld = await self._withheld(asked)
        return [shown(waits) for waits in withheld if wanted in waits.name.lower()]

    async def _approve(self, asked: ApiRequest) -> Approved:
        body = asked.read(ApprovalBody)
        waiting = {(waits.kind, waits.name, waits.digest): waits for waits in await self._withheld(asked)}
        meant = []
        for place, named in enumerate(body.approve):
            waits = waiting.get((named.kind, named.name, named.digest))
            if waits is None:
                message = "does not wait for approval, or is another definition by now"
                raise AdminError(409, [Problem(errors.CONFLICT, message, f"/approve/{place}")])
            meant.append(waits)
        await self._keep(asked, meant)
        return Approved(approved=body.approve, waiting_approvals=len(await self._withheld(asked)))

    async def _keep(self, asked: ApiRequest, meant: Iterable[PendingDefinition]) -> None:
        try:
            await self._upstreams.approve(asked.path["id"], meant, by=asked.by)
        except PinsUnusable as error:
            structlog.get_logger("portal.admin").error("an approval is not kept", reason=str(error))
            raise AdminError(503, [Problem(errors.UNAVAILABLE, "the approval cannot be kept; try again")]) from None

    async def _withheld(self, asked: ApiRequest) -> tuple[PendingDefinition, ...]:
        id = asked.path["id"]
        if await self._store.find(SERVER, id) is None:
            raise not_found("MCP server")
        return self._upstreams.withheld(id)


def shown(waits: PendingDefinition) -> ShownWithheld:
    return ShownWithheld(
        kind=waits.kind,
        name=waits.name,
        digest=waits.digest,
        new=waits.is_new,
        what=tuple(describe_changes(waits)),
        definition=waits.now,
        approved_definition=waits.before,
    )
