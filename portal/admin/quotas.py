"""Quotas, and who is how far: `access/ai-controls/mcp/quotas`, in the shape of Cloudflare's API (ours)."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from portal.admin.api.collection import Collection
from portal.admin.api.errors import conflict, in_use
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import PORTALS
from portal.config import LONGEST_PERIOD, MAX_NAMED, MAX_QUOTAS, QuotaPart
from portal.objects import QUOTA, QuotaDocument
from portal.quotas import Quotas, Used
from portal.state import Store, Transaction

PATH = "/access/ai-controls/mcp/quotas"
MAX_SHOWN = 1000
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Named = Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=MAX_NAMED)]


class QuotaBody(BaseModel):
    """At most `calls` calls in any `period` of seconds, for each of what `per` names; for all together if it is empty.

    `portals`, `servers` (ids) and `tools` (raw names) are what it is about, everything if they are empty. The portal of
    the operator's document is "".
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    calls: Annotated[int, Field(ge=1, le=1_000_000_000)]
    period: Annotated[int, Field(ge=1, le=LONGEST_PERIOD)]
    per: Annotated[tuple[QuotaPart, ...], Field(max_length=4)]
    portals: Named = ()
    servers: Named = ()
    tools: Named = ()


class ShownQuota(QuotaBody):
    id: str
    created_at: datetime
    updated_at: datetime


class ShownUse(BaseModel):
    """How far one person, tool, server or portal is, or several of these together: what the quota counts per. `calls`
    of `limit` calls count now; all of them are gone `reset` seconds from now. `quota_id` is "" for a quota of the
    operator's document (`source`)."""

    quota_id: str
    quota_name: str
    source: Literal["document", "store"]
    person: str | None = None
    portal: str | None = None
    server: str | None = None
    tool: str | None = None
    calls: int
    limit: int
    period: int
    reset: int


class QuotaOperations(Collection[QuotaBody, QuotaDocument]):
    kind, path, noun, area = QUOTA, PATH, "quota", PORTALS
    body, answer = QuotaBody, ShownQuota

    def __init__(self, store: Store, quotas: Quotas) -> None:
        super().__init__(store, check_quotas)
        self._quotas = quotas

    def operations(self) -> list[Operation]:
        summary = "List who has used how much of the quotas"
        usage = Operation("GET", f"{PATH}/usage", summary, self._usage, ShownUse, PORTALS, listed=True)
        return [*super().operations(), usage]

    def document(self, body: QuotaBody, before: QuotaDocument | None) -> QuotaDocument:
        members = body.model_dump()
        return QuotaDocument(**members) if before is None else before.model_copy(update=members)

    async def _usage(self, request: ApiRequest) -> list[ShownUse]:
        search = request.paging.search.lower()
        used = await asyncio.to_thread(self._quotas.used, MAX_SHOWN, search)
        return [_shown(one) for one in used]


async def check_quotas(transaction: Transaction) -> None:
    """Require names of their own, and no more quotas than there may be.

    Raises:
        AdminError: the message says which name, or how many.
    """
    scan = await transaction.scan(QUOTA)
    if len(scan.stored) + len(scan.broken) > MAX_QUOTAS:
        raise in_use(f"there are already {MAX_QUOTAS} quotas, the most allowed")
    seen: set[str] = set()
    for one in scan.stored:
        if one.document.name in seen:
            raise conflict(f"another quota is called {one.document.name!r}")
        seen.add(one.document.name)


def _shown(used: Used) -> ShownUse:
    quota = used.quota
    whose = dict(zip(quota.parts, used.key, strict=True))
    return ShownUse(
        quota_id=quota.id,
        quota_name=quota.name,
        source=quota.origin,
        person=whose.get("person"),
        portal=whose.get("portal"),
        server=whose.get("server"),
        tool=whose.get("tool"),
        calls=used.calls,
        limit=quota.calls,
        period=quota.period,
        reset=used.seconds,
    )
