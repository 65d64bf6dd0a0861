"""A plain tool on the SDK's own low-level server: the upstream of every portal, and the direct peer."""

from __future__ import annotations

from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from benchmarks.servers.listening import listen

ADD = types.Tool(
    name="add",
    description="Add two numbers.",
    input_schema={
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
    output_schema={"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]},
)


async def list_tools(context: ServerRequestContext[Any], params: object) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[ADD])


async def call_tool(context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    given = params.arguments or {}
    total = given["a"] + given["b"]
    return types.CallToolResult(
        content=[types.TextContent(text=f'{{"sum": {total}}}')], structured_content={"sum": total}
    )


if __name__ == "__main__":
    # Without the schema hook the SDK would list all tools again for every call.
    server = Server(
        "upstream", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=lambda name: None
    )
    listen(server.streamable_http_app())
