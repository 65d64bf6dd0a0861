"""The credentials a portal sends to a server: validated, stored as a secret, and shown only as a summary. Pure.

`auth_credentials` is a raw token, a JSON object with `headers`, or, for OAuth, a JSON object with `auth_mode`, `config`
and `registration_info`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import BaseModel

from portal.admin.api.errors import invalid
from portal.credentials import (
    AuthCredentials,
    CredentialsInvalid,
    State,
    read_auth_credentials,
    read_headers,
    upstream_oauth,
)
from portal.objects import AuthType, ServerDocument

AuthenticationStatus: TypeAlias = Literal["not_required", "required", "connected", "stale", "manual"]
MAX_CREDENTIALS = 65_536

_CREDENTIALS, _SECRET = "auth_credentials", "client_secret"
# Where the secret of a client is sent. It is written by people who may not read it.
_DESTINATION = ("client_id", "issuer", "token_endpoint", "revocation_endpoint")


class OAuthConfig(BaseModel):
    authorization_endpoint: str | None = None
    issuer: str | None = None
    resource: str | None = None
    revocation_endpoint: str | None = None
    token_endpoint: str | None = None


class RegistrationInfo(BaseModel):
    client_id: str | None = None
    redirect_uris: tuple[str, ...] | None = None
    scope: str | None = None
    token_endpoint_auth_method: str | None = None


class AuthConfigSummary(BaseModel):
    """The part of the credentials that is no secret. `client_secret_version` counts the client secrets set so far.

    From `grant` on the members are ours. Of the parameters of requests only the names are shown.
    """

    auth_mode: Literal["dcr", "manual"] | None = None
    client_secret_version: int | None = None
    config: OAuthConfig | None = None
    has_client_secret: bool | None = None
    registration_info: RegistrationInfo | None = None
    grant: Literal["authorization_code", "client_credentials"] | None = None
    has_private_key: bool | None = None
    key_id: str | None = None
    algorithm: str | None = None
    parameter_names: tuple[str, ...] | None = None
    rotating: str | None = None
    assume_pkce: bool | None = None
    callback_port: int | None = None
    allow_private: bool | None = None


@dataclass(frozen=True, slots=True)
class NewCredentials:
    """What is stored of a server's credentials: members of its document, and its secret."""

    members: Mapping[str, object] = field(default_factory=dict)
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)


def new_credentials(
    auth_type: AuthType,
    credentials: str | None,
    client_secret: str | None,
    before: ServerDocument | None = None,
    stored: Mapping[str, str] | None = None,
) -> NewCredentials:
    """What to store when these are sent, None for one that is not, to a server that was `before` and has this secret.

    Raises:
        AdminError: they do not fit `auth_type` or each other. The message names the member and quotes no value.
    """
    try:
        if auth_type == "oauth":
            return _oauth(credentials, client_secret, before, stored or {})
        if credentials is not None and auth_type == "bearer":
            read_headers(credentials)
        if credentials and auth_type == "unauthenticated":
            raise CredentialsInvalid("a server without authentication takes no credentials")
    except CredentialsInvalid as error:
        raise invalid(str(error), f"/{_CREDENTIALS}") from None
    sent = {_CREDENTIALS: credentials, _SECRET: client_secret}
    secret = {**(stored or {}), **{name: value for name, value in sent.items() if value is not None}}
    return NewCredentials({_VERSION: _next_version(before, client_secret)}, secret)


def _oauth(
    credentials: str | None, client_secret: str | None, before: ServerDocument | None, stored: Mapping[str, str]
) -> NewCredentials:
    former_text, former_secret = stored.get(_CREDENTIALS, ""), stored.get(_SECRET, "")
    text = former_text if credentials is None else credentials
    written = read_auth_credentials(text)
    if client_secret and not written.takes_client_secret:
        why = "the client signs with its private_key" if written.auth_mode == "manual" else "its auth_mode is dcr"
        raise invalid(f"does not go with auth_credentials: {why}", f"/{_SECRET}")
    if credentials is not None and former_secret and written.takes_client_secret and client_secret is None:
        # Otherwise a caller who may change a server, but not read its secret, could send the secret to a server of
        # their own.
        if _moved(former_text, written):
            raise invalid("must be sent again when the client, its issuer or an endpoint changes", f"/{_SECRET}")
    secret = (former_secret if client_secret is None else client_secret) if written.takes_client_secret else ""
    upstream_oauth(written, secret)
    members = {
        "oauth": written.public if text.strip() else None,
        _VERSION: _next_version(before, client_secret),
        "has_client_secret": bool(secret),
    }
    return NewCredentials(members, {name: value for name, value in ((_CREDENTIALS, text), (_SECRET, secret)) if value})


_VERSION = "client_secret_version"


def _next_version(before: ServerDocument | None, client_secret: str | None) -> int:
    return (before.client_secret_version if before is not None else 0) + (1 if client_secret else 0)


def _moved(former_text: str, after: AuthCredentials) -> bool:
    """Whether the secret of the client would be sent elsewhere, or as that of another client."""
    try:
        former = read_auth_credentials(former_text)
    except CredentialsInvalid:
        return True
    return any(former.members.get(name) != after.members.get(name) for name in _DESTINATION)


def summary(document: ServerDocument) -> AuthConfigSummary | None:
    """The OAuth configuration of the server, or None if it uses none."""
    if document.auth_type != "oauth":
        return None
    public = document.oauth or {}
    version, has = document.client_secret_version, document.has_client_secret
    return AuthConfigSummary.model_validate(
        {
            **public,
            "auth_mode": public.get("auth_mode", "dcr"),
            "has_client_secret": version > 0 if has is None else has,
        }
        | ({"client_secret_version": version} if version else {})
    )


def authentication_status(
    document: ServerDocument, *, has_secret: bool, state: State | None = None
) -> AuthenticationStatus:
    """Whether the portal can authenticate at the server. `state` is that of its own login, None where there is none to
    make."""
    if document.auth_type == "unauthenticated":
        return "not_required"
    if document.auth_type == "bearer":
        return "connected" if has_secret else "required"
    if state in ("needs_reauth", "misconfigured"):
        return "stale"
    if state in ("absent", "connecting"):
        return "manual" if (document.oauth or {}).get("auth_mode") == "manual" else "required"
    return "connected"
