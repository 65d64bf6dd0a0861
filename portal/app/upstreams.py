"""The upstream servers of a configuration, running, with the record of their calls and the types learned of them.

For an instance, and for the commands that call servers without one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from portal.app.pins import place_of
from portal.app.store import process_logs_folder
from portal.config import Config
from portal.credentials import ServerCredentials
from portal.errors import StartError
from portal.learning import Learning
from portal.logs import RecordLog, RecordSink
from portal.pins import Pinning, PinsUnusable
from portal.servers import Servers
from portal.upstream import ProcessLogs

if TYPE_CHECKING:
    from portal.logs import CallLog
    from portal.state import Store


@dataclass(frozen=True, slots=True)
class OpenServers:
    servers: Servers
    credentials: ServerCredentials
    records: RecordLog
    learning: Learning


@asynccontextmanager
async def open_upstreams(
    config: Config,
    sink: RecordSink,
    store: Store | None = None,
    log: CallLog | None = None,
    *,
    learning: Learning | None = None,
    pins: Pinning | None = None,
    instance: str = "",
) -> AsyncIterator[OpenServers]:
    """The servers, connecting, until the block ends. What is approved of pinned servers is in `store` if there is one.
    Rows of calls go to `log` too.
    `learning` and `pins`, if given, are open and stay so. `instance` is the mark of the instance, "" for a command.

    Raises:
        StartError: what was approved, or what was learned, cannot be read.
    """
    async with AsyncExitStack() as stack:
        records = await stack.enter_async_context(RecordLog(sink, log))
        if learning is None:
            people = config.portal.identity is not None
            learning = await stack.enter_async_context(Learning(config.portal.learned_shapes, people=people))
        if pins is None and (place := place_of(config, store)) is not None:
            try:
                pins = await stack.enter_async_context(Pinning(place))
            except PinsUnusable as error:
                raise StartError(str(error)) from error
        credentials = await stack.enter_async_context(
            ServerCredentials(store, people=config.portal.identity is not None)
        )
        logs = await stack.enter_async_context(ProcessLogs(process_logs_folder(config)))
        servers = await stack.enter_async_context(
            Servers(
                config.servers,
                outputs=learning.shapes,
                pins=pins,
                credentials=credentials,
                logs=logs,
                instance=instance,
            )
        )
        learning.publish_to(servers.republish)
        yield OpenServers(servers, credentials, records, learning)
