"""The connections to one server that show one credential: one that clients share, and those of single clients.

A credential is shown by its own connections only. A server may know a session by who opened it, so even a session is
never lent to a caller with another credential.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import structlog
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from portal.config import ServerConfig
from portal.shares import Full, Shares
from portal.turns import FairTurns
from portal.upstream import (
    NO_PROCESS_LOGS,
    ROOM,
    Connection,
    Credential,
    DownstreamClient,
    Generation,
    Introduction,
    Listing,
    NegotiationCache,
    ProcessLogs,
)

# Connections for single clients that one credential may have at a server, and of these those of one caller. Beyond it
# clients share one: a process costs more than an HTTP session. None is closed for another, as what a server keeps for a
# session would be lost, and nobody told.
MAX_DEDICATED = {"stdio": (16, 4), "http": (200, 50), "sse": (200, 50), "openapi": (200, 50)}
# How long calls may go on when their connections are given up, and how often it is looked whether they have ended.
DRAIN_SECONDS, _POLL_SECONDS = 60.0, 0.25


def connection_kind(
    config: ServerConfig, generation: Generation | None, client: DownstreamClient | None, protocol: str = ""
) -> Literal["shared", "dedicated", "legacy"]:
    """The kind of connection for a call by this client, which speaks `protocol`. "legacy" is a dedicated one too.

    A modern upstream receives the client's capabilities with each request, and a client that cannot answer questions
    needs no connection of its own: both share. A process is shared unless the configuration says otherwise. A server
    without a prefix looks to a legacy session like the legacy server itself, even if it speaks both generations.
    """
    if client is None or not client.key:
        return "shared"
    if not config.prefix and protocol in HANDSHAKE_PROTOCOL_VERSIONS:
        return "legacy"
    if generation != "legacy" or not client.interactive:
        return "shared"
    if config.sessions == "auto":
        return "shared" if config.transport_name == "stdio" else "dedicated"
    return "shared" if config.sessions == "shared" else "dedicated"


@dataclass(slots=True)
class _Dedicated:
    connection: Connection
    holder: str
    used: float


class Connections:
    """`shared` is the connection that clients share; `lists` is whether it reads the server's lists. `login` is what
    tells the login that they show from another one, "" without one.

    `negotiated` is what is known of the server's generation, and common to all who connect to it.
    """

    def __init__(
        self,
        config: ServerConfig,
        credential: Credential | None,
        introduction: Introduction,
        negotiated: NegotiationCache,
        *,
        login: str = "",
        lists: bool = True,
        listing: Listing | None = None,
        watched: Collection[str] = (),
        logs: ProcessLogs = NO_PROCESS_LOGS,
        on_change: Callable[[], None] = lambda: None,
        on_notification: Callable[[str, Mapping[str, object]], None] = lambda method, params: None,
    ) -> None:
        """`watched` are URIs of resources that are watched over `shared` as soon as it is connected."""
        self.credential = credential
        self.login = login
        self.lists = lists
        self.used = time.monotonic()
        self._config = config
        self._introduction = introduction
        self._logs = logs
        self._negotiated = negotiated
        self._on_notification = on_notification
        self._dedicated: dict[str, _Dedicated] = {}
        self._room = Shares(*MAX_DEDICATED[config.transport_name])
        self._turns = FairTurns(ROOM[config.transport_name])
        self._log = structlog.get_logger("portal.servers")
        self.shared = Connection(
            config,
            introduction=introduction,
            negotiated=negotiated,
            credential=credential,
            login=login,
            lists=lists,
            listing=listing,
            watched=watched,
            turns=self._turns,
            logs=logs,
            on_change=on_change,
            on_notification=on_notification,
        )

    def start(self) -> None:
        self.shared.start()

    async def aclose(self) -> None:
        """Close them for good; calls on them fail. Idempotent."""
        await close_all(self)
        # After the connections: they show it until they are closed.
        if self.credential is not None:
            await self.credential.aclose()

    def __iter__(self) -> Iterator[Connection]:
        yield self.shared
        for entry in tuple(self._dedicated.values()):
            yield entry.connection

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return any(connection.busy for connection in self)

    @property
    def in_use(self) -> bool:
        """Whether somebody waits for an answer, or for the change of a resource."""
        return self.busy or bool(self.shared.watched)

    def of(self, client: DownstreamClient | None, protocol: str, holder: str = "") -> Connection:
        """The connection for a call by `client`, which speaks `protocol` to the portal, in the part of `holder`."""
        self.used = time.monotonic()
        kind = connection_kind(self._config, self._negotiated.generation, client, protocol)
        if client is None or kind == "shared":
            return self.shared
        dedicated = self._dedicated.get(client.key)
        if dedicated is None:
            try:
                self._room.take(holder)
            except Full as full:
                self._log.warning(
                    "too many connections for single clients; sharing", server=self._config.id, reason=str(full)
                )
                return self.shared
            negotiated = replace(self._negotiated, generation="legacy") if kind == "legacy" else self._negotiated
            dedicated = self._dedicated[client.key] = _Dedicated(self._dedicate(client, negotiated), holder, self.used)
        dedicated.used = self.used
        return dedicated.connection

    def release(self, client_key: str) -> list[Connection]:
        """The connections of a client that has left, to be closed: they are no longer among these."""
        entry = self._dedicated.pop(client_key, None)
        if entry is None:
            return []
        self._room.give_back(entry.holder)
        return [entry.connection]

    def idle(self, oldest: float) -> list[Connection]:
        """The connections of single clients that were last used before `oldest`, as `release` returns them."""
        idle = [key for key, entry in self._dedicated.items() if entry.used < oldest and not entry.connection.busy]
        return [connection for key in idle for connection in self.release(key)]

    async def drain(self) -> None:
        """Let the calls under way end, for `DRAIN_SECONDS`, and close. Cancelling it closes them at once."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    while self.busy:
                        await asyncio.sleep(_POLL_SECONDS)
        finally:
            await self.aclose()

    def _dedicate(self, client: DownstreamClient, negotiated: NegotiationCache) -> Connection:
        """A connection that introduces itself upstream as this client."""
        connection = Connection(
            self._config,
            introduction=replace(
                self._introduction, info=client.info or self._introduction.info, capabilities=client.capabilities
            ),
            negotiated=negotiated,
            credential=self.credential,
            login=self.login,
            lists=False,
            turns=self._turns,
            logs=self._logs,
            on_notification=self._on_notification,
        )
        connection.start()
        return connection


async def close_all(connections: Iterable[Connection]) -> None:
    await asyncio.gather(*(connection.aclose() for connection in connections), return_exceptions=True)
