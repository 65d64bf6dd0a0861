"""The portal's own login at a server in the browser: an administrator opens the link of the admin API.

The link gives no rights. It is opened by an administrator who is signed in at the portal, and the login goes on as that
of a person does; but it is kept as the portal's own, and serves everybody where a server is called with that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.config import HttpServer, ServerConfig
from portal.credentials import (
    OWN,
    LoginRequestDocument,
    PendingLogin,
    PortalClient,
    end_login_request,
    find_login_request,
    may_log_in,
    origin_of,
    scope_of,
    stored_logins,
)
from portal.elicitation.offered import name_of, readable
from portal.elicitation.people import BegunDocument, NoLogin, PeoplesLogins
from portal.http import PortalAddress, Rate, normal_url
from portal.login import Login, LoginSession, form_endpoint, role_of_account
from portal.oauth import SERVERS_PATH
from portal.pages import Visitor
from portal.shares import network_of
from portal.state import Token

PORTAL_LOGIN_PATH = f"{SERVERS_PATH}/portal-login"
REQUEST = "request"
TITLE = "The portal is not logged in"
ENDED = (
    "This link has expired, was used already, or was replaced by a later one. "
    "Begin again on the page of the server in the console, or ask the admin API for another."
)
NOT_YOURS = (
    "Only an administrator of this portal who may change its servers logs it in to one. Sign out, and sign in as one."
)
GONE = "This server is not there any more, or has no login."
BEGUN_ELSEWHERE = "Somebody else began this login in this browser."
ENDED_MEANWHILE = "This login has expired, was used already, or was begun in another browser. Open the link again."
TOO_OFTEN = "That is too often. Wait a minute."

FindServer = Callable[[str], ServerConfig | None]
"""The server of an id, whoever may use it; None if there is none."""


class PortalLogins:
    """The routes of one portal for its own logins. `client` is the portal as a client at an address."""

    def __init__(
        self,
        login: Login,
        logins: PeoplesLogins,
        find_server: FindServer,
        client: Callable[[PortalAddress], Awaitable[PortalClient]],
    ) -> None:
        self._login = login
        self._logins = logins
        self._find_server = find_server
        self._client = client
        self._requests = Rate(burst=60, per_minute=60)
        self._begins = Rate(burst=20, per_minute=10)

    def routes(self) -> list[Route]:
        return [
            Route(PORTAL_LOGIN_PATH, self._page, methods=["GET"]),
            Route(PORTAL_LOGIN_PATH, form_endpoint(self._login, self._begin), methods=["POST"]),
        ]

    async def _page(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        secret = request.query_params.get(REQUEST, "")[:200]
        found = await self._asked(request, visitor, secret)
        if isinstance(found, Response):
            return found
        session, asked, server = found
        former = await stored_logins(self._logins.store, subject=OWN, server=server.id)
        rules = await self._login.directory.rules()
        return self._login.pages.page(
            "portal_login.html",
            rules.design,
            visitor,
            person=session.binding,
            who=session.identity.label,
            server=name_of(server),
            asked_by=readable(asked.requested_by),
            former=readable(former[-1].document.granted_by) if former else "",
            secret=secret,
        )

    async def _begin(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        secret = form.get(REQUEST, "")[:200]
        sender = await self._login.sender(request, visitor, form, _link(visitor, secret))
        if isinstance(sender, Response):
            return sender
        found = await self._asked(request, visitor, secret)
        if isinstance(found, Response):
            return found
        session, asked, server = found
        administrator = replace(session.identity, ip=visitor.ip)
        if not self._begins.allows(administrator.key):
            return await self._failed(visitor, 429, TOO_OFTEN)
        former = await stored_logins(self._logins.store, subject=OWN, server=server.id)
        # What an administrator configured is the most.
        scope = "" if server.oauth is not None and server.oauth.scope else scope_of(former, asked.scope)
        try:
            client = await self._client(visitor.address)
            pending = await self._logins.begin(administrator, visitor, server, client, scope, for_portal=True)
        except NoLogin as error:
            return await self._failed(visitor, 502, f"{name_of(server)}: {error}")
        # From here on the browser has the login, and the link is of no use to anybody else.
        await end_login_request(self._logins.store, secret, by=administrator.key)
        home = visitor.address.path("/")
        return await leaving_page(self._login, visitor, name_of(server), pending, home, "Do not log in")

    async def finish(
        self, request: Request, visitor: Visitor, begun: Token[BegunDocument], answer: Mapping[str, str]
    ) -> Response:
        """The answer to the browser that comes back from an authorization server."""
        session = await self._administrator(request, visitor, "/")
        if isinstance(session, Response):
            return session
        administrator = replace(session.identity, ip=visitor.ip)
        if begun.subject != administrator.key:
            return await self._failed(visitor, 403, BEGUN_ELSEWHERE)
        server = self._server(begun.document.login.server)
        if server is None:
            return await self._failed(visitor, 404, GONE)

        async def still_here() -> bool:
            return await self._login.session(request, visitor) is not None

        try:
            client = await self._client(visitor.address)
            finished = await self._logins.finish(begun, answer, administrator, visitor, server, client, still_here)
        except NoLogin as error:
            return await self._failed(visitor, 502, f"{name_of(server)}: {error}")
        if not await still_here():
            return self._login.sign_in(visitor, "/")
        if not finished:
            return await self._failed(visitor, 400, ENDED_MEANWHILE)
        text = f"Its login at {name_of(server)} serves everybody who calls this server without a login of their own."
        home = visitor.address.path("/")
        return await self._login.message(visitor, 200, "The portal is logged in", text, home, "Home")

    async def _asked(
        self, request: Request, visitor: Visitor, secret: str
    ) -> tuple[LoginSession, LoginRequestDocument, HttpServer] | Response:
        """The administrator, what the link asks for and the server; or the answer to who may not go on."""
        session = await self._administrator(request, visitor, _link(visitor, secret))
        if isinstance(session, Response):
            return session
        asked = await find_login_request(self._logins.store, secret, self._logins.now())
        if asked is None:
            return await self._failed(visitor, 404, ENDED)
        server = self._server(asked.server)
        if server is None:
            return await self._failed(visitor, 404, GONE)
        return session, asked, server

    async def _administrator(self, request: Request, visitor: Visitor, back: str) -> LoginSession | Response:
        if not self._requests.allows(network_of(visitor.ip)):
            return await self._failed(visitor, 429, TOO_OFTEN)
        session = await self._login.session(request, visitor)
        if session is None:
            return self._login.sign_in(visitor, back)
        # The link was asked for by somebody who may change servers. Who opens it must be one too.
        if await role_of_account(self._logins.store, session.identity) not in ("owner", "admin"):
            out = visitor.address.path("/logout")
            return await self._login.message(visitor, 403, "This link is not for you", NOT_YOURS, out, "Sign out")
        return session

    def _server(self, id: str) -> HttpServer | None:
        server = self._find_server(id)
        return server if isinstance(server, HttpServer) and may_log_in(server) else None

    async def _failed(self, visitor: Visitor, status: int, text: str) -> Response:
        return await self._login.message(visitor, status, TITLE, text, visitor.address.path("/"), "Home")


def _link(visitor: Visitor, secret: str) -> str:
    return f"{visitor.address.path(PORTAL_LOGIN_PATH)}?{urlencode({REQUEST: secret})}"


async def leaving_page(
    login: Login, visitor: Visitor, server: str, pending: PendingLogin, back: str, back_text: str
) -> Response:
    """The page with the link to the authorization server of `server`, which says first where it leads. The link `back`
    is for a person who does not want to go there."""
    rules = await login.directory.rules()
    return login.pages.page(
        "server_login.html",
        rules.design,
        visitor,
        server=server,
        place=origin_of(normal_url(pending.url) or pending.url),
        scope=readable(pending.scope),
        url=pending.url,
        back=back,
        back_text=back_text,
    )
