"""Makes a catalog and its caller from Python functions, or from an MCP server in the same process.

tools = expose(add, forecast)                      # or: await expose_server(client, id="notes")
answer = await code_tool.run({"code": "..."}, tools.catalog, tools)
"""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from codemode.caller import CallOutcome, ToolCall, ToolFailed, ToolReturned
from codemode.catalog import Catalog
from codemode.hints import converted, input_schema, output_schema
from stubs import Server, Tool

_MAX_PAGES = 1_000
_Handler = Callable[[str, dict[str, Any]], Awaitable[CallOutcome]]


class InProcessServer(Protocol):
    """An MCP server in this process, or a client connected to one. Those of the SDK and of FastMCP have this shape."""

    async def list_tools(self) -> Any: ...
    async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class ExposedTools:
    """A `ToolCaller` with the catalog that it serves. `a | b` serves the servers of both."""

    catalog: Catalog
    _handlers: Mapping[str, _Handler]

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        handler = self._handlers.get(call.server)
        if handler is None:
            return ToolFailed(f"there is no server {call.server!r}")
        return await handler(call.tool, call.arguments)

    def __or__(self, other: ExposedTools) -> ExposedTools:
        """Raises ValueError when both have a server with the same id."""
        catalog = Catalog.build((*self.catalog.servers, *other.catalog.servers))
        return ExposedTools(catalog, {**self._handlers, **other._handlers})


def expose(*functions: Callable[..., Any], server: str = "python", description: str | None = None) -> ExposedTools:
    """Functions as the tools of one server. Docstrings become descriptions, type hints become schemas.

    Coroutine functions run on the event loop, others on a thread. An exception of a function rejects the program's call
    with the same message. Raises TypeError for a function with a parameter that cannot be passed by name.
    """
    by_name = {function.__name__: function for function in functions}
    tools = tuple(
        Tool(
            name=name,
            description=inspect.getdoc(function),
            input_schema=input_schema(function),
            output_schema=output_schema(function),
        )
        for name, function in by_name.items()
    )

    async def handle(tool: str, arguments: dict[str, Any]) -> CallOutcome:
        return await _outcome(by_name[tool], arguments)

    return ExposedTools(Catalog.build([Server(server, None, description, tools)]), {server: handle})


async def expose_server(upstream: InProcessServer, *, id: str, description: str | None = None) -> ExposedTools:
    """The tools that an MCP server lists now, on all pages. `upstream` is the server, or a client connected to it."""
    listings = [_as_dict(tool) for tool in await _all_tools(upstream)]
    tools = tuple(
        Tool(
            name=tool["name"],
            title=tool.get("title"),
            description=tool.get("description"),
            input_schema=tool.get("inputSchema") or {"type": "object"},
            output_schema=tool.get("outputSchema"),
            annotations=tool.get("annotations") or {},
        )
        for tool in listings
    )

    async def handle(tool: str, arguments: dict[str, Any]) -> CallOutcome:
        try:
            result = await upstream.call_tool(tool, arguments)
        except Exception as error:  # the host call edge: any exception of the client is a failed call
            return ToolFailed(str(error), getattr(error, "code", None), getattr(error, "data", None))
        return ToolReturned(_as_dict(result))

    return ExposedTools(Catalog.build([Server(id, None, description, tools)]), {id: handle})


async def _outcome(function: Callable[..., Any], arguments: dict[str, Any]) -> CallOutcome:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = {name: converted(value, hints.get(name)) for name, value in arguments.items()}
        if inspect.iscoroutinefunction(function):
            value = await function(**parameters)
        else:
            value = await asyncio.to_thread(function, **parameters)
        if value is None:
            return ToolReturned({"content": []})
        return ToolReturned({"structuredContent": orjson.loads(orjson.dumps(value, default=_plain))})
    except Exception as error:  # the host call edge: the program may catch any exception of the developer's function
        return ToolReturned(
            {"isError": True, "content": [{"type": "text", "text": str(error) or type(error).__name__}]}
        )


def _plain(value: Any) -> Any:
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"{type(value).__name__} is not JSON")


async def _all_tools(upstream: InProcessServer) -> list[Any]:
    tools: list[Any] = []
    page = await upstream.list_tools()
    for _ in range(_MAX_PAGES):
        tools += page if isinstance(page, list) else page.tools
        cursor = getattr(page, "next_cursor", None) or getattr(page, "nextCursor", None)
        if not cursor:
            break
        page = await upstream.list_tools(cursor=cursor)  # type: ignore[call-arg]
    return tools


def _as_dict(value: Any) -> dict[str, Any]:
    """A protocol object as JSON, the members of models by the names of the protocol."""
    if isinstance(value, Mapping):
        return dict(value)
    members: dict[str, Any] = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return members
