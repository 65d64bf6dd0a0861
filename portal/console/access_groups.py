"""The pages of Access groups: reusable sets of rules, and what uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from starlette.routing import Route

from portal.admin import ORGANIZATION, AdminError, ShownGroup, ShownPolicy
from portal.console.configured import ConfiguredRow, configured, documented_holders, documented_users
from portal.console.frame import Confirmation, ConsoleFrame, deletion, once_unused
from portal.console.rule_fields import blank_sets, sent_sets, shown_sets
from portal.console.rule_words import (
    GROUPS,
    POLICIES,
    Known,
    RuleUser,
    holder_words,
    plain_sets,
    read_known,
    refers_to,
    rule_users,
)
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "policies", "/admin/policies/groups"
ITEM = f"{GROUPS}/{{id}}"
ABOVE = (Crumb("Access groups", LIST),)


class AccessGroupPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/policies/groups", HERE, self._list),
            page("/policies/groups/new", HERE, self._new, changes=ORGANIZATION),
            form("/policies/groups/new", HERE, self._add, self._new),
            page("/policies/groups/{id}", HERE, self._show),
            form("/policies/groups/{id}", HERE, self._save, self._show),
            *self._frame.confirmation("/policies/groups/{id}/remove", HERE, self._remove, ORGANIZATION),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownGroup, GROUPS, visit.page_query())
        known, policies, holders = await read_known(visit), await _policies(visit), await documented_holders(visit)
        rows = [(one, holder_words(one, known), users_of(one.id, policies, known, holders)) for one in found.items]
        search = visit.query("search")
        values = {
            "found": found,
            "rows": rows,
            "search": search,
            "can_change": visit.may(ORGANIZATION),
            "configured": await configured(visit, "groups", search, known),
        }
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
        values = {
            "group": group,
            "sets": shown_sets(plain_sets(group), _others(known, group)),
            "words": holder_words(group, known),
            "users": users_of(group.id, await _policies(visit), known, await documented_holders(visit)),
            "action": f"{LIST}/{group.id}",
            "can_change": visit.may(ORGANIZATION),
        }
        return Shown("access_group.html", group.name or group.id, values, ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        group = await visit.api.show(ShownGroup, ITEM, id=visit.id())
        await _written(visit, _others(await read_known(visit), group), group)
        return Went(f"{LIST}/{group.id}", "saved")

    async def _remove(self, visit: Visit) -> Confirmation:
        group = await visit.api.show(ShownGroup, ITEM, id=visit.id())
        known, holders = await read_known(visit), await documented_holders(visit)
        users = users_of(group.id, await _policies(visit), known, holders)
        return Confirmation(
            f"Remove {group.name}?",
            name=group.name,
            back=f"{LIST}/{group.id}",
            consequences=once_unused([name for name, _ in users], "No policy and no other group uses it."),
            act=deletion(visit, ITEM, LIST, id=group.id),
        )


def users_of(id: str, policies: list[ShownPolicy], known: Known, documented: Sequence[ConfiguredRow]) -> list[RuleUser]:
    """The policies and groups with a rule that names this group, also those of the operator's document."""
    found = rule_users(policies, known.groups, lambda one: refers_to(one, "group", id, "id"))
    return [*found, *documented_users(documented, ("group",), id)]


def _others(known: Known, group: ShownGroup) -> Known:
    """What rules of this group can refer to: all but itself."""
    return replace(known, groups=[one for one in known.groups if one.id != group.id])


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
