"""The pages of reusable policies: which there are, who uses them, and their rules."""

from __future__ import annotations

from starlette.routing import Route

from portal.admin import POLICIES, AdminError, ShownApp, ShownPolicy
from portal.console.approval_fields import approval_fields, sent_approvals, with_approval_fields
from portal.console.frame import Confirmation, ConsoleFrame, deletion, once_unused
from portal.console.rule_fields import blank_sets, sent_sets, shown_sets
from portal.console.rule_words import ACTION_TONES, ACTIONS, Known, holder_words, plain_sets, read_known
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "policies", "/admin/policies/reusable"
API, APPS = "/access/policies", "/access/apps"
ITEM = f"{API}/{{id}}"
ABOVE = (Crumb("Policies", LIST),)
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
            *self._frame.confirmation("/policies/reusable/{id}/remove", HERE, self._remove, POLICIES),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownPolicy, API, visit.page_query())
        known, apps = await read_known(visit), await _apps(visit)
        rows = [(one, holder_words(one, known), users_of(one.id, apps)) for one in found.items]
        values = {
            "found": found,
            "rows": rows,
            "search": visit.query("search"),
            "actions": ACTIONS,
            "tones": ACTION_TONES,
        }
        return Shown("policies.html", "Reusable policies", values)

    async def _new(self, visit: Visit) -> Answer:
        known = await read_known(visit)
        values = {
            "policy": None,
            "sets": blank_sets(known),
            "approvals": approval_fields(None, known),
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
        values = {
            "policy": policy,
            "sets": shown_sets(plain_sets(policy), known),
            "approvals": approval_fields(policy, known),
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

    async def _remove(self, visit: Visit) -> Confirmation:
        policy = await visit.api.show(ShownPolicy, ITEM, id=visit.id())
        users = users_of(policy.id, await _apps(visit))
        return Confirmation(
            f"Remove {policy.name}?",
            name=policy.name,
            back=f"{LIST}/{policy.id}",
            consequences=once_unused([one.name for one in users], "No application uses it."),
            act=deletion(visit, ITEM, LIST, id=policy.id),
        )


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
    body |= sent_approvals(visit)
    body["session_duration"] = visit.sent("session_duration") or None
    try:
        if before is None:
            return await visit.api.made(ShownPolicy, "POST", API, body)
        return await visit.api.made(ShownPolicy, "PUT", ITEM, body, id=before.id)
    except AdminError as error:
        raise with_approval_fields(visit, sent.placed(error)) from None
