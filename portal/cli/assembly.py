"""What a served portal consists of, put together from a configuration and taken apart again in order."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette

from codemode import CodeTool
from portal.app import create_app
from portal.caller import Caller
from portal.cli.session import limits_of
from portal.config import Config
from portal.learning import Learning
from portal.records import RecordLog, RecordSink
from portal.servers import Servers
from sandbox import WorkerExecutor


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


@asynccontextmanager
async def assemble(config: Config, sink: RecordSink) -> AsyncIterator[Assembly]:
    """Isolates in worker processes, upstream servers, the record of calls, and the application over them."""
    started = time.perf_counter()
    # The first start on a machine compiles the guest here; later ones take it from the cache.
    async with WorkerExecutor(limits_of(config)) as executor:
        prepared_in = time.perf_counter() - started
        async with (
            RecordLog(sink) as records,
            Learning(config.portal.learned_shapes) as learning,
            Servers(config.servers, outputs=learning.shapes) as servers,
        ):
            learning.publish_to(servers.offer_anew)
            caller = Caller(servers, records, observer=learning)
            app = create_app(servers, caller, CodeTool(executor), config.portal)
            missing = dict(item for confinement in executor.confinement for item in confinement.missing.items())
            yield Assembly(app, servers, prepared_in, missing)
