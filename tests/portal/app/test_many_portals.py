"""Many portals in one instance: each with its servers, names, code mode and instructions; what they share, and what
not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from codemode import CodeTool
from portal.app import Instance, Parts, serving
from portal.config import parse_config
from tests.patience import PATIENCE
from tests.portal.portals import GENERATIONS, Heard, Kept, client_of, opened
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
CODE = "?codemode=search_and_execute"
CURATED: dict[str, Any] = {
    "name": "Curated",
    "hostname": "curated.example.com",
    "instructions": "Only the echo.",
    "servers": [
        {
            "server_id": "one",
            "default_disabled": True,
            "updated_tools": [{"name": "echo", "enabled": True, "alias": "repeat", "description": "Says it again."}],
        }
    ],
}
PORTALS: dict[str, Any] = {"curated": CURATED, "two": {"servers": ["two"]}, "empty": {}}


@dataclass
class Served:
    instance: Instance
    url: str
    kept: Kept
    servers: dict[str, Any]

    async def becomes(self, portals: Mapping[str, Any], **portal: Any) -> tuple[str, ...]:
        """Another configuration, taken up while serving."""
        document = {"mcpServers": self.servers, "portals": dict(portals), "portal": portal}
        return await self.instance.apply(parse_config(document, env={}))


@asynccontextmanager
async def served(
    upstream: Hosted, portals: Mapping[str, Any], *, code_tool: CodeTool | None = None, **portal: Any
) -> AsyncIterator[Served]:
    servers = {"one": {"url": upstream.url}, "two": {"url": upstream.url}}
    kept = Kept()
    document = {"mcpServers": servers, "portals": dict(portals), "portal": portal}
    async with opened(document, parts=Parts(code=code_tool, records=kept)) as instance:
        await instance.servers.settled()
        async with serving(instance) as url:
            yield Served(instance, url, kept, servers)


async def names(url: str, mode: str = "legacy") -> set[str]:
    async with client_of(url, mode) as client:
        return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_each_portal_shows_its_own_servers_under_its_own_names(mode: str) -> None:
    async with hosted() as upstream, served(upstream, PORTALS) as portal:
        every = await names(f"{portal.url}/mcp", mode)
        assert {name.partition("_")[0] for name in every} == {"one", "two"}
        assert await names(f"{portal.url}/two/mcp", mode) == {name for name in every if name.startswith("two_")}
        async with client_of(f"{portal.url}/curated/mcp", mode) as client:
            [tool] = (await client.list_tools()).tools
            assert (tool.name, tool.description) == ("one_repeat", "Says it again.")
            assert (await client.call_tool("one_repeat", {"text": "hi"})).is_error is not True
            for hidden in ("one_add", "one_echo", "two_echo"):
                with pytest.raises(Exception, match=hidden):
                    await client.call_tool(hidden, {"text": "x"})
        assert {(record.portal, record.name) for record in portal.kept.records if record.outcome == "ok"} == {
            ("curated", "echo")
        }


async def test_a_portal_without_servers_is_there_and_offers_nothing() -> None:
    async with hosted() as upstream, served(upstream, PORTALS) as portal, httpx2.AsyncClient() as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {"accept": "application/json, text/event-stream"}
        answer = await http.post(f"{portal.url}/empty/mcp", json=body, headers=headers)
        assert answer.status_code != 404
        with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="No allowed servers"), flatten_subgroups=True):
            await names(f"{portal.url}/empty/mcp")


async def test_a_portal_answers_under_its_host_name_and_an_unknown_host_learns_nothing() -> None:
    async with hosted() as upstream, served(upstream, PORTALS) as portal, httpx2.AsyncClient() as http:
        initialize = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        }
        found = {}
        for host in ("localhost", "curated.example.com", "CURATED.example.com:443", "elsewhere.example.com"):
            headers = {"host": host, "accept": "application/json, text/event-stream"}
            found[host] = await http.post(f"{portal.url}/mcp", json=initialize, headers=headers)
        assert "Only the echo." in found["curated.example.com"].text
        assert "Only the echo." in found["CURATED.example.com:443"].text
        assert "Only the echo." not in found["localhost"].text and found["localhost"].status_code == 200
        assert found["elsewhere.example.com"].status_code == 421
        unknown = await http.post(f"{portal.url}/nothing/mcp", json=initialize)
        misspelt = await http.post(f"{portal.url}/nothing", json=initialize)
        assert unknown.status_code == misspelt.status_code == 404
        assert unknown.json()["error"]["data"] == misspelt.json()["error"]["data"]


async def test_a_session_of_one_portal_is_nothing_at_another() -> None:
    async with hosted() as upstream, served(upstream, PORTALS) as portal, httpx2.AsyncClient() as http:
        headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        begun = await http.post(f"{portal.url}/two/mcp", json=body, headers=headers)
        session = {"mcp-session-id": begun.headers["mcp-session-id"]}
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
        here = await http.post(f"{portal.url}/two/mcp", json=listing, headers=headers | session)
        assert here.status_code == 200
        for other in ("/mcp", "/curated/mcp"):
            there = await http.post(portal.url + other, json=listing, headers=headers | session)
            assert there.status_code == 404


async def test_the_code_mode_of_each_portal_is_its_own_and_programs_see_its_names(code_tool: CodeTool) -> None:
    portals = {
        **PORTALS,
        "curated": {**CURATED, "codeMode": "enforced"},
        "two": {"servers": ["two"], "codeMode": "off"},
    }
    async with hosted() as upstream, served(upstream, portals, code_tool=code_tool) as portal:
        assert await names(f"{portal.url}/curated/mcp") == {"code"}
        assert "code" not in await names(f"{portal.url}/two/mcp{CODE}")
        async with client_of(f"{portal.url}/curated/mcp", "legacy") as client:
            program = "return [Object.keys(codemode.one), await codemode.one.repeat({text: 'hi'})]"
            answer = await client.call_tool("code", {"code": program})
            assert answer.structured_content is not None
            assert answer.structured_content["result"] == [["repeat"], "hi"]


async def test_portals_come_change_and_go_while_sessions_are_open() -> None:
    async with hosted() as upstream, served(upstream, PORTALS) as portal:
        heard = Heard()
        async with client_of(f"{portal.url}/curated/mcp", "legacy", message_handler=heard.message) as client:
            assert len((await client.list_tools()).tools) == 1
            wider = {**CURATED, "servers": ["one"]}
            assert await portal.becomes({"curated": wider, "fresh": {"servers": ["one"]}}) == ()
            await heard.until("notifications/tools/list_changed")
            assert len((await client.list_tools()).tools) > 1
            assert len(await names(f"{portal.url}/fresh/mcp")) > 1
            async with httpx2.AsyncClient() as http:
                gone = await http.post(f"{portal.url}/two/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
                assert gone.status_code == 404


async def test_a_program_that_runs_loses_a_server_that_its_portal_loses(code_tool: CodeTool) -> None:
    curated = {**CURATED, "codeMode": "enforced", "servers": [*CURATED["servers"], "two"]}
    async with hosted() as upstream, served(upstream, {"curated": curated}, code_tool=code_tool) as portal:
        program = """
        await codemode.one.repeat({text: 'first'});
        await new Promise((done) => setTimeout(done, 1500));
        return await codemode.one.repeat({text: 'second'}).catch((error) => error.message);
        """
        async with client_of(f"{portal.url}/curated/mcp", "legacy") as client:
            running = asyncio.create_task(client.call_tool("code", {"code": program}))
            async with asyncio.timeout(PATIENCE):
                while not portal.kept.records:
                    await asyncio.sleep(0.01)
            await portal.becomes({"curated": {**curated, "servers": ["two"]}})
            answer = await running
        assert answer.structured_content is not None
        assert "No policy is attached to the server 'one'" in answer.structured_content["result"]


async def test_each_upstream_server_is_connected_and_listed_once_for_all_portals() -> None:
    many = {f"p{number}": {"servers": ["one"]} for number in range(20)}
    async with hosted() as upstream, served(upstream, {}) as alone:
        await names(f"{alone.url}/mcp")
        single = upstream.upstream.journal.entries.count("tools/list")
    async with hosted() as upstream, served(upstream, many) as portal:
        for id in many:
            await names(f"{portal.url}/{id}/mcp")
        assert upstream.upstream.journal.entries.count("tools/list") == single


async def test_portals_that_show_the_same_answer_under_their_own_names() -> None:
    same: dict[str, Any] = {"a": {"name": "First", "servers": ["one"]}, "b": {"name": "Second", "servers": ["one"]}}
    async with hosted() as upstream, served(upstream, same) as portal:
        for _ in range(2):
            for id, name in (("a", "First"), ("b", "Second")):
                async with client_of(f"{portal.url}/{id}/mcp", "2026-07-28") as client:
                    listed = await client.list_tools()
                    assert listed.meta is not None
                    assert listed.meta["io.modelcontextprotocol/serverInfo"]["name"] == name
