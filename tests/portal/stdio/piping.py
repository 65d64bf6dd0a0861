"""A relay between a client of a test and a portal: the lines are those that a pipe would carry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from portal.stdio import Exchange, Relay
from portal.upstream import TooLarge
from tests.patience import PATIENCE

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Talk:
    """What a client writes and reads. `told` is what the person at the terminal reads."""

    def __init__(self, exchange: Exchange) -> None:
        self.told: list[str] = []
        self.written: list[str] = []
        self._lines: asyncio.Queue[bytes | TooLarge | None] = asyncio.Queue()
        self._read: asyncio.Queue[str] = asyncio.Queue()
        self.relay = Relay(exchange, self._write, self.told.append)
        self.running = asyncio.create_task(self.relay.run(self._pipe()))

    def say(self, *messages: Any) -> None:
        for message in messages:
            self.line(json.dumps(message).encode())

    def line(self, line: bytes | TooLarge) -> None:
        self._lines.put_nowait(line)

    def close(self) -> None:
        """Close the client's output."""
        self._lines.put_nowait(None)

    async def text(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self._read.get()

    async def next(self) -> Any:
        return json.loads(await self.text())

    async def answer(self, id: object) -> Any:
        """The answer to the request with this id; what comes before it is passed over."""
        while True:
            found = await self.next()
            if isinstance(found, dict) and "method" not in found and found["id"] == id:
                return found

    async def notified(self, method: str) -> Any:
        while (found := await self.next()).get("method") != method:
            pass
        return found

    async def begin(self, version: str = "2025-11-25") -> Any:
        params = {**INITIALIZE["params"], "protocolVersion": version}  # type: ignore[dict-item]
        self.say({**INITIALIZE, "params": params}, INITIALIZED)
        return await self.answer(0)

    async def _pipe(self) -> AsyncIterator[bytes | TooLarge]:
        while (line := await self._lines.get()) is not None:
            yield line

    async def _write(self, line: bytes) -> None:
        assert b"\n" not in line
        self.written.append(line.decode())
        self._read.put_nowait(line.decode())


@asynccontextmanager
async def talking(exchange: Exchange) -> AsyncIterator[Talk]:
    talk = Talk(exchange)
    try:
        yield talk
    finally:
        talk.running.cancel()
        await asyncio.gather(talk.running, return_exceptions=True)
        await talk.relay.aclose()


@asynccontextmanager
async def piped(exchange: Exchange) -> AsyncIterator[Any]:
    """The streams of an SDK client's transport, whose messages go through a relay as lines."""
    async with talking(exchange) as talk:
        into, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](100)
        outgoing, out = anyio.create_memory_object_stream[SessionMessage](100)

        async def write() -> None:
            async for sent in out:
                talk.line(sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode())
            talk.close()

        async def read() -> None:
            while True:
                message = jsonrpc_message_adapter.validate_json(await talk._read.get(), by_name=False)
                await into.send(SessionMessage(message))

        tasks = [asyncio.create_task(write()), asyncio.create_task(read())]
        try:
            yield incoming, outgoing
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for stream in (into, incoming, outgoing, out):
                stream.close()
