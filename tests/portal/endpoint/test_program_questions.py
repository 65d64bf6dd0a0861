"""Questions that tools ask during a program: the person behind `code` answers, between any two generations of MCP."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.endpoint import questions
from tests.patience import PATIENCE
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Heard, client_of, portal_over
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.raw import Exchange, raw_upstream
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
upstreams = pytest.mark.parametrize("legacy", [False, True], ids=["modern upstream", "legacy upstream"])
ACCEPT = types.ElicitResult(action="accept", content={})


async def run(client: Any, program: str, **options: Any) -> Any:
    return await client.call_tool("code", {"code": program}, **options)


def answer_to(legacy: bool) -> str:
    return "accept legacy" if legacy else "accept asked"


@both
@upstreams
async def test_a_question_of_a_tool_reaches_the_user_of_the_program(
    mode: str, legacy: bool, code_tool: CodeTool
) -> None:
    heard = Heard(ACCEPT)
    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, mode, elicitation_callback=heard.elicit) as client,
    ):
        program = """
            const before = await codemode.one.echo({text: "a"});
            return [before, await codemode.one.ask({text: "your name?"}), await codemode.one.echo({text: "b"})];
        """
        answer = await run(client, program)
        assert answer.structured_content["result"] == ["a", answer_to(legacy), "b"]
        assert [question.message for question in heard.of("question")] == ["your name?"]
        assert [record.outcome for record in portal.kept.records] == ["ok"] * len(portal.kept.records)


@both
@upstreams
async def test_questions_asked_at_once_are_all_answered(mode: str, legacy: bool, code_tool: CodeTool) -> None:
    heard = Heard(ACCEPT)
    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, mode, elicitation_callback=heard.elicit) as client,
    ):
        program = "return Promise.all([1, 2, 3, 4].map((n) => codemode.one.ask({text: `question ${n}`})))"
        answer = await run(client, program)
        assert answer.structured_content["result"] == [answer_to(legacy)] * 4
        asked = sorted(question.message for question in heard.of("question"))
        assert asked == [f"question {n}" for n in (1, 2, 3, 4)]


@both
@upstreams
async def test_questions_of_many_clients_at_once_reach_the_right_one(
    mode: str, legacy: bool, code_tool: CodeTool
) -> None:
    async def one(url: str, name: str) -> None:
        heard = Heard(ACCEPT)
        async with client_of(url, mode, elicitation_callback=heard.elicit) as client:
            program = f"for (const n of [1, 2]) await codemode.one.ask({{text: `{name} ${{n}}`}}); return '{name}'"
            assert (await run(client, program)).structured_content["result"] == name
        assert [question.message for question in heard.of("question")] == [f"{name} 1", f"{name} 2"]

    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
    ):
        await asyncio.gather(*(one(portal.code, name) for name in ("ann", "bob", "cem")))


@both
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_refusal_of_the_user_reaches_the_tool(mode: str, action: Any, code_tool: CodeTool) -> None:
    heard = Heard(types.ElicitResult(action=action))
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, mode, elicitation_callback=heard.elicit) as client,
    ):
        answer = await run(client, "return await codemode.one.ask({text: 'may I?'})")
        assert answer.structured_content["result"] == f"{action} legacy"


@both
async def test_sampling_roots_and_pages_are_asked_too(mode: str, code_tool: CodeTool) -> None:
    """A modern upstream asks for all of them in one round."""
    asks = {
        "model": {
            "method": "sampling/createMessage",
            "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 9},
        },
        "folders": {"method": "roots/list"},
        "page": {
            "method": "elicitation/create",
            "params": {"mode": "url", "message": "log in", "url": "https://a.example/x", "elicitationId": "e1"},
        },
    }

    async def in_a_round(exchange: Exchange) -> None:
        params = exchange.message["params"]
        if (given := params.get("inputResponses")) is None:
            await exchange.result({"resultType": "input_required", "inputRequests": asks, "requestState": "s"})
        else:
            await exchange.text(
                f"{given['model']['content']['text']} {given['folders']['roots'][0]['uri']} {given['page']['action']}"
            )

    async def sample(context: Any, params: Any) -> types.CreateMessageResult:
        said = types.TextContent(text=f"said {params.messages[0].content.text}")
        return types.CreateMessageResult(role="assistant", content=said, model="m")

    async def list_roots(context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root.model_validate({"uri": "file:///home"})])

    async with (
        raw_upstream(in_a_round) as raw,
        portal_over({"one": {"url": raw.url}}, code_tool=code_tool) as portal,
        client_of(
            portal.code,
            mode,
            elicitation_callback=Heard(ACCEPT).elicit,
            sampling_callback=sample,
            list_roots_callback=list_roots,
        ) as client,
    ):
        answer = await run(client, "return await codemode.one.echo({})")
        assert answer.structured_content["result"] == "said hi file:///home accept"


@both
@upstreams
async def test_a_client_that_answers_nothing_gives_the_program_an_error_that_says_so(
    mode: str, legacy: bool, code_tool: CodeTool
) -> None:
    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, mode) as client,
    ):
        answer = await run(client, "return await codemode.one.ask({text: 'your name?'})")
        if legacy:
            assert answer.structured_content["result"].startswith("refused")  # the tool's own words
        else:
            message = answer.structured_content["error"]["message"]
            assert "there is nobody to answer: no client, or one that has not declared `elicitation`" in message


@both
async def test_a_question_that_the_client_cannot_show_is_an_error_that_names_what_it_lacks(
    mode: str, code_tool: CodeTool
) -> None:
    async def ask_for_sampling(exchange: Exchange) -> None:
        asks = {"q": {"method": "roots/list"}}
        await exchange.result({"resultType": "input_required", "inputRequests": asks, "requestState": "s"})

    async with (
        raw_upstream(ask_for_sampling) as raw,
        portal_over({"one": {"url": raw.url}}, code_tool=code_tool) as portal,
        client_of(portal.code, mode, elicitation_callback=Heard(ACCEPT).elicit) as client,
    ):
        answer = await run(client, "return await codemode.one.echo({})")
        message = answer.structured_content["error"]["message"]
        assert "it has not declared the capability `roots`. Nobody was asked." in message
        assert answer.structured_content["error"]["tool"] == "one.echo"


@both
async def test_a_question_that_is_none_of_the_protocol_costs_its_call_alone(mode: str, code_tool: CodeTool) -> None:
    async def ask_nonsense(exchange: Exchange) -> None:
        asks = {"q": {"method": "elicitation/create", "params": {"message": 7, "requestedSchema": "x"}}}
        await exchange.result({"resultType": "input_required", "inputRequests": asks, "requestState": "s"})

    async with (
        raw_upstream(ask_nonsense) as raw,
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"odd": {"url": raw.url}, "one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, mode, elicitation_callback=Heard(ACCEPT).elicit) as client,
    ):
        program = """
            const both = await Promise.allSettled([codemode.odd.echo({}), codemode.one.ask({text: "q"})]);
            return both.map((one) => one.value ?? one.reason.name);
        """
        answer = await run(client, program)
        assert answer.structured_content["result"] == ["ToolError", "accept legacy"]


@both
async def test_progress_goes_on_over_questions(mode: str, code_tool: CodeTool) -> None:
    heard = Heard(ACCEPT)
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, mode, elicitation_callback=heard.elicit) as client,
    ):
        program = "await codemode.one.echo({text: ''}); await codemode.one.ask({text: 'q'}); return 1"
        await run(client, program, progress_callback=heard.progress)
        assert await heard.until("progress", 2) == [(1, None, "one.echo"), (2, None, "one.ask")]


async def asked(client: Any, program: str, **again: Any) -> Any:
    return await client.session.call_tool("code", {"code": program}, allow_input_required=True, **again)


ASK_TWO = "return Promise.all([codemode.one.ask({text: 'a'}), codemode.one.ask({text: 'b'})])"


async def test_a_program_goes_on_with_the_answers_in_any_number_of_rounds_and_each_counts_once(
    code_tool: CodeTool,
) -> None:
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, MODERN, elicitation_callback=Heard().elicit) as client,
    ):
        answered: set[str] = set()
        reply = first = await asked(client, ASK_TWO)
        while isinstance(reply, types.InputRequiredResult):
            assert reply.input_requests and reply.request_state
            name = min(reply.input_requests)
            assert name not in answered
            answered.add(name)
            last = reply
            reply = await asked(client, ASK_TWO, input_responses={name: ACCEPT}, request_state=reply.request_state)
        assert len(answered) == 2
        assert reply.structured_content["result"] == ["accept legacy", "accept legacy"]
        for old in (first, last):
            with pytest.raises(MCPError, match="no longer waiting"):
                await asked(client, ASK_TWO, input_responses={}, request_state=old.request_state)


async def test_what_happens_between_the_rounds_is_sent_to_nobody_and_fails_nothing(code_tool: CodeTool) -> None:
    heard = Heard()
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, MODERN, elicitation_callback=Heard().elicit) as client,
    ):
        program = """
            const later = async () => [await codemode.one.hang({text: ""}), await codemode.one.log({text: "x"})];
            return Promise.all([codemode.one.ask({text: "q"}), later()]);
        """
        first = await asked(client, program, progress_callback=heard.progress)
        upstream.upstream.release.set()
        await upstream.upstream.journal.wait("call log")
        async with asyncio.timeout(PATIENCE):
            while "log" not in [record.name for record in portal.kept.records]:
                await asyncio.sleep(0.005)
        again = {"input_responses": dict.fromkeys(first.input_requests, ACCEPT), "request_state": first.request_state}
        done = await asked(client, program, progress_callback=heard.progress, **again)
        assert done.structured_content["result"] == ["accept legacy", ["released", "logged"]]
        assert [message for _, _, message in heard.of("progress")] == ["one.ask"]


async def test_a_program_that_is_parked_belongs_to_its_text_and_cannot_be_forged(code_tool: CodeTool) -> None:
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, MODERN, elicitation_callback=Heard().elicit) as client,
    ):
        first = await asked(client, ASK_TWO)
        for program, state in (("return 1", first.request_state), (ASK_TWO, "portal:x"), (ASK_TWO, "")):
            with pytest.raises(MCPError, match="Invalid or expired requestState"):
                await asked(client, program, input_responses={}, request_state=state)


async def test_a_program_that_nobody_answers_is_stopped(monkeypatch: pytest.MonkeyPatch, code_tool: CodeTool) -> None:
    monkeypatch.setattr(questions, "PARK_SECONDS", 0.05)
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool) as portal,
        client_of(portal.code, MODERN, elicitation_callback=Heard().elicit) as client,
    ):
        await asked(client, "await codemode.one.ask({text: 'q'})")
        async with asyncio.timeout(PATIENCE):
            while [record.outcome for record in portal.kept.records if record.name == "ask"] != ["cancelled"]:
                await run(client, "await codemode.one.echo({text: 'x'})")


@both
async def test_a_client_that_leaves_while_it_is_asked_stops_the_program(mode: str, code_tool: CodeTool) -> None:
    heard = Heard()

    async def think(context: Any, params: Any) -> Any:
        await heard.elicit(context, params)
        await asyncio.Event().wait()

    async with hosted(Behaviour(legacy=True)) as upstream:
        async with portal_over({"one": upstream}, code_tool=code_tool) as portal:
            async with client_of(portal.code, mode, elicitation_callback=think) as client:
                program = "await Promise.all([codemode.one.hang({text: ''}), codemode.one.ask({text: 'q'})])"
                call = asyncio.create_task(run(client, program))
                await heard.until("question")
                call.cancel()
                if mode == LEGACY:
                    await upstream.upstream.journal.wait("cancelled hang")
        # A 2026-07-28 client has no request open while its user thinks: the program ends with its time, or the portal.
        await upstream.upstream.journal.wait("cancelled hang")
