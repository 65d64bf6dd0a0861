"""What servers that others published list as their tools: all that answer without an account, as raw `tools/list`.

The lists are read once from the running servers and then kept in the user's cache directory, by package versions;
nothing of them is kept here.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests import node_tools
from tests.upstreams.packages import LISTED_NPM, LISTED_PYPI, NPM, PYPI, npm_server, python_server

IDS = (
    *("everything", "filesystem", "memory", "sequential-thinking", "playwright", "chrome-devtools", "notion"),
    *("context7", "git", "time", "fetch"),
)
SECONDS = 60


def published_tools() -> dict[str, list[dict[str, Any]]]:
    """The raw tools of each server of `IDS`. Skips the test where the packages cannot be had."""
    digest = hashlib.sha256("\n".join((*NPM, *LISTED_NPM, *PYPI, *LISTED_PYPI)).encode()).hexdigest()[:12]
    kept = node_tools.cache_root().with_name("lists") / f"{digest}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory() as folder:
                found = asyncio.run(_all(_commands(Path(folder).resolve())))
            new = kept.with_suffix(".new")
            new.write_text(json.dumps(found), encoding="utf-8")
            new.rename(kept)
    lists: dict[str, list[dict[str, Any]]] = json.loads(kept.read_text(encoding="utf-8"))
    return lists


def _commands(folder: Path) -> Mapping[str, list[str]]:
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)

    def started(server: tuple[str, list[str]], *arguments: str) -> list[str]:
        return [server[0], *server[1], *arguments]

    return {
        "everything": started(npm_server("mcp-server-everything"), "stdio"),
        "filesystem": started(npm_server("mcp-server-filesystem"), str(folder)),
        "memory": started(npm_server("mcp-server-memory")),
        "sequential-thinking": started(npm_server("mcp-server-sequential-thinking", LISTED_NPM)),
        "playwright": started(npm_server("playwright-mcp", LISTED_NPM), "--headless"),
        "chrome-devtools": started(npm_server("chrome-devtools-mcp", LISTED_NPM), "--headless"),
        "notion": started(npm_server("notion-mcp-server", LISTED_NPM)),
        "context7": started(npm_server("context7-mcp", LISTED_NPM)),
        "git": started(python_server("mcp-server-git"), "--repository", str(folder)),
        "time": started(python_server("mcp-server-time"), "--local-timezone", "UTC"),
        "fetch": started(python_server("mcp-server-fetch", LISTED_PYPI)),
    }


async def _all(commands: Mapping[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    return {server: await _listed(command) for server, command in commands.items()}


async def _listed(command: list[str]) -> list[dict[str, Any]]:
    environment = {**os.environ, "OPENAPI_MCP_HEADERS": "{}"}
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=environment)
    async with asyncio.timeout(SECONDS):
        with open(os.devnull, "w") as silent:
            async with Client(stdio_client(parameters, errlog=silent)) as client:
                tools = (await client.list_tools()).tools
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
