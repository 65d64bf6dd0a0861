"""The server that the `tasks-*` scenarios of the conformance suite are written for, as an upstream of a portal.

It makes no tasks but for one tool: its calls take a while, and the portal makes tasks of them. Calls that ask something
ask when the portal has done so, but for one that asks at once. `failing_job` is a tool that cannot do without the
extension: it makes a task itself, or refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import CLIENT_CAPABILITIES_META_KEY, MISSING_REQUIRED_CLIENT_CAPABILITY
from pydantic import Field

from tests.portal.upstreams.server import listen

TASKS = "io.modelcontextprotocol/tasks"
PATIENCE = 0.2
"""The patience of the portal, in seconds: calls of these tools take longer."""
LONG = 0.6
TOOLS = (
    "greet",
    "slow_compute",
    "failing_job",
    "protocol_error_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
)
_ASKS: Mapping[str, tuple[str, ...]] = {
    "confirm_delete": ("confirm",),
    "multi_input": ("name", "confirm"),
    "test_tool_with_task": ("user_name",),
}


class _TaskParams(types.RequestParams):
    task_id: str = Field(alias="taskId")


def tasking_server() -> Server[Any]:
    server: Server[Any] = Server("tasking")
    looks: dict[str, int] = {}

    async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
        tools = [types.Tool(name=name, input_schema={"type": "object"}) for name in TOOLS]
        return types.ListToolsResult(tools=tools, ttl_ms=0, cache_scope="private")

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> Any:
        name, arguments = params.name, params.arguments or {}
        if name == "failing_job":
            if not _declared(ctx):
                needed: dict[str, object] = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
                raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "Missing required client capability", needed)
            looks["job"] = 0
            return _task("task", "working")
        if name in _ASKS and params.input_responses is None:
            if name != "test_tool_with_task":
                await asyncio.sleep(LONG)
            asked: Any = {key: types.ElicitRequest(params=_question(key)) for key in _ASKS[name]}
            return types.InputRequiredResult(input_requests=asked)
        if name == "slow_compute":
            await asyncio.sleep(LONG * bool(arguments.get("seconds")) + float(arguments.get("seconds", 0)))
        elif name != "greet":
            await asyncio.sleep(LONG)
        if name == "protocol_error_job":
            raise MCPError(types.INTERNAL_ERROR, "The job has panicked")
        said = {key: getattr(one, "content", None) for key, one in (params.input_responses or {}).items()}
        return _text(f"Hello, {arguments.get('name')}!" if name == "greet" else f"{name} is done: {said}")

    async def get_task(ctx: Any, params: _TaskParams) -> Any:
        looks[params.task_id] += 1
        if looks[params.task_id] < 3:
            return _task("complete", "working")
        result = {**_text("The job has failed"), "isError": True}
        return {**_task("complete", "completed"), "result": result}

    server.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    server.add_request_handler("tasks/get", _TaskParams, get_task)
    server.extensions = {TASKS: {}}
    return server


@asynccontextmanager
async def served(server: Server[Any]) -> AsyncIterator[str]:
    """The URL of a server that runs within the block."""
    listening = listen(0)
    config = uvicorn.Config(server.streamable_http_app(), log_level="critical", timeout_graceful_shutdown=0)
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        running.should_exit = running.force_exit = True
        await task


def _declared(ctx: Any) -> bool:
    meta = (ctx.params or {}).get("_meta") or {}
    return TASKS in ((meta.get(CLIENT_CAPABILITIES_META_KEY) or {}).get("extensions") or {})


def _task(kind: str, status: str) -> dict[str, Any]:
    at = "2026-07-28T00:00:00Z"
    times = {"createdAt": at, "lastUpdatedAt": at, "ttlMs": 60_000, "pollIntervalMs": 200}
    return {"resultType": kind, "taskId": "job", "status": status, **times}


def _question(key: str) -> types.ElicitRequestFormParams:
    schema: Any = {"type": "object", "properties": {key: {"type": "string"}}}
    return types.ElicitRequestFormParams(message=f"Your {key}?", requested_schema=schema)


def _text(text: str) -> dict[str, Any]:
    return {"resultType": "complete", "content": [{"type": "text", "text": text}]}
