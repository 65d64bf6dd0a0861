"""The `portal.gateway` section: rules about what may pass between callers and servers."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from portal.config.section import Section


class GatewaySection(Section):
    """`rules` are HTTP policies in Cloudflare's shape. The instance reads them; stored rules come after them."""

    rules: tuple[Mapping[str, object], ...] = Field(default=(), max_length=1000)
