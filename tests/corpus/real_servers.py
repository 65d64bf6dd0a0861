"""The tools of servers that run: those of the demo in process, and five that others published, over stdio."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from portal.demo import helpdesk, shipping, shop
from portal.demo.company import build_company
from stubs import Server, Tool
from tests.upstreams.packages import npm_server, python_server


async def demo_servers() -> list[Server]:
    """The shop, the helpdesk and the shipping desk."""
    company = build_company()
    built = {
        "shop": shop.build_server(company),
        "helpdesk": helpdesk.build_server(company),
        "shipping": shipping.build_server(company),
    }
    return [await _listed(server_id, Client(server)) for server_id, server in built.items()]


async def published_servers(folder: Path) -> list[Server]:
    """Everything, filesystem, memory, git and time, over a folder of their own. Skips where they cannot be had."""
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    commands = {
        "everything": (npm_server("mcp-server-everything"), ["stdio"]),
        "filesystem": (npm_server("mcp-server-filesystem"), [str(folder)]),
        "memory": (npm_server("mcp-server-memory"), []),
        "git": (python_server("mcp-server-git"), ["--repository", str(folder)]),
        "time": (python_server("mcp-server-time"), ["--local-timezone", "UTC"]),
    }
    environment = {**os.environ, "MEMORY_FILE_PATH": str(folder / "memory.jsonl")}
    servers = []
    for server_id, ((command, before), after) in commands.items():
        started = StdioServerParameters(command=command, args=[*before, *after], env=environment)
        with open(os.devnull, "w") as silent:
            servers.append(await _listed(server_id, Client(stdio_client(started, errlog=silent))))
    return servers


async def _listed(server_id: str, client: Client) -> Server:
    async with client:
        tools = (await client.list_tools()).tools
    return Server(server_id, tools=tuple(as_tool(tool.model_dump(mode="json", by_alias=True)) for tool in tools))


def as_tool(listed: dict[str, Any]) -> Tool:
    """A tool from a member of `tools/list`."""
    return Tool(
        listed["name"],
        title=listed.get("title"),
        description=listed.get("description"),
        input_schema=listed["inputSchema"],
        output_schema=listed.get("outputSchema"),
        annotations=listed.get("annotations") or {},
    )
