"""Stored servers run: what is added through the API is connected, shown as it stands, and gone when it is removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cloudflare import AsyncCloudflare
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.access import Access, Decision
from portal.access.sources import NO_SOURCES
from portal.access.stored import access_document, read_objects
from portal.admin import create_admin
from portal.admin.upstreams import RegistryUpstreams
from portal.config.config import parse_config
from portal.credentials import ServerCredentials
from portal.http import running
from portal.http.edge import HttpSettings
from portal.identity import Identity
from portal.servers import SERVER_CHANGES
from portal.servers.servers import Servers
from portal.servers.stored import StoredServers
from portal.state import KeyRing, Store
from tests.patience import PATIENCE
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ANN = Identity(id="1", email="ann@example.com")


@dataclass
class Running:
    store: Store
    servers: Servers
    stored: StoredServers
    mcp: Any
    access: Any
    account: str
    sdk: AsyncCloudflare

    async def until(self, so: Callable[[], bool]) -> None:
        changed = asyncio.Event()
        end = self.servers.subscribe(lambda old, new: changed.set())
        async with asyncio.timeout(PATIENCE):
            while not so():
                changed.clear()
                await changed.wait()
        end()


@asynccontextmanager
async def portal(folder: Path, document: dict[str, Any] | None = None, state: str = "") -> AsyncIterator[Running]:
    configured = parse_config({"mcpServers": document or {}}, env={}).servers
    async with (
        Store.open(state or new_state(folder), KeyRing.open(folder / "s.key")) as store,
        ServerCredentials(store) as credentials,
        Servers(configured, credentials=credentials) as servers,
        StoredServers(store, servers, configured) as stored,
    ):
        admin = await create_admin(store, RegistryUpstreams(servers, stored, credentials))
        token = (await admin.tokens.create_with_all("t", "t")).value
        app = Starlette(routes=[admin.route()])
        async with (
            running(app, http=HttpSettings()) as url,
            AsyncCloudflare(api_token=token, base_url=f"{url}/client/v4", max_retries=0) as sdk,
        ):
            access = sdk.zero_trust.access
            yield Running(store, servers, stored, access.ai_controls.mcp, access, admin.account_id, sdk)


async def test_a_server_added_through_the_api_becomes_ready_and_shows_its_tools(tmp_path: Path) -> None:
    async with hosted(Behaviour()) as upstream, portal(tmp_path) as run:
        made = await run.mcp.servers.create(
            account_id=run.account, id="up", auth_type="bearer", hostname=upstream.url, name="Up", auth_credentials="t"
        )
        assert made.status in ("waiting", "ready")
        await run.until(lambda: "up" in run.servers.snapshot.servers)
        await run.until(lambda: run.servers.snapshot.servers["up"].state == "ready")
        read = await run.mcp.servers.read("up", account_id=run.account)
        assert read.status == "ready" and read.error is None
        assert {tool["name"] for tool in read.tools} >= {"echo"}
        assert read.last_synced and read.last_successful_sync
        synced = await run.mcp.servers.sync("up", account_id=run.account)
        assert synced.status == "ready"
        again = await run.mcp.servers.read("up", account_id=run.account)
        assert again.last_successful_sync > read.last_successful_sync
        config = run.servers.snapshot.servers["up"].config
        assert dict(config.headers) == {"Authorization": "Bearer t"}  # type: ignore[union-attr]
        await run.mcp.servers.delete("up", account_id=run.account)
        await run.until(lambda: "up" not in run.servers.snapshot.servers)


async def test_what_a_server_offers_otherwise_than_before_is_shown(tmp_path: Path) -> None:
    behaviour = Behaviour(more=[{"name": "old", "inputSchema": {"type": "object"}}])
    async with hosted(behaviour) as upstream, portal(tmp_path) as run:
        await run.mcp.servers.create(
            account_id=run.account, id="up", auth_type="unauthenticated", hostname=upstream.url, name="Up"
        )
        await run.until(lambda: "up" in run.servers.snapshot.servers)
        await run.until(lambda: run.servers.snapshot.servers["up"].state == "ready")
        behaviour.more[:] = [{"name": "new", "inputSchema": {"type": "object"}}]
        await run.mcp.servers.sync("up", account_id=run.account)
        read = await run.mcp.servers.read("up", account_id=run.account)
        [change] = read.capability_changes
        assert (change["tools"]["added"], change["tools"]["removed"]) == (["new"], ["old"])


async def test_what_changed_of_a_tool_is_said_in_words_and_outlasts_a_restart(tmp_path: Path) -> None:
    numbers = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}
    behaviour = Behaviour(more=[{"name": "add", "description": "Adds.", "inputSchema": numbers}])
    async with hosted(behaviour) as upstream:
        state = new_state(tmp_path)
        async with portal(tmp_path, state=state) as run:
            await run.mcp.servers.create(
                account_id=run.account, id="up", auth_type="unauthenticated", hostname=upstream.url, name="Up"
            )
            await run.until(lambda: "up" in run.servers.snapshot.servers)
            await run.until(lambda: run.servers.snapshot.servers["up"].state == "ready")
            for count in range(25):
                more = {"type": "object", "properties": {"a": {"type": "string"}, f"b{count}": {"type": "number"}}}
                behaviour.more[:] = [{"name": "add", "description": f"Adds {count}.", "inputSchema": more}]
                await run.mcp.servers.sync("up", account_id=run.account)
            read = await run.mcp.servers.read("up", account_id=run.account)
            assert len(read.capability_changes) == 20
        async with portal(tmp_path, state=state) as run:
            changes = (await run.mcp.servers.read("up", account_id=run.account)).capability_changes
            assert len(changes) == 20
            [detail] = changes[-1]["details"]
            assert (detail["kind"], detail["name"], detail["members"]) == (
                "tool",
                "add",
                ["description", "inputSchema"],
            )
            assert (detail["description_before"], detail["description_after"]) == ("Adds 23.", "Adds 24.")
            assert "parameter `b23` was removed" in detail["what"] and "parameter `b24` was added" in detail["what"]
            assert "mark" not in changes[-1]
            await run.mcp.servers.delete("up", account_id=run.account)
            assert await run.store.find(SERVER_CHANGES, "up") is None


async def test_what_a_server_offers_is_shown_with_its_settings_and_those_of_a_portal(tmp_path: Path) -> None:
    async with hosted(Behaviour()) as upstream, portal(tmp_path) as run:
        settings = [{"name": "echo", "alias": "say", "description": "Says it."}, {"name": "fail", "enabled": False}]
        await run.mcp.servers.create(
            account_id=run.account,
            id="up",
            auth_type="unauthenticated",
            hostname=upstream.url,
            name="Up",
            updated_tools=settings,
        )
        await run.until(lambda: "up" in run.servers.snapshot.servers)
        await run.until(lambda: run.servers.snapshot.servers["up"].state == "ready")

        def told(answer: Any) -> dict[str, tuple[bool, str | None, str]]:
            tools = [one for one in answer if one["kind"] == "tool"]
            assert all((one["pinned"], one["approval"]) == (False, "not_pinned") for one in tools)
            return {one["name"]: (one["enabled"], one["alias"], one["description"]) for one in tools}

        read = await run.mcp.servers.read("up", account_id=run.account)
        assert read.fix is None
        shown = told(read.offered)
        assert shown["echo"] == (True, "say", "Says it.") and shown["fail"][0] is False and shown["log"][0] is True
        assert any(one["kind"] == "prompt" for one in read.offered)
        entry = {"server_id": "up", "default_disabled": True, "updated_tools": [{"name": "fail", "enabled": True}]}
        made = await run.mcp.portals.create(
            account_id=run.account, id="team", hostname="team.example", name="Team", servers=[entry]
        )
        [server] = made.servers
        shown = told(server.offered)
        assert (shown["echo"], shown["fail"][0], shown["log"][0]) == ((False, "say", "Says it."), True, False)


async def test_each_way_to_fail_has_its_own_fix(tmp_path: Path) -> None:
    async def answer(request: Request) -> Response:
        return Response(status_code=int(request.path_params["status"]))

    app = Starlette(routes=[Route("/{status:int}/mcp", answer, methods=["GET", "POST", "DELETE"])])
    async with running(app, http=HttpSettings()) as there, portal(tmp_path) as run:
        wanted = {
            "gone": ("unauthenticated", f"{there}/404/mcp", "edit_url"),
            "shut": ("unauthenticated", f"{there}/401/mcp", "change_auth_type"),
            "wrong": ("bearer", f"{there}/401/mcp", "edit_credentials"),
            "login": ("oauth", f"{there}/401/mcp", "log_in"),
            "ill": ("unauthenticated", f"{there}/500/mcp", "sync"),
            "dead": ("unauthenticated", "http://127.0.0.1:1/mcp", "start_server"),
            "plain": ("unauthenticated", there.replace("http://", "https://") + "/500/mcp", "start_server"),
            "far": ("unauthenticated", "http://169.254.1.1/mcp", "edit_url"),
        }
        for id, (auth_type, url, _) in wanted.items():
            more = {"auth_credentials": "t"} if auth_type == "bearer" else {}
            await run.mcp.servers.create(
                account_id=run.account, id=id, auth_type=auth_type, hostname=url, name=id, **more
            )
        await run.until(lambda: set(wanted) <= set(run.servers.snapshot.servers))
        await run.until(lambda: all(run.servers.snapshot.servers[id].state == "error" for id in wanted))
        for id, (_, _, action) in wanted.items():
            read = await run.mcp.servers.read(id, account_id=run.account)
            assert (id, read.fix["action"]) == (id, action), read.error
            assert read.fix["words"].endswith(".")


async def test_a_server_that_does_not_answer_is_shown_with_the_reason(tmp_path: Path) -> None:
    async with portal(tmp_path) as run:
        await run.mcp.servers.create(
            account_id=run.account, id="dead", auth_type="unauthenticated", hostname="http://127.0.0.1:1/mcp", name="D"
        )
        await run.until(lambda: "dead" in run.servers.snapshot.servers)
        await run.until(lambda: run.servers.snapshot.servers["dead"].state == "error")
        read = await run.mcp.servers.read("dead", account_id=run.account)
        assert read.status == "error" and read.error
        assert read.error_details.cause == read.error
        assert (read.error_details.is_upstream, read.error_details.retryable) == (False, True)
        assert read.last_synced and read.last_successful_sync is None


async def test_the_operator_s_document_goes_before_a_stored_server_of_the_same_id(tmp_path: Path) -> None:
    async with hosted(Behaviour()) as upstream, portal(tmp_path, {"up": {"url": upstream.url}}) as run:
        await run.mcp.servers.create(
            account_id=run.account, id="up", auth_type="unauthenticated", hostname="http://127.0.0.1:1/mcp", name="Up"
        )
        await run.mcp.servers.create(
            account_id=run.account, id="other", auth_type="unauthenticated", hostname=upstream.url, name="Other"
        )
        await run.until(lambda: set(run.servers.snapshot.servers) == {"up", "other"})
        assert run.servers.snapshot.servers["up"].config.url == upstream.url  # type: ignore[union-attr]


async def test_a_policy_changed_through_the_api_decides_at_once(tmp_path: Path) -> None:
    async with portal(tmp_path) as run:
        await run.mcp.portals.create(account_id=run.account, id="team", hostname="team.example", name="Team")
        policy = await run.access.policies.create(
            account_id=run.account, name="Ann", decision="allow", include=[{"email": {"email": "ann@example.com"}}]
        )
        await run.access.applications.create(
            account_id=run.account, type="mcp_portal", name="T", domain="team.example", policies=[{"id": policy.id}]
        )

        async def decision() -> Decision:
            return Access(access_document(await read_objects(run.store), "team"), NO_SOURCES).portal(ANN)

        assert (await decision()).effect == "allow"
        changed = asyncio.Event()
        run.store.subscribe(lambda kinds: changed.set() if "policy" in kinds else None)
        await run.access.policies.update(
            policy.id, account_id=run.account, name="Ann", decision="deny", include=[{"everyone": {}}]
        )
        async with asyncio.timeout(PATIENCE):
            await changed.wait()
        denied = await decision()
        assert (denied.effect, denied.policy) == ("deny", policy.id)
