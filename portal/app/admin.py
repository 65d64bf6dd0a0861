"""The admin API of a served portal with a store: its route, and stored servers that run beside the configured ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network

import structlog
from starlette.routing import BaseRoute

from portal.admin import Admin, RegistryUpstreams, create_admin
from portal.app.policies import hostname_of
from portal.config import Config
from portal.endpoint import CodeModePolicy
from portal.servers import Servers, StoredServers
from portal.state import Clock, StateError, Store, beside_changes, utc_now


@dataclass(frozen=True, slots=True)
class Administered:
    admin: Admin
    route: BaseRoute
    stored: StoredServers


@asynccontextmanager
async def administered(
    store: Store, servers: Servers, config: Config, *, now: Clock = utc_now
) -> AsyncIterator[Administered]:
    """Stored servers run until the block ends."""
    section = config.portal.identity
    posture = section.posture if section is not None else None
    async with StoredServers(store, servers, config.servers) as stored:
        integrations = posture.integrations if posture is not None else None
        proxies = [ip_network(proxy) for proxy in section.trusted_proxies] if section is not None else []
        admin = await create_admin(
            store, RegistryUpstreams(servers, stored), clock=now, proxies=proxies, integrations=integrations
        )
        yield Administered(admin, admin.route(), stored)


@asynccontextmanager
async def code_mode_followed(
    store: Store, config: Config, decide: Callable[[CodeModePolicy], None]
) -> AsyncIterator[None]:
    """While the block lasts, what the stored portal of this hostname says of code mode holds; without one, what the
    configuration says."""

    async def follow(changed: asyncio.Event) -> None:
        while True:
            try:
                decide(await stored_code_mode(store, config))
            except StateError as error:
                structlog.get_logger("portal.admin").error("the stored portal cannot be read", reason=str(error))
            await changed.wait()
            changed.clear()

    async with beside_changes(store, {"portal"}, follow):
        yield


async def stored_code_mode(store: Store, config: Config) -> CodeModePolicy:
    hostname = hostname_of(config)
    for portal in await store.list("portal"):
        if portal.document["hostname"] == hostname:
            return CodeModePolicy(portal.document["code_mode"])
    return CodeModePolicy(config.portal.code_mode)
