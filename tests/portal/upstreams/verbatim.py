"""Servers over every transport that give their answers word for word, to try what real servers write.

Each tool is answered with a text of the test's own, in which `ID` is the id of the request; so is any other method that
the test names. Everything else is answered as it should be.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.portal.upstreams.raw import Exchange, OnCall, raw_upstream

TRANSPORTS = ("stdio", "http", "event-stream", "sse")
FINE = '{"jsonrpc": "2.0", "id": ID, "result": {"content": [{"type": "text", "text": "fine"}]}}'
UNKNOWN = '{"jsonrpc": "2.0", "id": ID, "error": {"code": -32601, "message": "Method not found"}}'
_SCRIPT = """
import json, sys
answers = json.loads(sys.argv[1])
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        asked = message["params"]["name"] if message["method"] == "tools/call" else message["method"]
        sys.stdout.buffer.write(answers.get(asked, answers["*"]).replace("ID", str(message["id"])).encode() + b"\\n")
        sys.stdout.flush()
"""


def _result(result: object) -> str:
    return f'{{"jsonrpc": "2.0", "id": ID, "result": {json.dumps(result)}}}'


def answers_of(tools: Mapping[str, str], methods: Mapping[str, str] | None = None) -> dict[str, str]:
    """The answers by tool or method, `*` for all others."""
    server = {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "v", "version": "1"},
    }
    listed = [{"name": name, "inputSchema": {"type": "object"}} for name in (*tools, "fine")]
    return {
        "*": UNKNOWN,
        "initialize": _result(server),
        "tools/list": _result({"tools": listed}),
        "ping": _result({}),
        "fine": FINE,
        **tools,
        **(methods or {}),
    }


@asynccontextmanager
async def verbatim(
    transport: str,
    tools: Mapping[str, str],
    methods: Mapping[str, str] | None = None,
    *,
    on_post: OnCall | None = None,
    greeting: str = "",
) -> AsyncIterator[dict[str, Any]]:
    """The configuration entry of a server. Over `event-stream` the stream of an answer stays open after it.

    Over `sse`, `on_post` answers what is posted to the address of the stream itself, and `greeting` comes before
    everything on the stream.
    """
    answers = answers_of(tools, methods)
    if transport == "stdio":
        yield {"command": sys.executable, "args": ["-c", _SCRIPT, json.dumps(answers)]}
        return
    stream: asyncio.Queue[Exchange] = asyncio.Queue()

    async def begin_stream(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.send(f"{greeting}event: endpoint\ndata: /messages?session=1\n\n".encode())
        stream.put_nowait(exchange)
        await asyncio.Event().wait()

    async def refuse_stream(exchange: Exchange) -> None:
        await exchange.answer(b"", status=405)

    async def answer(exchange: Exchange) -> None:
        method = exchange.message.get("method", "")
        if on_post is not None and exchange.path == "/mcp":
            await on_post(exchange)
            return
        if "id" not in exchange.message or method == "":
            await exchange.answer(b"", status=202)
            return
        asked = exchange.message["params"]["name"] if method == "tools/call" else method
        text = answers.get(asked, answers["*"]).replace("ID", str(exchange.id))
        event = "".join(f"data: {line}\n" for line in text.split("\n")) + "\n"
        if transport == "sse":
            opened = await stream.get()
            stream.put_nowait(opened)
            await exchange.answer(b"", status=202)
            await opened.send((greeting.replace("ID", str(exchange.id)) + event).encode())
        elif transport == "event-stream":
            await exchange.stream()
            await exchange.send(event.encode())
            await asyncio.Event().wait()
        else:
            await exchange.answer(text.encode())

    async with raw_upstream(answer, on_get=begin_stream if transport == "sse" else refuse_stream) as raw:
        for method in ("server/discover", "initialize", "tools/list", "ping", "notifications/initialized", ""):
            raw.overrides[method] = answer
        yield {"url": raw.url, "type": "sse" if transport == "sse" else "http"}
