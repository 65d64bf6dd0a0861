"""Code mode seen by SDK clients of both generations: one tool, real programs in real isolates over real upstreams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult

from codemode import CodeTool
from tests.patience import PATIENCE
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Heard, Portal, client_of, portal_over
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted() as upstream:
        yield upstream


@pytest.fixture
async def portal(upstream: Hosted, code_tool: CodeTool) -> AsyncIterator[Portal]:
    async with portal_over({"one": upstream}, code_tool=code_tool) as portal:
        yield portal


async def run(client: Any, program: str, **options: Any) -> Any:
    return await client.call_tool("code", {"code": program}, **options)


@both
async def test_the_list_is_exactly_code_and_says_what_it_answers(mode: str, portal: Portal) -> None:
    async with client_of(portal.code, mode) as client:
        (tool,) = (await client.list_tools()).tools
        assert tool.name == "code" and "codemode.search" in (tool.description or "")
        assert tool.output_schema is not None and tool.input_schema["required"] == ["code"]


@both
async def test_a_program_calls_tools_and_its_answer_arrives_whole(mode: str, portal: Portal) -> None:
    program = """
        const both = await Promise.all([codemode.one.echo({text: "a"}), codemode.one.structured({text: "b"})]);
        console.log("seen", both.length);
        return {both, odd: {"resultType": 1, "_meta": {}, nul: null, "ключ": "\\u2028", n: 1e21}};
    """
    async with client_of(portal.code, mode) as client:
        await client.list_tools()
        answer = await run(client, program)
    assert not answer.is_error, answer
    assert answer.structured_content["status"] == "completed"
    assert answer.structured_content["result"] == {
        "both": ["a", {"text": "b"}],
        "odd": {"resultType": 1, "_meta": {}, "nul": None, "ключ": "\u2028", "n": 1e21},
    }
    assert answer.structured_content["logs"] == [{"level": "log", "text": "seen 2"}]
    assert [(call["tool"], call["status"]) for call in answer.structured_content["calls"]] == [
        ("one.echo", "ok"),
        ("one.structured", "ok"),
    ]
    assert json.loads(answer.content[0].text) == answer.structured_content["result"]
    run_id = answer.structured_content["executionId"]
    assert {(record.run, record.outcome) for record in portal.kept.records} == {(run_id, "ok")}


@both
async def test_a_program_searches_for_several_needs_in_one_step(mode: str, portal: Portal) -> None:
    program = """
        const [[echo], [structured], nothing] = await codemode.search(["echo a text", "structured result", "zzqqxx"]);
        return [await codemode[echo]({text: "a"}), echo.signature, structured.path, nothing];
    """
    async with client_of(portal.code, mode) as client:
        answer = await run(client, program)
        wrong = await run(client, "return await codemode.search(['echo', ' '])")
    assert not answer.is_error, answer
    said, signature, structured, nothing = answer.structured_content["result"]
    assert (said, structured, nothing) == ("a", "one.structured", []) and signature.startswith("codemode.one.echo(")
    assert wrong.is_error and "need 2 of 2 is blank" in wrong.content[0].text


@both
async def test_a_failing_program_is_an_answer_and_no_protocol_error(mode: str, portal: Portal) -> None:
    async with client_of(portal.code, mode) as client:
        answer = await run(client, "throw new TypeError('not today')")
        assert answer.is_error and answer.structured_content["error"]["message"] == "not today"
        wrong = await client.call_tool("code", {"code": "1", "timeout": 3})
        assert wrong.is_error and "timeout" in wrong.content[0].text  # type: ignore[union-attr]


@both
async def test_images_emitted_by_a_program_pass_untouched(mode: str, portal: Portal) -> None:
    image = {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"}
    async with client_of(portal.code, mode) as client:
        answer = await run(client, f"await codemode.emit({json.dumps(image)}); return 1")
    assert answer.content[-1].model_dump(by_alias=True, exclude_none=True) == image


@both
async def test_any_other_tool_is_an_error_that_names_code(mode: str, portal: Portal) -> None:
    async with client_of(portal.code, mode) as client:
        with pytest.raises(MCPError, match="its only tool is `code`"):
            await client.call_tool("one_echo", {"text": "x"})
    assert portal.kept.records == []


@both
async def test_prompts_and_resources_stay_beside_code(mode: str, portal: Portal) -> None:
    async with client_of(portal.code, mode) as client:
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["one_greet"]
        assert (await client.read_resource("test://one")).contents


@both
async def test_a_cancelled_program_stops_and_so_do_its_calls(mode: str, portal: Portal, upstream: Hosted) -> None:
    async with client_of(portal.code, mode) as client:
        call = asyncio.create_task(run(client, "await codemode.one.hang({text: ''}); return 1"))
        await upstream.upstream.journal.wait("call hang")
        call.cancel()
        await upstream.upstream.journal.wait("cancelled hang")
        assert (await run(client, "2")).structured_content["result"] == 2
    assert portal.kept.records[0].outcome == "cancelled"


@both
async def test_a_program_whose_client_hangs_up_stops(mode: str, portal: Portal, upstream: Hosted) -> None:
    head = {"accept": "application/json, text/event-stream"}
    params: dict[str, Any] = {"name": "code", "arguments": {"code": "await codemode.one.hang({text: ''})"}}
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        if mode == LEGACY:
            hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
            answer = await http.post(portal.code, json=opening, headers=head)
            head = {**head, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        else:
            head = {**head, "mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "code"}
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        sent = asyncio.create_task(http.post(portal.code, json=call, headers=head))
        await upstream.upstream.journal.wait("call hang")
        sent.cancel()
        await upstream.upstream.journal.wait("cancelled hang")


@both
async def test_progress_tells_the_calls_that_are_done(mode: str, portal: Portal) -> None:
    heard = Heard()
    async with client_of(portal.code, mode) as client:
        program = "for (const text of ['a', 'b']) await codemode.one.echo({text}); return 1"
        await run(client, program, progress_callback=heard.progress)
        assert await heard.until("progress", 2) == [(1, None, "one.echo"), (2, None, "one.echo")]


async def test_a_program_of_a_session_may_ask_its_user(code_tool: CodeTool) -> None:
    heard = Heard(ElicitResult(action="accept", content={}))
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, LEGACY, elicitation_callback=heard.elicit) as client,
    ):
        answer = await run(client, "return await codemode.one.ask({text: 'your name?'})")
    assert answer.structured_content["result"] == "accept legacy"
    assert [question.message for question in heard.of("question")] == ["your name?"]


@both
async def test_a_new_tool_is_there_for_the_next_program(mode: str, portal: Portal, upstream: Hosted) -> None:
    heard = Heard()
    async with (
        client_of(portal.code, mode) as client,
        client_of(portal.code, LEGACY, message_handler=heard.message) as listener,
    ):
        await listener.list_tools()
        assert (await run(client, "'fresh' in codemode.one")).structured_content["result"] is False
        await upstream.upstream.change("fresh")
        await heard.until("notifications/tools/list_changed")
        assert (await run(client, "'fresh' in codemode.one")).structured_content["result"] is True


@both
@pytest.mark.parametrize(
    ("policy", "query", "listed"),
    [
        ("opt_in", "", 14),
        ("opt_in", "?codemode=search_and_execute", 1),
        ("default_on", "", 1),
        ("default_on", "?codemode=off", 14),
        ("enforced", "?codemode=off", 1),
        ("enforced", "?optimize_context=minimize_tools", 1),
        ("off", "?codemode=search_and_execute", 14),
        ("off", "?optimize_context=minimize_tools", 15),
        ("opt_in", "?optimize_context=search_and_execute", 2),
    ],
)
async def test_the_policy_and_the_url_decide_what_is_listed(
    mode: str, policy: str, query: str, listed: int, upstream: Hosted, code_tool: CodeTool
) -> None:
    async with (
        portal_over({"one": upstream}, code_tool=code_tool, code_mode=policy) as portal,
        client_of(portal.mcp + query, mode) as client,
    ):
        assert len((await client.list_tools()).tools) == listed


@both
async def test_minimized_tools_are_found_by_query_and_called_by_name(mode: str, portal: Portal) -> None:
    async with client_of(f"{portal.mcp}?optimize_context=minimize_tools", mode) as client:
        tools = (await client.list_tools()).tools
        assert tools[0].name == "query" and all(tool.description is None for tool in tools[1:])
        found = await client.call_tool("query", {"query": "echo", "limit": 1})
        (tool,) = found.structured_content["tools"]
        assert (tool["name"], tool["description"]) == ("one_echo", "The tool echo")
        named = await client.call_tool("query", {"names": ["one_big", "one_fail"]})
        assert [tool["name"] for tool in named.structured_content["tools"]] == ["one_big", "one_fail"]
        assert (await client.call_tool("one_echo", {"text": "x"})).content[0].text == "x"  # type: ignore[union-attr]


@both
async def test_execute_runs_a_program_as_code_does(mode: str, portal: Portal) -> None:
    asking = Heard(ElicitResult(action="accept", content={"x": 1}))
    program = "console.log('seen'); return (await codemode.one.structured({text: 'x'})).text + 'y'"
    url = f"{portal.mcp}?optimize_context=search_and_execute"
    async with client_of(url, mode) as client, client_of(portal.code, mode) as coder:
        schema = (await client.list_tools()).tools[1].input_schema
        assert schema["properties"].keys() == {"name", "arguments", "code"}
        result = await client.call_tool("execute", {"code": program, "name": None})
        same = (await run(coder, program)).structured_content
        assert result.structured_content["result"] == same["result"] == "xy"
        assert result.structured_content.keys() == same.keys()
        failed = await client.call_tool("execute", {"code": "throw new Error('no')"})
        assert failed.is_error and failed.structured_content["error"]["message"] == "no"
        both_given = await client.call_tool("execute", {"code": program, "name": "one_echo"})
        assert both_given.is_error and "or {code: string}, and nothing else" in str(both_given.content)
    async with client_of(url, mode, elicitation_callback=asking.elicit) as client:
        await client.list_tools()
        asked = await client.call_tool("execute", {"code": "return codemode.one.ask({text: 'sure?'})"})
        assert asked.structured_content["status"] == "completed" and len(asking.of("question")) == 1


async def test_where_the_owner_has_turned_programs_off_execute_runs_none(upstream: Hosted, code_tool: CodeTool) -> None:
    async with portal_over({"one": upstream}, code_tool=code_tool, codeMode="off") as portal:
        async with client_of(f"{portal.mcp}?optimize_context=search_and_execute", MODERN) as client:
            refused = await client.call_tool("execute", {"code": "return 1"})
            assert refused.is_error and "This portal runs no programs" in str(refused.content)
            called = await client.call_tool("execute", {"name": "one_echo", "arguments": {"text": "x"}})
            assert not called.is_error


@both
async def test_execute_calls_what_query_found(mode: str, portal: Portal) -> None:
    async with client_of(f"{portal.mcp}?optimize_context=search_and_execute", mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["query", "execute"]
        found = await client.call_tool("query", {"query": "structured", "names": None, "server": None, "limit": None})
        assert not found.is_error
        without = await client.call_tool("execute", {"name": "one_structured", "arguments": None})
        assert without == await client.call_tool("execute", {"name": "one_structured"})
        called = await client.call_tool("execute", {"name": "one_structured", "arguments": {"text": "x"}})
        assert called.structured_content == {"text": "x"}
        with pytest.raises(MCPError, match="execute"):
            await client.call_tool("one_echo", {"text": "x"})


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("query", {}, "Give `query`"),
        ("query", {"query": " "}, "Give `query`"),
        ("query", {"query": "x", "limit": 0}, "from 1 to 50"),
        ("query", {"query": "x", "limit": True}, "from 1 to 50"),
        ("query", {"query": "x", "regex": "y"}, "not regex"),
        ("query", {"query": "x", "server": "nobody"}, "nobody"),
        ("query", {"names": ["one_ech"]}, "one_echo"),
        ("query", {"names": "one_echo"}, "list of at most"),
        ("execute", {"name": "one_ech"}, "one_echo"),
        ("execute", {"name": "one_echo", "arguments": []}, "takes"),
        ("execute", {"name": "one_echo", "text": "x"}, "takes"),
        ("execute", {}, "takes"),
    ],
)
async def test_wrong_arguments_of_query_and_execute_are_answered_with_what_is_right(
    tool: str, arguments: dict[str, Any], says: str, portal: Portal
) -> None:
    async with client_of(f"{portal.mcp}?optimize_context=search_and_execute", LEGACY) as client:
        answer = await client.call_tool(tool, arguments)
        assert answer.is_error and says in answer.content[0].text  # type: ignore[union-attr]


async def test_definitions_that_do_not_fit_are_named() -> None:
    heavy = [{"name": f"t{n}", "description": "d" * 10_000, "inputSchema": {"type": "object"}} for n in range(4)]
    async with hosted(Behaviour(more=heavy)) as upstream, portal_over({"one": upstream}) as portal:
        async with client_of(f"{portal.mcp}?optimize_context=minimize_tools", MODERN) as client:
            answer = await client.call_tool("query", {"names": [f"one_t{n}" for n in range(4)]})
            assert answer.structured_content is not None
            assert [tool["name"] for tool in answer.structured_content["tools"]] == ["one_t0", "one_t1"]
            assert answer.structured_content["omitted"] == ["one_t2", "one_t3"]
