"""Results of programs that come late: what a program has read counts from when its client or another program has it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from codemode import CodeTool
from tests.portal.flows.reading import LABELS, guarded
from tests.portal.flows.test_portal import READ, SEND, refused, run, was_denied
from tests.portal.portals import GENERATIONS, MODERN, client_of
from tests.portal.runs.login import Login

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
HANG_IS_NOTHING: Any = {**LABELS, "crm": {"labels": ["confidential"], "toolLabels": {"hang": []}}}


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_what_a_program_has_read_counts_from_its_answer_on_however_long_ago_it_was(
    mode: str, code_tool: CodeTool
) -> None:
    async with (
        guarded(code_tool, labels=HANG_IS_NOTHING) as portal,
        client_of(portal.code, mode) as programs,
        client_of(portal.mcp, mode) as tools,
    ):
        running = asyncio.create_task(run(programs, READ + "await codemode.crm.hang({text: ''}); return found"))
        await portal.crm.upstream.journal.wait("call hang")
        portal.clock.pass_by(hours=9)
        portal.crm.upstream.release.set()
        assert (await running)["result"] == "the salary"
        portal.clock.pass_by(hours=7, minutes=59)
        assert "by crm.echo" in await refused(tools)
        portal.clock.pass_by(minutes=2)
        await tools.call_tool("mail_echo", {"text": "x"})


@pytest.mark.parametrize("way", ["result", "cancel"])
async def test_a_program_that_gets_what_an_earlier_one_has_read_has_read_it_too(way: str, code_tool: CodeTool) -> None:
    login, at_once = Login("structured"), {"patience": 0.001, "patienceWithProgress": 0.001}
    async with (
        guarded(code_tool, gate=login.gate, runs=at_once) as portal,
        client_of(portal.code, MODERN) as client,
    ):
        paused = await run(client, READ + "console.log(found); await codemode.crm.structured({text: ''}); return found")
        assert paused["status"] == "paused"
        login.done.set()
        earlier = f"const earlier = await codemode.runs.{{}}('{paused['executionId']}'); "
        assert (await run(client, earlier.format("result") + "return earlier"))["result"] == "the salary"
        portal.clock.pass_by(hours=9)
        answer = await run(client, earlier.format(way) + SEND)
        assert was_denied(answer) and "this program has read" in answer["error"]["message"]
        assert portal.sent() == []
