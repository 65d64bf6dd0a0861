"""Login at an OpenID Connect provider: discovery, a code with PKCE and nonce, and what becomes of the claims.

Which ID tokens hold is decided in `id_tokens`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver

from portal.egress import Fetcher, is_loopback_host
from portal.http import is_loopback
from portal.identity import Identity
from portal.login.claims import Claims
from portal.login.id_tokens import MAX_LIFETIME, end_of, read_id_token
from portal.login.providers import GOOGLE_ISSUER, OidcProvider, ProviderInvalid, checked_url
from portal.login.remote import (
    LoginFailed,
    LoginRefused,
    ProviderTokens,
    SecretIn,
    SignedIn,
    authorization_url,
    exchange_code,
    fetch_json,
    provider_fetcher,
)

METADATA_SECONDS = 300.0
OFFLINE = "offline_access"
MAX_ISSUER = 2048


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The URLs of a provider. `issuer` is "" when only the endpoints are configured. `offers_refresh` is whether it
    gives refresh tokens for the scope `offline_access` (OpenID Connect Core 11)."""

    issuer: str
    authorization: str
    token: str
    jwks: str
    userinfo: str
    returns_issuer: bool
    offers_refresh: bool = False


class Oidc:
    """Logins at one provider. `resolver` is for tests."""

    def __init__(self, provider: OidcProvider, resolver: AbstractResolver | None = None) -> None:
        self._provider = provider
        self._resolver = resolver
        self._endpoints: tuple[float, Endpoints] | None = None

    async def begin(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """The URL to send the browser to.

        Raises:
            LoginFailed: the provider's discovery document cannot be fetched or used.
        """
        async with provider_fetcher(self._resolver) as fetcher:
            endpoints = await self._discover(fetcher)
        prompt = {"prompt": self._provider.prompt} if self._provider.prompt else {}
        return authorization_url(
            endpoints.authorization,
            client_id=self._provider.client_id,
            redirect_uri=redirect_uri,
            scope=" ".join(scopes_of(self._provider, endpoints)),
            state=state,
            verifier=verifier,
            nonce=nonce,
            **prompt,
        )

    async def finish(self, redirect_uri: str, code: str, issuer: str, nonce: str, verifier: str) -> SignedIn:
        """The person who signed in. `issuer` is the callback's `iss` (RFC 9207), "" without one.

        Raises:
            LoginFailed: the provider refused, or its answer does not hold.
        """
        async with provider_fetcher(self._resolver) as fetcher:
            endpoints = await self._discover(fetcher)
            require_issuer(issuer, endpoints.issuer, expected=endpoints.returns_issuer)
            token = await exchange_code(
                fetcher,
                endpoints.token,
                client_id=self._provider.client_id,
                client_secret=self._provider.client_secret,
                secret_in=SecretIn.HEADER,
                redirect_uri=redirect_uri,
                code=code,
                verifier=verifier,
            )
            keys = await fetch_json(fetcher, endpoints.jwks)
            claims = read_id_token(self._provider.client_id, endpoints.issuer, token, keys, nonce, self._provider.name)
            tokens = tokens_of(self._provider, endpoints, token, claims) if self._provider.keep_tokens else None
            # Where only endpoints are configured, the signed token is the first to say who answers for them.
            if not endpoints.issuer:
                require_issuer(issuer, Claims(self._provider.name, claims).text("iss", MAX_ISSUER))
            access_token = token.get("access_token")
            if endpoints.userinfo and isinstance(access_token, str):
                claims = await _with_userinfo(fetcher, endpoints, access_token, claims)
        return SignedIn(identity_of(self._provider, claims), tokens)

    async def endpoints(self) -> Endpoints:
        """Where the provider is asked now.

        Raises:
            LoginFailed: its discovery document cannot be fetched or used.
        """
        async with provider_fetcher(self._resolver) as fetcher:
            return await self._discover(fetcher)

    async def keys(self) -> object:
        """The JWK set that the provider publishes now.

        Raises:
            LoginFailed: it cannot be fetched.
        """
        async with provider_fetcher(self._resolver) as fetcher:
            endpoints = await self._discover(fetcher)
            return await fetch_json(fetcher, endpoints.jwks)

    async def _discover(self, fetcher: Fetcher) -> Endpoints:
        if self._endpoints is not None and time.monotonic() - self._endpoints[0] < METADATA_SECONDS:
            return self._endpoints[1]
        provider = self._provider
        metadata: object = {}
        if provider.issuer:
            metadata = await fetch_json(fetcher, provider.issuer.rstrip("/") + "/.well-known/openid-configuration")
        endpoints = read_endpoints(provider, metadata)
        self._endpoints = time.monotonic(), endpoints
        return endpoints


def require_issuer(sent: str, issuer: str, *, expected: bool = False) -> None:
    """Require that the callback's `iss` is that of this issuer, character by character (RFC 9207 section 2.4).

    Without `iss` it holds, unless the provider announces that it always sends one (`expected`). With an `issuer` of "",
    which is not known yet, it holds too.

    Raises:
        LoginRefused: it is another issuer's, or it is missing.
    """
    if (expected and not sent) or (sent and issuer and _of_google(sent) != _of_google(issuer)):
        raise LoginRefused("The answer came from another identity provider than was asked.")


def same_issuer(one: str, other: str) -> bool:
    """Whether two texts name one issuer: one is what somebody configured. Providers differ in the slash at the end,
    which changes no address that the portal asks; Google also writes a bare host."""
    return _of_google(one).removesuffix("/") == _of_google(other).removesuffix("/")


def _of_google(issuer: str) -> str:
    """An issuer, Google's in one of the two spellings that it has (OpenID Connect Core section 15.6.2)."""
    return GOOGLE_ISSUER if issuer == GOOGLE_ISSUER.removeprefix("https://") else issuer


async def _with_userinfo(
    fetcher: Fetcher, endpoints: Endpoints, access_token: str, claims: dict[str, object]
) -> dict[str, object]:
    """The ID token's claims over those of userinfo, which count only for the same subject (OIDC Core 5.3.2)."""
    more = await fetch_json(fetcher, endpoints.userinfo, {"Authorization": f"Bearer {access_token}"})
    if not isinstance(more, dict) or more.get("sub") != claims["sub"]:
        raise LoginRefused("The identity provider's userinfo is about somebody else.")
    return {**more, **claims}


def tokens_of(
    provider: OidcProvider, endpoints: Endpoints, token: Mapping[str, object], claims: Mapping[str, object]
) -> ProviderTokens:
    """The tokens in a token response whose ID token has these claims, which hold."""
    texts = {name: value for name, value in token.items() if isinstance(value, str)}
    lifetime = token.get("expires_in")
    known = isinstance(lifetime, int | float) and not isinstance(lifetime, bool) and 0 < lifetime <= MAX_LIFETIME
    now = datetime.now(UTC)
    return ProviderTokens(
        issuer=str(claims["iss"]),
        client_id=provider.client_id,
        token_endpoint=endpoints.token,
        id_token=texts["id_token"],
        ends_at=end_of(claims, now),
        access=texts.get("access_token", ""),
        access_ends_at=now + timedelta(seconds=lifetime) if known and isinstance(lifetime, int | float) else None,
        refresh=texts.get("refresh_token", ""),
    )


def scopes_of(provider: OidcProvider, endpoints: Endpoints) -> tuple[str, ...]:
    """The scopes to sign in with. A refresh token is asked for only if it is kept."""
    wanted = provider.keep_tokens and endpoints.offers_refresh and OFFLINE not in provider.scopes
    return (*provider.scopes, OFFLINE) if wanted else provider.scopes


def read_endpoints(provider: OidcProvider, metadata: object) -> Endpoints:
    """The endpoints of a discovery document. Those that are configured go before it.

    Raises:
        LoginFailed: it is about another issuer, or an endpoint is no URL to send a browser or a secret to.
    """
    if not isinstance(metadata, Mapping):
        raise LoginFailed("The identity provider's discovery document is no JSON object.")
    issuer = provider.issuer
    if issuer:
        published = str(metadata.get("issuer") or "")
        # OIDC Discovery 4.3. The slash at the end differs in practice; tokens repeat the published spelling.
        if not same_issuer(published, issuer):
            raise LoginFailed("The identity provider's discovery document is about another issuer.")
        issuer = published
    scopes = metadata.get("scopes_supported")
    try:
        return Endpoints(
            issuer=issuer,
            authorization=provider.authorization_endpoint or _endpoint(metadata, "authorization_endpoint", issuer),
            token=provider.token_endpoint or _endpoint(metadata, "token_endpoint", issuer),
            jwks=provider.jwks_uri or _endpoint(metadata, "jwks_uri", issuer),
            userinfo=_endpoint(metadata, "userinfo_endpoint", issuer) if metadata.get("userinfo_endpoint") else "",
            returns_issuer=metadata.get("authorization_response_iss_parameter_supported") is True,
            offers_refresh=isinstance(scopes, list) and OFFLINE in scopes,
        )
    except ProviderInvalid as error:
        raise LoginFailed(f"The identity provider's discovery document is unusable: {error}.") from error


def _endpoint(metadata: Mapping[str, object], name: str, issuer: str) -> str:
    url = checked_url(str(metadata.get(name) or ""), name)
    # An administrator may name a provider on this machine; a provider elsewhere may not lead the portal to one.
    if _is_local(url) and not _is_local(issuer):
        raise ProviderInvalid(f"{name} is on this machine, and the issuer is not")
    return url


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return is_loopback(host) or is_loopback_host(host)


def identity_of(provider: OidcProvider, claims: Mapping[str, object]) -> Identity:
    """The person the claims are about. The e-mail address counts unless `email_verified` is present and not true:
    providers of one organisation leave it out.

    Raises:
        ClaimUnfit: a claim cannot be used.
    """
    said = Claims(provider.name, claims)
    email, verified = said.email(provider.email_claim), claims.get("email_verified", True) in (True, "true")
    return Identity(
        id=f"{provider.id}:{said.subject()}",
        email=email if verified else "",
        name=said.text("name") or said.text("preferred_username"),
        groups=said.groups(provider.groups_claim),
        idp_id=provider.id,
        idp_type=provider.type,
        login_method=provider.id,
        auth_methods=said.methods(),
        claims=said.kept(kept_claims(provider, claims)),
    )


def kept_claims(provider: OidcProvider, claims: Mapping[str, object]) -> dict[str, object]:
    """The claims that policies can use: those the provider's configuration lists, or all except the token's own."""
    if provider.claims:
        return {name: claims[name] for name in provider.claims if name in claims}
    own = {"iss", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "c_hash", "azp", "jti", "auth_time", "sid"}
    return {name: value for name, value in claims.items() if name not in own}
