"""OpenID Connect for applications that sign people in themselves: "Access for SaaS".

An MCP server (or anything else) that runs its own OAuth uses the portal as its identity provider, with a client id,
secret and redirect URLs given to it by the portal's administrator, under `/cdn-cgi/access/sso/oidc/<client id>/`. The
application's own policies decide who gets through; there is no consent page, because the administrator connected it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote

import structlog
from mcp.server.auth.provider import construct_redirect_uri
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from portal.config import read_duration
from portal.identity import Identity
from portal.login import Login
from portal.oauth.admission import Admit, refusal_of
from portal.oauth.grants import ACCESS, CODE, CODE_LIFETIME, REFRESH, CodeBinding, Grants, binding_of, grant_of
from portal.oauth.redirects import split_redirect
from portal.oauth.signing import SigningKeys
from portal.pages import APP
from portal.state import Store

KIND = "app"
PREFIX = "/cdn-cgi/access/sso/oidc"
SCOPES = ("openid", "email", "profile", "groups")
ONCE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
MAX_PARAMETER = 4096


class Mistaken(Exception):
    """An OAuth error for the client: its code (RFC 6749 section 5.2) and a sentence."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status


@dataclass(frozen=True, slots=True, kw_only=True)
class SaasApp:
    """An application of type `saas` with `auth_type` `oidc`, as far as it matters here."""

    id: str
    name: str
    client_id: str
    secret_sha256: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    access_lifetime: timedelta
    refresh_lifetime: timedelta | None
    public: bool


def read_app(id: str, document: Mapping[str, Any]) -> SaasApp | None:
    """The application of a stored document; None when it is not one of these.

    Raises:
        ValueError: it is, but cannot be used; the text says which field and why.
    """
    saas = document.get("saas_app")
    if document.get("type") != "saas" or not isinstance(saas, Mapping) or saas.get("auth_type") != "oidc":
        return None
    redirects = tuple(str(uri) for uri in saas.get("redirect_uris") or ())
    if not redirects or not all(split_redirect(uri) for uri in redirects):
        raise ValueError("saas_app.redirect_uris must be a list of https:// URLs")
    options = saas.get("refresh_token_options") or {}
    refreshing = "refresh_tokens" in (saas.get("grant_types") or ())
    return SaasApp(
        id=id,
        name=str(document.get("name") or id),
        client_id=str(saas.get("client_id") or ""),
        secret_sha256=str(saas.get("client_secret_sha256") or ""),
        redirect_uris=redirects,
        scopes=tuple(scope for scope in saas.get("scopes") or ("openid", "email", "profile") if scope in SCOPES),
        access_lifetime=read_duration(str(saas.get("access_token_lifetime") or "5m")),
        refresh_lifetime=read_duration(str(options.get("lifetime") or "2160h")) if refreshing else None,
        public=saas.get("allow_pkce_without_client_secret") is True,
    )


def new_credentials() -> tuple[str, str, str]:
    """A client id, a client secret, and what to keep of the secret (`client_secret_sha256`)."""
    secret = secrets.token_hex(32)
    return secrets.token_hex(32), secret, hashlib.sha256(secret.encode()).hexdigest()


class SaasProvider:
    """The endpoints. `admit(identity, "app:<id>")` asks the policies of an application."""

    def __init__(self, store: Store, grants: Grants, keys: SigningKeys, login: Login, admit: Admit) -> None:
        self._store = store
        self._grants = grants
        self._keys = keys
        self._login = login
        self._admit = admit
        self._log = structlog.get_logger("portal.oauth")

    def routes(self) -> list[Route]:
        at = PREFIX + "/{client_id}"
        return [
            Route(at + "/.well-known/openid-configuration", self._metadata, methods=["GET"]),
            Route(at + "/jwks", self._jwks, methods=["GET"]),
            Route(at + "/authorization", self._authorization, methods=["GET"]),
            Route(at + "/token", self._token, methods=["POST"]),
            Route(at + "/userinfo", self._userinfo, methods=["GET"]),
        ]

    async def _metadata(self, request: Request) -> Response:
        app = await self._app(request)
        if app is None:
            return JSONResponse({"error": "invalid_client"}, 404)
        issuer = self._issuer(request, app)
        return JSONResponse(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorization",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "jwks_uri": f"{issuer}/jwks",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code", *(["refresh_token"] if app.refresh_lifetime else [])],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_basic",
                    "client_secret_post",
                    *(["none"] if app.public else []),
                ],
                "code_challenge_methods_supported": ["S256"],
                "scopes_supported": list(app.scopes),
                "claims_supported": ["sub", "email", "name", "groups", "amr"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def _jwks(self, request: Request) -> Response:
        return JSONResponse(await self._keys.key_set(), headers={"Cache-Control": "public, max-age=300"})

    async def _authorization(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        asked = dict(request.query_params)
        app = await self._app(request)
        redirect = asked.get("redirect_uri", "")
        repeated = len(asked) != len(request.query_params.multi_items())
        # Exact, and before anything else: whoever is sent to a wrong place is sent nowhere.
        if app is None or repeated or asked.get("client_id") != app.client_id or redirect not in app.redirect_uris:
            text = "The application that sent you here is unknown, or asked to be answered where it may not be."
            return await self._login.message(visitor, 400, "This request does not work", text)
        answer = {"state": asked.get("state"), "iss": self._issuer(request, app)}
        try:
            scopes = _checked(asked, app)
        except Mistaken as mistaken:
            told = {"error": mistaken.error, "error_description": mistaken.description}
            return _leave(construct_redirect_uri(redirect, **told, **answer))
        session = await self._login.session(request, visitor)
        if session is None:
            return self._login.sign_in(visitor, f"{request.url.path}?{request.url.query}")
        identity = replace(session.identity, ip=visitor.ip)
        if refusal_of(await self._admit(identity, _policy_path(app))) is not None:
            return await self._login.blocked(visitor, identity, _policy_path(app))
        code = await self._grants.code(
            session.identity,
            _client(app),
            app.id,
            scopes,
            CodeBinding(asked.get("code_challenge", ""), redirect, nonce=asked.get("nonce", "")),
            # Without refresh tokens the grant lasts as long as the one access token, which may be issued last of all.
            lifetime=app.refresh_lifetime or CODE_LIFETIME + app.access_lifetime,
            auth_time=int(session.since.timestamp()),
        )
        return _leave(construct_redirect_uri(redirect, code=code, **answer))

    async def _token(self, request: Request) -> Response:
        try:
            app, fields = await self._authenticated(request)
            kind = {"authorization_code": CODE, "refresh_token": REFRESH}.get(fields.get("grant_type", ""))
            if kind is None or (kind == REFRESH and app.refresh_lifetime is None):
                raise Mistaken("unsupported_grant_type", "authorization_code and, where allowed, refresh_token")
            return JSONResponse(await self._exchange(request, app, kind, fields), headers=ONCE)
        except Mistaken as mistaken:
            headers = {**ONCE, **({"WWW-Authenticate": 'Basic realm="token"'} if mistaken.status == 401 else {})}
            body = {"error": mistaken.error, "error_description": mistaken.description}
            return JSONResponse(body, mistaken.status, headers)

    async def _exchange(self, request: Request, app: SaasApp, kind: str, fields: Mapping[str, str]) -> dict[str, Any]:
        presented = fields.get("code" if kind == CODE else "refresh_token", "")[:MAX_PARAMETER]
        gone = Mistaken("invalid_grant", "it is unknown, expired, or was used before")
        found = await self._grants.find(kind, presented, _client(app))
        if found is None:
            raise gone
        if kind == CODE:
            _check_code(found.document, fields)
        grant = grant_of(found)
        refusal = refusal_of(await self._admit(grant.identity, _policy_path(app)))
        if refusal is not None:
            await self._grants.end(grant.family)
            raise Mistaken("invalid_grant", refusal)
        pair = self._grants.pair(grant, app.access_lifetime, refresh=app.refresh_lifetime is not None)
        issued = int(pair.issued_at.timestamp())
        claims = {
            "iss": self._issuer(request, app),
            "aud": app.client_id,
            "iat": issued,
            "exp": issued + int(app.access_lifetime.total_seconds()),
            "auth_time": grant.auth_time,
            "at_hash": _half_hash(pair.access),
            **_about(grant.identity, grant.scopes),
        }
        if kind == CODE and (nonce := binding_of(found).nonce):
            claims["nonce"] = nonce
        answer: dict[str, Any] = {
            "access_token": pair.access,
            "token_type": "Bearer",
            "expires_in": pair.seconds,
            "scope": " ".join(pair.scopes),
            "id_token": await self._keys.sign(claims),
        }
        if pair.refresh is not None:
            answer["refresh_token"] = pair.refresh
        # Last of all: a failure before this leaves what was presented good for another try.
        if not await self._grants.exchange(kind, presented, pair):
            raise gone
        return answer

    async def _userinfo(self, request: Request) -> Response:
        app = await self._app(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = await self._store.tokens.find(ACCESS, token[:MAX_PARAMETER]) if scheme.lower() == "bearer" else None
        if app is None or found is None or found.client != _client(app):
            headers = {**ONCE, "WWW-Authenticate": 'Bearer error="invalid_token"'}
            return JSONResponse({"error": "invalid_token"}, 401, headers)
        grant = grant_of(found)
        return JSONResponse(_about(grant.identity, grant.scopes), headers=ONCE)

    async def _authenticated(self, request: Request) -> tuple[SaasApp, dict[str, str]]:
        pairs = parse_qsl((await request.body()).decode("latin-1"), keep_blank_values=True, max_num_fields=50)
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise Mistaken("invalid_request", "a parameter came twice")
        app = await self._app(request)
        client, secret = _credentials(request, fields)
        if app is None or client != app.client_id:
            raise Mistaken("invalid_client", "the client is unknown", 401)
        if not secret and app.public:
            return app, fields
        shown = hashlib.sha256(secret.encode()).hexdigest()
        if not secret or not hmac.compare_digest(shown, app.secret_sha256):
            raise Mistaken("invalid_client", "the client secret is wrong", 401)
        return app, fields

    async def _app(self, request: Request) -> SaasApp | None:
        wanted = request.path_params["client_id"]
        for stored in await self._store.list(KIND):
            try:
                app = read_app(stored.id, stored.document)
            except ValueError as error:
                self._log.error("an application cannot be used", id=stored.id, reason=str(error))
                continue
            if app is not None and app.client_id and hmac.compare_digest(app.client_id.encode(), wanted.encode()):
                return app
        return None

    def _issuer(self, request: Request, app: SaasApp) -> str:
        return f"{self._login.visitors.origins.of(request.scope)}{PREFIX}/{app.client_id}"


def _checked(asked: Mapping[str, str], app: SaasApp) -> list[str]:
    """The scopes to grant. Raises Mistaken."""
    if asked.get("response_type") != "code":
        raise Mistaken("unsupported_response_type", "response_type must be code")
    if any(len(value) > MAX_PARAMETER for value in asked.values()):
        raise Mistaken("invalid_request", f"a parameter is longer than {MAX_PARAMETER} characters")
    scopes = [scope for scope in dict.fromkeys(asked.get("scope", "").split()) if scope in app.scopes]
    if "openid" not in scopes:
        raise Mistaken("invalid_scope", "scope must have openid")
    challenge = asked.get("code_challenge", "")
    if challenge and (asked.get("code_challenge_method") != "S256" or len(challenge) != 43):
        raise Mistaken("invalid_request", "code_challenge_method must be S256")
    if not challenge and app.public:
        raise Mistaken("invalid_request", "code_challenge is missing")
    return scopes


def _check_code(document: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    """PKCE and the redirect (RFC 7636 section 4.6, RFC 6749 section 4.1.3). Raises Mistaken."""
    if fields.get("redirect_uri") != document["redirect_uri"]:
        raise Mistaken("invalid_grant", "redirect_uri is not the one of the authorization request")
    digest = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
    computed = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    challenge = str(document["challenge"])
    if challenge and not hmac.compare_digest(computed.encode(), challenge.encode()):
        raise Mistaken("invalid_grant", "code_verifier does not match")
    if not challenge and "code_verifier" in fields:
        raise Mistaken("invalid_grant", "there was no code_challenge")


def _credentials(request: Request, fields: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return fields.get("client_id", ""), fields.get("client_secret", "")
    try:
        client, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Mistaken("invalid_client", "the Basic credentials cannot be read", 401) from None
    return unquote(client), unquote(secret)


def _about(identity: Identity, scopes: tuple[str, ...]) -> dict[str, Any]:
    """The claims that these scopes give."""
    told: dict[str, Any] = {"sub": identity.id}
    if "email" in scopes and identity.email:
        told |= {"email": identity.email, "email_verified": True}
    if "profile" in scopes and identity.name:
        told["name"] = identity.name
    if "groups" in scopes:
        told["groups"] = [group.name or group.id for group in identity.groups]
    if identity.auth_methods:
        told["amr"] = list(identity.auth_methods)
    return told


def _client(app: SaasApp) -> str:
    return f"app:{app.id}"


def _policy_path(app: SaasApp) -> str:
    return f"{APP}{app.id}"


def _half_hash(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()[:16]).decode().rstrip("=")


def _leave(url: str) -> Response:
    return RedirectResponse(url, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
