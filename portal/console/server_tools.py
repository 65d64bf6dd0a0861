"""The pages of a server's tools and prompts: which agents see, how each is called and described, and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.routing import Route

from portal.admin import PORTALS, AdminError, Override, ShownServer
from portal.console.frame import ConsoleFrame
from portal.console.overrides import (
    KINDS,
    MEMBERS,
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
from portal.console.servers import HERE, ITEM, server_page, server_path
from portal.console.visit import Answer, Crumb, Shown, Visit, Went


class ServerToolPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [route for kind in KINDS for route in self._of(kind)]

    def _of(self, kind: CapabilityKind) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        path, show, one = f"/servers/{{id}}/{kind}s", partial(self._list, kind), partial(self._one, kind)
        return [
            page(path, HERE, show),
            form(path, HERE, partial(self._toggle, kind), show),
            form(f"{path}/all", HERE, partial(self._toggle_all, kind), show),
            page(f"/servers/{{id}}/{kind}", HERE, one, changes=PORTALS),
            form(f"/servers/{{id}}/{kind}", HERE, partial(self._save, kind), one),
            form(f"/servers/{{id}}/{kind}/forget", HERE, partial(self._forget, kind), show),
        ]

    async def _list(self, kind: CapabilityKind, visit: Visit) -> Answer:
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        values = list_values(visit, kind, _rows(server, kind))
        return server_page("server_tools.html", server, f"{kind}s", values)

    async def _toggle(self, kind: CapabilityKind, visit: Visit) -> Answer:
        """Enable or disable one. All other settings of the server stay."""
        changes, said = toggled(visit, lambda on: [{"name": visit.sent("name"), "enabled": None if on else False}])
        return await self._changed(kind, visit, changes, said)

    async def _toggle_all(self, kind: CapabilityKind, visit: Visit) -> Answer:
        """Enable or disable all that the search finds."""
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        names = names_found(visit, _rows(server, kind))
        changes, said = toggled(visit, lambda on: [{"name": one, "enabled": None if on else False} for one in names])
        return await self._changed(kind, visit, changes, said)

    async def _one(self, kind: CapabilityKind, visit: Visit) -> Answer:
        name = visit.sent("name") or visit.query("name")
        await remember_settings(visit, kind, name, ITEM, id=visit.id())
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        row = next((one for one in _rows(server, kind) if one.name == name), None)
        if row is None:
            return Went(f"{server_path(server.id)}/{kind}s", "not-listed")
        listed = server.tools if kind == "tool" else server.prompts
        original = next((str(one.get("description") or "") for one in listed if one.get("name") == name), "")
        page = server_page("server_tool.html", server, f"{kind}s", {"kind": kind, "row": row, "original": original})
        return Shown(
            page.template,
            f"{name} of {server.name}",
            page.values,
            (*page.crumbs, Crumb(server.name, server_path(server.id))),
        )

    async def _save(self, kind: CapabilityKind, visit: Visit) -> Answer:
        members = {**sent_setting(visit), "enabled": None if visit.ticked("enabled") else False}
        try:
            return await self._changed(kind, visit, [{**members, "name": visit.sent("name")}], "saved")
        except AdminError as error:
            raise about_one(error) from None

    async def _forget(self, kind: CapabilityKind, visit: Visit) -> Answer:
        """Drop the settings of one that the server does not list any more."""
        nothing = {**dict.fromkeys(MEMBERS), "name": visit.sent("name")}
        return await self._changed(kind, visit, [nothing], "removed")

    async def _changed(self, kind: CapabilityKind, visit: Visit, changes: Sequence[Members], said: str) -> Answer:
        await visit.api.change("PATCH", ITEM, {f"updated_{kind}s": list(changes)}, id=visit.id())
        return Went(back_to(f"{server_path(visit.id())}/{kind}s", visit, "#list"), said)


def _rows(server: ShownServer, kind: CapabilityKind) -> list[CapabilityRow]:
    settings: Sequence[Override] = server.updated_tools if kind == "tool" else server.updated_prompts
    return rows_of(server.offered, kind, [one.model_dump(mode="json", exclude_none=True) for one in settings])
