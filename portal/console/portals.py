"""The pages of MCP portals: which there are, where agents reach each, and which servers it shows in which way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from starlette.routing import Route

from portal.admin import (
    OWN_PORTAL,
    POLICIES,
    PORTALS,
    ServedPortal,
    ServedServer,
    ShownApp,
    ShownPortal,
    ShownPortalServer,
    ShownServer,
)
from portal.console.configured import configured, configured_settings, is_of_portal
from portal.console.frame import Confirmation, ConsoleFrame, deletion
from portal.console.servers import SERVED, TONES
from portal.console.visit import Answer, Crumb, Shown, Visit, Went
from portal.home import offered

HERE, LIST, NEW = "portals", "/admin/portals", "/admin/new-portal"
API = "/access/ai-controls/mcp/portals"
ITEM = f"{API}/{{id}}"
SERVERS_API = "/access/ai-controls/mcp/servers"
ABOVE = (Crumb("MCP portals", LIST),)
CODE_MODES = (
    ("opt_in", "Opt-in: only where the client's URL asks for it"),
    ("default_on", "Default on: unless the client's URL says ?codemode=off"),
    ("enforced", "Enforced: always, whatever the URL says"),
    ("off", "Off: agents see every tool by itself"),
)
CODE_MODE_NAMES = {"opt_in": "Opt-in", "default_on": "Default on", "enforced": "Enforced", "off": "Off"}


class PortalPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/portals", HERE, self._list),
            page("/new-portal", HERE, self._new, changes=PORTALS),
            form("/new-portal", HERE, self._add, self._new),
            page("/portals/{id}", HERE, self._show),
            page("/portals/{id}/edit", HERE, self._edit, changes=PORTALS),
            form("/portals/{id}/edit", HERE, self._save, self._edit),
            form("/portals/{id}/attach", HERE, self._attach, self._show, {"servers": "server_id"}),
            form("/portals/{id}/detach", HERE, self._detach, self._show),
            *self._frame.confirmation("/portals/{id}/remove", HERE, self._remove, PORTALS),
            page("/configured/portals/{id}", HERE, self._show_configured),
        ]

    async def _list(self, visit: Visit) -> Answer:
        search = visit.query("search")
        found = await visit.api.list(ShownPortal, API, visit.page_query())
        served = await visit.api.list(ServedPortal, f"{SERVED}/portals")
        wanted = search.lower()
        configured = [
            one
            for one in served.items
            if one.source == "configuration" and (wanted in one.name.lower() or wanted in one.hostname.lower())
        ]
        values = {
            "found": found,
            "search": search,
            "configured": configured,
            "urls": {one.id: one.url for one in served.items},
            "modes": CODE_MODE_NAMES,
        }
        return Shown("portals.html", "MCP portals", values)

    async def _new(self, visit: Visit) -> Answer:
        return Shown("portal_new.html", "Add an MCP portal", {"modes": CODE_MODES}, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        body = {
            "id": visit.sent("id"),
            "hostname": visit.sent("hostname"),
            "name": visit.sent("name") or visit.sent("id"),
            "code_mode": visit.sent("code_mode"),
            "description": visit.sent("description") or None,
            "secure_web_gateway": visit.ticked("secure_web_gateway"),
        }
        made = await visit.api.made(ShownPortal, "POST", API, body)
        return Went(portal_path(made.id), "added-portal")

    async def _show(self, visit: Visit) -> Answer:
        portal = await visit.api.show(ShownPortal, ITEM, id=visit.id())
        served = await _served(visit, portal.id)
        attached = {one.server_id for one in portal.servers}
        servers = await visit.api.list(ShownServer, SERVERS_API)
        values = {
            "portal": portal,
            "base": portal_path(portal.id),
            "tones": TONES,
            "modes": dict(CODE_MODES),
            "offer": offered(served.url, served.code_mode) if served is not None else None,
            "broken": servers.broken,
            "attachable": [(one.id, one.name) for one in servers.items if one.id not in attached],
            "own_hostname": await _is_own(visit, portal.hostname),
            **await _about_access(visit, portal.id, portal.hostname, [one.server_id for one in portal.servers]),
        }
        return Shown("portal.html", portal.name, values, ABOVE, keys=(portal.modified_by,))

    async def _show_configured(self, visit: Visit) -> Answer:
        portal = await visit.api.show(ServedPortal, f"{SERVED}/portals/{{id}}", id=visit.id())
        found = await visit.api.list(ServedServer, f"{SERVED}/servers")
        chosen = None if portal.servers is None else {one.server_id: one for one in portal.servers}
        servers = [
            (one, chosen[one.id] if chosen is not None else None)
            for one in found.items
            if chosen is None or one.id in chosen
        ]
        values = {
            "portal": portal,
            "servers": servers,
            "is_own": portal.id == OWN_PORTAL,
            # Those of the document's own are those of the instance, which have a page.
            "settings": await configured_settings(visit, portal.key) if portal.key and portal.id != OWN_PORTAL else (),
            "tones": TONES,
            "modes": dict(CODE_MODES),
            "offer": offered(portal.url, portal.code_mode),
            **await _about_access(visit, portal.id, portal.hostname, [one.id for one, _ in servers]),
        }
        return Shown("portal_configured.html", portal.name, values, ABOVE)

    async def _edit(self, visit: Visit) -> Answer:
        portal = await visit.api.show(ShownPortal, ITEM, id=visit.id())
        values = {"portal": portal, "modes": CODE_MODES}
        crumbs = (*ABOVE, Crumb(portal.name, portal_path(portal.id)))
        return Shown("portal_edit.html", f"Settings of {portal.name}", values, crumbs)

    async def _save(self, visit: Visit) -> Answer:
        body = {
            "name": visit.sent("name"),
            "hostname": visit.sent("hostname"),
            "description": visit.sent("description") or None,
            "code_mode": visit.sent("code_mode"),
            "secure_web_gateway": visit.ticked("secure_web_gateway"),
        }
        await visit.api.change("PUT", ITEM, body, id=visit.id())
        return Went(portal_path(visit.id()), "saved")

    async def _attach(self, visit: Visit) -> Answer:
        entry = {
            "server_id": visit.sent("server_id"),
            "default_disabled": visit.ticked("default_disabled"),
            "on_behalf": visit.ticked("on_behalf"),
        }
        await visit.api.change("POST", f"{ITEM}/servers", entry, id=visit.id())
        return Went(f"{portal_path(visit.id())}#servers", "server-attached")

    async def _detach(self, visit: Visit) -> Answer:
        one = f"{ITEM}/servers/{{server}}"
        await visit.api.change("DELETE", one, id=visit.id(), server=visit.sent("server_id"))
        return Went(f"{portal_path(visit.id())}#servers", "server-detached")

    async def _remove(self, visit: Visit) -> Confirmation:
        portal = await visit.api.show(ShownPortal, ITEM, id=visit.id())
        return Confirmation(
            f"Remove {portal.name}?",
            name=portal.id,
            back=portal_path(portal.id),
            consequences=(
                f"Agents that are connected to {portal.name} lose it at once, and people their sessions there.",
                "Its servers stay, and so do the applications that name its hostname.",
            ),
            act=deletion(visit, ITEM, LIST, id=portal.id),
        )


def portal_path(id: str) -> str:
    """The path of the page of a stored portal."""
    return f"{LIST}/{quote(id, safe='')}"


def own_settings(server: ShownPortalServer, kind: str) -> list[Mapping[str, object]]:
    """The portal's own settings of a server's tools or prompts."""
    found: list[Mapping[str, object]] = []
    for one in server.updated_tools if kind == "tool" else server.updated_prompts:
        members = {"enabled": one.portal_enabled, "alias": one.portal_alias, "description": one.portal_description}
        kept = {name: value for name, value in members.items() if value is not None}
        if kept:
            found.append({"name": one.name, **kept})
    return found


async def _served(visit: Visit, id: str) -> ServedPortal | None:
    """The portal as it is in service, None where it is not yet."""
    served = await visit.api.list(ServedPortal, f"{SERVED}/portals")
    return next((one for one in served.items if one.id == id), None)


async def _is_own(visit: Visit, hostname: str) -> bool:
    """Whether a portal has the host name of the document's own, whose settings it then has."""
    own = await _served(visit, OWN_PORTAL)
    return own is not None and bool(hostname) and own.hostname == hostname


async def _about_access(visit: Visit, id: str, hostname: str, servers: Sequence[str]) -> Mapping[str, object]:
    """The applications, and the policies of the operator's document, that decide who may use a portal and its servers,
    as far as the administrator may read them."""
    tester = f"/admin/policy-tester?{urlencode({'portal_id': id})}"
    if not visit.may(POLICIES, writing=False):
        return {"apps": (), "uncovered": (), "documented": (), "may_see_apps": False, "tester": tester}
    found = await visit.api.list(ShownApp, "/access/apps")
    apps = [one for one in found.items if one.type == "mcp_portal" and (one.domain or "").lower() == hostname]
    covered = {target.mcp_server_id for one in found.items if one.type == "mcp" for target in one.destinations}
    served = (await visit.api.list(ServedServer, f"{SERVED}/servers")).items
    # A server of the document without policies is for whoever may use the portal.
    covered |= {one.id for one in served if one.source == "configuration"}
    return {
        "apps": apps,
        "uncovered": [one for one in servers if one not in covered],
        "documented": [one for one in await configured(visit, "policies") if is_of_portal(one, id)],
        "may_see_apps": True,
        "tester": tester,
    }
