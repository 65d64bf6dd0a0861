"""The authorization server of the MCP endpoints as HTTP: metadata, registration, authorization, consent, tokens.

Each endpoint reads its request into a value, decides, acts and answers; the decisions are in `authorization`,
`exchange`, `credentials` and `clients`. Every answer to a redirect URI names the issuer (RFC 9207).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.config import say_duration
from portal.http import NO_STORE, PortalAddress, Refusal, no_room, refuse
from portal.identity import Identity
from portal.login import STALE_FORM, Login, LoginSession, form_endpoint
from portal.logs import event
from portal.oauth.admission import Admit, refusal_of
from portal.oauth.authorization import Authorization, decide_authorization
from portal.oauth.clients import FETCH_SECONDS, YOUNG, Client, Clients, read_registration
from portal.oauth.credentials import Credentials, authenticate, read_client_form
from portal.oauth.exchange import GONE, exchange, read_token_request
from portal.oauth.grants import ACCESS, REFRESH, GrantDocument, Grants
from portal.oauth.messages import (
    OAuthError,
    error_answer,
    json_answer,
    read_parameters,
    redirect_answer,
    see_other,
)
from portal.oauth.metadata import (
    OPENID_METADATA,
    RESOURCE_METADATA,
    SERVER_METADATA,
    authorization_server,
    protected_resource,
)
from portal.oauth.redirects import stays_here
from portal.oauth.resources import endpoint_path, mode_query_of, read_resource
from portal.oauth.settings import OAuthSettings
from portal.oauth.strangers import CONSENT_LIFETIME, Later, Strangers
from portal.oauth.uses import Uses
from portal.objects import Document
from portal.pages import Visitor
from portal.shares import Full, network_of
from portal.state import Kind, Store, Token, utc_now


class ConsentDocument(Document):
    """A valid authorization request that waits for a person's consent, in one browser. See `Authorization`."""

    client: str
    redirect_uri: str
    redirect_uri_given: bool
    state: str
    scopes: tuple[str, ...]
    resource: str
    challenge: str
    nonce: str
    browser: str

    @property
    def authorization(self) -> Authorization:
        return Authorization(**{name.name: getattr(self, name.name) for name in fields(Authorization)})


CONSENT = Kind("consent", ConsentDocument)
# A request that a person has allowed, and whose code is issued when they go on from the page of their servers.
ALLOWED = Kind("allowed_consent", ConsentDocument)
CONSENT_PATH, CONTINUE_PATH = "/authorize/consent", "/authorize/continue"
SERVERS_PATH = "/servers"
"""The page on which a person logs in to servers. It is another room's, and reached from here as well."""
ELICITATION_ID = "elicitationId"
"""The parameter of a link that asks a person to log in to servers."""
AGENT_ID = "agent"
"""The parameter of that page which says who waits for the person to go on: the key of an allowed request."""
FORMS = (
    "/token",
    "/revoke",
    CONSENT_PATH,
    CONTINUE_PATH,
    "/login/",
    "/logout",
    "/logout/",
    "/cdn-cgi/access/sso/oidc/",
)
"""The paths of login and authorization server that take forms, for `HttpSettings.forms`."""
ENDPOINTS = ("/token", "/revoke", "/register", "/cdn-cgi/access/sso/oidc/")
"""The paths whose clients read the errors of OAuth, for `HttpSettings.oauth`."""
CONSENT_EXPIRED = (
    "The application's request has expired, was answered already, or came from another browser. "
    "Start again from the application."
)


@dataclass(frozen=True, slots=True)
class WaitingAgent:
    """A client that a person (`subject`) has allowed, and that waits for its code. `destination` is where the browser
    goes then."""

    subject: str
    name: str
    destination: str


async def _never(identity: Identity) -> bool:
    """Nobody is shown servers before their agent gets its code."""
    return False


@dataclass(frozen=True, slots=True)
class Authority:
    """The parts an authorization server is made of. `admit` asks the policies. `servers_first` says whether a person is
    shown their servers after they have allowed a client, and before it gets its code."""

    store: Store
    settings: OAuthSettings
    clients: Clients
    grants: Grants
    admit: Admit
    uses: Uses
    strangers: Strangers
    now: Callable[[], datetime] = utc_now
    servers_first: Callable[[Identity], Awaitable[bool]] = _never


class AuthorizationServer:
    """Its routes. `name` is what clients call the MCP endpoint."""

    def __init__(self, authority: Authority, login: Login, name: str) -> None:
        self._authority = authority
        self._login = login
        self._name = name

    def routes(self) -> list[Route]:
        routes = [
            Route(SERVER_METADATA, self._server_metadata, methods=["GET"]),
            Route(OPENID_METADATA, self._server_metadata, methods=["GET"]),
            Route(RESOURCE_METADATA, self._resource_metadata, methods=["GET"]),
            Route(RESOURCE_METADATA + "/{path:path}", self._resource_metadata, methods=["GET"]),
            Route("/authorize", self._authorize, methods=["GET"]),
            Route(CONSENT_PATH, self._consent, methods=["GET", "POST"]),
            Route(CONTINUE_PATH, form_endpoint(self._login, self._continue), methods=["POST"]),
            Route("/token", self._json_errors(self._token, "token"), methods=["POST"]),
            Route("/revoke", self._json_errors(self._revoke, "revoke"), methods=["POST"]),
        ]
        if self._authority.settings.registration.enabled:
            routes.append(Route("/register", self._json_errors(self._register, "register"), methods=["POST"]))
        return [*routes, *(other_methods(route.path) for route in routes if route.methods == {"POST"})]

    def _json_errors(
        self, handle: Callable[[Request], Awaitable[Response | OAuthError]], method: str
    ) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of a handler: its answer, or its error as JSON, which is in the log as well."""

        async def endpoint(request: Request) -> Response:
            answer = await handle(request)
            if not isinstance(answer, OAuthError):
                return answer
            ip = self._login.visitors.of(request).ip
            self._login.events.write(event("refusal", method, "denied", ip=ip, reason=answer.code))
            return error_answer(answer)

        return endpoint

    def _address(self, request: Request) -> PortalAddress:
        return self._login.visitors.origins.address(request.scope)

    async def _server_metadata(self, request: Request) -> Response:
        return json_answer(authorization_server(self._address(request), self._authority.settings), headers={})

    async def _resource_metadata(self, request: Request) -> Response:
        settings = self._authority.settings
        path = "/" + request.path_params["path"] if "path" in request.path_params else settings.path
        if path != settings.path:
            return refuse(Refusal(404, "http", f"There is no protected resource at {path[:100]}."))
        query = mode_query_of(request.scope["query_string"])
        return json_answer(protected_resource(self._address(request), path, self._name, settings, query), headers={})

    async def _authorize(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        parameters = read_parameters(request.query_params.multi_items())
        if not isinstance(parameters, OAuthError) and ELICITATION_ID in parameters and "client_id" not in parameters:
            wanted = urlencode({ELICITATION_ID: parameters[ELICITATION_ID]})
            return visitor.remember(see_other(f"{visitor.address.path(SERVERS_PATH)}?{wanted}"))
        if isinstance(parameters, OAuthError):
            return await refused_authorization(self._login, visitor, parameters, visitor.address.url())
        if not self._authority.strangers.may_ask(visitor.ip):
            text = "Too many requests. Wait a minute."
            return await self._login.message(visitor, 429, "This request does not work", text)
        try:
            client = await self._authority.clients.get(parameters.get("client_id", ""), network_of(visitor.ip))
        except Full as full:
            return await self._no_fetch(visitor, full)
        resource = read_resource(parameters.get("resource", ""), visitor.address, self._authority.settings.path)
        decided = decide_authorization(parameters, client, resource)
        if isinstance(decided, OAuthError):
            state = parameters.get("state", "")
            return await refused_authorization(self._login, visitor, decided, visitor.address.url(), state)
        try:
            self._authority.strangers.wait_for_consent(visitor.ip)
        except Full as full:
            return await self._no_room(visitor, full)
        return visitor.remember(see_other(await self._begin_consent(decided, visitor)))

    async def _no_room(self, visitor: Visitor, full: Full) -> Response:
        seconds = int(CONSENT_LIFETIME.total_seconds())
        whose = "from your network" if full.own else "at this portal"
        text = f"{full.most} requests of agents {whose} wait for an answer. Try again in {seconds // 60} minutes."
        page = await self._login.message(visitor, 429 if full.own else 503, "Too many requests wait", text)
        page.headers["Retry-After"] = str(seconds)
        return page

    async def _no_fetch(self, visitor: Visitor, full: Full) -> Response:
        """There is no room to fetch the document of one more client."""
        refusal = no_room(full, "documents of applications being fetched", int(FETCH_SECONDS))
        response = await self._login.message(visitor, refusal.status, "This request does not work", refusal.message)
        response.headers.update(refusal.headers)
        return response

    async def _begin_consent(self, authorization: Authorization, visitor: Visitor) -> str:
        """Keep the request for the consent page; the path of that page."""
        return _consent_path(visitor, await self._keep(CONSENT, authorization, visitor))

    async def _keep(
        self, kind: Kind[ConsentDocument], authorization: Authorization, visitor: Visitor, subject: str = ""
    ) -> str:
        """Keep a request for an answer of this browser; the key of it."""
        key = secrets.token_urlsafe(32)
        await self._authority.store.tokens.issue(
            kind,
            key,
            subject=subject,
            client=authorization.client,
            document=ConsentDocument(**asdict(authorization), browser=visitor.binding),
            expires_at=self._authority.now() + CONSENT_LIFETIME,
        )
        return key

    async def _consent(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        key = request.query_params.get("request", "")[:200]
        pending = await self._authority.store.tokens.find(CONSENT, key) if key else None
        if pending is None or pending.used_at is not None or not visitor.owns(pending.document.browser):
            return await self._login.message(visitor, 400, "This request has ended", CONSENT_EXPIRED)
        authorization = pending.document.authorization
        client = await self._authority.clients.get(authorization.client)
        if client is None:
            return await self._login.message(visitor, 400, "This request has ended", CONSENT_EXPIRED)
        here = _consent_path(visitor, key)
        session = await self._login.session(request, visitor)
        if session is None:
            return self._login.sign_in(visitor, here)
        identity = replace(session.identity, ip=visitor.ip)
        path = endpoint_path(authorization.resource, visitor.address)
        if refusal_of(await self._authority.admit(identity, path)) is not None:
            return await self._login.blocked(visitor, identity, path)
        if request.method == "GET":
            return await self._consent_page(visitor, client, authorization, here, session)
        form = await self._login.read_form(request, visitor)
        if form is None:
            return await self._login.message(visitor, 403, "Open the page again", STALE_FORM, here, "Open it")
        sender = await self._login.sender(request, visitor, form, here)
        if isinstance(sender, Response):
            return sender
        used = await self._authority.store.tokens.consume(CONSENT, key)
        if used is None or used.reused:
            return await self._login.message(visitor, 400, "This request has ended", CONSENT_EXPIRED)
        allowed = form.get("answer") == "allow"
        self._login.events.write(
            event(
                "consent",
                "consent",
                "ok" if allowed else "denied",
                who=identity,
                name=client.id,
                client=_name_of(client),
                reason="" if allowed else "the person did not allow it",
            )
        )
        if not allowed:
            denied = {"error": "access_denied", "error_description": "the person did not allow it"}
            return redirect_answer(authorization.redirect_uri, {**denied, **_answer_of(authorization, visitor)})
        if _is_browser(request) and await self._authority.servers_first(identity):
            waits = urlencode({AGENT_ID: await self._keep(ALLOWED, authorization, visitor, identity.key)})
            return see_other(f"{visitor.address.path(SERVERS_PATH)}?{waits}")
        return await self._issue_code(request, visitor, session, client, authorization, here)

    async def waiting(self, key: str, visitor: Visitor) -> WaitingAgent | None:
        """The client that waits in this browser, by the key of its request; None if there is none."""
        found = await self._allowed(key, visitor)
        if found is None:
            return None
        allowed, client = found
        return WaitingAgent(allowed.subject, _name_of(client), allowed.document.redirect_uri)

    async def _allowed(self, key: str, visitor: Visitor) -> tuple[Token[ConsentDocument], Client] | None:
        """The request that a person has allowed in this browser, and its client; None if either is there no more."""
        allowed = await self._authority.store.tokens.find(ALLOWED, key[:200]) if key else None
        if allowed is None or allowed.used_at is not None or not visitor.owns(allowed.document.browser):
            return None
        client = await self._authority.clients.get(allowed.client)
        return (allowed, client) if client is not None else None

    async def _continue(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        """Issue the code of a client that waited while its person looked at their servers."""
        key = form.get(AGENT_ID, "")[:200]
        found = await self._allowed(key, visitor)
        if found is None:
            return await self._login.message(visitor, 400, "This request has ended", CONSENT_EXPIRED)
        allowed, client = found
        here = f"{visitor.address.path(SERVERS_PATH)}?{urlencode({AGENT_ID: key})}"
        session = await self._login.sender(request, visitor, form, here)
        if isinstance(session, Response):
            return session
        if session.identity.key != allowed.subject:
            return await self._login.message(visitor, 400, "This request has ended", CONSENT_EXPIRED)
        authorization = allowed.document.authorization
        identity = replace(session.identity, ip=visitor.ip)
        path = endpoint_path(authorization.resource, visitor.address)
        if refusal_of(await self._authority.admit(identity, path)) is not None:
            return await self._login.blocked(visitor, identity, path)
        used = await self._authority.store.tokens.consume(ALLOWED, key)
        if used is None or used.reused:
            return await self._login.message(visitor, 400, "This request has ended", CONSENT_EXPIRED)
        return await self._issue_code(request, visitor, session, client, authorization, here)

    async def _issue_code(
        self,
        request: Request,
        visitor: Visitor,
        session: LoginSession,
        client: Client,
        authorization: Authorization,
        here: str,
    ) -> Response:
        code = await self._authority.grants.code(
            session.identity,
            client.holder,
            authorization.resource,
            authorization.scopes,
            authorization.binding,
            lifetime=self._authority.settings.grant_duration,
            auth_time=int(session.since.timestamp()),
            client_name=client.name,
        )
        self._note_use(client)
        # A session that ended meanwhile took with it what there was, and not this code: nobody gets it.
        if await self._login.session(request, visitor) is None:
            return self._login.sign_in(visitor, here)
        return redirect_answer(authorization.redirect_uri, {"code": code, **_answer_of(authorization, visitor)})

    async def _consent_page(
        self, visitor: Visitor, client: Client, authorization: Authorization, here: str, session: LoginSession
    ) -> Response:
        rules = await self._login.directory.rules()
        return self._login.pages.page(
            "consent.html",
            rules.design,
            visitor,
            person=session.binding,
            form_targets=[authorization.redirect_uri],
            client=_name_of(client),
            verified=client.publisher,
            who=session.identity.label,
            destination=authorization.redirect_uri.partition("?")[0][:300],
            loopback=stays_here(authorization.redirect_uri),
            resource=authorization.resource,
            lasts=say_duration(self._authority.settings.grant_duration),
            action=here,
        )

    async def _token(self, request: Request) -> Response | OAuthError:
        form = read_client_form(await request.body(), request.headers.get("authorization", ""))
        if isinstance(form, OAuthError):
            return form
        read = read_token_request(form.parameters)
        if isinstance(read, OAuthError):
            return read
        if not await self._holds(form.credentials, (read.kind, read.token)):
            return GONE
        client = await self._authenticated(form.credentials)
        if isinstance(client, OAuthError):
            return client
        address, settings = self._address(request), self._authority.settings
        resource = read_resource(read.resource, address, settings.path) if read.resource else ""
        if isinstance(resource, OAuthError):
            return resource
        answer = await exchange(
            self._authority.grants,
            replace(read, resource=resource),
            client,
            lifetime=settings.access_lifetime,
            admit=lambda grant: self._authority.admit(grant.identity, endpoint_path(grant.resource, address)),
        )
        if isinstance(answer, OAuthError):
            return answer
        self._note_use(client)
        return json_answer(answer)

    def _note_use(self, client: Client) -> None:
        if not client.publisher:
            self._authority.uses.note_client(client.id)

    async def _revoke(self, request: Request) -> Response | OAuthError:
        """RFC 7009. `token_type_hint` is not needed: tokens are looked up by their hash."""
        form = read_client_form(await request.body(), request.headers.get("authorization", ""))
        if isinstance(form, OAuthError):
            return form
        token = form.parameters.get("token")
        if token is None:
            return OAuthError("invalid_request", "token is missing")
        if await self._holds(form.credentials, (ACCESS, token), (REFRESH, token)):
            client = await self._authenticated(form.credentials)
            if isinstance(client, OAuthError):
                return client
            await self._authority.grants.revoke(token, client.holder)
        # RFC 7009 section 2.2: an unknown token counts as revoked.
        return Response(status_code=200, headers=NO_STORE)

    async def _authenticated(self, credentials: Credentials) -> Client | OAuthError:
        client = await self._authority.clients.get(credentials.client_id)
        return authenticate(credentials, client, self._authority.now())

    async def _holds(self, credentials: Credentials, *shown: tuple[Kind[GrantDocument], str]) -> bool:
        """Whether a client with a document shows a code or token of its own; true for every other client.

        Without one, its document is not fetched: only `/authorize`, which is bounded for each address, makes the portal
        connect to servers that strangers name.
        """
        if not credentials.client_id.startswith("https://"):
            return True
        tokens = [await self._authority.store.tokens.find(kind, token) for kind, token in shown]
        return any(token is not None and token.client == credentials.client_id for token in tokens)

    async def _register(self, request: Request) -> Response | OAuthError:
        visitor = self._login.visitors.of(request)
        try:
            self._authority.strangers.register(visitor.ip)
        except Later as later:
            whose = "from this network" if later.own else "at this portal"
            return _later(429 if later.own else 503, f"too many registrations {whose}", later.seconds)
        metadata = read_registration(await request.body(), self._authority.settings)
        if isinstance(metadata, OAuthError):
            return metadata
        try:
            return json_answer(await self._authority.clients.register(metadata, self._authority.now()), 201)
        except Full as full:
            text = f"{full.most} clients have registered that nobody has used yet"
            return _later(503, text, int(YOUNG.total_seconds()))


def _later(status: int, text: str, seconds: int) -> Response:
    answer = {"error": "temporarily_unavailable", "error_description": f"{text}; try again in {seconds} s"}
    return json_answer(answer, status, {**NO_STORE, "Retry-After": str(seconds)})


async def refused_authorization(
    login: Login, visitor: Visitor, error: OAuthError, issuer: str, state: str = ""
) -> Response:
    """The answer to a wrong authorization request: a redirect to the client, or a page if errors may not go there."""
    if error.redirect_uri:
        answer = {"error": error.code, "error_description": error.description, "state": state, "iss": issuer}
        return visitor.remember(redirect_answer(error.redirect_uri, answer))
    text = f"The application that sent you here made a mistake: {error.description}. Go back there, and connect again."
    return await login.message(visitor, 400, "This request does not work", text)


def _is_browser(request: Request) -> bool:
    """Whether a person looks at the answer: browsers say so, and programs that fill in the form of a person do not
    (https://www.w3.org/TR/fetch-metadata/)."""
    return request.headers.get("sec-fetch-mode") == "navigate"


def _name_of(client: Client) -> str:
    return client.name or client.publisher or "An agent without a name"


def _answer_of(authorization: Authorization, visitor: Visitor) -> dict[str, str]:
    """What every answer to the client repeats or names (RFC 6749 4.1.2, RFC 9207)."""
    return {"state": authorization.state, "iss": visitor.address.url()}


def _consent_path(visitor: Visitor, key: str) -> str:
    return f"{visitor.address.path(CONSENT_PATH)}?{urlencode({'request': key})}"


def other_methods(path: str) -> Route:
    """The route of an endpoint of clients for all methods but POST, by which they send (RFC 6749 section 3.2)."""

    async def refused(request: Request) -> Response:
        answer = {"error": "invalid_request", "error_description": "send this request with POST"}
        return json_answer(answer, 405, {**NO_STORE, "Allow": "POST"})

    return Route(path, refused, methods=["GET", "PUT", "PATCH", "DELETE"])
