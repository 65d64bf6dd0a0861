"""Connections for tests, and waiting for their state without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from portal.config.config import ServerConfig, parse_config
from portal.upstream import Connection, Introduction
from tests.patience import PATIENCE

INTRODUCTION = Introduction(info={"name": "portal-tests", "version": "1"})


def server_config(entry: Mapping[str, Any], **settings: Any) -> ServerConfig:
    """The configuration of one server called `up`."""
    return parse_config({"mcpServers": {"up": {**entry, **settings}}}, env={}).servers["up"]


class Watched:
    """A connection, its notifications, and a way to wait until something about it is so."""

    def __init__(self, config: ServerConfig, **options: Any) -> None:
        self.notifications: list[tuple[str, Mapping[str, Any]]] = []
        self._changed = asyncio.Event()
        self.connection = Connection(
            config,
            introduction=options.pop("introduction", INTRODUCTION),
            on_change=self._changed.set,
            on_notification=self._heard,
            **options,
        )

    async def until(self, so: Callable[[Connection], bool]) -> Connection:
        async with asyncio.timeout(PATIENCE):
            while not so(self.connection):
                self._changed.clear()
                await self._changed.wait()
        return self.connection

    async def heard(self, method: str) -> Mapping[str, Any]:
        await self.until(lambda _: any(name == method for name, _ in self.notifications))
        return next(params for name, params in self.notifications if name == method)

    async def call(self, name: str, text: str = "", **options: Any) -> dict[str, Any]:
        return await self.connection.request("tools/call", {"name": name, "arguments": {"text": text}}, **options)

    async def text(self, name: str, text: str = "", **options: Any) -> str:
        result = await self.call(name, text, **options)
        return str(result["content"][0]["text"])

    def _heard(self, method: str, params: Mapping[str, Any]) -> None:
        self.notifications.append((method, params))
        self._changed.set()


@asynccontextmanager
async def watched(
    entry: Mapping[str, Any], *, options: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Watched]:
    """A started connection. `settings` are keys of its configuration, `options` arguments of `Connection`."""
    found = Watched(server_config(entry, **settings), **(options or {}))
    found.connection.start()
    try:
        yield found
    finally:
        await found.connection.aclose()


@asynccontextmanager
async def ready(
    entry: Mapping[str, Any], *, options: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Watched]:
    """The same, once it is ready."""
    async with watched(entry, options=options, **settings) as found:
        await found.until(lambda connection: connection.state == "ready")
        yield found
