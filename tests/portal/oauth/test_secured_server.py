"""The example server that checks who calls, behind a served portal, as the chapter says to run it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from portal.oauth.settings import read_oauth_settings
from tests.clients.serving import serving
from tests.house.source import ROOT
from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.oauth.agent import Agent
from tests.portal.oauth.test_served import META, Address, claim
from tests.portal.state.databases import new_state

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
CHAPTER = (ROOT / "portal" / "oauth" / "README.md").read_text(encoding="utf-8")


def example(kind: str, holding: str) -> str:
    """The code block of the chapter that holds this text."""
    blocks: list[str] = re.findall(rf"```{kind}\n(.*?)```", CHAPTER, re.DOTALL)
    return next(block for block in blocks if holding in block)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def secured(*arguments: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


async def test_the_example_server_knows_who_calls_through_the_portal_and_takes_nobody_elses_word(
    tmp_path: Path,
) -> None:
    document: dict[str, Any] = json.loads(example("json", "assertionAudience"))
    command = next(line for line in example("sh", "portal.demo.secured").splitlines() if "secured" in line).split()
    portal_port = free_port()
    options = dict(zip(command[3::2], command[4::2], strict=True))
    options |= {"--portal": f"http://127.0.0.1:{portal_port}", "--port": "0"}
    assert options["--audience"] == document["mcpServers"]["secured"]["assertionAudience"]
    arguments = [word for option in options.items() for word in option]
    async with secured(*command[1:3], *arguments) as url:
        document["mcpServers"]["secured"]["url"] = url
        document["portal"]["state"] = new_state(tmp_path)
        with serving(document, tmp_path, "--port", str(portal_port)) as served:
            address = Address(served.url)
            async with browser_at(address.url) as browser, httpx2.AsyncClient(trust_env=False) as http:
                agent = Agent(address, http)  # type: ignore[arg-type]
                await claim(served, browser)
                await agent.log_in(browser)
                answer = await http.post(
                    address.mcp,
                    json={
                        "jsonrpc": "2.0",
                        "id": 1,
                        "method": "tools/call",
                        "params": {"name": "secured_who_am_i", "arguments": {}, "_meta": META},
                    },
                    headers={
                        "Accept": "application/json, text/event-stream",
                        "Authorization": f"Bearer {agent.tokens['access_token']}",
                        "MCP-Protocol-Version": "2026-07-28",
                        "Mcp-Method": "tools/call",
                        "Mcp-Name": "secured_who_am_i",
                    },
                )
                assert "You are ada@example.com." in answer.text, answer.text
        async with Client(url) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["who_am_i"]
            with pytest.raises(MCPError, match="signed in at the portal"):
                await client.call_tool("who_am_i", {})


def test_the_settings_of_the_chapter_are_read() -> None:
    document = json.loads(example("json", "publicUrl"))
    settings = read_oauth_settings(document["portal"]["identity"]["oauth"])
    assert "https://claude.ai/api/mcp/auth_callback" in settings.registration.allowed_uris
