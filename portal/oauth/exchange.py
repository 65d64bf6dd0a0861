"""The exchange of a code or refresh token for an access token, for both authorization servers.

A request is read into a value and compared with the token it shows (both pure). Then the policies are asked, and the
answer is written. Last, one transaction uses the token up and stores its successors: a stop before that leaves the
token good for a retry (RFC 6749 sections 4.1.3 and 6, RFC 7636 section 4.6, RFC 8707 section 2.2). A refresh token that
another window of the client has used a moment ago is answered with what that window got.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from portal.access import Decision
from portal.oauth.admission import refusal_of
from portal.oauth.clients import AUTHORIZATION_CODE, REFRESH_TOKEN, Client
from portal.oauth.grants import (
    CODE,
    REFRESH,
    CodeBinding,
    Grant,
    GrantDocument,
    Grants,
    TokenPair,
    binding_of,
    grant_of,
)
from portal.oauth.messages import OAuthError
from portal.state import Kind, Token

_KINDS = {AUTHORIZATION_CODE: (CODE, "code"), REFRESH_TOKEN: (REFRESH, "refresh_token")}
# One text for all four cases, so that nobody learns which of them applies.
GONE = OAuthError("invalid_grant", "the code or token is unknown, expired, used, or another client's")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request for tokens, by a code or by a refresh token (`kind`). A parameter that is absent is ""."""

    kind: Kind[GrantDocument]
    token: str = field(repr=False)
    redirect_uri: str = ""
    verifier: str = field(default="", repr=False)
    scope: str = ""
    resource: str = ""

    @property
    def grant_type(self) -> str:
        return REFRESH_TOKEN if self.kind is REFRESH else AUTHORIZATION_CODE


def read_token_request(parameters: Mapping[str, str]) -> TokenRequest | OAuthError:
    """The request in a form.

    Error: a parameter is missing, or no client may use this grant type (RFC 6749 section 5.2).
    """
    grant_type = parameters.get("grant_type", "")
    if not grant_type:
        return OAuthError("invalid_request", "grant_type is missing")
    if grant_type not in _KINDS:
        return OAuthError("unsupported_grant_type", f"grant_type must be {' or '.join(_KINDS)}")
    kind, name = _KINDS[grant_type]
    if name not in parameters:
        return OAuthError("invalid_request", f"{name} is missing")
    return TokenRequest(
        kind,
        parameters[name],
        parameters.get("redirect_uri", ""),
        parameters.get("code_verifier", ""),
        parameters.get("scope", ""),
        parameters.get("resource", ""),
    )


def decide_exchange(request: TokenRequest, token: Token[GrantDocument], client: Client) -> tuple[str, ...] | OAuthError:
    """The scopes of the new access token, for a request that shows this token of the client."""
    grant = grant_of(token)
    binding = binding_of(token)
    error = _code_error(request, binding) if binding is not None else None
    if error is not None:
        return error
    if client.openid:
        # It has one resource, itself, and may repeat scopes that were never granted, such as offline_access.
        return grant.scopes
    if request.resource not in ("", grant.resource):
        return OAuthError("invalid_target", "resource is not the one that was authorized")
    # As at `/authorize`, names that the portal does not have are ignored.
    scopes = client.known(request.scope) if request.kind is REFRESH else ()
    if not set(scopes) <= set(grant.scopes):
        return OAuthError("invalid_scope", f"the scopes of the grant are: {' '.join(grant.scopes)}")
    return scopes or grant.scopes


AdmitGrant: TypeAlias = Callable[[Grant], Awaitable[Decision]]
ExtendAnswer: TypeAlias = Callable[[Grant, TokenPair, str], Awaitable[Mapping[str, object]]]


async def exchange(
    grants: Grants,
    request: TokenRequest,
    client: Client,
    *,
    lifetime: timedelta,
    admit: AdmitGrant,
    extend: ExtendAnswer | None = None,
) -> dict[str, object] | OAuthError:
    """Exchange the code or refresh token of a request; the answer of RFC 6749 section 5.1.

    `lifetime` is that of the access token. `admit` asks the policies; their refusal ends the grant. `extend` gives
    further members of the answer, for the grant, its new tokens and the nonce of the code ("" if none).
    """
    if request.grant_type not in client.grant_types:
        return OAuthError("unauthorized_client", f"this client may not use the grant type {request.grant_type}")
    token = await grants.find(request.kind, request.token, client.holder)
    if token is None:
        return GONE
    scopes = decide_exchange(request, token, client)
    if isinstance(scopes, OAuthError):
        return scopes
    grant = grant_of(token)
    refusal = refusal_of(await admit(grant))
    if refusal is not None:
        await grants.end(grant.family)
        return OAuthError("invalid_grant", refusal)
    binding = binding_of(token)
    nonce = binding.nonce if binding is not None else ""

    async def answer_with(pair: TokenPair) -> dict[str, object]:
        answer: dict[str, object] = {
            "access_token": pair.access,
            "token_type": "Bearer",
            "expires_in": pair.seconds,
            "scope": " ".join(pair.scopes),
        }
        if REFRESH_TOKEN in client.grant_types:
            answer["refresh_token"] = pair.refresh
        return answer if extend is None else answer | dict(await extend(grant, pair, nonce))

    pair = grants.pair(request.token, grant, lifetime, scopes)
    answer = await answer_with(pair)
    # Last: after a failure past this point the client would have neither its old token nor the new ones.
    given = await grants.exchange(request.kind, request.token, pair)
    if given is None:
        return GONE
    return answer if given is pair else await answer_with(given)


def _code_error(request: TokenRequest, binding: CodeBinding) -> OAuthError | None:
    """PKCE and the redirect URI: a code is good for the client that asked for it only."""
    may_be_left_out = not binding.redirect_uri_given and not request.redirect_uri
    if not may_be_left_out and request.redirect_uri != binding.redirect_uri:
        return OAuthError("invalid_grant", "redirect_uri is not the one of the authorization request")
    if not binding.challenge:
        # RFC 9700 section 2.1.1: a verifier without a challenge means that the request was downgraded.
        return OAuthError("invalid_grant", "there was no code_challenge") if request.verifier else None
    if not request.verifier:
        return OAuthError("invalid_request", "code_verifier is missing")
    digest = hashlib.sha256(request.verifier.encode("utf-8", "surrogatepass")).digest()
    computed = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if not hmac.compare_digest(computed.encode(), binding.challenge.encode()):
        return OAuthError("invalid_grant", "code_verifier does not match")
    return None
