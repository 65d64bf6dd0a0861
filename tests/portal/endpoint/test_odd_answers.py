"""What upstreams answer in another form than the protocol's, as clients and programs get it: over every transport."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from tests.portal.portals import GENERATIONS, MODERN, Portal, client_of, portal_over
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


# Errors

ERRORS = {
    "error_is_text": ('"error": "no such file"', "'odd'", "no such file"),
    "result_is_text": ('"result": "hello"', "'odd'", "hello"),
    "result_is_a_list": ('"result": [{"type": "text", "text": "hello"}]', "'odd'", "hello"),
    "damaged": ('"result": {"content": NaN}', "'odd'", "NaN"),
    "message_is_an_object": ('"error": {"code": -1, "message": {"text": "no such file"}}', "", "no such file"),
    "message_is_a_number": ('"error": {"code": -1, "message": 404, "data": [1]}', "", "404"),
    "message_is_null": ('"error": {"code": -1, "message": null}', "'odd'", "-1"),
    "no_message": ('"error": {"code": -1, "detail": "no such file"}', "", "no such file"),
}


@EVERYWHERE
async def test_an_error_says_what_was_said_and_whose_it_is(transport: str, code_tool: CodeTool) -> None:
    answers = {name: outcome(members) for name, (members, _, _) in ERRORS.items()}
    async with clients_of(transport, answers, code_tool) as clients:
        for name, (_, server, said) in ERRORS.items():
            for client in clients.plain:
                with pytest.raises(MCPError) as caught:
                    await client.call_tool(f"odd_{name}", {})
                error = caught.value.error
                assert server in error.message and said in error.message, name
                assert error.data == ([1] if name == "message_is_a_number" else None)
            for message in await clients.run(f"await codemode.odd.{name}({{}})"):
                assert server in message and said in message, name


# Numbers

ECHO = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    about = {"name": "e", "version": "1"}
    server = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
    limits = {"n": {"maximum": 2**64}}
    tools = {"tools": [{"name": "echo", "inputSchema": {"type": "object", "properties": limits}}]}
    result = {"initialize": server, "tools/list": tools}.get(message["method"])
    if message["method"] == "tools/call":
        received = message["params"]["arguments"]
        result = {"content": [{"type": "text", "text": line}], "structuredContent": received}
    found = {"result": result} if result else {"error": {"code": -32601, "message": "Method not found"}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **found}), flush=True)
"""
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@dataclass
class Poster:
    """Posts requests word for word, as either generation and by either way."""

    http: httpx2.AsyncClient
    url: str

    async def modern(self, method: str, params: str, **meta: Any) -> httpx2.Response:
        members = f'{params}{", " if params else ""}"_meta": {json.dumps({**META, **meta})}'
        headers = {**HEADERS, "mcp-protocol-version": MODERN, "mcp-method": method}
        if method == "tools/call":
            headers["mcp-name"] = "s_echo"
        body = f'{{"jsonrpc": "2.0", "id": 1, "method": "{method}", "params": {{{members}}}}}'
        return await self.http.post(self.url, content=body, headers=headers)

    async def legacy(self, method: str, params: str) -> httpx2.Response:
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        first = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}
        session = (await self.http.post(self.url, json=first, headers=HEADERS)).headers["mcp-session-id"]
        headers = {**HEADERS, "mcp-session-id": session, "mcp-protocol-version": "2025-06-18"}
        body = f'{{"jsonrpc": "2.0", "id": 1, "method": "{method}", "params": {{{params}}}}}'
        return await self.http.post(self.url, content=body, headers=headers)

    async def every_way(self, method: str, params: str) -> list[httpx2.Response]:
        return [
            await self.modern(method, params),
            await self.modern(method, params, progressToken=1),
            await self.legacy(method, params),
        ]


@asynccontextmanager
async def echoing(code_tool: CodeTool | None = None) -> AsyncIterator[tuple[Portal, Poster]]:
    entry = {"command": sys.executable, "args": ["-c", ECHO]}
    async with portal_over({"s": entry}, code_tool=code_tool) as portal, httpx2.AsyncClient() as http:
        yield portal, Poster(http, portal.mcp)


def message_in(response: httpx2.Response) -> Any:
    """The JSON-RPC message in a body or in the last event of one, with exact integers."""
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith(("data: {", "{"))]
    return json.loads(lines[-1])


async def test_an_integer_of_any_size_passes_unchanged_in_both_directions() -> None:
    async with echoing() as (_, poster):
        for number in (2**53 + 1, 2**64 - 1, 2**64, -(2**63) - 1, 123456789012345678901234567890):
            params = f'"name": "s_echo", "arguments": {{"n": {number}, "list": [{number}]}}'
            for response in await poster.every_way("tools/call", params):
                result = message_in(response)["result"]
                assert result["structuredContent"] == {"n": number, "list": [number]}
                received = json.loads(result["content"][0]["text"])
                assert received["params"]["arguments"] == {"n": number, "list": [number]}


async def test_a_definition_keeps_its_integers_and_a_program_can_use_the_tool(code_tool: CodeTool) -> None:
    async with echoing(code_tool) as (portal, poster):
        for response in await poster.every_way("tools/list", ""):
            (tool,) = message_in(response)["result"]["tools"]
            assert tool["inputSchema"]["properties"]["n"]["maximum"] == 2**64
        async with client_of(portal.code, MODERN) as client:
            program = 'const n = await codemode.s.echo({n: 5, big: "18446744073709551617"}); return n.n'
            answer = (await client.call_tool("code", {"code": program})).structured_content
            assert answer is not None and answer["result"] == 5


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity"])
async def test_a_number_that_cannot_be_passed_on_is_refused_before_anything_runs(number: str) -> None:
    async with echoing() as (portal, poster):
        for response in await poster.every_way("tools/call", f'"name": "s_echo", "arguments": {{"n": {number}}}'):
            assert response.status_code == 400
            assert f"has the number {number}" in response.json()["error"]["message"]
        assert portal.kept.records == []


@EVERYWHERE
async def test_a_result_with_a_number_that_cannot_be_passed_on_is_refused(transport: str, code_tool: CodeTool) -> None:
    tools = {"huge": outcome('"result": {"content": [], "structuredContent": {"n": 1e400}}')}
    async with clients_of(transport, tools, code_tool) as clients:
        for client in clients.plain:
            with pytest.raises(MCPError, match=r"not (JSON|a JSON-RPC message): .*1e400") as caught:
                await client.call_tool("odd_huge", {})
            assert caught.value.error.code == -32012


@EVERYWHERE
async def test_a_program_reads_numbers_as_javascript_does(transport: str, code_tool: CodeTool) -> None:
    tools = {
        "structured": outcome(f'"result": {{"content": [], "structuredContent": {{"n": {2**64 + 1}}}}}'),
        "text": result({"content": json.dumps({"n": 2**64 + 1})}),
    }
    async with clients_of(transport, tools, code_tool) as clients:
        assert await clients.run("return (await codemode.odd.structured({})).n") == [2**64, 2**64]
        assert await clients.run("return await codemode.odd.text({})") == ['{"n": 18446744073709551617}'] * 2
