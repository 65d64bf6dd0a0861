"""Runs the stored servers next to the configured ones, and remembers what was seen of each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
import structlog
from pydantic import ValidationError

from portal.config import HttpServer, ServerConfig
from portal.servers.credentials import CredentialsInvalid, read_headers
from portal.servers.differences import Change, difference
from portal.servers.servers import Servers
from portal.servers.snapshot import ServerSnapshot, Snapshot
from portal.state import SecretUnreadable, StateUnavailable

if TYPE_CHECKING:
    from portal.state import Store, Stored

MAX_CHANGES = 20
RETRY_SECONDS = 1.0

KIND = "server"


@dataclass(slots=True)
class History:
    """What was seen of one stored server. `problem` is why it cannot even be configured."""

    last_synced: datetime | None = None
    last_successful_sync: datetime | None = None
    problem: str | None = None
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=MAX_CHANGES))


class StoredServers:
    """Keeps the registry in step with the store while it is open.

    `configured` are the servers of the operator's document. A stored server of the same id gives way to it.
    """

    def __init__(self, store: Store, servers: Servers, configured: Mapping[str, ServerConfig]) -> None:
        self._store = store
        self._servers = servers
        self._configured = configured
        self._histories: dict[str, History] = {}
        self._outdated = asyncio.Event()
        self._applying = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._ends = [store.subscribe(self._heard), servers.subscribe(self._replaced)]
        self._log = structlog.get_logger("portal.admin")

    async def __aenter__(self) -> StoredServers:
        await self._apply()
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for end in self._ends:
            end()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def configure(self, configured: Mapping[str, ServerConfig]) -> None:
        """The operator's document has changed.

        Raises:
            StateUnavailable: stored servers cannot be read; the change is taken up when they can.
        """
        self._configured = configured
        try:
            await self._apply()
        except StateUnavailable:
            self._outdated.set()
            raise

    def history(self, server_id: str) -> History | None:
        """What was seen of a stored server, or None if none of that id is stored."""
        return self._histories.get(server_id)

    def synced(self, server_id: str) -> None:
        """Note that the lists of a server were read just now."""
        if (server := self._servers.snapshot.servers.get(server_id)) is not None:
            self._saw(server)

    def _heard(self, kinds: frozenset[str]) -> None:
        if KIND in kinds:
            self._outdated.set()

    async def _follow(self) -> None:
        while True:
            await self._outdated.wait()
            self._outdated.clear()
            try:
                await self._apply()
            except StateUnavailable as error:
                self._log.error("stored servers cannot be read; those that run go on", reason=str(error))
                self._outdated.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _apply(self) -> None:
        async with self._applying:
            await self._apply_once()

    async def _apply_once(self) -> None:
        stored: dict[str, ServerConfig] = {}
        listed = await self._store.list(KIND)
        for one in listed:
            history = self._histories.setdefault(one.id, History())
            try:
                stored[one.id] = server_config(one, await self._store.secret(KIND, one.id))
                history.problem = None
            except (CredentialsInvalid, SecretUnreadable, ValidationError) as error:
                # Don't include pydantic's message: it can contain the credential.
                known = not isinstance(error, ValidationError)
                history.problem = str(error) if known else "what is stored of it cannot be used"
        for gone in set(self._histories) - {one.id for one in listed}:
            del self._histories[gone]
        await self._servers.apply({**stored, **self._configured})

    def _replaced(self, old: Snapshot, new: Snapshot) -> None:
        for id, server in new.servers.items():
            before = old.servers.get(id)
            if id not in self._histories or server is before:
                continue
            if before is None or (before.state, before.listing.digest) != (server.state, server.listing.digest):
                self._saw(server)
            if before is not None and before.listed and server.listed and before.config == server.config:
                self._compared(before, server)

    def _saw(self, server: ServerSnapshot) -> None:
        history = self._histories.get(server.id)
        if history is None or server.state == "waiting":
            return
        history.last_synced = datetime.now(UTC)
        if server.state == "ready":
            history.last_successful_sync = history.last_synced

    def _compared(self, before: ServerSnapshot, after: ServerSnapshot) -> None:
        if before.listing.digest == after.listing.digest:
            return
        tools = difference(before.tools, after.tools)
        prompts = difference(before.prompts, after.prompts)
        if tools or prompts:
            self._histories[after.id].changes.append(Change(at=datetime.now(UTC), tools=tools, prompts=prompts))
            self._log.info("a server offers something else", server=after.id, tools=tools.model_dump())


def server_config(stored: Stored, secret: bytes | None) -> HttpServer:
    """A stored server as the registry takes it. Only URLs: what comes through the API never names a program to start.

    Raises:
        CredentialsInvalid: its credentials cannot be headers.
        ValidationError: it is not one the registry takes.
    """
    document = stored.document
    opened: Mapping[str, str] = orjson.loads(secret) if secret else {}
    credentials = opened.get("auth_credentials")
    headers = read_headers(credentials) if document["auth_type"] == "bearer" and credentials else {}
    url = document["hostname"]
    last = urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]
    return HttpServer(
        id=stored.id,
        name=document["name"],
        description=document["description"],
        url=url,
        headers=headers,
        transport="sse" if last == "sse" else "http" if last == "mcp" else "auto",
        expanded=tuple(headers.values()),
        pin=document.get("pin", False),
    )
