"""The decision on an authorization request, for both authorization servers (RFC 6749 section 4.1.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from portal.oauth.clients import MAX_KEPT_BYTES, Client
from portal.oauth.grants import CodeBinding
from portal.oauth.messages import OAuthError, long_parameter

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# The base64url of a SHA-256 (RFC 7636 section 4.2).
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Authorization:
    """A valid request: what a client asks a person to allow, and where the answer goes."""

    client: str
    redirect_uri: str
    redirect_uri_given: bool
    state: str
    scopes: tuple[str, ...]
    resource: str
    challenge: str
    nonce: str = ""

    @property
    def binding(self) -> CodeBinding:
        return CodeBinding(self.challenge, self.redirect_uri, self.redirect_uri_given, self.nonce)


def decide_authorization(
    parameters: Mapping[str, str], client: Client | None, resource: str | OAuthError
) -> Authorization | OAuthError:
    """The authorization that this request asks for. `resource` is the resource it names, or the error of that name.

    An error has a redirect URI if the request names one of the client's, and errors may be sent there.
    """
    if client is None:
        return OAuthError("invalid_request", "the client_id is unknown")
    requested = parameters.get("redirect_uri", "")
    redirect_uri = client.redirect(requested)
    if redirect_uri is None:
        return OAuthError("invalid_request", "redirect_uri is missing, or is not one that this client may use")
    scopes = client.grantable(parameters.get("scope", ""))
    error = (
        long_parameter(parameters)
        or _unkept(parameters)
        or _response_type_error(parameters.get("response_type", ""))
        or _challenge_error(parameters, client)
        or (None if scopes else OAuthError("invalid_scope", _scope_rule(client)))
    )
    error_uri = redirect_uri if client.takes_errors_at(redirect_uri) else ""
    if error is not None:
        return replace(error, redirect_uri=error_uri)
    if isinstance(resource, OAuthError):
        return replace(resource, redirect_uri=error_uri)
    return Authorization(
        client=client.id,
        redirect_uri=redirect_uri,
        redirect_uri_given=bool(requested),
        state=parameters.get("state", ""),
        scopes=scopes,
        resource=resource,
        challenge=parameters.get("code_challenge", ""),
        nonce=parameters.get("nonce", ""),
    )


def _unkept(parameters: Mapping[str, str]) -> OAuthError | None:
    """The error of a request that is not kept until a person answers it: strangers send it."""
    if sum(len(value.encode()) for value in parameters.values()) > MAX_KEPT_BYTES:
        return OAuthError("invalid_request", f"the parameters have more than {MAX_KEPT_BYTES} bytes together")
    name = next((name for name in ("state", "nonce") if _CONTROL.search(parameters.get(name, ""))), None)
    return OAuthError("invalid_request", f"{name} has control characters") if name is not None else None


def _response_type_error(response_type: str) -> OAuthError | None:
    if not response_type:
        return OAuthError("invalid_request", "response_type is missing")
    return None if response_type == "code" else OAuthError("unsupported_response_type", "response_type must be code")


def _challenge_error(parameters: Mapping[str, str], client: Client) -> OAuthError | None:
    challenge = parameters.get("code_challenge", "")
    if not challenge:
        return OAuthError("invalid_request", "code_challenge is missing") if client.pkce else None
    # A request without a method means `plain` (RFC 7636 section 4.3), which protects nothing.
    if parameters.get("code_challenge_method") != "S256":
        return OAuthError("invalid_request", "code_challenge_method must be S256")
    if _CHALLENGE.fullmatch(challenge) is None:
        return OAuthError("invalid_request", "code_challenge is not the base64url of a SHA-256")
    return None


def _scope_rule(client: Client) -> str:
    needed = "scope must include openid; " if client.openid else ""
    return f"{needed}the scopes are: {' '.join(client.scopes)}"
