"""How the tools and prompts of a server are shown: switched on or off, under which name, with which description.

The portal's setting goes before the server's, and both before what the server says. With `default_disabled` only what
the portal switches on is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portal.access.documents import ServerAccess
from portal.objects import CapabilitySetting, PortalServer, Settings


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


@dataclass(frozen=True, slots=True)
class Merged:
    """What a server and a portal say of one tool or prompt. `enabled` None: neither says whether it is shown."""

    name: str
    server: CapabilitySetting | None
    portal: CapabilitySetting | None
    enabled: bool | None

    @property
    def shown(self) -> Shown:
        settings = [one for one in (self.portal, self.server) if one is not None]
        return Shown(
            self.enabled is not False,
            next((one.alias for one in settings if one.alias is not None), None),
            next((one.description for one in settings if one.description is not None), None),
        )


def merged(server: Settings, portal: Settings, *, default_disabled: bool) -> tuple[Merged, ...]:
    """What server and portal say of each tool or prompt that one of them names, the server's first.

    The portal's `enabled` goes first; where it hides what it does not name, the server's does not count.
    """
    of_server = {setting.name: setting for setting in server}
    of_portal = {setting.name: setting for setting in portal}
    found: list[Merged] = []
    for name in {**of_server, **of_portal}:
        below, above = of_server.get(name), of_portal.get(name)
        enabled = above.enabled if above is not None else None
        if enabled is None:
            enabled = False if default_disabled else below.enabled if below is not None else None
        found.append(Merged(name, below, above, enabled))
    return tuple(found)


def tool_settings(server: ServerAccess, portal: PortalServer) -> Capabilities:
    return _capabilities(server.updated_tools, portal.updated_tools, portal.default_disabled)


def prompt_settings(server: ServerAccess, portal: PortalServer) -> Capabilities:
    return _capabilities(server.updated_prompts, portal.updated_prompts, portal.default_disabled)


def _capabilities(server: Settings, portal: Settings, default_disabled: bool) -> Capabilities:
    shown = {one.name: one.shown for one in merged(server, portal, default_disabled=default_disabled)}
    return Capabilities(shown, Shown(enabled=not default_disabled))
