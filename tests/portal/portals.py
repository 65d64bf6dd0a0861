"""Portals for tests: a real HTTP server on a port of its own over real upstreams, and real SDK clients for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from mcp import Client

from codemode import CodeTool
from portal.app.asgi import create_app, running
from portal.calls.caller import Caller
from portal.calls.gate import Gate
from portal.config.config import PortalSettings, parse_config
from portal.learning.learning import Learning
from portal.logs.records import CallRecord
from portal.pins import Pinning
from portal.servers.servers import Servers
from tests.portal.upstreams.hosting import Hosted

LEGACY, MODERN = "legacy", "2026-07-28"
GENERATIONS = (LEGACY, MODERN)


@dataclass
class Kept:
    """Call records, kept."""

    records: list[CallRecord] = field(default_factory=list)

    def write(self, record: CallRecord) -> None:
        self.records.append(record)


@dataclass
class Portal:
    """A running portal. `url` is its base URL, `mcp` its MCP endpoint."""

    url: str
    servers: Servers
    kept: Kept
    caller: Caller

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    @property
    def code(self) -> str:
        return f"{self.mcp}?codemode=search_and_execute"


@asynccontextmanager
async def portal_over(
    entries: Mapping[str, Hosted | Mapping[str, Any]],
    *,
    code_tool: CodeTool | None = None,
    gate: Gate | None = None,
    learning: Learning | None = None,
    pins: Pinning | None = None,
    **settings: Any,
) -> AsyncIterator[Portal]:
    """A portal over these upstreams, in order; it has settled. `settings` are those of the `portal` section."""
    document: dict[str, Any] = {
        "mcpServers": {
            name: {"url": entry.url} if isinstance(entry, Hosted) else dict(entry) for name, entry in entries.items()
        }
    }
    if pins is not None:
        document["portal"] = {"pinned": "pinned.json"}
    config = parse_config(document)
    kept = Kept()
    learning = learning or Learning()
    kept_pins = pins if pins is not None else nullcontext()
    async with learning, kept_pins, Servers(config.servers, outputs=learning.shapes, pins=pins) as servers:
        learning.publish_to(servers.offer_anew)
        await servers.settled()
        caller = Caller(servers, kept, gate=gate, observer=learning)
        app = create_app(servers, caller, code_tool, PortalSettings(**settings))
        async with running(app) as url:
            yield Portal(url, servers, kept, caller)


class Heard:
    """What a client was told: progress, logs, messages, questions. `until` waits for something of a kind."""

    def __init__(self, answer: Any = None) -> None:
        self.items: list[tuple[str, Any]] = []
        self._changed = asyncio.Condition()
        self._answer = answer

    async def note(self, kind: str, what: Any) -> None:
        async with self._changed:
            self.items.append((kind, what))
            self._changed.notify_all()

    def of(self, kind: str) -> list[Any]:
        return [what for noted, what in self.items if noted == kind]

    async def until(self, kind: str, count: int = 1) -> list[Any]:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        await self.note("progress", (progress, total, message))

    async def log(self, params: Any) -> None:
        await self.note("log", params)

    async def message(self, message: Any) -> None:
        await self.note(getattr(message, "method", type(message).__name__), message)

    async def elicit(self, context: Any, params: Any) -> Any:
        await self.note("question", params)
        return self._answer


@asynccontextmanager
async def client_of(url: str, mode: str, **options: Any) -> AsyncIterator[Client]:
    """An SDK client of one generation. Caching is off: a test sees what the portal says."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(Client(url, mode=mode, cache=None, **options))
