"""The operator's settings of the authorization server, named as in Cloudflare's `oauth_configuration`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from portal.config import read_duration

SCOPE = "mcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Which clients may register themselves, by their redirect URIs.

    `allowed_uris` are whole URIs, or prefixes that end in `*` after the host's `/` (`https://claude.ai/api/*`), or an
    application's own scheme (`cursor://*`).
    """

    enabled: bool = True
    any_on_localhost: bool = True
    any_on_loopback: bool = True
    allowed_uris: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSettings:
    """`path` is the main MCP endpoint: tokens are for it unless a client names another resource.

    `access_lifetime` is the life of an access token; policies are asked again at each refresh. `grant_duration` is how
    long a client may refresh after a person has allowed it.
    """

    path: str = "/mcp"
    access_lifetime: timedelta = timedelta(minutes=15)
    grant_duration: timedelta = timedelta(hours=24)
    registration: Registration = Registration()
    client_documents: bool = True
    scopes: tuple[str, ...] = (SCOPE,)


def read_oauth_settings(document: Mapping[str, object], path: str = "/mcp") -> OAuthSettings:
    """Settings from an `oauth_configuration` document.

    Raises:
        ValueError: a field has the wrong type, or a duration is not one or too short.
    """
    dynamic = _object(document, "dynamic_client_registration")
    grant = _object(document, "grant")
    uris = dynamic.get("allowed_uris") or ()
    if not isinstance(uris, list | tuple) or not all(isinstance(uri, str) for uri in uris):
        raise ValueError("dynamic_client_registration.allowed_uris must be a list of URIs")
    default = OAuthSettings()
    lifetime = _duration(grant, "access_token_lifetime", default.access_lifetime)
    return OAuthSettings(
        path=path,
        access_lifetime=lifetime,
        grant_duration=max(lifetime, _duration(grant, "session_duration", default.grant_duration)),
        registration=Registration(
            enabled=_flag(dynamic, "enabled", True),
            any_on_localhost=_flag(dynamic, "allow_any_on_localhost", True),
            any_on_loopback=_flag(dynamic, "allow_any_on_loopback", True),
            allowed_uris=tuple(uris),
        ),
        client_documents=_flag(document, "client_id_metadata_documents", True),
    )


def _object(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = document.get(name) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be an object")
    return value


def _flag(document: Mapping[str, object], name: str, default: bool) -> bool:
    value = document.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value


def _duration(document: Mapping[str, object], name: str, default: timedelta) -> timedelta:
    text = document.get(name)
    if text is None:
        return default
    if not isinstance(text, str):
        raise ValueError(f"{name} must be a duration such as 24h")
    try:
        lasts = read_duration(text)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
    if lasts < timedelta(seconds=10):
        raise ValueError(f"{name} must be at least ten seconds")
    return lasts
