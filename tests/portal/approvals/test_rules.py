"""Calls that rules of data flow and of the gateway let pass with an approval alone, through a real portal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from codemode import CodeTool
from portal.approvals import ApprovalRefused, Remember
from tests.portal.access.guarded import ANYBODY
from tests.portal.approvals.ruled import ruled
from tests.portal.approvals.test_calls import ADA_DECIDES, BOB_DECIDES, BOBS_GROUP, asking

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ASKS = {"name": "outside", "when": ["confidential"], "then": "approve", "target": ["external"]}
SECRETS = {"name": "secrets", "when": ["secret"], "then": "approve", "target": ["external"]}
READ = "await codemode.crm.echo({text: 'a customer'});"
SEND = "return await codemode.up.echo({text: 'planted-argument'})"
CAUGHT = f"try {{ {READ} {SEND} }} catch (error) {{ return {{kind: error.kind, message: error.message}} }}"


async def test_a_call_that_a_rule_would_refuse_waits_for_its_approval_and_passes_once(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with ruled(tmp_path, [ASKS], code_tool) as at:
        running = asyncio.create_task(at.run(f"{READ} {SEND}"))
        [asked] = await at.asked()
        assert (asked.server, asked.tool, asked.rule.policy, asked.rule.by) == (
            "up",
            "echo",
            "data-flow:outside",
            "person",
        )
        assert asked.rule.because == ("Rule 'outside': after reading confidential of crm, this sends to external up.",)
        with pytest.raises(ApprovalRefused, match="not remembered"):
            await at.approvals.decide(asked.id, ADA_DECIDES, True, remember=Remember(seconds=600))
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await running)["result"] == "planted-argument" and at.calls == 1
        # The next one is asked about again: what was read counts, and the approval was for that call.
        again = asyncio.create_task(at.run(CAUGHT))
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, ADA_DECIDES, False, comment="not to them")
        error = (await again)["result"]
        assert error["kind"] == "denied" and "not to them" in error["message"] and at.calls == 1
        row = next(row for row in at.kept.records if row.server == "up" and row.outcome == "ok")
        assert row.policy == "data-flow:outside" and row.reason.startswith("approved with apr_")


async def test_a_rule_that_denies_asks_nobody(tmp_path: Path, code_tool: CodeTool) -> None:
    strict = {**ASKS, "name": "strict", "then": "deny"}
    async with ruled(tmp_path, [ASKS, strict], code_tool) as at:
        error = (await at.run(CAUGHT))["result"]
        assert error["kind"] == "denied" and "'strict' does not allow" in error["message"]
        assert await at.approvals.listed() == [] and at.calls == 0


async def test_a_policy_and_a_rule_that_both_ask_are_one_question_to_all_of_them(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    policies = asking(approval_groups=BOBS_GROUP)
    policies["servers"].append({"id": "crm", "policies": [ANYBODY]})
    # The tool has the same name at both servers: the policy is about one of them.
    policies["portal"]["tool_policies"][0]["tools"] = {"names": ["echo"], "servers": ["up"]}
    async with ruled(tmp_path, [ASKS], code_tool, policies) as at:
        running = asyncio.create_task(at.run(f"{READ} {SEND}"))
        [asked] = await at.asked()
        assert (asked.rule.policy, asked.rule.by) == ("payments+data-flow:outside", "group")
        # Bob alone would do for the policy, and Ada alone for the rule.
        assert asked.rule.also_person and not asked.rule.memorable
        await at.approvals.decide(asked.id, BOB_DECIDES, True)
        assert at.calls == 0
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await running)["result"] == "planted-argument" and at.calls == 1
        assert len(await at.approvals.listed()) == 1


async def test_what_is_read_while_an_approval_waits_is_asked_about_too(tmp_path: Path, code_tool: CodeTool) -> None:
    async with ruled(tmp_path, [ASKS, SECRETS], code_tool) as at:
        running = asyncio.create_task(at.run(f"{READ} {SEND}"))
        [first] = await at.asked()
        # Ada reads something secret elsewhere meanwhile.
        await at.apply([ASKS, SECRETS], ("confidential", "secret"))
        async with at.client() as client:
            await client.call_tool("crm_echo", {"text": "more"})
        await at.approvals.decide(first.id, ADA_DECIDES, True)
        [second] = await at.asked()
        assert at.calls == 0 and second.rule.policy == "data-flow:outside+data-flow:secrets"
        await at.approvals.decide(second.id, ADA_DECIDES, True)
        assert (await running)["result"] == "planted-argument" and at.calls == 1


async def test_an_approval_is_void_where_its_rule_or_the_address_of_the_server_is_another(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with ruled(tmp_path, [ASKS], code_tool) as at:
        running = asyncio.create_task(at.run(f"{READ} {SEND}"))
        [first] = await at.asked()
        await at.apply([{**ASKS, "exempt": ["crm"]}])
        await at.approvals.decide(first.id, ADA_DECIDES, True)
        [second] = await at.asked()
        assert second.rule.policy == first.rule.policy and at.calls == 0
        # The same server by another address.
        await at.apply([{**ASKS, "exempt": ["crm"]}], url=at.upstream.url.replace("/mcp", "/mcp?other=1"))
        await at.approvals.decide(second.id, ADA_DECIDES, True)
        [third] = await at.asked()
        assert at.calls == 0
        await at.approvals.decide(third.id, ADA_DECIDES, True)
        assert (await running)["result"] == "planted-argument" and at.calls == 1


async def test_an_approval_is_void_where_its_rule_was_changed_and_is_as_before(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with ruled(tmp_path, [ASKS], code_tool) as at:
        running = asyncio.create_task(at.run(f"{READ} {SEND}"))
        [first] = await at.asked()
        for rules in ([{**ASKS, "exempt": ["crm"]}], [ASKS]):
            await at.apply(rules)
        await at.approvals.decide(first.id, ADA_DECIDES, True)
        [second] = await at.asked()
        assert second.rule.policy == first.rule.policy and at.calls == 0
        await at.approvals.decide(second.id, ADA_DECIDES, True)
        assert (await running)["result"] == "planted-argument" and at.calls == 1


async def test_what_is_remembered_under_a_rule_is_void_where_the_rule_was_left_out_and_comes_back(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    remembers = {**ASKS, "remember": True}
    async with ruled(tmp_path, [remembers], code_tool) as at:
        running = asyncio.create_task(at.run(f"{READ} {SEND}"))
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, ADA_DECIDES, True, remember=Remember(seconds=600))
        await running
        assert (await at.run(f"{READ} {SEND}"))["result"] == "planted-argument" and at.calls == 2
        for rules in ([], [remembers]):
            await at.apply(rules)
        running = asyncio.create_task(at.run(f"{READ} {SEND}"))
        [asked] = await at.asked()
        assert at.calls == 2
        await at.approvals.decide(asked.id, ADA_DECIDES, False)
        await running


async def test_a_call_of_a_client_says_where_it_is_approved(tmp_path: Path, code_tool: CodeTool) -> None:
    async with ruled(tmp_path, [ASKS], code_tool) as at, at.client() as client:
        await client.call_tool("crm_echo", {"text": "one"})
        answer = await at.raw({"name": "up_echo", "arguments": {"text": "planted-argument"}})
        assert "to approve this call of up.echo first" in answer["error"]["message"] and at.calls == 0
        [asked] = await at.asked()
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        answer = await at.raw({"name": "up_echo", "arguments": {"text": "planted-argument"}})
        assert "result" in answer and at.calls == 1
