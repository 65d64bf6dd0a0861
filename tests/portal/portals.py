"""Portals for tests: a real HTTP server on a port of its own over real upstreams, and real SDK clients for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from mcp import Client

from codemode import CodeTool
from portal.app import Instance, Parts, serving
from portal.calls import Caller, Gate
from portal.config import parse_config
from portal.gateway import Detecting
from portal.learning import Learning
from portal.logs import Discard, LogRow
from portal.pins import Pinning
from portal.servers import Servers
from tests.patience import PATIENCE
from tests.portal.upstreams.hosting import Hosted

LEGACY, MODERN = "legacy", "2026-07-28"
GENERATIONS = (LEGACY, MODERN)


@dataclass
class Kept:
    """Rows of the log, kept: `records` those of calls, `runs` those of programs."""

    records: list[LogRow] = field(default_factory=list)
    runs: list[LogRow] = field(default_factory=list)

    def write(self, row: LogRow, holder: str = "") -> None:
        (self.runs if row.kind == "run" else self.records).append(row)

    def has_room(self, holder: str = "") -> bool:
        return True

    async def room(self, holder: str = "") -> None:
        return None

    @property
    def last(self) -> LogRow:
        return self.records[-1]


@dataclass
class KeptEvents:
    """Rows of what is no call, kept."""

    rows: list[LogRow] = field(default_factory=list)

    def write(self, row: LogRow) -> None:
        self.rows.append(row)

    @property
    def said(self) -> list[tuple[str, str, str, str]]:
        """The kind, method, name and outcome of each."""
        return [(row.kind, row.method, row.name, row.outcome) for row in self.rows]


@dataclass
class Portal:
    """A running portal. `url` is its base URL, `mcp` its MCP endpoint."""

    url: str
    servers: Servers
    kept: Kept
    caller: Caller
    instance: Instance

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
    events: KeptEvents | None = None,
    detector: Detecting | None = None,
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
    document["portal"] = {**document.get("portal", {}), **settings}
    kept = Kept()
    parts = Parts(
        code=code_tool, records=kept, events=events, gate=gate, learning=learning, pins=pins, detector=detector
    )
    async with learning or nullcontext(), pins or nullcontext(), opened(document, parts=parts) as instance:
        await instance.servers.settled()
        async with serving(instance) as url:
            yield Portal(url, instance.servers, kept, instance.own.caller, instance)


@asynccontextmanager
async def opened(
    document: Mapping[str, Any], announce: Callable[[str], object] = print, *, parts: Parts
) -> AsyncIterator[Instance]:
    """An instance of this configuration document, as `codemode serve` opens one."""
    config = parse_config(document, env={})
    async with Instance.open(config, Discard(), announce, parts) as instance:
        yield instance


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
        async with asyncio.timeout(PATIENCE), self._changed:
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
