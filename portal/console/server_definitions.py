"""The pages of what a server says of its tools and prompts: what waits for approval, and what has changed lately."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.routing import Route

from portal.admin import PendingApproval, ServedServer, ShownServer, invalid
from portal.console.frame import ConsoleFrame
from portal.console.servers import (
    HERE,
    ITEM,
    SERVED_ITEM,
    configured_path,
    served_page,
    server_page,
    server_path,
)
from portal.console.visit import Answer, Visit, Went


@dataclass(frozen=True, slots=True)
class WaitingDefinition:
    """A definition that waits, with its JSON and that of the approved one as people read it."""

    shown: PendingApproval
    now: str
    before: str


class ServerDefinitionPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        configured = "/configured/servers/{id}/approvals"
        return [
            page("/servers/{id}/approvals", HERE, self._approvals),
            form("/servers/{id}/approvals", HERE, self._approve, self._approvals, {"approve": ""}),
            page("/servers/{id}/changes", HERE, self._changes),
            page(configured, HERE, self._approvals_configured),
            form(configured, HERE, self._approve_configured, self._approvals_configured, {"approve": ""}),
        ]

    async def _approvals(self, visit: Visit) -> Answer:
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        return server_page("server_approvals.html", server, "approvals", await _waiting(visit, ITEM))

    async def _approve(self, visit: Visit) -> Answer:
        await _approve_seen(visit, ITEM)
        return Went(f"{server_path(visit.id())}/approvals", "approved")

    async def _approvals_configured(self, visit: Visit) -> Answer:
        server = await visit.api.show(ServedServer, SERVED_ITEM, id=visit.id())
        return served_page("server_approvals.html", server, "approvals", await _waiting(visit, SERVED_ITEM))

    async def _approve_configured(self, visit: Visit) -> Answer:
        await _approve_seen(visit, SERVED_ITEM)
        return Went(f"{configured_path(visit.id())}/approvals", "approved")

    async def _changes(self, visit: Visit) -> Answer:
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        return server_page("server_changes.html", server, "changes", {"changes": server.capability_changes[::-1]})


async def _waiting(visit: Visit, item: str) -> Mapping[str, object]:
    """What waits for approval at the server with this path in the API."""
    found = await visit.api.list(PendingApproval, f"{item}/pins", visit.page_query(), id=visit.id())
    waiting = [WaitingDefinition(one, _pretty(one.definition), _pretty(one.approved_definition)) for one in found.items]
    digests = " ".join(one.digest for one in found.items)
    return {"found": found, "waiting": waiting, "digests": digests, "search": visit.query("search")}


async def _approve_seen(visit: Visit, item: str) -> None:
    """Approve the definitions that the administrator has seen, and no other of the same names."""
    seen = set(visit.sent("digests").split())
    found = await visit.api.list(PendingApproval, f"{item}/pins", id=visit.id())
    chosen = [{"kind": one.kind, "name": one.name, "digest": one.digest} for one in found.items if one.digest in seen]
    if len({one["digest"] for one in chosen}) < len(seen):
        raise invalid("a definition has changed since this page was shown; look at what waits now")
    await visit.api.change("POST", f"{item}/pins/approve", {"approve": chosen}, id=visit.id())


def _pretty(definition: str | None) -> str:
    return json.dumps(json.loads(definition), indent=2, ensure_ascii=False) if definition else ""
