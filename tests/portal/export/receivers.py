"""A real HTTP receiver of batches that behaves as it is told: it refuses, cuts connections, and loses answers."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.patience import PATIENCE

Behaviour = Callable[[int], "str | int"]
"""What happens to the request of this number (from 0): a status, `cut` (the connection ends before anything is stored),
`lost` (it is stored, and the connection ends before the answer), or `hang` (no answer ever)."""


@dataclass
class Received:
    """One request: its headers and the text of its body."""

    headers: dict[str, str]
    text: str
    path: str
    stored: bool

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "")

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@dataclass
class Receiver:
    """`requests` are all that came; `stored` those that were taken."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    behaviour: Behaviour = lambda number: 200
    retry_after: str = ""
    answer: bytes = b""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def stored(self) -> list[Received]:
        return [one for one in self.requests if one.stored]

    def ids(self) -> list[int]:
        """The ids of all rows that were stored, each batch once."""
        batches = {one.key: one for one in self.stored}
        return sorted(record["RowID"] for one in batches.values() for record in one.records)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(holds)

    async def take(self, request: web.Request) -> web.StreamResponse:
        does = self.behaviour(len(self.requests))
        body = gzip.decompress(await request.read()) if request.headers.get("content-encoding") == "gzip" else b""
        stored = does == "lost" or (isinstance(does, int) and does < 300)
        headers = {name.lower(): value for name, value in request.headers.items()}
        async with self.changed:
            self.requests.append(Received(headers, body.decode(), request.path_qs, stored))
            self.changed.notify_all()
        if does == "hang":
            await self.hanging.wait()
        if not isinstance(does, int):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        more = {"retry-after": self.retry_after} if self.retry_after and does >= 400 else {}
        return web.Response(status=does, headers=more, body=self.answer)


@asynccontextmanager
async def receiver(
    behaviour: Behaviour = lambda number: 200, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    made = Receiver(behaviour=behaviour)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=1, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield made
    finally:
        made.hanging.set()
        await runner.cleanup()
