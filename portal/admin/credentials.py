"""What a server is called with: checked, kept apart as its secret, and shown only as a summary. Pure.

`auth_credentials` is a raw token, or a JSON object with `headers`, or, for OAuth with a client of one's own, with
`auth_mode`, `config` and `registration_info`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from portal.admin.errors import invalid
from portal.config import HeaderName, HeaderValue

AuthType = Literal["oauth", "bearer", "unauthenticated"]
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
    """What may be shown. `client_secret_version` counts the secrets there were."""

    auth_mode: Literal["dcr", "manual"] | None = None
    client_secret_version: int | None = None
    config: OAuthConfig | None = None
    has_client_secret: bool | None = None
    registration_info: RegistrationInfo | None = None


class _ManualOAuth(BaseModel):
    auth_mode: Literal["manual", "dcr"]
    config: OAuthConfig = OAuthConfig()
    registration_info: RegistrationInfo = RegistrationInfo()


class _Headers(BaseModel):
    model_config = ConfigDict(extra="forbid")

    headers: Annotated[dict[HeaderName, HeaderValue], Field(min_length=1, max_length=64)]


def read_public(auth_type: AuthType, credentials: str | None) -> dict[str, Any]:
    """What of new credentials is no secret: the OAuth client of a manual registration.

    Raises:
        AdminError: they are not of this type. The message does not quote them.
    """
    if credentials is None:
        return {}
    if auth_type == "unauthenticated" and credentials:
        raise invalid("a server without authentication takes no credentials", _POINTER)
    if auth_type == "bearer":
        read_headers(credentials)
        return {}
    if auth_type == "oauth" and credentials:
        manual = _parsed(_ManualOAuth, _object(credentials), "an object with auth_mode, config and registration_info")
        if manual.auth_mode == "manual" and not (
            manual.config.authorization_endpoint and manual.config.token_endpoint and manual.registration_info.client_id
        ):
            raise invalid("manual OAuth needs authorization_endpoint, token_endpoint and client_id", _POINTER)
        public: dict[str, Any] = manual.model_dump(mode="json")
        return public
    return {}


def read_headers(credentials: str) -> dict[str, str]:
    """The headers that bearer credentials stand for.

    Raises:
        AdminError: they cannot be headers.
    """
    if credentials.lstrip().startswith("{"):
        return dict(_parsed(_Headers, _object(credentials), "a token, or an object with headers").headers)
    if not credentials.strip() or not credentials.isprintable() or not credentials.isascii():
        raise invalid("a token is one line of printable ASCII", _POINTER)
    return {"Authorization": f"Bearer {credentials.strip()}"}


def seal_together(before: Mapping[str, str], given: Mapping[str, str | None]) -> dict[str, str]:
    """What is kept as the secret: what was given now over what there was."""
    return {**before, **{key: value for key, value in given.items() if value is not None}}


def summary(document: Mapping[str, Any]) -> AuthConfigSummary | None:
    if document["auth_type"] != "oauth":
        return None
    public = document.get("oauth") or {}
    version = document.get("client_secret_version", 0)
    return AuthConfigSummary.model_validate(
        {**public, "auth_mode": public.get("auth_mode", "dcr"), "has_client_secret": version > 0}
        | ({"client_secret_version": version} if version else {})
    )


def authentication_status(document: Mapping[str, Any], *, has_secret: bool) -> str:
    if document["auth_type"] == "unauthenticated":
        return "not_required"
    if document["auth_type"] == "bearer":
        return "connected" if has_secret else "required"
    return "manual" if (document.get("oauth") or {}).get("auth_mode") == "manual" else "required"


def _object(credentials: str) -> Any:
    try:
        return orjson.loads(credentials)
    except orjson.JSONDecodeError:
        raise invalid("is neither a token nor a JSON object", _POINTER) from None


def _parsed(model: type[Any], given: Any, wanted: str) -> Any:
    try:
        return model.model_validate(given)
    except ValidationError:
        # Not a word of pydantic's: it might repeat a credential.
        raise invalid(f"must be {wanted}", _POINTER) from None
