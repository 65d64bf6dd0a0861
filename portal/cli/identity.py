"""The login of a served portal: its store, its policies and its authorization server, from configuration and store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import structlog

from portal.access import (
    ADDRESS,
    Access,
    LiveAccess,
    PolicyError,
    Possible,
    Sources,
    read_document,
    refused_for_who_it_is,
)
from portal.access.identity import Identity
from portal.access.policies import Decision
from portal.admin.decisions import KINDS, attached_at, attached_to, read_objects
from portal.caller import Gate, OpenGate
from portal.cli.beside import beside, beside_changes
from portal.cli.exits import CommandError
from portal.cli.signals import enrich_of, signals_of, with_sources
from portal.config import Config, HttpServer
from portal.config_identity import IdentitySection
from portal.gate import AccessGate
from portal.login import origin
from portal.login.administrators import IDP
from portal.login.blocks import APP
from portal.login.mail import Smtp
from portal.login.providers import OneTimePin
from portal.login.sessions import utc_now
from portal.oauth.admission import Admit
from portal.oauth.assertions import AssertionGate, Assertions
from portal.oauth.build import IdentitySettings, PortalIdentity, build
from portal.oauth.logins import LoginSignals, end_departed
from portal.oauth.settings import read_oauth_settings
from portal.servers import Servers
from portal.state import KeyRing, StateError, Store, Stored
from portal.state.clock import Clock

LOGIN_OVER = Decision("deny", "Your login no longer holds. Sign in again.", "login")
PURGE_SECONDS = 3600.0
DECIDING = frozenset({*KINDS, "identity_provider", "service_token"})
ADMINISTRATORS_ONLY: Mapping[str, Any] = {
    "id": "administrators",
    "name": "Administrators of this portal",
    "decision": "allow",
    "include": [{"login_method": {"id": IDP}}],
}
EVERYONE: Mapping[str, Any] = {
    "id": "whoever-may-use-the-portal",
    "name": "Whoever may use the portal",
    "decision": "bypass",
    "include": [{"everyone": {}}],
}


@dataclass(frozen=True, slots=True)
class Identified:
    """What a portal with identity has beside one without. `decide_anew` is for a configuration that changed."""

    identity: PortalIdentity
    access: LiveAccess
    decide_anew: Callable[[Config], None]
    store: Store
    admit: Admit

    def gate(self, servers: Servers) -> Gate:
        return AccessGate(self.access, servers, AssertionGate(OpenGate(), self.identity.assertions))


@asynccontextmanager
async def identified(
    config: Config, announce: Callable[[str], object], *, now: Clock = utc_now
) -> AsyncIterator[Identified]:
    """Login and policies of this configuration, until the block ends.

    Raises:
        CommandError: the store, its keys, or what is configured cannot be used.
    """
    section = config.portal.identity
    assert section is not None
    try:
        async with open_store(config.portal.state, now) as store:
            settings = identity_settings(config, section)
            live = LiveAccess(await compiled(config, store))
            note_warnings(live.current)

            async def admit(identity: Identity, path: str) -> Decision:
                if path.startswith(APP):
                    return await admitted_to(path.removeprefix(APP), identity, config, store, live)
                await live.prepare(identity)
                standing = live.standing(identity)
                return LOGIN_OVER if standing is None else standing.portal

            async def for_who_it_is(identity: Identity, place: str) -> bool:
                try:
                    of_app = place.startswith(APP) and await compiled(config, store, app=place.removeprefix(APP))
                    access = of_app or live.current
                except PolicyError:
                    return identity.logged_in
                return refused_for_who_it_is(access, live.signals.current(identity) or identity)

            possible = [Possible(live.current, ADDRESS)]

            async def pin_allowed(identity: Identity) -> bool:
                if possible[0].access is not live.current:
                    possible[0] = Possible(live.current, ADDRESS)
                return await could_enter(identity, possible[0], store)

            identity = build(
                store,
                settings,
                admit=admit,
                announce=announce,
                enrich=enrich_of(section),
                pin_allowed=pin_allowed,
                refused_for_who_it_is=for_who_it_is,
                now=now,
            )

            async def sign(claims: Mapping[str, Any]) -> str:
                return await identity.keys.sign({"iss": identity.assertions.issuer, **claims})

            identity.assertions.audiences = audiences(config, await store.list("server"))
            identity.logins.on_change(live.changed)
            try:
                async with (
                    signals_of(section, sign, live.changed, store, now) as known,
                    forgetting_expired(store),
                    deciding_anew(config, store, live, identity.assertions) as decide_anew,
                ):
                    live.signals = LoginSignals(identity.logins, known)
                    yield Identified(identity, live, decide_anew, store, admit)
            finally:
                await identity.aclose()
    except StateError as error:
        raise CommandError(str(error)) from error
    except (PolicyError, ValueError) as error:
        raise CommandError(f"portal.identity: {error}") from error


def open_store(url: str | None, now: Clock = utc_now) -> Store:
    """The store of this URL; by default an SQLite file of this user. Its keys lie beside the file."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "codemode-portal"
    if url is None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        url = f"sqlite:///{home / 'state.db'}"
    file = url.partition(":///")[2] if url.startswith("sqlite") else ""
    keys = Path(file).with_suffix(".key") if file else home / "state.key"
    return Store.open(url, KeyRing.open(keys), clock=now)


def identity_settings(config: Config, section: IdentitySection) -> IdentitySettings:
    smtp = section.smtp
    return IdentitySettings(
        public_url=section.public_url,
        oauth=read_oauth_settings(section.oauth, config.portal.path),
        proxies=tuple(ip_network(proxy) for proxy in section.trusted_proxies),
        providers=(OneTimePin(id="onetimepin", name="One-time PIN"),) if section.pin else (),
        mail=Smtp(**smtp.model_dump()) if smtp is not None else None,
        name=config.portal.name,
    )


def hostname_of(config: Config) -> str:
    """By which a stored portal is this one."""
    section = config.portal.identity
    return origin.hostname_of(section.public_url if section is not None else "")


def audiences(config: Config, stored: Iterable[Stored]) -> dict[str, str]:
    """The servers that want to be told who calls. A configured one stands before a stored one of the same id."""
    asked = {one.id: str(one.document.get("assertion_audience", "")) for one in stored}
    for server in config.servers.values():
        asked[server.id] = server.assertion_audience if isinstance(server, HttpServer) else ""
    return {server: audience for server, audience in asked.items() if audience}


async def admitted_to(app: str, identity: Identity, config: Config, store: Store, live: LiveAccess) -> Decision:
    """What the policies of an application say that signs people in by itself. Asked seldom, so compiled each time."""
    try:
        access = await compiled(config, store, app=app)
    except PolicyError as error:
        structlog.get_logger("portal.access").error("an application's policies cannot be used", reason=str(error))
        return Decision("deny", "The policies of this application cannot be used.")
    await live.signals.prepare(identity, access)
    known = live.signals.current(identity)
    return LOGIN_OVER if known is None else access.portal(known)


async def could_enter(identity: Identity, possible: Possible, store: Store) -> bool:
    """Whether a login could lead anywhere: to the portal, or to an application that signs people in by itself."""
    if possible.allows(identity):
        return True
    for app in await store.list("app"):
        if app.document.get("type") != "saas":
            continue
        try:
            attached = read_document({"portal": {"policies": app.document.get("policies", ())}}).portal.policies
            if possible.allows(identity, attached):
                return True
        except PolicyError:
            return True
    return False


async def compiled(config: Config, store: Store, app: str = "") -> Access:
    """What the configuration and the store say, ready to decide: at the portal, or at this application in its place.

    Raises:
        PolicyError: it cannot be compiled.
    """
    section = config.portal.identity
    assert section is not None
    objects = await read_objects(store)
    reusable = {
        kind: [*written, *({**one.document, "id": one.id} for one in stored)]
        for kind, written, stored in (
            ("policies", (), objects.policies),
            ("groups", section.groups, objects.groups),
            ("lists", section.lists, objects.lists),
        )
    }
    # What the admin API attached to the portal of this hostname and to servers holds beside the configuration.
    attached = attached_at(objects, hostname_of(config))
    providers = {one.id: str(one.document.get("type", "")) for one in await store.list("identity_provider")}
    providers |= {IDP: IDP} | ({"onetimepin": "onetimepin"} if section.pin else {})
    sources = Sources(
        identity_providers=providers,
        service_tokens=frozenset(one.id for one in await store.list("service_token")),
        linked_apps=frozenset(audiences(config, objects.servers)),
    )
    configured = [
        {
            **attached.of_servers.get(server, {"id": server}),
            # A configured server nobody attached a policy to is for whoever may use the portal.
            "policies": [*section.server_policies.get(server, ()), *attached_to(objects, server)] or [EVERYONE],
        }
        for server in config.servers
    ]
    stored = [document for id, document in attached.of_servers.items() if id not in config.servers]
    policies = [*section.policies, *attached.policies] or [ADMINISTRATORS_ONLY]
    if app:
        policies = [entry for one in objects.apps if one.id == app for entry in one.document.get("policies", [])]
    document = {
        "portal": {
            "name": config.portal.name,
            "policies": policies,
            "tool_policies": section.tool_policies,
            "servers": attached.servers,
        },
        "servers": [*configured, *stored],
        **reusable,
    }
    return Access(read_document(document), with_sources(section, sources))


def note_warnings(access: Access) -> None:
    """Say what was configured and has no effect, or not the one that was meant."""
    log = structlog.get_logger("portal.access")
    for warning in access.warnings:
        log.warning("policy_warning", warning=warning)


@asynccontextmanager
async def forgetting_expired(store: Store) -> AsyncIterator[None]:
    """Delete tokens that have expired or whose account is gone, now and every hour: each login leaves some."""
    log = structlog.get_logger("portal.state")

    async def follow() -> None:
        while True:
            try:
                await store.tokens.purge(utc_now())
                await end_departed(store)
            except StateError as error:
                log.error("expired tokens could not be deleted", reason=str(error))
            await asyncio.sleep(PURGE_SECONDS)

    async with beside(follow()):
        yield


@asynccontextmanager
async def deciding_anew(
    config: Config, store: Store, live: LiveAccess, assertions: Assertions
) -> AsyncIterator[Callable[[Config], None]]:
    """Compile again whenever the configuration or the store says something new; what cannot be compiled is refused.
    Which servers are told who calls is taken up as well."""
    log, latest = structlog.get_logger("portal.access"), [config]

    async def follow(changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            try:
                assertions.audiences = audiences(latest[0], await store.list("server"))
                live.replace(await compiled(latest[0], store))
                note_warnings(live.current)
            except (PolicyError, StateError) as error:
                log.error("changed policies are not taken up; the former ones hold", reason=str(error))

    async with beside_changes(store, DECIDING, follow) as changed:

        def configured(document: Config) -> None:
            latest[0] = document
            changed.set()

        yield configured
