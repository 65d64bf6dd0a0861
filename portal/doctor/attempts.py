"""One attempt to connect to a server and to read its lists, within a time, and what came of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from portal.config import ServerConfig
from portal.upstream import NO_PROCESS_LOGS, PORTAL_INFO, Connection, Credential, Introduction, ProcessLogs

SLOW_SECONDS = 5.0
_ENDING_SECONDS = 4.5


@dataclass(frozen=True, slots=True)
class ConnectionAttempt:
    """`refused`: the server wants a login. `out_of_time`: nothing was known when the time was over."""

    ready: bool
    reason: str = ""
    status: int | None = None
    refused: bool = False
    out_of_time: bool = False
    seconds: float = 0.0
    offers: str = ""


async def attempt(
    server: ServerConfig,
    *,
    seconds: float,
    credential: Credential | None = None,
    logs: ProcessLogs = NO_PROCESS_LOGS,
) -> ConnectionAttempt:
    """Connect once. The connection is closed afterwards, and its program ended."""
    changed = asyncio.Event()
    limit = min(seconds, server.connect_timeout)
    connection = Connection(
        server.model_copy(update={"connect_timeout": limit}),
        introduction=Introduction(info=PORTAL_INFO),
        credential=credential,
        logs=logs,
        on_change=changed.set,
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    connection.start()
    try:
        with suppress(TimeoutError):
            # What the program wrote is known when it has been ended, which takes a moment.
            async with asyncio.timeout(limit + _ENDING_SECONDS):
                while connection.state == "waiting":
                    await changed.wait()
                    changed.clear()
        taken = loop.time() - began
        return ConnectionAttempt(
            ready=connection.state == "ready",
            reason=connection.reason or f"did not answer within {limit:g} s",
            status=connection.status,
            refused=connection.refused,
            out_of_time=connection.state == "waiting" or "did not answer within" in (connection.reason or ""),
            seconds=taken,
            offers=_offers(connection),
        )
    finally:
        await connection.aclose()


def _offers(connection: Connection) -> str:
    listing = connection.listing
    found = {"tool": len(listing.tools), "prompt": len(listing.prompts), "resource": len(listing.resources)}
    words = [f"{count} {what}{'' if count == 1 else 's'}" for what, count in found.items() if count]
    return ", ".join(words) or "nothing"
