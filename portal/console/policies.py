"""The pages of reusable policies: which there are, who uses them, and their rules."""

from __future__ import annotations

from starlette.routing import Route

from portal.admin import POLICIES, AdminError, ShownApp, ShownPolicy
from portal.console.frame import ConsoleFrame, require_name, sure
from portal.console.rule_fields import blank_sets, sent_sets, shown_sets
from portal.console.rule_words import (
    ACTION_TONES,
    ACTIONS,
    Known,
    holder_words,
    plain_rules,
    read_known,
)
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "policies", "/admin/policies/reusable"
API, APPS = "/access/policies", "/access/apps"
ITEM = f"{API}/{{id}}"
ABOVE = (Crumb("Policies", LIST),)
PER_PAGE = 50
DECISIONS = (
    ("allow", "Allow: people who signed in and match"),
    ("deny", "Block: who matches, unless a policy before this one allows them"),
    ("non_identity", "Service Auth: service tokens and certificates that match, without a sign-in"),
    ("bypass", "Bypass: whoever matches, without a sign-in"),
)


class PolicyPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/policies/reusable", HERE, self._list),
            page("/policies/reusable/new", HERE, self._new, changes=POLICIES),
            form("/policies/reusable/new", HERE, self._add, self._new),
            page("/policies/reusable/{id}", HERE, self._show),
            form("/policies/reusable/{id}", HERE, self._save, self._show),
            page("/policies/reusable/{id}/remove", HERE, self._sure, changes=POLICIES),
            form("/policies/reusable/{id}/remove", HERE, self._remove, self._sure),
        ]

    async def _list(self, visit: Visit) -> Answer:
        search, page = visit.query("search"), visit.query("page", "1")
        found = await visit.api.list(ShownPolicy, API, {"search": search, "page": page, "per_page": str(PER_PAGE)})
        known, apps = await read_known(visit), await _apps(visit)
        rows = [(one, holder_words(one, known), users_of(one.id, apps)) for one in found.items]
        values = {"found": found, "rows": rows, "search": search, "actions": ACTIONS, "tones": ACTION_TONES}
        return Shown("policies.html", "Reusable policies", values)

    async def _new(self, visit: Visit) -> Answer:
        values = {
            "policy": None,
            "sets": blank_sets(await read_known(visit)),
            "decisions": DECISIONS,
            "action": f"{LIST}/new",
            "back": LIST,
        }
        return Shown("policy.html", "Add a policy", values, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        made = await _written(visit, await read_known(visit), None)
        return Went(f"{LIST}/{made.id}", "made")

    async def _show(self, visit: Visit) -> Answer:
        policy = await visit.api.show(ShownPolicy, ITEM, id=visit.id())
        known = await read_known(visit)
        rules = {name: plain_rules(policy, name) for name in ("include", "require", "exclude")}
        values = {
            "policy": policy,
            "sets": shown_sets(rules, known),
            "words": holder_words(policy, known),
            "decisions": DECISIONS,
            "actions": ACTIONS,
            "tones": ACTION_TONES,
            "users": users_of(policy.id, await _apps(visit)),
            "action": f"{LIST}/{policy.id}",
            "back": LIST,
        }
        return Shown("policy.html", policy.name or policy.id, values, ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        policy = await visit.api.show(ShownPolicy, ITEM, id=visit.id())
        await _written(visit, await read_known(visit), policy)
        return Went(f"{LIST}/{policy.id}", "saved")

    async def _sure(self, visit: Visit) -> Answer:
        policy = await visit.api.show(ShownPolicy, ITEM, id=visit.id())
        here, users = f"{LIST}/{policy.id}", users_of(policy.id, await _apps(visit))
        used = f"{', '.join(one.name for one in users[:5])} use it: it is removed only when they do not any more."
        consequences = (used,) if users else ("No application uses it.",)
        return sure(
            f"Remove {policy.name}?", name=policy.name, action=f"{here}/remove", back=here, consequences=consequences
        )

    async def _remove(self, visit: Visit) -> Answer:
        policy = await visit.api.show(ShownPolicy, ITEM, id=visit.id())
        require_name(visit, policy.name)
        await visit.api.change("DELETE", ITEM, id=policy.id)
        return Went(LIST, "removed")


def users_of(id: str, apps: list[ShownApp]) -> list[ShownApp]:
    """The applications that attach this reusable policy."""
    return [app for app in apps if any(one.get("id") == id and one.get("reusable") for one in app.policies)]


async def _apps(visit: Visit) -> list[ShownApp]:
    return list((await visit.api.list(ShownApp, APPS)).items)


async def _written(visit: Visit, known: Known, before: ShownPolicy | None) -> ShownPolicy:
    """The policy that a form makes. What the form does not have stays as it is `before`.

    Raises:
        AdminError: it cannot be stored; the problems name fields of the form.
    """
    sent = sent_sets(visit, known)
    former = before.model_dump(mode="json", by_alias=True, exclude_none=True) if before is not None else {}
    body = {**former, "name": visit.sent("name"), "decision": visit.sent("decision"), **sent.rules}
    body["session_duration"] = visit.sent("session_duration") or None
    try:
        if before is None:
            return await visit.api.made(ShownPolicy, "POST", API, body)
        return await visit.api.made(ShownPolicy, "PUT", ITEM, body, id=before.id)
    except AdminError as error:
        raise sent.placed(error) from None
