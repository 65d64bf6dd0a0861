"""Runs the servers in the store together with those of the operator's document, and keeps a history of each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from pydantic import ValidationError

from portal.config import HttpServer, ServerConfig
from portal.credentials import CredentialsInvalid, open_secret, read_headers, stored_oauth
from portal.objects import SERVER, ServerDocument
from portal.servers.listing_changes import ListingChange, name_changes
from portal.servers.servers import Servers
from portal.servers.snapshot import ServerSnapshot, Snapshot
from portal.state import Follower, SecretUnreadable, StateUnavailable

if TYPE_CHECKING:
    from portal.state import Store, Stored

MAX_CHANGES = 20
# Shorter parameters of a request for a token are words such as "consent".
MIN_SECRET = 16


@dataclass(slots=True)
class History:
    """The last readings of a stored server's lists, and their last `MAX_CHANGES` changes.

    `last_synced` is the time of the last attempt, `last_successful_sync` that of the last one that worked. `problem`
    is the reason the server cannot be configured, or None.
    """

    last_synced: datetime | None = None
    last_successful_sync: datetime | None = None
    problem: str | None = None
    changes: deque[ListingChange] = field(default_factory=lambda: deque(maxlen=MAX_CHANGES))


class StoredServers:
    """Keeps the registry in step with the store, from entering to leaving.

    `configured` are the servers of the operator's document. They take precedence over stored servers of the same id.
    `unfit` says why a server must not be served, configured or stored, or "" if it may: one line in the log names it,
    and a stored one has this `problem`.

    Entering raises:
        StateUnavailable: the stored servers cannot be read.
    """

    def __init__(
        self,
        store: Store,
        servers: Servers,
        configured: Mapping[str, ServerConfig],
        unfit: Callable[[ServerConfig, bool], str] = lambda server, is_stored: "",
    ) -> None:
        self._store = store
        self._servers = servers
        self._configured = configured
        self._unfit = unfit
        self._omissions: dict[str, str] = {}
        self._histories: dict[str, History] = {}
        # The follower and `configure` may both read; the one that read first must not apply last.
        self._applying = asyncio.Lock()
        self._exits = AsyncExitStack()
        self._log = structlog.get_logger("portal.admin")

    async def __aenter__(self) -> StoredServers:
        async with AsyncExitStack() as exits:
            exits.callback(self._servers.subscribe(self._replaced))
            # Follow before the first reading, so that a change during it is read too.
            self._follower = Follower(self._store, {SERVER.name}, self._apply, self._not_read)
            exits.push_async_callback(self._follower.aclose)
            await self._apply()
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def configure(self, configured: Mapping[str, ServerConfig]) -> None:
        """Apply a change of the operator's document.

        Raises:
            StateUnavailable: the stored servers cannot be read. The change applies as soon as they can.
        """
        self._configured = configured
        try:
            await self._apply()
        except StateUnavailable:
            self._follower.again()
            raise

    def again(self) -> None:
        """Read the stored servers again soon: what makes a server unfit has changed."""
        self._follower.again()

    def history(self, server_id: str) -> History | None:
        """The history of a stored server, or None if no server of that id is stored."""
        return self._histories.get(server_id)

    def synced(self, server_id: str) -> None:
        """Record that the lists of a server were just read."""
        if (server := self._servers.snapshot.servers.get(server_id)) is not None:
            self._note_sync(server)

    def _not_read(self, error: StateUnavailable) -> None:
        self._log.debug("stored servers cannot be read; those that run go on", reason=str(error))

    async def _apply(self) -> None:
        async with self._applying:
            stored = await self._read()
            wanted = {**stored, **self._configured}
            omissions = {
                id: why for id, server in wanted.items() if (why := self._unfit(server, id not in self._configured))
            }
            for id, why in omissions.items():
                if id not in self._configured:
                    self._histories[id].problem = f"the server is left out: {why}"
                if self._omissions.get(id) != why:
                    self._log.warning("a server is left out", server=id, reason=why)
            self._omissions = omissions
            await self._servers.apply({id: server for id, server in wanted.items() if id not in omissions})

    async def _read(self) -> dict[str, ServerConfig]:
        """The configurations of the stored servers. A server that cannot be configured gets a `problem` in its history
        instead.
        """
        configs: dict[str, ServerConfig] = {}
        found = await self._store.scan(SERVER)
        for broken in found.broken:
            self._histories.setdefault(broken.id, History()).problem = "the stored server cannot be read"
        for stored in found.stored:
            history = self._histories.setdefault(stored.id, History())
            try:
                configs[stored.id] = server_config(stored, await self._store.secret(SERVER, stored.id))
                history.problem = None
            except (CredentialsInvalid, SecretUnreadable, ValidationError) as error:
                # Don't include pydantic's message: it can contain the credential.
                quotable = not isinstance(error, ValidationError)
                problem = str(error) if quotable else "the stored server cannot be used"
                if history.problem != problem:
                    self._log.warning("a server is left out", server=stored.id, reason=problem)
                history.problem = problem
        for removed in set(self._histories) - {one.id for one in found.stored} - {one.id for one in found.broken}:
            del self._histories[removed]
        return configs

    def _replaced(self, old: Snapshot, new: Snapshot) -> None:
        for id, server in new.servers.items():
            before = old.servers.get(id)
            if id not in self._histories or server is before:
                continue
            if before is None or (before.state, before.listing.digest) != (server.state, server.listing.digest):
                self._note_sync(server)
            if before is not None and before.listed and server.listed and before.config == server.config:
                self._note_changes(before, server)

    def _note_sync(self, server: ServerSnapshot) -> None:
        history = self._histories.get(server.id)
        if history is None or server.state == "waiting":
            return
        history.last_synced = datetime.now(UTC)
        if server.state == "ready":
            history.last_successful_sync = history.last_synced

    def _note_changes(self, before: ServerSnapshot, after: ServerSnapshot) -> None:
        if before.listing.digest == after.listing.digest:
            return
        tools = name_changes(before.tools, after.tools)
        prompts = name_changes(before.prompts, after.prompts)
        if tools or prompts:
            self._histories[after.id].changes.append(ListingChange(at=datetime.now(UTC), tools=tools, prompts=prompts))
            self._log.info("the tools or prompts of a server changed", server=after.id, tools=tools.model_dump())


def server_config(stored: Stored[ServerDocument], secret: bytes | None) -> HttpServer:
    """The configuration of a stored server. It always has a URL: the API cannot make the portal start a program.

    Raises:
        CredentialsInvalid: its credentials cannot be headers, or say of its OAuth what cannot be.
        ValidationError: the document is not a server's.
    """
    document, opened = stored.document, open_secret(secret)
    credentials = opened.get("auth_credentials")
    oauth = stored_oauth(opened) if document.auth_type == "oauth" else None
    # Parameters of a request may be secrets, as those of the document that come out of the environment.
    parameters = oauth.parameters.values() if oauth is not None else ()
    headers = read_headers(credentials) if document.auth_type == "bearer" and credentials else {}
    last = urlsplit(document.hostname).path.rstrip("/").rsplit("/", 1)[-1]
    return HttpServer(
        id=stored.id,
        name=document.name,
        description=document.description,
        url=document.hostname,
        headers=headers,
        transport="sse" if last == "sse" else "http" if last == "mcp" else "auto",
        expanded=(*headers.values(), *(value for value in parameters if len(value) >= MIN_SECRET)),
        oauth=oauth,
        pin=document.pin,
        secure_web_gateway=document.secure_web_gateway,
    )
