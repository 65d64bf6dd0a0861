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

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests import node_tools
from tests.upstreams import packages
from tests.upstreams.packages import LISTED_NPM, LISTED_PYPI, NPM, PYPI

IDS = (
    *("everything", "filesystem", "memory", "sequential-thinking", "playwright", "chrome-devtools", "notion"),
    *("context7", "git", "time", "fetch"),
)
SECONDS = 60


def published_tools() -> dict[str, list[dict[str, Any]]]:
    """The raw tools of each server of `IDS`. Skips the test where the packages cannot be had."""
    try:
        return read_published_tools()
    except (node_tools.NodeToolUnavailable, packages.PythonToolUnavailable) as error:
        if os.environ.get("CODEMODE_REQUIRE_NODE") == "1":
            raise
        pytest.skip(str(error))


def read_published_tools() -> dict[str, list[dict[str, Any]]]:
    """The same. Raises `NodeToolUnavailable` or `PythonToolUnavailable` where the packages cannot be had."""
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
    called, listed = node_tools.install(*NPM), node_tools.install(*LISTED_NPM)
    python, fetch = packages.install(*PYPI), packages.install(*LISTED_PYPI)

    def npm(root: Path, name: str, *arguments: str) -> list[str]:
        return [str(node_tools.node()), str(node_tools.executable(root, name).resolve()), *arguments]

    return {
        "everything": npm(called, "mcp-server-everything", "stdio"),
        "filesystem": npm(called, "mcp-server-filesystem", str(folder)),
        "memory": npm(called, "mcp-server-memory"),
        "sequential-thinking": npm(listed, "mcp-server-sequential-thinking"),
        "playwright": npm(listed, "playwright-mcp", "--headless"),
        "chrome-devtools": npm(listed, "chrome-devtools-mcp", "--headless"),
        "notion": npm(listed, "notion-mcp-server"),
        "context7": npm(listed, "context7-mcp"),
        "git": [str(python / "bin" / "mcp-server-git"), "--repository", str(folder)],
        "time": [str(python / "bin" / "mcp-server-time"), "--local-timezone", "UTC"],
        "fetch": [str(fetch / "bin" / "mcp-server-fetch")],
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
