"""How the tools and prompts of a server are listed: enabled or not, under which name, with which description.

The portal's setting overrides the server's, and both override the upstream's definition. With `default_disabled` only
the tools and prompts that the portal enables are listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portal.access.documents import ServerAccess
from portal.objects import CapabilitySetting, PortalServer, Settings


@dataclass(frozen=True, slots=True)
class DisplaySetting:
    """The settings of one tool or prompt. `alias` or `description` None: as in the upstream's definition."""

    enabled: bool = True
    alias: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The settings of a server's tools or prompts, by raw name. `others` is the setting of all the rest."""

    settings: Mapping[str, DisplaySetting]
    others: DisplaySetting

    def of(self, name: str) -> DisplaySetting:
        return self.settings.get(name, self.others)


@dataclass(frozen=True, slots=True)
class MergedSetting:
    """The settings of a server and a portal for one tool or prompt. `enabled` is None if neither sets it."""

    name: str
    server: CapabilitySetting | None
    portal: CapabilitySetting | None
    enabled: bool | None

    @property
    def shown(self) -> DisplaySetting:
        settings = [one for one in (self.portal, self.server) if one is not None]
        return DisplaySetting(
            self.enabled is not False,
            next((one.alias for one in settings if one.alias is not None), None),
            next((one.description for one in settings if one.description is not None), None),
        )


def merged(server: Settings, portal: Settings, *, default_disabled: bool) -> tuple[MergedSetting, ...]:
    """The settings of each tool or prompt that server or portal names, those of the server first.

    The portal's `enabled` overrides the server's. With `default_disabled` the server's does not count.
    """
    of_server = {setting.name: setting for setting in server}
    of_portal = {setting.name: setting for setting in portal}
    settings: list[MergedSetting] = []
    for name in {**of_server, **of_portal}:
        below, above = of_server.get(name), of_portal.get(name)
        enabled = above.enabled if above is not None else None
        if enabled is None:
            enabled = False if default_disabled else below.enabled if below is not None else None
        settings.append(MergedSetting(name, below, above, enabled))
    return tuple(settings)


def tool_settings(server: ServerAccess, portal: PortalServer) -> Capabilities:
    return _capabilities(server.updated_tools, portal.updated_tools, portal.default_disabled)


def prompt_settings(server: ServerAccess, portal: PortalServer) -> Capabilities:
    return _capabilities(server.updated_prompts, portal.updated_prompts, portal.default_disabled)


def _capabilities(server: Settings, portal: Settings, default_disabled: bool) -> Capabilities:
    shown = {one.name: one.shown for one in merged(server, portal, default_disabled=default_disabled)}
    return Capabilities(shown, DisplaySetting(enabled=not default_disabled))
