"""Login and authorization server of one portal, put together from its store and settings: what an application mounts.

identity = build(store, settings, admit=admit, announce=print)
app = Starlette(routes=[..., *identity.routes], middleware=[..., identity.middleware()])
HttpSettings(forms=identity.forms, allowed_hosts=[*hosts, *identity.hosts], allowed_origins=[...])
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.routing import Route

from portal.egress import PublicWeb
from portal.http import Origins, hostname_of
from portal.identity import Identity
from portal.login import Administrators, Console, Directory, Login, Mail, Passwords, Pins, Provider, Sessions
from portal.oauth import (
    FORMS,
    Admit,
    Assertions,
    Authentication,
    Authority,
    AuthorizationServer,
    Clients,
    Enrich,
    Fetch,
    Grants,
    Logins,
    OAuthSettings,
    SaasProvider,
    ServiceTokens,
    SigningKeys,
    Verifier,
)
from portal.pages import Pages, Visitors
from portal.state import Store, utc_now


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """`public_url` is the portal's https origin; "" answers on loopback only. `proxies` are those whose
    `X-Forwarded-For` is believed. `providers` are identity providers beside those in the store. Without `mail`, PINs
    are shown on the console. `audiences` are those of the upstream servers that want to be told who calls."""

    public_url: str = ""
    oauth: OAuthSettings = OAuthSettings()
    proxies: Sequence[IPv4Network | IPv6Network] = ()
    providers: Sequence[Provider] = ()
    mail: Mail | None = None
    audiences: Mapping[str, str] = field(default_factory=dict)
    name: str = "codemode-portal"


@dataclass(frozen=True, slots=True)
class PortalIdentity:
    """Routes, middleware and what the edge must let through for them. Close it before its store."""

    login: Login
    server: AuthorizationServer
    service_tokens: ServiceTokens
    logins: Logins
    keys: SigningKeys
    assertions: Assertions
    routes: list[Route]
    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    _verifier: Verifier
    _guarding: dict[str, object] = field(repr=False)

    @property
    def forms(self) -> tuple[str, ...]:
        return FORMS

    def middleware(self) -> Middleware:
        return Middleware(Authentication, **self._guarding)  # type: ignore[arg-type]

    async def claim_path(self) -> str | None:
        """The path of the one-time link that makes the first administrator; None when there is one."""
        token = await self.login.administrators.offer_claim()
        return f"/login/claim?token={token}" if token else None

    async def aclose(self) -> None:
        await self.login.aclose()
        await self.logins.aclose()
        self._verifier.close()
        self.keys.close()
        self.service_tokens.close()


def build(
    store: Store,
    settings: IdentitySettings,
    *,
    admit: Admit,
    announce: Callable[[str], object],
    enrich: Enrich | None = None,
    pin_allowed: Callable[[Identity], Awaitable[bool]] | None = None,
    refused_for_who_it_is: Callable[[Identity, str], Awaitable[bool]] | None = None,
    fetch: Fetch | None = None,
    passwords: Passwords | None = None,
    now: Callable[[], datetime] = utc_now,
) -> PortalIdentity:
    """
    `admit` asks the policies; `announce` writes to the operator's console; `fetch` gets client documents.
    `pin_allowed` is whether who signs in by a PIN could be let in at all, `refused_for_who_it_is` whether somebody was
    not let into a place for who they are, which decides what they are shown.

    Raises:
        ValueError: the public URL is not one.
    """
    origins = Origins(settings.public_url)
    visitors = Visitors(origins, settings.proxies)
    login = Login(
        store.tokens,
        Directory(store, settings.providers, hostname_of(origins.public_url)),
        Administrators(store, passwords or Passwords(), now),
        Sessions(store.tokens, now=now),
        Pins(store.tokens, settings.mail or Console(announce), now),
        visitors,
        Pages(),
        endpoint=settings.oauth.path,
        pin_allowed=pin_allowed,
        refused_for_who_it_is=refused_for_who_it_is,
        now=now,
    )
    clients = Clients(store, settings.oauth, fetch or PublicWeb().fetch)
    grants = Grants(store, now)
    authority = Authority(store, settings.oauth, clients, grants, admit, now)
    server = AuthorizationServer(authority, login, settings.name)
    verifier, service_tokens, logins = Verifier(store, now), ServiceTokens(store, now), Logins(store)
    keys = SigningKeys(store, now)
    assertions = Assertions(keys, origins.public_url, settings.audiences)
    saas = SaasProvider(store, grants, keys, login, admit)
    guarding: dict[str, object] = {
        "settings": settings.oauth,
        "origins": origins,
        "verifier": verifier,
        "service_tokens": service_tokens,
        "logins": logins,
        "admit": admit,
        "proxies": settings.proxies,
        "enrich": enrich,
        "linked": assertions.linked,
        "login": login,
    }
    public = origins.public_url
    return PortalIdentity(
        login,
        server,
        service_tokens,
        logins,
        keys,
        assertions,
        [*login.routes(), *server.routes(), *assertions.routes(), *saas.routes()],
        (urlsplit(public).netloc,) if public else (),
        (public,) if public else (),
        verifier,
        guarding,
    )
