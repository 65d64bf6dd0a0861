"""Tasks and other channels in which people approve calls: each outcome, and which process answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from codemode import CodeTool
from portal.endpoint.approval_forms import ANSWER
from portal.runs import LiveRun
from portal.state import RunFilter
from tests.patience import PATIENCE
from tests.portal.approvals.test_calls import (
    ADA_DECIDES,
    BOB_DECIDES,
    BOBS_GROUP,
    CAUGHT,
    ECHO,
    Place,
    asking,
    place,
)
from tests.portal.endpoint.tasking import Refused, TaskClient, task_client
from tests.portal.endpoint.test_approval_prompts import IN_CLIENT, SAFE, Person, for_tool, states
from tests.portal.portals import LEGACY, client_of
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
FORMS: Mapping[str, Any] = {"elicitation": {}}
BOTH: Mapping[str, Any] = {"elicitation": {"form": {}, "url": {}}}
CODE = "&codemode=search_and_execute"
AT_ONCE = {"patience": 0.001, "patienceWithProgress": 0.001}
CANCELLED = {"action": "cancel"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def form(**content: str) -> dict[str, Any]:
    return {"action": "accept", "content": content}


@asynccontextmanager
async def tasking(at: Place, caller: str = "ada", code: str = CODE, **options: Any) -> AsyncIterator[TaskClient]:
    async with task_client(f"{at.url}/mcp?caller={caller}{code}", **{"capabilities": FORMS, **options}) as client:
        yield client


async def answer(client: TaskClient, id: str, answers: Mapping[str, Any]) -> None:
    await client.request("tasks/update", taskId=id, inputResponses=dict(answers))


async def asked_by(client: TaskClient, id: str) -> dict[str, Any]:
    """The one question of a task, by its key."""
    questions: dict[str, Any] = (await client.until(id, "input_required"))["inputRequests"]
    assert len(questions) == 1
    return questions


async def decide(at: Place, outcome: str, run: str) -> None:
    """What people do about the approval of a run, at this process."""
    [asked] = [one for one in await at.asked() if one.run == run]
    if outcome == "withdraw":
        async with client_of(f"{at.url}/mcp?caller=ada{CODE}", LEGACY) as client:
            found = await client.call_tool("code", {"code": f"return codemode.runs.cancel('{run}')"})
            assert found.structured_content["result"] is True
    elif outcome == "expire":
        at.time.passes(minutes=16)
        await at.approvals.expire_due()
    else:
        await at.approvals.decide(asked.id, ADA_DECIDES, outcome == "approve")


ENDS = {"approve": "planted-argument", "deny": "has denied this call", "expire": "not approved and made in time"}
STATES = {"approve": "used", "deny": "denied", "expire": "expired", "withdraw": "withdrawn"}


async def as_task(began: Place, goes_on: Place, outcome: str) -> str:
    async with tasking(began) as first, tasking(goes_on) as client:
        id = (await first.run(CAUGHT))["taskId"]
        [asked] = await goes_on.asked()
        ((key, question),) = (await asked_by(client, id)).items()
        assert key == ANSWER + asked.id and '"text": "planted-argument"' in question["params"]["message"]
        if outcome == "withdraw":
            await client.request("tasks/cancel", taskId=id)
            await client.until(id, "cancelled")
            return ""
        if outcome == "expire":
            await decide(goes_on, outcome, asked.run)
        else:
            for _ in range(2):
                await answer(client, id, {key: form(decision=outcome)})
        result = (await client.until(id, "completed"))["result"]["structuredContent"]["result"]
        return str(result)


async def as_paused(began: Place, goes_on: Place, outcome: str) -> str:
    async with (
        client_of(f"{began.url}/mcp?caller=ada{CODE}", LEGACY) as first,
        client_of(f"{goes_on.url}/mcp?caller=ada{CODE}", LEGACY) as client,
    ):
        paused = (await first.call_tool("code", {"code": CAUGHT})).structured_content
        assert paused["status"] == "paused" and len(paused["approvals"]) == 1
        await decide(goes_on, outcome, paused["executionId"])
        fetch = f"return await codemode.runs.result('{paused['executionId']}')"
        async with asyncio.timeout(PATIENCE):
            while (found := (await client.call_tool("code", {"code": fetch})).structured_content)["status"] == "paused":
                pass
        return str(found.get("result", found.get("error")))


async def on_the_stream(began: Place, goes_on: Place, outcome: str) -> str:
    person = Person(asyncio.Event().wait)
    async with client_of(f"{began.url}/mcp?caller=ada{CODE}", LEGACY, elicitation_callback=person.elicit) as client:
        calling = asyncio.create_task(client.call_tool("code", {"code": CAUGHT}, progress_callback=person.progress))
        [question] = await person.until("question")
        [asked] = await goes_on.asked()
        assert asked.id in question.message
        await decide(goes_on, outcome, asked.run)
        found = (await calling).structured_content
        return str(found.get("result", found.get("error")))


CHANNELS = {"task": as_task, "paused": as_paused, "stream": on_the_stream}


@pytest.mark.parametrize("process", ["same", "other"])
@pytest.mark.parametrize("channel", CHANNELS)
async def test_every_channel_tells_every_outcome_whichever_process_decides(
    channel: str, process: str, tmp_path: Path, code_tool: CodeTool
) -> None:
    settings = {"durable": "on_park", "patience": 0.001, "patienceWithProgress": PATIENCE}
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(hosted(Behaviour(said=SAFE)))
        more: dict[str, Any] = {"at": upstream, "state": new_state(tmp_path), "runs": settings}
        began = goes_on = await stack.enter_async_context(place(tmp_path, IN_CLIENT, code_tool, **more))
        if process == "other":
            goes_on = await stack.enter_async_context(place(tmp_path, IN_CLIENT, code_tool, **more))
        for count, outcome in enumerate(STATES, 1):
            words = await CHANNELS[channel](began, goes_on, outcome)
            assert ENDS.get(outcome, "") in words
            async with asyncio.timeout(PATIENCE):
                while sorted(await states(began)) != sorted([*STATES.values()][:count]):
                    await asyncio.sleep(0.02)
            if outcome == "expire":
                began.time.passes(minutes=0 if began is goes_on else 16)
        assert began.calls == 1


@pytest.mark.parametrize("durable", ["off", "on_park"])
async def test_a_task_decides_in_its_client_what_the_policy_lets_it_and_its_owner_alone(
    durable: str, tmp_path: Path, code_tool: CodeTool
) -> None:
    runs = {"durable": durable, **AT_ONCE}
    async with (
        place(tmp_path, IN_CLIENT, code_tool, SAFE, runs=runs) as at,
        place(tmp_path / "elsewhere", IN_CLIENT, code_tool, SAFE, runs=runs) as elsewhere,
        tasking(at) as client,
        tasking(at, "bob") as bob,
        tasking(at, name="another") as another,
        tasking(elsewhere) as there,
    ):
        id = (await client.run(ECHO))["taskId"]
        (key,) = await asked_by(client, id)
        for other in (bob, another, there):
            with pytest.raises(Refused, match="Unknown task"):
                await answer(other, id, {key: form(decision="approve")})
        [asked] = await at.asked()
        for odd in (form(), form(decision="maybe"), {"action": "approve"}, {}, "approve"):
            await answer(client, id, {f"{key}x": odd, ANSWER + "apr_0": odd})
        assert await states(at) == ["pending"]
        await answer(client, id, {key: CANCELLED, "other": form(decision="approve")})
        task = await client.get(id)
        # Whoever cancels has not decided, and is not asked once more; the link stays.
        assert (task["status"], await states(at)) == ("working", ["pending"])
        assert asked.id in task["statusMessage"]
        await at.approvals.decide(asked.id, ADA_DECIDES, True)
        assert (await client.until(id, "completed"))["result"]["structuredContent"]["result"] == "planted-argument"


@pytest.mark.parametrize(
    "document", [asking(), asking(approval_groups=BOBS_GROUP), IN_CLIENT], ids=["browser", "group", "destructive"]
)
async def test_no_answer_to_a_task_decides_what_is_for_the_browser_or_for_others(
    document: Any, tmp_path: Path, code_tool: CodeTool
) -> None:
    said = {} if document is IN_CLIENT else SAFE
    async with (
        place(tmp_path, document, code_tool, said, runs={"durable": "on_park", **AT_ONCE}) as at,
        tasking(at, capabilities=BOTH) as client,
    ):
        id = (await client.run(CAUGHT))["taskId"]
        ((key, question),) = (await asked_by(client, id)).items()
        [asked] = await at.asked()
        assert question["params"]["mode"] == "url" and question["params"]["url"].endswith(f"/approve/{asked.id}")
        async with tasking(at) as forms:
            # The link alone, for a client of the same name that shows forms only.
            ((link, shown),) = (await asked_by(forms, id)).items()
            assert asked.id in shown["params"]["message"] and not shown["params"]["requestedSchema"]["properties"]
            await answer(forms, id, dict.fromkeys((key, link), form(decision="approve")))
        await answer(client, id, {key: form(decision="approve")})
        assert await states(at) == ["pending"]
        await at.approvals.decide(
            asked.id,
            BOB_DECIDES if document["portal"]["tool_policies"][0].get("approval_groups") else ADA_DECIDES,
            False,
        )
        task = await client.until(id, "completed")
        assert task["result"]["structuredContent"]["result"]["kind"] == "denied" and at.calls == 0


async def test_a_client_that_came_back_gets_the_task_that_is_stored(tmp_path: Path, code_tool: CodeTool) -> None:
    runs = {"durable": "on_park", "patience": 1.0}
    async with place(tmp_path, IN_CLIENT, code_tool, SAFE, runs=runs) as at, tasking(at) as client:
        asked = await client.run(ECHO)
        assert asked["resultType"] == "input_required"
        (key,) = asked["inputRequests"]
        back = {"inputResponses": {key: CANCELLED}, "requestState": asked["requestState"]}
        task = await client.call("code", arguments={"code": ECHO}, **back)
        assert task["resultType"] == "task" and "/approve/" in task["statusMessage"]
        # It is the task of a run in the database: this client has not answered there.
        await answer(client, task["taskId"], {key: form(decision="approve")})
        done = await client.until(task["taskId"], "completed")
        assert done["result"]["structuredContent"]["result"] == "planted-argument"


async def test_a_client_that_leaves_in_a_later_round_ends_its_program(tmp_path: Path, code_tool: CodeTool) -> None:
    async with (
        place(tmp_path, IN_CLIENT, code_tool, SAFE, runs={"durable": "on_park"}) as at,
        tasking(at, tasks=False) as client,
    ):
        asked = await client.run(ECHO)
        (key,) = asked["inputRequests"]
        [approval] = await at.asked()
        back = {"inputResponses": {key: CANCELLED}, "requestState": asked["requestState"]}
        waiting = asyncio.create_task(client.call("code", arguments={"code": ECHO}, **back))
        withdrawn = asyncio.create_task(at.approvals.changed(approval.id, PATIENCE))
        await asyncio.wait({waiting}, timeout=0.5)
        assert not waiting.done()
        waiting.cancel()
        assert (await withdrawn).state == "withdrawn"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("late", [False, True])
async def test_a_plain_call_is_approved_and_asks_itself_in_its_rounds_or_as_a_task(
    legacy: bool, late: bool, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(hosted(Behaviour(said={"ask": SAFE["echo"]}, legacy=legacy)))
        runs = AT_ONCE if late else {}
        at = await stack.enter_async_context(
            place(tmp_path, for_tool("ask", approve_by="client"), at=upstream, runs=runs)
        )
        client = await stack.enter_async_context(tasking(at, code=""))
        found = await client.call("up_ask", arguments={"text": "your name?"})
        for words, content in (("An agent wants", form(decision="approve")), ("your name?", form(name="Ada"))):
            if found["resultType"] == "task":
                task = await client.until(found["taskId"], "input_required")
                ((key, question),) = task["inputRequests"].items()
                assert question["params"]["message"].startswith(words)
                await answer(client, found["taskId"], {key: content})
                continue
            ((key, question),) = found["inputRequests"].items()
            assert question["params"]["message"].startswith(words)
            back = {"inputResponses": {key: content}}
            if "requestState" in found:
                back["requestState"] = found["requestState"]
            found = await client.call("up_ask", arguments={"text": "your name?"}, **back)
        if found["resultType"] == "task":
            found = (await client.until(found["taskId"], "completed"))["result"]
        assert found["content"][0]["text"].startswith("accept")
        assert await states(at) == ["used"]


async def test_a_task_waits_for_its_page_for_as_long_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.approval_prompts.PATIENCE", 0.05)
    async with place(tmp_path, asking(), said=SAFE, runs={"patience": 0.1}) as at:
        async with (
            tasking(at, code="", capabilities=BOTH, tasks=False) as first,
            tasking(at, code="", capabilities=BOTH) as client,
        ):
            asked = await first.call("up_echo", arguments={"text": "x"})
            (key,) = asked["inputRequests"]
            task = await client.call("up_echo", arguments={"text": "x"}, inputResponses={key: form()})
            assert task["resultType"] == "task"
            await asyncio.sleep(0.1)
            assert (await client.get(task["taskId"]))["status"] == "working"
            [approval] = await at.asked()
            await at.approvals.decide(approval.id, ADA_DECIDES, True)
            done = await client.until(task["taskId"], "completed")
            assert done["result"]["content"][0]["text"] == "x"


async def test_an_answer_decides_about_the_approval_of_its_own_call_alone(tmp_path: Path) -> None:
    async with place(tmp_path, IN_CLIENT, said=SAFE) as at, tasking(at, code="", tasks=False) as client:
        one = await client.call("up_echo", arguments={"text": "one"})
        two = await client.call("up_echo", arguments={"text": "two"})
        answers = dict.fromkeys([*one["inputRequests"], *two["inputRequests"]], form(decision="approve"))
        found = await client.call("up_echo", arguments={"text": "one"}, inputResponses=answers)
        assert found["content"][0]["text"] == "one"
        await client.call("up_structured", arguments={"text": "x"}, inputResponses=answers)
        assert await states(at) == ["pending", "used"]


async def test_a_task_that_is_cancelled_as_its_program_is_stored_ends_in_the_database_too(
    tmp_path: Path, code_tool: CodeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, answer_of = asyncio.Event(), LiveRun.answer

    async def stands_still(run: LiveRun, *arguments: Any, **options: Any) -> Any:
        await answer_of(run, *arguments, **options)
        assert run.parked
        stored.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(LiveRun, "answer", stands_still)
    monkeypatch.setattr("portal.endpoint.questions.PARKING_SECONDS", 0.0)
    async with (
        place(tmp_path, IN_CLIENT, code_tool, SAFE, runs={"durable": "on_park", **AT_ONCE}) as at,
        tasking(at) as client,
    ):
        id = (await client.run(ECHO))["taskId"]
        await stored.wait()
        await client.request("tasks/cancel", taskId=id)
        await client.until(id, "cancelled")
        assert [run.state for run in await at.store.runs.list(RunFilter())] == ["cancelled"]


async def test_a_person_is_asked_only_so_much_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.endpoint.approval_prompts.MOST_OPEN_EACH", 2)
    monkeypatch.setattr("portal.endpoint.approval_prompts.PATIENCE", 0.05)
    person = Person(asyncio.Event().wait)
    async with place(tmp_path, IN_CLIENT, said=SAFE) as at:
        async with client_of(f"{at.url}/mcp?caller=ada", LEGACY, elicitation_callback=person.elicit) as client:
            for _ in range(2):
                for words in ("a", "b", "c"):
                    with pytest.raises(MCPError, match="/approve/apr_"):
                        await client.call_tool("up_echo", {"text": words})
                # Of those that have ended none is open any more.
                assert len(person.of("question")) in (2, 4)
                for asked in await at.asked(3):
                    await at.approvals.decide(asked.id, ADA_DECIDES, True)
                for words in ("a", "b", "c"):
                    await client.call_tool("up_echo", {"text": words})
        assert len(person.of("question")) == 4
