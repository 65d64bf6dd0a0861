"""The way from a portal that was just claimed to a connected agent: four steps, each to be skipped and each undone.

What is done is read from what is stored, so the way can be left and taken up again at any time, on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.routing import Route

from portal.admin import (
    ORGANIZATION,
    POLICIES,
    PORTALS,
    ServedServer,
    ShownApp,
    ShownOrganization,
    ShownProvider,
    ShownServer,
    Synced,
    invalid,
)
from portal.console.frame import ConsoleFrame
from portal.console.login_methods import stored_provider
from portal.console.servers import AUTH_TYPES, SERVED, server_body
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, START = "start", "/admin/start"
ORGANIZATION_API = "/access/organizations"
PROVIDERS_API = "/access/identity_providers"
SERVERS_API = "/access/ai-controls/mcp/servers"
APPS_API = "/access/apps"
ABOVE = (Crumb("First steps", START),)
WHO = (
    ("emails", "These people"),
    ("domain", "Everybody with an e-mail address of this domain"),
    ("everyone", "Everybody who can sign in"),
)
MADE = "Made by the first steps"
"""In the name of what the step about policies makes, so that undoing removes that and nothing else."""


@dataclass(frozen=True, slots=True)
class FirstStep:
    """One step. `done` says in words what there is already, "" for nothing."""

    id: str
    title: str
    why: str
    done: str = ""


class StartPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/start", HERE, self._overview),
            page("/start/name", HERE, self._name, changes=ORGANIZATION),
            form("/start/name", HERE, self._set_name, self._name),
            form("/start/name/undo", HERE, self._forget_name, self._name),
            page("/start/sign-in", HERE, self._sign_in, changes=ORGANIZATION),
            form("/start/sign-in", HERE, self._add_provider, self._sign_in, PROVIDER_FIELDS),
            form("/start/sign-in/undo", HERE, self._remove_provider, self._sign_in),
            page("/start/server", HERE, self._server, changes=PORTALS),
            form("/start/server", HERE, self._add_server, self._server),
            form("/start/server/undo", HERE, self._remove_server, self._server),
            page("/start/policy", HERE, self._policy, changes=POLICIES),
            form("/start/policy", HERE, self._set_policy, self._policy, POLICY_FIELDS),
            form("/start/policy/undo", HERE, self._remove_policy, self._policy),
            page("/start/agent", HERE, self._agent),
        ]

    async def _overview(self, visit: Visit) -> Answer:
        steps = await first_steps(visit)
        current = next((step for step in steps if not step.done), None)
        return Shown("start.html", "First steps", {"steps": steps, "current": current})

    # Name and address

    async def _name(self, visit: Visit) -> Answer:
        organization = await visit.api.show(ShownOrganization, ORGANIZATION_API)
        values = {"organization": organization, "address": visit.visitor.address.url()}
        return Shown("start_name.html", "Name and address", values, ABOVE)

    async def _set_name(self, visit: Visit) -> Answer:
        await visit.api.change("PUT", ORGANIZATION_API, {"name": visit.sent("name")})
        return Went(f"{START}/sign-in", "saved")

    async def _forget_name(self, visit: Visit) -> Answer:
        await visit.api.change("PUT", ORGANIZATION_API, {"name": ""})
        return Went(f"{START}/name", "undone")

    # How people sign in

    async def _sign_in(self, visit: Visit) -> Answer:
        providers = await visit.api.list(ShownProvider, PROVIDERS_API)
        values = {"providers": providers.items, "callback": visit.visitor.address.url("/login/callback")}
        return Shown("start_sign_in.html", "How people sign in", values, ABOVE)

    async def _add_provider(self, visit: Visit) -> Answer:
        kind = visit.sent("type")
        config: dict[str, object] = {}
        if kind == "oidc":
            config = {name: visit.sent(name) for name in ("issuer", "client_id", "client_secret") if visit.sent(name)}
        name = visit.sent("name") or ("Company login" if kind == "oidc" else "PIN by e-mail")
        await stored_provider(visit, "POST", PROVIDERS_API, {"name": name, "type": kind, "config": config})
        return Went(f"{START}/server", "saved")

    async def _remove_provider(self, visit: Visit) -> Answer:
        await visit.api.change("DELETE", f"{PROVIDERS_API}/{{id}}", id=visit.sent("id"))
        return Went(f"{START}/sign-in", "undone")

    # The first server

    async def _server(self, visit: Visit) -> Answer:
        servers = await visit.api.list(ShownServer, SERVERS_API)
        values = {"servers": servers.items, "configured": await _configured(visit), "auth_types": AUTH_TYPES}
        return Shown("start_server.html", "The first MCP server", values, ABOVE)

    async def _add_server(self, visit: Visit) -> Answer:
        made = await visit.api.made(ShownServer, "POST", SERVERS_API, server_body(visit))
        synced = await visit.api.made(Synced, "POST", f"{SERVERS_API}/{{id}}/sync", id=made.id)
        if synced.status == "ready":
            return Went(f"{START}/policy", "added-ready-server")
        # One that people log in to shows nothing before somebody has.
        if synced.status == "waiting" or made.auth_type == "oauth":
            return Went(f"{START}/policy", "added-server")
        return Went(f"{START}/server", "added-failed-server")

    async def _remove_server(self, visit: Visit) -> Answer:
        await visit.api.change("DELETE", f"{SERVERS_API}/{{id}}", id=visit.sent("id"))
        return Went(f"{START}/server", "undone")

    # The first policy

    async def _policy(self, visit: Visit) -> Answer:
        apps = await _own_apps(visit)
        values = {"apps": apps, "who": WHO, "undoable": any(map(_is_made, apps)), "own_email": visit.identity.email}
        return Shown("start_policy.html", "The first policy", values, ABOVE)

    async def _set_policy(self, visit: Visit) -> Answer:
        """Say who may use what there is now. What the step made before is replaced, once the new is in force."""
        before = [one for one in await _own_apps(visit) if _is_made(one)]
        organization = await visit.api.show(ShownOrganization, ORGANIZATION_API)
        servers = await visit.api.list(ShownServer, SERVERS_API)
        policy = {"name": f"{MADE}: who may use it", "decision": "allow", "include": _include(visit)}
        await visit.api.change(
            "POST",
            APPS_API,
            {
                "type": "mcp_portal",
                "name": f"{MADE}: the portal",
                "domain": organization.auth_domain,
                "policies": [{**policy, "precedence": 1}],
            },
        )
        if servers.items:
            destinations = [{"type": "via_mcp_server_portal", "mcp_server_id": one.id} for one in servers.items]
            await visit.api.change(
                "POST",
                APPS_API,
                {
                    "type": "mcp",
                    "name": f"{MADE}: the servers",
                    "destinations": destinations,
                    "policies": [{**policy, "precedence": 1}],
                },
            )
        await _remove(visit, before)
        return Went(f"{START}/agent", "saved")

    async def _remove_policy(self, visit: Visit) -> Answer:
        await _remove(visit, [one for one in await _own_apps(visit) if _is_made(one)])
        return Went(f"{START}/policy", "undone")

    # The agent

    async def _agent(self, visit: Visit) -> Answer:
        connect = self._frame.connect(visit.visitor.address)
        return Shown("start_agent.html", "Connect an agent", {"connect": connect}, ABOVE)


PROVIDER_FIELDS: Mapping[str, str] = {"config": "issuer"}
POLICY_FIELDS: Mapping[str, str] = {"policies": "emails"}


def _include(visit: Visit) -> list[Mapping[str, object]]:
    """The rules that say who may use the portal.

    Raises:
        AdminError: what they need is not there. It names the field.
    """
    match visit.sent("who"):
        case "everyone":
            return [{"everyone": {}}]
        case "domain":
            domain = visit.sent("domain").lstrip("@")
            if not domain:
                raise invalid("write the domain of their e-mail addresses, such as example.com", "/domain")
            return [{"email_domain": {"domain": domain}}]
        case _:
            emails = visit.lines("emails")
            if not emails:
                raise invalid("write at least one e-mail address", "/emails")
            return [{"email": {"email": email}} for email in emails]


async def _own_apps(visit: Visit) -> Sequence[ShownApp]:
    """The applications that say who may use this portal and its servers."""
    apps = await visit.api.list(ShownApp, APPS_API)
    return [one for one in apps.items if one.type in ("mcp", "mcp_portal")]


def _is_made(app: ShownApp) -> bool:
    """Whether the step about policies has made it."""
    return app.name.startswith(MADE)


async def _remove(visit: Visit, apps: Sequence[ShownApp]) -> None:
    for app in apps:
        await visit.api.change("DELETE", f"{APPS_API}/{{id}}", id=app.id)


async def _configured(visit: Visit) -> Sequence[ServedServer]:
    """The servers of the operator's document."""
    served = await visit.api.list(ServedServer, f"{SERVED}/servers")
    return [one for one in served.items if one.source == "configuration"]


async def first_steps(visit: Visit) -> Sequence[FirstStep]:
    """The four steps, each with what there is of it already."""
    organization = await visit.api.show(ShownOrganization, ORGANIZATION_API)
    providers = await visit.api.list(ShownProvider, PROVIDERS_API) if visit.may(ORGANIZATION, writing=False) else None
    servers = await visit.api.list(ShownServer, SERVERS_API)
    apps = await _own_apps(visit)
    named = [one.name or one.type for one in providers.items] if providers is not None else []
    served = [*(one.name for one in servers.items), *(one.name for one in await _configured(visit))]
    covered = [one.name for one in apps]
    return (
        FirstStep("name", "Name and address", "What people read, and where agents connect.", organization.name),
        FirstStep("sign-in", "How people sign in", "Your company's login, or a PIN by e-mail.", _list(named)),
        FirstStep("server", "The first MCP server", "Its tools are what agents use.", _list(served)),
        FirstStep("policy", "The first policy", "Who may use the portal and its servers.", _list(covered)),
    )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
