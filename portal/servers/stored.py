"""Runs the servers in the store together with those of the operator's document, and keeps a history of each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import structlog

from portal.config import HttpServer, OpenApiServer, ServerConfig, UpstreamOAuth
from portal.credentials import CredentialsInvalid, open_secret, read_headers, read_scheme_values, stored_oauth
from portal.objects import SERVER, ServerDocument, unpacked
from portal.servers.listing_changes import (
    MAX_CHANGES,
    SERVER_CHANGES,
    ChangesDocument,
    Definitions,
    KeptChange,
    ListingChange,
    definitions_of,
    described,
    listing_change,
    with_change,
)
from portal.servers.servers import Servers
from portal.servers.snapshot import ServerSnapshot, Snapshot
from portal.state import DocumentBroken, Follower, SecretUnreadable, StateUnavailable, background

if TYPE_CHECKING:
    from portal.state import Store, Stored

KEEP_SECONDS = 2.0
NOTED_BY = "what the server lists"
"""Who the audit trail names for a change of a server's lists."""
# Shorter parameters of a request for a token are words such as "consent".
MIN_SECRET = 16


Fault = Literal["", "document", "credentials", "left_out"]
"""Why a stored server cannot be configured: its document or its credentials cannot be used, or it may not be served."""


@dataclass(slots=True)
class History:
    """The last readings of a stored server's lists, and their last `MAX_CHANGES` changes, also of before a restart.

    `last_synced` is the time of the last attempt, `last_successful_sync` that of the last one that worked. `problem`
    is the reason the server cannot be configured, or None, and `fault` what about it is the problem.
    """

    last_synced: datetime | None = None
    last_successful_sync: datetime | None = None
    problem: str | None = None
    fault: Fault = ""
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
        # Changes that have no details yet, or are not in the database yet, in their order.
        self._noted: asyncio.Queue[_Noted] = asyncio.Queue()
        self._unkept: dict[str, list[ListingChange]] = {}
        self._kept: dict[str, tuple[KeptChange, ...]] = {}
        self._histories: dict[str, History] = {}
        # The follower and `configure` may both read; the one that read first must not apply last.
        self._applying = asyncio.Lock()
        self._exits = AsyncExitStack()
        self._log = structlog.get_logger("portal.admin")

    async def __aenter__(self) -> StoredServers:
        async with AsyncExitStack() as exits:
            exits.callback(self._servers.subscribe(self._replaced))
            scan = await self._store.scan(SERVER_CHANGES)
            self._kept = {one.id: one.document.changes for one in scan.stored}
            await exits.enter_async_context(background(self._describe_and_keep()))
            # Follow before the first reading, so that a change during it is read too.
            self._follower = Follower(self._store, {SERVER.name}, self._apply, self._not_read)
            exits.push_async_callback(self._follower.aclose)
            await self._apply()
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A change that was noted a moment ago is kept before the end.
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_SECONDS):
                await self.described()
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

    async def described(self) -> None:
        """Return when the changes that were noted until now have their details, and are kept if the store answers."""
        await self._noted.join()

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
                    history = self._histories[id]
                    history.problem, history.fault = f"the server is left out: {why}", "left_out"
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
            history = self._history_of(broken.id)
            history.problem, history.fault = "the stored server cannot be read", "document"
        for stored in found.stored:
            history = self._history_of(stored.id)
            try:
                configs[stored.id] = server_config(stored, await self._store.secret(SERVER, stored.id))
                history.problem, history.fault = None, ""
            except (SecretUnreadable, ValueError) as error:
                # Don't include pydantic's message: it can contain the credential.
                quotable = isinstance(error, CredentialsInvalid | SecretUnreadable)
                problem = str(error) if quotable else "the stored server cannot be used"
                if history.problem != problem:
                    self._log.warning("a server is left out", server=stored.id, reason=problem)
                history.problem, history.fault = problem, "credentials" if quotable else "document"
        for removed in set(self._histories) - {one.id for one in found.stored} - {one.id for one in found.broken}:
            del self._histories[removed]
            self._kept.pop(removed, None)
            self._unkept.pop(removed, None)
        for waiting in self._unkept:
            self._noted.put_nowait(_Noted(waiting))
        return configs

    def _history_of(self, id: str) -> History:
        """The history of a server; a new one has the changes that are kept of it."""
        history = self._histories.get(id)
        if history is None:
            history = self._histories[id] = History()
            history.changes.extend(self._kept.get(id, ()))
        return history

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
        old = definitions_of(before.tools, before.prompts, before.pending)
        new = definitions_of(after.tools, after.prompts, after.pending)
        change = listing_change(old, new, datetime.now(UTC))
        if change is not None:
            self._histories[after.id].changes.append(change)
            self._noted.put_nowait(_Noted(after.id, change, old, new))
            tools = change.tools.model_dump()
            self._log.info("the tools or prompts of a server changed", server=after.id, tools=tools)

    async def _describe_and_keep(self) -> None:
        """Give each change its details, and keep it. What the store does not take is kept with the next
        change, or the next reading of the stored servers."""
        while True:
            noted = await self._noted.get()
            try:
                if noted.change is not None:
                    change = await asyncio.to_thread(described, noted.change, noted.before, noted.after)
                    history = self._histories.get(noted.server)
                    if history is not None and noted.change in history.changes:
                        history.changes[history.changes.index(noted.change)] = change
                    self._unkept.setdefault(noted.server, []).append(change)
                await self._keep(noted.server)
            except StateUnavailable as error:
                self._log.debug("a change of a server is not kept yet", server=noted.server, reason=str(error))
            except Exception:
                # The edge of a background task: one change that cannot be kept must not stop the next ones.
                self._unkept.pop(noted.server, None)
                self._log.exception("a change of a server is not kept", server=noted.server)
            finally:
                self._noted.task_done()

    async def _keep(self, id: str) -> None:
        """
        Raises:
            StateUnavailable: nothing was stored.
        """
        changes = self._unkept.get(id, [])
        if not changes:
            return
        async with self._store.transaction() as transaction:
            if await transaction.find(SERVER, id) is not None:
                try:
                    found = await transaction.get(SERVER_CHANGES, id)
                    is_new, before = found is None, found.document.changes if found is not None else ()
                except DocumentBroken:
                    is_new, before = False, ()
                kept = before
                for change in changes:
                    kept = with_change(kept, change)
                if is_new:
                    await transaction.create(SERVER_CHANGES, id, ChangesDocument(changes=kept), by=NOTED_BY)
                elif kept != before:
                    await transaction.replace(SERVER_CHANGES, id, ChangesDocument(changes=kept), by=NOTED_BY)
        self._unkept.pop(id, None)


@dataclass(frozen=True, slots=True)
class _Noted:
    """A change to be described and kept; without one, what is not kept yet."""

    server: str
    change: ListingChange | None = None
    before: Definitions = field(default_factory=dict)
    after: Definitions = field(default_factory=dict)


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
    if document.is_api:
        return _api_config(stored, credentials or "", headers, oauth)
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


def _api_config(
    stored: Stored[ServerDocument], credentials: str, headers: Mapping[str, str], oauth: UpstreamOAuth | None
) -> OpenApiServer:
    document = stored.document
    values = read_scheme_values(credentials) if document.auth_type == "bearer" else {}
    parameters = oauth.parameters.values() if oauth is not None else ()
    return OpenApiServer(
        id=stored.id,
        name=document.name,
        description=document.description,
        url=document.hostname,
        openapi=document.openapi_url or "",
        text=unpacked(document.openapi_packed) if document.openapi_packed and not document.openapi_url else "",
        headers=headers,
        credentials=values,
        expanded=(*headers.values(), *(value for value in parameters if len(value) >= MIN_SECRET)),
        oauth=oauth,
        pin=document.pin,
        secure_web_gateway=document.secure_web_gateway,
    )
