"""A paused run, and a program between two rounds of questions, belong to one person, whoever else knows their ids."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.identity import Identity
from tests.portal.access.guarded import ANYBODY, STAFF, guarded, policy
from tests.portal.portals import GENERATIONS, MODERN, Heard, client_of
from tests.portal.runs.login import Login
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
OPEN = {"portal": {"policies": [STAFF]}, "servers": [{"id": "one", "policies": [ANYBODY]}]}
ACCEPT = types.ElicitResult(action="accept", content={})
ASK = "return codemode.one.ask({text: 'q'})"


async def run(client: Any, program: str) -> Any:
    return (await client.call_tool("code", {"code": program})).structured_content


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_another_person_does_not_know_a_run(mode: str, code_tool: CodeTool) -> None:
    login = Login("echo")
    async with (
        hosted() as upstream,
        guarded({"one": upstream}, OPEN, code_tool=code_tool, gate=login.gate, runs={"patience": 0.001}) as portal,
        client_of(portal.code("ada"), mode) as ada,
        client_of(portal.code("bob"), mode) as bob,
    ):
        run_id = (await run(ada, "return codemode.one.echo({text: 'x'})"))["executionId"]
        for call in (f"result('{run_id}')", f"cancel('{run_id}')"):
            refused = await run(bob, f"return await codemode.runs.{call}")
            assert f"you have no run '{run_id}' here" in refused["error"]["message"]
        assert (await run(bob, "return codemode.runs.list()"))["result"] == []
        login.done.set()
        assert (await run(ada, f"return await codemode.runs.result('{run_id}')"))["result"] == "x"


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_whom_nobody_can_tell_apart_is_told_of_no_run_and_gets_the_one_they_know(
    mode: str, code_tool: CodeTool
) -> None:
    login, everybody = Login("echo"), policy("everybody", "bypass", {"everyone": {}})
    document = {"portal": {"policies": [everybody]}, "servers": [{"id": "one", "policies": [everybody]}]}
    async with (
        hosted() as upstream,
        guarded({"one": upstream}, document, code_tool=code_tool, gate=login.gate, runs={"patience": 0.001}) as portal,
    ):
        for guest in ("first", "second"):
            portal.callers[guest] = Identity(ip="192.0.2.77")
        async with client_of(portal.code("first"), mode) as first, client_of(portal.code("second"), mode) as second:
            run_id = (await run(first, "return codemode.one.echo({text: 'x'})"))["executionId"]
            for client in (first, second):
                assert (await run(client, "return codemode.runs.list()"))["result"] == []
            login.done.set()
            assert (await run(first, f"return await codemode.runs.result('{run_id}')"))["result"] == "x"


async def test_another_person_cannot_answer_a_question_in_the_place_of_who_was_asked(code_tool: CodeTool) -> None:
    async def asked(client: Any, **again: Any) -> Any:
        return await client.session.call_tool("code", {"code": ASK}, allow_input_required=True, **again)

    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        guarded({"one": upstream}, OPEN, code_tool=code_tool) as portal,
        client_of(portal.code("ada"), MODERN, elicitation_callback=Heard().elicit) as ada,
        client_of(portal.code("bob"), MODERN, elicitation_callback=Heard().elicit) as bob,
    ):
        first = await asked(ada)
        answers = dict.fromkeys(first.input_requests, ACCEPT)
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await asked(bob, input_responses=answers, request_state=first.request_state)
        done = await asked(ada, input_responses=answers, request_state=first.request_state)
        assert done.structured_content["result"] == "accept legacy"
