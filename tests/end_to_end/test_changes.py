"""Configurations that change and upstreams that come, go and hang while programs run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from portal.config.config import load_config, parse_config
from portal.config.watch import watch_config
from portal.servers.snapshot import ServerSnapshot
from tests.end_to_end.whole import LEGACY, MODERN, Raw, Whole, run, sdk_client, whole
from tests.patience import PATIENCE
from tests.portal.portals import Heard
from tests.portal.upstreams.hosting import Hosted, hosted, served_process, stdio_entry
from tests.portal.upstreams.raw import Exchange, raw_upstream
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("version", [MODERN, LEGACY])


async def until(portal: Whole, true: Callable[[Mapping[str, ServerSnapshot]], bool]) -> None:
    """Wait until it is true of the registry's servers."""
    changed = asyncio.Event()
    unsubscribe = portal.instance.servers.subscribe(lambda old, new: changed.set())
    try:
        async with asyncio.timeout(PATIENCE):
            while not true(portal.instance.servers.snapshot.servers):
                await changed.wait()
                changed.clear()
    finally:
        unsubscribe()


def lists(tool: str, servers: Mapping[str, ServerSnapshot]) -> bool:
    return servers["one"].tool(tool) is not None


async def until_ready(portal: Whole, *names: str) -> None:
    await until(portal, lambda servers: all(servers[name].state == "ready" for name in names))


@asynccontextmanager
async def following(portal: Whole, file: Path) -> AsyncIterator[None]:
    """Take up changes of the file, as `codemode serve` does."""

    async def apply(config: Any) -> None:
        await portal.instance.servers.apply(config.servers)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch_config(file, apply, lambda error: None))
        yield
        watching.cancel()


@both
async def test_a_program_in_flight_ends_well_on_the_server_it_began_with(
    version: str, portal: Whole, upstream: Hosted
) -> None:
    """Its server is replaced and another one added; it sees neither, and the client is told of the change."""
    heard = Heard()
    program = "const said = await codemode.one.hang({text: ''}); return [said, 'two' in codemode]"
    async with hosted() as second, sdk_client(portal.code, LEGACY, message_handler=heard.message) as listener:
        await listener.list_tools()
        async with sdk_client(portal.code, version) as client:
            before = (await client.list_tools()).tools[0].description
            asked = asyncio.create_task(run(client, program))
            await upstream.upstream.journal.wait("call hang")
            servers = {"one": {"url": second.url}, "two": {"url": second.url}}
            await portal.instance.servers.apply(parse_config({"mcpServers": servers}).servers)
            await heard.until("notifications/tools/list_changed")
            await until_ready(portal, "one", "two")
            # New programs are on the new servers while the old one still waits.
            fresh = await run(
                client, "await codemode.one.echo({text: 'x'}); return Object.keys(codemode).includes('two')"
            )
            assert fresh["result"] is True and "call echo" in second.upstream.journal.entries
            assert not asked.done()
            upstream.upstream.release.set()
            assert (await asked)["result"] == ["released", False]
            after = (await client.list_tools()).tools[0].description
            assert after != before and "two" in (after or "")
    assert "call echo" not in upstream.upstream.journal.entries


async def test_a_changed_file_is_followed_while_a_program_runs_and_a_broken_one_is_not(
    tmp_path: Path, portal: Whole, upstream: Hosted
) -> None:
    file = tmp_path / "codemode.json"
    one = {"url": upstream.url}
    file.write_text(json.dumps({"mcpServers": {"one": one}}))
    load_config(file)
    async with following(portal, file), Raw(portal.code) as raw:
        asked = asyncio.create_task(raw.run("return await codemode.one.hang({text: ''})"))
        await upstream.upstream.journal.wait("call hang")
        file.write_text("{ broken")
        file.write_text(json.dumps({"mcpServers": {"one": one, "two": stdio_entry()}}))
        await until(portal, lambda servers: "two" in servers)
        await until_ready(portal, "one", "two")
        assert (await raw.run("return await codemode.two.echo({text: 'hello'})"))["result"] == "hello"
        upstream.upstream.release.set()
        assert (await asked)["result"] == "released"


async def test_a_removed_server_finishes_its_calls_and_is_then_gone(portal: Whole, upstream: Hosted) -> None:
    async with Raw(portal.code) as raw:
        asked = asyncio.create_task(raw.run("return await codemode.one.hang({text: ''})"))
        await upstream.upstream.journal.wait("call hang")
        await portal.instance.servers.apply({})
        found = await raw.run("return 'one' in codemode")
        assert found["result"] is False
        upstream.upstream.release.set()
        assert (await asked)["result"] == "released"
        assert (await portal.health())["servers"] == {}


@both
async def test_an_upstream_killed_during_a_program_is_a_truthful_error_and_the_next_call_works(version: str) -> None:
    program = """
        const began = await codemode.one.pid({text: ''});
        try { await codemode.one.die({text: 'boredom'}) }
        catch (error) { return [began, error.name, error.message, error.code, error.tool] }
    """
    async with whole({"one": stdio_entry()}) as portal, Raw(portal.code, version) as raw:
        pid, name, message, code, tool = (await raw.run(program))["result"]
        assert (name, code, tool) == ("ToolError", -32011, "one.die")
        assert "may have run" in message and "3" in message
        await until_ready(portal, "one")
        assert (await raw.run("return await codemode.one.pid({text: ''})"))["result"] not in (pid, None)


async def test_an_upstream_killed_and_started_again_within_one_program(version: str = MODERN) -> None:
    async with served_process("http") as (url, process):
        async with whole({"one": {"url": url}}) as portal, Raw(portal.code) as raw:
            asked = asyncio.create_task(
                raw.run(
                    "try { await codemode.one.hang({text: ''}) } catch (error) { var told = [error.name, error.code] }"
                    "for (;;) { try { return [told, await codemode.one.echo({text: 'back'})] }"
                    "catch (error) { await new Promise(then => setTimeout(then, 250)) } }"
                )
            )
            await raw.run("await codemode.one.journal({text: 'call hang'})")
            process.kill()
            await process.wait()
            port = int(url.split(":")[2].split("/")[0])
            async with served_process("http", port=port):
                found = await asked
            assert found.get("result") == [["ToolError", -32011], "back"], found


@both
async def test_an_upstream_that_hangs_delays_neither_lists_nor_calls_of_the_others(version: str) -> None:
    gone = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        await gone.wait()

    async with hosted(Behaviour(hang_on_list=True)) as mute, raw_upstream(never) as silent, hosted() as good:
        entries: dict[str, dict[str, Any]] = {
            "silent": {"url": silent.url, "timeout": 1},
            "good": {"url": good.url},
        }
        async with whole(entries) as portal:
            servers = parse_config({"mcpServers": {**entries, "mute": {"url": mute.url}}}).servers
            await portal.instance.servers.apply(servers)
            async with Raw(portal.code, version) as raw, Raw(portal.mcp, version) as plain:
                stuck = asyncio.create_task(
                    raw.run("try { await codemode.silent.echo({}) } catch (error) { return error.code }")
                )
                await silent.seen("tools/call")
                assert (await raw.run("return await codemode.good.echo({text: 'quick'})"))["result"] == "quick"
                listed = [tool["name"] for tool in (await plain.ask("tools/list", {}))["result"]["tools"]]
                assert "good_echo" in listed and "silent_echo" in listed
                assert (await portal.health())["servers"]["mute"]["state"] == "waiting"
                assert (await stuck)["result"] == -32001
                described = (await raw.ask("tools/list", {}))["result"]["tools"][0]["description"]
                assert "mute" in described
        gone.set()


async def test_a_server_that_cannot_be_reached_is_said_to_be_so_wherever_a_program_meets_it() -> None:
    entries = {"dead-one": {"url": "http://127.0.0.1:9/mcp"}}
    async with hosted() as good, whole({**entries, "good": {"url": good.url}}) as portal, Raw(portal.code) as raw:
        assert (await raw.run("return await codemode.good.echo({text: 'x'})"))["result"] == "x"
        described = (await raw.ask("tools/list", {}))["result"]["tools"][0]["description"]
        assert "dead-one is not available: cannot be reached" in described
        for program in (
            "return await codemode.describe('dead-one')",
            "return await codemode.tools({server: 'dead-one'})",
            "return await codemode.search('x', {server: 'dead-one'})",
            "return await codemode.dead_one.echo({})",
            "return await codemode['dead-one'].echo({})",
            "return await codemode.dead_one_echo({})",
        ):
            answer = await raw.ask("tools/call", {"name": "code", "arguments": {"code": program}})
            assert answer["result"]["isError"] is True
            text = answer["result"]["content"][0]["text"]
            assert "not available: cannot be reached" in text, text


async def test_hundreds_of_tools_that_change_again_and_again_are_always_listed_right() -> None:
    """Each change builds a catalog; programs meanwhile always see one that was true."""
    async with hosted(Behaviour(tools=500)) as upstream, whole({"one": {"url": upstream.url}}) as portal:
        async with Raw(portal.code) as raw:
            for name in ("extra1", "extra2", "extra3"):
                await upstream.upstream.change(name)
                await until(portal, partial(lists, name))
                found = await raw.run(f"return '{name}' in codemode.one")
                assert found["result"] is True
