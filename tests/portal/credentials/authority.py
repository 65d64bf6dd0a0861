"""An authorization server and a server that wants its tokens, which do what a test says."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from portal.credentials import CredentialDocument, SealedGrant, save_login
from portal.credentials.metadata import ServerMetadata
from portal.http import HttpSettings, running
from portal.state import CredentialKey, Store
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

SECRET = "the secret of the client"
Answer = Callable[[dict[str, str]], Awaitable[Response]]


@dataclass
class Authority:
    """Issues tokens to whoever asks, for client credentials. `requests` are the forms that came, with the header
    `authorization` among them. `answer`, if it is set, answers instead.
    """

    url: str = ""
    path: str = ""
    oidc: bool = False
    lifetime: int | None = 3600
    methods: tuple[str, ...] = ("client_secret_basic", "client_secret_post", "private_key_jwt")
    metadata: dict[str, Any] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    answer: Answer | None = None

    @property
    def issuer(self) -> str:
        return self.url + self.path

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/{kind}{path:path}", self._metadata),
                Route(f"{self.path}/.well-known/openid-configuration", self._metadata),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    def scopes(self, token: str) -> str | None:
        """The scopes of a token that was issued, None for any other."""
        return self.tokens.get(token)

    def issue(self, form: dict[str, str]) -> Response:
        """A token for the scopes that were asked for."""
        token = secrets.token_urlsafe(16)
        self.tokens[token] = form.get("scope", "")
        lifetime = {} if self.lifetime is None else {"expires_in": self.lifetime}
        return JSONResponse({"access_token": token, "token_type": "Bearer", **lifetime})

    async def issued(self, form: dict[str, str]) -> Response:
        """Its usual answer."""
        return self.issue(form)

    async def _metadata(self, request: Request) -> Response:
        oauth = f"/.well-known/oauth-authorization-server{self.path}"
        if request.url.path != (f"{self.path}/.well-known/openid-configuration" if self.oidc else oauth):
            return Response(status_code=404)
        found = {
            "issuer": self.issuer,
            "token_endpoint": f"{self.url}/token",
            "token_endpoint_auth_methods_supported": self.methods,
            # Many write null for what they have not.
            "scopes_supported": None,
        }
        return JSONResponse(found | self.metadata)

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        if "authorization" in request.headers:
            form["authorization"] = request.headers["authorization"]
        self.requests.append(form)
        return await (self.answer or self.issued)(form)


@dataclass
class LoginAuthority(Authority):
    """Lets everybody in who is sent to it, and sends the browser back at once. Registers clients, rotates refresh
    tokens, and takes tokens back. `answer_with` are parameters of the redirect that are otherwise than usual, None for
    those left out; `authorizations` are the requests for logins. With a `registration_error` no client is registered.
    """

    registers: bool = True
    registration_error: str = ""
    answer_with: dict[str, str | None] = field(default_factory=dict)
    registrations: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[dict[str, str]] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    revocations: list[dict[str, str]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _refreshes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.answer = self._answer_token

    def app(self) -> Starlette:
        app = super().app()
        app.router.routes += [
            Route("/authorize", self._authorize),
            Route("/register", self._register, methods=["POST"]),
            Route("/revoke", self._revoke, methods=["POST"]),
        ]
        self.metadata = {
            "authorization_endpoint": "/authorize",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "revocation_endpoint": "/revoke",
            **({"registration_endpoint": "/register"} if self.registers else {}),
            **self.metadata,
        }
        return app

    def forget(self) -> None:
        """End every login, without a word to anybody."""
        self.tokens.clear()
        self._refreshes.clear()

    async def _metadata(self, request: Request) -> Response:
        for name, value in self.metadata.items():
            if name.endswith("_endpoint") and str(value).startswith("/"):
                self.metadata[name] = self.url + value
        return await super()._metadata(request)

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.authorizations.append(asked)
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back: dict[str, str | None] = {"code": code, "state": asked["state"], "iss": self.issuer, **self.answer_with}
        query = urlencode({name: value for name, value in back.items() if value is not None})
        return RedirectResponse(f"{asked['redirect_uri']}?{query}", 302)

    async def _register(self, request: Request) -> Response:
        if self.registration_error:
            return JSONResponse({"error": self.registration_error}, 400)
        client = await request.json()
        self.registrations.append(client)
        return JSONResponse({**client, "client_id": f"client-{len(self.registrations)}"}, 201)

    async def _revoke(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.revocations.append(form)
        token = form["token"]
        self.revoked.append(token)
        self.tokens.pop(token, None)
        return Response()

    async def _answer_token(self, form: dict[str, str]) -> Response:
        if form["grant_type"] == "authorization_code":
            asked = self._codes.pop(form["code"])
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            if urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
                return JSONResponse({"error": "invalid_grant"}, 400)
            scope = asked.get("scope", "")
        elif form["grant_type"] == "refresh_token" and form["refresh_token"] in self._refreshes:
            scope = self._refreshes.pop(form["refresh_token"])
        else:
            return JSONResponse({"error": "invalid_grant"}, 400)
        token, refresh = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.tokens[token] = self._refreshes[refresh] = scope
        body = {"access_token": token, "token_type": "bearer", "expires_in": self.lifetime, "refresh_token": refresh}
        return JSONResponse(body)


A = TypeVar("A", bound=Authority)


class Issuing(Protocol):
    """An authorization server, as a server sees it that takes its tokens."""

    @property
    def issuer(self) -> str: ...

    def scopes(self, token: str) -> str | None: ...


@dataclass
class Protected:
    """In front of a server: lets requests pass that show a token of the authority with the scopes that are `needed`.

    `refusing` refuses all of them, `echoing` answers with the token. `resource_metadata` are members of its metadata
    that are otherwise than usual; with `hidden` the metadata is only where the challenge says.
    """

    authority: Issuing
    needed: str = ""
    refusing: bool = False
    echoing: bool = False
    hidden: str = ""
    resource_metadata: dict[str, Any] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            request = Request(scope)
            answer = self._answer(request)
            await (answer or app)(scope, receive, send)

        return guarded

    def _answer(self, request: Request) -> Response | None:
        origin = f"{request.url.scheme}://{request.url.netloc}"
        well_known = "/.well-known/oauth-protected-resource"
        if request.url.path == (self.hidden or f"{well_known}{'/sse' if '/sse' in request.url.path else '/mcp'}"):
            path = request.url.path.removeprefix(well_known) if not self.hidden else "/mcp"
            found = {"resource": origin + path, "authorization_servers": [self.authority.issuer]}
            return JSONResponse(found | self.resource_metadata)
        if request.url.path.startswith("/.well-known/"):
            return Response(status_code=404)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.shown.append(token)
        if self.echoing:
            return Response(token, status_code=500, media_type="text/plain")
        where = f'resource_metadata="{origin}{self.hidden}", ' if self.hidden else ""
        wanted = f'Bearer {where}scope="{self.needed}"' if self.needed else f"Bearer {where}error=invalid_token"
        scopes = self.authority.scopes(token)
        if self.refusing or scopes is None:
            return Response(status_code=401, headers={"www-authenticate": wanted})
        if not set(self.needed.split()) <= set(scopes.split()):
            return Response(status_code=403, headers={"www-authenticate": f"{wanted}, error=insufficient_scope"})
        return None


@asynccontextmanager
async def _served(found: A) -> AsyncIterator[A]:
    async with running(found.app(), http=HttpSettings()) as url:
        found.url = url
        yield found


def login_authority(**settings: Any) -> AbstractAsyncContextManager[LoginAuthority]:
    return _served(LoginAuthority(**settings))


def authority(**settings: Any) -> AbstractAsyncContextManager[Authority]:
    return _served(Authority(**settings))


@asynccontextmanager
async def protected(
    issuing: Authority,
    *,
    transport: str = "http",
    legacy: bool = False,
    behaviour: Behaviour | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[Protected, Hosted]]:
    """A real MCP server behind tokens of this authority."""
    guard = Protected(issuing, **settings)
    async with hosted(behaviour or Behaviour(legacy=legacy), transport=transport, wrap=guard.wrap) as host:
        yield guard, host


def entry(host: Hosted, issuing: Authority | None, **oauth: Any) -> dict[str, Any]:
    """The document's entry of a protected server, whose client is known to this authority."""
    issuer = {} if issuing is None else {"issuer": issuing.issuer}
    section = {"grant": "client_credentials", "clientId": "portal", "clientSecret": SECRET, **issuer, **oauth}
    kind = "sse" if urlsplit(host.url).path == "/sse" else "http"
    return {"url": host.url, "type": kind, "oauth": {name: value for name, value in section.items() if value != ""}}


async def saved_login(
    store: Store, issuing: Authority, host: Hosted, subject: str, server: str, client: str = "client", refresh: str = ""
) -> str:
    """The access token of a new login at a protected server, for an hour. It is stored without a browser."""
    access, now = secrets.token_urlsafe(16), datetime.now(UTC)
    issuing.tokens[access] = ""
    key = CredentialKey(subject, server, issuing.issuer, host.url, client)
    document = CredentialDocument(state="ready", granted_at=now, issued_at=now, expires_at=now + timedelta(hours=1))
    metadata = ServerMetadata(issuer=issuing.issuer, token_endpoint=f"{issuing.url}/token")
    await save_login(store, key, document, SealedGrant(access=access, refresh=refresh, server=metadata))
    return access


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Answers token requests as `answer` does, and only when the test lets it."""

    def __init__(self, answer: Answer) -> None:
        self.arrived = asyncio.Event()
        self.released = asyncio.Event()
        self._answer = answer

    async def __call__(self, form: dict[str, str]) -> Response:
        self.arrived.set()
        await self.released.wait()
        return await self._answer(form)
