"""Stored servers that are pinned: what waits is shown and approved through the API, and outlives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from portal.admin import create_admin
from portal.admin.upstreams import RegistryUpstreams
from portal.http import running
from portal.http.edge import HttpSettings
from portal.pins import Pinning
from portal.pins.stored_approvals import StoredApprovals
from portal.servers.servers import Servers
from portal.servers.stored import StoredServers
from portal.state import KeyRing, Store
from tests.patience import PATIENCE
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
SERVERS = "/access/ai-controls/mcp/servers"


@dataclass
class Run:
    servers: Servers
    http: httpx2.AsyncClient
    upstream: Hosted
    reader: str
    store: Store

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        answer = await self.http.request(method, SERVERS.lstrip("/") + path, json=body, **options)
        return answer.status_code, answer.json()

    async def until_ready(self, server: str) -> None:
        changed = asyncio.Event()
        end = self.servers.subscribe(lambda old, new: changed.set())
        async with asyncio.timeout(PATIENCE):
            while (known := self.servers.snapshot.servers.get(server)) is None or known.state != "ready":
                changed.clear()
                await changed.wait()
        end()

    async def result(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = await self.ask(method, path, body)
        assert status in (200, 201) and answer["success"], answer
        return answer["result"]


@asynccontextmanager
async def portal(folder: Path, upstream: Hosted) -> AsyncIterator[Run]:
    async with (
        Store.open(new_state(folder), KeyRing.open(folder / "s.key")) as store,
        Pinning(StoredApprovals(store)) as pins,
        Servers({}, pins=pins) as servers,
        StoredServers(store, servers, {}) as stored,
    ):
        admin = await create_admin(store, RegistryUpstreams(servers, stored))
        token = (await admin.tokens.create_with_all("t", "t")).value
        async with (
            running(Starlette(routes=[admin.route()]), http=HttpSettings()) as url,
            httpx2.AsyncClient(
                base_url=f"{url}/client/v4/accounts/{admin.account_id}/", headers={"Authorization": f"Bearer {token}"}
            ) as http,
        ):
            groups = (await http.get("tokens/permission_groups")).json()["result"]
            (reading,) = [group["id"] for group in groups if group["name"] == "MCP Portals Read"]
            policy = {
                "effect": "allow",
                "permission_groups": [{"id": reading}],
                "resources": {f"com.cloudflare.api.account.{admin.account_id}": "*"},
            }
            made = (await http.post("tokens", json={"name": "reader", "policies": [policy]})).json()["result"]
            yield Run(servers, http, upstream, made["value"], store)


async def test_what_waits_is_shown_and_approved_as_it_was_read(tmp_path: Path) -> None:
    async with hosted() as upstream:
        async with portal(tmp_path, upstream) as run:
            body = {"id": "up", "auth_type": "unauthenticated", "hostname": upstream.url, "name": "Up", "pin": True}
            assert (await run.result("POST", "", body))["pin"] is True
            await run.until_ready("up")
            assert await run.result("GET", "/up/pins") == []
            upstream.behaviour.said["echo"] = {"description": "Other."}
            await run.result("POST", "/up/sync")
            shown = await run.result("GET", "/up")
            assert shown["waiting_approvals"] == 1 and "echo" not in {tool["name"] for tool in shown["tools"]}
            assert (shown["fix"]["action"], shown["capability_changes"][0]["tools"]["changed"]) == ("approve", ["echo"])
            assert shown["capability_changes"][0]["details"][0]["what"] == [
                'description: "The tool echo" became "Other."'
            ]
            approvals = {one["name"]: one["approval"] for one in shown["offered"] if one["kind"] == "tool"}
            assert approvals.pop("echo") == "changed" and set(approvals.values()) == {"approved"}
            (waits,) = await run.result("GET", "/up/pins")
            assert (waits["kind"], waits["name"], waits["new"]) == ("tool", "echo", False)
            assert waits["what"] == ['description: "The tool echo" became "Other."']
            assert "Other." in waits["definition"] and "Other." not in waits["approved_definition"]

            wrong = {"kind": "tool", "name": "echo", "digest": "0" * 64}
            status, answer = await run.ask("POST", "/up/pins/approve", {"approve": [waits, wrong]})
            assert (status, answer["errors"][0]["source"]["pointer"]) == (409, "/approve/1")
            reader = {"Authorization": f"Bearer {run.reader}"}
            assert (await run.ask("GET", "/up/pins", headers=reader))[0] == 200
            assert (await run.ask("POST", "/up/pins/approve", {"approve": [waits]}, headers=reader))[0] == 403
            assert (await run.ask("POST", "/up/pins/approve", {"approve": []}))[0] == 400
            assert (await run.ask("POST", "/gone/pins/approve", {"approve": [waits]}))[0] == 404
            assert (await run.result("GET", "/up"))["waiting_approvals"] == 1

            approved = await run.result("POST", "/up/pins/approve", {"approve": [waits]})
            assert approved["waiting_approvals"] == 0 and approved["approved"][0]["name"] == "echo"
            shown = await run.result("GET", "/up")
            assert "echo" in {tool["name"] for tool in shown["tools"]}
            # The approval is no change of the server's.
            assert shown["fix"] is None and len(shown["capability_changes"]) == 1
            assert {one["approval"] for one in shown["offered"]} == {"approved"}
            entry = next(entry for entry in await run.store.audit() if entry.kind == "pin")
            assert entry.by.startswith("api-token:") and entry.action == "replace"
            upstream.behaviour.said["echo"] = {"description": "Again other."}
        async with portal(tmp_path, upstream) as run:
            await run.until_ready("up")
            (waits,) = await run.result("GET", "/up/pins")
            assert "Again other." in waits["what"][0]
            # What is not sent stays; without the pin the server is taken at its word.
            assert (await run.result("PUT", "/up", {"name": "Up"}))["pin"] is True
            assert (await run.result("PUT", "/up", {"pin": False}))["pin"] is False
