"""What every identity provider elsewhere has in common: the authorization request, the token request, bounded answers.

The flow is the authorization code of OAuth 2.0 with PKCE (RFC 6749 4.1, RFC 7636).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

import orjson
from aiohttp.abc import AbstractResolver

from portal.egress import AddressRule, Fetcher, FetchFailed, FetchProblem
from portal.identity import Identity

TIMEOUT_SECONDS = 15.0
MAX_BYTES = 1024 * 1024
_SENTENCES = {
    FetchProblem.ADDRESS: "The identity provider is at an address that this portal does not connect to.",
    FetchProblem.UNREACHABLE: "The identity provider cannot be reached.",
    FetchProblem.BUSY: "The identity provider cannot be reached.",
    FetchProblem.INTERRUPTED: "The identity provider did not answer.",
    FetchProblem.TIMEOUT: "The identity provider did not answer in time.",
}


class LoginFailed(Exception):
    """A login at a provider failed. The text is for the person who signs in; the cause is for the log.

    `status` is that of the page which says so: the provider did not answer, or not as a provider does.
    """

    status = 502


class LoginRefused(LoginFailed):
    """The provider has answered, and what it says signs nobody in."""

    status = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTokens:
    """What an identity provider gave to the client `client_id` at a sign-in, and where it is renewed.

    `id_token` has been verified, and ends at `ends_at`; `access_ends_at` is None where the provider does not say when
    the access token ends. `refresh` is "" without a refresh token.
    """

    issuer: str
    client_id: str
    token_endpoint: str
    id_token: str = field(repr=False)
    ends_at: datetime
    access: str = field(repr=False)
    access_ends_at: datetime | None
    refresh: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The person who signed in at a provider, with its tokens if its setting says that they are kept."""

    identity: Identity
    tokens: ProviderTokens | None = None


class SecretIn(Enum):
    """How the client secret goes to the token endpoint (RFC 6749 2.3.1)."""

    HEADER = "client_secret_basic"
    BODY = "client_secret_post"


def provider_fetcher(resolver: AbstractResolver | None = None) -> Fetcher:
    """A fetcher for one step of a login. `resolver` is for tests."""
    return Fetcher(AddressRule.NOT_LINK_LOCAL, limit=MAX_BYTES, seconds=TIMEOUT_SECONDS, resolver=resolver)


def authorization_url(
    endpoint: str, *, client_id: str, redirect_uri: str, scope: str, state: str, verifier: str, **more: str
) -> str:
    """The URL that asks for a code, with `more` as further parameters. Those the endpoint has already are kept."""
    digest = hashlib.sha256(verifier.encode()).digest()
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        **({"scope": scope} if scope else {}),
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        **more,
    }
    parts = urlsplit(endpoint)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *parameters.items()])
    return parts._replace(query=query).geturl()


async def exchange_code(
    fetcher: Fetcher,
    endpoint: str,
    *,
    client_id: str,
    client_secret: str,
    secret_in: SecretIn,
    redirect_uri: str,
    code: str,
    verifier: str,
) -> Mapping[str, object]:
    """The token response for a code (RFC 6749 5.1). Without a secret the client says only who it is.

    Raises:
        LoginFailed: the provider refused, or answered with something else.
    """
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    if client_secret and secret_in is SecretIn.HEADER:
        # Each half is encoded first (RFC 6749 2.3.1): a secret may contain a colon or a percent sign.
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form |= {"client_id": client_id} | ({"client_secret": client_secret} if client_secret else {})
    try:
        answer = await fetcher.fetch(
            endpoint, method="POST", headers=headers, body=urlencode(form).encode(), statuses=(200, 400, 401)
        )
        token = orjson.loads(answer.body)
        problem = token_problem(answer.status, token)
        if problem:
            raise FetchFailed(FetchProblem.STATUS, problem, answer.status)
    except (FetchFailed, orjson.JSONDecodeError) as error:
        raise LoginFailed("The identity provider did not exchange the code.") from error
    assert isinstance(token, dict)
    return token


def token_problem(status: int, token: object) -> str:
    """What is wrong with a token response, for logs; "" for one that can be used."""
    if isinstance(token, dict) and token.get("error") is not None:
        # GitHub answers an error with status 200.
        return f"the token endpoint answered with status {status} and the error {str(token['error'])[:100]!r}"
    if status != 200 or not isinstance(token, dict):
        return f"the token endpoint answered with status {status} and no token"
    return ""


async def fetch_json(fetcher: Fetcher, url: str, headers: Mapping[str, str] | None = None) -> object:
    """The JSON value at a URL of the provider.

    Raises:
        LoginFailed: there is none.
    """
    try:
        answer = await fetcher.fetch(url, headers=headers)
        return orjson.loads(answer.body)
    except FetchFailed as error:
        raise LoginFailed(sentence(error)) from error
    except orjson.JSONDecodeError as error:
        raise LoginFailed("The identity provider did not answer with JSON.") from error


def sentence(error: FetchFailed) -> str:
    """What the person who signs in is shown."""
    if error.problem is FetchProblem.STATUS:
        return f"The identity provider answered with status {error.status}."
    return _SENTENCES.get(error.problem, "The identity provider's answer cannot be used.")
