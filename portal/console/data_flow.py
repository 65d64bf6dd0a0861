"""The pages of data flow: rules about labels, and who has read what is labelled."""

from __future__ import annotations

from starlette.routing import Route

from portal.admin import PORTALS, PersonReads, ShownFlowRule
from portal.config import RuleApproval
from portal.console.configured import configured
from portal.console.frame import Confirmation, ConsoleFrame, deletion, name_to_type
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "data-flow", "/admin/data-flow"
RULES = f"{LIST}/rules"
FORGET = f"{LIST}/reads/forget"
API = "/access/ai-controls/mcp/data-flow"
RULE = f"{API}/rules/{{id}}"
READS = f"{API}/reads/{{id}}"
ABOVE = (Crumb("Data flow", LIST),)
THEN = (
    ("deny", "Refuse it"),
    ("approve", "Have people approve it: the person, unless the API or a declared file names groups"),
)
ALL = (("any", "Any of these labels"), ("all", "All of these labels"))


class DataFlowPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/data-flow", HERE, self._list),
            *self._frame.confirmation("/data-flow/reads/forget", HERE, self._forget, PORTALS),
            page("/data-flow/rules/new", HERE, self._new, changes=PORTALS),
            form("/data-flow/rules/new", HERE, self._add, self._new),
            page("/data-flow/rules/{id}", HERE, self._show),
            form("/data-flow/rules/{id}", HERE, self._save, self._show),
            *self._frame.confirmation("/data-flow/rules/{id}/remove", HERE, self._remove, PORTALS),
        ]

    async def _list(self, visit: Visit) -> Answer:
        """The rules, and below them a page of who has read what."""
        rules = await visit.api.list(ShownFlowRule, f"{API}/rules")
        reads = await visit.api.list(PersonReads, f"{API}/reads", visit.page_query())
        values = {
            "rules": rules,
            "configured": await configured(visit, "data-flow-rules"),
            "reads": reads,
            "search": visit.query("search"),
            "forget": FORGET,
        }
        return Shown("data_flow.html", "Data flow", values)

    async def _new(self, visit: Visit) -> Answer:
        values = {"rule": None, "all": ALL, "then": THEN, "action_path": f"{RULES}/new"}
        return Shown("data_flow_rule.html", "Add a data-flow rule", values, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        await visit.api.made(ShownFlowRule, "POST", f"{API}/rules", _said(visit))
        return Went(LIST, "saved")

    async def _show(self, visit: Visit) -> Answer:
        rule = await visit.api.show(ShownFlowRule, RULE, id=visit.id())
        values = {"rule": rule, "all": ALL, "then": THEN, "action_path": f"{RULES}/{rule.id}"}
        return Shown("data_flow_rule.html", rule.name, values, ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        rule = await visit.api.show(ShownFlowRule, RULE, id=visit.id())
        await visit.api.change(
            "PUT", RULE, {**rule.model_dump(mode="json"), **_said(visit), **_approvers(visit)}, id=rule.id
        )
        return Went(LIST, "saved")

    async def _remove(self, visit: Visit) -> Confirmation:
        rule = await visit.api.show(ShownFlowRule, RULE, id=visit.id())
        target = ", ".join(rule.target)
        return Confirmation(
            f"Remove the rule {rule.name}?",
            name=name_to_type(rule.name, rule.id),
            back=LIST,
            consequences=(f"What is labelled {target} may be called by who has read {', '.join(rule.when)}.",),
            act=deletion(visit, RULE, LIST, id=rule.id),
        )

    async def _forget(self, visit: Visit) -> Confirmation:
        """A key of a person may have a slash, so that it is no part of the path."""
        reads = await visit.api.show(PersonReads, READS, id=visit.query("person"))
        return Confirmation(
            "Forget what they have read?",
            name=reads.id,
            back=LIST,
            deed="Forget",
            consequences=(
                f"They have read something labelled {', '.join(reads.labels)}.",
                "No data-flow rule refuses them a call for that any more, also while what they read is in a chat.",
            ),
            query={"person": reads.id},
            act=deletion(visit, READS, LIST, "forgotten", id=reads.id),
        )


def _said(visit: Visit) -> dict[str, object]:
    return {
        "name": visit.sent("name"),
        "when": _labels(visit.sent("when")),
        "all": visit.sent("all") == "all",
        "then": visit.sent("then") or "deny",
        "target": _labels(visit.sent("target")),
        "exempt": visit.lines("exempt"),
    }


def _approvers(visit: Visit) -> dict[str, object]:
    """What becomes of who approves, which the form does not have: a rule that denies asks nobody."""
    if visit.sent("then") == "approve":
        return {}
    return {name: field.default for name, field in RuleApproval.model_fields.items()}


def _labels(typed: str) -> list[str]:
    return typed.replace(",", " ").split()
