"""What stands in front of the MCP endpoint: who is calling, and may they come in at all?

It decides once for each request, and puts the identity and what the policies say of it into the scope. It answers 401
with the way to the authorization server, or 403 with the policy that refused.

It is part of the routes (`with_endpoint`): what a path leads to and whether one has to sign in there is one
decision, made by the router. No path leads past it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import quote

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp_types import INVALID_REQUEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from portal.access import Decision, Standing, denied, keep_standing, portal_decision
from portal.bounded import Bounded
from portal.http import Origins, Proxies, Refusal, client_ip, refuse, unavailable
from portal.identity import ANONYMOUS, IDENTITY, Identity
from portal.login import Login
from portal.logs import NO_EVENTS, EventSink, event
from portal.oauth.logins import Logins
from portal.oauth.metadata import challenge
from portal.oauth.resources import mode_query_of, resource_url
from portal.oauth.service_tokens import ID_HEADER, SECRET_HEADER, ServiceTokens
from portal.oauth.settings import SCOPE, OAuthSettings
from portal.oauth.verification import Verifier
from portal.pages import DENIED
from portal.state import StateUnavailable

LINKED_HEADER = b"cf-access-token"
MAX_CALLERS = 10_000
_ELSEWHERE = "/{portal}/mcp"
_PATH = "/:@!$&'()*+,;=~"
"""What stands in a path as it is (RFC 3986, section 3.3), letters, digits and `-._` aside."""
UNAUTHENTICATED = -32001
REFUSED = "portal.refused_identity"
"""The key of the ASGI scope under which it says who was known, and refused."""
Enrich: TypeAlias = Callable[[Identity, Scope], Identity]
Decide: TypeAlias = Callable[[Identity], Awaitable[Standing | None]]
"""All that the policies say of a caller, or None where the login has ended. It needs nothing but memory."""
Linked: TypeAlias = Callable[[str], Awaitable[Identity | None]]


@dataclass(eq=False, slots=True)
class Challenged(Exception):
    """Nobody we know. `error` is RFC 6750's, "" when nothing was shown."""

    error: str
    message: str


@dataclass(eq=False, slots=True)
class Blocked(Exception):
    """A browser of somebody who may not come in, and the page for it."""

    page: Response


class Authentication:
    """Wraps the ASGI application that only those may use who may come in.

    `enrich` adds what is known of a request beside its credentials (country, posture); `linked` reads the assertion of
    a linked application; `login` knows what the refused are shown; `events` takes rows about them.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: OAuthSettings,
        origins: Origins,
        verifier: Verifier,
        service_tokens: ServiceTokens,
        logins: Logins,
        decide: Decide,
        proxies: Proxies = (),
        enrich: Enrich | None = None,
        linked: Linked | None = None,
        login: Login | None = None,
        events: EventSink = NO_EVENTS,
    ) -> None:
        self._events = events
        self._app = app
        self._settings = settings
        self._origins = origins
        self._verifier = verifier
        self._service_tokens = service_tokens
        self._logins = logins
        self._decide = decide
        self._proxies = proxies
        self._enrich = enrich
        self._linked = linked
        self._login = login
        self._callers: Bounded[tuple[str, str, str], Identity] = Bounded(MAX_CALLERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._identify(scope, self._origins.of(scope))
        except Refusal as refusal:
            self._note(scope, refusal)
            await refuse(refusal)(scope, receive, send)
            return
        except StateUnavailable as error:
            # Whether a credential is good is not known: it is no reason to ask for another one.
            await refuse(unavailable(error.words, error.seconds, error.ran))(scope, receive, send)
            return
        except Blocked as blocked:
            await blocked.page(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _note(self, scope: Scope, refusal: Refusal) -> None:
        """Write a refusal into the log: who came, as far as that is known, and why they may not come in."""
        policy = refusal.data.get("policy")
        row = event(
            "refusal",
            str(scope["method"]),
            "denied",
            who=refused if isinstance(refused := scope.get(REFUSED), Identity) else None,
            ip=client_ip(scope, self._proxies),
            policy=policy if isinstance(policy, str) else "",
            reason=refusal.message if refusal.reason == "denied" else refusal.reason,
        )
        self._events.write(row._replace(error_code=refusal.code))

    async def _identify(self, scope: Scope, origin: str) -> None:
        """Set the scope's identity. Raises Refusal."""
        try:
            await self._admitted(scope, origin)
        except Challenged as challenged:
            header = self._challenge(scope, origin, challenged.error, challenged.message)
            headers = {"WWW-Authenticate": header, "Cache-Control": "no-store"}
            reason = challenged.error or "authentication"
            raise Refusal(401, reason, challenged.message, UNAUTHENTICATED, headers) from None

    async def _admitted(self, scope: Scope, origin: str) -> None:
        identity, token, family = await self._credentials(scope, origin)
        identity = self._known_as(identity, scope, family)
        standing = await self._decide(identity)
        decision = portal_decision(standing)
        if standing is None or not decision.allowed:
            if token is None:
                raise Challenged("", "Sign in: this portal needs an access token or a service token.")
            scope[REFUSED] = identity
            raise await self._refused(identity, decision, scope)
        scope[IDENTITY] = identity
        keep_standing(scope, standing)
        if token is not None:
            # What the MCP transport ties sessions and request states to.
            scope["user"] = AuthenticatedUser(token)

    async def _refused(self, identity: Identity, decision: Decision, scope: Scope) -> Refusal:
        """It names the policy, as the refusal of a call does, and says what a person would be shown.

        Raises Blocked where it is a person who looks.
        """
        shown: dict[str, object] = {}
        if self._login is not None:
            request = Request(scope)
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                visitor = self._login.visitors.of(request)
                raise Blocked(await self._login.blocked(visitor, identity, self._settings.path))
            block = await self._login.block(identity, self._settings.path)
            shown |= {"url": block.url} if block.url else {}
            shown |= {"message": block.message} if block.message != DENIED else {}
        return denied(decision, **shown)

    def _known_as(self, identity: Identity, scope: Scope, family: str) -> Identity:
        """The identity with what is known of the request: the same object as long as that stays the same, because
        decisions are kept with the object."""
        identity = replace(identity, ip=client_ip(scope, self._proxies))
        if self._enrich is not None:
            identity = self._enrich(identity, scope)
        key = identity.key, identity.ip, family
        known = self._callers.get(key)
        if known is None or known != identity:
            known = self._callers[key] = identity
        # At each request: of the many logins that are noted, those in use are the last to be forgotten.
        self._logins.note(known, family)
        return known

    async def _credentials(self, scope: Scope, origin: str) -> tuple[Identity, AccessToken | None, str]:
        """Who shows what, and the grant it came of."""
        shown = _headers(scope)
        if ID_HEADER in shown or SECRET_HEADER in shown:
            return await self._by_service_token(shown)
        authorization = shown.get(b"authorization", "")
        if authorization:
            return await self._by_bearer(authorization, origin, scope)
        if self._linked is not None and LINKED_HEADER in shown:
            linked = await self._linked(shown[LINKED_HEADER])
            if linked is None:
                raise Challenged("invalid_token", "The token of the linked application is not valid.")
            return linked, AccessToken(token="", client_id="linked", scopes=[SCOPE], subject=linked.key), ""
        return ANONYMOUS, None, ""

    async def _by_service_token(self, shown: dict[bytes, str]) -> tuple[Identity, AccessToken, str]:
        found = await self._service_tokens.verify(shown.get(ID_HEADER, ""), shown.get(SECRET_HEADER, ""))
        if found is None:
            raise Challenged("invalid_token", "The service token is unknown, has expired, or its secret is wrong.")
        return found, AccessToken(token="", client_id=found.common_name, scopes=[SCOPE], subject=found.key), ""

    async def _by_bearer(self, authorization: str, origin: str, scope: Scope) -> tuple[Identity, AccessToken, str]:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Challenged("invalid_request", "Only bearer tokens are taken.")
        grant = await self._verifier.verify(token.strip())
        if grant is None or grant.resource != resource_url(origin, scope["path"]):
            raise Challenged(
                "invalid_token", "The access token is unknown, expired, revoked, or not for this endpoint."
            )
        if SCOPE not in grant.scopes:
            description = f"The access token lacks the scope {SCOPE!r}."
            header = self._challenge(scope, origin, "insufficient_scope", description)
            raise Refusal(403, "insufficient_scope", description, INVALID_REQUEST, {"WWW-Authenticate": header})
        shown = AccessToken(
            token="",
            client_id=grant.client,
            scopes=list(grant.scopes),
            resource=grant.resource,
            subject=grant.identity.id,
        )
        return grant.identity, shown, grant.family

    def _challenge(self, scope: Scope, origin: str, error: str, description: str) -> str:
        """The challenge for the endpoint by the URL that the client has."""
        # As it is written in a URL: decoded, it may be any text, and no value of a header.
        endpoint = quote(scope["path"], safe=_PATH) + mode_query_of(scope["query_string"])
        return challenge(origin, endpoint, self._settings, error, description)


def with_endpoint(
    routes: Sequence[BaseRoute], path: str, endpoint: ASGIApp, authenticated: Callable[[ASGIApp], ASGIApp]
) -> list[BaseRoute]:
    """The routes of a portal, with those that need a credential: its MCP endpoint, and what could be that of a portal
    that is not there: who is not signed in does not learn which portals there are."""
    return [
        Route(path, authenticated(endpoint), name="mcp"),
        *routes,
        Route(_ELSEWHERE, authenticated(_NothingThere())),
    ]


class _NothingThere:
    """An ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(404)


def _headers(scope: Scope) -> dict[bytes, str]:
    """The headers that carry credentials. One that is there twice is none: which of them would be meant?"""
    wanted = (b"authorization", ID_HEADER, SECRET_HEADER, LINKED_HEADER)
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in wanted:
            found[name] = value.decode("latin-1") if name not in found else ""
    return found
