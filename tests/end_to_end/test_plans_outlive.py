"""A program waits for the approval of its plan longer than its process lives: another one goes on with it."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from portal.approvals import Approvals, Decider
from portal.login import Passwords
from portal.login.administrators import Administrators
from portal.state import ApprovalFilter, ApprovalRow, RunFilter, StoredRun
from tests.end_to_end.processes import HOST, PUBLIC, Processes, Site, WayToOne, processes
from tests.end_to_end.whole import CODE, answer_in
from tests.forked import finished
from tests.patience import PATIENCE
from tests.portal.elicitation.people import sign_in
from tests.portal.elicitation.test_agents import META
from tests.portal.export.exporting import store_at
from tests.portal.login.browser import Browser
from tests.portal.login.guarded import EVERYONE, PASSWORD, QUICK, Guarded
from tests.portal.oauth.agent import Agent
from tests.portal.upstreams.raw import Exchange, raw_upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks for the port of a process in /proc"),
]
TWO = """
console.log("begun");
try {
  await codemode.up.echo({n: 1});
  return (await codemode.up.echo({n: 2})).n;
} catch (error) { return error.message }
"""
DENIED = (
    "The person behind this program has denied its plan: not today. None of its calls was made. Do not run it again "
    "unless the person asks for that."
)
LATE = (
    "The plan of this program was not approved in time. None of its calls was made. Run it again to have it asked for."
)


@dataclass
class Plans:
    """Two processes of a portal whose programs keep to their plans, and Ada with her agent and her browser."""

    folder: Path
    config: Path
    state: str
    portal: Processes
    agent: Agent
    browser: Browser
    made: list[int] = field(default_factory=list)
    """The arguments of the calls that reached the server."""

    async def run(self, program: str) -> dict[str, Any]:
        params = {"name": "code", "arguments": {"code": program}, "_meta": META}
        headers = {
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {self.agent.tokens['access_token']}",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": "code",
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        found = answer_in(await self.agent.http.post(Site.mcp + CODE, json=body, headers=headers))
        assert "result" in found, found
        structured: dict[str, Any] = found["result"]["structuredContent"]
        return structured

    async def begin(self, program: str = TWO) -> str:
        """The id of a program that waits for the approval of its plan, and is stored."""
        answer = await self.run(program)
        assert (answer["status"], self.made) == ("paused", []), answer
        (waits,) = answer["waiting"]
        assert "approve what it would do" in waits["text"]
        run_id: str = answer["executionId"]
        assert (await self.stored(run_id)).state == "parked"
        return run_id

    async def result(self, run_id: str) -> dict[str, Any]:
        """The answer of a run that has been decided about."""
        async with asyncio.timeout(PATIENCE):
            while (answer := await self.run(f'return await codemode.runs.result("{run_id}")'))["status"] == "paused":
                await asyncio.sleep(0.05)
        return answer

    async def stored(self, run_id: str) -> StoredRun:
        async with store_at(self.state) as store:
            run = await store.runs.get(run_id)
        assert run is not None
        return run

    async def approvals(self) -> list[ApprovalRow]:
        async with store_at(self.state) as store:
            return list(await store.approvals.list(ApprovalFilter(), limit=100))

    async def plan(self) -> ApprovalRow:
        """The one plan that was asked for."""
        (asked,) = await self.approvals()
        assert (asked.server, asked.tool, asked.call) == ("code", "plan", 0)
        return asked

    async def decide(self, approval: str, decision: str) -> None:
        """Ada decides in her browser."""
        here = f"/approve/{approval}"
        page = await self.browser.open(here)
        done = await self.browser.submit(page, here, decision, comment="not today" if decision == "deny" else "")
        assert done.status == 200, done.text

    async def command(self, *words: str) -> str:
        """What a command prints."""
        done = await asyncio.to_thread(
            finished, *words, "--config", str(self.config), environment={"XDG_STATE_HOME": str(self.folder)}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@asynccontextmanager
async def plans(folder: Path) -> AsyncIterator[Plans]:
    """The first of the processes runs."""
    places: list[Plans] = []

    async def echo(exchange: Exchange) -> None:
        arguments = exchange.message["params"]["arguments"]
        places[0].made.append(arguments["n"])
        await exchange.text(json.dumps(arguments))

    state, config = f"sqlite:///{folder}/state.db", folder / "codemode.json"
    async with raw_upstream(echo) as upstream:
        identity = {"policies": [EVERYONE], "publicUrl": PUBLIC}
        runs = {"plan": "required", "patience": 0.001, "durable": "on_park"}
        section = {"state": state, "identity": identity, "runs": runs, "logs": {}}
        config.write_text(json.dumps({"mcpServers": {"up": {"url": upstream.url}}, "portal": section}))
        async with store_at(state) as store:
            await Administrators(store, Passwords(QUICK)).create("ada@example.com", "ada", PASSWORD, by="test")
        async with processes(HOST, folder, config, 2) as portal:
            transport = WayToOne(portal, random.Random(1))
            async with httpx2.AsyncClient(follow_redirects=False, timeout=PATIENCE, transport=transport) as http:
                browser = Browser(http, [PUBLIC])
                http.headers["Sec-Fetch-Mode"] = "navigate"
                await sign_in(browser, await browser.open("/login"))
                agent = Agent(cast(Guarded, Site()), http)
                await agent.log_in(browser)
                places.append(Plans(folder, config, state, portal, agent, browser))
                yield places[0]


async def moved(at: Plans) -> None:
    """All processes are killed, and another one starts."""
    await at.portal.kill(0)
    await at.portal.all[1].start()


async def test_a_plan_is_approved_after_its_process_was_killed_and_each_effect_happens_once(tmp_path: Path) -> None:
    async with plans(tmp_path) as at:
        run_id = await at.begin()
        await at.portal.kill(0)
        plan = await at.plan()
        assert (plan.run, plan.state) == (run_id, "pending")
        listed = json.loads(await at.command("runs", "list", "--json"))
        assert [(one["id"], one["state"], one["parked_for"]) for one in listed] == [(run_id, "parked", "approval")]
        assert "code.plan" in await at.command("runs", "show", run_id)
        await at.portal.all[1].start()
        answer = await at.run("return await codemode.runs.list()")
        assert [(one["id"], one["status"]) for one in answer["result"]] == [(run_id, "paused")]
        await at.decide(plan.id, "approve")
        answer = await at.result(run_id)
        assert (answer["status"], answer["result"], at.made) == ("completed", 2, [1, 2])
        assert [line["text"] for line in answer["logs"]] == ["begun"]
        assert (await at.plan()).state == "used"


async def test_a_plan_is_denied_after_its_process_was_killed_and_its_program_cannot_catch_that(tmp_path: Path) -> None:
    async with plans(tmp_path) as at:
        run_id = await at.begin()
        await moved(at)
        await at.decide((await at.plan()).id, "deny")
        error = (await at.result(run_id))["error"]
        assert (error["kind"], error["name"], error["message"]) == ("denied", "PlanDenied", DENIED)
        assert (at.made, (await at.stored(run_id)).state) == ([], "denied")


async def test_a_plan_whose_time_is_over_while_no_process_lives_ends_its_program(tmp_path: Path) -> None:
    async with plans(tmp_path) as at:
        run_id = await at.begin()
        await at.portal.kill(0)
        with closing(sqlite3.connect(tmp_path / "state.db")) as database, database:
            database.execute("UPDATE approvals SET expires_at = created_at + 1")
        await at.portal.all[1].start()
        error = (await at.result(run_id))["error"]
        assert (error["kind"], error["message"], at.made) == ("denied", LATE, [])
        assert (await at.plan()).state == "expired"


@pytest.mark.parametrize("by", ["its owner", "an administrator"])
async def test_a_program_that_waits_for_its_plan_is_ended_from_another_process(tmp_path: Path, by: str) -> None:
    async with plans(tmp_path) as at:
        run_id = await at.begin()
        await moved(at)
        if by == "its owner":
            answer = await at.run(f'return await codemode.runs.cancel("{run_id}")')
            assert answer["result"] is True, answer
        else:
            await at.command("runs", "cancel", run_id)
        assert (await at.stored(run_id)).state == "cancelled"
        plan = await at.plan()
        assert (plan.state, at.made) == ("withdrawn", [])
        page = await at.browser.open(f"/approve/{plan.id}")
        assert not any(("approve", "approve") in form.buttons for form in page.forms)


async def test_of_two_processes_that_hear_of_the_decision_one_goes_on(tmp_path: Path) -> None:
    async with plans(tmp_path) as at:
        begun = [await at.begin(f"return (await codemode.up.echo({{n: {n}}})).n") for n in range(6)]
        await at.portal.all[1].start()
        async with store_at(at.state) as store:
            async with Approvals(store) as approvals:
                deciders = {
                    one.id: Decider(subject=one.subject, email="", via="browser") for one in await at.approvals()
                }
                # In no portal process: each hears of it at its next look.
                await asyncio.gather(*(approvals.decide(id, decider, True) for id, decider in deciders.items()))
        ends = [(await at.result(run_id))["result"] for run_id in begun]
        assert (ends, sorted(at.made)) == (list(range(6)), list(range(6)))
        assert {one.state for one in await at.approvals()} == {"used"}


async def test_a_process_that_is_killed_when_it_has_used_the_approval_leaves_it_to_the_next(tmp_path: Path) -> None:
    async with plans(tmp_path) as at:
        run_id = await at.begin()
        await at.portal.kill(0)
        plan = await at.plan()
        async with store_at(at.state) as store, Approvals(store) as approvals:
            await approvals.decide(plan.id, Decider(subject=plan.subject, email="", via="browser"), True)
            assert await approvals.use(plan.id, plan.digest, plan.policy_revision)
        await at.portal.all[1].start()
        answer = await at.result(run_id)
        assert (answer["status"], at.made) == ("completed", [1, 2])
        assert (await at.plan()).state == "used"


@pytest.mark.parametrize(
    "number", [1, pytest.param(2, marks=pytest.mark.deep), pytest.param(3, marks=pytest.mark.deep)]
)
async def test_no_effect_happens_twice_when_processes_are_killed_around_the_approval(
    tmp_path: Path, number: int
) -> None:
    chance = random.Random(number)
    async with plans(tmp_path) as at:
        begun = [await at.begin(f"return (await codemode.up.echo({{n: {n}}})).n") for n in range(4)]
        for plan in await at.approvals():
            await at.portal.all[0].start()
            await at.decide(plan.id, "approve")
            await asyncio.sleep(chance.uniform(0, 0.1))  # it is killed at any moment
            await at.portal.kill(0)
        await at.portal.all[1].start()
        async with asyncio.timeout(PATIENCE):
            while True:
                async with store_at(at.state) as store:
                    left = await store.runs.list(RunFilter(states=("parked", "ready", "running")))
                if all(one.state == "parked" and one.reason == "uncertain" for one in left):
                    break
                await asyncio.sleep(0.2)
        uncertain = {one.id for one in left}
        for n, run_id in enumerate(begun):
            assert at.made.count(n) == 1 if run_id not in uncertain else at.made.count(n) <= 1
        assert {one.state for one in await at.approvals()} == {"used"}
