"""The page of a person's servers as HTTP: log in, log out, come back from a login; and the portal's client document.

Every path is below the prefix of the portal. Only forms of the page change anything, and the answer of an authorization
server to a login that was begun in the same browser by the person who is signed in there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.config import HttpServer
from portal.credentials import PortalClient, may_log_in, origin_of, scope_of, stored_logins
from portal.elicitation.client_document import CALLBACK_PATH, DOCUMENT_PATH, client_document, portal_client
from portal.elicitation.elicitations import LASTS, Elicitations
from portal.elicitation.offered import OfferedServer, name_of, readable, shown_servers
from portal.elicitation.people import LoggedOut, NoLogin
from portal.elicitation.portal_logins import FindServer, PortalLogins, leaving_page
from portal.elicitation.servers import PeoplesServers
from portal.http import PortalAddress, Rate, Refusal, drop_cookie, read_cookie, refuse, write_cookie
from portal.identity import Identity
from portal.login import Login, LoginSession, form_endpoint, see_other
from portal.oauth import AGENT_ID, CONTINUE_PATH, ELICITATION_ID, SERVERS_PATH, Admit, WaitingAgent, refusal_of
from portal.pages import Visitor
from portal.shares import network_of

CONNECT_PATH, LOG_OUT_PATH, CHOOSE_PATH = (f"{SERVERS_PATH}/{name}" for name in ("connect", "log-out", "choose"))
FORMS = (f"{SERVERS_PATH}/",)
"""The paths that take forms, for `HttpSettings.forms`."""
# What led to the page, while the browser is at an authorization server.
COOKIE = "portal_elicitation"
MAX_PARAMETER, MAX_PARAMETERS, MAX_SCOPE = 4096, 20, 1000
DOCUMENT_SECONDS = 3600
_ID = re.compile(r"[A-Za-z0-9_-]{43}")
Waiting: TypeAlias = Callable[[str, Visitor], Awaitable[WaitingAgent | None]]
"""The agent that waits in this browser, by the key of its request."""
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 3.3
TOO_OFTEN = "That is too often. Wait a minute."
ENDED = "This link has ended, or never was one. These are all your servers."
NOT_YOURS = "What your agent asks for is not among your servers at this portal."
AGENT_GONE = "The request of your agent has ended. Start again from the agent."
NOT_FOR_YOU = (
    "It asks somebody else to log in to servers. If you have another account here, sign out and open the link again."
)
LOGIN_ENDED = "This login has expired, was used already, or was begun in another browser. Begin again."
UNKNOWN = "There is no such server for you at this portal."


@dataclass(frozen=True, slots=True)
class _Person:
    """Who is signed in, and the servers that they may use."""

    session: LoginSession
    identity: Identity
    offered: Sequence[OfferedServer]

    def server(self, id: str) -> OfferedServer | None:
        return next((one for one in self.offered if one.id == id), None)


@dataclass(frozen=True, slots=True)
class _Way:
    """What led a person to the page, and leads them back to it: the id of a link, or the key of an agent's request."""

    elicitation: str = ""
    agent: str = ""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> _Way:
        """What there is of it in the parameters of a request, or in the fields of a form."""
        return cls(_id_in(parameters.get(ELICITATION_ID, "")), _id_in(parameters.get(AGENT_ID, "")))

    @property
    def query(self) -> str:
        names = {ELICITATION_ID: self.elicitation, AGENT_ID: self.agent}
        return urlencode({name: value for name, value in names.items() if value})

    def path(self, visitor: Visitor) -> str:
        path = visitor.address.path(SERVERS_PATH)
        return f"{path}?{self.query}" if self.query else path


class ServerRoutes:
    """The routes of one portal. `admit` asks the policies about the portal, by the path of its MCP `endpoint`;
    `waiting` finds agents that wait for a person to go on, `find_server` gives any server by its id."""

    def __init__(
        self,
        login: Login,
        servers: PeoplesServers,
        elicitations: Elicitations,
        admit: Admit,
        waiting: Waiting,
        find_server: FindServer,
        endpoint: str = "/mcp",
    ) -> None:
        self._login = login
        self._servers = servers
        self._logins = servers.logins
        self._elicitations = elicitations
        self._admit = admit
        self._waiting = waiting
        self._portals = PortalLogins(login, servers.logins, find_server, self._client)
        self._endpoint = endpoint
        self._requests = Rate(burst=120, per_minute=240)
        self._begins = Rate(burst=20, per_minute=10)

    def routes(self) -> list[Route]:
        return [
            Route(SERVERS_PATH, self._page, methods=["GET"]),
            Route(CONNECT_PATH, form_endpoint(self._login, self._connect), methods=["POST"]),
            Route(LOG_OUT_PATH, form_endpoint(self._login, self._log_out), methods=["POST"]),
            Route(CHOOSE_PATH, form_endpoint(self._login, self._choose), methods=["POST"]),
            Route(CALLBACK_PATH, self._callback, methods=["GET"]),
            Route(DOCUMENT_PATH, self._document, methods=["GET"]),
            *self._portals.routes(),
        ]

    async def aclose(self) -> None:
        await self._servers.aclose()

    # The page

    async def _page(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        way = _Way.of(request.query_params)
        person = await self._person(request, visitor, way)
        if isinstance(person, Response):
            return person
        elicitation = await self._elicitations.find(way.elicitation)
        if elicitation is None:
            note = ENDED if ELICITATION_ID in request.query_params else ""
            return await self._shown(visitor, person, way, {}, note)
        if not elicitation.is_for(person.identity):
            out = visitor.address.path("/logout")
            return await self._login.message(visitor, 403, "This link is not for you", NOT_FOR_YOU, out, "Sign out")
        note = "" if any(person.server(server) for server in elicitation.wanted) else NOT_YOURS
        return await self._shown(visitor, person, way, elicitation.wanted, note)

    async def _shown(
        self, visitor: Visitor, person: _Person, way: _Way, wanted: Mapping[str, str], note: str
    ) -> Response:
        logins = await self._logins.of(person.identity)
        connecting = await self._logins.connecting(person.identity)
        shown = shown_servers(person.offered, logins, connecting, wanted, self._logins.now())
        first = [server for server in shown if server.wanted]
        agent = await self._waiting(way.agent, visitor) if way.agent else None
        if agent is not None and agent.subject != person.identity.key:
            agent = None
        if way.agent and agent is None:
            note = AGENT_GONE
        new = await self._servers.new_to(person.identity, [server.id for server in shown])
        rules = await self._login.directory.rules()
        return self._login.pages.page(
            "servers.html",
            rules.design,
            visitor,
            person=person.session.binding,
            form_targets=[agent.destination] if agent is not None else (),
            who=person.identity.label,
            wanted=first,
            others=[server for server in shown if not server.wanted],
            elsewhere=_elsewhere(person, [login.key.server for login in logins if login.key.subject]),
            done=bool(first) and all(server.connected for server in first),
            note=note,
            off=self._servers.off(person.identity),
            new=[server.name for server in shown if server.id in new],
            elicitation=way.elicitation,
            agent=way.agent if agent is not None else "",
            agent_name=readable(agent.name) if agent is not None else "",
            go_on=visitor.address.path(CONTINUE_PATH),
            max_scope=MAX_SCOPE,
        )

    # Logging in and out

    async def _connect(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        way = _Way.of(form)
        person = await self._person(request, visitor, way, form)
        if isinstance(person, Response):
            return person
        server = person.server(form.get("server", ""))
        if server is None or not isinstance(server.config, HttpServer) or not may_log_in(server.config):
            return await self._failed(visitor, 404, UNKNOWN, way)
        if server.for_all:
            text = "The portal has one login for everybody at this server, which an administrator makes."
            return await self._failed(visitor, 403, text, way)
        if not self._begins.allows(person.identity.key):
            return await self._failed(visitor, 429, TOO_OFTEN, way)
        scope = await self._scope(person.identity, server, form)
        if scope is None:
            text = f"Permissions are words with spaces between them, at most {MAX_SCOPE} characters."
            return await self._failed(visitor, 400, text, way)
        try:
            client = await self._client(visitor.address)
            pending = await self._logins.begin(person.identity, visitor, server.config, client, scope)
        except NoLogin as error:
            return await self._failed(visitor, 502, f"{name_of(server)}: {error}", way)
        back = way.path(visitor)
        response = await leaving_page(self._login, visitor, name_of(server), pending, back, "Back to your servers")
        if way.query:
            write_cookie(response, COOKIE, way.query, visitor.address, max_age=int(LASTS.total_seconds()))
        else:
            drop_cookie(response, COOKIE, visitor.address)
        return response

    async def _scope(self, identity: Identity, server: OfferedServer, form: Mapping[str, str]) -> str | None:
        """The scope to ask for beside what the server asks for; None for a field with something else in it.

        What an administrator configured is the most. Otherwise it is what the field of the form says; without the field
        all that the former login had, and what the server wanted beyond it.
        """
        config = server.config
        if isinstance(config, HttpServer) and config.oauth is not None and config.oauth.scope:
            return ""
        if "scope" in form:
            words = form["scope"].split()
            fits = len(form["scope"]) <= MAX_SCOPE and all(_SCOPE.fullmatch(word) for word in words)
            return " ".join(words) if fits else None
        return scope_of(await stored_logins(self._logins.store, subject=identity.key, server=server.id))

    async def _callback(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        way = _Way.of(dict(parse_qsl(read_cookie(request, COOKIE, visitor.address))))
        answer = _answer_in(request.query_params.multi_items())
        begun = await self._logins.found(answer.get("state", ""), visitor)
        if begun is None:
            return await self._failed(visitor, 400, LOGIN_ENDED, way)
        if begun.document.for_portal:
            return await self._portals.finish(request, visitor, begun, answer)
        person = await self._person(request, visitor, way)
        if isinstance(person, Response):
            return person
        if begun.subject != person.identity.key:
            return await self._failed(visitor, 403, "Somebody else began this login in this browser.", way)

        async def still_here() -> bool:
            return await self._login.session(request, visitor) is not None

        server = person.server(begun.document.login.server)
        if server is None or not isinstance(server.config, HttpServer) or not server.takes_logins:
            return await self._failed(visitor, 404, UNKNOWN, way)
        try:
            client = await self._client(visitor.address)
            finished = await self._logins.finish(
                begun, answer, person.identity, visitor, server.config, client, still_here
            )
        except NoLogin as error:
            return await self._failed(visitor, 502, f"{name_of(server)}: {error}", way)
        # Whoever was signed out meanwhile leaves no login behind.
        if not await still_here():
            await self._logins.end(person.identity, server.id, server.config)
            return self._login.sign_in(visitor, way.path(visitor))
        if not finished:
            return await self._failed(visitor, 400, LOGIN_ENDED, way)
        response = visitor.remember(see_other(way.path(visitor)))
        if way.query:
            drop_cookie(response, COOKIE, visitor.address)
        return response

    async def _log_out(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        way = _Way.of(form)
        person = await self._person(request, visitor, way, form)
        if isinstance(person, Response):
            return person
        name = form.get("server", "")[:100]
        # A login may be ended also where the server is not for this person any more.
        server = person.server(name)
        config = server.config if server is not None and isinstance(server.config, HttpServer) else None
        ended = await self._logins.end(person.identity, name, config)
        if not ended:
            return await self._failed(visitor, 404, "You were not logged in there.", way)
        called, back = name_of(server) if server is not None else readable(name), way.path(visitor)
        text = " ".join(_taken_back(one) for one in ended)
        return await self._login.message(visitor, 200, f"Logged out of {called}", text, back, "Your servers")

    async def _choose(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        way = _Way.of(form)
        person = await self._person(request, visitor, way, form)
        if isinstance(person, Response):
            return person
        server, choice = person.server(form.get("server", "")), form.get("choice", "")
        if server is None or choice not in ("on", "off"):
            return await self._failed(visitor, 404, UNKNOWN, way)
        try:
            await self._servers.choose(person.identity, {server.id: choice == "on"})
        except ValueError as error:
            return await self._failed(visitor, 400, f"{name_of(server)}: {error}.", way)
        return see_other(way.path(visitor))

    # The portal as a client

    async def _document(self, request: Request) -> Response:
        client = await self._client(self._login.visitors.origins.address(request.scope))
        if not client.document_url:
            text = "This portal has no public https URL, so it has no client metadata document."
            return refuse(Refusal(404, "http", text))
        headers = {"Cache-Control": f"public, max-age={DOCUMENT_SECONDS}", "X-Content-Type-Options": "nosniff"}
        return Response(orjson.dumps(client_document(client)), headers=headers, media_type="application/json")

    async def _client(self, address: PortalAddress) -> PortalClient:
        return portal_client(address, (await self._login.directory.rules()).design.name)

    # What they have in common

    async def _person(
        self, request: Request, visitor: Visitor, way: _Way, form: Mapping[str, str] | None = None
    ) -> _Person | Response:
        """The person who is signed in, with their servers; or the answer for somebody who may not come in. A `form`
        must come from a page of that same person."""
        if not self._requests.allows(network_of(visitor.ip)):
            return await self._login.message(visitor, 429, "Slow down", TOO_OFTEN)
        if form is not None:
            sender = await self._login.sender(request, visitor, form, way.path(visitor))
            if isinstance(sender, Response):
                return sender
        session = await self._login.session(request, visitor)
        if session is None:
            return self._login.sign_in(visitor, way.path(visitor))
        identity = replace(session.identity, ip=visitor.ip)
        if refusal_of(await self._admit(identity, self._endpoint)) is not None:
            return await self._login.blocked(visitor, identity, self._endpoint)
        return _Person(session, identity, await self._servers.offered(identity))

    async def _failed(self, visitor: Visitor, status: int, text: str, way: _Way) -> Response:
        back = way.path(visitor)
        return await self._login.message(visitor, status, "That did not work", text, back, "Your servers")


def _id_in(text: str) -> str:
    """A key of ours; "" for what can be none."""
    return text if _ID.fullmatch(text) else ""


def _answer_in(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The parameters of an answer; none at all if one comes twice, or is too long: they are then nobody's."""
    answer = dict(pairs)
    fits = len(pairs) <= MAX_PARAMETERS and all(len(value) <= MAX_PARAMETER for value in answer.values())
    return answer if fits and len(answer) == len(pairs) else {}


def _elsewhere(person: _Person, servers: Sequence[str]) -> list[str]:
    """The servers at which a person is logged in and that are none of theirs at this portal."""
    return sorted({server for server in servers if person.server(server) is None})


def _taken_back(ended: LoggedOut) -> str:
    where, what = origin_of(ended.issuer), f" ({ended.scope})" if ended.scope else ""
    forgotten = f"The portal has forgotten your login{what}"
    if ended.taken_back is None:
        return f"{forgotten}. {where} is being told, and has not answered yet."
    if ended.taken_back:
        return f"{forgotten}, and {where} has taken its tokens back."
    if ended.taken_back.refresh:
        return (
            f"{forgotten}, and {where} renews it no more. It does not take back the token that it issued last, "
            "which ends by itself."
        )
    return f"{forgotten}. {where} does not take tokens back, or could not be told: they end by themselves."
