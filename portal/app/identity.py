"""Login and authorization server of one portal, and what all portals of an instance share of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Protocol
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.routing import Route

from portal.access import Decision, Standing
from portal.app.definitions import PortalDefinition, host_url
from portal.config import IdentitySection
from portal.credentials import forget_sign_ins, keep_sign_in
from portal.http import Origins
from portal.identity import Identity
from portal.login import (
    Administrators,
    Attempts,
    Console,
    Directory,
    Invitations,
    Login,
    LoginRoutes,
    LoginSessions,
    Mail,
    OneTimePin,
    Passwords,
    Pins,
    Provider,
    Smtp,
)
from portal.oauth import (
    ENDPOINTS,
    FORMS,
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
    fetch_document,
    read_oauth_settings,
)
from portal.pages import Pages, Visitors
from portal.signals import ClientCertificates
from portal.state import Clock, Store, utc_now


class AdmissionPolicy(Protocol):
    """Whether somebody may come in, by the policies that hold now. A place is the path of an MCP endpoint, or `app:`
    and the id of an application."""

    async def admit(self, identity: Identity, place: str) -> Decision:
        """May this identity use this place?"""

    async def decide(self, identity: Identity) -> Standing | None:
        """All that the portal's policies say of somebody, or None where the login has ended."""

    async def refused_for_identity(self, identity: Identity, place: str) -> bool:
        """Whether it is who somebody is that keeps them out, and not where or with what they come."""

    async def could_enter(self, identity: Identity) -> bool:
        """Whether a login as this identity could lead anywhere."""


@dataclass(frozen=True, slots=True)
class SharedIdentity:
    """What belongs to the instance: every portal recognises the same service tokens and signs with the same keys, a
    login that ends anywhere ends for the programs and streams it started, attempts to sign in are counted together, and
    passwords are computed a few at a time."""

    store: Store
    service_tokens: ServiceTokens
    keys: SigningKeys
    logins: Logins
    attempts: Attempts
    passwords: Passwords
    now: Clock = utc_now

    @classmethod
    def over(cls, store: Store, now: Clock = utc_now, passwords: Passwords | None = None) -> SharedIdentity:
        return cls(
            store,
            ServiceTokens(store, now),
            SigningKeys(store, now),
            Logins(store),
            Attempts(),
            passwords or Passwords(),
            now,
        )

    async def aclose(self) -> None:
        await self.logins.aclose()
        self.keys.close()
        self.service_tokens.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """`public_url` is the instance's https origin; "" answers on loopback only. `host_url` is that of the portal's own
    host name, "" without one, and `hostname` the name that applications are attached by. `proxies` are those whose
    `X-Forwarded-For` is believed. `providers` are identity providers in addition to those in the store. Without
    `mail`, PINs are shown on the console. `name` is what pages, mails and clients call the portal; with `renameable`
    the stored login settings may call it something else. `contact` is whom the refused may ask, "" for the
    administrators."""

    public_url: str = ""
    host_url: str = ""
    hostname: str = "localhost"
    oauth: OAuthSettings = OAuthSettings()
    proxies: Sequence[IPv4Network | IPv6Network] = ()
    providers: Sequence[Provider] = ()
    mail: Mail | None = None
    enrich: Enrich | None = None
    name: str = "codemode-portal"
    renameable: bool = True
    contact: str = ""

    @classmethod
    def of(cls, definition: PortalDefinition, section: IdentitySection, path: str) -> IdentitySettings:
        """
        Raises:
            ValueError: the OAuth configuration cannot be used.
        """
        smtp = section.smtp
        proxies = tuple(ip_network(proxy) for proxy in section.trusted_proxies)
        return cls(
            public_url=section.public_url,
            host_url=host_url(definition, section.public_url),
            hostname=definition.hostname,
            oauth=read_oauth_settings(section.oauth, path),
            proxies=proxies,
            providers=(OneTimePin(id="onetimepin", name="One-time PIN"),) if section.pin else (),
            mail=Smtp(**smtp.model_dump()) if smtp is not None else None,
            enrich=ClientCertificates(list(proxies)) if section.client_certificates else None,
            name=definition.name,
            renameable=definition.renameable,
            contact=section.contact,
        )


@dataclass(frozen=True, slots=True)
class PortalIdentity:
    """Routes, middleware and what the HTTP edge must let through for them. Close it before its store."""

    shared: SharedIdentity
    login: Login
    login_routes: LoginRoutes
    administrators: Administrators
    server: AuthorizationServer
    assertions: Assertions
    routes: list[Route]
    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    verifier: Verifier
    mail: Mail | None
    """The mail server; None shows PINs on the console."""
    _authentication: dict[str, object] = field(repr=False)

    def middleware(self) -> Middleware:
        return Middleware(Authentication, **self._authentication)  # type: ignore[arg-type]

    async def called(self) -> str:
        """What pages and mails call the portal now."""
        return (await self.login.directory.rules()).design.name

    async def claim_path(self) -> str | None:
        """The path, below the portal's prefix, of the one-time link that makes the first administrator; None if there
        is one."""
        token = await self.administrators.offer_claim()
        return f"/login/claim?token={token}" if token else None

    async def aclose(self) -> None:
        await self.login_routes.aclose()
        self.verifier.close()


LOGIN_FORMS: tuple[str, ...] = FORMS
OAUTH_ENDPOINTS: tuple[str, ...] = ENDPOINTS


def portal_identity(
    shared: SharedIdentity,
    settings: IdentitySettings,
    admission: AdmissionPolicy,
    *,
    scope: str = "",
    announce: Callable[[str], object],
    fetch: Fetch | None = None,
) -> PortalIdentity:
    """The login of one portal. `scope` keeps its tokens apart from those of every other portal; `announce` writes to
    the operator's console; `fetch` gets the documents that OAuth clients name.

    Raises:
        ValueError: the public URL is not an origin.
    """
    store, now = shared.store.scoped(scope), shared.now
    origins = Origins(settings.public_url, settings.host_url)
    visitors = Visitors(origins, settings.proxies)
    directory = Directory(store, settings.providers, settings.hostname, settings.name, renameable=settings.renameable)
    forget = partial(forget_sign_ins, store)
    sessions = LoginSessions(store.tokens, now=now, ended=shared.logins.settled, forget=forget)
    login = Login(visitors, sessions, directory, Pages(), admission.refused_for_identity, settings.contact)
    administrators = Administrators(store, shared.passwords, now)
    login_routes = LoginRoutes(
        login,
        store.tokens,
        administrators,
        Invitations(store, shared.passwords, now),
        Pins(store.tokens, settings.mail or Console(announce), now),
        shared.attempts,
        endpoint=settings.oauth.path,
        pin_allowed=admission.could_enter,
        keep=partial(keep_sign_in, store, now),
        now=now,
    )
    clients = Clients(store, settings.oauth, fetch or fetch_document)
    grants = Grants(store, now)
    authority = Authority(store, settings.oauth, clients, grants, admission.admit, now)
    server = AuthorizationServer(authority, login, settings.name)
    verifier = Verifier(store, now)
    assertions = Assertions(shared.keys, origins.public_url, {})
    saas = SaasProvider(store, grants, shared.keys, login, admission.admit)
    authentication: dict[str, object] = {
        "settings": settings.oauth,
        "origins": origins,
        "verifier": verifier,
        "service_tokens": shared.service_tokens,
        "logins": shared.logins,
        "decide": admission.decide,
        "proxies": settings.proxies,
        "enrich": settings.enrich,
        "linked": assertions.linked,
        "login": login,
    }
    public = [url for url in (origins.public_url, origins.host_url) if url]
    return PortalIdentity(
        shared,
        login,
        login_routes,
        administrators,
        server,
        assertions,
        [*login_routes.routes(), *server.routes(), *assertions.routes(), *saas.routes()],
        tuple(urlsplit(url).netloc for url in public),
        tuple(public),
        verifier,
        settings.mail,
        authentication,
    )
