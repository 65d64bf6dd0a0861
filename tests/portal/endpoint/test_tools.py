"""A portal without code mode, seen by SDK clients of both generations: lists, calls, and what comes back from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from portal.calls.gate import Call, Gate
from portal.errors import UNAVAILABLE
from portal.upstream import CallContext
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Heard, Portal, client_of, portal_over
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    # Deprecated features of MCP still have users, and the SDK warns of each use.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted() as upstream:
        yield upstream


@pytest.fixture
async def portal(upstream: Hosted) -> AsyncIterator[Portal]:
    async with portal_over({"one": upstream}) as portal:
        yield portal


def text(result: Any) -> str:
    return "".join(block.text for block in result.content if block.type == "text")


@both
async def test_tools_of_all_servers_are_listed_in_order_under_their_server(mode: str, upstream: Hosted) -> None:
    async with (
        hosted(Behaviour(legacy=True)) as other,
        portal_over({"b": upstream, "a": other}) as portal,
        client_of(portal.mcp, mode) as client,
    ):
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == [f"b_{name}" for name in upstream.upstream.calls] + [
            f"a_{name}" for name in other.upstream.calls
        ]
        for server in ("a", "b"):
            assert text(await client.call_tool(f"{server}_echo", {"text": server})) == server


@both
async def test_a_definition_arrives_as_the_upstream_sent_it_but_for_its_name(mode: str) -> None:
    tool = {
        "name": "t",
        "title": "T",
        "description": "d" * 1000,
        "inputSchema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "x-y": [None, 1]},
        "outputSchema": {"type": "object", "properties": {"a": {"const": None}}},
        "annotations": {"readOnlyHint": True},
        "_meta": {"com.example/x": {"deep": [1, None]}},
        "icons": [{"src": "data:image/png;base64,AA=="}],
    }
    async with (
        hosted(Behaviour(more=[tool])) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, mode) as client,
    ):
        listed = (await client.list_tools()).tools[-1].model_dump(by_alias=True, exclude_unset=True)
        assert listed == {**tool, "name": "one_t"}


@both
async def test_results_pass_untouched(mode: str, portal: Portal) -> None:
    async with client_of(portal.mcp, mode) as client:
        structured = await client.call_tool("one_structured", {"text": "x"})
        assert (structured.structured_content, text(structured)) == ({"text": "x"}, "x")
        failed = await client.call_tool("one_fail", {"text": ""})
        assert (failed.is_error, text(failed)) == (True, "it failed")


@both
async def test_an_upstreams_protocol_error_is_relayed_word_for_word(mode: str, upstream: Hosted) -> None:
    ghost = {"name": "ghost", "inputSchema": {"type": "object"}}
    upstream.behaviour.more.append(ghost)
    async with portal_over({"one": upstream}) as portal, client_of(portal.mcp, mode) as client:
        with pytest.raises(MCPError) as raised:
            await client.call_tool("one_ghost", {})
        assert (raised.value.error.message, raised.value.error.data) == ("no tool ghost", {"asked": "ghost"})


@both
@pytest.mark.parametrize("name", ["echo", "one_ech", "two_echo", "one", "", "one_echo\r\nX: y", "code"])
async def test_an_unknown_tool_is_an_error_that_names_the_nearest(mode: str, name: str, portal: Portal) -> None:
    async with client_of(portal.mcp, mode) as client:
        with pytest.raises(MCPError) as raised:
            await client.call_tool(name, {})
        assert raised.value.error.code == types.INVALID_PARAMS
        assert ("one_echo" in raised.value.error.message) == (name not in ("", "one", "code"))


@both
async def test_the_clients_meta_reaches_the_upstream_and_the_identity_stamp_is_the_portals(
    mode: str, portal: Portal, upstream: Hosted
) -> None:
    async with client_of(portal.mcp, mode) as client:
        meta: Any = {"com.example/trace": "abc"}
        result = await client.call_tool("one_echo", {"text": "x"}, meta=meta)
        assert upstream.upstream.seen_meta[-1]["com.example/trace"] == "abc"
        stamp = (result.meta or {}).get("io.modelcontextprotocol/serverInfo")
        assert stamp is None if mode == LEGACY else stamp is not None and stamp["name"] == "codemode-portal"


@both
@pytest.mark.parametrize("legacy", [False, True], ids=["modern upstream", "legacy upstream"])
async def test_progress_reaches_the_client_that_asked(mode: str, legacy: bool) -> None:
    heard = Heard()
    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, mode) as client,
    ):
        assert text(await client.call_tool("one_progress", {"text": ""}, progress_callback=heard.progress)) == "done"
        assert await heard.until("progress", 3) == [(step, 3, f"step {step}") for step in (1, 2, 3)]


@both
async def test_a_request_that_is_cancelled_is_cancelled_at_the_upstream(
    mode: str, portal: Portal, upstream: Hosted
) -> None:
    async with client_of(portal.mcp, mode) as client:
        call = asyncio.create_task(client.call_tool("one_hang", {"text": ""}))
        await upstream.upstream.journal.wait("call hang")
        call.cancel()
        await upstream.upstream.journal.wait("cancelled hang")
        assert text(await client.call_tool("one_echo", {"text": "still here"})) == "still here"
    assert portal.kept.records[0].outcome == "cancelled"


@both
async def test_a_modern_clients_level_and_a_sessions_level_decide_which_logs_it_gets(mode: str, portal: Portal) -> None:
    heard = Heard()
    async with client_of(portal.mcp, mode, logging_callback=heard.log) as client:
        level = "io.modelcontextprotocol/logLevel"
        steps: list[tuple[types.LoggingLevel, int]] = [("error", 0), ("info", 1)]
        for wanted, expected in steps:
            meta: Any = {level: wanted} if mode == MODERN else None
            if mode == LEGACY:
                await client.set_logging_level(wanted)
            await client.call_tool("one_log", {"text": "hello"}, meta=meta)
            assert [log.data for log in heard.of("log")] == [{"said": "hello"}] * expected


async def test_a_modern_client_that_names_no_level_gets_no_logs(portal: Portal) -> None:
    heard = Heard()
    async with client_of(portal.mcp, MODERN, logging_callback=heard.log) as client:
        await client.call_tool("one_log", {"text": "hello"})
    assert heard.items == []


@both
async def test_prompts_are_listed_got_and_completed(mode: str, portal: Portal) -> None:
    async with client_of(portal.mcp, mode) as client:
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["one_greet"]
        got = await client.get_prompt("one_greet", {"name": "Ann"})
        assert "hello {'name': 'Ann'}" in got.messages[0].content.text  # type: ignore[union-attr]
        reference = types.PromptReference(name="one_greet")
        completed = await client.complete(reference, {"name": "name", "value": "A"})
        assert completed.completion.values == ["A!"]
        with pytest.raises(MCPError, match="one_greet"):
            await client.get_prompt("greet", {})


@both
async def test_resources_are_listed_and_read_where_they_belong(mode: str, upstream: Hosted) -> None:
    async with (
        hosted() as other,
        portal_over({"one": upstream, "two": other}) as portal,
        client_of(portal.mcp, mode) as client,
    ):
        uris = [str(resource.uri) for resource in (await client.list_resources()).resources]
        assert uris == ["test://one", "mcp-server://two/test%3A%2F%2Fone"]
        for uri in uris:
            read = await client.read_resource(uri)
            assert read.contents[0].text == "the text of test://one"  # type: ignore[union-attr]
        assert [record.server for record in portal.kept.records] == ["one", "two"]
        assert len((await client.list_resource_templates()).resource_templates) == 2
        await client.read_resource("test://of-a-template")
        with pytest.raises(MCPError) as raised:
            await client.read_resource("nobody://x")
        assert raised.value.error.code == (-32002 if mode == LEGACY else types.INVALID_PARAMS)


@both
async def test_lists_come_whole_and_any_cursor_is_an_error(mode: str) -> None:
    async with (
        hosted(Behaviour(tools=300, page=7)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, mode) as client,
    ):
        listed = await client.list_tools()
        assert len(listed.tools) == 300 + len(upstream.upstream.calls) and listed.next_cursor is None
        assert (await client.list_tools(cursor="")).tools == listed.tools, "some clients begin with an empty cursor"
        with pytest.raises(MCPError, match="cursor"):
            await client.list_tools(cursor="1")


class Bug:
    async def admit(self, call: Call, context: CallContext) -> None:
        raise RuntimeError("secret-token-of-alice in /srv/portal/x.py")


@both
async def test_what_goes_wrong_inside_is_logged_and_never_told(
    mode: str, upstream: Hosted, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        portal_over({"one": upstream}, gate=Gate(admissions=[Bug()])) as portal,
        client_of(portal.mcp, mode) as client,
    ):
        with pytest.raises(MCPError) as raised:
            await client.call_tool("one_echo", {"text": "x"})
    error = raised.value.error
    assert error.code == types.INTERNAL_ERROR and "secret" not in error.message
    logged = capsys.readouterr()
    assert error.data["reference"] in logged.out + logged.err


@both
async def test_an_upstream_that_is_down_is_an_error_of_its_own_and_the_others_go_on(
    mode: str, upstream: Hosted
) -> None:
    async with (
        hosted() as dead,
        portal_over({"dead": dead, "one": upstream}) as portal,
        client_of(portal.mcp, mode) as client,
    ):
        await dead.stop()
        with pytest.raises(MCPError):
            await client.call_tool("dead_echo", {"text": "x"})
        assert text(await client.call_tool("one_echo", {"text": "x"})) == "x"
        await dead.start()


@both
async def test_many_clients_with_the_same_request_ids_get_their_own_answers(mode: str, portal: Portal) -> None:
    async def one(number: int) -> None:
        async with client_of(portal.mcp, mode) as client:
            for turn in range(5):
                said = f"{number}-{turn}"
                assert text(await client.call_tool("one_echo", {"text": said})) == said

    await asyncio.gather(*(one(number) for number in range(20)))


@both
async def test_a_portal_says_who_it_is_and_that_its_lists_change(mode: str, upstream: Hosted) -> None:
    async with (
        portal_over({"one": upstream}, name="acme", instructions="Be kind.") as portal,
        client_of(portal.mcp, LEGACY if mode == LEGACY else "auto") as client,
    ):
        assert client.server_info is not None and client.server_info.name == "acme"
        assert client.instructions == "Be kind."
        said = client.server_capabilities.model_dump(by_alias=True, exclude_none=True)
        for kind in ("tools", "prompts", "resources"):
            assert said[kind]["listChanged"] is True


async def test_the_answer_to_a_listing_may_not_be_shared_between_clients(portal: Portal) -> None:
    async with client_of(portal.mcp, MODERN) as client:
        listed = await client.list_tools()
        assert (listed.cache_scope, listed.ttl_ms) == ("private", 0)
        assert (await client.read_resource("test://one")).cache_scope == "private"


@both
async def test_a_call_of_a_server_that_is_down_says_why(upstream: Hosted, mode: str) -> None:
    entries: dict[str, Any] = {"one": upstream, "gone": {"command": "no-such-program-anywhere"}}
    why = "The server 'gone' is not available: .*no-such-program-anywhere.*Nothing ran"
    async with portal_over(entries) as portal, client_of(portal.mcp, mode) as client:
        with pytest.raises(MCPError, match=why) as called:
            await client.call_tool("gone_anything", {})
        with pytest.raises(MCPError, match=why) as got:
            await client.get_prompt("gone_anything")
        assert called.value.error.code == got.value.error.code == UNAVAILABLE
