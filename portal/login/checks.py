"""What a sign-in at an identity provider would find, up to the redirect: each step with words and what to do.

The requests are those of a sign-in, with its bounds and its rule about addresses. No secret is sent: whether the
provider takes the client secret shows only when somebody comes back with a code.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver

from portal.egress import Fetcher, FetchFailed, FetchProblem
from portal.jose import TokenInvalid, read_keys
from portal.login.oidc import Endpoints, read_endpoints, same_issuer, scopes_of
from portal.login.providers import OAuthProvider, OidcProvider, OneTimePin, Provider
from portal.login.remote import LoginFailed, authorization_url, fetch_json, provider_fetcher, sentence

CHECK_SECONDS = 20.0
_AUTHORIZATION = "authorization_endpoint"
DISCOVERY = "/.well-known/openid-configuration"
_ANSWERS = tuple(range(200, 500))
"""The statuses of an endpoint that is there: what it says to a request without parameters does not matter."""


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """One step. `ok` is None for what cannot be tested from here. `to_do` is "" where nothing is to be done."""

    name: str
    ok: bool | None
    words: str
    to_do: str = ""


async def check_provider(
    provider: Provider,
    redirect_urls: tuple[str, ...],
    *,
    has_mail: bool = False,
    seconds: float = CHECK_SECONDS,
    resolver: AbstractResolver | None = None,
) -> tuple[ProviderCheck, ...]:
    """The steps, in the order of a sign-in; those after one that failed are left out where they depend on it.

    `redirect_urls` are where the provider sends people back, `has_mail` is whether PINs are mailed. `resolver` is for
    tests.
    """
    if isinstance(provider, OneTimePin):
        return (_mail(has_mail),)
    found = [*_client(provider), _redirects(redirect_urls)]
    try:
        async with asyncio.timeout(seconds), provider_fetcher(resolver) as fetcher:
            back = redirect_urls[0] if redirect_urls else ""
            if isinstance(provider, OidcProvider):
                steps = _openid(provider, back, fetcher)
            else:
                steps = _oauth2(provider, back, fetcher)
            async for step in steps:
                # One by one: the steps before the time is over count.
                found.append(step)  # noqa: PERF401
    except TimeoutError:
        words = f"The identity provider did not answer everything within {seconds:g} s."
        found.append(ProviderCheck("time", False, words, "Ask who runs it why it is slow, and test again."))
    return tuple(found)


def _mail(has_mail: bool) -> ProviderCheck:
    if has_mail:
        return ProviderCheck("mail", True, "PINs are sent by the configured mail server.")
    words = "No mail server is configured: PINs are shown on the console of the operator."
    return ProviderCheck("mail", False, words, "Set portal.identity.smtp in the configuration.")


def _client(provider: OidcProvider | OAuthProvider) -> list[ProviderCheck]:
    steps = [ProviderCheck("client_id", True, f"The client id is {provider.client_id}.")]
    if provider.client_secret:
        words = (
            "A client secret is stored. Whether it is right shows when somebody signs in: it is not sent for a test."
        )
        return [*steps, ProviderCheck("client_secret", None, words)]
    words = "No client secret is stored, so the portal is a public client there."
    to_do = "Send config.client_secret, unless the provider has the portal as a public client."
    return [*steps, ProviderCheck("client_secret", None, words, to_do)]


def _redirects(urls: tuple[str, ...]) -> ProviderCheck:
    if not urls:
        words = "The address of the portal is not known to this process."
        return ProviderCheck("redirect_url", None, words, "Test again while the portal serves.")
    words = (
        "The provider must send people back to these URLs; whether it does shows in the next steps at many providers."
    )
    return ProviderCheck("redirect_url", None, words, "Register each at the provider, character by character.")


async def _openid(provider: OidcProvider, redirect_url: str, fetcher: Fetcher) -> AsyncIterator[ProviderCheck]:
    metadata: object = {}
    if provider.issuer:
        try:
            metadata = await fetch_json(fetcher, provider.issuer.rstrip("/") + DISCOVERY)
        except LoginFailed as error:
            yield ProviderCheck("discovery", False, str(error), _about_discovery(error))
            return
        yield ProviderCheck("discovery", True, "The discovery document is there.")
        issuer = _issuer(provider, metadata)
        yield issuer
        if not issuer.ok:
            return
    try:
        endpoints = read_endpoints(provider, metadata)
    except LoginFailed as error:
        to_do = "Correct the discovery document, or name the endpoints: config.auth_url, token_url and certs_url."
        yield ProviderCheck("endpoints", False, str(error), to_do)
        return
    hosts = sorted({urlsplit(url).netloc for url in (endpoints.authorization, endpoints.token, endpoints.jwks)})
    yield ProviderCheck("endpoints", True, f"Every endpoint is an https:// URL or on this machine: {', '.join(hosts)}.")
    yield await _keys(endpoints, fetcher)
    scope = " ".join(scopes_of(provider, endpoints))
    yield await _asked(provider, endpoints.authorization, scope, redirect_url, fetcher)
    yield await _is_there("token_endpoint", endpoints.token, fetcher)


def _issuer(provider: OidcProvider, metadata: object) -> ProviderCheck:
    if not isinstance(metadata, dict):
        words = "The discovery document is no JSON object."
        return ProviderCheck("issuer", False, words, "Check config.issuer: something else is at that URL.")
    published = metadata.get("issuer")
    if isinstance(published, str) and same_issuer(published, provider.issuer):
        return ProviderCheck("issuer", True, "The discovery document is about the configured issuer.")
    named = f"{published[:200]!r}" if isinstance(published, str) and published else "none"
    words = f"The discovery document names another issuer than config.issuer: {named}."
    return ProviderCheck("issuer", False, words, "Set config.issuer to it, if that is the provider you mean.")


async def _keys(endpoints: Endpoints, fetcher: Fetcher) -> ProviderCheck:
    try:
        keys = read_keys(await fetch_json(fetcher, endpoints.jwks))
    except LoginFailed as error:
        to_do = "Without its keys no sign-in holds. Check jwks_uri, or config.certs_url."
        return ProviderCheck("keys", False, f"The keys cannot be read. {error}", to_do)
    except TokenInvalid as error:
        to_do = "The provider has to publish a public key for signatures: RSA, EC or Ed25519."
        return ProviderCheck("keys", False, f"The JWK set cannot be used: {error}.", to_do)
    count = len(keys.keys)
    return ProviderCheck("keys", True, f"{count} key{'' if count == 1 else 's'} for signatures can be used.")


async def _oauth2(provider: OAuthProvider, redirect_url: str, fetcher: Fetcher) -> AsyncIterator[ProviderCheck]:
    scope = " ".join(provider.scopes)
    yield await _asked(provider, provider.authorization_endpoint, scope, redirect_url, fetcher)
    yield await _is_there("token_endpoint", provider.token_endpoint, fetcher)
    yield await _is_there("api", f"{provider.api}/user", fetcher)


async def _asked(
    provider: OidcProvider | OAuthProvider, endpoint: str, scope: str, redirect_url: str, fetcher: Fetcher
) -> ProviderCheck:
    """What the authorization endpoint says to the request of a sign-in. Nobody can come back with its state."""
    if not redirect_url:
        return await _is_there(_AUTHORIZATION, endpoint, fetcher)
    state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    url = authorization_url(
        endpoint,
        client_id=provider.client_id,
        redirect_uri=redirect_url,
        scope=scope,
        state=state,
        verifier=verifier,
        **({"nonce": nonce} if isinstance(provider, OidcProvider) else {}),
    )
    host = urlsplit(endpoint).netloc
    try:
        answer = await fetcher.fetch(url, statuses=_ANSWERS)
    except FetchFailed as error:
        to_do = _about_fetching(error, _AUTHORIZATION)
        return ProviderCheck(_AUTHORIZATION, False, f"{host}: {sentence(error)}", to_do)
    if answer.status < 400:
        return ProviderCheck(_AUTHORIZATION, True, f"{host} takes the request of a sign-in.")
    words = f"{host} answers {answer.status} to the request of a sign-in that would come back to {redirect_url}."
    to_do = "Check the client id and the URL of the endpoint, and register the redirect URL at the provider."
    return ProviderCheck(_AUTHORIZATION, False, words, to_do)


async def _is_there(name: str, url: str, fetcher: Fetcher) -> ProviderCheck:
    """Whether something answers at an endpoint, without its parameters."""
    host = urlsplit(url).netloc
    try:
        answer = await fetcher.fetch(url, statuses=_ANSWERS)
    except FetchFailed as error:
        return ProviderCheck(name, False, f"{host}: {sentence(error)}", _about_fetching(error, name))
    if answer.status in (404, 410):
        words = f"{host} answers {answer.status} there."
        # An endpoint that takes POST only may say 404 to a GET.
        is_known = None if name == "token_endpoint" else False
        return ProviderCheck(name, is_known, words, f"Check the URL of the {name}.")
    return ProviderCheck(name, True, f"{host} answers.")


def _about_fetching(error: FetchFailed, what: str) -> str:
    if error.problem is FetchProblem.ADDRESS:
        return f"Check the URL of the {what}: the portal connects to no such address."
    if error.problem in (FetchProblem.UNREACHABLE, FetchProblem.TIMEOUT, FetchProblem.BUSY, FetchProblem.INTERRUPTED):
        return "Check the host name, the firewall and the certificate on the way there."
    return f"Check the URL of the {what}; redirects are not followed."


def _about_discovery(error: LoginFailed) -> str:
    cause = error.__cause__
    if isinstance(cause, FetchFailed) and cause.problem is not FetchProblem.STATUS:
        return _about_fetching(cause, "issuer")
    return f"Check config.issuer: {DISCOVERY} must be below it."
