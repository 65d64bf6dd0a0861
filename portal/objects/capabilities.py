"""How a server or a portal shows one tool or prompt."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portal.config import ALIAS
from portal.objects.base import Document
from portal.objects.rules import Text


class CapabilitySetting(Document):
    """How one tool or prompt is shown, by the name its server gives it. None leaves a member as it was."""

    name: Text
    enabled: bool | None = None
    alias: Annotated[str, Field(pattern=ALIAS, max_length=40)] | None = None
    description: Annotated[str, Field(max_length=65_536)] | None = None


Settings = Annotated[tuple[CapabilitySetting, ...], Field(max_length=10_000)]
