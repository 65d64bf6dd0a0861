"""Plans at a portal: a client asks what a program would do, and nothing of it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from codemode import CodeTool
from portal.calls import Gate
from portal.calls.gate import Denial
from portal.config import parse_config
from tests.portal.portals import GENERATIONS, MODERN, Portal, client_of, portal_over
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
SAID: dict[str, dict[str, Any]] = {
    "echo": {"annotations": {"readOnlyHint": True}},
    "structured": {
        "outputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}
PROGRAM = """const title = await codemode.one.echo({text: "read"});
const a = await codemode.one.structured({text: title});
return codemode.one.big({text: `${a.text}!`});"""


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted(Behaviour(said=SAID)) as one:
        yield one


@asynccontextmanager
async def offering(upstream: Hosted, code_tool: CodeTool, plan: str, **settings: Any) -> AsyncIterator[Portal]:
    settings = {"runs": {"plan": plan}, **settings}
    async with portal_over({"one": upstream}, code_tool=code_tool, **settings) as portal:
        yield portal


def called(upstream: Hosted) -> list[str]:
    return [entry for entry in upstream.upstream.journal.entries if entry.startswith("call ")]


async def planned(client: Any, program: str = PROGRAM, **options: Any) -> Any:
    return await client.call_tool("code", {"code": program, "check": "plan"}, **options)


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_plan_is_answered_and_only_what_reads_reaches_the_server(
    mode: str, upstream: Hosted, code_tool: CodeTool
) -> None:
    async with offering(upstream, code_tool, "offered") as portal, client_of(portal.code, mode) as client:
        (tool,) = (await client.list_tools()).tools
        assert "plan" in tool.input_schema["properties"]["check"]["enum"]
        answer = await planned(client)
        assert called(upstream) == ["call echo"]
        plan = answer.structured_content["result"]
        assert [(one["tool"], one["arguments"]) for one in plan["entries"]] == [
            ("structured", {"text": "read"}),
            ("big", {"text": {"⟨text⟩": [{"⟨hole⟩": "2.text", "types": ["string"]}, "!"]}}),
        ]
        assert plan["whole"] and plan["reads"] == 1 and answer.structured_content["status"] == "completed"
        assert '3. one.big, line 3 {"text": "⟨2.text⟩!"}' in answer.content[0].text
        run_id = answer.structured_content["executionId"]
        rows = [(one.name, one.outcome) for one in portal.kept.records if one.run == run_id and one.kind == "tool"]
        assert rows == [("echo", "ok")]
        failed = await planned(client, "throw new Error('no')")
        assert failed.is_error and failed.structured_content["error"]["message"] == "no"
        wrong: Any = await client.call_tool("code", {"code": "1", "check": "plan", "other": 1})
        assert wrong.is_error and "remove other" in wrong.content[0].text


async def test_plans_are_offered_and_not_offered_while_the_portal_serves(upstream: Hosted, code_tool: CodeTool) -> None:
    async with offering(upstream, code_tool, "off") as portal, client_of(portal.code, MODERN) as client:
        (tool,) = (await client.list_tools()).tools
        assert tool.input_schema["properties"]["check"]["type"] == "boolean"
        refused = await planned(client)
        assert refused.is_error and "check is true or false" in refused.content[0].text and called(upstream) == []
        for plan, is_offered in (("offered", True), ("off", False)):
            document = {"mcpServers": {"one": {"url": upstream.url}}, "portal": {"runs": {"plan": plan}}}
            assert await portal.instance.apply(parse_config(document, env={})) == ()
            (tool,) = (await client.list_tools()).tools
            assert ("enum" in tool.input_schema["properties"]["check"]) is is_offered
            assert (await planned(client)).is_error is not is_offered


async def test_a_plan_names_the_labels_of_what_it_would_call(upstream: Hosted, code_tool: CodeTool) -> None:
    entry = {"url": upstream.url, "labels": ["external"]}
    async with portal_over({"one": entry}, code_tool=code_tool, runs={"plan": "offered"}) as portal:
        async with client_of(portal.code, MODERN) as client:
            answer = await planned(client)
    assert [one["labels"] for one in answer.structured_content["result"]["entries"]] == [["external"]] * 2


async def test_what_a_rule_does_not_let_out_is_not_read_for_a_plan_either(
    upstream: Hosted, code_tool: CodeTool
) -> None:
    class Nobody:
        async def admit(self, call: Any, context: Any) -> Denial | None:
            return Denial("not for anybody", "closed") if call.name == "echo" else None

    gate = Gate(admissions=(Nobody(),))
    async with portal_over({"one": upstream}, code_tool=code_tool, gate=gate, runs={"plan": "offered"}) as portal:
        async with client_of(portal.code, MODERN) as client:
            answer = await planned(client)
    assert called(upstream) == [] and answer.is_error and "not for anybody" in answer.content[0].text
