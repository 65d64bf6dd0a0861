"""Names that clients do not take: listed as ones they take, and called by either."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference

from codemode import CodeTool
from tests.portal.portals import GENERATIONS, Portal, client_of, portal_over
from tests.portal.upstreams.raw import Exchange, Raw, raw_upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
NAMES = ["läs fil", "repo.issues/create", "read_file", "a b", "a.b"]
ACCEPTED = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def oddly_named(code_tool: CodeTool | None = None) -> AsyncIterator[tuple[Portal, Raw]]:
    async def answer(exchange: Exchange) -> None:
        params = exchange.message["params"]
        if exchange.message["method"] == "completion/complete":
            await exchange.result({"completion": {"values": [params["ref"]["name"]]}})
        elif exchange.message["method"] == "prompts/get":
            await exchange.result({"messages": [{"role": "user", "content": params["name"]}]})
        else:
            await exchange.text(params["name"])

    async def initialize(exchange: Exchange) -> None:
        about = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "raw", "version": "1"}}
        capabilities: dict[str, object] = {"tools": {}, "prompts": {}, "completions": {}}
        await exchange.result({**about, "capabilities": capabilities}, also="mcp-session-id: session-1")

    async def prompts(exchange: Exchange) -> None:
        await exchange.result({"prompts": [{"name": name} for name in NAMES]})

    async with raw_upstream(answer, legacy=True) as raw:
        raw.tools = [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]
        raw.overrides |= {"initialize": initialize, "prompts/list": prompts}
        async with portal_over({"odd": {"url": raw.url}}, code_tool=code_tool) as portal:
            yield portal, raw


@both
async def test_a_tool_is_listed_by_a_name_that_clients_take_and_called_by_its_own(mode: str) -> None:
    async with oddly_named() as (portal, _), client_of(portal.mcp, mode) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        assert all(map(ACCEPTED.fullmatch, listed)) and len(set(listed)) == len(NAMES)
        assert listed[2] == "odd_read_file"
        for name, raw in zip(listed, NAMES, strict=True):
            for called in (name, f"odd_{raw}"):
                (block,) = (await client.call_tool(called, {})).content
                assert block.text == raw  # type: ignore[union-attr]
        assert [record.name for record in portal.kept.records] == [raw for raw in NAMES for _ in "12"]
        (block,) = (await client.call_tool("läs fil", {})).content
        assert block.text == "läs fil"  # type: ignore[union-attr]
        with pytest.raises(MCPError, match="Unknown tool: 'read_file'"):
            await client.call_tool("read_file", {})


@both
async def test_a_prompt_is_listed_by_a_name_that_clients_take_and_got_by_its_own(mode: str) -> None:
    async with oddly_named() as (portal, _), client_of(portal.mcp, mode) as client:
        listed = [prompt.name for prompt in (await client.list_prompts()).prompts]
        assert all(map(ACCEPTED.fullmatch, listed)) and len(set(listed)) == len(NAMES)
        for name, raw in zip(listed, NAMES, strict=True):
            for called in (name, f"odd_{raw}"):
                (message,) = (await client.get_prompt(called)).messages
                assert message.content.text == raw  # type: ignore[union-attr]
                reference = PromptReference(type="ref/prompt", name=called)
                completed = await client.complete(reference, {"name": "a", "value": ""})
                assert completed.completion.values == [raw]


async def test_search_and_execute_takes_either_name(code_tool: CodeTool) -> None:
    async with oddly_named(code_tool) as (portal, _):
        async with client_of(f"{portal.mcp}?optimize_context=search_and_execute", GENERATIONS[1]) as client:
            answer = (await client.call_tool("query", {"names": ["odd_a b", "odd_a.b"]})).structured_content
            assert answer is not None
            first, second = (tool["name"] for tool in answer["tools"])
            assert ACCEPTED.fullmatch(first) and ACCEPTED.fullmatch(second) and first != second
            for name in ("odd_a b", first):
                (block,) = (await client.call_tool("execute", {"name": name, "arguments": {}})).content
                assert block.text == "a b"  # type: ignore[union-attr]
