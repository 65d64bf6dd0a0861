"""Stored servers that must not be served: the portal itself, and what has the id of an entry that is left out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from portal.app import Instance, Parts, serving
from portal.config import parse_config
from portal.objects import PORTAL, SERVER, PortalDocument, ServerDocument
from tests.patience import PATIENCE
from tests.portal.portals import opened
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio
ELSEWHERE = "http://127.0.0.1:1/mcp"


def document(folder: Path, servers: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"mcpServers": servers or {}, "portal": {"state": new_state(folder), "identity": {}, "port": 0}}


def server(url: str) -> ServerDocument:
    return ServerDocument(name="S", hostname=url, auth_type="unauthenticated")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0)


def ids(instance: Instance) -> set[str]:
    return set(instance.servers.snapshot.servers)


async def test_a_stored_server_that_is_the_portal_itself_is_left_out_and_both_log_and_api_say_so(
    tmp_path: Path,
) -> None:
    with capture_logs() as logged:
        async with opened(document(tmp_path), parts=Parts(code=None)) as instance, serving(instance) as url:
            assert instance.admin is not None
            token = (await instance.admin.tokens.create_with_all("t", "t")).value
            servers = f"{url}/client/v4/accounts/{instance.admin.account_id}/access/ai-controls/mcp/servers"
            headers = {"authorization": f"Bearer {token}"}
            async with httpx2.AsyncClient(headers=headers) as http:
                for id, hostname in (("me", f"{url}/mcp"), ("other", ELSEWHERE)):
                    body = {"id": id, "name": id, "auth_type": "unauthenticated", "hostname": hostname}
                    assert (await http.post(servers, json=body)).status_code == 201
                await until(lambda: ids(instance) == {"other"})
                shown = (await http.get(f"{servers}/me")).json()["result"]
                synced = (await http.post(f"{servers}/me/sync", json={})).json()["result"]
    for answer in (shown, synced):
        assert (answer["status"], answer["error"]) == ("error", "the server is left out: it is this portal itself")
    lines = [(line["server"], line["reason"]) for line in logged if line["event"] == "a server is left out"]
    assert lines == [("me", "it is this portal itself")]


async def test_one_that_was_stored_before_is_left_out_once_the_address_is_known(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with opened(document(tmp_path), parts=Parts(code=None)) as instance:
        store = instance.shared.require_store()
        await store.create(SERVER, "me", server(f"http://localhost:{port}/mcp"), by="test")
        await until(lambda: ids(instance) == {"me"})
        async with serving(instance, port=port):
            await until(lambda: ids(instance) == set())


async def test_a_server_at_the_host_name_of_a_stored_portal_is_left_out_stored_or_configured(tmp_path: Path) -> None:
    configured = {"a": {"url": "https://docs.example.com/mcp"}, "b": {"url": ELSEWHERE}}
    async with opened(document(tmp_path, configured), parts=Parts(code=None)) as instance:
        store = instance.shared.require_store()
        await store.create(SERVER, "c", server("https://docs.example.com/mcp"), by="test")
        await until(lambda: ids(instance) == {"a", "b", "c"})
        portal = PortalDocument(name="Docs", hostname="docs.example.com")
        await store.create(PORTAL, "docs", portal, by="test")
        await until(lambda: ids(instance) == {"b"})
        await store.delete(PORTAL, "docs", by="test")
        await until(lambda: ids(instance) == {"a", "b", "c"})


async def test_a_stored_server_does_not_take_the_place_of_an_entry_that_is_left_out(tmp_path: Path) -> None:
    before = document(tmp_path, {"wiki": {"url": ELSEWHERE}, "b": {"url": ELSEWHERE}})
    async with opened(before, parts=Parts(code=None)) as instance:
        await instance.shared.require_store().create(SERVER, "wiki", server(ELSEWHERE), by="test")
        await instance.apply(
            parse_config({**before, "mcpServers": {"wiki": {"type": "ws"}, "b": {"url": ELSEWHERE}}}, env={})
        )
        await until(lambda: ids(instance) == {"b"})
        await instance.apply(parse_config({**before, "mcpServers": {"b": {"url": ELSEWHERE}}}, env={}))
        await until(lambda: ids(instance) == {"b", "wiki"})


async def test_a_stored_server_whose_credentials_cannot_be_sent_is_named_in_the_log_once(tmp_path: Path) -> None:
    with capture_logs() as logged:
        async with opened(document(tmp_path), parts=Parts(code=None)) as instance:
            store = instance.shared.require_store()
            bearer = ServerDocument(name="S", hostname=ELSEWHERE, auth_type="bearer")
            await store.create(SERVER, "bad", bearer, by="test", secret=b'{"auth_credentials": "two\\nlines"}')
            for id in ("first", "second"):
                await store.create(SERVER, id, server(ELSEWHERE), by="test")
                await until(lambda id=id: id in ids(instance))  # type: ignore[misc]
            assert "bad" not in ids(instance)
    lines = [(line["server"], line["reason"]) for line in logged if line["event"] == "a server is left out"]
    assert lines == [("bad", "a token is one line of printable ASCII")]
