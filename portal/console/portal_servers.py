"""The pages of a server at a portal: the portal's settings of it, which stand over the server's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import quote

from starlette.routing import Route

from portal.admin import PORTALS, AdminError, ShownOverride, ShownPortal, ShownPortalServer, not_found
from portal.console.frame import ConsoleFrame
from portal.console.overrides import (
    KINDS,
    CapabilityKind,
    CapabilityRow,
    Members,
    about_one,
    back_to,
    list_values,
    names_found,
    remember_settings,
    rows_of,
    sent_setting,
    toggled,
)
from portal.console.portals import ABOVE, HERE, ITEM, own_settings, portal_path
from portal.console.servers import TONES
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

ENABLED = (
    ("yes", "Shown at this portal"),
    ("no", "Not shown at this portal"),
)
ENTRY = f"{ITEM}/servers/{{server}}"
WHEN_SENT: Mapping[str, bool | None] = {"yes": True, "no": False}


class PortalServerPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        path, settings = "/portals/{id}/servers/{server}", partial(self._list, "tool")
        routes = [form(path, HERE, self._save_entry, settings)]
        for kind in KINDS:
            show, one = partial(self._list, kind), partial(self._one, kind)
            routes += [
                page(path if kind == "tool" else f"{path}/prompts", HERE, show),
                form(f"{path}/{kind}s", HERE, partial(self._toggle, kind), show),
                form(f"{path}/{kind}s/all", HERE, partial(self._toggle_all, kind), show),
                page(f"{path}/{kind}", HERE, one, changes=PORTALS),
                form(f"{path}/{kind}", HERE, partial(self._save, kind), one),
            ]
        return routes

    async def _list(self, kind: CapabilityKind, visit: Visit) -> Answer:
        settings = {"default_disabled": False, "on_behalf": False}
        await visit.api.remember("PATCH", ENTRY, settings, id=visit.id(), server=visit.id("server"))
        portal, server = await _found(visit)
        prompts = sum(one.kind == "prompt" for one in server.offered)
        base = entry_path(portal.id, server.server_id)
        tabs = [
            ("tool", f"Tools ({len(server.offered) - prompts})", base),
            ("prompt", f"Prompts ({prompts})", f"{base}/prompts"),
        ]
        values = {**list_values(visit, kind, _rows(server, kind)), "tabs": tabs}
        return _page("portal_server.html", portal, server, f"{server.name} at {portal.name}", values)

    async def _save_entry(self, visit: Visit) -> Answer:
        portal, server = await _found(visit)
        changes = {"default_disabled": visit.ticked("default_disabled"), "on_behalf": visit.ticked("on_behalf")}
        await _change(visit, portal, server.server_id, changes)
        return Went(entry_path(portal.id, server.server_id), "saved")

    async def _toggle(self, kind: CapabilityKind, visit: Visit) -> Answer:
        portal, server = await _found(visit)
        name = visit.sent("name")
        needed = _needed(server, kind)
        after, said = toggled(visit, lambda on: [{"name": name, "enabled": needed(name, on)}])
        return await self._changed(kind, visit, portal, server, after, said)

    async def _toggle_all(self, kind: CapabilityKind, visit: Visit) -> Answer:
        """Show or hide at this portal all that the search finds."""
        portal, server = await _found(visit)
        names = names_found(visit, _rows(server, kind))
        needed = _needed(server, kind)
        after, said = toggled(visit, lambda on: [{"name": name, "enabled": needed(name, on)} for name in names])
        return await self._changed(kind, visit, portal, server, after, said)

    async def _one(self, kind: CapabilityKind, visit: Visit) -> Answer:
        name = visit.sent("name") or visit.query("name")
        await remember_settings(visit, kind, name, ENTRY, id=visit.id(), server=visit.id("server"))
        portal, server = await _found(visit)
        row = next((one for one in _rows(server, kind) if one.name == name), None)
        if row is None:
            return Went(_list_path(portal.id, server.server_id, kind), "not-listed")
        settings = server.updated_tools if kind == "tool" else server.updated_prompts
        below = next((one for one in settings if one.name == name), ShownOverride(name=name))
        default = "Not shown, as is the default here" if server.default_disabled else "As the server has it"
        values = {"kind": kind, "row": row, "below": below, "choices": (("", default), *ENABLED)}
        return _page("portal_tool.html", portal, server, f"{name} at {portal.name}", values)

    async def _save(self, kind: CapabilityKind, visit: Visit) -> Answer:
        portal, server = await _found(visit)
        members = {**sent_setting(visit), "enabled": WHEN_SENT.get(visit.sent("enabled"))}
        changes: list[Members] = [{**members, "name": visit.sent("name")}]
        try:
            return await self._changed(kind, visit, portal, server, changes, "saved")
        except AdminError as error:
            raise about_one(error) from None

    async def _changed(
        self,
        kind: CapabilityKind,
        visit: Visit,
        portal: ShownPortal,
        server: ShownPortalServer,
        changes: list[Members],
        said: str,
    ) -> Answer:
        await _change(visit, portal, server.server_id, {f"updated_{kind}s": changes})
        return Went(back_to(_list_path(portal.id, server.server_id, kind), visit, "#list"), said)


def entry_path(portal: str, server: str) -> str:
    """The path of the page of a server at a portal."""
    return f"{portal_path(portal)}/servers/{quote(server, safe='')}"


def _list_path(portal: str, server: str, kind: CapabilityKind) -> str:
    return entry_path(portal, server) + ("" if kind == "tool" else "/prompts")


async def _found(visit: Visit) -> tuple[ShownPortal, ShownPortalServer]:
    """
    Raises:
        AdminError: there is no such portal, or it has no such server.
    """
    portal = await visit.api.show(ShownPortal, ITEM, id=visit.id())
    for one in portal.servers:
        if one.server_id == visit.id("server"):
            return portal, one
    raise not_found("this portal's server")


async def _change(visit: Visit, portal: ShownPortal, server: str, changes: Mapping[str, object]) -> None:
    """Change what is said of the entry of one server of a portal. All else stays."""
    await visit.api.change("PATCH", ENTRY, changes, id=portal.id, server=server)


def _rows(server: ShownPortalServer, kind: CapabilityKind) -> list[CapabilityRow]:
    return rows_of(server.offered, kind, own_settings(server, kind))


def _needed(server: ShownPortalServer, kind: CapabilityKind) -> Callable[[str, bool], bool | None]:
    """What the portal has to say so that one is shown or not: None where it is so without that."""
    settings = server.updated_tools if kind == "tool" else server.updated_prompts
    disabled = {one.name for one in settings if one.server_enabled is False}

    def needed(name: str, on: bool) -> bool | None:
        without = not server.default_disabled and name not in disabled
        return None if on == without else on

    return needed


def _page(
    template: str, portal: ShownPortal, server: ShownPortalServer, title: str, values: Mapping[str, object]
) -> Shown:
    shown = {
        "portal": portal,
        "server": server,
        "tone": TONES[server.status],
        "base": entry_path(portal.id, server.server_id),
    }
    crumbs = [*ABOVE, Crumb(portal.name, portal_path(portal.id))]
    if template != "portal_server.html":
        crumbs.append(Crumb(server.name, entry_path(portal.id, server.server_id)))
    return Shown(template, title, {**shown, **values}, crumbs)
