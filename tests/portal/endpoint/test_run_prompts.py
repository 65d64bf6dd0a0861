"""Programs whose calls people have to approve: each channel to a client, each outcome, and which process answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.server.request_state import InvalidRequestState
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.endpoint.approval_forms import ANSWER
from portal.endpoint.server import StoredStates
from tests.patience import PATIENCE
from tests.portal.approvals.people import desk
from tests.portal.approvals.test_calls import ADA_DECIDES, BOB_DECIDES, BOBS_GROUP, CAUGHT, ECHO, Place, asking, place
from tests.portal.endpoint.test_approval_prompts import CANCELLED, DECLINED, IN_CLIENT, SAFE, Person, accepted, states
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, client_of
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
kept = pytest.mark.parametrize("durable", ["off", "on_park"])
CODE = "&codemode=search_and_execute"
TWO = "const said = []; for (const text of ['a', 'b']) said.push(await codemode.up.echo({text})); return said"
APPROVE, DENY = accepted(decision="approve"), accepted(decision="deny")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def programs(at: Place, mode: str, person: Person | None = None) -> AsyncIterator[Any]:
    options = {} if person is None else {"elicitation_callback": person.elicit}
    async with client_of(f"{at.url}/mcp?caller=ada{CODE}", mode, **options) as client:
        yield client


def runs(durable: str, **more: float) -> dict[str, Any]:
    return {"durable": durable, **more}


async def run(client: Any, program: str) -> Any:
    return (await client.call_tool("code", {"code": program})).structured_content


@both
@kept
async def test_a_program_asks_in_its_client_and_goes_on_with_whatever_becomes_of_it(
    mode: str, durable: str, tmp_path: Path, code_tool: CodeTool
) -> None:
    async with place(tmp_path, IN_CLIENT, code_tool, SAFE, runs=runs(durable)) as at:

        async def too_late() -> Any:
            at.time.passes(minutes=16)
            await at.approvals.expire_due()
            return APPROVE

        async def elsewhere() -> Any:
            [asked] = await at.asked()
            await at.approvals.decide(asked.id, ADA_DECIDES, True)
            return DENY

        for_the_run = accepted(decision="approve", remember="this run")
        person = Person(APPROVE, APPROVE, DENY, DECLINED, too_late, elsewhere, for_the_run)
        async with programs(at, mode, person) as client:
            assert (await run(client, TWO))["result"] == ["a", "b"]
            for _ in ("deny", "decline"):
                error = (await run(client, CAUGHT))["result"]
                assert error["message"].startswith("The person behind this call has denied")
            assert "not approved and made in time" in (await run(client, CAUGHT))["result"]["message"]
            assert (await run(client, ECHO))["result"] == "planted-argument"
            assert (await run(client, TWO))["result"] == ["a", "b"]
        asked = person.of("question")
        assert asked[0].requested_schema["properties"]["remember"]["enum"] == ["no", "15 minutes", "this run"]
        assert ['"text": "a"' in asked[0].message, '"text": "b"' in asked[1].message, len(asked)] == [True, True, 7]
        assert await states(at) == ["denied", "denied", "expired", "used", "used", "used", "used"]
        assert at.calls == 5


@both
@kept
async def test_a_person_who_cancels_has_not_decided_and_the_program_is_paused_with_the_link(
    mode: str, durable: str, tmp_path: Path, code_tool: CodeTool
) -> None:
    patience = {"patience": 0.3, "patienceWithProgress": 0.3}
    async with place(tmp_path, IN_CLIENT, code_tool, SAFE, runs=runs(durable, **patience)) as at:
        async with programs(at, mode, Person(CANCELLED)) as client:
            result = await client.call_tool("code", {"code": ECHO})
            paused = result.structured_content
            [asked] = await at.asked()
            [told] = paused["approvals"]
            assert (paused["status"], told["id"], told["tool"]) == ("paused", asked.id, "up.echo")
            assert told["url"].endswith(f"/approve/{asked.id}") and told["url"] in result.content[0].text
            assert told["expiresAt"] == asked.expires_at.isoformat(timespec="seconds")
            await at.approvals.decide(asked.id, ADA_DECIDES, True)
            fetch = f"return await codemode.runs.result('{paused['executionId']}')"
            async with asyncio.timeout(PATIENCE):
                while (answer := await run(client, fetch))["status"] == "paused":
                    pass
            assert answer["result"] == "planted-argument"


@both
async def test_a_later_program_that_waits_for_a_parked_one_asks_for_its_approvals(
    mode: str, tmp_path: Path, code_tool: CodeTool
) -> None:
    settings = runs("on_park", patience=0.001, patienceWithProgress=PATIENCE)
    async with place(tmp_path, IN_CLIENT, code_tool, SAFE, runs=settings) as at:
        async with programs(at, mode) as client:
            paused = await run(client, ECHO)
            assert (paused["status"], len(paused["approvals"])) == ("paused", 1)
        person = Person(APPROVE)
        async with programs(at, mode, person) as client:
            fetch = f"return await codemode.runs.result('{paused['executionId']}')"
            found = await client.call_tool("code", {"code": fetch}, progress_callback=person.progress)
            assert found.structured_content["result"] == "planted-argument" and len(person.of("question")) == 1
            assert await states(at) == ["used"]


@both
@kept
async def test_a_program_that_is_cancelled_asks_nothing_any_more(
    mode: str, durable: str, tmp_path: Path, code_tool: CodeTool
) -> None:
    async with place(tmp_path, IN_CLIENT, code_tool, SAFE, runs=runs(durable)) as at:
        open_for_ever = asyncio.Event()
        person = Person(open_for_ever.wait)
        async with programs(at, mode, person) as client:
            work = asyncio.create_task(run(client, ECHO))
            await person.until("question")
            [asked] = await at.asked()
            over = asyncio.create_task(at.approvals.changed(asked.id, PATIENCE))
            work.cancel()
            await asyncio.wait({work})
        if mode == LEGACY:
            assert (await over).state == "withdrawn"
        over.cancel()
        assert at.calls == 0


@both
@pytest.mark.parametrize("document", [asking(), asking(approval_groups=BOBS_GROUP), IN_CLIENT], ids=["p", "g", "d"])
async def test_no_client_decides_about_a_program_what_the_policy_does_not_let_it(
    mode: str, document: Any, tmp_path: Path, code_tool: CodeTool
) -> None:
    # The last one may destroy something: the server says nothing else of it.
    said = {} if document is IN_CLIENT else SAFE
    async with place(tmp_path, document, code_tool, said, runs=runs("on_park")) as at:

        async def looked() -> Any:
            [asked] = await at.asked()
            assert asked.state == "pending"
            deciding.append(asyncio.create_task(decide_later(asked.id)))
            return APPROVE

        async def decide_later(id: str) -> None:
            decider = BOB_DECIDES if "approval_groups" in str(document) else ADA_DECIDES
            await at.approvals.decide(id, decider, False)

        deciding: list[asyncio.Task[None]] = []
        person = Person(looked)
        async with programs(at, mode, person) as client:
            assert (await run(client, CAUGHT))["result"]["kind"] == "denied"
        [asked] = person.of("question")
        assert (asked.mode, at.calls, len(deciding)) == ("url", 0, 1)


async def called(at: Place, program: str, **again: Any) -> Any:
    """What a call of 2026-07-28 gets in one round."""
    async with programs(at, MODERN, Person(APPROVE)) as client:
        return await round_of(client, program, **again)


async def round_of(client: Any, program: str, **again: Any) -> Any:
    """A result, or the error in its place."""
    try:
        return await client.session.call_tool("code", {"code": program}, allow_input_required=True, **again)
    except MCPError as error:
        return str(error)


def back(asked: Any, answer: Any) -> dict[str, Any]:
    return {"input_responses": dict.fromkeys(asked.input_requests, answer), "request_state": asked.request_state}


@pytest.mark.parametrize("process", ["same", "other"])
async def test_the_state_of_a_round_goes_on_with_the_run_at_any_process(
    process: str, tmp_path: Path, code_tool: CodeTool
) -> None:
    async with hosted(Behaviour(said=SAFE)) as upstream:
        more: dict[str, Any] = {"at": upstream, "state": new_state(tmp_path), "runs": runs("on_park")}
        async with place(tmp_path, IN_CLIENT, code_tool, **more) as first:
            asked = [await called(first, program) for program in (TWO, CAUGHT, ECHO, CAUGHT)]
            assert all(next(iter(one.input_requests)).startswith(ANSWER) for one in asked)
            if process == "same":
                await answered(first, asked)
                return
        async with place(tmp_path, IN_CLIENT, code_tool, **more) as second:
            await answered(second, asked)


async def answered(at: Place, asked: list[Any]) -> None:
    """Four runs that each wait for an approval are approved twice, denied, ended, and let expire."""
    approved, denied, ended, expired = asked
    second = await called(at, TWO, **back(approved, APPROVE))
    assert second.request_state and second.input_requests.keys().isdisjoint(approved.input_requests)
    # What was answered before does not count again: it gets the present state.
    newest = await called(at, TWO, **back(approved, DENY))
    assert newest.input_requests == second.input_requests
    assert (await called(at, TWO, **back(second, APPROVE))).structured_content["result"] == ["a", "b"]
    assert (await called(at, TWO, **back(second, DENY))).structured_content["result"] == ["a", "b"]
    assert (await called(at, CAUGHT, **back(denied, DENY))).structured_content["result"]["kind"] == "denied"
    [run_id] = {one.run for one in await at.asked(2) if ANSWER + one.id in ended.input_requests}
    async with programs(at, MODERN) as client:
        assert (await run(client, f"return codemode.runs.cancel('{run_id}')"))["result"] is True
    error = (await called(at, ECHO, **back(ended, APPROVE))).structured_content["error"]
    assert error["kind"] == "cancelled"
    at.time.passes(minutes=16)
    await at.approvals.expire_due()
    late = (await called(at, CAUGHT, **back(expired, APPROVE))).structured_content["result"]
    assert "not approved and made in time" in late["message"]
    assert at.calls == 2


async def test_the_state_of_a_round_is_for_its_client_its_person_its_program_and_its_portal(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    more: dict[str, Any] = {"runs": runs("on_park")}
    async with place(tmp_path, IN_CLIENT, code_tool, SAFE, **more) as at:
        asked = await called(at, ECHO)
        state = asked.request_state
        assert state and "exec_" not in state and "apr_" not in state
        invalid = "Invalid or expired requestState"
        assert await called(at, "return 1", **back(asked, APPROVE)) == invalid
        for wrong in ("run:x", f"{state[:-8]}AAAAAAA=", "p1.", ""):
            assert await called(at, ECHO, input_responses={}, request_state=wrong) == invalid
        answers = Person(APPROVE).elicit
        async with client_of(f"{at.url}/mcp?caller=bob{CODE}", MODERN, elicitation_callback=answers) as bob:
            assert await round_of(bob, ECHO, **back(asked, APPROVE)) == invalid
        options = {"elicitation_callback": answers, "client_info": types.Implementation(name="another", version="1")}
        async with client_of(f"{at.url}/mcp?caller=ada{CODE}", MODERN, **options) as other:
            assert "not kept any more" in await round_of(other, ECHO, **back(asked, APPROVE))
        async with place(tmp_path / "elsewhere", IN_CLIENT, code_tool, SAFE, **more) as elsewhere:
            assert await called(elsewhere, ECHO, **back(asked, APPROVE)) == invalid
        assert at.calls == 0 and await states(at) == ["pending"]
        assert (await called(at, ECHO, **back(asked, APPROVE))).structured_content["result"] == "planted-argument"


async def test_another_portal_of_the_same_database_does_not_take_the_state(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        one, other = StoredStates(at.store, "a"), StoredStates(at.store, "b")
        token = one.seal(b"state")
        assert one.unseal(token) == b"state" == StoredStates(at.store, "a").unseal(token)
        for wrong in (token[:-4], token + "A", token.removeprefix("p1."), "p1." + "A" * 200, "", "p1.\u00e9"):
            with pytest.raises(InvalidRequestState):
                one.unseal(wrong)
        with pytest.raises(InvalidRequestState):
            other.unseal(token)
