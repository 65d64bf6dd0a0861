"""How the tools and prompts of a server are shown: switched on or off, under which name, with which description.

The portal's setting goes before the server's, and both before what the server says. With `default_disabled` only what
the portal switches on is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portal.access.documents import CapabilitySetting, PortalServer, ServerAccess, Settings


@dataclass(frozen=True, slots=True)
class Shown:
    """One capability. `alias` and `description` None: as the server has them."""

    enabled: bool = True
    alias: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The settings of one kind, by raw name; `others` is how those without one are shown."""

    settings: Mapping[str, Shown]
    others: Shown

    def of(self, name: str) -> Shown:
        return self.settings.get(name, self.others)


def tool_settings(server: ServerAccess, portal: PortalServer) -> Capabilities:
    return _merged(server.updated_tools, portal.updated_tools, portal.default_disabled)


def prompt_settings(server: ServerAccess, portal: PortalServer) -> Capabilities:
    return _merged(server.updated_prompts, portal.updated_prompts, portal.default_disabled)


def _merged(server: Settings, portal: Settings, default_disabled: bool) -> Capabilities:
    of_server = {setting.name: setting for setting in server}
    of_portal = {setting.name: setting for setting in portal}
    merged: dict[str, Shown] = {}
    for name in {**of_server, **of_portal}:
        nothing = CapabilitySetting(name=name)
        below, above = of_server.get(name, nothing), of_portal.get(name, nothing)
        enabled = above.enabled
        if enabled is None:
            enabled = not default_disabled and below.enabled is not False
        merged[name] = Shown(
            enabled,
            above.alias if above.alias is not None else below.alias,
            above.description if above.description is not None else below.description,
        )
    return Capabilities(merged, Shown(enabled=not default_disabled))
