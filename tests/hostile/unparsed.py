"""A client that reads answers without parsing them: it is on the event loop whose lateness is measured."""

from __future__ import annotations

from typing import Any, Final

import aiohttp

VERSION: Final = "2026-07-28"
META: Final[dict[str, Any]] = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def call(http: aiohttp.ClientSession, url: str, tool: str) -> None:
    """Call a tool, by the name it has at the portal, and read the answer to its end."""
    params = {"name": tool, "arguments": {}, "_meta": META}
    head = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": tool,
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with http.post(url, json=message, headers=head) as answer:
        await read(answer)


async def read(answer: aiohttp.ClientResponse) -> None:
    """Read an answer to its end."""
    async for _ in answer.content.iter_any():
        pass
