"""The `portals` section: further portals over the same servers, each with a selection of them and a URL of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator

from portal.config.section import Section

PORTAL_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
# The first segments of the instance's own paths: a portal of such an id could not be told from them.
RESERVED_IDS = frozenset(
    "mcp healthz readyz metrics login logout authorize token revoke register servers servers-callback oauth "
    "cdn-cgi admin runs approve approvals".split()
)
ALIAS = r"^[a-zA-Z0-9]+([_-][a-zA-Z0-9]+)*$"
"""How another name of a tool or prompt is written: letters and digits, with single `-` or `_` between them."""
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


class CodeModePolicy(StrEnum):
    """What a portal's owner has decided about code mode. `opt_in` and `default_on` leave the choice to the URL."""

    OFF = "off"
    OPT_IN = "opt_in"
    DEFAULT_ON = "default_on"
    ENFORCED = "enforced"


class CapabilityOverride(Section):
    """How a portal shows one tool or prompt, by the name its server gives it. None leaves it as it is."""

    name: str = Field(min_length=1, max_length=256)
    enabled: bool | None = None
    alias: str | None = Field(default=None, pattern=ALIAS, max_length=40)
    description: str | None = Field(default=None, max_length=65_536)


Overrides = Annotated[tuple[CapabilityOverride, ...], Field(max_length=10_000)]


class PortalServerEntry(Section):
    """A server of a portal. With `default_disabled` only the tools and prompts that the portal enables are shown.

    Without `on_behalf` a login of the portal serves everybody at this portal.
    """

    server_id: str = Field(min_length=1, max_length=64)
    default_disabled: bool = False
    on_behalf: bool = True
    updated_tools: Overrides = ()
    updated_prompts: Overrides = ()


class PortalEntry(Section):
    """One further portal. It is served at `/{id}/mcp`, and under its `hostname` if it has one.

    With `secure_web_gateway` the rules of the gateway hold for all its servers, else for those that have it themselves.
    `servers` are the only ones it shows: each an id, or an object with the portal's settings of the server.
    `policies` and `tool_policies` are Access policies of this portal; they need `portal.identity`.
    """

    id: str
    name: str = Field(default="", max_length=350)
    hostname: str = Field(default="", max_length=253)
    description: str | None = Field(default=None, max_length=4096)
    instructions: str | None = Field(default=None, max_length=65_536)
    code_mode: CodeModePolicy = CodeModePolicy.OPT_IN
    secure_web_gateway: bool = False
    servers: tuple[PortalServerEntry, ...] = Field(default=(), max_length=1000)
    policies: tuple[Mapping[str, object], ...] = Field(default=(), max_length=200)
    tool_policies: tuple[Mapping[str, object], ...] = Field(default=(), max_length=200)

    @field_validator("servers", mode="before")
    @classmethod
    def _ids_are_entries(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        return [{"server_id": entry} if isinstance(entry, str) else entry for entry in value]

    @field_validator("hostname")
    @classmethod
    def _is_a_hostname(cls, value: str) -> str:
        if value and not _HOSTNAME.fullmatch(value):
            raise ValueError("must be a host name such as docs.example.com, without scheme, port or path")
        return value.lower()
