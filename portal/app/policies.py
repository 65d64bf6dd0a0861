"""What the configuration and the store say of access, compiled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog

from portal.access import (
    KINDS,
    Access,
    Decision,
    LiveAccess,
    PolicyError,
    Possible,
    Sources,
    attached_at,
    attached_to,
    read_document,
    read_objects,
)
from portal.app.signals import with_sources
from portal.config import Config, HttpServer
from portal.http import hostname_of as hostname_in
from portal.identity import Identity
from portal.login import IDP
from portal.oauth import Assertions
from portal.state import StateError, Store, Stored, beside_changes

LOGIN_OVER = Decision("deny", "Your login no longer holds. Sign in again.", "login")


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


def hostname_of(config: Config) -> str:
    """By which a stored portal is this one."""
    section = config.portal.identity
    return hostname_in(section.public_url if section is not None else "")


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
