"""The `portal.quotas` section: how many calls there may be in which time, for whom."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from portal.config.section import Section

QuotaPart = Literal["person", "server", "tool", "portal"]
HOUR = 3600
LONGEST_PERIOD = 31 * 86_400
MAX_QUOTAS = 100
MAX_NAMED = 1000
QuotaName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Named = Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=MAX_NAMED)]


class QuotaSection(Section):
    """At most `calls` calls in any `period` of seconds, for each of what `per` names; for all together if it is empty.

    `portals`, `servers` (ids) and `tools` (raw names) are what it is about, everything if they are empty. The portal of
    the document itself is "".
    """

    name: QuotaName
    calls: int = Field(ge=1, le=1_000_000_000)
    period: int = Field(ge=1, le=LONGEST_PERIOD)
    per: Annotated[tuple[QuotaPart, ...], Field(max_length=4)]
    portals: Named = ()
    servers: Named = ()
    tools: Named = ()
