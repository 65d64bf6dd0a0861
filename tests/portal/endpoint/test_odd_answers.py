"""What upstreams answer in another form than the protocol's, as clients and programs get it: over every transport."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from codemode import CodeTool
from tests.portal.portals import GENERATIONS, client_of, portal_over
from tests.portal.upstreams.verbatim import TRANSPORTS, verbatim

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
EVERYWHERE = pytest.mark.parametrize("transport", TRANSPORTS)
TEXT = {"type": "text", "text": "hello"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def outcome(members: str) -> str:
    return f'{{"jsonrpc": "2.0", "id": ID, {members}}}'


def result(value: object) -> str:
    return outcome(f'"result": {json.dumps(value)}')


@dataclass
class Clients:
    """Clients of both generations, each in plain mode and in code mode."""

    plain: list[Client]
    code: list[Client]

    async def call(self, name: str) -> list[tuple[bool, str]]:
        """Whether a tool failed and its text, by both ways of each plain client."""
        answers = []
        for client in self.plain:
            params = types.CallToolRequestParams.model_validate({"name": f"odd_{name}", "arguments": {}})
            token = params.model_copy(update={"meta": {"progressToken": 1}})
            for one in (params, token):
                called = await client.session.send_request(types.CallToolRequest(params=one), types.CallToolResult)
                texts = (block.text for block in called.content if isinstance(block, types.TextContent))
                answers.append((bool(called.is_error), "\n".join(texts)))
        return answers

    async def run(self, program: str) -> list[Any]:
        """The results of a program, or the messages of its errors."""
        answers = []
        for client in self.code:
            found = (await client.call_tool("code", {"code": program})).structured_content or {}
            answers.append(found["error"]["message"] if found["status"] == "failed" else found["result"])
        return answers


@asynccontextmanager
async def clients_of(transport: str, tools: Mapping[str, str], code_tool: CodeTool) -> AsyncIterator[Clients]:
    async with (
        verbatim(transport, tools) as entry,
        portal_over({"odd": entry}, code_tool=code_tool) as portal,
        client_of(portal.mcp, GENERATIONS[0]) as first,
        client_of(portal.mcp, GENERATIONS[1]) as second,
        client_of(portal.code, GENERATIONS[0]) as third,
        client_of(portal.code, GENERATIONS[1]) as fourth,
    ):
        yield Clients([first, second], [third, fourth])


CONTENT: dict[str, Any] = {
    "text": {"content": "hello"},
    "texts": {"content": ["hello"]},
    "block": {"content": TEXT},
    "null_among_blocks": {"content": [TEXT, None]},
    "first_protocol": {"toolResult": "hello"},
    "not_failed": {"content": [TEXT], "isError": "false"},
    "not_failed_zero": {"content": "hello", "isError": 0},
    "not_failed_null": {"content": [TEXT], "isError": None},
}
FAILED: dict[str, Any] = {
    "failed": {"content": [TEXT], "isError": "true"},
    "failed_one": {"content": "hello", "isError": 1},
    "failed_first_protocol": {"toolResult": "hello", "isError": True},
}


@EVERYWHERE
async def test_content_of_any_form_reaches_clients_and_programs(transport: str, code_tool: CodeTool) -> None:
    answers = {name: result(value) for name, value in {**CONTENT, **FAILED}.items()}
    async with clients_of(transport, answers, code_tool) as clients:
        for name in answers:
            assert set(await clients.call(name)) == {(name in FAILED, "hello")}, name
            program = f"return await codemode.odd.{name}({{}})"
            assert await clients.run(program) == ["hello", "hello"], name
            caught = f"try {{ await codemode.odd.{name}({{}}); return false }} catch (error) {{ return true }}"
            assert await clients.run(caught) == [name in FAILED] * 2, name
