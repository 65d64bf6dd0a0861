"""The authorization server as HTTP: the SDK's handlers behind our provider, and what they leave to be done around them.

Around them: our own metadata, form parameters that come twice, client ids in Basic credentials, revocation by public
clients, `iss` in every answer (RFC 9207), pages instead of JSON for people, and the consent page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import orjson
from mcp.server.auth.handlers.authorize import AuthorizationHandler
from mcp.server.auth.handlers.register import RegistrationHandler
from mcp.server.auth.handlers.revoke import RevocationHandler
from mcp.server.auth.handlers.token import TokenHandler
from mcp.server.auth.middleware.client_auth import ClientAuthenticator
from mcp.server.auth.provider import construct_redirect_uri
from mcp.server.auth.settings import ClientRegistrationOptions
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portal.config import write_duration
from portal.http import Rate, Refusal, refuse
from portal.login import STALE_FORM, Login
from portal.oauth.admission import refusal_of
from portal.oauth.clients import Client
from portal.oauth.grants import ACCESS, CODE, REFRESH, CodeBinding
from portal.oauth.metadata import (
    OPENID_ALIAS,
    RESOURCE_METADATA,
    SERVER_METADATA,
    authorization_server,
    protected_resource,
)
from portal.oauth.provider import CONSENT, CONSENT_PATH, Asking, Authority, Provider
from portal.oauth.redirects import may_have, stays_here
from portal.oauth.resources import is_protected
from portal.pages import Visitor
from portal.state import Token

FORMS = ("/token", "/revoke", CONSENT_PATH, "/login/", "/logout", "/cdn-cgi/access/sso/oidc/")
"""The paths of login and authorization server that take forms, for `HttpSettings.forms`."""
ONCE_ONLY = {"Cache-Control": "no-store", "Pragma": "no-cache"}
CONSENT_EXPIRED = (
    "The application's request has expired, was answered already, or came from another browser. "
    "Start again from the application."
)


class AuthorizationServer:
    """Its routes. `name` is what clients call the MCP endpoint."""

    def __init__(self, authority: Authority, login: Login, name: str) -> None:
        self._authority = authority
        self._login = login
        self._name = name
        self._registrations = Rate(burst=20, per_minute=10)
        self._requests = Rate(burst=120, per_minute=240)

    def routes(self) -> list[Route]:
        routes = [
            Route(SERVER_METADATA, self._server_metadata, methods=["GET"]),
            Route(OPENID_ALIAS, self._server_metadata, methods=["GET"]),
            Route(RESOURCE_METADATA, self._resource_metadata, methods=["GET"]),
            Route(RESOURCE_METADATA + "/{path:path}", self._resource_metadata, methods=["GET"]),
            Route("/authorize", self._authorize, methods=["GET"]),
            Route(CONSENT_PATH, self._consent, methods=["GET", "POST"]),
            Route("/token", self._token, methods=["POST"]),
            Route("/revoke", self._revoke, methods=["POST"]),
        ]
        if self._authority.settings.registration.enabled:
            routes.append(Route("/register", self._register, methods=["POST"]))
        return routes

    async def _server_metadata(self, request: Request) -> Response:
        origin = self._login.visitors.origins.of(request.scope)
        return _json(authorization_server(origin, self._authority.settings))

    async def _resource_metadata(self, request: Request) -> Response:
        settings = self._authority.settings
        origin = self._login.visitors.origins.of(request.scope)
        path = "/" + request.path_params["path"] if "path" in request.path_params else settings.path
        if not is_protected(path, settings.path):
            return refuse(Refusal(404, "http", f"There is no protected resource at {path[:100]}."))
        return _json(protected_resource(origin, path, self._name, settings))

    async def _authorize(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        repeated = _repeated(request.query_params.multi_items())
        if repeated or not self._requests.allows(visitor.ip):
            text = f"The parameter {repeated!r} came twice." if repeated else "Too many requests. Wait a minute."
            return await self._login.message(visitor, 400 if repeated else 429, "This request does not work", text)
        provider = Provider(self._authority, Asking(visitor.origin, browser=visitor.binding))
        response = await AuthorizationHandler(provider).handle(request)
        location = response.headers.get("location", "")
        if not location:
            return await self._unusable(visitor, response)
        if not location.startswith(CONSENT_PATH + "?"):
            if not await self._vouched_for(request.query_params.get("client_id", ""), location):
                return await self._not_sent(visitor, location)
            response = _leave(construct_redirect_uri(location, iss=visitor.origin))
        return visitor.remember(response)

    async def _vouched_for(self, client_id: str, location: str) -> bool:
        """Whether a mistake may send the browser there. Where a client document alone says so, only a person's yes may:
        else every address under our name would lead wherever a stranger likes (RFC 9700 section 4.11.2)."""
        client = await self._authority.clients.get(client_id)
        if client is None or not client.publisher:
            return True
        return may_have(location.partition("?")[0], self._authority.settings.registration)

    async def _not_sent(self, visitor: Visitor, location: str) -> Response:
        said = dict(parse_qsl(urlsplit(location).query))
        text = f"The application that sent you here made a mistake: {said.get('error_description') or said['error']}"
        return await self._login.message(visitor, 400, "This request does not work", text[:500])

    async def _unusable(self, visitor: Visitor, response: Response) -> Response:
        """What a person reads where the SDK says it in JSON: there is no client to send them back to."""
        said = orjson.loads(response.body)
        text = (
            f"The application that sent you here made a mistake: {said.get('error_description') or said.get('error')}"
        )
        return await self._login.message(visitor, 400, "This request does not work", str(text)[:500])

    async def _consent(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        key = request.query_params.get("request", "")[:200]
        pending = await self._authority.store.tokens.find(CONSENT, key) if key else None
        if pending is None or pending.used_at is not None or not visitor.owns(pending.document["browser"]):
            return await self._login.message(visitor, 400, "This request has ended", CONSENT_EXPIRED)
        client = await self._authority.clients.get(pending.client)
        if client is None:
            return await self._login.message(visitor, 400, "This request has ended", CONSENT_EXPIRED)
        here = f"{CONSENT_PATH}?{urlencode({'request': key})}"
        session = await self._login.session(request, visitor)
        if session is None:
            return self._login.sign_in(visitor, here)
        identity = replace(session.identity, ip=visitor.ip)
        path = urlsplit(str(pending.document["resource"])).path
        if refusal_of(await self._authority.admit(identity, path)) is not None:
            return await self._login.blocked(visitor, identity, path)
        if request.method == "GET":
            return await self._ask(visitor, client, pending, here, identity.label)
        form = await self._login.read_form(request, visitor)
        if form is None:
            return await self._login.message(visitor, 403, "Open the page again", STALE_FORM, here, "Open it")
        used = await self._authority.store.tokens.consume(CONSENT, key)
        if used is None or used.reused:
            return await self._login.message(visitor, 400, "This request has ended", CONSENT_EXPIRED)
        document = used.document
        answer: dict[str, str | None] = {"state": document["state"], "iss": visitor.origin}
        if form.get("answer") != "allow":
            denied = {"error": "access_denied", "error_description": "the person did not allow it"}
            return _leave(construct_redirect_uri(str(document["redirect_uri"]), **denied, **answer))
        binding = CodeBinding(
            str(document["challenge"]), str(document["redirect_uri"]), bool(document["redirect_uri_given"])
        )
        code = await self._authority.grants.code(
            session.identity,
            client.client_id,
            str(document["resource"]),
            list(document["scopes"]),
            binding,
            lifetime=self._authority.settings.grant_duration,
        )
        return _leave(construct_redirect_uri(binding.redirect_uri, code=code, **answer))

    async def _ask(self, visitor: Visitor, client: Client, pending: Token, here: str, who: str) -> Response:
        document: Mapping[str, object] = pending.document
        redirect = str(document["redirect_uri"])
        rules = await self._login.directory.rules()
        return self._login.pages.page(
            "consent.html",
            rules.design,
            visitor,
            form_targets=[redirect],
            client=client.client_name or client.publisher or "An application without a name",
            verified=client.publisher,
            who=who,
            destination=redirect.partition("?")[0][:300],
            loopback=stays_here(redirect),
            resource=document["resource"],
            lasts=write_duration(self._authority.settings.grant_duration),
            action=here,
        )

    async def _token(self, request: Request) -> Response:
        sent = await _read(request)
        if isinstance(sent, Response):
            return sent
        if not await self._held(sent.fields, (CODE, "code"), (REFRESH, "refresh_token")):
            error = {"error": "invalid_grant", "error_description": "it is unknown, expired, or another client's"}
            return _json(error, 400, ONCE_ONLY)
        origin = self._login.visitors.origins.of(request.scope)
        provider = Provider(self._authority, Asking(origin, resource=sent.fields.get("resource")))
        response: Response = await TokenHandler(provider, ClientAuthenticator(provider)).handle(sent.request)
        if response.status_code == 401 and "authorization" in request.headers:
            # RFC 6749 section 5.2: a client that tried Basic is told the scheme.
            response.headers["WWW-Authenticate"] = 'Basic realm="token"'
        return response

    async def _revoke(self, request: Request) -> Response:
        sent = await _read(request, client_secret="")
        if isinstance(sent, Response):
            return sent
        if not await self._held(sent.fields, (ACCESS, "token"), (REFRESH, "token")):
            # RFC 7009 section 2.2: what is no token is revoked already.
            return _json({}, 200, ONCE_ONLY)
        provider = Provider(self._authority, Asking(self._login.visitors.origins.of(request.scope)))
        return await RevocationHandler(provider, ClientAuthenticator(provider)).handle(sent.request)

    async def _held(self, fields: Mapping[str, str], *kinds: tuple[str, str]) -> bool:
        """Whether a client with a document shows something it was given. Before that its document is not fetched:
        `/authorize` alone, which is bounded for each address, has the portal ask servers that strangers name."""
        client_id = fields.get("client_id", "")
        if not client_id.startswith("https://"):
            return True
        shown = [await self._authority.store.tokens.find(kind, fields.get(name, "")) for kind, name in kinds]
        return any(token is not None and token.client == client_id for token in shown)

    async def _register(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        if not self._registrations.allows(visitor.ip):
            headers = {"Retry-After": str(self._registrations.retry_after)}
            return refuse(Refusal(429, "rate", "Too many registrations. Wait a minute.", headers=headers))
        options = ClientRegistrationOptions(enabled=True, default_scopes=list(self._authority.settings.scopes))
        provider = Provider(self._authority, Asking(visitor.origin))
        response = await RegistrationHandler(provider, options).handle(request)
        response.headers.update(ONCE_ONLY)
        return response


@dataclass(frozen=True, slots=True)
class Sent:
    """A form as the SDK's handlers want it: one value a parameter, the client's id among them."""

    request: Request
    fields: Mapping[str, str]


async def _read(request: Request, **defaults: str) -> Sent | Response:
    pairs = parse_qsl((await request.body()).decode("latin-1"), keep_blank_values=True, max_num_fields=50)
    if repeated := _repeated(pairs):
        # RFC 6749 section 3.2.
        error = {"error": "invalid_request", "error_description": f"{repeated[:50]!r} came twice"}
        return _json(error, 400, ONCE_ONLY)
    fields = {**defaults, **dict(pairs)}
    if "client_id" not in fields and (client := _basic_client(request)):
        fields["client_id"] = client
    body = urlencode(fields).encode()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Sent(Request(request.scope, receive), fields)


def _basic_client(request: Request) -> str:
    """The client id of Basic credentials, which need not be in the body as well (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return unquote(base64.b64decode(encoded, validate=True).decode().partition(":")[0])
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _repeated(pairs: list[tuple[str, str]]) -> str:
    """The first parameter that comes twice, or ""."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    return ""


def _leave(url: str) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(url, 303, headers)


def _json(document: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document), status, dict(headers or {}), media_type="application/json")
