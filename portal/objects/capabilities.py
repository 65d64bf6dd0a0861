"""The settings of one tool or prompt in a server or a portal."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portal.config import ALIAS, ToolLabels
from portal.objects.base import Document
from portal.objects.rules import Text


class CapabilitySetting(Document):
    """The settings of one tool or prompt. `name` is its upstream's name; a member that is None changes nothing.

    `labels` are of a server's setting of a tool: for data-flow rules, in the place of those of the server, or changes
    of them. Those in a setting of a portal, or of a prompt, have no effect.
    """

    name: Text
    enabled: bool | None = None
    alias: Annotated[str, Field(pattern=ALIAS, max_length=40)] | None = None
    description: Annotated[str, Field(max_length=65_536)] | None = None
    labels: ToolLabels | None = None


Settings = Annotated[tuple[CapabilitySetting, ...], Field(max_length=10_000)]
