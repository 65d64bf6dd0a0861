"""A client of the Tasks extension, as raw JSON-RPC over HTTP: it sees what the portal says, and nothing is driven for
it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.patience import PATIENCE
from tests.portal.portals import MODERN

TASKS = "io.modelcontextprotocol/tasks"
TERMINAL = ("completed", "failed", "cancelled")


class Refused(Exception):
    """The answer is an error."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(error)
        self.status = status
        self.code: int = error["code"]
        self.data: Any = error.get("data")


@dataclass
class TaskClient:
    """`url` is of an MCP endpoint. `capabilities` are what it declares beside tasks."""

    http: httpx2.AsyncClient
    url: str
    name: str = "tasking"
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    tasks: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)

    def _message(self, method: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        declared = {**self.capabilities, **({"extensions": {TASKS: {}}} if self.tasks else {})}
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": declared,
            "io.modelcontextprotocol/clientInfo": {"name": self.name, "version": "1"},
        }
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": MODERN,
            "Mcp-Method": method,
            **self.headers,
        }
        if named := params.get("taskId") or params.get("name"):
            headers.setdefault("Mcp-Name", str(named))
        return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}, headers

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        """The result.

        Raises:
            Refused: there is an error instead.
        """
        message, headers = self._message(method, params)
        answer = await self.http.post(self.url, json=message, headers=headers, timeout=PATIENCE)
        text = answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            text = next(line[5:] for line in text.splitlines() if line.startswith("data:") and '"id"' in line)
        found = json.loads(text)
        if "error" in found:
            raise Refused(answer.status_code, found["error"])
        result: dict[str, Any] = found["result"]
        return result

    async def call(self, tool: str, **params: Any) -> dict[str, Any]:
        return await self.request("tools/call", name=tool, **params)

    async def run(self, program: str) -> dict[str, Any]:
        return await self.call("code", arguments={"code": program})

    async def get(self, id: str) -> dict[str, Any]:
        return await self.request("tasks/get", taskId=id)

    async def until(self, id: str, *statuses: str) -> dict[str, Any]:
        """The task as soon as it has one of these statuses."""
        async with asyncio.timeout(PATIENCE):
            while (task := await self.get(id))["status"] not in statuses:
                assert task["status"] not in TERMINAL, task
                await asyncio.sleep(0.02)
        return task

    @asynccontextmanager
    async def listening(self, *ids: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The messages of a stream that is told of these tasks, the acknowledgement first."""
        message, headers = self._message("subscriptions/listen", {"notifications": {"taskIds": list(ids)}})

        async def messages(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

        async with self.http.stream("POST", self.url, json=message, headers=headers, timeout=PATIENCE) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield messages(answer)


@asynccontextmanager
async def task_client(url: str, **options: Any) -> AsyncIterator[TaskClient]:
    async with httpx2.AsyncClient() as http:
        yield TaskClient(http, url, **options)
