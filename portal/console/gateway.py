"""The pages of gateway rules: the order in which they are asked, and each as fields or as its expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.routing import Route

from portal.admin import ZERO_TRUST, AdminError, ShownProfile, ShownRule, invalid
from portal.console.conditions import ConditionFields, Profiles, conditions_of, expressions_of
from portal.console.configured import RULE_TONES, configured
from portal.console.frame import Confirmation, ConsoleFrame, deletion, name_to_type
from portal.console.precedence import PlacedRule, moves
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "gateway", "/admin/gateway"
API = "/gateway/rules"
ITEM = f"{API}/{{id}}"
ABOVE = (Crumb("Gateway rules", LIST),)
ACTIONS = (
    ("block", "Block: the call fails, and the caller reads why"),
    ("allow", "Allow: no rule after this one is asked"),
    ("approve", "Approve: what a call sends waits for people; for outgoing calls alone"),
    ("redact", "Redact: what was found of the profiles is taken out"),
    ("log", "Log: it passes, and the log says so"),
)
DIRECTIONS = (("", "Both"), ("outgoing", "Outgoing: to a server"), ("incoming", "Incoming: from a server"))
METHODS = (
    ("", "All"),
    ("tools/call", "tools/call"),
    ("prompts/get", "prompts/get"),
    ("resources/read", "resources/read"),
    ("completion/complete", "completion/complete"),
    ("elicitation/create", "elicitation/create"),
    ("sampling/createMessage", "sampling/createMessage"),
)
EXPRESSIONS = ("traffic", "identity", "device_posture")
NAMES = {"rule_settings": "block_reason"}


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule in the list: its number among all rules that are stored."""

    number: int
    rule: ShownRule


class GatewayPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/gateway", HERE, self._list),
            page("/gateway/new", HERE, self._new, changes=ZERO_TRUST),
            form("/gateway/new", HERE, self._add, self._new, NAMES),
            page("/gateway/{id}", HERE, self._show),
            form("/gateway/{id}", HERE, self._save, self._show, NAMES),
            form("/gateway/{id}/enabled", HERE, self._switch, self._list),
            form("/gateway/{id}/move", HERE, self._move, self._list),
            *self._frame.confirmation("/gateway/{id}/remove", HERE, self._remove, ZERO_TRUST),
        ]

    async def _list(self, visit: Visit) -> Answer:
        whole = await visit.api.list(ShownRule, API)
        places = {rule.id: number for number, rule in enumerate(whole.items, 1)}
        found = await visit.api.list(ShownRule, API, visit.page_query())
        rows = [RuleRow(places.get(rule.id, 0), rule) for rule in found.items]
        documented = await configured(visit, "gateway-rules")
        wanted = visit.query("search").lower()
        values = {
            "found": found,
            "configured": [one for one in documented if wanted in one.entry.name.lower()],
            "before": len(documented),
            "rows": rows,
            "total": whole.info.total_count,
            "search": visit.query("search"),
            "tones": RULE_TONES,
            "expressions": EXPRESSIONS,
        }
        return Shown("gateway.html", "Gateway rules", values)

    async def _new(self, visit: Visit) -> Answer:
        return await self._form(visit, None)

    async def _show(self, visit: Visit) -> Answer:
        return await self._form(visit, await visit.api.show(ShownRule, ITEM, id=visit.id()))

    async def _form(self, visit: Visit, rule: ShownRule | None) -> Answer:
        """The form of a rule. One that says more than the fields can is there as text."""
        profiles, missing = await _profiles(visit)
        plain = ConditionFields() if rule is None else conditions_of(rule, profiles)
        as_text = plain is None or visit.query("as") == "text"
        values = {
            "rule": rule,
            "plain": plain or ConditionFields(),
            "is_plain": plain is not None,
            "as_text": as_text,
            "profiles": profiles.shown,
            "missing": missing,
            "actions": ACTIONS,
            "directions": DIRECTIONS,
            "methods": METHODS,
            "action_path": LIST + ("/new" if rule is None else f"/{rule.id}"),
        }
        return Shown("gateway_rule.html", "Add a rule" if rule is None else rule.name, values, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        body = await self._body(visit, {})
        await visit.api.made(ShownRule, "POST", API, body)
        return Went(LIST, "saved")

    async def _save(self, visit: Visit) -> Answer:
        rule = await visit.api.show(ShownRule, ITEM, id=visit.id())
        body = await self._body(visit, rule.model_dump(mode="json"))
        await visit.api.change("PUT", ITEM, body, id=rule.id)
        return Went(LIST, "saved")

    async def _body(self, visit: Visit, before: dict[str, object]) -> dict[str, object]:
        """The body of a rule: what is stored, with what the form says."""
        if visit.query("as") == "text":
            expressions = {name: visit.sent(name) for name in EXPRESSIONS}
        else:
            expressions = expressions_of(_typed(visit, (await _profiles(visit))[0]))
        action = visit.sent("action")
        body = {
            **before,
            **expressions,
            "name": visit.sent("name"),
            "description": visit.sent("description"),
            "action": action,
            "enabled": visit.ticked("enabled"),
            "rule_settings": {**_approvers(before, action), "block_reason": visit.sent("block_reason")},
        }
        if precedence := visit.sent("precedence"):
            body["precedence"] = precedence
        return body

    async def _switch(self, visit: Visit) -> Answer:
        rule = await visit.api.show(ShownRule, ITEM, id=visit.id())
        enabled = visit.sent("enabled") == "yes"
        await visit.api.change("PUT", ITEM, {**rule.model_dump(mode="json"), "enabled": enabled}, id=rule.id)
        return Went(LIST, "turned-on" if enabled else "turned-off")

    async def _move(self, visit: Visit) -> Answer:
        """Put a rule before or behind its neighbour. Each rule that changes its place is written once."""
        rules = (await visit.api.list(ShownRule, API)).items
        if all(rule.id != visit.id() for rule in rules):
            raise invalid("there is no such rule any more")
        order = [PlacedRule(rule.id, rule.precedence) for rule in rules]
        for id, precedence in moves(order, visit.id(), up=visit.sent("to") == "up"):
            # Read once more, so that nothing is undone that somebody else changes of it meanwhile.
            rule = await visit.api.show(ShownRule, ITEM, id=id)
            await visit.api.change("PUT", ITEM, {**rule.model_dump(mode="json"), "precedence": precedence}, id=id)
        return Went(f"{LIST}#rule-{visit.id()}", "moved")

    async def _remove(self, visit: Visit) -> Confirmation:
        name = await self._name(visit)
        return Confirmation(
            f"Remove the rule {name}?",
            name=name,
            back=LIST,
            consequences=("It is not asked any more, also not for calls and programs that run.",),
            act=deletion(visit, ITEM, LIST, id=visit.id()),
        )

    async def _name(self, visit: Visit) -> str:
        """What to type before a rule goes: of one that cannot be read, its id."""
        found = await visit.api.list(ShownRule, API)
        if visit.id() in found.unreadable:
            return visit.id()
        rule = await visit.api.show(ShownRule, ITEM, id=visit.id())
        return name_to_type(rule.name, rule.id)


def _approvers(before: Mapping[str, object], action: str) -> Mapping[str, object]:
    """What a stored rule says of who approves, which the form does not have: it stays as long as the rule asks."""
    settings = before.get("rule_settings")
    return settings if action == "approve" and isinstance(settings, Mapping) else {}


async def _profiles(visit: Visit) -> tuple[Profiles, str]:
    """The profiles that a rule may ask for; why none can be asked for, if so."""
    try:
        found = await visit.api.list(ShownProfile, "/dlp/profiles")
    except AdminError as error:
        return Profiles(()), str(error)
    return Profiles.of(one.root for one in found.items), ""


def _typed(visit: Visit, profiles: Profiles) -> ConditionFields:
    """The conditions that the form has."""
    return ConditionFields(
        host=visit.sent("host"),
        server=visit.sent("server"),
        portal=visit.sent("portal"),
        tool=visit.sent("tool"),
        method=visit.sent("method"),
        direction=visit.sent("direction"),
        profiles=_ticked(visit, profiles),
        email=visit.sent("email"),
        group=visit.sent("group"),
    )


def _ticked(visit: Visit, profiles: Profiles) -> Sequence[str]:
    return [one.id for one in profiles.shown if visit.ticked(f"profile-{one.id}")]
