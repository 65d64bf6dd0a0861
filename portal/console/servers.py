"""The pages of MCP servers: which there are and how they are, what each is, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.routing import Route

from portal.admin import PORTALS, AdminError, ServedPortal, ServedServer, ShownLoginRequest, ShownServer, Synced
from portal.console.configured import configured_settings
from portal.console.frame import Confirmation, ConsoleFrame, deletion
from portal.console.overrides import paged, words_of
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST, NEW = "servers", "/admin/servers", "/admin/new-server"
API = "/access/ai-controls/mcp/servers"
ITEM = f"{API}/{{id}}"
SERVED = "/access/ai-controls/mcp/served"
SERVED_ITEM = f"{SERVED}/servers/{{id}}"
ABOVE = (Crumb("MCP servers", LIST),)
TONES = {"ready": "good", "waiting": "warn", "stale": "warn", "error": "bad"}
AUTH_TYPES = (
    ("unauthenticated", "Nothing: it is open to who reaches it"),
    ("bearer", "A token or headers"),
    ("oauth", "OAuth: people, or the portal, log in to it"),
)
AUTHENTICATION = {
    "not_required": ("Not required", "off", ""),
    "required": ("Required", "warn", "Nobody has logged in, or no credentials are stored."),
    "manual": ("Required", "warn", "Nobody has logged in."),
    "connected": ("Connected", "good", ""),
    "stale": ("Stale", "bad", "A new login, or another configuration, is needed."),
}


@dataclass(frozen=True, slots=True)
class FixStep:
    """What a page offers as the next thing to do: a button of a form that is sent, or a link; neither for what is done
    elsewhere."""

    words: str
    label: str = ""
    form: str = ""
    link: str = ""


class ServerPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/servers", HERE, self._list),
            page("/new-server", HERE, self._new, changes=PORTALS),
            form("/new-server", HERE, self._add, self._new),
            page("/servers/{id}", HERE, self._show),
            page("/servers/{id}/edit", HERE, self._edit, changes=PORTALS),
            form("/servers/{id}/edit", HERE, self._save, self._edit),
            form("/servers/{id}/sync", HERE, self._sync, self._show),
            form("/servers/{id}/login", HERE, self._log_in, self._show),
            form("/servers/{id}/login/end", HERE, self._log_out, self._show),
            *self._frame.confirmation("/servers/{id}/remove", HERE, self._remove, PORTALS),
            page("/configured/servers/{id}", HERE, self._show_configured),
            form("/configured/servers/{id}/sync", HERE, self._sync_configured, self._show_configured),
        ]

    async def _list(self, visit: Visit) -> Answer:
        search = visit.query("search")
        found = await visit.api.list(ShownServer, API, visit.page_query())
        served = await visit.api.list(ServedServer, f"{SERVED}/servers", {"search": search})
        configured = [one for one in served.items if one.source == "configuration"]
        shadowed = {one.id for one in configured}
        values = {"found": found, "search": search, "tones": TONES, "configured": configured, "shadowed": shadowed}
        return Shown("servers.html", "MCP servers", values)

    async def _new(self, visit: Visit) -> Answer:
        """The form of a new server, filled in with what another is, if the URL names one."""
        like = await visit.api.show(ShownServer, ITEM, id=visit.query("like")) if visit.query("like") else None
        return Shown("server_new.html", "Add an MCP server", {"auth_types": AUTH_TYPES, "like": like}, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        made = await visit.api.made(ShownServer, "POST", API, server_body(visit))
        return Went(server_path(made.id), "added-server")

    async def _show(self, visit: Visit) -> Answer:
        try:
            server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        except AdminError as error:
            if error.status == 404 and visit.id() == "new":
                return Went(NEW)
            raise
        served = await visit.api.list(ServedPortal, f"{SERVED}/portals")
        portals = portals_of(served.items, server.id)
        values = {"portals": portals, "authentication": AUTHENTICATION[server.authentication_status]}
        return server_page("server.html", server, "overview", values)

    async def _show_configured(self, visit: Visit) -> Answer:
        server = await visit.api.show(ServedServer, SERVED_ITEM, id=visit.id())
        served = await visit.api.list(ServedPortal, f"{SERVED}/portals")
        portals = portals_of(served.items, server.id)
        keys = [one.key for one in (await visit.api.list(ServedServer, f"{SERVED}/servers")).items if one.key]
        search = visit.query("search")[:256]
        wanted = search.lower()
        matching = [one for one in server.offered if wanted in one.name.lower() or wanted in one.description.lower()]
        shown, info = paged(matching, visit.query("page"))
        values = {
            "portals": portals,
            "offered": shown,
            "info": info,
            "search": search,
            "settings": await configured_settings(visit, server.key, keys) if server.key else (),
        }
        return served_page("server_configured.html", server, "overview", values)

    async def _edit(self, visit: Visit) -> Answer:
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        return server_page("server_edit.html", server, "edit")

    async def _save(self, visit: Visit) -> Answer:
        body = {
            "name": visit.sent("name"),
            "description": visit.sent("description") or None,
            "labels": words_of(visit.sent("labels")),
            "pin": visit.ticked("pin"),
            "secure_web_gateway": visit.ticked("secure_web_gateway"),
            "assertion_audience": visit.sent("assertion_audience"),
        }
        if url := visit.sent("openapi_url"):
            body["openapi_url"] = url
        # Only a server behind OAuth has this box.
        if visit.sent("has_callback"):
            body["is_shared_oauth_callback_enabled"] = visit.ticked("is_shared_oauth_callback_enabled")
        await visit.api.change("PUT", ITEM, body, id=visit.id())
        return Went(server_path(visit.id()), "saved")

    async def _sync(self, visit: Visit) -> Answer:
        synced = await visit.api.made(Synced, "POST", f"{ITEM}/sync", id=visit.id())
        return Went(server_path(visit.id()), "synced" if synced.status == "ready" else "sync-failed")

    async def _sync_configured(self, visit: Visit) -> Answer:
        synced = await visit.api.made(Synced, "POST", f"{SERVED_ITEM}/sync", id=visit.id())
        return Went(configured_path(visit.id()), "synced" if synced.status == "ready" else "sync-failed")

    async def _log_in(self, visit: Visit) -> Answer:
        """Begin the portal's own login. Its page is one of this portal, so the browser goes there at once; if it has
        another address than this page, there is a link."""
        body = {"scope": visit.sent("scope")}
        begun = await visit.api.made(ShownLoginRequest, "POST", f"{ITEM}/login", body, id=visit.id())
        within = begun.url.removeprefix(visit.visitor.address.url())
        if within != begun.url and within.startswith("/"):
            return Went(within)
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        values = {"url": begun.url, "expires_at": begun.expires_at}
        return server_page("server_log_in.html", server, "overview", values)

    async def _log_out(self, visit: Visit) -> Answer:
        await visit.api.change("DELETE", f"{ITEM}/login", id=visit.id())
        return Went(server_path(visit.id()), "ended")

    async def _remove(self, visit: Visit) -> Confirmation:
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        return Confirmation(
            f"Remove {server.name}?",
            name=server.id,
            back=server_path(server.id),
            consequences=(
                f"Agents lose the {len(server.tools)} tools of {server.name} at once, programs that run too.",
                "Logins of people and of the portal at it are forgotten.",
            ),
            act=deletion(visit, ITEM, LIST, id=server.id),
        )


def server_path(id: str) -> str:
    """The path of the page of a stored server."""
    return f"{LIST}/{quote(id, safe='')}"


def server_page(template: str, server: ShownServer, tab: str, values: Mapping[str, object] | None = None) -> Shown:
    """A page of a server, below its name, its state and its tabs."""
    base = server_path(server.id)
    prompts = sum(one.kind == "prompt" for one in server.offered)
    tabs = [
        ("overview", "Overview", base),
        ("tools", f"Tools ({len(server.offered) - prompts})", f"{base}/tools"),
        ("prompts", f"Prompts ({prompts})", f"{base}/prompts"),
        ("approvals", f"Approvals ({server.waiting_approvals})", f"{base}/approvals"),
        ("changes", f"Changes ({len(server.capability_changes)})", f"{base}/changes"),
        ("edit", "Settings", f"{base}/edit"),
        ("credentials", "Credentials", f"{base}/credentials"),
    ]
    if not server.pin and not server.waiting_approvals:
        tabs = [one for one in tabs if one[0] != "approvals"]
    if server.auth_type == "unauthenticated":
        tabs = [one for one in tabs if one[0] != "credentials"]
    shown = {
        "server": server,
        "of_document": False,
        "base": base,
        "tone": TONES[server.status],
        "tabs": tabs,
        "tab": tab,
        "fix": fix_step(server),
        "logs": f"/admin/logs?{urlencode({'server': server.id})}",
    }
    granted_by = server.credential.granted_by if server.credential is not None else None
    keys = (server.modified_by, granted_by or "")
    return Shown(template, server.name, {**shown, **(values or {})}, ABOVE, keys=keys)


def configured_path(id: str) -> str:
    """The path of the page of a server of the operator's document."""
    return f"/admin/configured/servers/{quote(id, safe='')}"


def served_page(template: str, server: ServedServer, tab: str, values: Mapping[str, object] | None = None) -> Shown:
    """A page of a server of the operator's document, below its name, its state and its tabs."""
    base = configured_path(server.id)
    tabs = [("overview", "Overview", base)]
    if server.pin or server.waiting_approvals:
        tabs.append(("approvals", f"Approvals ({server.waiting_approvals})", f"{base}/approvals"))
    shown = {
        "server": server,
        "of_document": True,
        "base": base,
        "tone": TONES[server.status],
        "tabs": tabs if len(tabs) > 1 else (),
        "tab": tab,
        "fix": fix_step(server),
    }
    return Shown(template, server.name, {**shown, **(values or {})}, ABOVE)


def fix_step(server: ShownServer | ServedServer) -> FixStep | None:
    """The next thing to do about a server, None where all is well."""
    if server.fix is None:
        return None
    base = server_path(server.id) if isinstance(server, ShownServer) else configured_path(server.id)
    words = server.fix.words
    match server.fix.action:
        case "sync" | "start_server":
            return FixStep(words, "Sync now", form=f"{base}/sync")
        case "log_in":
            return FixStep(words, "Log the portal in", form=f"{base}/login")
        case "approve":
            return FixStep(words, "Look at what waits", link=f"{base}/approvals")
        case "edit_credentials":
            return FixStep(words, "Replace the credentials", link=f"{base}/credentials")
        case "edit_url" | "change_auth_type":
            return FixStep(words, "Add it again", link=f"{NEW}?{urlencode({'like': server.id})}")
        case "replace_server":
            return FixStep(words, "Remove it", link=f"{base}/remove")
        case _:
            return FixStep(words)


def server_body(visit: Visit) -> Mapping[str, object]:
    """The server that a form describes, as the API takes it."""
    body: dict[str, object] = {
        "id": visit.sent("id"),
        "name": visit.sent("name") or visit.sent("id"),
        "hostname": visit.sent("hostname"),
        "auth_type": visit.sent("auth_type"),
    }
    for optional in ("description", "auth_credentials", "openapi_url"):
        if value := visit.sent(optional):
            body[optional] = value
    return body


def portals_of(portals: Sequence[ServedPortal], id: str) -> Sequence[ServedPortal]:
    """The portals that have this server."""
    return [one for one in portals if one.servers is None or any(entry.server_id == id for entry in one.servers)]
