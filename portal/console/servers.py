"""The pages of MCP servers: which there are and how they are, what each offers, and what of it agents may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.routing import Route

from portal.admin import ShownServer
from portal.console.frame import ConsoleFrame, require_name, sure
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "servers", "/admin/servers"
API = "/access/ai-controls/mcp/servers"
ITEM = f"{API}/{{id}}"
ABOVE = (Crumb("MCP servers", LIST),)
TONES = {"ready": "good", "waiting": "warn", "stale": "warn", "error": "bad"}
AUTH_TYPES = (
    ("unauthenticated", "Nothing: it is open to who reaches it"),
    ("bearer", "A token or headers"),
    ("oauth", "OAuth: people, or the portal, log in to it"),
)
PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Capability:
    """A tool or prompt of a server, with the server's settings for it."""

    name: str
    description: str
    enabled: bool
    alias: str
    own_description: str


class ServerPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/servers", HERE, self._list),
            page("/servers/new", HERE, self._new),
            form("/servers/new", HERE, self._add, self._new),
            page("/servers/{id}", HERE, self._show),
            form("/servers/{id}/sync", HERE, self._sync, self._show),
            form("/servers/{id}/tools", HERE, self._set_tool, self._show),
            page("/servers/{id}/remove", HERE, self._sure),
            form("/servers/{id}/remove", HERE, self._remove, self._sure),
        ]

    async def _list(self, visit: Visit) -> Answer:
        search, page = visit.query("search"), visit.query("page", "1")
        found = await visit.api.list(ShownServer, API, {"search": search, "page": page, "per_page": str(PER_PAGE)})
        return Shown("servers.html", "MCP servers", {"found": found, "search": search, "tones": TONES})

    async def _new(self, visit: Visit) -> Answer:
        return Shown("server_new.html", "Add an MCP server", {"auth_types": AUTH_TYPES}, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        made = await visit.api.made(ShownServer, "POST", API, server_body(visit))
        return Went(f"{LIST}/{made.id}", "added-server")

    async def _show(self, visit: Visit) -> Answer:
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        values = {
            "server": server,
            "tone": TONES[server.status],
            "tools": capabilities(server.tools, server),
            "prompts": [str(one.get("name")) for one in server.prompts],
        }
        return Shown("server.html", server.name, values, ABOVE, keys=(server.modified_by,))

    async def _sync(self, visit: Visit) -> Answer:
        await visit.api.change("POST", f"{ITEM}/sync", id=visit.id())
        return Went(f"{LIST}/{visit.id()}", "synced")

    async def _set_tool(self, visit: Visit) -> Answer:
        """Enable or disable one tool. The other settings of the server stay."""
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        name, enabled = visit.sent("tool"), visit.sent("enabled") == "yes"
        others = [one.model_dump(exclude_none=True) for one in server.updated_tools if one.name != name]
        former = next((one for one in server.updated_tools if one.name == name), None)
        changed = {**(former.model_dump(exclude_none=True) if former is not None else {}), "name": name}
        body = {"updated_tools": [*others, {**changed, "enabled": enabled}]}
        await visit.api.change("PUT", ITEM, body, id=visit.id())
        return Went(f"{LIST}/{visit.id()}#tools", "enabled" if enabled else "disabled")

    async def _sure(self, visit: Visit) -> Answer:
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        here = f"{LIST}/{server.id}"
        consequences = (
            f"Agents lose the {len(server.tools)} tools of {server.name} at once, programs that run too.",
            "Logins of people and of the portal at it are forgotten.",
        )
        return sure(
            f"Remove {server.name}?", name=server.id, action=f"{here}/remove", back=here, consequences=consequences
        )

    async def _remove(self, visit: Visit) -> Answer:
        require_name(visit, visit.id())
        await visit.api.change("DELETE", ITEM, id=visit.id())
        return Went(LIST, "removed")


def server_body(visit: Visit) -> Mapping[str, object]:
    """The server that a form describes, as the API takes it."""
    body: dict[str, object] = {
        "id": visit.sent("id"),
        "name": visit.sent("name") or visit.sent("id"),
        "hostname": visit.sent("hostname"),
        "auth_type": visit.sent("auth_type"),
    }
    for optional in ("description", "auth_credentials"):
        if value := visit.sent(optional):
            body[optional] = value
    return body


def capabilities(listed: Sequence[Mapping[str, object]], server: ShownServer) -> list[Capability]:
    """The tools of a server in its order, with the server's settings."""
    settings = {one.name: one for one in server.updated_tools}
    found = []
    for one in listed:
        name = str(one.get("name", ""))
        setting = settings.get(name)
        found.append(
            Capability(
                name,
                str(one.get("description") or ""),
                setting is None or setting.enabled is not False,
                (setting.alias if setting is not None else None) or "",
                (setting.description if setting is not None else None) or "",
            )
        )
    return found
