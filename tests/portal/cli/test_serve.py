"""`codemode serve` from start to end: its log, what it refuses, which changes it applies, how it stops."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.cli.exits import Exit
from portal.cli.process import MOST_DESCRIPTORS, allow_many_descriptors
from tests.clients.serving import Served, serving
from tests.zygote import quick_entry

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A portal for the tests that change nothing of it."""
    servers = {"shop": quick_entry("portal.demo.shop"), "gone": {"command": "no-such-program-anywhere"}}
    with serving({"mcpServers": servers}, tmp_path_factory.mktemp("served")) as served:
        yield served


def health(served: Served) -> dict[str, Any]:
    answer: dict[str, Any] = httpx2.get(served.url.removesuffix("/mcp") + "/healthz").json()
    return answer


def test_it_says_where_it_listens_and_how_its_servers_are(served: Served) -> None:
    assert served.url.startswith("http://127.0.0.1:")
    assert served.event("servers settled")["states"] == {"shop": "ready", "gone": "error"}
    assert health(served)["servers"]["shop"]["tools"] == 11


def test_a_stopped_portal_ends_well(tmp_path: Path) -> None:
    with serving({"mcpServers": {"shop": quick_entry("portal.demo.shop")}}, tmp_path) as served:
        assert served.stop() == Exit.OK
        assert served.event("stopped")


def test_a_changed_configuration_is_taken_up(tmp_path: Path, shop: dict[str, Any]) -> None:
    with serving({"mcpServers": {"shop": shop}}, tmp_path) as served:
        servers = {"shop": shop, "shipping": quick_entry("portal.demo.shipping")}
        (tmp_path / "codemode.json").write_text(json.dumps({"mcpServers": servers}))
        assert served.event("configuration changed")["keys"] == ["mcpServers.shipping (new)"]
        while not any(event.get("server") == "shipping" and event["state"] == "ready" for event in served.events):
            served.next_event()
        assert health(served)["servers"]["shipping"]["tools"] == 6


def test_every_key_that_was_taken_up_is_named(tmp_path: Path, shop: dict[str, Any]) -> None:
    with serving({"mcpServers": {"shop": shop}, "portal": {"limits": {"calls": 9}}}, tmp_path) as served:
        document = {
            "mcpServers": {"shop": {**shop, "description": "Orders"}, "me": {"url": served.url}},
            "portal": {"limits": {"calls": 8}, "name": "Mine", "path": "/tools"},
        }
        (tmp_path / "codemode.json").write_text(json.dumps(document))
        changed = served.event("configuration changed")
        assert changed["keys"] == ["mcpServers.shop.description", "portal.name", "portal.limits.calls"]
        assert served.event("taken up at the next start")["keys"] == ["portal.path"]


def test_a_portal_without_servers_says_what_to_do(tmp_path: Path) -> None:
    with serving({"mcpServers": {}}, tmp_path) as served:
        assert "mcpServers" in served.event("no servers")["advice"]


def test_an_entry_that_cannot_be_used_costs_itself_at_the_start_and_in_a_change(
    tmp_path: Path, shop: dict[str, Any]
) -> None:
    socket_server = {"type": "ws", "url": "wss://a.example/mcp"}
    with serving({"mcpServers": {"live": socket_server, "shop": shop}}, tmp_path) as served:
        assert "mcpServers.live is left out: its `type` is `ws`" in served.event("configuration")["note"]
        assert served.event("servers settled")["states"] == {"shop": "ready"}
        assert health(served)["leftOut"] == 1
        served.events[:] = [event for event in served.events if event["event"] == "listening"]
        document = {"mcpServers": {"shop": shop, "live": socket_server, "other": {"command": "${config:x}"}}}
        (tmp_path / "codemode.json").write_text(json.dumps(document))
        assert "mcpServers.other is left out: it needs `${config:x}`" in served.event("configuration")["note"]
        assert (health(served)["leftOut"], health(served)["servers"]["shop"]["state"]) == (2, "ready")
        served.events[:] = [event for event in served.events if event["event"] == "listening"]
        (tmp_path / "codemode.json").write_text(json.dumps({"mcpServers": {"shop": shop}}))
        served.event("configuration changed")
        assert "leftOut" not in health(served)


def test_a_broken_change_is_refused_with_the_reason_and_nothing_stops(tmp_path: Path, shop: dict[str, Any]) -> None:
    with serving({"mcpServers": {"shop": shop}}, tmp_path) as served:
        (tmp_path / "codemode.json").write_text('{"mcpServers": {"shop": {"comand": "x"}}}')
        assert "mcpServers.shop" in served.event("configuration refused")["reason"]
        assert health(served)["servers"]["shop"]["state"] == "ready"


def test_another_address_without_identity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no identity is configured"):
        with serving({"mcpServers": {}}, tmp_path, "--host", "0.0.0.0"):
            pass


def test_a_taken_port_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(AssertionError, match=f"Cannot listen on 127.0.0.1 port {port}"):
            with serving({"mcpServers": {}}, tmp_path, "--port", port):
                pass


def test_calls_are_logged_without_their_arguments(served: Served) -> None:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "shop_get_customer",
            "arguments": {"customer_id": "C001"},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    headers = {
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "shop_get_customer",
        "Accept": "application/json, text/event-stream",
    }
    assert httpx2.post(served.url, json=message, headers=headers).status_code == 200
    while not any(event.get("outcome") for event in served.events):
        served.next_event()
    [record] = [event for event in served.events if event.get("outcome")]
    assert (record["server"], record["name"], record["outcome"]) == ("shop", "get_customer", "ok")
    assert "C001" not in json.dumps(served.events)


def test_it_opens_as_many_connections_as_the_system_lets_it() -> None:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before), most))
        allow_many_descriptors()
        wanted = MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, MOST_DESCRIPTORS)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
