"""The login of a served portal: its store, its policies and its authorization server, from configuration and store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import structlog

from portal.access import (
    ADDRESS,
    Decision,
    LiveAccess,
    PolicyError,
    Possible,
    refused_for_who_it_is,
)
from portal.app.oauth import IdentitySettings, PortalIdentity, build
from portal.app.policies import LOGIN_OVER, admitted_to, audiences, compiled, could_enter, deciding_anew, note_warnings
from portal.app.signals import enrich_of, signals_of
from portal.app.store import open_store
from portal.calls import AccessGate, AssertionGate, Gate, OpenGate
from portal.config import Config, IdentitySection
from portal.errors import StartError
from portal.identity import Identity
from portal.login import OneTimePin, Smtp
from portal.oauth import Admit, LoginSignals, end_departed, read_oauth_settings
from portal.pages import APP
from portal.servers import Servers
from portal.state import Clock, StateError, Store, beside, utc_now

PURGE_SECONDS = 3600.0


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
        StartError: the store, its keys, or what is configured cannot be used.
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
        raise StartError(str(error)) from error
    except (PolicyError, ValueError) as error:
        raise StartError(f"portal.identity: {error}") from error


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
