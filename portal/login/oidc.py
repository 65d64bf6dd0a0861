"""Login at an OpenID Connect provider: discovery, code with PKCE and nonce, the ID token checked (OIDC Core 3.1.3.7).

The protocol is Authlib's; here is what we send, what we believe, and what becomes of the claims.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from portal.egress import TIMEOUT_SECONDS, Bounded, LoginFailed, fetch_json, http_client
from portal.http import is_loopback
from portal.identity import Group, Identity
from portal.login.providers import OidcProvider, ProviderInvalid, checked_url

# Signed by the provider's private key: never `none`, never a secret that we hold ourselves.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
METADATA_SECONDS = 300.0
LEEWAY_SECONDS = 60
MAX_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a provider does what; `issuer` is "" when only the endpoints are configured."""

    issuer: str
    authorization: str
    token: str
    jwks: str
    userinfo: str
    returns_issuer: bool


class Oidc:
    """Logins at one provider."""

    def __init__(self, provider: OidcProvider) -> None:
        self._provider = provider
        self._endpoints: tuple[float, Endpoints] | None = None

    async def begin(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """The URL to send the browser to.

        Raises:
            LoginFailed: the provider's discovery document cannot be had or used.
        """
        endpoints = await self._discover()
        async with self._client(redirect_uri) as client:
            extra = {"prompt": self._provider.prompt} if self._provider.prompt else {}
            url, _ = client.create_authorization_url(
                endpoints.authorization, state=state, code_verifier=verifier, nonce=nonce, **extra
            )
        return str(url)

    async def finish(self, redirect_uri: str, code: str, issuer: str, nonce: str, verifier: str) -> Identity:
        """Who it was. `issuer` is the callback's `iss` (RFC 9207), "" without one.

        Raises:
            LoginFailed: the provider refused, or what it said does not hold.
        """
        endpoints = await self._discover()
        if (issuer and issuer != endpoints.issuer) or (endpoints.returns_issuer and not issuer):
            raise LoginFailed("The answer came from another identity provider than was asked.")
        try:
            async with self._client(redirect_uri) as client:
                token = await client.fetch_token(endpoints.token, code=code, code_verifier=verifier)
        except (AuthlibBaseError, httpx2.HTTPError, ValueError) as error:
            raise LoginFailed("The identity provider did not exchange the code.") from error
        claims = await self._id_token(endpoints, token, nonce)
        if endpoints.userinfo and isinstance(token.get("access_token"), str):
            claims = await self._with_userinfo(endpoints, token["access_token"], claims)
        return identity_of(self._provider, claims)

    async def _id_token(self, endpoints: Endpoints, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        async with http_client() as http:
            keys = await fetch_json(http, endpoints.jwks)
        try:
            decoded = jwt.decode(
                str(token.get("id_token", "")), KeySet.import_key_set(keys), algorithms=list(ALGORITHMS)
            )
            options: dict[str, Any] = {"aud": {"essential": True}}
            if endpoints.issuer:
                options["iss"] = {"essential": True, "value": endpoints.issuer}
            params = {
                "nonce": nonce,
                "client_id": self._provider.client_id,
                "access_token": token.get("access_token"),
            }
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(leeway=LEEWAY_SECONDS)
        except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError) as error:
            raise LoginFailed("The identity provider's token does not hold.") from error
        audience = claims["aud"]
        if self._provider.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise LoginFailed("The identity provider's token is meant for another application.")
        if not isinstance(claims["exp"], int | float):
            raise LoginFailed("The identity provider's token does not hold.")
        return dict(claims)

    async def _with_userinfo(self, endpoints: Endpoints, access_token: str, claims: dict[str, Any]) -> dict[str, Any]:
        """The ID token's claims over those of userinfo, which count only for the same subject (OIDC Core 5.3.2)."""
        async with http_client() as http:
            more = await fetch_json(http, endpoints.userinfo, {"Authorization": f"Bearer {access_token}"})
        if not isinstance(more, dict) or more.get("sub") != claims["sub"]:
            raise LoginFailed("The identity provider's userinfo is about somebody else.")
        return {**more, **claims}

    async def _discover(self) -> Endpoints:
        if self._endpoints is not None and time.monotonic() - self._endpoints[0] < METADATA_SECONDS:
            return self._endpoints[1]
        provider = self._provider
        metadata: Any = {}
        if provider.issuer:
            async with http_client() as http:
                metadata = await fetch_json(http, provider.issuer.rstrip("/") + "/.well-known/openid-configuration")
        endpoints = read_endpoints(provider, metadata)
        self._endpoints = time.monotonic(), endpoints
        return endpoints

    def _client(self, redirect_uri: str) -> AsyncOAuth2Client:
        provider = self._provider
        return AsyncOAuth2Client(
            client_id=provider.client_id,
            client_secret=provider.client_secret or None,
            token_endpoint_auth_method="client_secret_basic" if provider.client_secret else "none",
            scope=" ".join(provider.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            follow_redirects=False,
            transport=Bounded(),
        )


def read_endpoints(provider: OidcProvider, metadata: object) -> Endpoints:
    """What a discovery document says, with what is configured before it.

    Raises:
        LoginFailed: it is not that of the issuer, or an endpoint is no place to send anybody.
    """
    if not isinstance(metadata, Mapping):
        raise LoginFailed("The identity provider's discovery document is no JSON object.")
    issuer = provider.issuer
    if issuer:
        told = str(metadata.get("issuer", ""))
        # Azure AD's common endpoints answer with a template; nothing else may differ (OIDC Discovery 4.3).
        if told.rstrip("/") != issuer.rstrip("/"):
            raise LoginFailed("The identity provider's discovery document is about another issuer.")
        issuer = told
    try:
        return Endpoints(
            issuer=issuer,
            authorization=provider.authorization_endpoint or _endpoint(metadata, "authorization_endpoint", issuer),
            token=provider.token_endpoint or _endpoint(metadata, "token_endpoint", issuer),
            jwks=provider.jwks_uri or _endpoint(metadata, "jwks_uri", issuer),
            userinfo=_endpoint(metadata, "userinfo_endpoint", issuer) if metadata.get("userinfo_endpoint") else "",
            returns_issuer=metadata.get("authorization_response_iss_parameter_supported") is True,
        )
    except ProviderInvalid as error:
        raise LoginFailed(f"The identity provider's discovery document is unusable: {error}.") from error


def _endpoint(metadata: Mapping[str, Any], name: str, issuer: str) -> str:
    url = checked_url(str(metadata.get(name) or ""), name)
    # An administrator may name a provider on this machine; a provider elsewhere may not send us to one.
    if is_loopback(urlsplit(url).hostname or "") and not is_loopback(urlsplit(issuer).hostname or ""):
        raise ProviderInvalid(f"{name} is on this machine, and the issuer is not")
    return url


def identity_of(provider: OidcProvider, claims: Mapping[str, Any]) -> Identity:
    """The person the claims are about. An address is nobody's where the provider says anything but that it is verified;
    providers of one organisation do not say it at all."""
    email = claims.get(provider.email_claim)
    verified = claims.get("email_verified", True) in (True, "true")
    methods = claims.get("amr")
    return Identity(
        id=f"{provider.id}:{claims['sub']}",
        email=email.strip().lower() if isinstance(email, str) and verified else "",
        name=str(claims.get("name") or claims.get("preferred_username") or ""),
        groups=tuple(groups_in(claims.get(provider.groups_claim))),
        idp_id=provider.id,
        idp_type=provider.type,
        login_method=provider.id,
        auth_methods=tuple(str(method) for method in methods) if isinstance(methods, list) else (),
        claims=kept_claims(provider, claims),
    )


def kept_claims(provider: OidcProvider, claims: Mapping[str, Any]) -> dict[str, Any]:
    """The claims policies may ask for: those the provider's configuration lists, or all but the token's own."""
    if provider.claims:
        return {name: claims[name] for name in provider.claims if name in claims}
    own = {"iss", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "c_hash", "azp", "jti", "auth_time", "sid"}
    return {name: value for name, value in claims.items() if name not in own}


def groups_in(claim: object) -> list[Group]:
    """Groups as providers write them: names, or objects with `id`, `name`, `email`."""
    found: list[Group] = []
    for entry in (claim if isinstance(claim, list) else [])[:MAX_GROUPS]:
        if isinstance(entry, str):
            found.append(Group(id=entry, name=entry))
        elif isinstance(entry, Mapping):
            name = str(entry.get("name") or "")
            found.append(Group(id=str(entry.get("id") or name), name=name, email=str(entry.get("email") or "")))
    return found
