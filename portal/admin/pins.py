"""Approval of a pinned server's definitions: `access/ai-controls/mcp/servers/{id}/pins`. Ours, not Cloudflare's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
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


class PendingApproval(BaseModel):
    """A definition that waits for approval.

    `what` are the differences in words. `definition` and `approved_definition` are JSON text.
    """

    kind: Kind
    name: str
    digest: str
    new: bool
    what: tuple[str, ...]
    definition: str
    approved_definition: str | None = None


class DefinitionRef(BaseModel):
    """A reference to one definition. The digest excludes another definition of the same name."""

    kind: Kind
    name: Annotated[str, Field(min_length=1, max_length=256)]
    digest: Digest


class ApprovalBody(BaseModel):
    approve: Annotated[tuple[DefinitionRef, ...], Field(min_length=1, max_length=5000)]


class Approved(BaseModel):
    """`waiting_approvals` counts the definitions that still wait."""

    approved: tuple[DefinitionRef, ...]
    waiting_approvals: int


class ApprovalOperations:
    """Approval for the servers that `require` finds: it raises an `AdminError` for the id of any other."""

    def __init__(self, require: Callable[[str], Awaitable[None]], upstreams: Upstreams) -> None:
        self._require = require
        self._upstreams = upstreams

    def operations(self, server: str) -> list[Operation]:
        """The operations, below the path of one server."""
        path, approve = f"{server}/pins", f"{server}/pins/approve"
        return [
            Operation(
                "GET",
                path,
                "List the definitions that wait for approval",
                self._list,
                PendingApproval,
                PORTALS,
                listed=True,
            ),
            Operation("POST", approve, "Approve definitions", self._approve, Approved, PORTALS, ApprovalBody),
        ]

    async def _list(self, request: ApiRequest) -> list[PendingApproval]:
        search = request.paging.search.lower()
        definitions = await self._pending(request)
        return [shown(definition) for definition in definitions if search in definition.name.lower()]

    async def _approve(self, request: ApiRequest) -> Approved:
        body = request.read(ApprovalBody)
        waiting = {
            (definition.kind, definition.name, definition.digest): definition
            for definition in await self._pending(request)
        }
        approved = []
        for place, reference in enumerate(body.approve):
            definition = waiting.get((reference.kind, reference.name, reference.digest))
            if definition is None:
                message = "does not wait for approval, or has changed since it was read"
                raise AdminError(409, [Problem(errors.CONFLICT, message, f"/approve/{place}")])
            approved.append(definition)
        await self._store_approval(request, approved)
        return Approved(approved=body.approve, waiting_approvals=len(await self._pending(request)))

    async def _store_approval(self, request: ApiRequest, approved: Iterable[PendingDefinition]) -> None:
        try:
            await self._upstreams.approve(request.path["id"], approved, by=request.by)
        except PinsUnusable as error:
            structlog.get_logger("portal.admin").error("an approval is not kept", reason=str(error))
            raise AdminError(503, [Problem(errors.UNAVAILABLE, "the approval cannot be stored; try again")]) from None

    async def _pending(self, request: ApiRequest) -> tuple[PendingDefinition, ...]:
        id = request.path["id"]
        await self._require(id)
        return self._upstreams.pending(id)


async def require_stored(store: Store, id: str) -> None:
    """
    Raises:
        AdminError: no server of this id is stored.
    """
    if await store.find(SERVER, id) is None:
        raise not_found("MCP server")


def shown(definition: PendingDefinition) -> PendingApproval:
    return PendingApproval(
        kind=definition.kind,
        name=definition.name,
        digest=definition.digest,
        new=definition.is_new,
        what=tuple(describe_changes(definition)),
        definition=definition.now,
        approved_definition=definition.before,
    )
