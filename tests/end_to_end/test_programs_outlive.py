"""A program outlives the processes that run it: they are killed at each of its waits, and others go on with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from portal.identity import Identity
from portal.login import People
from portal.oauth import ServiceTokens
from tests.end_to_end.processes import PortalProcess
from tests.end_to_end.whole import ACCEPT, MODERN
from tests.forked import finished
from tests.patience import PATIENCE
from tests.portal.export.exporting import store_at
from tests.portal.upstreams.raw import Exchange, raw_upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks for the port of a process in /proc"),
]
THREE = """
console.log("begun");
const seen = [];
for (const n of [1, 2, 3]) seen.push((await codemode.up.echo({n})).n);
return seen;
"""
ROBOTS = {"id": "robots", "decision": "non_identity", "include": [{"any_valid_service_token": {}}]}
PAYMENTS = {
    "id": "payments",
    "decision": "allow",
    "include": [{"everyone": {}}],
    "tools": {"names": ["echo"]},
    "approval_required": True,
    "approval_groups": [{"approvals_needed": 1, "email_addresses": ["bob@example.com"]}],
}


@dataclass
class Place:
    """Two portal processes on one database, and the server whose calls need approvals."""

    folder: Path
    config: Path
    headers: dict[str, str]
    portals: list[PortalProcess]
    made: list[int] = field(default_factory=list)
    """The arguments of the calls that reached the server."""

    async def run(self, portal: PortalProcess, program: str) -> dict[str, Any]:
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "agent", "version": "1"},
        }
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "code", "arguments": {"code": program}, "_meta": meta},
        }
        headers = {**ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "code"}
        url = f"http://127.0.0.1:{portal.port}/mcp?codemode=search_and_execute"
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, json=message, headers={**headers, **self.headers}) as answer,
        ):
            text = await answer.text()
        if answer.content_type == "text/event-stream":
            (text,) = [line[5:] for line in text.splitlines() if line.startswith("data:") and '"id"' in line]
        found = json.loads(text)
        assert "result" in found, found
        structured: dict[str, Any] = found["result"]["structuredContent"]
        return structured

    async def command(self, *words: str) -> str:
        """What a command prints."""
        done = await asyncio.to_thread(
            finished, *words, "--config", str(self.config), environment={"XDG_STATE_HOME": str(self.folder)}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def pending(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(await self.command("approvals", "list", "--json"))
        return found


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    made: list[int] = []

    async def echo(exchange: Exchange) -> None:
        arguments = exchange.message["params"]["arguments"]
        made.append(arguments["n"])
        await exchange.text(json.dumps(arguments))

    state = f"sqlite:///{folder}/state.db"
    config = folder / "codemode.json"
    async with raw_upstream(echo) as upstream:
        identity = {"policies": [ROBOTS], "toolPolicies": [PAYMENTS]}
        portal = {"state": state, "identity": identity, "runs": {"patience": 0.001}}
        config.write_text(json.dumps({"mcpServers": {"up": {"url": upstream.url}}, "portal": portal}))
        async with store_at(state) as store:
            token = await ServiceTokens(store).create("agent", by="test")
            await People(store).note(Identity(id="oidc:bob", email="bob@example.com", idp_id="oidc"))
        headers = {
            "cf-access-client-id": token.stored.document.client_id,
            "cf-access-client-secret": token.client_secret,
        }
        portals = [PortalProcess(folder, config) for _ in range(2)]
        try:
            yield Place(folder, config, headers, portals, made)
        finally:
            await asyncio.gather(*(portal.close() for portal in portals))


async def test_a_program_of_three_approvals_is_killed_at_each_wait_and_approved_meanwhile(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        await at.portals[0].start()
        answer = await at.run(at.portals[0], THREE)
        run_id = answer["executionId"]
        for n in (1, 2, 3):
            assert (answer["status"], answer["executionId"]) == ("paused", run_id)
            # Whichever process runs it: what a client was told of it outlives that.
            await at.portals[n % 2].kill()
            await at.portals[(n + 1) % 2].kill()
            (asked,) = await at.pending()
            assert (asked["run"], asked["tool"], at.made) == (run_id, "echo", list(range(1, n)))
            await at.command("approvals", "approve", asked["id"], "--as", "bob@example.com")
            await at.portals[n % 2].start()
            async with asyncio.timeout(PATIENCE):
                while True:
                    answer = await at.run(at.portals[n % 2], f'return await codemode.runs.result("{run_id}")')
                    if answer["status"] != "paused" or len(at.made) == n and await at.pending():
                        break
                    await asyncio.sleep(0.05)
        assert (answer["status"], answer["result"], at.made) == ("completed", [1, 2, 3], [1, 2, 3])
        assert [line["text"] for line in answer["logs"]] == ["begun"]
        row = json.loads(await at.command("runs", "show", run_id, "--json"))
        assert (row["id"], row["state"]) == (run_id, "completed")
