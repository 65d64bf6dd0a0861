"""The headers that repeat arguments of a tool (`x-mcp-header`, MCP 2026-07-28 "Custom Headers").

A client on standard input and output writes none. The portal refuses a call without those that the tool declares, so
they are made here, from the lists that have passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mcp.shared.inbound import mcp_param_headers, x_mcp_header_map

from portal.bounded import Bounded
from portal.stdio.messages import ClientMessage

MAX_TOOLS = 10_000


class Mirrors:
    def __init__(self) -> None:
        self._of_tools: Bounded[str, Mapping[tuple[str, ...], str]] = Bounded(MAX_TOOLS)

    def learn(self, result: object) -> None:
        """Take up the declarations in the result of `tools/list`."""
        tools = result.get("tools") if isinstance(result, dict) else None
        for tool in tools if isinstance(tools, list) else ():
            if not isinstance(tool, dict) or not isinstance(name := tool.get("name"), str):
                continue
            if found := x_mcp_header_map(tool.get("inputSchema")):
                self._of_tools[name] = found

    def headers(self, message: ClientMessage) -> Mapping[str, str]:
        """Those of a call of a tool; none of a tool that has not been listed."""
        if message.method != "tools/call":
            return {}
        declared = self._of_tools.get(str(message.params.get("name")))
        arguments = message.params.get("arguments")
        if not declared or not isinstance(arguments, dict):
            return {}
        return mcp_param_headers(declared, cast("Mapping[str, Any]", arguments))
