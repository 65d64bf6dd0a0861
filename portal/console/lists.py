"""The pages of lists: e-mail addresses or networks that policies refer to."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import Route

from portal.admin import ZERO_TRUST, ShownItem, ShownList, WholeList, invalid
from portal.console.configured import configured, documented_holders, documented_users
from portal.console.frame import Confirmation, ConsoleFrame, deletion, once_unused
from portal.console.rule_words import LISTS, RuleUser, read_rule_users, refers_to
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "policies", "/admin/policies/lists"
ITEM = f"{LISTS}/{{id}}"
ABOVE = (Crumb("Lists", LIST),)
KINDS = (("EMAIL", "E-mail addresses"), ("IP", "IP addresses and networks"))


class ListPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/policies/lists", HERE, self._list),
            page("/policies/lists/new", HERE, self._new, changes=ZERO_TRUST),
            form("/policies/lists/new", HERE, self._add, self._new),
            page("/policies/lists/{id}", HERE, self._show),
            form("/policies/lists/{id}", HERE, self._save, self._show),
            form("/policies/lists/{id}/add", HERE, self._append, self._show),
            form("/policies/lists/{id}/take", HERE, self._take, self._show),
            *self._frame.confirmation("/policies/lists/{id}/remove", HERE, self._remove, ZERO_TRUST),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownList, LISTS, visit.page_query())
        search = visit.query("search")
        values = {
            "found": found,
            "configured": await configured(visit, "lists", search),
            "search": search,
            "kinds": dict(KINDS),
            "can_change": visit.may(ZERO_TRUST),
        }
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
        items = await visit.api.list(ShownItem, f"{ITEM}/items", visit.page_query(), id=visit.id())
        values = {
            "list": found,
            "items": items,
            "search": visit.query("search"),
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

    async def _remove(self, visit: Visit) -> Confirmation:
        found = await visit.api.show(WholeList, ITEM, id=visit.id())
        users = await _users(visit, found)
        return Confirmation(
            f"Remove {found.name}?",
            name=found.name,
            back=f"{LIST}/{found.id}",
            consequences=once_unused([name for name, _ in users], "No policy and no access group uses it."),
            act=deletion(visit, ITEM, LIST, id=found.id),
        )


async def _users(visit: Visit, found: WholeList) -> Sequence[RuleUser]:
    """The policies and access groups with a rule that names this list."""
    selector = "email_list" if found.type == "EMAIL" else "ip_list"
    found_users = await read_rule_users(visit, lambda one: refers_to(one, selector, found.id, "id"))
    return [*found_users, *documented_users(await documented_holders(visit), (selector,), found.id)]
