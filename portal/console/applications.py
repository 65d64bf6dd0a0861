"""The pages of who may use which portal and server: applications, and the policies attached to them in their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from starlette.routing import Route

from portal.admin import (
    CUSTOM_PAGES,
    ORGANIZATION,
    POLICIES,
    PORTALS,
    AdminError,
    ConfiguredPolicy,
    ServedPortal,
    ServedServer,
    ShownApp,
    ShownOrganization,
    ShownPage,
    ShownPolicy,
    ShownPortal,
    ShownServer,
    invalid,
    not_found,
    policy_place,
)
from portal.console.approval_fields import approval_fields, sent_approvals, with_approval_fields
from portal.console.configured import ConfiguredRow, configured
from portal.console.frame import Confirmation, ConsoleFrame, deletion
from portal.console.policies import DECISIONS
from portal.console.rule_fields import sent_sets, shown_sets
from portal.console.rule_words import ACTION_TONES, ACTIONS, Known, RuleJson, holder_words, plain_sets, read_known
from portal.console.visit import OWN_PORTAL_NAME, Answer, Crumb, Shown, Visit, Went

HERE, LIST = "policies", "/admin/policies"
API, POLICY_API = "/access/apps", "/access/policies"
ITEM = f"{API}/{{id}}"
SERVED = "/access/ai-controls/mcp/served"
SERVERS, PORTAL_LIST = "/access/ai-controls/mcp/servers", "/access/ai-controls/mcp/portals"
ABOVE = (Crumb("Who may use what", LIST),)
OWN_PORTAL = "_"
OWN_POLICY = "Own policy"
"""What an own policy without a name is called."""
TYPES = {
    "mcp": "MCP servers",
    "mcp_portal": "MCP portal",
    "self_hosted": "Self-hosted application",
    "saas": "Application that signs people in here",
}
OTHER_PLACES = "other_servers"
_WITHIN = re.compile(r"^/policies/\d+/")


@dataclass(frozen=True, slots=True)
class AttachedRow:
    """A policy of an application, in the order of precedence. An own one belongs to this application only. One of the
    operator's document has a `path`, that of its page."""

    id: str
    name: str
    decision: str
    own: bool
    words: Sequence[tuple[str, list[str]]]
    precedence: int | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class GuardedPlace:
    """A portal or server, and the applications that say who may use it. `policies` are all that hold there, in the
    order in which they are asked: those of the applications, and those of the operator's document. `of_document` is
    one that the document has."""

    kind: str
    id: str
    name: str
    detail: str
    otherwise: str
    apps: Sequence[tuple[ShownApp, Sequence[AttachedRow]]] = ()
    policies: Sequence[AttachedRow] = ()
    of_document: bool = False

    @property
    def can_have_application(self) -> bool:
        """An application names a server by its id, and a portal by its host name."""
        return self.kind == "server" or bool(self.detail)


class ApplicationPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        item = "/policies/apps/{id}"
        return [
            page("/policies", HERE, self._list),
            page("/policies/apps/new", HERE, self._new, changes=POLICIES),
            form("/policies/apps/new", HERE, self._add, self._new),
            page(item, HERE, self._show),
            form(f"{item}/attach", HERE, self._attach, self._show),
            form(f"{item}/detach", HERE, self._detach, self._show),
            page(f"{item}/own/{{policy}}", HERE, self._show_own),
            form(f"{item}/own/{{policy}}", HERE, self._save_own, self._show_own),
            *self._frame.confirmation(f"{item}/own/{{policy}}/remove", HERE, self._remove_own, POLICIES),
            form(f"{item}/move", HERE, self._move, self._show),
            page(f"{item}/settings", HERE, self._settings, changes=POLICIES),
            form(f"{item}/settings", HERE, self._save, self._settings, {"destinations": OTHER_PLACES}),
            *self._frame.confirmation(f"{item}/remove", HERE, self._remove, POLICIES),
        ]

    async def _list(self, visit: Visit) -> Answer:
        known, policies = await read_known(visit), await _policies(visit)
        listed = await visit.api.list(ShownApp, API)
        rows = [(app, attached(app, policies, known)) for app in listed.items]
        documented = await configured(visit, "policies", known=known)
        places = [
            _with_policies(_with_apps(one, rows), documented_at(one, documented, policies, known))
            for one in await _places(visit)
        ]
        placed = {app.id for one in places for app, _ in one.apps}
        values = {
            "places": places,
            "others": [(app, policies) for app, policies in rows if app.id not in placed],
            "about_tools": [one for one in documented if _about(one) == "tools"],
            "broken": listed.broken,
            "types": TYPES,
            "actions": ACTIONS,
            "tones": ACTION_TONES,
        }
        return Shown("applications.html", "Policies", values)

    async def _new(self, visit: Visit) -> Answer:
        place = await _asked_place(visit)
        policies = await _policies(visit)
        values = {"place": place, "policies": policies, "actions": ACTIONS}
        return Shown("application_new.html", f"Who may use {place.name}", values, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        place = await _asked_place(visit)
        chosen = [one.id for one in await _policies(visit) if visit.ticked(f"policy_{one.id}")]
        if not chosen:
            raise invalid("tick at least one policy", "/policies")
        body: dict[str, object] = {"name": visit.sent("name"), "policies": _links(chosen)}
        if place.kind == "portal":
            body |= {"type": "mcp_portal", "domain": place.detail}
        else:
            body |= {"type": "mcp", "destinations": [_destination(place.id)]}
        made = await visit.api.made(ShownApp, "POST", API, body)
        return Went(f"{LIST}/apps/{made.id}", "made")

    async def _show(self, visit: Visit) -> Answer:
        app = await visit.api.show(ShownApp, ITEM, id=visit.id())
        policies = await _policies(visit)
        rows = attached(app, policies, await read_known(visit))
        present = {row.id for row in rows}
        values = {
            "app": app,
            "type": TYPES[app.type],
            "rows": rows,
            "free": [(one.id, f"{one.name}: {ACTIONS[one.decision]}") for one in policies if one.id not in present],
            "places": [one.mcp_server_id or one.uri or "" for one in app.destinations],
            "actions": ACTIONS,
            "tones": ACTION_TONES,
        }
        return Shown("application.html", app.name, values, ABOVE)

    async def _attach(self, visit: Visit) -> Answer:
        app, entries = await _ordered(visit)
        await _set_policies(visit, app, [*entries, {"id": visit.sent("policy")}])
        return Went(f"{LIST}/apps/{app.id}#policies", "attached")

    async def _detach(self, visit: Visit) -> Answer:
        """A reusable policy is attached no more. An own one would be lost: it is removed on a page that asks."""
        app, entries = await _ordered(visit)
        left = [one for one in entries if one.get("id") != visit.sent("policy") or not one.get("reusable")]
        await _set_policies(visit, app, left)
        return Went(f"{LIST}/apps/{app.id}#policies", "detached")

    async def _show_own(self, visit: Visit) -> Answer:
        """The policy of one application, with the form of a reusable one."""
        app, policy = await _own_policy(visit)
        known = await read_known(visit)
        dates = {"created_at": app.created_at, "updated_at": app.updated_at}
        shown = ShownPolicy.model_validate({"name": OWN_POLICY, **policy, **dates})
        values = {
            "policy": shown,
            "approvals": approval_fields(shown, known),
            "sets": shown_sets(plain_sets(policy), known),
            "words": holder_words(policy, known),
            "decisions": DECISIONS,
            "actions": ACTIONS,
            "tones": ACTION_TONES,
            "users": [app],
            "action": _own_path(visit, app),
            "back": f"{LIST}/apps/{app.id}",
        }
        return Shown("policy.html", str(policy.get("name") or OWN_POLICY), values, _above(app))

    async def _save_own(self, visit: Visit) -> Answer:
        app, _ = await _own_policy(visit)
        sent = sent_sets(visit, await read_known(visit))
        members: dict[str, object] = {"name": visit.sent("name"), "decision": visit.sent("decision"), **sent.rules}
        members |= sent_approvals(visit)
        members["session_duration"] = visit.sent("session_duration") or None
        entries = [
            {**one, **members} if one.get("id") == visit.id("policy") else one for one in _in_order(app.policies)
        ]
        try:
            await _set_policies(visit, app, entries)
        except AdminError as error:
            # The place of the policy among the others is nothing that the form has.
            found = [replace(one, pointer=_WITHIN.sub("/", one.pointer, count=1)) for one in error.problems]
            raise with_approval_fields(visit, sent.placed(AdminError(error.status, found))) from None
        return Went(_own_path(visit, app), "saved")

    async def _remove_own(self, visit: Visit) -> Confirmation:
        app, policy = await _own_policy(visit)
        name = str(policy.get("name") or OWN_POLICY)

        async def act() -> Answer:
            left = [one for one in _in_order(app.policies) if one.get("id") != visit.id("policy")]
            await _set_policies(visit, app, left)
            return Went(f"{LIST}/apps/{app.id}#policies", "removed")

        return Confirmation(
            f"Remove {name}?",
            name=name,
            back=f"{LIST}/apps/{app.id}",
            consequences=(f"It belongs to {app.name} only: nothing else has its rules.",),
            act=act,
        )

    async def _move(self, visit: Visit) -> Answer:
        """One policy goes one place up or down."""
        app, entries = await _ordered(visit)
        at = next((place for place, one in enumerate(entries) if one.get("id") == visit.sent("policy")), None)
        if at is None:
            raise invalid("this policy is not attached any more", "/policy")
        to = min(max(at + (-1 if visit.sent("to") == "up" else 1), 0), len(entries) - 1)
        entries.insert(to, entries.pop(at))
        await _set_policies(visit, app, entries)
        return Went(f"{LIST}/apps/{app.id}#policies", "saved")

    async def _settings(self, visit: Visit) -> Answer:
        app = await visit.api.show(ShownApp, ITEM, id=visit.id())
        known, servers = await read_known(visit), await _servers(visit)
        named = {one.mcp_server_id for one in app.destinations if one.mcp_server_id}
        ids = {one.id for one in servers}
        values = {
            "app": app,
            "servers": [(f"server_{one.id}", one.name, one.id in named) for one in servers],
            "other_servers": "\n".join(sorted(id for id in named if id not in ids)),
            "pages": [(f"page_{id}", name, id in app.custom_pages) for id, name in await _pages(visit, app)],
            "idps": [(f"idp_{id}", known.provider(id), id in app.allowed_idps) for id in _idps(known, app)],
        }
        return Shown("application_settings.html", f"Settings of {app.name}", values, _above(app))

    async def _save(self, visit: Visit) -> Answer:
        app = await visit.api.show(ShownApp, ITEM, id=visit.id())
        body = _body(app)
        for name in ("name", "session_duration"):
            body[name] = visit.sent(name)
        for name in ("custom_deny_message", "custom_deny_url", "custom_non_identity_deny_url", "logo_url"):
            body[name] = visit.sent(name) or None
        body["auto_redirect_to_identity"] = visit.ticked("auto_redirect_to_identity")
        body["allowed_idps"] = [id for id in _idps(await read_known(visit), app) if visit.ticked(f"idp_{id}")]
        body["custom_pages"] = [id for id, _ in await _pages(visit, app) if visit.ticked(f"page_{id}")]
        if app.type == "mcp":
            ids = [one.id for one in await _servers(visit) if visit.ticked(f"server_{one.id}")]
            others = [one.model_dump(exclude_none=True) for one in app.destinations if not one.mcp_server_id]
            body["destinations"] = [*others, *map(_destination, [*ids, *visit.lines(OTHER_PLACES)])]
        if app.type == "mcp_portal":
            body["domain"] = visit.sent("domain")
        await visit.api.change("PUT", ITEM, body, id=app.id)
        return Went(f"{LIST}/apps/{app.id}", "saved")

    async def _remove(self, visit: Visit) -> Confirmation:
        app = await visit.api.show(ShownApp, ITEM, id=visit.id())
        return Confirmation(
            f"Remove {app.name}?",
            name=app.name,
            back=f"{LIST}/apps/{app.id}",
            consequences=(
                "Its policies hold no more where it attaches them. Where nothing else is attached, a server is for "
                "nobody and a portal for administrators only.",
                "Reusable policies themselves stay.",
            ),
            act=deletion(visit, ITEM, LIST, id=app.id),
        )


def attached(app: ShownApp, policies: Sequence[ShownPolicy], known: Known) -> list[AttachedRow]:
    """The policies of an application in the order of precedence."""
    by_id = {one.id: one for one in policies}
    rows = []
    for entry in _in_order(app.policies):
        id, policy = str(entry.get("id", "")), by_id.get(str(entry.get("id", "")))
        if not entry.get("reusable"):
            name, decision = str(entry.get("name") or OWN_POLICY), str(entry.get("decision", "deny"))
            rows.append(AttachedRow(id, name, decision, True, holder_words(entry, known)))
        elif policy is not None:
            rows.append(AttachedRow(id, policy.name, policy.decision, False, holder_words(policy, known)))
        else:
            rows.append(AttachedRow(id, f"{id[:64]} (cannot be read)", "deny", False, ()))
        rows[-1] = replace(rows[-1], precedence=_precedence(entry.get("precedence")))
    return rows


def documented_at(
    place: GuardedPlace, documented: Sequence[ConfiguredRow], policies: Sequence[ShownPolicy], known: Known
) -> list[AttachedRow]:
    """The policies that the operator's document attaches to a portal or a server."""
    by_id = {one.id: one for one in policies}
    rows = []
    for one in documented:
        policy = one.entry
        if not isinstance(policy, ConfiguredPolicy) or policy.about != place.kind:
            continue
        if place.id != (policy.portal if place.kind == "portal" else policy.server) or not place.of_document:
            continue
        reusable = by_id.get(policy.policy) if policy.decision not in ACTIONS else None
        name, decision = (policy.name, policy.decision) if reusable is None else (reusable.name, reusable.decision)
        known_decision = decision if decision in ACTIONS else "deny"
        words = holder_words(policy.model_dump(mode="json") if reusable is None else reusable, known)
        rows.append(AttachedRow(policy.policy, name, known_decision, False, words, policy.precedence, one.path))
    return rows


def _about(row: ConfiguredRow) -> str:
    return row.entry.about if isinstance(row.entry, ConfiguredPolicy) else ""


def _with_policies(place: GuardedPlace, documented: Sequence[AttachedRow]) -> GuardedPlace:
    """All policies that hold at a place, in the order in which they are asked."""
    found = [*documented, *(row for _, rows in place.apps for row in rows)]
    return replace(place, policies=sorted(found, key=lambda row: policy_place(row.decision, row.precedence)))


def _in_order(policies: Iterable[RuleJson]) -> list[Mapping[str, object]]:
    return sorted(policies, key=lambda one: _precedence(one.get("precedence")))


def _precedence(value: object) -> int:
    return value if isinstance(value, int) else 0


def _links(ids: Iterable[str]) -> list[Mapping[str, object]]:
    return [{"id": id, "precedence": place} for place, id in enumerate(ids, 1)]


def _destination(server: str) -> Mapping[str, object]:
    return {"type": "via_mcp_server_portal", "mcp_server_id": server}


def _body(app: ShownApp) -> dict[str, object]:
    """An application as it is sent back."""
    return app.model_dump(mode="json", by_alias=True, exclude_none=True)


def _above(app: ShownApp) -> Sequence[Crumb]:
    return (*ABOVE, Crumb(app.name, f"{LIST}/apps/{app.id}"))


def _idps(known: Known, app: ShownApp) -> list[str]:
    """The ids of login methods that an application can be limited to, and those that it is limited to."""
    ids = [one.id for one in known.providers]
    return [*ids, *(id for id in app.allowed_idps if id not in ids)]


def _with_apps(place: GuardedPlace, rows: Sequence[tuple[ShownApp, Sequence[AttachedRow]]]) -> GuardedPlace:
    return replace(place, apps=[(app, policies) for app, policies in rows if _is_for(app, place)])


def _is_for(app: ShownApp, place: GuardedPlace) -> bool:
    if place.kind == "portal":
        return app.type == "mcp_portal" and (app.domain or "").lower() == place.detail.lower()
    return app.type == "mcp" and any(one.mcp_server_id == place.id for one in app.destinations)


async def _places(visit: Visit) -> list[GuardedPlace]:
    """The portals and servers that the administrator may read."""
    places = []
    if visit.may(ORGANIZATION, writing=False):
        own = await visit.api.show(ShownOrganization, "/access/organizations")
        words = "Only what the configuration document says; else administrators only"
        own_place = GuardedPlace("portal", OWN_PORTAL, OWN_PORTAL_NAME, own.auth_domain, words)
        places.append(replace(own_place, of_document=True))
    if not visit.may(PORTALS, writing=False):
        return places
    portals = (await visit.api.list(ShownPortal, PORTAL_LIST)).items
    places += [GuardedPlace("portal", one.id, one.name, one.hostname, "Administrators only") for one in portals]
    documented = [place for place in await _documented_places(visit) if place.id != OWN_PORTAL]
    places += [place for place in documented if place.kind == "portal"]
    taken = {place.id for place in documented if place.kind == "server"}
    servers = [one for one in await _servers(visit) if one.id not in taken]
    places += [GuardedPlace("server", one.id, one.name, one.hostname, "Nobody") for one in servers]
    return [*places, *(place for place in documented if place.kind == "server")]


async def _documented_places(visit: Visit) -> list[GuardedPlace]:
    """The portals and servers of the operator's document."""
    portals = (await visit.api.list(ServedPortal, f"{SERVED}/portals")).items
    servers = (await visit.api.list(ServedServer, f"{SERVED}/servers")).items
    found = [
        GuardedPlace("portal", one.id, one.name, one.hostname, "Administrators only", of_document=True)
        for one in portals
        if one.source == "configuration"
    ]
    otherwise = "Whoever may use the portal"
    return found + [
        GuardedPlace("server", one.id, one.name, one.origin, otherwise, of_document=True)
        for one in servers
        if one.source == "configuration"
    ]


async def _asked_place(visit: Visit) -> GuardedPlace:
    """The portal or server that the URL names.

    Raises:
        AdminError: there is none.
    """
    for kind in ("portal", "server"):
        for one in await _places(visit):
            if one.kind == kind and one.id == visit.query(kind):
                return one
    raise invalid("choose a portal or a server in the list of who may use what")


async def _servers(visit: Visit) -> Sequence[ShownServer]:
    return (await visit.api.list(ShownServer, SERVERS)).items if visit.may(PORTALS, writing=False) else ()


async def _pages(visit: Visit, app: ShownApp) -> Sequence[tuple[str, str]]:
    """The ids and names of custom pages that an application can show; those that it shows if no others may be read."""
    if not visit.may(CUSTOM_PAGES, writing=False):
        return [(id, id) for id in app.custom_pages]
    found = (await visit.api.list(ShownPage, "/access/custom_pages")).items
    known = {one.uid for one in found}
    return [*((one.uid, one.name) for one in found), *((id, id) for id in app.custom_pages if id not in known)]


async def _policies(visit: Visit) -> Sequence[ShownPolicy]:
    return (await visit.api.list(ShownPolicy, POLICY_API)).items


async def _ordered(visit: Visit) -> tuple[ShownApp, list[Mapping[str, object]]]:
    app = await visit.api.show(ShownApp, ITEM, id=visit.id())
    return app, _in_order(app.policies)


def _own_path(visit: Visit, app: ShownApp) -> str:
    return f"{LIST}/apps/{app.id}/own/{quote(visit.id('policy'), safe='')}"


async def _own_policy(visit: Visit) -> tuple[ShownApp, Mapping[str, object]]:
    """The application, and its own policy that the path names.

    Raises:
        AdminError: it has no such policy.
    """
    app = await visit.api.show(ShownApp, ITEM, id=visit.id())
    for one in app.policies:
        if one.get("id") == visit.id("policy") and not one.get("reusable"):
            return app, one
    raise not_found("the policy")


async def _set_policies(visit: Visit, app: ShownApp, entries: Sequence[Mapping[str, object]]) -> None:
    """Attach these policies in this order, and leave all else of the application as it is."""
    numbered = [{**one, "precedence": place} for place, one in enumerate(entries, 1)]
    await visit.api.change("PUT", ITEM, {**_body(app), "policies": numbered}, id=app.id)
