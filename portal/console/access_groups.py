"""The pages of Access groups: reusable sets of rules, and what uses them."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import Route

from portal.admin import ORGANIZATION, AdminError, ShownGroup, ShownPolicy
from portal.console.configured import ConfiguredRow, configured, documented_holders, documented_users
from portal.console.frame import ConsoleFrame, require_name, sure
from portal.console.rule_fields import blank_sets, sent_sets, shown_sets
from portal.console.rule_words import GROUPS, Known, holder_words, plain_rules, read_known, refers_to
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "policies", "/admin/policies/groups"
ITEM, POLICIES = f"{GROUPS}/{{id}}", "/access/policies"
ABOVE = (Crumb("Access groups", LIST),)
PER_PAGE = 50
GroupUser = tuple[str, str]
"""The name of what uses a group, and the path of its page."""


class AccessGroupPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/policies/groups", HERE, self._list),
            page("/policies/groups/new", HERE, self._new),
            form("/policies/groups/new", HERE, self._add, self._new),
            page("/policies/groups/{id}", HERE, self._show),
            form("/policies/groups/{id}", HERE, self._save, self._show),
            page("/policies/groups/{id}/remove", HERE, self._sure),
            form("/policies/groups/{id}/remove", HERE, self._remove, self._sure),
        ]

    async def _list(self, visit: Visit) -> Answer:
        search, page = visit.query("search"), visit.query("page", "1")
        found = await visit.api.list(ShownGroup, GROUPS, {"search": search, "page": page, "per_page": str(PER_PAGE)})
        known, policies, holders = await read_known(visit), await _policies(visit), await documented_holders(visit)
        rows = [(one, holder_words(one, known), users_of(one.id, policies, known, holders)) for one in found.items]
        documented = await configured(visit, "groups", search, known)
        values = {"found": found, "rows": rows, "search": search, "can_change": visit.may(ORGANIZATION)}
        values["configured"] = documented
        return Shown("access_groups.html", "Access groups", values)

    async def _new(self, visit: Visit) -> Answer:
        sets = blank_sets(await read_known(visit))
        values = {"group": None, "sets": sets, "action": f"{LIST}/new", "can_change": visit.may(ORGANIZATION)}
        return Shown("access_group.html", "Add an access group", values, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        made = await _written(visit, await read_known(visit), None)
        return Went(f"{LIST}/{made.id}", "made")

    async def _show(self, visit: Visit) -> Answer:
        group = await visit.api.show(ShownGroup, ITEM, id=visit.id())
        known = await read_known(visit)
        rules = {name: plain_rules(group, name) for name in ("include", "require", "exclude")}
        values = {
            "group": group,
            "sets": shown_sets(rules, known),
            "words": holder_words(group, known),
            "users": users_of(group.id, await _policies(visit), known, await documented_holders(visit)),
            "action": f"{LIST}/{group.id}",
            "can_change": visit.may(ORGANIZATION),
        }
        return Shown("access_group.html", group.name or group.id, values, ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        group = await visit.api.show(ShownGroup, ITEM, id=visit.id())
        await _written(visit, await read_known(visit), group)
        return Went(f"{LIST}/{group.id}", "saved")

    async def _sure(self, visit: Visit) -> Answer:
        group = await visit.api.show(ShownGroup, ITEM, id=visit.id())
        here, known, holders = f"{LIST}/{group.id}", await read_known(visit), await documented_holders(visit)
        users = users_of(group.id, await _policies(visit), known, holders)
        used = f"{', '.join(name for name, _ in users[:5])} use it: it is removed only when they do not any more."
        consequences = (used,) if users else ("No policy and no other group uses it.",)
        return sure(
            f"Remove {group.name}?", name=group.name, action=f"{here}/remove", back=here, consequences=consequences
        )

    async def _remove(self, visit: Visit) -> Answer:
        group = await visit.api.show(ShownGroup, ITEM, id=visit.id())
        require_name(visit, group.name)
        await visit.api.change("DELETE", ITEM, id=group.id)
        return Went(LIST, "removed")


def users_of(
    id: str, policies: list[ShownPolicy], known: Known, documented: Sequence[ConfiguredRow]
) -> list[GroupUser]:
    """The policies and groups with a rule that names this group, also those of the operator's document."""
    found = [(one.name, f"/admin/policies/reusable/{one.id}") for one in policies if refers_to(one, "group", id, "id")]
    found += [(one.name, f"{LIST}/{one.id}") for one in known.groups if refers_to(one, "group", id, "id")]
    return found + documented_users(documented, ("group",), id)


async def _policies(visit: Visit) -> list[ShownPolicy]:
    return list((await visit.api.list(ShownPolicy, POLICIES)).items)


async def _written(visit: Visit, known: Known, before: ShownGroup | None) -> ShownGroup:
    """The group that a form makes.

    Raises:
        AdminError: it cannot be stored; the problems name fields of the form.
    """
    sent = sent_sets(visit, known)
    former = before.model_dump(mode="json", by_alias=True, exclude_none=True) if before is not None else {}
    body = {**former, "name": visit.sent("name"), **sent.rules}
    try:
        if before is None:
            return await visit.api.made(ShownGroup, "POST", GROUPS, body)
        return await visit.api.made(ShownGroup, "PUT", ITEM, body, id=before.id)
    except AdminError as error:
        raise sent.placed(error) from None
