"""The pages of a person as HTTP: the portal's home page, the agents they have let in, and signing out.

Every path is below the prefix of the portal. The forms are below `/logout`, which no portal has as its id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.config import CodeModePolicy
from portal.elicitation import PeoplesServers, ServerOnPage
from portal.home.approvals import ApprovalPages
from portal.home.holdings import Ended, Holdings
from portal.home.moments import ago, ahead
from portal.home.offer import connecting
from portal.home.runs import PersonRunPages
from portal.home.setups import server_name
from portal.home.upstream_logins import UpstreamLogins
from portal.identity import Identity
from portal.login import CHOOSE, Login, form_endpoint
from portal.logs import event
from portal.oauth import HeldGrant, HeldGrants, OAuthSettings, may_come_back
from portal.pages import HOME, Visitor
from portal.state import utc_now

LOGOUT_PATH = "/logout"
END_PATH = "/logout/agent"
AGENT_GONE = "It has ended already, or it was let in by somebody else."
MOST_SERVERS = 20
"""How many servers the home page lists; their own page has them all."""
NAMELESS = "An agent without a name"


async def no_console(identity: Identity) -> str:
    """There is none here."""
    return ""


@dataclass(frozen=True, slots=True)
class HomeSettings:
    """What the home page shows of its portal. `portal` is its id, `code_mode` what its owner has decided by now.

    `servers_link` is the path, below the prefix, of the page with a person's servers; "" without one. `console` gives
    the path of the administrators' console to those who may enter it, "" to everybody else.
    """

    portal: str = ""
    oauth: OAuthSettings = OAuthSettings()
    code_mode: Callable[[], CodeModePolicy] = lambda: CodeModePolicy.OFF
    servers_link: str = ""
    console: Callable[[Identity], Awaitable[str]] = no_console


class HomeRoutes:
    """The routes of one portal. Close it before its store."""

    def __init__(
        self,
        login: Login,
        grants: HeldGrants,
        upstream: UpstreamLogins,
        servers: PeoplesServers,
        settings: HomeSettings,
        runs: PersonRunPages,
        now: Callable[[], datetime] = utc_now,
        approvals: ApprovalPages | None = None,
    ) -> None:
        self._login = login
        self._approvals = approvals
        self._grants = grants
        self._upstream = upstream
        self._holdings = Holdings(login.sessions, grants, upstream)
        self._servers = servers
        self._settings = settings
        self._runs = runs
        self._now = now
        self._log = structlog.get_logger("portal.home")

    def routes(self) -> list[Route]:
        return [
            Route(HOME, self._home, methods=["GET"]),
            Route(LOGOUT_PATH, self._logout_page, methods=["GET"]),
            Route(LOGOUT_PATH, form_endpoint(self._login, self._logout), methods=["POST"]),
            Route(END_PATH, form_endpoint(self._login, self._end_agent), methods=["POST"]),
            *self._runs.routes(),
            *(self._approvals.routes() if self._approvals is not None else ()),
        ]

    async def aclose(self) -> None:
        await self._upstream.aclose()

    async def _home(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        session = await self._login.session(request, visitor)
        design = (await self._login.directory.rules()).design
        settings = self._settings
        connect = connecting(
            visitor.address.url(settings.oauth.path),
            settings.code_mode(),
            server_name(design.name, settings.portal or "codemode"),
            lambda uri: may_come_back(uri, settings.oauth),
        )
        return self._login.pages.page(
            "home.html",
            design,
            visitor,
            script="copy.js",
            person=session.binding if session is not None else "",
            signs_in=True,
            who=session.identity.label if session is not None else "",
            agents=[] if session is None else await self._agents(session.identity),
            servers=[] if session is None else await self._shown(replace(session.identity, ip=visitor.ip)),
            runs=None if session is None else await self._runs.recent(session.identity),
            approvals=None if session is None else await self._approvals_of(session.identity),
            most_servers=MOST_SERVERS,
            servers_link=settings.servers_link,
            console="" if session is None else await settings.console(session.identity),
            connect=connect,
        )

    async def _shown(self, identity: Identity) -> list[ServerOnPage]:
        """The servers of a person, first those that need something of them."""
        return sorted(await self._servers.of(identity), key=lambda server: server.connected)

    async def _approvals_of(self, identity: Identity) -> int | None:
        """How many calls wait for a decision of this person; None where no calls are approved."""
        return None if self._approvals is None else await self._approvals.count(identity)

    # Agents

    async def _agents(self, identity: Identity) -> list[Mapping[str, str]]:
        return [_shown(held, self._now()) for held in await self._grants.of(identity)]

    async def _end_agent(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        home = visitor.address.path(HOME)
        session = await self._login.sender(request, visitor, form, home)
        if isinstance(session, Response):
            return session
        ended = await self._grants.end(session.identity, form.get("agent", "")[:100])
        if ended is None:
            return await self._login.message(visitor, 404, "Nothing to end", AGENT_GONE, home, "Back")
        await self._login.sessions.settled()
        reason = "its person has ended it"
        self._login.events.write(
            event(
                "consent",
                "revoke",
                who=session.identity,
                ip=visitor.ip,
                name=ended.client,
                client=ended.client_name,
                reason=reason,
            )
        )
        self._log.info("a grant was ended by its person", who=session.identity.key, client=ended.client)
        text = (
            "Its tokens are good no longer, and what it was running has been stopped. "
            "To use this portal again it must ask you."
        )
        return await self._login.message(visitor, 200, f"{_name_of(ended)} is signed out", text, home, "Back")

    # Signing out

    async def _logout_page(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        session = await self._login.session(request, visitor)
        if session is None:
            return await self._signed_out(visitor)
        design = (await self._login.directory.rules()).design
        identity = session.identity
        held = await self._grants.of(identity, everywhere=True)
        return self._login.pages.page(
            "logout.html",
            design,
            visitor,
            person=session.binding,
            who=identity.label,
            browsers=await self._login.sessions.count(identity),
            agents=[_name_of(one) for one in held],
            servers=self._upstream.names(await self._upstream.of(identity)),
        )

    async def _logout(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        if await self._login.session(request, visitor) is None:
            response = await self._signed_out(visitor)
            await self._login.sessions.end(response, request, visitor.address)
            return response
        session = await self._login.sender(request, visitor, form, visitor.address.path(LOGOUT_PATH))
        if isinstance(session, Response):
            return session
        everywhere = form.get("where") == "everywhere"
        if everywhere:
            response = await self._end_everything(visitor, session.identity)
        else:
            left = await self._grants.of(session.identity, everywhere=True)
            response = await self._signed_out(visitor, left=len(left))
        await self._login.sessions.end(response, request, visitor.address)
        self._login.note(visitor, "sign_out_everywhere" if everywhere else "sign_out", session.identity)
        return response

    async def _end_everything(self, visitor: Visitor, identity: Identity) -> Response:
        """End all that this person has begun, and say what that was."""
        return await self._signed_out(visitor, await self._holdings.end(identity))

    async def _signed_out(self, visitor: Visitor, ended: Ended | None = None, left: int = 0) -> Response:
        """The page for who is signed out: in this browser, where `left` agents go on, or everywhere with what ended."""
        design = (await self._login.directory.rules()).design
        sign_in = visitor.address.path(CHOOSE)
        agents = [] if ended is None else [_name_of(one) for one in ended.agents]
        return self._login.pages.page(
            "signed_out.html", design, visitor, ended=ended, agents=agents, left=left, sign_in=sign_in
        )


def _shown(held: HeldGrant, now: datetime) -> Mapping[str, str]:
    return {
        "family": held.family,
        "name": _name_of(held),
        "publisher": held.publisher,
        "vouched": held.vouched,
        "since": ago(held.since, now),
        "last_used": ago(held.last_used, now),
        "until": ahead(held.until, now),
    }


def _name_of(held: HeldGrant) -> str:
    """What the client is called. A name of nothing that is visible is none."""
    name = " ".join(held.client_name.split())
    return name if any(character.isprintable() and character != " " for character in name) else NAMELESS
