"""The credentials a portal sends to a server: validated, stored as a secret, and shown only as a summary. Pure.

`auth_credentials` is a raw token, a JSON object with `headers`, or, for OAuth with a client registered by hand, a JSON
object with `auth_mode`, `config` and `registration_info`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field

from portal.admin.api.errors import invalid
from portal.credentials import CredentialsInvalid, parse_as, parse_json, read_headers
from portal.objects import AuthType, ServerDocument

AuthenticationStatus: TypeAlias = Literal["not_required", "required", "connected", "stale", "manual"]
MAX_CREDENTIALS = 65_536

_POINTER = "/auth_credentials"
_Url = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s/]+")]


class OAuthConfig(BaseModel):
    authorization_endpoint: _Url | None = None
    issuer: _Url | None = None
    resource: _Url | None = None
    revocation_endpoint: _Url | None = None
    token_endpoint: _Url | None = None


class RegistrationInfo(BaseModel):
    client_id: Annotated[str, Field(max_length=2048)] | None = None
    redirect_uris: Annotated[tuple[Annotated[str, Field(max_length=2048)], ...], Field(max_length=32)] | None = None
    scope: Annotated[str, Field(max_length=4096)] | None = None
    token_endpoint_auth_method: Literal["none", "client_secret_post", "client_secret_basic"] | None = None


class AuthConfigSummary(BaseModel):
    """The part of the credentials that is no secret. `client_secret_version` counts the client secrets set so far."""

    auth_mode: Literal["dcr", "manual"] | None = None
    client_secret_version: int | None = None
    config: OAuthConfig | None = None
    has_client_secret: bool | None = None
    registration_info: RegistrationInfo | None = None


class _ManualOAuth(BaseModel):
    auth_mode: Literal["manual", "dcr"]
    config: OAuthConfig = OAuthConfig()
    registration_info: RegistrationInfo = RegistrationInfo()


def public_part(auth_type: AuthType, credentials: str | None) -> dict[str, object] | None:
    """The part of new credentials that is no secret, the OAuth client of a manual registration; or None.

    Raises:
        AdminError: the credentials do not fit `auth_type`. The message does not quote them.
    """
    try:
        return _public_part(auth_type, credentials)
    except CredentialsInvalid as error:
        raise invalid(str(error), _POINTER) from None


def _public_part(auth_type: AuthType, credentials: str | None) -> dict[str, object] | None:
    if credentials is None:
        return None
    if auth_type == "unauthenticated" and credentials:
        raise CredentialsInvalid("a server without authentication takes no credentials")
    if auth_type == "bearer":
        read_headers(credentials)
        return None
    if auth_type == "oauth" and credentials:
        manual = parse_as(
            _ManualOAuth, parse_json(credentials), "an object with auth_mode, config and registration_info"
        )
        if manual.auth_mode == "manual" and not (
            manual.config.authorization_endpoint and manual.config.token_endpoint and manual.registration_info.client_id
        ):
            raise CredentialsInvalid("manual OAuth needs authorization_endpoint, token_endpoint and client_id")
        return manual.model_dump(mode="json")
    return None


def merge_credentials(before: Mapping[str, str], new: Mapping[str, str | None]) -> dict[str, str]:
    """The secret to store: the new credentials, and those before where a new one is None."""
    return {**before, **{key: credential for key, credential in new.items() if credential is not None}}


def summary(document: ServerDocument) -> AuthConfigSummary | None:
    """The OAuth configuration of the server, or None if it uses none."""
    if document.auth_type != "oauth":
        return None
    public = document.oauth or {}
    version = document.client_secret_version
    return AuthConfigSummary.model_validate(
        {**public, "auth_mode": public.get("auth_mode", "dcr"), "has_client_secret": version > 0}
        | ({"client_secret_version": version} if version else {})
    )


def authentication_status(document: ServerDocument, *, has_secret: bool) -> AuthenticationStatus:
    """Whether the portal can authenticate at the server."""
    if document.auth_type == "unauthenticated":
        return "not_required"
    if document.auth_type == "bearer":
        return "connected" if has_secret else "required"
    return "manual" if (document.oauth or {}).get("auth_mode") == "manual" else "required"
