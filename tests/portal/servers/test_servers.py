"""The registry: all servers at once, immutable snapshots, reload during calls, connections for single clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import structlog

from portal.config.config import ServerConfig, parse_config
from portal.endpoint import health
from portal.errors import ServerUnknown, UpstreamUnavailable
from portal.servers.connections import connection_kind
from portal.servers.servers import Servers
from portal.servers.snapshot import Snapshot
from portal.upstream import CallContext, DownstreamClient
from portal.upstream.listing import MAX_NOTES
from tests.patience import PATIENCE
from tests.portal.credentials.authority import authority, entry, protected
from tests.portal.upstreams.hosting import hosted, stdio_entry
from tests.portal.upstreams.raw import Exchange, raw_upstream
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
DEAD = {"url": "http://127.0.0.1:1/mcp"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def configured(**entries: Mapping[str, Any]) -> Mapping[str, ServerConfig]:
    return parse_config({"mcpServers": entries}, env={}).servers


async def until(servers: Servers, so: Callable[[Snapshot], bool]) -> Snapshot:
    changed = asyncio.Event()
    forget = servers.subscribe(lambda old, new: changed.set())
    try:
        async with asyncio.timeout(PATIENCE):
            while not so(servers.snapshot):
                changed.clear()
                await changed.wait()
    finally:
        forget()
    return servers.snapshot


def echo(text: str) -> dict[str, Any]:
    return {"name": "echo", "arguments": {"text": text}}


async def test_servers_of_every_transport_become_ready_together() -> None:
    async with hosted(Behaviour(legacy=True)) as http, hosted(transport="sse") as sse:
        entries = configured(http={"url": http.url}, sse={"url": sse.url}, stdio=stdio_entry())
        async with Servers(entries) as servers:
            snapshot = await servers.settled()
            assert [(one.id, one.state, one.transport) for one in snapshot.servers.values()] == [
                ("http", "ready", "http"),
                ("sse", "ready", "http"),
                ("stdio", "ready", "stdio"),
            ]
            assert snapshot.unavailable() == {}
            assert [server.id for server in snapshot.catalog_servers()] == ["http", "sse", "stdio"]


async def test_dead_and_hanging_servers_delay_no_other() -> None:
    async def never(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async with hosted() as good, raw_upstream(never) as hanging:
        hanging.overrides["server/discover"] = never
        entries = configured(dead=DEAD, hanging={"url": hanging.url}, good={"url": good.url}, gone={"command": "/none"})
        async with Servers(entries) as servers:
            snapshot = await until(servers, lambda snapshot: snapshot.servers["good"].state == "ready")
            assert snapshot.servers["hanging"].state == "waiting"
            with servers.lease() as lease:
                assert await lease.connection("good").request("tools/call", echo("x"))
            snapshot = await until(servers, lambda snapshot: set(snapshot.unavailable()) == {"dead", "gone", "hanging"})
            assert snapshot.unavailable()["hanging"].startswith("still connecting, and its list of tools has not come")
            await until(servers, lambda snapshot: "refused" in snapshot.unavailable()["dead"])
            await until(servers, lambda snapshot: "cannot be started" in snapshot.unavailable()["gone"])


async def test_a_server_is_waited_for_until_it_has_come_or_failed_and_no_longer_than_asked() -> None:
    async def never(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async with hosted() as good, raw_upstream(never) as hanging:
        hanging.overrides |= {"server/discover": never, "initialize": never}
        entries = configured(dead=DEAD, hanging={"url": hanging.url, "connectTimeout": 100}, good={"url": good.url})
        async with Servers(entries) as servers:
            assert servers.snapshot.connecting == {"dead", "hanging", "good"}
            assert (await servers.arrived(["good"])).servers["good"].state == "ready"
            assert (await servers.arrived(["dead", "good"])).servers["dead"].state == "error"
            assert (await servers.arrived(["hanging", "nobody"], 0)).connecting == {"hanging"}
            waiting = asyncio.create_task(servers.arrived(["hanging"]))
            await servers.arrived(["dead", "good", "nobody"])
            await servers.apply({})
            assert (await waiting).servers == {}, "it is not configured any more"


async def test_a_disabled_server_is_not_started_and_not_shown() -> None:
    async with Servers(configured(off={"command": "/none", "disabled": True})) as servers:
        assert (await servers.settled()).servers == {}
        with servers.lease() as lease, pytest.raises(ServerUnknown, match="there are: none"):
            lease.connection("off")


async def test_a_snapshot_never_changes_and_listeners_get_old_and_new() -> None:
    seen: list[tuple[Snapshot, Snapshot]] = []
    async with hosted() as host, Servers(configured(up={"url": host.url})) as servers:
        servers.subscribe(lambda old, new: seen.append((old, new)))
        first = await servers.settled()
        await host.upstream.journal.wait("subscriptions/listen")
        await host.upstream.change("brand-new")
        second = await until(servers, lambda snapshot: snapshot.servers["up"].tool("brand-new") is not None)
        assert first.servers["up"].tool("brand-new") is None
        assert first.content_id != second.content_id
        assert second.version > first.version
        assert all(old.version + 1 == new.version for old, new in seen)


async def test_the_content_is_the_same_while_only_the_state_changes() -> None:
    async with hosted() as host, Servers(configured(up={"url": host.url})) as servers:
        ready = await servers.settled()
        await host.stop()
        with servers.lease() as lease, pytest.raises(Exception, match="up|reached|lost|connected"):
            await lease.connection("up").request("tools/call", echo("x"))
        stale = await until(servers, lambda snapshot: snapshot.servers["up"].state == "stale")
        assert stale.content_id == ready.content_id
        assert stale.unavailable() == {}
        assert stale.catalog_servers()[0] is ready.catalog_servers()[0]
        await host.start()


async def test_a_failing_listener_harms_nobody() -> None:
    def broken(old: Snapshot, new: Snapshot) -> None:
        raise RuntimeError("not the registry's fault")

    async with hosted() as host, Servers(configured(up={"url": host.url})) as servers:
        servers.subscribe(broken)
        assert (await servers.settled()).servers["up"].state == "ready"


async def test_reload_touches_only_what_changed() -> None:
    async with hosted() as kept, hosted() as changed, hosted() as added:
        before = configured(kept={"url": kept.url}, changed={"url": changed.url}, removed={"url": added.url})
        async with Servers(before) as servers:
            await servers.settled()
            connections = {name: servers.lease().connection(name) for name in before}
            after = configured(
                changed={"url": changed.url, "timeout": 5}, kept={"url": kept.url}, added={"url": added.url}
            )
            await servers.apply(after)
            snapshot = await servers.settled()
            assert list(snapshot.servers) == ["changed", "kept", "added"]
            assert {one.state for one in snapshot.servers.values()} == {"ready"}
            assert servers.lease().connection("kept") is connections["kept"]
            assert servers.lease().connection("changed") is not connections["changed"]
            with pytest.raises(ServerUnknown):
                servers.lease().connection("removed")


async def test_a_changed_credential_is_used_from_the_next_connection_on_and_the_former_one_ends() -> None:
    async with authority() as issuing, protected(issuing) as (_, host):
        async with Servers(configured(up=entry(host, issuing))) as servers:
            await until(servers, lambda snapshot: snapshot.servers["up"].state == "ready")
            await servers.apply(configured(up=entry(host, issuing, scope="more")))
            await until(servers, lambda snapshot: snapshot.servers["up"].state == "ready")
            await asyncio.gather(*servers._closing)
        assert [asked.get("scope", "") for asked in issuing.requests] == ["", "more"]


async def test_a_client_with_a_connection_of_its_own_shows_the_same_token() -> None:
    async with authority() as issuing, protected(issuing, legacy=True) as (guard, host):
        async with Servers(configured(up=entry(host, issuing))) as servers:
            await until(servers, lambda snapshot: snapshot.servers["up"].state == "ready")
            with servers.lease() as lease:
                dedicated = lease.connection("up", ASKABLE)
                assert dedicated is not lease.connection("up")
                assert await dedicated.request("tools/call", echo("mine"))
        assert len(issuing.requests) == 1 and guard.shown.count("") == 1


async def test_what_runs_keeps_its_servers_until_it_ends() -> None:
    async with hosted() as host, Servers(configured(up={"url": host.url})) as servers:
        await servers.settled()
        with servers.lease() as lease:
            connection = lease.connection("up")
            running = asyncio.create_task(connection.request("tools/call", {"name": "hang"}))
            await host.upstream.journal.wait("call hang")
            await servers.apply({})
            assert servers.snapshot.servers == {}
            assert await connection.request("tools/call", echo("still here"))
            assert lease.connection("up") is connection
            host.upstream.release.set()
            await running
        await asyncio.gather(*servers._closing)
        with pytest.raises(UpstreamUnavailable):
            await connection.request("tools/call", echo("too late"))


async def test_refresh_reads_the_lists_again() -> None:
    async with hosted() as host, Servers(configured(up={"url": host.url})) as servers:
        await servers.settled()
        host.upstream.behaviour.more.append({"name": "quiet", "inputSchema": {"type": "object"}})
        await servers.refresh()
        assert servers.snapshot.servers["up"].tool("quiet") is not None


async def test_notifications_that_belong_to_no_call_are_told_with_their_server() -> None:
    heard: asyncio.Queue[tuple[str, str, Mapping[str, Any]]] = asyncio.Queue()
    async with Servers(configured(up=stdio_entry("--legacy"))) as servers:
        servers.on_notification(lambda server, subject, method, params: heard.put_nowait((server, method, params)))
        await servers.settled()
        with servers.lease() as lease:
            await lease.connection("up").request("tools/call", {"name": "flood", "arguments": {"text": "1"}})
            await lease.connection("up").request("tools/call", {"name": "change", "arguments": {"text": "new"}})
        assert await heard.get() == ("up", "notifications/resources/updated", {"uri": "test://flood"})
        assert (await heard.get())[:2] == ("up", "notifications/tools/list_changed")


# Connections of single clients

ASKABLE = DownstreamClient(key="session-1", info={"name": "them", "version": "1"}, capabilities={"elicitation": {}})
HTTP = next(iter(configured(a=DEAD).values()))
STDIO = next(iter(configured(a={"command": "x"}).values()))


@pytest.mark.parametrize(
    ("config", "generation", "client", "kind"),
    [
        (HTTP, "legacy", ASKABLE, "dedicated"),
        (HTTP, "modern", ASKABLE, "shared"),
        (HTTP, None, ASKABLE, "shared"),
        (HTTP, "legacy", None, "shared"),
        (HTTP, "legacy", DownstreamClient(key="x"), "shared"),
        (HTTP, "legacy", DownstreamClient(key="", capabilities={"roots": {}}), "shared"),
        (STDIO, "legacy", ASKABLE, "shared"),
        (STDIO.model_copy(update={"sessions": "dedicated"}), "legacy", ASKABLE, "dedicated"),
        (HTTP.model_copy(update={"sessions": "shared"}), "legacy", ASKABLE, "shared"),
        (HTTP.model_copy(update={"prefix": False}), "modern", DownstreamClient(key="x"), "shared"),
    ],
)
def test_which_connection_a_call_uses(config: Any, generation: Any, client: DownstreamClient | None, kind: str) -> None:
    assert connection_kind(config, generation, client) == kind
    assert connection_kind(config, generation, client, "2026-07-28") == kind


def test_a_server_shown_as_it_is_is_a_legacy_server_to_a_legacy_session() -> None:
    shown = HTTP.model_copy(update={"prefix": False})
    assert connection_kind(shown, "modern", DownstreamClient(key="x"), "2025-11-25") == "legacy"
    assert connection_kind(shown, "modern", DownstreamClient(key=""), "2025-11-25") == "shared"
    assert connection_kind(HTTP, "modern", DownstreamClient(key="x"), "2025-11-25") == "shared"


async def test_a_client_that_can_be_asked_has_its_own_session_at_a_legacy_server() -> None:
    async def on_request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"action": "accept", "content": {}}

    async with (
        hosted(Behaviour(legacy=True)) as host,
        Servers(configured(up={"url": host.url})) as servers,
        asyncio.timeout(PATIENCE),
    ):
        await servers.settled()
        with servers.lease() as lease:
            shared, own = lease.connection("up"), lease.connection("up", ASKABLE)
            assert own is not shared
            assert lease.connection("up", ASKABLE) is own
            ask = {"name": "ask", "arguments": {"text": "?"}}
            context = CallContext(client=ASKABLE, on_request=on_request)
            result: Any = await own.request("tools/call", ask, context)
            assert result["content"][0]["text"] == "accept legacy"
        await servers.release("session-1")
        await servers.release("session-1")
        with pytest.raises(UpstreamUnavailable):
            await own.request("tools/call", ask, context)
        assert await shared.request("tools/call", echo("x"))


async def test_connections_of_single_clients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.servers.connections.MAX_DEDICATED", {"http": (2, 2)})
    async with hosted(Behaviour(legacy=True)) as host, Servers(configured(up={"url": host.url})) as servers:
        await servers.settled()
        with servers.lease() as lease:
            clients = [DownstreamClient(key=str(number), capabilities={"roots": {}}) for number in range(4)]
            found = [lease.connection("up", client) for client in clients]
            assert found[0] is not found[1]
            assert found[2] is found[3] is lease.connection("up")


async def test_closing_the_registry_closes_everything_even_under_leases() -> None:
    async with hosted(Behaviour(legacy=True)) as host:
        async with Servers(configured(up={"url": host.url})) as servers:
            await servers.settled()
            lease = servers.lease()
            lease.__enter__()
            shared, own = lease.connection("up"), lease.connection("up", ASKABLE)
        for connection in (shared, own):
            with pytest.raises(UpstreamUnavailable):
                await connection.request("tools/call", echo("x"))
        lease.__exit__(None, None, None)


async def test_what_is_left_out_of_a_list_is_counted_and_logged_once() -> None:
    async def never(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async with raw_upstream(never) as raw:
        raw.tools = [
            {"name": "kept", "inputSchema": {"type": "object"}},
            {"name": "schema_is_text", "inputSchema": "object"},
            {"name": "description_is_a_number", "description": 5, "inputSchema": {"type": "object"}},
            *({"name": f"broken_{n}", "inputSchema": []} for n in range(60)),
        ]
        with structlog.testing.capture_logs() as logs:
            async with Servers(configured(s={"url": raw.url})) as servers:
                await servers.settled()
                before = servers.snapshot.servers["s"].listing
                raw.tools = [*raw.tools, {"name": "late", "inputSchema": {"type": "object"}}]
                await servers.refresh("s")
                snapshot = await until(servers, lambda snapshot: len(snapshot.servers["s"].tools) == 2)
        listing = snapshot.servers["s"].listing
        assert (before.skipped_count, listing.skipped_count) == (62, 62)
        assert health(snapshot)["servers"]["s"]["skipped"] == 62
        lines = [entry["item"] for entry in logs if entry["event"] == "left out of a server's lists"]
        assert lines == list(listing.skipped) and len(lines) == MAX_NOTES
        assert lines[:2] == [
            "tools/list: `schema_is_text` is malformed (`inputSchema`)",
            "tools/list: `description_is_a_number` is malformed (`description`)",
        ]
