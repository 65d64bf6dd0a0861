"""The admin API of a served portal with a store: its route, and stored servers that run beside the configured ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.routing import BaseRoute

from portal.admin import RunningServers, create_admin
from portal.config import Config
from portal.servers import Servers
from portal.state import Store


@dataclass(frozen=True, slots=True)
class Administered:
    route: BaseRoute
    upstreams: RunningServers


@asynccontextmanager
async def administered(store: Store, servers: Servers, config: Config) -> AsyncIterator[Administered]:
    """Stored servers run until the block ends."""
    async with RunningServers(store, servers, config.servers) as upstreams:
        admin = await create_admin(store, upstreams)
        yield Administered(admin.route(), upstreams)
