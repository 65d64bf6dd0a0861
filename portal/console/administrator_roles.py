"""The pages of roles by rules: which people of identity providers are administrators, without an account here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from starlette.routing import Route

from portal.admin import ACCOUNT, AdminError, ShownRole, ShownRoles, not_found
from portal.console.administrators import HERE, LIST, ROLES_API, own_id
from portal.console.frame import ConsoleFrame, require_name
from portal.console.rule_fields import sent_sets, shown_sets
from portal.console.rule_words import holder_words, plain_sets, read_known
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

API = "/access/ai-controls/roles"
RULES = f"{LIST}/by-rules"
ABOVE = (Crumb("Administrators", LIST),)


class RoleRulePages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/administrators/by-rules", HERE, self._list),
            page("/administrators/by-rules/{role}", HERE, self._show, changes=ACCOUNT),
            form("/administrators/by-rules/{role}", HERE, self._save, self._show),
        ]

    async def _list(self, visit: Visit) -> Answer:
        roles, known = (await visit.api.list(ShownRole, ROLES_API)).items, await read_known(visit)
        stored = _members(await visit.api.show(ShownRoles, API))
        rows = [(one, holder_words(stored.get(one.key) or {}, known)) for one in roles]
        values = {"rows": rows, "by_rule": not own_id(visit)}
        return Shown("administrator_rules.html", "Administrators by rules", values, ABOVE)

    async def _show(self, visit: Visit) -> Answer:
        role = await self._role(visit)
        stored = _members(await visit.api.show(ShownRoles, API)).get(role.key) or {}
        values = {
            "role": role,
            "sets": shown_sets(plain_sets(stored), await read_known(visit)),
            "action": f"{RULES}/{role.key}",
            "confirms": visit.identity.label if _is_own(visit, role) else "",
        }
        above = (*ABOVE, Crumb("By rules", RULES))
        return Shown("administrator_rule.html", f"Rules for {role.name.lower()}s", values, above)

    async def _save(self, visit: Visit) -> Answer:
        """The rules of one role. Those of the others stay."""
        role, sent = await self._role(visit), sent_sets(visit, await read_known(visit))
        if _is_own(visit, role):
            require_name(visit, visit.identity.label)
        stored = _members(await visit.api.show(ShownRoles, API))
        rules = dict(sent.rules) if any(sent.rules.values()) else None
        try:
            await visit.api.change("PUT", API, {**stored, role.key: rules})
        except AdminError as error:
            raise sent.placed(_below(error, role.key)) from None
        return Went(RULES, "saved")

    async def _role(self, visit: Visit) -> ShownRole:
        roles = (await visit.api.list(ShownRole, ROLES_API)).items
        role = next((one for one in roles if one.key == visit.id("role")), None)
        if role is None:
            raise not_found("role")
        return role


def _is_own(visit: Visit, role: ShownRole) -> bool:
    """Whether the viewer has this role by these rules: a change may take it from them."""
    return not own_id(visit) and visit.role.name == role.key


def _members(shown: ShownRoles) -> Mapping[str, Mapping[str, object] | None]:
    """The rules of each role in the JSON of the API, and whatever else is stored beside them."""
    members = shown.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"updated_at"})
    return {name: value for name, value in members.items() if isinstance(value, dict)}


def _below(error: AdminError, role: str) -> AdminError:
    """The error with places in the rules of the role, and not in those of all roles."""
    inside = [replace(one, pointer=one.pointer.removeprefix(f"/{role}")) for one in error.problems]
    return AdminError(error.status, inside)
