"""Login, authorization server and home page of one portal, and what all portals of an instance share of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Protocol
from urllib.parse import urlsplit

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from portal.access import Decision, Standing
from portal.app.definitions import PortalDefinition, host_url
from portal.approvals import Approvals
from portal.config import CodeModePolicy, IdentitySection, ServerConfig
from portal.console import CONSOLE_FORMS
from portal.credentials import forget_sign_ins, keep_sign_in
from portal.elicitation import FORMS as SERVER_FORMS
from portal.elicitation import Choices, Elicitations, Offered, PeoplesLogins, PeoplesServers, ServerRoutes
from portal.home import (
    APPROVAL_FORMS,
    RUN_FORMS,
    ApprovalPages,
    HomeRoutes,
    HomeSettings,
    PersonRunPages,
    UpstreamLogins,
    no_console,
)
from portal.http import Origins
from portal.identity import Identity
from portal.login import (
    Administrators,
    Attempts,
    Directory,
    Invitations,
    Login,
    LoginRoutes,
    LoginSessions,
    OneTimePin,
    Passwords,
    People,
    Pins,
    Provider,
)
from portal.logs import NO_EVENTS, EventSink
from portal.notices import Console, Mail, Smtp
from portal.oauth import (
    ENDPOINTS,
    FORMS,
    SERVERS_PATH,
    Assertions,
    Authentication,
    Authority,
    AuthorizationServer,
    Clients,
    Enrich,
    Fetch,
    Grants,
    HeldGrants,
    Logins,
    OAuthSettings,
    SaasProvider,
    ServiceTokens,
    SigningKeys,
    Strangers,
    Uses,
    Verifier,
    document_fetches,
    fetch_document,
    read_oauth_settings,
    with_endpoint,
)
from portal.pages import Pages, RulesInvalid, Visitors, read_defaults
from portal.runs import PersonRuns
from portal.shares import Shares
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
    login that ends anywhere ends for the programs and streams it started, attempts to sign in are counted together,
    passwords are computed and documents of clients fetched a few at a time."""

    store: Store
    service_tokens: ServiceTokens
    keys: SigningKeys
    logins: Logins
    attempts: Attempts
    strangers: Strangers
    passwords: Passwords
    now: Clock = utc_now
    fetches: Shares = field(default_factory=document_fetches)

    @classmethod
    def over(cls, store: Store, now: Clock = utc_now, passwords: Passwords | None = None) -> SharedIdentity:
        return cls(
            store,
            ServiceTokens(store, now),
            SigningKeys(store, now),
            Logins(store),
            Attempts(),
            Strangers(),
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
    administrators. `organization` are login settings, below those of the store."""

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
    organization: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, definition: PortalDefinition, section: IdentitySection, path: str) -> IdentitySettings:
        """
        Raises:
            ValueError: the OAuth configuration or the login settings cannot be used.
        """
        proxies = tuple(ip_network(proxy) for proxy in section.trusted_proxies)
        return cls(
            public_url=section.public_url,
            host_url=host_url(definition, section.public_url),
            hostname=definition.hostname,
            oauth=read_oauth_settings(section.oauth, path),
            proxies=proxies,
            providers=(OneTimePin(id="onetimepin", name="One-time PIN"),) if section.pin else (),
            mail=Smtp.of(section),
            enrich=ClientCertificates(list(proxies)) if section.client_certificates else None,
            name=definition.name,
            renameable=definition.renameable,
            contact=section.contact,
            organization=_login_settings(section),
        )


def _login_settings(section: IdentitySection) -> Mapping[str, object]:
    try:
        return read_defaults(section.organization)
    except RulesInvalid as error:
        raise ValueError(f"organization: {error}") from None


@dataclass(frozen=True, slots=True)
class PortalIdentity:
    """Routes and what the HTTP edge must let through for them. Close it before its store."""

    shared: SharedIdentity
    login: Login
    login_routes: LoginRoutes
    home: HomeRoutes
    uses: Uses
    elicitations: Elicitations
    server_routes: ServerRoutes
    administrators: Administrators
    server: AuthorizationServer
    assertions: Assertions
    routes: list[Route]
    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    verifier: Verifier
    mail: Mail | None
    """The mail server; None shows PINs on the console."""
    client_name: Callable[[str], Awaitable[str]]
    """What the OAuth client with this id calls itself, "" for nothing."""
    _authentication: dict[str, object] = field(repr=False)

    def routes_of(self, path: str, endpoint: ASGIApp) -> list[BaseRoute]:
        """The routes of a portal whose MCP endpoint is at this path. The endpoint wants a sign-in."""

        def authenticated(app: ASGIApp) -> ASGIApp:
            return Authentication(app, **self._authentication)  # type: ignore[arg-type]

        return with_endpoint(self.routes, path, endpoint, authenticated)

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
        await self.server_routes.aclose()
        await self.home.aclose()
        self.verifier.close()
        await self.uses.settled()


LOGIN_FORMS: tuple[str, ...] = (*FORMS, *SERVER_FORMS, *CONSOLE_FORMS, *RUN_FORMS, *APPROVAL_FORMS)
OAUTH_ENDPOINTS: tuple[str, ...] = ENDPOINTS


def _directory(store: Store, settings: IdentitySettings) -> Directory:
    return Directory(
        store,
        settings.providers,
        settings.hostname,
        settings.name,
        renameable=settings.renameable,
        defaults=settings.organization,
    )


def portal_identity(
    shared: SharedIdentity,
    settings: IdentitySettings,
    admission: AdmissionPolicy,
    *,
    scope: str = "",
    announce: Callable[[str], object],
    offered: Offered,
    choices: Choices,
    runs: Callable[[str], PersonRuns],
    approvals: Approvals,
    fetch: Fetch | None = None,
    code_mode: Callable[[], CodeModePolicy] = lambda: CodeModePolicy.OFF,
    find_server: Callable[[str], ServerConfig | None] = lambda id: None,
    events: EventSink = NO_EVENTS,
    console: Callable[[Identity], Awaitable[str]] = no_console,
) -> PortalIdentity:
    """The login of one portal. `scope`, its id, keeps its tokens apart from those of every other portal; `announce`
    writes to the operator's console; `offered` are the servers of a person, `choices` those they have turned off,
    `runs` those of a key; `fetch` gets documents that OAuth clients name. `code_mode` is what the owner has decided,
    `find_server` gives a server by its id, `console` the path of the console to those who may enter it.

    Raises:
        ValueError: the public URL is not an origin.
    """
    store, now, origins = shared.store.scoped(scope), shared.now, Origins(settings.public_url, settings.host_url)
    login = _login(shared, store, settings, origins, admission, events, scope)
    administrators = Administrators(store, shared.passwords, now)
    pins = Pins(store.tokens, settings.mail or Console(announce), now)
    login_routes = _login_routes(login, shared, store, administrators, pins, admission)
    clients = Clients(store, settings.oauth, fetch or fetch_document, shared.fetches)
    grants, uses = Grants(store, now, scope, events), Uses(store, now)
    servers = PeoplesServers(offered, PeoplesLogins(store, now), choices, scope)
    admit, endpoint, name = admission.admit, settings.oauth.path, partial(_client_name, clients)
    authority = Authority(
        store, settings.oauth, clients, grants, admit, uses, shared.strangers, now, servers.want_login
    )
    server = AuthorizationServer(authority, login, settings.name)
    elicitations, verifier = Elicitations(store.tokens, now), Verifier(store, now, uses=uses)
    server_routes = ServerRoutes(login, servers, elicitations, admit, server.waiting, find_server, endpoint)
    assertions = Assertions(shared.keys, origins.public_url, {})
    saas = SaasProvider(store, grants, shared.keys, login, admit)
    shown = HomeSettings(scope, settings.oauth, code_mode, SERVERS_PATH, console)
    held, upstream = HeldGrants(store, grants, uses, scope), UpstreamLogins(store, find_server)
    asked = ApprovalPages(login, approvals, scope, runs, now, name)
    home = HomeRoutes(login, held, upstream, servers, shown, PersonRunPages(login, runs, now), now, asked)
    rooms = (home, login_routes, server, server_routes, assertions, saas)
    routes = [route for room in rooms for route in room.routes()]
    public = [*filter(None, (origins.public_url, origins.host_url))]
    return PortalIdentity(
        shared,
        login,
        login_routes,
        home,
        uses,
        elicitations,
        server_routes,
        administrators,
        server,
        assertions,
        routes,
        tuple(urlsplit(url).netloc for url in public),
        tuple(public),
        verifier,
        settings.mail,
        name,
        {
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
            "events": events,
        },
    )


async def _client_name(clients: Clients, id: str) -> str:
    """What a client calls itself, "" for nothing. One with a document of its own is named by its address."""
    client = None if id.startswith("https://") else await clients.get(id)
    return client.name if client is not None else ""


def _login(
    shared: SharedIdentity,
    store: Store,
    settings: IdentitySettings,
    origins: Origins,
    admission: AdmissionPolicy,
    events: EventSink,
    scope: str,
) -> Login:
    visitors, directory = Visitors(origins, settings.proxies), _directory(store, settings)
    forget = partial(forget_sign_ins, store)
    sessions = LoginSessions(
        store.tokens,
        now=shared.now,
        ended=shared.logins.settled,
        forget=forget,
        note=People(store, shared.now).note,
        portal=scope,
    )
    return Login(visitors, sessions, directory, Pages(), admission.refused_for_identity, settings.contact, events)


def _login_routes(
    login: Login,
    shared: SharedIdentity,
    store: Store,
    administrators: Administrators,
    pins: Pins,
    admission: AdmissionPolicy,
) -> LoginRoutes:
    return LoginRoutes(
        login,
        store.tokens,
        administrators,
        Invitations(store, shared.passwords, shared.now),
        pins,
        shared.attempts,
        pin_allowed=admission.could_enter,
        keep=partial(keep_sign_in, store, shared.now),
        now=shared.now,
    )
