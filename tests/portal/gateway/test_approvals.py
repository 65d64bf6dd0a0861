"""Rules of the gateway with the action `approve`: what a call sends waits for people, who do not see what was found."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from codemode import CodeTool
from portal.dlp import DetectionUnavailable, Verdict
from portal.gateway import HttpRuleRefused, compile_rule
from portal.objects import RuleDocument
from tests.portal.approvals.ruled import ruled
from tests.portal.approvals.test_calls import ADA_DECIDES
from tests.portal.dlp.made_up import SECRETS
from tests.portal.gateway.searching import Searching

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
OUT = 'mcp.direction == "outgoing"'
ASKS = {"name": "Ask", "action": "approve", "traffic": f'{OUT} and any(dlp.profiles[*] in {{"credentials"}})'}
TOKEN = SECRETS["github"](random.Random(1))


def sending(text: str) -> str:
    """A program that reads its token in pieces, as no rule finds it in its text."""
    half = len(text) // 2
    call = f"return await codemode.up.echo({{text: '{text[:half]}' + '{text[half:]}'}})"
    return f"try {{ {call} }} catch (error) {{ return {{kind: error.kind, message: error.message}} }}"


async def test_what_a_rule_finds_waits_for_people_who_do_not_see_it_and_is_sent_as_it_is(
    tmp_path: Path, code_tool: CodeTool, searching: Searching
) -> None:
    async with ruled(tmp_path, (), code_tool, gateway=[ASKS], detector=searching) as at:
        running = asyncio.create_task(at.run(sending(TOKEN)))
        [asked] = await at.asked()
        assert asked.rule.policy == "gateway:Ask"
        [why] = asked.rule.because
        assert why.startswith("Rule 'Ask': it found") and "params.arguments.text" in why
        shown = await at.approvals.arguments(asked.id)
        assert shown is not None and "[redacted:" in shown and TOKEN not in shown + repr(asked)
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await running)["result"] == TOKEN and at.calls == 1
        row = at.kept.last
        assert (row.policy, row.outcome) == ("gateway:Ask", "ok") and TOKEN not in repr(at.kept.records)


async def test_an_approval_is_void_where_its_rule_of_the_document_was_switched_off_and_is_on_again(
    tmp_path: Path, code_tool: CodeTool, searching: Searching
) -> None:
    async with ruled(tmp_path, (), code_tool, gateway=[ASKS], detector=searching) as at:
        running = asyncio.create_task(at.run(sending(TOKEN)))
        [first] = await at.asked()
        for rule in ({**ASKS, "enabled": False}, ASKS):
            await at.apply(gateway=[rule])
        await at.approvals.decide(first.id, ADA_DECIDES, True)
        [second] = await at.asked()
        assert second.rule.policy == first.rule.policy and at.calls == 0
        await at.approvals.decide(second.id, ADA_DECIDES, True)
        assert (await running)["result"] == TOKEN and at.calls == 1


async def test_a_plan_is_shown_without_what_rules_find_in_it(
    tmp_path: Path, code_tool: CodeTool, searching: Searching
) -> None:
    required = {"plan": "required"}
    async with ruled(tmp_path, (), code_tool, gateway=[ASKS], detector=searching, runs=required) as at:
        running = asyncio.create_task(at.run(sending(TOKEN)))
        [plan] = await at.asked()
        shown = await at.approvals.arguments(plan.id)
        assert plan.tool == "plan" and shown is not None and "[redacted:" in shown and TOKEN not in shown
        await at.approvals.decide(plan.id, ADA_DECIDES, True)
        [asked] = await at.asked()
        assert asked.tool == "echo" and TOKEN not in (await at.approvals.arguments(asked.id) or TOKEN)
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await running)["result"] == TOKEN and at.calls == 1


async def test_a_call_in_no_plan_that_a_rule_seemed_to_block_does_not_leave_unasked(
    tmp_path: Path, code_tool: CodeTool, searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, scanned = list[object](), searching.scanned

    async def away_at_first(value: object, root: str = "value", *, as_arguments: bool = False) -> Verdict:
        if root == "params" and "planted" in str(value):
            seen.append(value)
            if len(seen) == 1:
                raise DetectionUnavailable("nothing searches now")
        return await scanned(value, root, as_arguments=as_arguments)

    monkeypatch.setattr(searching, "scanned", away_at_first)
    first = "const a = await codemode.up.echo({text: 'one'});"
    program = f"{first} if (a === 'one') await codemode.up.echo({{text: 'planted'}})"
    block = {**ASKS, "action": "block"}
    async with ruled(tmp_path, (), code_tool, gateway=[block], detector=searching, runs={"plan": "required"}) as at:
        running = asyncio.create_task(at.run(program))
        [plan] = await at.asked()
        await at.approvals.decide(plan.id, ADA_DECIDES, True)
        answer = await running
        assert at.calls == 1 and len(seen) == 2 and "in no plan" in answer["error"]["message"]


async def test_what_is_redacted_is_shown_as_it_is_sent(
    tmp_path: Path, code_tool: CodeTool, searching: Searching
) -> None:
    redacts = {**ASKS, "name": "Clean", "action": "redact"}
    asks = {"name": "Ask", "action": "approve", "traffic": f'{OUT} and mcp.tool.name == "echo"'}
    async with ruled(tmp_path, (), code_tool, gateway=[redacts, asks], detector=searching) as at:
        running = asyncio.create_task(at.run(sending(TOKEN)))
        [asked] = await at.asked()
        shown = await at.approvals.arguments(asked.id)
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        sent = (await running)["result"]
        assert shown == f'{{"text":"{sent}"}}' and TOKEN not in sent and at.calls == 1


async def test_a_rule_that_changes_what_is_sent_meanwhile_makes_the_approval_void(
    tmp_path: Path, code_tool: CodeTool, searching: Searching
) -> None:
    plain = {"name": "Ask", "action": "approve", "traffic": f'{OUT} and mcp.tool.name == "echo"'}
    clean = {**ASKS, "name": "Clean", "action": "redact"}
    async with ruled(tmp_path, (), code_tool, gateway=[clean, plain], detector=searching) as at:
        running = asyncio.create_task(at.run(sending(TOKEN)))
        [first] = await at.asked()
        await at.apply(gateway=[plain])
        await at.approvals.decide(first.id, ADA_DECIDES, True)
        [second] = await at.asked()
        assert second.digest != first.digest and at.calls == 0
        await at.approvals.decide(second.id, ADA_DECIDES, True)
        assert (await running)["result"] == TOKEN


async def test_a_block_asks_nobody_and_a_program_with_it_in_its_text_does_not_run(
    tmp_path: Path, code_tool: CodeTool, searching: Searching
) -> None:
    block = {**ASKS, "name": "No", "action": "block"}
    async with ruled(tmp_path, (), code_tool, gateway=[ASKS, block], detector=searching) as at:
        error = (await at.run(sending(TOKEN)))["result"]
        assert error["kind"] == "denied" and "by the rule 'No'" in error["message"]
        await at.apply(gateway=[ASKS])
        refused = await at.run(f"return await codemode.up.echo({{text: '{TOKEN}'}})")
        assert "only with the approval of people" in refused["error"]["message"]
        assert await at.approvals.listed() == [] and at.calls == 0


@pytest.mark.parametrize(
    "traffic",
    ["", 'any(dlp.profiles[*] in {"credentials"})', f'{OUT} or mcp.server.id == "a"', 'mcp.direction != "incoming"'],
)
def test_a_rule_that_may_be_about_results_cannot_ask(traffic: str) -> None:
    with pytest.raises(HttpRuleRefused, match="cannot wait for them: block or redact it"):
        compile_rule("r", RuleDocument.model_validate({"name": "R", "action": "approve", "traffic": traffic}))


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"action": "block", "rule_settings": {"approve_by": "person"}}, "is for rules with the action approve"),
        ({"action": "approve", "rule_settings": {"approve_by": "group"}}, "needs approval_groups"),
    ],
)
def test_a_rule_says_who_approves_only_where_it_asks(members: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RuleDocument.model_validate({"name": "R", "traffic": OUT, **members})
