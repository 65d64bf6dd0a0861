"""The identity providers of a portal: documents of Cloudflare's API, read into values. Pure.

`{"id", "name", "type", "config": {...}}` with the types `onetimepin`, `oidc`, `github`, and any other with a config for
OpenID Connect (`azureAD`, `okta`, `google`, ...). The client secret is stored next to the document, not in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from urllib.parse import urlsplit

from portal.egress import AddressRule
from portal.http import is_loopback
from portal.objects import ProviderDocument

SCOPES = ("openid", "email", "profile")
PIN, GITHUB = "onetimepin", "github"
GOOGLE_ISSUER = "https://accounts.google.com"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ProviderInvalid(ValueError):
    """A provider's document cannot be used; the text says which field and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimePin:
    """PINs by e-mail."""

    id: str
    name: str
    type: str = PIN


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcProvider:
    """An OpenID Connect provider. The discovery document of its `issuer` names the endpoints that are not configured.

    `groups_claim` names the claim with the groups, `email_claim` the one with the e-mail address. With `keep_tokens`
    its tokens are kept after a sign-in, for servers that are asked with them.
    """

    id: str
    name: str
    type: str
    client_id: str
    client_secret: str = field(repr=False)
    issuer: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    jwks_uri: str = ""
    scopes: tuple[str, ...] = SCOPES
    groups_claim: str = "groups"
    email_claim: str = "email"
    claims: tuple[str, ...] = ()
    prompt: str = ""
    keep_tokens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthProvider:
    """Plain OAuth 2.0 with an API that describes the person, as at GitHub."""

    id: str
    name: str
    client_id: str
    client_secret: str = field(repr=False)
    type: str = GITHUB
    authorization_endpoint: str = "https://github.com/login/oauth/authorize"
    token_endpoint: str = "https://github.com/login/oauth/access_token"
    api: str = "https://api.github.com"
    scopes: tuple[str, ...] = ("read:user", "user:email", "read:org")


Provider: TypeAlias = OneTimePin | OidcProvider | OAuthProvider


def read_provider(id: str, document: ProviderDocument, secret: str = "") -> Provider:
    """The provider that a document describes.

    Raises:
        ProviderInvalid: the document cannot be used.
    """
    if not _ID.fullmatch(id):
        raise ProviderInvalid("id must be letters, digits, - and _, at most 64")
    kind = document.type
    name = (document.name or kind)[:100]
    if kind == PIN:
        return OneTimePin(id=id, name=name)
    config = document.config
    client_id = _text(config, "client_id", required=True)
    if kind == GITHUB:
        public = OAuthProvider(id=id, name=name, client_id=client_id, client_secret=secret)
        return replace(
            public,
            authorization_endpoint=_url(config, "auth_url") or public.authorization_endpoint,
            token_endpoint=_url(config, "token_url") or public.token_endpoint,
            api=_url(config, "api_url").rstrip("/") or public.api,
        )
    if not kind:
        raise ProviderInvalid("type is missing")
    issuer = _issuer(kind, config)
    provider = OidcProvider(
        id=id,
        name=name,
        type=kind,
        client_id=client_id,
        client_secret=secret,
        issuer=issuer,
        authorization_endpoint=_url(config, "auth_url"),
        token_endpoint=_url(config, "token_url"),
        jwks_uri=_url(config, "certs_url"),
        scopes=_scopes(config.get("scopes")),
        groups_claim=_text(config, "groups_claim") or "groups",
        email_claim=_text(config, "email_claim_name") or "email",
        claims=_claims(config.get("claims")),
        prompt=_text(config, "prompt"),
        keep_tokens=_flag(config, "keep_tokens"),
    )
    if not issuer and not (provider.authorization_endpoint and provider.token_endpoint and provider.jwks_uri):
        raise ProviderInvalid("config needs issuer, or auth_url, token_url and certs_url")
    return provider


def places(document: ProviderDocument) -> tuple[str, ...]:
    """The URLs that a provider's client secret is sent to and that vouch for its people.

    Raises:
        ProviderInvalid: the document describes no provider.
    """
    provider = read_provider("any", document)
    if isinstance(provider, OidcProvider):
        return provider.issuer, provider.authorization_endpoint, provider.token_endpoint, provider.jwks_uri
    if isinstance(provider, OAuthProvider):
        return provider.authorization_endpoint, provider.token_endpoint, provider.api
    return ()


def checked_url(value: str, name: str) -> str:
    """An https URL, or http on loopback.

    Raises:
        ProviderInvalid: it is neither. Secrets, tokens and browsers are sent there.
    """
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.username is not None or parts.fragment or not value.isprintable():
        raise ProviderInvalid(f"{name} must be an https:// URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ProviderInvalid(f"{name} must be an https:// URL")
    if not AddressRule.NOT_LINK_LOCAL.allows_host(host):
        raise ProviderInvalid(f"{name} is at an address no provider may have")
    return value


def _issuer(kind: str, config: Mapping[str, object]) -> str:
    if issuer := _url(config, "issuer"):
        return issuer
    if kind.startswith("google"):
        return GOOGLE_ISSUER
    if kind == "azureAD" and (directory := _text(config, "directory_id")):
        return f"https://login.microsoftonline.com/{directory}/v2.0"
    if kind == "okta" and (account := _url(config, "okta_account")):
        server = _text(config, "authorization_server_id")
        return f"{account.rstrip('/')}/oauth2/{server}" if server else account.rstrip("/")
    return ""


def _scopes(value: object) -> tuple[str, ...]:
    scopes = [str(scope) for scope in value] if isinstance(value, Sequence) and not isinstance(value, str) else []
    if not scopes:
        return SCOPES
    return tuple(scopes if "openid" in scopes else ["openid", *scopes])


def _claims(value: object) -> tuple[str, ...]:
    if not isinstance(value or (), list | tuple):
        raise ProviderInvalid("config.claims must be a list of names")
    return tuple(str(claim) for claim in (value if isinstance(value, list | tuple) else ()))[:50]


def _url(config: Mapping[str, object], name: str) -> str:
    value = _text(config, name)
    return checked_url(value, f"config.{name}") if value else ""


def _flag(config: Mapping[str, object], name: str) -> bool:
    value = config.get(name) or False
    if not isinstance(value, bool):
        raise ProviderInvalid(f"config.{name} must be true or false")
    return value


def _text(config: Mapping[str, object], name: str, *, required: bool = False) -> str:
    value = config.get(name) or ""
    if not isinstance(value, str) or len(value) > 2048:
        raise ProviderInvalid(f"config.{name} must be text")
    if required and not value:
        raise ProviderInvalid(f"config.{name} is missing")
    return value
