"""A program that asks and waits, through mcp-remote: the bridge passes the question on, and `paused` is an answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import ElicitResult

from codemode import CodeTool
from sandbox import Engine, InProcessExecutor
from tests import node_tools
from tests.clients.test_clients import CLIENT_SECONDS, LEGACY, MCP_REMOTE, MODERN
from tests.portal.portals import Heard, portal_over
from tests.portal.runs.login import LINK, Login
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(300),
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


@pytest.mark.parametrize(("mode", "protocol"), [("legacy", LEGACY), ("auto", MODERN)])
async def test_mcp_remote(mode: str, protocol: str, tmp_path: Path) -> None:
    folder = node_tools.needs(node_tools.install, MCP_REMOTE)
    login, heard = Login("echo"), Heard(ElicitResult(action="accept", content={}))
    with Engine() as engine:
        async with (
            asyncio.timeout(CLIENT_SECONDS),
            InProcessExecutor(engine) as executor,
            hosted(Behaviour(legacy=True)) as upstream,
            portal_over(
                {"one": upstream}, code_tool=CodeTool(executor), gate=login.gate, runs={"patience": 0.01}
            ) as portal,
        ):
            bridge = StdioServerParameters(
                command=str(node_tools.needs(node_tools.node)),
                args=[str(node_tools.executable(folder, "mcp-remote").resolve()), portal.code, "--allow-http"],
                env={"MCP_REMOTE_CONFIG_DIR": str(tmp_path)},
            )
            async with Client(bridge, mode=mode, elicitation_callback=heard.elicit) as client:
                assert client.session.protocol_version == protocol

                async def run(program: str) -> dict[str, Any]:
                    found = (await client.call_tool("code", {"code": program})).structured_content
                    assert isinstance(found, dict)
                    return found

                asked = await run("return codemode.one.ask({text: 'sure?'})")
                assert asked["result"] == "accept legacy"
                assert [question.message for question in heard.of("question")] == ["sure?"]
                paused = await run("return codemode.one.echo({text: 'x'})")
                assert paused["status"] == "paused" and paused["waiting"][0]["url"] == LINK
                login.done.set()
                assert (await run(f"return codemode.runs.result('{paused['executionId']}')"))["result"] == "x"
