"""Stored servers made to run beside the configured ones, and how they stand, for the API to show."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from urllib.parse import urlsplit

import orjson
import structlog
from pydantic import ValidationError

from portal.admin.credentials import read_headers
from portal.admin.differences import difference
from portal.admin.errors import AdminError
from portal.admin.servers import KIND
from portal.admin.upstreams import Change, ErrorDetails, Observed
from portal.config import HttpServer, ServerConfig
from portal.pins.judging import Withheld
from portal.servers import Servers
from portal.snapshot import ServerSnapshot, Snapshot
from portal.state import SecretUnreadable, StateUnavailable, Store, Stored

MAX_CHANGES = 20
SYNC_SECONDS = 60.0
RETRY_SECONDS = 1.0

_HTTP_STATUS = re.compile(r"\bHTTP (?:status )?([45]\d\d)\b|\banswered ([45]\d\d)\b")


@dataclass(slots=True)
class _History:
    """What was seen of one server. `troubled` is why it cannot even be configured."""

    last_synced: datetime | None = None
    last_successful_sync: datetime | None = None
    troubled: str | None = None
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=MAX_CHANGES))


class RunningServers:
    """Keeps a registry in step with the store while it is open; implements `Upstreams`.

    `configured` are the servers of the operator's document: a stored one of the same id gives way to it.
    """

    def __init__(self, store: Store, servers: Servers, configured: Mapping[str, ServerConfig]) -> None:
        self._store = store
        self._servers = servers
        self._configured = configured
        self._histories: dict[str, _History] = {}
        self._outdated = asyncio.Event()
        self._applying = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._ends = [store.subscribe(self._heard), servers.subscribe(self._replaced)]
        self._log = structlog.get_logger("portal.admin")

    async def __aenter__(self) -> RunningServers:
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

    def observed(self, server_id: str) -> Observed:
        history = self._histories.get(server_id) or _History()
        kept = Observed(
            last_synced=history.last_synced,
            last_successful_sync=history.last_successful_sync,
            capability_changes=tuple(history.changes),
        )
        if history.troubled is not None:
            details = ErrorDetails(cause=history.troubled, is_upstream=False, retryable=False)
            return kept.model_copy(update={"status": "error", "error": history.troubled, "error_details": details})
        server = self._servers.snapshot.servers.get(server_id)
        if server is None:
            return kept
        return kept.model_copy(
            update={
                "status": server.state,
                "error": server.reason if server.state in ("error", "stale") else None,
                "error_details": _details(server),
                "tools": server.tools,
                "prompts": server.prompts,
                "waiting_approvals": len(server.withheld),
            }
        )

    async def sync(self, server_id: str) -> Observed:
        if server_id in self._servers.snapshot.servers:
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._servers.refresh(server_id)
            if (server := self._servers.snapshot.servers.get(server_id)) is not None:
                self._saw(server)
        return self.observed(server_id)

    def withheld(self, server_id: str) -> tuple[Withheld, ...]:
        server = self._servers.snapshot.servers.get(server_id)
        return server.withheld if server is not None and server_id in self._histories else ()

    async def approve(self, server_id: str, withheld: Iterable[Withheld], *, by: str) -> None:
        await self._servers.approve(server_id, withheld, by=by)

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
            history = self._histories.setdefault(one.id, _History())
            try:
                stored[one.id] = server_config(one, await self._store.secret(KIND, one.id))
                history.troubled = None
            except (AdminError, SecretUnreadable, ValidationError) as error:
                # Of a pydantic error not a word: it may quote a credential.
                known = not isinstance(error, ValidationError)
                history.troubled = str(error) if known else "what is stored of it cannot be used"
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
        AdminError: its credentials cannot be headers.
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


def _details(server: ServerSnapshot) -> ErrorDetails | None:
    if server.state not in ("error", "stale") or not server.reason:
        return None
    found = _HTTP_STATUS.search(server.reason)
    status = int(found[1] or found[2]) if found else None
    return ErrorDetails(
        cause=server.reason,
        is_upstream=status is not None,
        retryable=status is None or status >= 500 or status in (408, 429),
        status_code=status,
    )
