"""The authorization server of applications that sign people in by OpenID Connect: "Access for SaaS".

An MCP server (or anything else) that runs its own OAuth uses the portal as its identity provider, with a client id,
secret and redirect URLs given to it by the portal's administrator, under `/cdn-cgi/access/sso/oidc/<client id>/`. The
application's own policies decide who gets through; there is no consent page, because the administrator connected it.
Requests are decided on and tokens exchanged as for MCP clients (`authorization`, `exchange`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.config import read_duration
from portal.http import NO_STORE, PortalAddress
from portal.identity import Identity
from portal.login import Login
from portal.logs import event
from portal.oauth.admission import Admit, refusal_of
from portal.oauth.authorization import decide_authorization
from portal.oauth.clients import AUTHORIZATION_CODE, REFRESH_TOKEN, Client
from portal.oauth.credentials import BASIC, NONE, POST, UNKNOWN_CLIENT, authenticate, read_client_form
from portal.oauth.exchange import exchange, read_token_request
from portal.oauth.grants import ACCESS, CODE_LIFETIME, Grant, Grants, TokenPair, grant_of
from portal.oauth.messages import (
    MAX_PARAMETER,
    OAuthError,
    error_answer,
    json_answer,
    read_parameters,
    redirect_answer,
)
from portal.oauth.redirects import split_redirect
from portal.oauth.routes import other_methods, refused_authorization
from portal.oauth.signing import ALGORITHM, SigningKeys
from portal.objects import APP as APPLICATION
from portal.objects import AppDocument
from portal.pages import APP
from portal.state import Store, utc_now

PREFIX = "/cdn-cgi/access/sso/oidc"
SCOPES = ("openid", "email", "profile", "groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class SaasApp:
    """An application of type `saas` with `auth_type` `oidc`: the members that its sign-in needs."""

    id: str
    name: str
    client_id: str
    secret_sha256: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    access_lifetime: timedelta
    refresh_lifetime: timedelta | None
    public: bool

    @property
    def client(self) -> Client:
        """The application as a client of OAuth."""
        refreshing = {REFRESH_TOKEN} if self.refresh_lifetime is not None else set[str]()
        return Client(
            id=self.client_id,
            holder=f"app:{self.id}",
            name=self.name,
            redirect_uris=self.redirect_uris,
            scopes=self.scopes,
            grant_types=frozenset({AUTHORIZATION_CODE, *refreshing}),
            auth_methods=frozenset({BASIC, POST, *([NONE] if self.public else [])}),
            secret_sha256=self.secret_sha256,
            openid=True,
            pkce=self.public,
        )

    @property
    def policy_path(self) -> str:
        """The path by which its policies are asked."""
        return f"{APP}{self.id}"


def read_app(id: str, document: AppDocument) -> SaasApp | None:
    """The application of a stored document; None if it is of another type.

    Raises:
        ValueError: it cannot be used; the text names the field and the reason.
    """
    saas = document.saas_app
    if document.type != "saas" or saas is None or saas.auth_type != "oidc":
        return None
    if not saas.redirect_uris or not all(split_redirect(uri) for uri in saas.redirect_uris):
        raise ValueError("saas_app.redirect_uris must be a list of https:// URLs")
    refreshing = "refresh_tokens" in saas.grant_types
    return SaasApp(
        id=id,
        name=document.name or id,
        client_id=saas.client_id,
        secret_sha256=saas.client_secret_sha256,
        redirect_uris=saas.redirect_uris,
        scopes=tuple(scope for scope in saas.scopes if scope in SCOPES),
        access_lifetime=read_duration(saas.access_token_lifetime),
        refresh_lifetime=read_duration(saas.refresh_token_options.lifetime) if refreshing else None,
        public=saas.allow_pkce_without_client_secret,
    )


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
            other_methods(at + "/token"),
            Route(at + "/userinfo", self._userinfo, methods=["GET"]),
        ]

    async def _metadata(self, request: Request) -> Response:
        app = await self._app(request)
        if app is None:
            return json_answer({"error": "invalid_client"}, 404)
        return json_answer(openid_configuration(self._issuer(request, app), app), headers={})

    async def _jwks(self, request: Request) -> Response:
        return json_answer(await self._keys.key_set(), headers={"Cache-Control": "public, max-age=300"})

    async def _authorization(self, request: Request) -> Response:
        visitor, app = self._login.visitors.of(request), await self._app(request)
        parameters = read_parameters(request.query_params.multi_items())
        if app is None:
            return await refused_authorization(self._login, visitor, UNKNOWN_CLIENT, "")
        issuer = self._issuer(request, app)
        if isinstance(parameters, OAuthError):
            return await refused_authorization(self._login, visitor, parameters, issuer)
        client = app.client if parameters.get("client_id") == app.client_id else None
        decided = decide_authorization(parameters, client, app.id)
        if isinstance(decided, OAuthError):
            return await refused_authorization(self._login, visitor, decided, issuer, parameters.get("state", ""))
        session = await self._login.session(request, visitor)
        if session is None:
            return self._login.sign_in(visitor, f"{request.url.path}?{request.url.query}")
        identity = replace(session.identity, ip=visitor.ip)
        if refusal_of(await self._admit(identity, app.policy_path)) is not None:
            return await self._login.blocked(visitor, identity, app.policy_path)
        code = await self._grants.code(
            session.identity,
            app.client.holder,
            decided.resource,
            decided.scopes,
            decided.binding,
            # Without refresh tokens the grant lasts as long as its only access token, which is issued up to the end of
            # the code.
            lifetime=app.refresh_lifetime or CODE_LIFETIME + app.access_lifetime,
            auth_time=int(session.since.timestamp()),
            client_name=app.name,
        )
        # A session that ended meanwhile took with it what there was, and not this code: nobody gets it.
        if await self._login.session(request, visitor) is None:
            return self._login.sign_in(visitor, f"{request.url.path}?{request.url.query}")
        self._login.events.write(event("sign_in", "application", who=identity, name=app.id, client=app.name))
        return redirect_answer(decided.redirect_uri, {"code": code, "state": decided.state, "iss": issuer})

    async def _token(self, request: Request) -> Response:
        answer = await self._exchange(request)
        if not isinstance(answer, OAuthError):
            return json_answer(answer)
        ip = self._login.visitors.of(request).ip
        self._login.events.write(event("refusal", "token", "denied", ip=ip, reason=answer.code))
        return error_answer(answer)

    async def _exchange(self, request: Request) -> dict[str, object] | OAuthError:
        form = read_client_form(await request.body(), request.headers.get("authorization", ""))
        if isinstance(form, OAuthError):
            return form
        app = await self._app(request)
        if app is None:
            return UNKNOWN_CLIENT
        read = read_token_request(form.parameters)
        if isinstance(read, OAuthError):
            return read
        client = authenticate(form.credentials, app.client, utc_now())
        if isinstance(client, OAuthError):
            return client

        async def extend(grant: Grant, pair: TokenPair, nonce: str) -> dict[str, object]:
            claims = id_token_claims(self._issuer(request, app), app, grant, pair, nonce)
            return {"id_token": await self._keys.sign(claims)}

        return await exchange(
            self._grants,
            read,
            client,
            lifetime=app.access_lifetime,
            admit=lambda grant: self._admit(grant.identity, app.policy_path),
            extend=extend,
        )

    async def _userinfo(self, request: Request) -> Response:
        app = await self._app(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = await self._store.tokens.find(ACCESS, token[:MAX_PARAMETER]) if scheme.lower() == "bearer" else None
        if app is None or found is None or found.client != app.client.holder:
            headers = {**NO_STORE, "WWW-Authenticate": 'Bearer error="invalid_token"'}
            return json_answer({"error": "invalid_token"}, 401, headers)
        grant = grant_of(found)
        return json_answer(person_claims(grant.identity, grant.scopes))

    async def _app(self, request: Request) -> SaasApp | None:
        client_id = request.path_params["client_id"]
        for stored in await self._store.list(APPLICATION):
            try:
                app = read_app(stored.id, stored.document)
            except ValueError as error:
                self._log.error("an application cannot be used", id=stored.id, reason=str(error))
                continue
            if app is not None and app.client_id and hmac.compare_digest(app.client_id.encode(), client_id.encode()):
                return app
        return None

    def _issuer(self, request: Request, app: SaasApp) -> str:
        return issuer_of(self._login.visitors.origins.address(request.scope), app)


def issuer_of(address: PortalAddress, app: SaasApp) -> str:
    """The issuer that an application knows the portal by."""
    return address.url(f"{PREFIX}/{app.client_id}")


def openid_configuration(issuer: str, app: SaasApp) -> dict[str, object]:
    """Provider metadata (OpenID Connect Discovery section 3)."""
    methods = app.client.auth_methods
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorization",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": sorted(app.client.grant_types),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": [method for method in (BASIC, POST, NONE) if method in methods],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": list(app.scopes),
        "claims_supported": ["sub", "email", "name", "groups", "amr"],
        "authorization_response_iss_parameter_supported": True,
    }


def id_token_claims(issuer: str, app: SaasApp, grant: Grant, pair: TokenPair, nonce: str) -> dict[str, object]:
    """The claims of an ID token (OpenID Connect Core sections 2 and 3.1.3.6)."""
    issued = int(pair.issued_at.timestamp())
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": app.client_id,
        "iat": issued,
        "exp": issued + int(app.access_lifetime.total_seconds()),
        "auth_time": grant.auth_time,
        "at_hash": half_hash(pair.access),
        **person_claims(grant.identity, grant.scopes),
    }
    return claims | ({"nonce": nonce} if nonce else {})


def person_claims(identity: Identity, scopes: tuple[str, ...]) -> dict[str, object]:
    """The claims about a person that these scopes give (OpenID Connect Core section 5.4)."""
    claims: dict[str, object] = {"sub": identity.id}
    if "email" in scopes and identity.email:
        claims |= {"email": identity.email, "email_verified": True}
    if "profile" in scopes and identity.name:
        claims["name"] = identity.name
    if "groups" in scopes:
        claims["groups"] = [group.name or group.id for group in identity.groups]
    if identity.auth_methods:
        claims["amr"] = list(identity.auth_methods)
    return claims


def half_hash(token: str) -> str:
    """The `at_hash` of an access token: the left half of its SHA-256, as base64url."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()[:16]).decode().rstrip("=")
