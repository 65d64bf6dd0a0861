"""Programs that begin when a person has approved their plan, and keep to it, through a real portal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from codemode import CodeTool
from portal.approvals import ApprovalRefused, Decider
from portal.state import StateUnavailable, StoredRun
from tests.patience import PATIENCE
from tests.portal.access.guarded import ADA, ANYBODY, BOB
from tests.portal.approvals.test_calls import ADA_DECIDES, Place, asking, place
from tests.portal.endpoint.tasking import task_client
from tests.portal.portals import MODERN, client_of, portal_over
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
REQUIRED = {"plan": "required"}
OPEN: dict[str, Any] = {"portal": {"policies": [ANYBODY]}, "servers": [{"id": "up", "policies": [ANYBODY]}]}
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
SAID: dict[str, dict[str, Any]] = {
    "structured": {"outputSchema": TEXT},
    "journal": {"annotations": {"readOnlyHint": True}},
}
KEEPS = "const a = await codemode.up.structured({text: 'one'}); return codemode.up.echo({text: `<${a.text}>`})"
ONE = "const a = await codemode.up.structured({text: 'one'});"
STRAYS = f"{ONE} if (a.text === 'one') await codemode.up.echo({{text: 'x'}})"
READS = "return (await codemode.up.journal({text: ''})).length > 0"


@asynccontextmanager
async def requiring(
    folder: Path, code_tool: CodeTool, document: Any = OPEN, *, pin: bool = True, **runs: Any
) -> AsyncIterator[Place]:
    async with place(folder, document, code_tool, SAID, server={"pin": pin}, runs={"plan": "required", **runs}) as at:
        yield at


def made(at: Place) -> list[str]:
    entries = at.upstream.upstream.journal.entries
    return [entry.removeprefix("call ") for entry in entries if entry.startswith("call ")]


async def test_a_program_begins_when_its_plan_is_approved_and_its_calls_need_nothing_more(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with requiring(tmp_path, code_tool) as at:
        running = asyncio.create_task(at.run(KEEPS))
        [asked] = await at.asked()
        assert made(at) == [] and (asked.server, asked.tool, asked.subject, asked.call) == ("code", "plan", "ada", 0)
        shown = json.loads(await at.approvals.arguments(asked.id) or "")
        assert shown["calls"] == [
            '1. up.structured, line 1 {"text": "one"}',
            '2. up.echo, line 1 {"text": "<⟨1.text⟩>"}',
        ]
        assert "The plan is exact" in shown["ends"] and len(shown["program"]) == len(shown["plan"]) == 64
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        answer = await running
        assert (answer["status"], answer["result"]) == ("completed", "<one>") and made(at) == ["structured", "echo"]
        assert (await at.approvals.get(asked.id)).state == "used"
        assert len(await at.approvals.listed()) == 1


async def test_nothing_runs_when_the_plan_is_denied(tmp_path: Path, code_tool: CodeTool) -> None:
    async with requiring(tmp_path, code_tool) as at:
        running = asyncio.create_task(at.run(KEEPS))
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, ADA_DECIDES, False, comment="not today")
        error = (await running)["error"]
        assert error["kind"] == "denied" and "denied its plan: not today" in error["message"] and made(at) == []


async def test_only_its_person_approves_a_plan_and_only_in_the_browser(tmp_path: Path, code_tool: CodeTool) -> None:
    async with requiring(tmp_path, code_tool) as at:
        running = asyncio.create_task(at.run(KEEPS))
        [asked] = await at.asked()
        for decider in (Decider.of(BOB, "browser"), Decider.of(ADA, "client"), Decider.of(ADA, "cli")):
            with pytest.raises(ApprovalRefused):
                await at.approvals.decide(asked.id, decider, True)
        at.time.passes(days=2)
        await at.approvals.expire_due()
        assert "not approved in time" in (await running)["error"]["message"] and made(at) == []


async def test_a_program_whose_client_leaves_asks_for_nothing_any_more(tmp_path: Path, code_tool: CodeTool) -> None:
    async with requiring(tmp_path, code_tool) as at:
        running = asyncio.create_task(at.run(KEEPS))
        [asked] = await at.asked()
        running.cancel()
        await asyncio.wait({running})
        assert (await at.approvals.changed(asked.id, PATIENCE)).state == "withdrawn"
        assert made(at) == [] and [row.outcome for row in at.kept.runs] == ["cancelled"]


async def test_a_program_that_tells_made_up_answers_from_real_ones_hands_on_nothing_that_was_not_planned(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    program = f"{ONE} await codemode.up.echo({{text: a.text === 'one' ? 'planted' : a.text}})"
    async with requiring(tmp_path, code_tool) as at:
        running = asyncio.create_task(at.run(program))
        [plan] = await at.asked()
        assert json.loads(await at.approvals.arguments(plan.id) or "")["calls"][1] == "2. up.echo, line 1 ⟨1⟩"
        await at.approvals.decide(plan.id, ADA_DECIDES, True)
        [asked] = await at.asked()
        assert await at.approvals.arguments(asked.id) == '{"text":"planted"}' and made(at) == ["structured"]
        await at.approvals.decide(asked.id, ADA_DECIDES, False)
        assert (await running)["status"] == "failed" and made(at) == ["structured"]


async def test_a_call_that_is_not_in_the_plan_waits_for_an_approval_of_its_own(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with requiring(tmp_path, code_tool) as at:
        running = asyncio.create_task(at.run(STRAYS))
        [plan] = await at.asked()
        await at.approvals.decide(plan.id, ADA_DECIDES, True)
        [asked] = await at.asked()
        assert (asked.tool, asked.run, made(at)) == ("echo", plan.run, ["structured"])
        assert await at.approvals.arguments(asked.id) == '{"text":"x"}'
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await running)["status"] == "completed" and made(at) == ["structured", "echo"]


async def test_a_program_that_only_reads_and_a_plain_call_ask_nobody(tmp_path: Path, code_tool: CodeTool) -> None:
    async with requiring(tmp_path, code_tool) as at:
        assert (await at.run(READS))["result"] is True
        async with at.client() as client:
            assert not (await client.call_tool("up_echo", {"text": "x"})).is_error
        assert await at.approvals.listed() == []


async def test_that_a_tool_only_reads_is_not_believed_of_a_server_whose_tools_nobody_has_approved(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with requiring(tmp_path, code_tool, pin=False) as at:
        running = asyncio.create_task(at.run(READS))
        [asked] = await at.asked()
        shown = json.loads(await at.approvals.arguments(asked.id) or "")
        assert (asked.tool, made(at), shown["calls"]) == ("plan", [], ['1. up.journal, line 1 {"text": ""}'])
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await running)["status"] == "completed" and made(at) == ["journal"]


async def test_policies_that_ask_for_approvals_ask_for_theirs_too(tmp_path: Path, code_tool: CodeTool) -> None:
    async with requiring(tmp_path, code_tool, asking()) as at:
        running = asyncio.create_task(at.run(KEEPS))
        [plan] = await at.asked()
        await at.approvals.decide(plan.id, ADA_DECIDES, True)
        [asked] = await at.asked()
        assert (asked.tool, asked.rule.policy) == ("echo", "payments")
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await running)["result"] == "<one>"


async def test_a_parked_program_goes_on_with_its_plan(tmp_path: Path, code_tool: CodeTool) -> None:
    program = KEEPS.replace("return", "await codemode.up.structured({text: 'last'}); return")
    async with requiring(tmp_path, code_tool, asking(), durable="on_park") as at:
        running = asyncio.create_task(at.run(program))
        [plan] = await at.asked()
        await at.approvals.decide(plan.id, ADA_DECIDES, True)
        [asked] = await at.asked()
        await parked(at, asked.run)
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await running)["result"] == "<one>" and made(at) == ["structured", "structured", "echo"]
        assert len(await at.approvals.listed()) == 2


async def stored(at: Place, run: str, state: str) -> StoredRun:
    """The run once it is in this state."""
    async with asyncio.timeout(PATIENCE):
        while (found := await at.store.runs.get(run)) is None or found.state != state:
            await asyncio.sleep(0.01)
    return found


async def parked(at: Place, run: str) -> StoredRun:
    return await stored(at, run, "parked")


async def result_of(at: Place, run: str) -> dict[str, Any]:
    """The answer of a run that has been decided about."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await at.run(f"return await codemode.runs.result('{run}')"))["status"] == "paused":
            await asyncio.sleep(0.01)
    return answer


async def test_a_program_is_parked_while_its_plan_waits_whatever_it_does_first(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    program = f"await new Promise(resolve => setTimeout(resolve, 1000)); {KEEPS}"
    async with requiring(tmp_path, code_tool) as at:
        running = asyncio.create_task(at.run(program))
        [asked] = await at.asked()
        run = await parked(at, asked.run)
        # Its timer changes nothing before that: no process takes it up for it.
        assert (run.reason, run.wake_at, made(at)) == ("approval", None, [])
        [wait] = run.document.waits
        assert (wait.kind, wait.tool, wait.url.endswith(f"/approve/{asked.id}")) == ("approval", "", True)
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await running)["result"] == "<one>" and made(at) == ["structured", "echo"]
        assert [one.state for one in await at.approvals.listed()] == ["used"]


async def test_where_programs_are_not_parked_one_waits_for_its_plan_in_its_process(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with requiring(tmp_path, code_tool, durable="off", patience=0.001) as at:
        answer = await at.run(KEEPS)
        [asked] = await at.asked()
        assert answer["status"] == "paused" and await at.store.runs.get(asked.run) is None and made(at) == []
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        answer = await result_of(at, asked.run)
        assert answer["result"] == "<one>" and made(at) == ["structured", "echo"]


async def test_a_parked_run_that_has_used_the_approval_of_its_plan_asks_for_no_other(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with requiring(tmp_path, code_tool, patience=0.001) as at:
        assert (await at.run(KEEPS))["status"] == "paused"
        [asked] = await at.asked()
        await parked(at, asked.run)
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        # As a process that is killed before it writes down that it goes on. The run itself may be first.
        await at.approvals.use(asked.id, asked.digest, asked.rule.revision)
        answer = await result_of(at, asked.run)
        assert answer["result"] == "<one>" and made(at) == ["structured", "echo"]
        assert [one.state for one in await at.approvals.listed()] == ["used"]


async def test_a_parked_run_is_not_ended_because_the_database_is_away_when_its_plan_has_been_decided(
    tmp_path: Path, code_tool: CodeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    async def away(*_: object) -> bool:
        tried.set()
        raise StateUnavailable("the database is away")

    async with requiring(tmp_path, code_tool, patience=0.001) as at:
        assert (await at.run(KEEPS))["status"] == "paused"
        [asked] = await at.asked()
        await parked(at, asked.run)
        with monkeypatch.context() as patch:
            patch.setattr(at.approvals, "use", away)
            await at.approvals.decide(asked.id, ADA_DECIDES, True)
            async with asyncio.timeout(PATIENCE):
                await tried.wait()
            await stored(at, asked.run, "ready")
        at.time.passes(seconds=11)
        # Another run is parked, so its process looks for runs that may go on.
        assert (await at.run(KEEPS))["status"] == "paused"
        assert (await result_of(at, asked.run))["result"] == "<one>" and made(at) == ["structured", "echo"]


@pytest.mark.parametrize("approves", [True, False])
async def test_what_a_client_answers_to_the_task_of_a_program_decides_nothing_about_its_plan(
    tmp_path: Path, code_tool: CodeTool, approves: bool
) -> None:
    url = "/mcp?caller=ada&codemode=search_and_execute"
    async with (
        requiring(tmp_path, code_tool, patience=0.001) as at,
        task_client(at.url + url, capabilities={"elicitation": {}}) as client,
    ):
        created = await client.run(KEEPS)
        [asked] = await at.asked()
        await parked(at, asked.run)
        task = await client.get(created["taskId"])
        assert "approve what it would do" in task["statusMessage"]
        answers = {key: {"action": "accept", "content": {}} for key in task.get("inputRequests", {})}
        await client.request("tasks/update", taskId=created["taskId"], inputResponses=answers)
        assert (await at.approvals.get(asked.id)).state == "pending" and made(at) == []
        await at.approvals.decide(asked.id, ADA_DECIDES, approves)
        ended = (await client.until(created["taskId"], "completed"))["result"]["structuredContent"]
        if approves:
            assert ended["result"] == "<one>" and made(at) == ["structured", "echo"]
        else:
            assert "denied its plan" in ended["error"]["message"] and made(at) == []


async def test_where_nobody_can_approve_a_plan_nothing_is_changed(code_tool: CodeTool) -> None:
    async with (
        hosted() as upstream,
        portal_over({"up": upstream}, code_tool=code_tool, runs=REQUIRED) as at,
    ):
        async with client_of(at.code, MODERN) as client:
            answer = await client.call_tool("code", {"code": KEEPS})
        assert "here nobody can" in answer.structured_content["error"]["message"]
        assert [entry for entry in upstream.upstream.journal.entries if entry.startswith("call")] == []


async def test_what_a_program_does_before_it_fails_as_it_is_planned_is_not_approved_by_anybody(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    program = "await codemode.up.echo({text: 'x'}); return 'y'.repeat(30_000_000)"
    async with requiring(tmp_path, code_tool) as at:
        running = asyncio.create_task(at.run(program))
        [asked] = await at.asked()
        assert (asked.server, asked.tool, made(at)) == ("up", "echo", [])
        await at.approvals.decide(asked.id, ADA_DECIDES, False)
        await running
        assert made(at) == []
