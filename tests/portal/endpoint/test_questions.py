"""Questions from upstreams to users, between every two generations of MCP, and what becomes of them."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from portal.calls import Call
from portal.endpoint import ApprovalPrompts, questions
from portal.endpoint.modes import Mode
from portal.endpoint.request import ClientRequest
from portal.upstream import CallContext, DownstreamClient
from tests.patience import PATIENCE
from tests.portal.endpoint.tasking import Refused, task_client
from tests.portal.portals import GENERATIONS, MODERN, Heard, client_of, portal_over
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


def text(result: Any) -> str:
    return "".join(block.text for block in result.content)


@both
@upstreams
async def test_a_question_reaches_the_user_and_the_answer_the_upstream(mode: str, legacy: bool) -> None:
    heard = Heard(ACCEPT)
    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, mode, elicitation_callback=heard.elicit) as client,
    ):
        result = await client.call_tool("one_ask", {"text": "your name?"})
        assert text(result) == ("accept legacy" if legacy else "accept asked")
        assert [question.message for question in heard.of("question")] == ["your name?"]
        assert [record.outcome for record in portal.kept.records][-1] == "ok"


@both
async def test_a_client_that_answers_no_questions_is_not_asked(mode: str) -> None:
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, mode) as client,
    ):
        assert text(await client.call_tool("one_ask", {"text": "your name?"})).startswith("refused")


async def test_a_question_to_a_client_that_answers_none_is_an_error_that_names_the_capability() -> None:
    async with (
        hosted() as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, MODERN) as client,
    ):
        with pytest.raises(MCPError, match="declared nothing that could give it") as caught:
            await client.call_tool("one_ask", {"text": "your name?"})
        error = caught.value.error
        assert error.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY
        assert error.data == {"requiredCapabilities": {"elicitation": {}}}


async def test_a_round_without_a_question_needs_no_client() -> None:
    async def in_rounds(exchange: Exchange) -> None:
        done = int(exchange.message["params"].get("requestState", "0"))
        if done < int(exchange.message["params"]["arguments"]["rounds"]):
            await exchange.result({"resultType": "input_required", "requestState": str(done + 1)})
        else:
            await exchange.text(f"after {done}")

    async with (
        raw_upstream(in_rounds) as raw,
        portal_over({"one": {"url": raw.url}}) as portal,
        client_of(portal.mcp, MODERN) as client,
    ):
        assert text(await client.call_tool("one_echo", {"rounds": 2})) == "after 2"
        with pytest.raises(MCPError, match="not answered the call after 10 rounds"):
            await client.call_tool("one_echo", {"rounds": 100})
        assert len(raw.calls) == 13 and len(portal.kept.records) == 13


@both
@upstreams
async def test_questions_of_many_clients_at_once_reach_the_right_one(mode: str, legacy: bool) -> None:
    async def one(url: str, name: str) -> None:
        heard = Heard(ACCEPT)
        async with client_of(url, mode, elicitation_callback=heard.elicit) as client:
            await asyncio.gather(*(client.call_tool("one_ask", {"text": f"{name} {turn}"}) for turn in range(3)))
        assert sorted(question.message for question in heard.of("question")) == [f"{name} {turn}" for turn in range(3)]

    async with hosted(Behaviour(legacy=legacy)) as upstream, portal_over({"one": upstream}) as portal:
        await asyncio.gather(*(one(portal.mcp, name) for name in ("ann", "bob", "cem")))


async def asked(client: Any, **again: Any) -> Any:
    return await client.session.call_tool("one_ask", {"text": "q"}, allow_input_required=True, **again)


async def test_a_parked_call_goes_on_with_the_answer_and_only_once() -> None:
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, MODERN, elicitation_callback=Heard().elicit) as client,
    ):
        first = await asked(client)
        assert isinstance(first, types.InputRequiredResult) and first.input_requests is not None
        answers = dict.fromkeys(first.input_requests, ACCEPT)
        again = await asked(client)
        assert again.request_state != first.request_state
        done = await asked(client, input_responses=answers, request_state=first.request_state)
        assert text(done) == "accept legacy"
        with pytest.raises(MCPError, match="no longer waiting"):
            await asked(client, input_responses=answers, request_state=first.request_state)


async def test_an_answer_that_is_missing_is_asked_for_again() -> None:
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, MODERN, elicitation_callback=Heard().elicit) as client,
    ):
        first = await asked(client)
        again = await asked(client, input_responses={}, request_state=first.request_state)
        assert again.input_requests == first.input_requests
        answers = dict.fromkeys(first.input_requests, ACCEPT)
        assert text(await asked(client, input_responses=answers, request_state=again.request_state)) == "accept legacy"


@pytest.mark.parametrize("legacy", [False, True])
async def test_state_that_was_tampered_with_or_belongs_to_another_call_is_refused(legacy: bool) -> None:
    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, MODERN, elicitation_callback=Heard().elicit) as client,
    ):
        first = await asked(client)
        state = first.request_state
        for wrong in (state[:-2] + ("AA" if state[-2:] != "AA" else "BB"), "portal:x", "upstream:asked", ""):
            with pytest.raises(MCPError, match="Invalid or expired requestState"):
                await asked(client, input_responses={}, request_state=wrong)
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await client.session.call_tool("one_echo", {"text": "q"}, request_state=state, allow_input_required=True)


async def test_a_parked_call_goes_on_for_its_own_client_alone() -> None:
    ask = Heard().elicit
    other = types.Implementation(name="another", version="1")
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, MODERN, elicitation_callback=ask) as client,
        client_of(portal.mcp, MODERN, elicitation_callback=ask, client_info=other) as another,
    ):
        first = await asked(client)
        back = {"input_responses": dict.fromkeys(first.input_requests, ACCEPT), "request_state": first.request_state}
        with pytest.raises(MCPError, match="no longer waiting"):
            await asked(another, **back)
        assert text(await asked(client, **back)) == "accept legacy"


@pytest.mark.parametrize("tasks", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
async def test_no_server_makes_up_a_state_of_the_portal(legacy: bool, tasks: bool) -> None:
    made_up = ["run:x", "portal:x", "round:x", 'round:["apr_1", 0, null]', "upstream:x", "x"]
    question = {
        "method": "elicitation/create",
        "params": {"message": "q", "requestedSchema": {"type": "object", "properties": {}}},
    }

    async def forges(exchange: Exchange) -> None:
        params = exchange.message["params"]
        if (state := params.get("requestState")) is not None:
            assert state == params["arguments"]["state"]
            await exchange.text("its own")
            return
        asks = {"inputRequests": {"portal/login": question, "k": question}}
        state = params["arguments"]["state"]
        await exchange.result({"resultType": "input_required", **asks, "requestState": state})

    async with (
        raw_upstream(forges, legacy=legacy) as raw,
        portal_over({"one": {"url": raw.url}}) as portal,
        task_client(portal.mcp, capabilities={"elicitation": {}}, tasks=tasks) as client,
    ):
        for state in made_up:
            first = await client.call("one_echo", arguments={"state": state})
            assert first["resultType"] == "input_required"
            back = {"inputResponses": {"k": {"action": "accept"}}, "requestState": first["requestState"]}
            found = await client.call("one_echo", arguments={"state": state}, **back)
            assert found["content"][0]["text"] == "its own"


@pytest.mark.parametrize("tasks", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
async def test_a_question_that_nobody_can_read_is_an_error_by_the_name_of_its_server(legacy: bool, tasks: bool) -> None:
    asked: dict[str, dict[str, Any]] = {
        "a": {"inputRequests": {"k": {"method": "elicitation/create"}}},
        "b": {"requestState": 1},
    }

    async def asks(exchange: Exchange) -> None:
        which = asked[exchange.message["params"]["arguments"]["which"]]
        await exchange.result({"resultType": "input_required", **which})

    async with (
        raw_upstream(asks, legacy=legacy) as raw,
        portal_over({"one": {"url": raw.url}}) as portal,
        task_client(portal.mcp, capabilities={"elicitation": {}}, tasks=tasks) as client,
    ):
        for which in asked:
            with pytest.raises(Refused, match="one.*asks for input in a form that cannot be read") as caught:
                await client.call("one_echo", arguments={"which": which})
            assert caught.value.code == -32012


async def test_the_state_of_a_program_is_nothing_to_a_plain_call() -> None:
    client = DownstreamClient(key="", info={}, capabilities={"elicitation": {}})
    context = CallContext(client=client, protocol=MODERN)
    request = ClientRequest(scope={"type": "http"}, mode=Mode.TOOLS, params={}, session=None, context=context)
    nothing: Any = None
    asking = questions.Questions(lambda server: MODERN, nothing, ApprovalPrompts(None, str))
    call = Call(
        server="one", method="tools/call", name="code", params={"name": "code", "requestState": 'run:["exec_1", 1]'}
    )
    with pytest.raises(MCPError, match="of another one"):
        await asking.call(request, nothing, call)


async def test_a_parked_call_that_is_never_answered_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "PARK_SECONDS", 0.05)
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}) as portal,
        client_of(portal.mcp, MODERN, elicitation_callback=Heard().elicit) as client,
    ):
        await asked(client)
        async with asyncio.timeout(PATIENCE):
            while not any(record.outcome == "cancelled" for record in portal.kept.records):
                await client.call_tool("one_echo", {"text": "x"})


async def test_a_portal_that_stops_takes_its_parked_calls_with_it() -> None:
    async with hosted(Behaviour(legacy=True)) as upstream:
        async with portal_over({"one": upstream}) as portal:
            async with client_of(portal.mcp, MODERN, elicitation_callback=Heard().elicit) as client:
                await asked(client)
        assert [record.outcome for record in portal.kept.records] == ["cancelled"]
