"""The pages of lists: e-mail addresses or networks that policies refer to."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import Route

from portal.admin import ZERO_TRUST, ShownGroup, ShownItem, ShownList, ShownPolicy, WholeList, invalid
from portal.console.configured import configured, documented_holders, documented_users
from portal.console.frame import ConsoleFrame, require_name, sure
from portal.console.rule_words import GROUPS, LISTS, refers_to
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "policies", "/admin/policies/lists"
ITEM = f"{LISTS}/{{id}}"
ABOVE = (Crumb("Lists", LIST),)
KINDS = (("EMAIL", "E-mail addresses"), ("IP", "IP addresses and networks"))
PER_PAGE = 50


class ListPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/policies/lists", HERE, self._list),
            page("/policies/lists/new", HERE, self._new),
            form("/policies/lists/new", HERE, self._add, self._new),
            page("/policies/lists/{id}", HERE, self._show),
            form("/policies/lists/{id}", HERE, self._save, self._show),
            form("/policies/lists/{id}/add", HERE, self._append, self._show),
            form("/policies/lists/{id}/take", HERE, self._take, self._show),
            page("/policies/lists/{id}/remove", HERE, self._sure),
            form("/policies/lists/{id}/remove", HERE, self._remove, self._sure),
        ]

    async def _list(self, visit: Visit) -> Answer:
        search, page = visit.query("search"), visit.query("page", "1")
        found = await visit.api.list(ShownList, LISTS, {"search": search, "page": page, "per_page": str(PER_PAGE)})
        values = {"found": found, "search": search, "kinds": dict(KINDS), "can_change": visit.may(ZERO_TRUST)}
        values["configured"] = await configured(visit, "lists", search)
        return Shown("lists.html", "Lists", values)

    async def _new(self, visit: Visit) -> Answer:
        return Shown("list_new.html", "Add a list", {"kinds": KINDS}, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        body: dict[str, object] = {
            "name": visit.sent("name"),
            "type": visit.sent("type"),
            "description": visit.sent("description"),
            "items": [{"value": line} for line in visit.lines("items")],
        }
        made = await visit.api.made(WholeList, "POST", LISTS, body)
        return Went(f"{LIST}/{made.id}", "made")

    async def _show(self, visit: Visit) -> Answer:
        found = await visit.api.show(WholeList, ITEM, id=visit.id())
        search, page = visit.query("search"), visit.query("page", "1")
        query = {"search": search, "page": page, "per_page": str(PER_PAGE)}
        items = await visit.api.list(ShownItem, f"{ITEM}/items", query, id=visit.id())
        values = {
            "list": found,
            "items": items,
            "search": search,
            "kind": dict(KINDS)[found.type],
            "users": await _users(visit, found),
            "can_change": visit.may(ZERO_TRUST),
        }
        return Shown("list.html", found.name, values, ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        body = {"name": visit.sent("name"), "description": visit.sent("description")}
        await visit.api.change("PUT", ITEM, body, id=visit.id())
        return Went(f"{LIST}/{visit.id()}", "saved")

    async def _append(self, visit: Visit) -> Answer:
        lines = visit.lines("items")
        if not lines:
            raise invalid("write at least one", "/items")
        await visit.api.change("PATCH", ITEM, {"append": [{"value": one} for one in lines]}, id=visit.id())
        return Went(f"{LIST}/{visit.id()}", "added-items")

    async def _take(self, visit: Visit) -> Answer:
        await visit.api.change("PATCH", ITEM, {"remove": [visit.sent("value")]}, id=visit.id())
        return Went(f"{LIST}/{visit.id()}", "removed")

    async def _sure(self, visit: Visit) -> Answer:
        found = await visit.api.show(WholeList, ITEM, id=visit.id())
        here, users = f"{LIST}/{found.id}", await _users(visit, found)
        used = f"{', '.join(name for name, _ in users[:5])} use it: it is removed only when they do not any more."
        consequences = (used,) if users else ("No policy and no access group uses it.",)
        return sure(
            f"Remove {found.name}?", name=found.name, action=f"{here}/remove", back=here, consequences=consequences
        )

    async def _remove(self, visit: Visit) -> Answer:
        found = await visit.api.show(WholeList, ITEM, id=visit.id())
        require_name(visit, found.name)
        await visit.api.change("DELETE", ITEM, id=found.id)
        return Went(LIST, "removed")


async def _users(visit: Visit, found: WholeList) -> Sequence[tuple[str, str]]:
    """The policies and access groups with a rule that names this list: their names, and the paths of their pages."""
    selector = "email_list" if found.type == "EMAIL" else "ip_list"
    policies = (await visit.api.list(ShownPolicy, "/access/policies")).items
    groups = (await visit.api.list(ShownGroup, GROUPS)).items
    paths = [(one, f"/admin/policies/reusable/{one.id}") for one in policies]
    paths += [(one, f"/admin/policies/groups/{one.id}") for one in groups]  # type: ignore[misc]
    documented = documented_users(await documented_holders(visit), (selector,), found.id)
    return [*((one.name, path) for one, path in paths if refers_to(one, selector, found.id, "id")), *documented]
