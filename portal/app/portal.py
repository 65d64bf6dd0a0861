"""What a served portal consists of, put together from a configuration and taken apart again in order."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from codemode import CodeTool
from portal.app.asgi import create_app
from portal.app.code import checker_for, limits_of
from portal.app.pins import pinning_of
from portal.calls import Caller
from portal.config import Config
from portal.learning import Learning
from portal.logs import RecordLog, RecordSink
from portal.servers import Servers
from sandbox import WorkerExecutor

if TYPE_CHECKING:
    from portal.app.access import Identified
    from portal.app.admin import Administered


@dataclass(frozen=True, slots=True)
class Assembly:
    """A portal ready to listen; its servers are connecting.

    `prepared_in` is how long the isolates took, in seconds; `unconfined` the measures that do
    not hold the workers on this machine, each with the reason.
    """

    app: Starlette
    servers: Servers
    prepared_in: float
    unconfined: Mapping[str, str]
    identified: Identified | None = None
    administered: Administered | None = None

    async def apply(self, document: Config) -> None:
        """Take up the servers and policies of a configuration that changed."""
        if self.administered is not None:
            await self.administered.stored.configure(document.servers)
        else:
            await self.servers.apply(document.servers)
        if self.identified is not None:
            self.identified.decide_anew(document)


@asynccontextmanager
async def assemble(
    config: Config, sink: RecordSink, announce: Callable[[str], object] = print
) -> AsyncIterator[Assembly]:
    """Isolates in worker processes, upstream servers, the record of calls, and the application over them.

    `announce` shows the operator a message meant for nobody else. Raises `StartError` when the configuration wants
    types checked and nothing here can check them, or an identity that cannot be had.
    """
    checker = checker_for(config)
    started = time.perf_counter()
    # The first start on a machine compiles the guest here; later ones take it from the cache.
    async with WorkerExecutor(limits_of(config)) as executor:
        prepared_in = time.perf_counter() - started
        async with (
            RecordLog(sink) as records,
            Learning(config.portal.learned_shapes) as learning,
            pinning_of(config, stored=True) as pins,
            Servers(config.servers, outputs=learning.shapes, pins=pins) as servers,
            identity_of(config, announce) as found,
            administration_of(found, servers, config) as admin,
        ):
            learning.publish_to(servers.offer_anew)
            gate = found.gate(servers) if found is not None else None
            caller = Caller(servers, records, gate=gate, observer=learning)
            code_tool = CodeTool(executor, checker=checker, type_check=config.portal.type_check)
            identity, access = (found.identity, found.access) if found is not None else (None, None)
            app = create_app(servers, caller, code_tool, config.portal, identity=identity, access=access)
            if admin is not None:
                app.router.routes.append(admin.route)
            missing = dict(item for confinement in executor.confinement for item in confinement.missing.items())
            async with code_mode_of(found, config, app):
                yield Assembly(app, servers, prepared_in, missing, found, admin)


@asynccontextmanager
async def identity_of(config: Config, announce: Callable[[str], object]) -> AsyncIterator[Identified | None]:
    """Login and policies where identity is configured. A portal without starts without a database."""
    if config.portal.identity is None:
        yield None
        return
    from portal.app.access import identified

    async with identified(config, announce) as found:
        yield found


@asynccontextmanager
async def administration_of(
    found: Identified | None, servers: Servers, config: Config
) -> AsyncIterator[Administered | None]:
    """The admin API where there is a store, which is where identity is configured."""
    if found is None:
        yield None
        return
    from portal.app.admin import administered

    async with administered(found.store, servers, config) as admin:
        yield admin


@asynccontextmanager
async def code_mode_of(found: Identified | None, config: Config, app: Starlette) -> AsyncIterator[None]:
    """What a stored portal says of code mode holds, where there is a store."""
    if found is None:
        yield
        return
    from portal.app.admin import code_mode_followed

    async with code_mode_followed(found.store, config, app.state.decide_code_mode):
        yield
