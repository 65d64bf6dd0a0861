"""While a server is still connecting, whatever names it waits for it, and nothing else waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.app import Parts, serving
from portal.endpoint import views
from portal.errors import UNAVAILABLE
from tests.patience import PATIENCE
from tests.portal.portals import GENERATIONS, MODERN, Kept, client_of, opened
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.raw import Exchange, Raw, raw_upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
NEVER_ENDING = {"connectTimeout": 100}


@pytest.fixture
async def up() -> AsyncIterator[Hosted]:
    async with hosted() as upstream:
        yield upstream


class Slow:
    """A server that does not answer until `arrive` or `fail`."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._decided = asyncio.Event()
        self._fails = False
        raw.overrides |= {"server/discover": self._discover, "initialize": self._discover}

    @property
    def entry(self) -> dict[str, Any]:
        return {"url": self._raw.url, "type": "http", **NEVER_ENDING}

    def arrive(self) -> None:
        self._raw.overrides.clear()
        self._decided.set()

    def fail(self) -> None:
        self._fails = True
        self._decided.set()

    async def asked(self) -> None:
        await self._raw.seen("server/discover")

    async def _discover(self, exchange: Exchange) -> None:
        await self._decided.wait()
        if self._fails:
            await exchange.answer(b"", status=401)
        else:
            await exchange.result({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    async def fine(exchange: Exchange) -> None:
        await exchange.text("arrived")

    async with raw_upstream(fine) as raw:
        yield Slow(raw)


@asynccontextmanager
async def portal_of(entries: Mapping[str, Any], code_tool: CodeTool, **settings: Any) -> AsyncIterator[str]:
    """A portal that has just been started: the server `up` is ready, the others connect. Its MCP URL."""
    document = {"mcpServers": dict(entries), "portal": settings}
    async with opened(document, parts=Parts(code=code_tool, records=Kept())) as instance:
        changed = asyncio.Event()
        instance.servers.subscribe(lambda old, new: changed.set())
        async with asyncio.timeout(PATIENCE):
            while instance.servers.snapshot.servers["up"].state != "ready":
                changed.clear()
                await changed.wait()
        async with serving(instance) as url:
            yield f"{url}/mcp"


def text_of(result: Any) -> str:
    return str(result.content[0].text)


async def others_are_served(client: Any) -> None:
    """What names only a server that is up is answered, while something else waits."""
    answer = await client.call_tool("code", {"code": 'return await codemode.up.echo({text: "slow"})'})
    assert answer.structured_content["result"] == "slow"


@both
async def test_a_program_that_names_a_server_waits_for_it_and_no_other_does(
    mode: str, up: Hosted, slow: Slow, code_tool: CodeTool
) -> None:
    async with portal_of({"up": {"url": up.url}, "slow": slow.entry}, code_tool) as url:
        async with client_of(f"{url}?codemode=search_and_execute", mode) as client:
            program = {"code": "return [await codemode.slow.echo({}), await codemode.up.echo({text: 'up'})]"}
            waiting = asyncio.create_task(client.call_tool("code", program))
            await slow.asked()
            await others_are_served(client)
            assert not waiting.done()
            slow.arrive()
            assert (await waiting).structured_content["result"] == ["arrived", "up"]


@pytest.mark.parametrize("name", ['["sl", "ow"].join("")', '"SLOW".toLowerCase() + ".echo"', '`sl${"ow"}_echo`'])
async def test_a_program_that_computes_the_name_of_a_server_waits_for_it(
    name: str, up: Hosted, slow: Slow, code_tool: CodeTool
) -> None:
    async with portal_of({"up": {"url": up.url}, "slow": slow.entry}, code_tool) as url:
        async with client_of(f"{url}?codemode=search_and_execute", MODERN) as client:
            program = f"const name = {name}; const found = codemode[name]; return await (found.echo ?? found)({{}})"
            waiting = asyncio.create_task(client.call_tool("code", {"code": program}))
            await slow.asked()
            await others_are_served(client)
            named = 'const name = "up"; return await codemode[name].echo({text: "up"})'
            answer = await client.call_tool("code", {"code": named})
            assert answer.structured_content["result"] == "up", "it names a server that is up"
            assert not waiting.done()
            slow.arrive()
            assert (await waiting).structured_content["result"] == "arrived"


@both
async def test_an_attempt_that_fails_ends_the_wait_with_its_reason(
    mode: str, up: Hosted, slow: Slow, code_tool: CodeTool
) -> None:
    async with portal_of({"up": {"url": up.url}, "slow": slow.entry}, code_tool) as url:
        async with client_of(f"{url}?codemode=search_and_execute", mode) as client:
            waiting = asyncio.create_task(client.call_tool("code", {"code": "await codemode.slow.echo({})"}))
            await slow.asked()
            slow.fail()
            error = (await waiting).structured_content["error"]
            assert "asks for authorization (HTTP 401)" in str(error)
            assert "still connecting" not in str(error)


async def test_nobody_waits_longer_than_the_server_s_connect_timeout(
    up: Hosted, slow: Slow, code_tool: CodeTool
) -> None:
    entry = {**slow.entry, "connectTimeout": 1}
    async with portal_of({"up": {"url": up.url}, "slow": entry}, code_tool) as url:
        async with client_of(f"{url}?codemode=search_and_execute", MODERN) as client:
            error = (await client.call_tool("code", {"code": "await codemode.slow.echo({})"})).structured_content[
                "error"
            ]
            assert "is not available" in str(error)


@both
async def test_whoever_has_waited_long_enough_is_told_for_what_and_that_nothing_ran(
    mode: str, up: Hosted, code_tool: CodeTool
) -> None:
    async def fine(exchange: Exchange) -> None:
        await exchange.text("arrived")

    async def never(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async with raw_upstream(fine) as raw:
        raw.overrides["tools/list"] = never
        entry = {"url": raw.url, "type": "http", "connectTimeout": 1}
        async with portal_of({"up": {"url": up.url}, "slow": entry}, code_tool) as url:
            said = (
                "The server 'slow' is not available: still connecting, and its list of tools has not come yet; "
                "try again in a few seconds. Nothing ran."
            )
            async with client_of(url, mode) as client:
                for asked in (client.call_tool("slow_echo", {}), client.get_prompt("slow_greet")):
                    with pytest.raises(MCPError) as caught:
                        await asked
                    assert (caught.value.error.code, caught.value.error.message) == (UNAVAILABLE, said)
            async with client_of(f"{url}?codemode=search_and_execute", mode) as client:
                text = text_of(await client.call_tool("code", {"code": "await codemode.slow.echo({})"}))
                assert said.removeprefix("The ").removesuffix(" Nothing ran.") in text
                assert "nothing was run" in text
                description = (await client.list_tools()).tools[0].description or ""
                assert "- slow is not available: still connecting" in description
                assert "try again in a few seconds\n" in description


async def test_a_client_that_leaves_waits_no_longer(up: Hosted, slow: Slow, code_tool: CodeTool) -> None:
    async with portal_of({"up": {"url": up.url}, "slow": slow.entry}, code_tool) as url:
        async with client_of(f"{url}?codemode=search_and_execute", MODERN) as client:
            waiting = asyncio.create_task(client.call_tool("code", {"code": "await codemode.slow.echo({})"}))
            await slow.asked()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await others_are_served(client)


@both
async def test_a_list_in_code_mode_and_a_search_wait_briefly(
    mode: str, up: Hosted, slow: Slow, code_tool: CodeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with portal_of({"up": {"url": up.url}, "slow": slow.entry}, code_tool) as url:
        async with client_of(f"{url}?codemode=search_and_execute", mode) as client:
            search = {"code": 'return (await codemode.search("", {})).map(one => [one.server, one.tools > 0])'}
            monkeypatch.setattr("portal.endpoint.views.BRIEFLY", 0.0)
            assert "slow" in ((await client.list_tools()).tools[0].description or ""), "named as unavailable"
            assert (await client.call_tool("code", search)).structured_content["result"] == [
                ["up", True],
                ["slow", False],
            ]
            monkeypatch.setattr("portal.endpoint.views.BRIEFLY", 100.0)
            listing = asyncio.create_task(client.list_tools())
            searching = asyncio.create_task(client.call_tool("code", search))
            await slow.asked()
            await others_are_served(client)
            assert not listing.done() and not searching.done()
            slow.arrive()
            description = (await listing).tools[0].description or ""
            assert "still connecting" not in description and "slow" in description
            assert (await searching).structured_content["result"] == [["up", True], ["slow", True]]


@both
async def test_a_plain_call_waits_for_the_server_in_its_name_and_a_plain_list_does_not(
    mode: str, up: Hosted, slow: Slow, code_tool: CodeTool
) -> None:
    async with portal_of({"up": {"url": up.url}, "slow": slow.entry}, code_tool) as url, client_of(url, mode) as client:
        assert all(tool.name.startswith("up_") for tool in (await client.list_tools()).tools)
        waiting = asyncio.create_task(client.call_tool("slow_echo", {}))
        prompt = asyncio.create_task(client.get_prompt("slow_nothing"))
        await slow.asked()
        assert text_of(await client.call_tool("up_echo", {"text": "x"})) == "x"
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("up_nothing", {})
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("nobody_nothing", {})
        assert not waiting.done() and not prompt.done()
        slow.arrive()
        assert text_of(await waiting) == "arrived"
        with pytest.raises(MCPError, match="Unknown prompt"):
            await prompt


async def test_search_and_execute_wait_as_search_and_calls_do(
    up: Hosted, slow: Slow, code_tool: CodeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.views.BRIEFLY", 100.0)
    entries = {"up": {"url": up.url}, "slow": slow.entry}
    async with (
        portal_of(entries, code_tool) as url,
        client_of(f"{url}?optimize_context=search_and_execute", MODERN) as client,
    ):
        query = asyncio.create_task(client.call_tool("query", {"names": ["slow_echo"]}))
        execute = asyncio.create_task(client.call_tool("execute", {"name": "slow_echo"}))
        await slow.asked()
        answer = await client.call_tool("execute", {"name": "up_echo", "arguments": {"text": "x"}})
        assert text_of(answer) == "x"
        assert not query.done() and not execute.done()
        slow.arrive()
        assert (await query).structured_content["tools"][0]["name"] == "slow_echo"
        assert text_of(await execute) == "arrived"


@both
async def test_a_uri_that_no_server_lists_waits_for_those_that_may(
    mode: str, up: Hosted, slow: Slow, code_tool: CodeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "BRIEFLY", PATIENCE)
    async with portal_of({"up": {"url": up.url}, "slow": slow.entry}, code_tool) as url, client_of(url, mode) as client:
        await slow.asked()
        await client.read_resource("test://one")
        reading = asyncio.create_task(client.read_resource("test://two"))
        await client.list_tools()
        assert up.upstream.asked_of == ["test://one"] and not reading.done()
        slow.arrive()
        await reading
        assert up.upstream.asked_of == ["test://one", "test://two"]


@both
async def test_and_is_not_guessed_while_they_connect(
    mode: str, up: Hosted, slow: Slow, code_tool: CodeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "BRIEFLY", 0.0)
    async with portal_of({"up": {"url": up.url}, "slow": slow.entry}, code_tool) as url, client_of(url, mode) as client:
        with pytest.raises(MCPError, match="mcp-server://"):
            await client.read_resource("test://two")
        await client.read_resource("mcp-server://up/test%3A%2F%2Ftwo")
        assert up.upstream.asked_of == ["test://two"]
        slow.arrive()
