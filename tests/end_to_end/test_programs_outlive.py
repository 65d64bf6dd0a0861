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

from portal.admin.build import read_account_id
from portal.identity import Identity
from portal.login import People
from portal.oauth import ServiceTokens
from portal.state import RunFilter, Verdict
from tests.end_to_end.processes import PortalProcess
from tests.end_to_end.whole import ACCEPT, MODERN
from tests.forked import finished
from tests.patience import PATIENCE
from tests.portal.endpoint.tasking import task_client
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
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """A call has reached the server, which does not answer it while it `hangs`."""
    hangs: bool = False

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

    async def approve_over_api(self, portal: PortalProcess, approval: str) -> None:
        token = (await self.command("api-token", "inbox", "--for", "bob@example.com")).strip()
        async with store_at(f"sqlite:///{self.folder}/state.db") as store:
            account = await read_account_id(store)
        url = f"http://127.0.0.1:{portal.port}/client/v4/accounts/{account}/access/ai-controls/mcp/approvals/{approval}"
        headers = {"authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{url}/decision", json={"decision": "approve"}, headers=headers) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def pending(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(await self.command("approvals", "list", "--json"))
        return found


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    places: list[Place] = []

    async def echo(exchange: Exchange) -> None:
        arguments = exchange.message["params"]["arguments"]
        (at,) = places
        at.made.append(arguments["n"])
        at.reached.set()
        if at.hangs:
            await exchange.gone.wait()
        else:
            await exchange.text(json.dumps(arguments))

    state = f"sqlite:///{folder}/state.db"
    config = folder / "codemode.json"
    async with raw_upstream(echo) as upstream:
        identity = {"policies": [ROBOTS], "toolPolicies": [PAYMENTS]}
        runs = {"patience": 0.001, "durable": "on_park", "record": "on"}
        portal = {"state": state, "identity": identity, "runs": runs, "logs": {}}
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
            places.append(Place(folder, config, headers, portals))
            yield places[0]
        finally:
            await asyncio.gather(*(portal.close() for portal in portals))


async def test_a_program_of_three_approvals_is_killed_at_each_wait_approved_and_replayed(tmp_path: Path) -> None:
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
            if n == 2:
                await at.portals[n % 2].start()
                await at.approve_over_api(at.portals[n % 2], asked["id"])
            else:
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
        # What four processes did is one recording, which needs none of them.
        await asyncio.gather(*(portal.close() for portal in at.portals))
        replayed = json.loads(await at.command("replay", run_id, "--json"))
        assert (replayed["equal"], replayed["calls"], at.made) == (True, 3, [1, 2, 3]), replayed


async def test_the_task_of_a_program_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    mode = "mcp?codemode=search_and_execute"
    async with place(tmp_path) as at:
        await at.portals[0].start()
        first = f"http://127.0.0.1:{at.portals[0].port}/{mode}"
        async with task_client(first, headers=at.headers, capabilities={"elicitation": {}}) as client:
            created = await client.run("return (await codemode.up.echo({n: 1})).n")
            assert created["resultType"] == "task"
            async with store_at(f"sqlite:///{tmp_path}/state.db") as store, asyncio.timeout(PATIENCE):
                while not await store.runs.list(RunFilter(states=("parked",))):
                    await asyncio.sleep(0.05)
            await at.portals[0].kill()
            await at.portals[1].start()
            client.url = f"http://127.0.0.1:{at.portals[1].port}/{mode}"
            task = await client.get(created["taskId"])
            assert task["status"] in ("working", "input_required") and "approve" in task["statusMessage"]
            # What its client answers decides nothing.
            answers = {key: {"action": "accept", "content": {}} for key in task.get("inputRequests", {})}
            await client.request("tasks/update", taskId=created["taskId"], inputResponses=answers)
            (asked,) = await at.pending()
            assert (await client.get(created["taskId"]))["status"] == "working" and at.made == []
            await at.command("approvals", "approve", asked["id"], "--as", "bob@example.com")
            task = await client.until(created["taskId"], "completed")
            assert (task["result"]["structuredContent"]["result"], at.made) == (1, [1])
            assert task["createdAt"] == created["createdAt"]


@pytest.mark.parametrize(
    ("verdict", "answer", "made"),
    [
        ("happened", {"n": 7}, [1]),
        # Each waits for the end of a lease.
        pytest.param("repeat", None, [1, 1], marks=pytest.mark.deep),
        pytest.param("refused", None, [1], marks=pytest.mark.deep),
    ],
)
async def test_a_call_during_which_a_process_is_killed_is_not_made_again_until_somebody_says_so(
    tmp_path: Path, verdict: Verdict, answer: dict[str, int] | None, made: list[int]
) -> None:
    program = "try { return (await codemode.up.echo({n: 1})).n } catch (error) { return error.message }"
    async with place(tmp_path) as at, store_at(f"sqlite:///{tmp_path}/state.db") as store:
        at.hangs = True
        await at.portals[0].start()
        run_id = (await at.run(at.portals[0], program))["executionId"]
        (asked,) = await at.pending()
        await at.command("approvals", "approve", asked["id"], "--as", "bob@example.com")
        async with asyncio.timeout(PATIENCE):
            await at.reached.wait()
        await at.portals[0].kill()
        at.hangs = False
        await at.portals[1].start()
        async with asyncio.timeout(PATIENCE):
            while (parked := await store.runs.get(run_id)) is None or parked.reason != "uncertain":
                await asyncio.sleep(0.2)
        assert at.made == [1]
        shown = await at.command("runs", "show", run_id)
        assert "uncertain" in shown and "echo" in shown
        paused = await at.run(at.portals[1], f'return await codemode.runs.result("{run_id}")')
        assert paused["status"] == "paused" and "nobody knows" in paused["waiting"][0]["text"]
        given = None if answer is None else json.dumps(answer).encode()
        assert await store.runs.resolve(run_id, 1, verdict, given)
        # The approval that the call has used is good for the one repeat that somebody orders.
        async with asyncio.timeout(PATIENCE):
            while (found := await at.run(at.portals[1], f'return await codemode.runs.result("{run_id}")'))[
                "status"
            ] == "paused":
                await asyncio.sleep(0.1)
        assert at.made == made
        assert found["result"] == {"happened": 7, "repeat": 1}.get(verdict) or "nobody knows" in found["result"]
