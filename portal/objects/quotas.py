"""Quotas: how many calls there may be in which time, for whom."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from portal.objects.base import Document
from portal.state import Kind


class QuotaDocument(Document):
    """At most `calls` calls in any `period` of seconds, for each of what `per` names; see `portal.quotas`."""

    name: str
    calls: Annotated[int, Field(ge=1)]
    period: Annotated[int, Field(ge=1)]
    per: tuple[Literal["person", "server", "tool", "portal"], ...]
    portals: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


QUOTA = Kind("quota", QuotaDocument)
