"""Over HTTP, in every mode and both generations: callers see and do what the policies of this moment give them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.server.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.access import NO_SERVERS
from portal.access.access import Access
from portal.endpoint import express
from portal.endpoint.views import Views
from portal.errors import DENIED
from portal.identity import Identity
from tests.patience import PATIENCE
from tests.portal.access.guarded import (
    ADA,
    ANYBODY,
    ENGINEERS,
    STAFF,
    Guarded,
    group,
    guarded,
    policy,
)
from tests.portal.endpoint.test_express import CALL, HEAD, LIST, LIST_HEAD, comparable
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Heard, client_of
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
DESTROYING = [
    {"name": "wipe", "inputSchema": {"type": "object"}, "annotations": {"destructiveHint": True}},
    {"name": "read", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
]
OPEN = {
    "portal": {"policies": [STAFF]},
    "servers": [{"id": "one", "policies": [ANYBODY]}, {"id": "two", "policies": [ENGINEERS]}],
}
LOST = {**OPEN, "servers": [{"id": "one", "policies": [ANYBODY]}, {"id": "two", "policies": []}]}


@pytest.fixture
async def upstreams() -> AsyncIterator[dict[str, Hosted]]:
    async with hosted() as one, hosted(Behaviour(more=list(DESTROYING))) as two:
        yield {"one": one, "two": two}


@pytest.fixture
async def portal(upstreams: dict[str, Hosted]) -> AsyncIterator[Guarded]:
    async with guarded(upstreams, OPEN) as portal:
        yield portal


@pytest.fixture
async def coding(upstreams: dict[str, Hosted], code_tool: CodeTool) -> AsyncIterator[Guarded]:
    async with guarded(upstreams, OPEN, code_tool=code_tool) as portal:
        yield portal


async def names(client: Any) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


def servers_of(listed: set[str]) -> set[str]:
    return {name.partition("_")[0] for name in listed}


async def ran(client: Any, program: str) -> dict[str, Any]:
    answer = await client.call_tool("code", {"code": program})
    assert answer.structured_content is not None
    found: dict[str, Any] = answer.structured_content
    return found


@both
async def test_lists_hold_only_the_servers_both_portal_and_server_give(portal: Guarded, mode: str) -> None:
    async with client_of(portal.mcp("ada"), mode) as ada, client_of(portal.mcp("bob"), mode) as bob:
        assert servers_of(await names(ada)) == {"one", "two"}
        assert servers_of(await names(bob)) == {"one"}
        assert {p.name for p in (await ada.list_prompts()).prompts} == {"one_greet", "two_greet"}
        assert {p.name for p in (await bob.list_prompts()).prompts} == {"one_greet"}
        assert len((await ada.list_resources()).resources) == 2 * len((await bob.list_resources()).resources)
        assert len((await bob.list_resource_templates()).resource_templates) > 0


@both
async def test_the_other_modes_show_the_same_servers(coding: Guarded, mode: str) -> None:
    async with client_of(coding.mcp("bob", "&optimize_context=minimize_tools"), mode) as client:
        assert servers_of(await names(client) - {"query"}) == {"one"}
        found = await client.call_tool("query", {"query": "echo"})
        assert {tool["name"].partition("_")[0] for tool in found.structured_content["tools"]} == {"one"}
        assert (await client.call_tool("query", {"names": ["two_echo"]})).is_error
    async with client_of(coding.code("bob"), mode) as client:
        seen = await ran(client, "(await codemode.tools()).map(t => t.server)")
        assert set(seen["result"]) == {"one"}
        assert (await ran(client, "codemode.two.echo({text: 'x'})"))["status"] == "failed"
        assert (await ran(client, "codemode.one.echo({text: 'x'})"))["result"] == "x"


@both
async def test_a_direct_call_that_is_not_allowed_names_its_policy_to_the_client_and_in_the_record(
    portal: Guarded, upstreams: dict[str, Hosted], mode: str
) -> None:
    async with client_of(portal.mcp("bob"), mode) as client:
        assert (await client.call_tool("one_echo", {"text": "x"})).content
        for attempt in (
            client.call_tool("two_echo", {"text": "x"}),
            client.get_prompt("two_greet"),
            client.read_resource("mcp-server://two/test%3A%2F%2Fone"),
        ):
            with pytest.raises(MCPError) as caught:
                await attempt
            assert (caught.value.error.code, caught.value.error.data) == (DENIED, {"policy": "default-deny"})
            assert "'two'" in caught.value.error.message and "bob@example.com" in caught.value.error.message
            last = portal.kept.records[-1]
            assert (last.outcome, last.policy, last.identity, last.server) == ("denied", "default-deny", "bob", "two")
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("three_echo", {})
    assert "call echo" not in upstreams["two"].upstream.journal.entries


@both
async def test_a_tool_that_is_listed_under_another_name_is_denied_by_either(mode: str) -> None:
    oddly_named = [{"name": "wipe all", "inputSchema": {"type": "object"}}]
    async with hosted() as one, hosted(Behaviour(more=oddly_named)) as two:
        async with guarded({"one": one, "two": two}, OPEN) as portal:
            async with client_of(portal.mcp("ada"), mode) as ada, client_of(portal.mcp("bob"), mode) as bob:
                (listed,) = (name for name in await names(ada) if name.startswith("two_wipe_all_"))
                for name in (listed, "two_wipe all", "wipe all"):
                    with pytest.raises(MCPError) as caught:
                        await bob.call_tool(name, {})
                    assert caught.value.error.code == DENIED
                    last = portal.kept.records[-1]
                    assert (last.outcome, last.server, last.name) == ("denied", "two", "wipe all")


async def test_execute_asks_the_gate_as_well(portal: Guarded) -> None:
    async with client_of(portal.mcp("bob", "&optimize_context=search_and_execute"), MODERN) as client:
        assert (await client.call_tool("execute", {"name": "one_echo", "arguments": {"text": "x"}})).content
        with pytest.raises(MCPError) as caught:
            await client.call_tool("execute", {"name": "two_echo", "arguments": {"text": "x"}})
        assert caught.value.error.data == {"policy": "default-deny"}


@both
async def test_who_may_use_no_server_is_told_so_in_the_words_of_the_original(
    upstreams: dict[str, Hosted], mode: str
) -> None:
    document = {**OPEN, "servers": [{"id": "one", "policies": [ENGINEERS]}, {"id": "two", "policies": [ENGINEERS]}]}
    async with guarded(upstreams, document) as portal, client_of(portal.mcp("bob"), mode) as client:
        for attempt in (client.list_tools(), client.list_prompts(), client.list_resources()):
            with pytest.raises(MCPError) as caught:
                await attempt
            assert caught.value.error.message == NO_SERVERS
            assert NO_SERVERS == "No allowed servers available, check your Zero Trust Policies"
            assert caught.value.error.data == {"policy": "default-deny"}


async def test_whom_the_portal_does_not_admit_gets_403_with_the_policy_whatever_he_asks(portal: Guarded) -> None:
    outsiders = policy("outsiders", "deny", {"email": {"email": "eve@elsewhere.example"}})
    portal.decide_by({**OPEN, "portal": {"policies": [outsiders, STAFF]}})
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:
        for url, expected in (
            (portal.mcp("eve"), "outsiders"),
            (portal.code("eve"), "outsiders"),
            (portal.mcp("nobody"), "default-deny"),
            (portal.mcp("robot"), "default-deny"),
        ):
            for method in ("POST", "GET", "DELETE"):
                body = {"jsonrpc": "2.0", "id": 1, "method": "ping"} if method == "POST" else None
                answer = await http.request(method, url, json=body)
                assert answer.status_code == 403
                error = answer.json()["error"]
                assert error["data"] == {"reason": "denied", "policy": expected}
        assert (await http.get(f"{portal.url}/healthz")).json() == {"status": "ok"}


async def test_a_service_token_comes_in_by_a_policy_for_it_and_by_no_other(upstreams: dict[str, Hosted]) -> None:
    robots = policy("robots", "non_identity", {"service_token": {"token_id": "robot"}})
    document = {
        "portal": {"policies": [STAFF, robots]},
        "servers": [{"id": "one", "policies": [robots]}, {"id": "two", "policies": [ANYBODY]}],
    }
    async with guarded(upstreams, document) as portal, client_of(portal.mcp("robot"), MODERN) as client:
        assert servers_of(await names(client)) == {"one"}
        await client.call_tool("one_echo", {"text": "x"})
        assert portal.kept.records[-1].identity == "service:robot"


@both
async def test_a_change_is_told_to_open_sessions_and_holds_at_once(portal: Guarded, mode: str) -> None:
    heard = Heard()
    async with client_of(portal.mcp("ada"), mode, message_handler=heard.message) as client:
        assert "two_echo" in await names(client)
        async with AsyncExitStack() as stack:
            if mode == MODERN:
                listening = await stack.enter_async_context(client.listen(tools_list_changed=True))
            portal.decide_by(LOST)
            if mode == MODERN:
                async with asyncio.timeout(PATIENCE):
                    assert await anext(aiter(listening))
            else:
                await heard.until("notifications/tools/list_changed")
        assert servers_of(await names(client)) == {"one"}
        with pytest.raises(MCPError) as caught:
            await client.call_tool("two_echo", {"text": "x"})
        assert caught.value.error.data == {"policy": "default-deny"}


async def test_a_session_that_sees_the_same_as_before_is_not_disturbed(portal: Guarded) -> None:
    disturbed, told = Heard(), Heard()
    async with (
        client_of(portal.mcp("bob"), LEGACY, message_handler=disturbed.message) as bob,
        client_of(portal.mcp("ada"), LEGACY, message_handler=told.message) as ada,
    ):
        await names(bob), await names(ada)
        portal.decide_by(OPEN)  # The first change: nothing is known of what they were told, so both are.
        await disturbed.until("notifications/tools/list_changed")
        await told.until("notifications/tools/list_changed")
        portal.decide_by(LOST)
        await told.until("notifications/tools/list_changed", 2)
        await bob.call_tool("one_echo", {"text": "x"})
        assert len(disturbed.of("notifications/tools/list_changed")) == 1


async def test_a_running_program_loses_a_server_with_its_next_call(
    coding: Guarded, upstreams: dict[str, Hosted]
) -> None:
    program = """
      const before = await codemode.two.echo({text: "before"});
      await codemode.one.hang({text: ""});
      try { await codemode.two.echo({text: "after"}); return "still there"; }
      catch (error) { return {before, name: error.name, kind: error.kind, message: error.message, data: error.data}; }
    """
    async with client_of(coding.code("ada"), MODERN) as client:
        running = asyncio.create_task(ran(client, program))
        await upstreams["one"].upstream.journal.wait("call hang")
        coding.decide_by(LOST)
        upstreams["one"].upstream.release.set()
        answer = await running
        assert answer["result"] == {
            "before": "before",
            "name": "ToolError",
            "kind": "denied",
            "message": "No policy of the server 'two' allows ada@example.com.",
            "data": {"policy": "default-deny"},
        }
        assert [call["status"] for call in answer["calls"]] == ["ok", "ok", "denied"]
        assert (coding.kept.records[-1].outcome, coding.kept.records[-1].policy) == ("denied", "default-deny")
        assert coding.kept.records[-1].run == answer["executionId"]


async def test_what_is_not_identity_is_looked_at_with_every_request_and_every_call_of_a_program(
    upstreams: dict[str, Hosted], code_tool: CodeTool
) -> None:
    """The caller's risk rises while a program runs; the address changes between two requests."""
    risks = {"ada": "low"}

    class Risk:
        async def prepare(self, identity: Identity, access: Access) -> None:
            return None

        def current(self, identity: Identity) -> Identity | None:
            return replace(identity, user_risk=risks.get(identity.id, ""))

    calm = policy("calm", "allow", {"everyone": {}}, require=[{"user_risk_score": {"user_risk_score": ["low"]}}])
    office = policy("office", "allow", {"ip": {"ip": "192.0.2.0/24"}})
    document = {
        "portal": {"policies": [office]},
        "servers": [{"id": "one", "policies": [ANYBODY]}, {"id": "two", "policies": [calm]}],
    }
    program = """
      await codemode.two.echo({text: "a"});
      await codemode.one.hang({text: ""});
      try { return await codemode.two.echo({text: "b"}); } catch (error) { return error.kind; }
    """
    async with (
        guarded(upstreams, document, code_tool=code_tool, signals=Risk()) as portal,
        client_of(portal.code("ada"), MODERN) as client,
    ):
        running = asyncio.create_task(ran(client, program))
        await upstreams["one"].upstream.journal.wait("call hang")
        risks["ada"] = "high"
        upstreams["one"].upstream.release.set()
        assert (await running)["result"] == "denied"
        portal.callers["ada"] = replace(ADA, ip="203.0.113.5")
        with pytest.raises(Exception, match="403|allows|denied"):
            await ran(client, "1")


async def test_a_login_that_ended_stops_a_running_program_and_the_session(
    upstreams: dict[str, Hosted], code_tool: CodeTool
) -> None:
    ended: set[str] = set()

    class Logins:
        async def prepare(self, identity: Identity, access: Access) -> None:
            return None

        def current(self, identity: Identity) -> Identity | None:
            return None if identity.id in ended else identity

    program = "await codemode.one.hang({text: ''}); return await codemode.two.echo({text: 'x'}).catch(e => e.data)"
    async with (
        guarded(upstreams, OPEN, code_tool=code_tool, signals=Logins()) as portal,
        client_of(portal.code("ada"), MODERN) as client,
    ):
        await names(client)  # The SDK's client would ask for it after the call.
        running = asyncio.create_task(ran(client, program))
        await upstreams["one"].upstream.journal.wait("call hang")
        ended.add("ada")
        upstreams["one"].upstream.release.set()
        assert (await running)["result"] == {"policy": "login"}
        async with httpx2.AsyncClient() as http:
            assert (await http.get(portal.mcp("ada"))).status_code == 403


@both
async def test_settings_hide_rename_and_describe_tools_and_prompts(
    upstreams: dict[str, Hosted], code_tool: CodeTool, mode: str
) -> None:
    document = {
        "portal": {
            "policies": [ANYBODY],
            "servers": [
                {
                    "server_id": "one",
                    "default_disabled": True,
                    "updated_tools": [
                        {"name": "echo", "enabled": True, "alias": "say-again"},
                        {"name": "structured", "enabled": True},
                    ],
                    "updated_prompts": [{"name": "greet", "enabled": True, "alias": "hello"}],
                },
                {"server_id": "two", "updated_tools": [{"name": "wipe", "enabled": False}]},
            ],
        },
        "servers": [
            {
                "id": "one",
                "policies": [ANYBODY],
                "updated_tools": [{"name": "echo", "alias": "repeat", "description": "Says it once more."}],
            },
            {"id": "two", "policies": [ANYBODY], "updated_tools": [{"name": "read", "alias": "peruse"}]},
        ],
    }
    async with guarded(upstreams, document, code_tool=code_tool) as portal:
        async with client_of(portal.mcp("eve"), mode) as client:
            listed = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert {name for name in listed if name.startswith("one_")} == {"one_say-again", "one_structured"}
            assert listed["one_say-again"].description == "Says it once more."
            assert "two_wipe" not in listed and "two_peruse" in listed and "two_read" not in listed
            assert {p.name for p in (await client.list_prompts()).prompts} == {"one_hello", "two_greet"}
            assert (await client.call_tool("one_say-again", {"text": "x"})).content[0] == types.TextContent(text="x")
            assert (await client.get_prompt("one_hello")).messages
            assert portal.kept.records[-2].name == "echo"
            with pytest.raises(MCPError) as caught:
                await client.call_tool("two_wipe", {})
            assert caught.value.error.data == {"policy": "tool-settings"}
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool("one_echo", {"text": "x"})
        async with client_of(portal.code("eve"), mode) as client:
            answer = await ran(client, "codemode.one.say_again({text: 'y'})")
            assert (answer["result"], answer["calls"][0]["tool"]) == ("y", "one.say_again")
            found = await ran(client, "(await codemode.tools({server: 'one'})).map(t => [t.name, t.description])")
            assert ["say_again", "Says it once more."] in found["result"]


async def test_policies_of_tools_decide_by_hints_arguments_and_how_often(
    upstreams: dict[str, Hosted], code_tool: CodeTool
) -> None:
    tool_policies = [
        {
            **policy("no-wiping", "deny", {"everyone": {}}, exclude=[group("admins")]),
            "tools": {"names": ["wipe"], "annotations": {"destructiveHint": True}},
        },
        {
            **policy("no-shouting", "deny", {"everyone": {}}),
            "tools": {"names": ["echo"], "expression": "arguments.text.startsWith('LOUD')"},
        },
        {**policy("a-little", "allow", {"everyone": {}}), "tools": {"names": ["echo"]}, "calls_per_run": 2},
    ]
    document = {
        "portal": {"policies": [ANYBODY]},
        "servers": [
            {"id": "one", "policies": [ANYBODY]},
            {"id": "two", "policies": [ANYBODY], "tool_policies": tool_policies},
        ],
    }
    program = """
      const told = [];
      for (const text of ["a", "LOUD", "b", "c"])
        told.push(await codemode.two.echo({text}).catch(error => error.data.policy));
      return told;
    """
    async with guarded(upstreams, document, code_tool=code_tool) as portal:
        async with client_of(portal.mcp("ada"), MODERN) as client:
            assert "two_wipe" not in await names(client) and "two_echo" in await names(client)
            with pytest.raises(MCPError) as caught:
                await client.call_tool("two_wipe", {})
            assert caught.value.error.data == {"policy": "no-wiping"}
            with pytest.raises(MCPError) as caught:
                await client.call_tool("two_echo", {"text": "LOUD"})
            assert caught.value.error.data == {"policy": "no-shouting"}
            for _ in range(3):
                await client.call_tool("two_echo", {"text": "x"})
        async with client_of(portal.code("ada"), MODERN) as client:
            for _ in range(2):
                assert (await ran(client, program))["result"] == ["a", "no-shouting", "b", "a-little"]


async def test_a_session_belongs_to_whoever_opened_it(portal: Guarded) -> None:
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        accept = {"accept": "application/json, text/event-stream"}
        opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
        answer = await http.post(portal.mcp("ada"), json=opening, headers=accept)
        session = {**accept, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await http.post(portal.mcp("ada"), json=initialized, headers=session)).status_code == 202
        listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for method, body in (("POST", listing), ("GET", None), ("DELETE", None)):
            stolen = await http.request(method, portal.mcp("bob"), json=body, headers=session)
            assert (stolen.status_code, stolen.json()["error"]["data"]) == (404, {"reason": "session"})
        assert (await http.post(portal.mcp("ada"), json=listing, headers=session)).status_code == 200


async def test_resources_are_told_of_only_to_those_who_may_see_them(
    portal: Guarded, upstreams: dict[str, Hosted]
) -> None:
    """Both servers list the same URI: to ada the second is known by its owner, to bob it does not exist."""
    ada_heard, bob_heard = Heard(), Heard()
    owned = "mcp-server://two/test%3A%2F%2Fone"
    updated = "notifications/resources/updated"
    async with (
        client_of(portal.mcp("ada"), LEGACY, message_handler=ada_heard.message) as ada,
        client_of(portal.mcp("bob"), LEGACY, message_handler=bob_heard.message) as bob,
    ):
        await ada.session.subscribe_resource(owned)
        await bob.session.subscribe_resource("test://one")
        with pytest.raises(MCPError) as caught:
            await bob.session.subscribe_resource(owned)
        assert caught.value.error.data == {"policy": "default-deny"}
        await upstreams["two"].upstream.touch("test://one")
        assert [message.params.uri for message in await ada_heard.until(updated)] == [owned]
        await upstreams["one"].upstream.touch("test://one")
        assert [message.params.uri for message in await bob_heard.until(updated)] == ["test://one"]
        assert len(ada_heard.of(updated)) == 1


async def test_a_listening_client_hears_of_resources_by_the_names_it_knows_them_by(
    portal: Guarded, upstreams: dict[str, Hosted]
) -> None:
    portal.decide_by({**OPEN, "servers": [{"id": "one", "policies": []}, {"id": "two", "policies": [ANYBODY]}]})
    owned, raw = "mcp-server://two/test%3A%2F%2Fone", "test://one"
    async with client_of(portal.mcp("bob"), MODERN) as bob:
        assert [str(one.uri) for one in (await bob.list_resources()).resources].count(raw) == 1
        async with bob.listen(resource_subscriptions=[raw, owned]) as heard:
            await upstreams["two"].upstream.journal.wait("subscriptions/listen")
            await upstreams["one"].upstream.touch(raw)
            await upstreams["two"].upstream.touch(raw)
            async with asyncio.timeout(PATIENCE):
                assert await anext(aiter(heard)) == ResourceUpdated(uri=raw)


async def test_everybody_by_bypass_and_nobody_without(upstreams: dict[str, Hosted]) -> None:
    office = policy("office", "bypass", {"ip": {"ip": "192.0.2.0/24"}})
    document = {
        "portal": {"policies": [office]},
        "servers": [{"id": "one", "policies": [office]}, {"id": "two", "policies": [ANYBODY]}],
    }
    async with guarded(upstreams, document) as portal:
        portal.callers["guest"] = Identity(ip="192.0.2.77")
        portal.callers["stranger"] = Identity(ip="203.0.113.1")
        async with client_of(portal.mcp("guest"), MODERN) as guest:
            assert servers_of(await names(guest)) == {"one"}
            await guest.call_tool("one_echo", {"text": "x"})
            assert portal.kept.records[-1].identity == ""
        async with httpx2.AsyncClient() as http:
            assert (await http.get(portal.mcp("stranger"))).status_code == 403


async def test_the_short_way_gives_every_caller_what_the_sdks_way_gives(
    coding: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[tuple[dict[str, str], Any]] = [(LIST_HEAD, LIST)]
    for name in ("one_echo", "two_echo", "two_wipe", "three_echo", "code"):
        arguments = {"code": "Object.keys(codemode)"} if name == "code" else {"text": "x"}
        call = {**CALL, "params": {**CALL["params"], "name": name, "arguments": arguments}}
        requests.append(({**HEAD, "mcp-name": name}, call))
    answers: set[str] = set()
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:
        for caller in ("ada", "bob"):
            for url in (
                coding.mcp(caller),
                coding.code(caller),
                coding.mcp(caller, "&optimize_context=minimize_tools"),
            ):
                for headers, message in requests:
                    short = await http.post(url, json=message, headers=headers)
                    with monkeypatch.context() as patched:
                        patched.setattr(express, "recognise", lambda headers, body: None)
                        long = await http.post(url, json=message, headers=headers)
                    assert comparable(short) == comparable(long), (url, message)
                    answers.add(short.text)
    assert len(answers) > 10


async def test_callers_to_whom_the_policies_give_the_same_share_one_view(portal: Guarded) -> None:
    crowd = [Identity(id=f"u{n}", email=f"u{n}@example.com", idp_id="okta", ip=f"192.0.2.{n}") for n in range(200)]
    views = Views(portal.servers, portal.live)
    shared = {id(views.for_caller(identity)) for identity in crowd}
    assert len(shared) == 1
    assert set(views.for_caller(crowd[0]).selection.servers) == {"one"} and set(
        views.for_caller(ADA).selection.servers
    ) == {
        "one",
        "two",
    }
