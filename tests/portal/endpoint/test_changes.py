"""Changes at the upstreams reach the clients of both generations, and sessions leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ToolsListChanged

from portal.config.config import parse_config
from portal.endpoint.aggregate import Aggregate, Target
from portal.endpoint.background import Background
from portal.endpoint.changes import ListenStreams, list_events
from portal.endpoint.resources import Watches
from portal.endpoint.views import Views
from portal.errors import ServerUnknown
from tests.patience import PATIENCE
from tests.portal.portals import LEGACY, MODERN, Heard, client_of, portal_over
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
TOOLS_CHANGED = "notifications/tools/list_changed"
upstreams = pytest.mark.parametrize("legacy", [False, True], ids=["modern upstream", "legacy upstream"])


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted() as upstream:
        yield upstream


async def names(client: Any) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


@upstreams
async def test_a_session_is_told_that_the_tools_changed_and_sees_the_new_one(legacy: bool) -> None:
    heard = Heard()
    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, LEGACY, message_handler=heard.message) as client,
    ):
        assert "one_fresh" not in await names(client)
        await upstream.upstream.change("fresh")
        await heard.until(TOOLS_CHANGED)
        assert "one_fresh" in await names(client)
        assert (await client.call_tool("one_echo", {"text": "on"})).content


@upstreams
async def test_a_listening_client_is_told_that_the_tools_changed(legacy: bool) -> None:
    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, MODERN) as client,
        client.listen(tools_list_changed=True) as changes,
    ):
        await upstream.upstream.change("fresh")
        async with asyncio.timeout(PATIENCE):
            assert await anext(aiter(changes)) == ToolsListChanged()
        assert "one_fresh" in await names(client)


async def test_a_reload_of_the_configuration_is_a_change_for_every_client(upstream: Hosted) -> None:
    heard = Heard()
    async with (
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, LEGACY, message_handler=heard.message) as client,
        client_of(portal.mcp, MODERN) as other,
        other.listen(tools_list_changed=True) as changes,
    ):
        assert "one_echo" in await names(client)
        await portal.servers.apply(parse_config({"mcpServers": {"two": {"url": upstream.url}}}).servers)
        await portal.servers.settled()
        await heard.until(TOOLS_CHANGED, 2)
        async with asyncio.timeout(PATIENCE):
            await anext(aiter(changes))
        assert "two_echo" in await names(client) and "one_echo" not in await names(other)


async def test_a_subscribed_session_hears_of_its_resource_and_of_no_other() -> None:
    heard, other = Heard(), Heard()
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, LEGACY, message_handler=heard.message) as client,
        client_of(portal.mcp, LEGACY, message_handler=other.message) as stranger,
    ):
        await client.subscribe_resource("test://flood")
        await client.call_tool("one_flood", {"text": "1"})
        updated = await heard.until("notifications/resources/updated")
        assert str(updated[0].params.uri) == "test://flood"
        await client.unsubscribe_resource("test://flood")
        await stranger.list_tools()
        assert other.of("notifications/resources/updated") == []
        journal = upstream.upstream.journal.entries
        assert [journal.count(f"resources/{kind}") for kind in ("subscribe", "unsubscribe")] == [1, 1]


async def test_many_subscribers_are_one_subscription_upstream_until_the_last_has_left() -> None:
    async with hosted(Behaviour(legacy=True)) as upstream, portal_over({"one": upstream}) as portal:
        async with client_of(portal.mcp, LEGACY) as first:
            await first.subscribe_resource("test://x")
            async with client_of(portal.mcp, LEGACY) as second:
                await second.subscribe_resource("test://x")
                await second.subscribe_resource("test://x")
            await first.list_tools()
            assert upstream.upstream.journal.entries.count("resources/unsubscribe") == 0
        await upstream.upstream.journal.wait("resources/unsubscribe")
        assert upstream.upstream.journal.entries.count("resources/subscribe") == 1


async def test_a_modern_client_listens_to_a_resource_of_a_legacy_upstream() -> None:
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, MODERN) as client,
    ):
        async with client.listen(resource_subscriptions=["test://flood"]) as changes:
            await client.call_tool("one_flood", {"text": "1"})
            async with asyncio.timeout(PATIENCE):
                assert await anext(aiter(changes)) == ResourceUpdated(uri="test://flood")
        await upstream.upstream.journal.wait("resources/unsubscribe")


async def test_a_session_that_ends_closes_the_connections_that_were_its_own() -> None:
    answer = Heard(types.ElicitResult(action="decline"))
    async with hosted(Behaviour(legacy=True)) as upstream, portal_over({"one": upstream}) as portal:
        async with client_of(portal.mcp, LEGACY, elicitation_callback=answer.elicit) as client:
            await client.call_tool("one_ask", {"text": "?"})
            slots = portal.servers._generations[-1].slots
            assert len(slots["one"].own._dedicated) == 1
        async with asyncio.timeout(PATIENCE):
            while slots["one"].own._dedicated:
                await asyncio.sleep(0)


HEAD = {"accept": "application/json, text/event-stream"}


async def test_a_portal_with_open_streams_does_not_wait_for_them_to_end(
    upstream: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http, AsyncExitStack() as streams:
        async with portal_over({"one": upstream}) as portal:
            hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            call = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
            answer = await http.post(portal.mcp, json=call, headers=HEAD)
            session = {**HEAD, "mcp-session-id": answer.headers["mcp-session-id"]}
            stream = await streams.enter_async_context(http.stream("GET", portal.mcp, headers=session))
            assert stream.status_code == 200
            meta = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            wanted = {"notifications": {"toolsListChanged": True}, "_meta": meta}
            listen = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": wanted}
            modern = {**HEAD, "mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"}
            opened = http.stream("POST", portal.mcp, json=listen, headers=modern)
            assert (await streams.enter_async_context(opened)).status_code == 200
    assert "graceful shutdown exceeded" not in caplog.text


def test_only_the_lists_that_differ_are_announced() -> None:
    empty = Aggregate.build(())
    assert list_events(empty, empty) == ()


async def test_a_resource_that_could_not_be_watched_leaves_nothing_behind(upstream: Hosted) -> None:
    async with portal_over({"one": upstream}) as portal:
        views, bus = Views(portal.servers), InMemorySubscriptionBus()
        watches = Watches(views, portal.caller, ListenStreams(bus, views), Background())
        for number in range(10):
            with pytest.raises(ServerUnknown):
                await watches.add(watches.watch(None, Target("none", f"test://{number}", {})))
        watched = watches.watch(None, Target("one", "test://one", {}))
        await watches.add(watched)
        assert len(watches._watching) == 1
        await watches.remove(watched)
        assert len(watches._watching) == 0


async def test_a_client_that_leaves_before_its_server_has_answered_leaves_no_subscription_behind(
    upstream: Hosted,
) -> None:
    async with portal_over({"one": upstream}) as portal:
        views, bus, background = Views(portal.servers), InMemorySubscriptionBus(), Background()
        watches = Watches(views, portal.caller, ListenStreams(bus, views), background)
        with portal.servers.lease() as lease:
            connection = lease.connection("one")
        watching = asyncio.create_task(watches.add(watches.watch(None, Target("one", "test://one", {}))))
        while not connection.watched:
            await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait({watching})
        assert watching.cancelled()
        await background.aclose()
        assert not connection.watched and not len(watches._watching)
