"""What a served portal consists of, put together from a configuration and taken apart again in order."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from starlette.applications import Starlette

from codemode import HOW_TO_INSTALL_CHECKER, Checker, CodeTool
from portal.app import create_app
from portal.caller import Caller
from portal.cli.exits import CommandError
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
    """Isolates in worker processes, upstream servers, the record of calls, and the application over them.

    Raises `CommandError` when the configuration wants types checked and nothing here can check them.
    """
    checker = checker_for(config)
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
            code_tool = CodeTool(executor, checker=checker, type_check=config.portal.type_check)
            app = create_app(servers, caller, code_tool, config.portal)
            missing = dict(item for confinement in executor.confinement for item in confinement.missing.items())
            yield Assembly(app, servers, prepared_in, missing)


def checker_for(config: Config, environment: Mapping[str, str] = os.environ) -> Checker:
    """What checks programs before they run. A portal that promises to check never starts without being able to."""
    checker, wanted = Checker(environment), config.portal.type_check
    if wanted == "off" or checker.compiler is not None:
        return checker
    missing = f"portal.typeCheck is `{wanted}`, but no type checker is installed"
    if wanted == "enforce":
        raise CommandError(f"{missing}. Install one with: {HOW_TO_INSTALL_CHECKER}. Or set it to `warn`.")
    structlog.get_logger("codemode").warning("type_check_unavailable", reason=missing, fix=HOW_TO_INSTALL_CHECKER)
    return checker
