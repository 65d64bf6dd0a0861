"""An HTTP server of raw bytes that can answer as no library would: cut off, mislabelled, compressed, endless.

It speaks just enough MCP to be connected to; every other request goes to the test's own function.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.patience import PATIENCE
from tests.portal.upstreams.server import listen

ECHO = {"name": "echo", "inputSchema": {"type": "object"}}
REASONS = {200: "OK", 202: "Accepted"}


@dataclass
class Exchange:
    """One request and the socket to answer it on. `gone` is set when the client closes its end."""

    method: str
    path: str
    headers: Mapping[str, str]
    message: Mapping[str, Any]
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> Any:
        return self.message.get("id")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}", *headers, "", ""]
        await self.send("\r\n".join(lines).encode())

    async def answer(self, body: bytes, *, status: int = 200, kind: str = "application/json", also: str = "") -> None:
        headers = [f"content-type: {kind}", f"content-length: {len(body)}", *([also] if also else [])]
        await self.head(status, *headers)
        await self.send(body)

    async def result(self, result: Mapping[str, Any], *, also: str = "") -> None:
        await self.answer(json.dumps({"jsonrpc": "2.0", "id": self.id, "result": result}).encode(), also=also)

    async def text(self, text: str) -> None:
        await self.result({"content": [{"type": "text", "text": text}]})

    async def error(self, code: int, message: str, *, status: int = 200) -> None:
        error = {"jsonrpc": "2.0", "id": self.id, "error": {"code": code, "message": message}}
        await self.answer(json.dumps(error).encode(), status=status)

    async def stream(self) -> None:
        """Begin an event stream, which ends with the connection."""
        await self.head(200, "content-type: text/event-stream", "connection: close")

    async def event(self, message: Any, event_id: str = "", retry: int | None = None) -> None:
        lines = ([f"id: {event_id}"] if event_id else []) + ([f"retry: {retry}"] if retry is not None else [])
        data = message if isinstance(message, str) else json.dumps(message)
        await self.send(("\n".join([*lines, f"data: {data}"]) + "\n\n").encode())

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        self.writer.transport.abort()


OnCall = Callable[[Exchange], Awaitable[None]]


class Raw:
    """`exchanges` is every request there was, `calls` those that went to the test."""

    def __init__(self, on_call: OnCall, *, legacy: bool = False, on_get: OnCall | None = None) -> None:
        self.legacy = legacy
        self.session = "session-1"
        self.tools: list[Any] = [ECHO]
        self.exchanges: list[Exchange] = []
        self.calls: list[Exchange] = []
        self.on_call = on_call
        self.on_get = on_get
        self.overrides: dict[str, OnCall] = {}
        self.url = ""
        self._changed = asyncio.Condition()

    async def seen(self, method: str, times: int = 1) -> Exchange:
        """The exchange with this JSON-RPC (or HTTP) method, once there were so many."""

        def found() -> list[Exchange]:
            return [one for one in self.exchanges if method in (one.method, one.message.get("method"))]

        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(found()) >= times)
        return found()[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, OSError):
            while (exchange := await _read(reader, writer)) is not None:
                self.exchanges.append(exchange)
                async with self._changed:
                    self._changed.notify_all()
                answering = asyncio.create_task(self._handle(exchange))
                try:
                    await answering
                finally:
                    answering.cancel()
        writer.close()

    async def _handle(self, exchange: Exchange) -> None:
        method = exchange.message.get("method", "")
        if exchange.method == "GET" and self.on_get is not None:
            await self.on_get(exchange)
        elif exchange.method in ("GET", "DELETE"):
            await exchange.answer(b"", status=405)
        elif method in self.overrides:
            await self.overrides[method](exchange)
        elif self.legacy and method not in ("initialize", "") and not self._in_session(exchange):
            await exchange.answer(b"Session not found", status=404, kind="text/plain")
        elif method == "server/discover" and not self.legacy:
            capabilities: dict[str, Any] = {"tools": {}}
            await exchange.result({"supportedVersions": ["2026-07-28"], "capabilities": capabilities})
        elif method == "server/discover":
            await exchange.error(-32601, "Method not found")
        elif method == "initialize":
            info = {"name": "raw", "version": "1"}
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            await exchange.result(result, also=f"mcp-session-id: {self.session}")
        elif method == "tools/list":
            await exchange.result({"tools": self.tools})
        elif method == "ping":
            await exchange.result({})
        elif "id" not in exchange.message or method == "":
            await exchange.answer(b"", status=202)
        else:
            self.calls.append(exchange)
            await self.on_call(exchange)

    def _in_session(self, exchange: Exchange) -> bool:
        # A probe comes before any session.
        return (
            exchange.message.get("method") == "server/discover"
            or exchange.headers.get("mcp-session-id") == self.session
        )


@asynccontextmanager
async def raw_upstream(on_call: OnCall, *, legacy: bool = False, on_get: OnCall | None = None) -> AsyncIterator[Raw]:
    raw = Raw(on_call, legacy=legacy, on_get=on_get)
    listening = listen(0)
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await raw.serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(accepted, sock=listening)
    raw.url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    try:
        yield raw
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange | None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Exchange(method, path, headers, json.loads(body) if body else {}, writer)
