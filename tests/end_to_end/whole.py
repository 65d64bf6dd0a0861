"""A whole portal for a test: assembled as `codemode serve` assembles it, on a port of its own, its records kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx2
from mcp import Client

from portal.app import Instance, serving
from portal.config import parse_config
from tests.patience import PATIENCE

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
CODE = "?codemode=search_and_execute"
ACCEPT = {"accept": "application/json, text/event-stream"}
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass
class Lines:
    """A sink of call records."""

    lines: list[bytes] = field(default_factory=list)

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@dataclass
class Whole:
    """A portal that listens. `url` is its base URL."""

    url: str
    instance: Instance
    sink: Lines

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    @property
    def code(self) -> str:
        return self.mcp + CODE

    async def health(self) -> dict[str, Any]:
        async with httpx2.AsyncClient(timeout=PATIENCE) as http:
            found: dict[str, Any] = (await http.get(f"{self.url}/healthz")).json()
            return found


@asynccontextmanager
async def whole(servers: Mapping[str, Mapping[str, Any]], **settings: Any) -> AsyncIterator[Whole]:
    """A portal over these entries of `mcpServers`; they have settled. `settings` are those of the `portal` section."""
    config = parse_config({"mcpServers": {name: dict(entry) for name, entry in servers.items()}, "portal": settings})
    sink = Lines()
    async with Instance.open(config, sink) as instance:
        await instance.servers.settled()
        async with serving(instance) as url:
            yield Whole(url, instance, sink)


class Raw:
    """A client written by hand, which can do what no library would. In the elder generation it has a session."""

    def __init__(self, url: str, version: str = MODERN) -> None:
        self.url = url
        self.version = version
        self.session: dict[str, str] = {}
        self._ids = count(1)
        self.http = httpx2.AsyncClient(timeout=PATIENCE, limits=httpx2.Limits(max_connections=None))

    async def __aenter__(self) -> Raw:
        if self.version != MODERN:
            hello = {"protocolVersion": self.version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
            answer = await self.http.post(self.url, json=opening, headers=ACCEPT)
            self.session = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": self.version}
            await self.notify("notifications/initialized", {})
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.aclose()

    def message(self, method: str, params: Mapping[str, Any], id: Any = None) -> dict[str, Any]:
        sent = {**params, "_meta": {**_META, **params.get("_meta", {})}} if self.version == MODERN else dict(params)
        return {"jsonrpc": "2.0", "id": next(self._ids) if id is None else id, "method": method, "params": sent}

    def headers(self, method: str, name: str | None = None) -> dict[str, str]:
        if self.version != MODERN:
            return {**ACCEPT, **self.session}
        named = {} if name is None else {"mcp-name": name}
        return {**ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": method, **named}

    async def post(self, method: str, params: Mapping[str, Any], id: Any = None) -> httpx2.Response:
        named = params.get("name", params.get("uri"))
        headers = {**self.headers(method, named), "content-type": "application/json"}
        body = json.dumps(self.message(method, params, id))  # lone surrogates included
        return await self.http.post(self.url, content=body, headers=headers)

    async def notify(self, method: str, params: Mapping[str, Any]) -> httpx2.Response:
        message = {"jsonrpc": "2.0", "method": method, "params": dict(params)}
        return await self.http.post(self.url, json=message, headers=self.headers(method))

    async def ask(self, method: str, params: Mapping[str, Any], id: Any = None) -> dict[str, Any]:
        """The JSON-RPC answer, out of JSON or an event stream."""
        return answer_in(await self.post(method, params, id))

    async def run(self, program: str, id: Any = None) -> dict[str, Any]:
        """The `structuredContent` of a run."""
        answer = await self.ask("tools/call", {"name": "code", "arguments": {"code": program}}, id)
        found: dict[str, Any] = answer["result"]["structuredContent"]
        return found


def answer_in(response: httpx2.Response) -> dict[str, Any]:
    if response.headers["content-type"].startswith("text/event-stream"):
        data = [line[5:] for line in response.text.splitlines() if line.startswith("data:") and line[5:].strip()]
        found: dict[str, Any] = next(message for message in map(json.loads, data) if "method" not in message)
        return found
    answered: dict[str, Any] = response.json()
    return answered


@asynccontextmanager
async def sdk_client(url: str, version: str, **options: Any) -> AsyncIterator[Client]:
    """The SDK's client in one generation, without a cache."""
    async with Client(url, mode=version if version == MODERN else "legacy", cache=None, **options) as client:
        yield client


async def run(client: Client, program: str, **options: Any) -> dict[str, Any]:
    """The `structuredContent` of a program run through an SDK client."""
    answer = await client.call_tool("code", {"code": program}, **options)
    found: dict[str, Any] | None = answer.structured_content
    assert found is not None
    return found
