"""Programs that wait for a person for longer than their client waits: `paused`, and how a later program goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import pytest

from codemode import CodeTool
from sandbox import Engine, InProcessExecutor, Limits, WorkerExecutor
from tests.codemode.counting import counted
from tests.patience import PATIENCE
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Heard, Portal, client_of, portal_over
from tests.portal.runs.login import LINK, Login
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
AT_ONCE = {"patience": 0.001, "patienceWithProgress": 0.001}
TWO = "console.log('begun'); const a = await codemode.one.structured({text: 'x'}); const b = await codemode.one.echo("
TWO += "{text: 'y'}); await codemode.emit({type: 'text', text: 'block'}); return [a, b]"


@pytest.fixture
def login() -> Login:
    return Login("echo")


@asynccontextmanager
async def serving(login: Login, code_tool: Any, **runs: Any) -> AsyncIterator[tuple[Portal, Hosted]]:
    async with (
        hosted(Behaviour(legacy=True)) as upstream,
        portal_over({"one": upstream}, code_tool=code_tool, gate=login.gate, runs={**AT_ONCE, **runs}) as portal,
    ):
        yield portal, upstream


async def run(client: Any, program: str, **options: Any) -> Any:
    return (await client.call_tool("code", {"code": program}, **options)).structured_content


def fetching(run_id: str) -> str:
    return f'return await codemode.runs.result("{run_id}")'


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@both
async def test_a_program_that_waits_for_a_person_answers_paused_and_a_later_one_gets_its_result(
    mode: str, code_tool: CodeTool, login: Login
) -> None:
    async with serving(login, code_tool) as (portal, _), client_of(portal.code, mode) as client:
        await client.list_tools()
        result = await client.call_tool("code", {"code": TWO})
        paused = result.structured_content
        assert not result.is_error and paused["status"] == "paused"
        assert paused["waiting"] == [{"tool": "one.echo", "text": "Log in to one", "url": LINK}]
        assert [(call["tool"], call["status"]) for call in paused["calls"]] == [
            ("one.structured", "ok"),
            ("one.echo", "pending"),
        ]
        text = result.content[0].text  # type: ignore[union-attr]
        assert counted(text) <= 120 and LINK in text and fetching(paused["executionId"]) in text
        login.done.set()
        done = await client.call_tool("code", {"code": fetching(paused["executionId"])})
        answer = done.structured_content
        assert answer["result"] == [{"text": "x"}, "y"]
        assert [line["text"] for line in answer["logs"]] == ["begun"]
        assert [(call["tool"], call["status"], call["run"]) for call in answer["calls"]] == [
            ("one.structured", "ok", paused["executionId"]),
            ("one.echo", "ok", paused["executionId"]),
        ]
        assert done.content[-1].text == "block"  # type: ignore[union-attr]
        again = await run(client, f"return (await codemode.runs.result('{paused['executionId']}'))[1]")
        assert again["result"] == "y"
        assert [record.run for record in portal.kept.records] == [paused["executionId"]] * 2


@both
async def test_who_comes_back_too_early_is_paused_again_with_the_first_link_and_id(
    mode: str, code_tool: CodeTool, login: Login
) -> None:
    async with serving(login, code_tool, most_for_each=2) as (portal, _), client_of(portal.code, mode) as client:
        first = await run(client, TWO)
        for _ in range(3):
            again = await run(client, fetching(first["executionId"]))
            assert (again["status"], again["executionId"]) == ("paused", first["executionId"])
            assert again["waiting"] == first["waiting"]
        assert len((await run(client, "return codemode.runs.list()"))["result"]) == 1
        # A program that does more with the result is a run of its own, and goes on too.
        more = await run(client, f"const r = await codemode.runs.result('{first['executionId']}'); return r.length")
        assert more["status"] == "paused" and more["executionId"] != first["executionId"]
        assert more["waiting"] == first["waiting"]
        login.done.set()
        assert (await run(client, fetching(more["executionId"])))["result"] == 2


@both
async def test_a_failure_after_the_wait_is_thrown_where_the_result_is_asked_for(
    mode: str, code_tool: CodeTool, login: Login
) -> None:
    async with serving(login, code_tool) as (portal, _), client_of(portal.code, mode) as client:
        paused = await run(client, "await codemode.one.echo({text: ''}); await codemode.one.fail({text: ''})")
        login.done.set()
        error = (await run(client, fetching(paused["executionId"])))["error"]
        assert (error["kind"], error["name"], error["message"], error["tool"]) == (
            "exception",
            "ToolError",
            "it failed",
            "one.fail",
        )


async def test_the_list_tells_state_and_times_and_cancel_ends_a_run(code_tool: CodeTool, login: Login) -> None:
    async with serving(login, code_tool) as (portal, _), client_of(portal.code, MODERN) as client:
        run_id = (await run(client, TWO))["executionId"]
        (listed,) = (await run(client, "return codemode.runs.list()"))["result"]
        assert (listed["id"], listed["status"]) == (run_id, "paused")
        assert listed["waiting"] == [{"tool": "one.echo", "text": "Log in to one", "url": LINK}]
        assert listed["startedAt"] < listed["expiresAt"]
        ended = await run(client, f"return codemode.runs.cancel('{run_id}')")
        assert ended["result"] is True
        assert [(call["tool"], call["status"]) for call in ended["calls"]] == [
            ("one.structured", "ok"),
            ("one.echo", "cancelled"),
        ]
        await until(lambda: login.waiting == 0)
        assert "you have no run" in (await run(client, fetching(run_id)))["error"]["message"]
        assert (await run(client, "return codemode.runs.list()"))["result"] == []


async def test_a_finished_run_is_listed_with_its_end(code_tool: CodeTool, login: Login) -> None:
    async with serving(login, code_tool) as (portal, _), client_of(portal.code, MODERN) as client:
        await run(client, "return codemode.one.echo({text: ''})")
        await run(client, "await codemode.one.echo({text: ''}); throw 1")
        login.done.set()
        program = """
            let all;
            const goesOn = (one) => one.status === "running" || one.status === "paused";
            do { all = await codemode.runs.list() } while (all.some(goesOn));
            return all.map((one) => one.status);
        """
        assert (await run(client, program))["result"] == ["completed", "failed"]


async def test_a_run_that_nobody_comes_for_ends_as_expired_and_is_forgotten_in_the_end(
    code_tool: CodeTool, login: Login
) -> None:
    async with serving(login, code_tool, keep=2.0) as (portal, _), client_of(portal.code, MODERN) as client:
        run_id = (await run(client, TWO))["executionId"]
        await until(lambda: login.waiting == 0)
        error = (await run(client, fetching(run_id)))["error"]
        assert (error["kind"], error["name"]) == ("cancelled", "RunExpired")
        assert "did not come; its calls were cancelled" in error["message"]
        assert [record.outcome for record in portal.kept.records] == ["ok", "cancelled"]
        async with asyncio.timeout(PATIENCE):
            while "you have no run" not in (await run(client, fetching(run_id)))["error"]["message"]:
                pass


async def test_a_run_whose_person_came_in_time_is_not_ended_in_the_middle_of_its_work(
    code_tool: CodeTool, login: Login
) -> None:
    async with serving(login, code_tool, keep=2.0) as (portal, upstream), client_of(portal.code, MODERN) as client:
        program = "await codemode.one.echo({text: ''}); return codemode.one.hang({text: ''})"
        run_id = (await run(client, program))["executionId"]
        login.done.set()
        await upstream.upstream.journal.wait("call hang")
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(2.2, passed.set)  # longer than it would have been kept
        await passed.wait()
        result = asyncio.create_task(run(client, fetching(run_id)))
        upstream.upstream.release.set()
        assert (await result)["result"] == "released"


async def test_somebody_with_too_many_paused_runs_gets_an_error_that_says_what_has_run(
    code_tool: CodeTool, login: Login
) -> None:
    async with serving(login, code_tool, most_for_each=1) as (portal, _), client_of(portal.code, MODERN) as client:
        first = await run(client, TWO)
        refused = await run(client, TWO)
        assert refused["status"] == "failed"
        assert (refused["error"]["kind"], refused["error"]["name"]) == ("cancelled", "TooManyRuns")
        assert "1 of its calls had completed" in refused["error"]["message"]
        assert "codemode.runs.cancel(id)" in refused["error"]["message"]
        await until(lambda: login.waiting == 1)
        login.done.set()
        assert (await run(client, fetching(first["executionId"])))["result"] == [{"text": "x"}, "y"]
        # A run that has ended gives way to a new one.
        login.done.clear()
        second = await run(client, TWO)
        assert second["status"] == "paused"
        assert "you have no run" in (await run(client, fetching(first["executionId"])))["error"]["message"]


@both
async def test_another_client_of_the_same_person_does_not_know_the_run(
    mode: str, code_tool: CodeTool, login: Login
) -> None:
    async with (
        serving(login, code_tool) as (portal, _),
        client_of(portal.code, mode, client_info=types.Implementation(name="a", version="1")) as mine,
        client_of(portal.code, mode, client_info=types.Implementation(name="b", version="1")) as other,
    ):
        run_id = (await run(mine, TWO))["executionId"]
        for call in (f"result('{run_id}')", f"cancel('{run_id}')"):
            message = (await run(other, f"return await codemode.runs.{call}"))["error"]["message"]
            assert f"you have no run '{run_id}' here" in message
        assert (await run(other, "return codemode.runs.list()"))["result"] == []
        assert len((await run(mine, "return codemode.runs.list()"))["result"]) == 1


@both
async def test_progress_tells_what_a_program_waits_for(mode: str, code_tool: CodeTool, login: Login) -> None:
    heard = Heard()
    patient = {"patienceWithProgress": 600, "progressEvery": 0.02}
    async with serving(login, code_tool, **patient) as (portal, _), client_of(portal.code, mode) as client:
        call = asyncio.create_task(run(client, TWO, progress_callback=heard.progress))
        told = await heard.until("progress", 4)
        assert told[0] == (1, None, "one.structured")
        assert [message for _, _, message in told[1:]] == [f"Waiting for a person: Log in to one {LINK}"] * 3
        values = [value for value, _, _ in told]
        assert values == sorted(set(values))
        login.done.set()
        assert (await call)["result"] == [{"text": "x"}, "y"]


@both
async def test_a_client_that_leaves_while_its_program_waits_for_a_person_stops_it(
    mode: str, code_tool: CodeTool, login: Login
) -> None:
    patient = {"patience": 600, "patienceWithProgress": 600}
    async with serving(login, code_tool, **patient) as (portal, _), client_of(portal.code, mode) as client:
        call = asyncio.create_task(run(client, TWO))
        await until(lambda: login.waiting == 1)
        call.cancel()
        await until(lambda: login.waiting == 0)
        assert (await run(client, "return codemode.runs.list()"))["result"] == []


@both
async def test_a_client_that_leaves_while_it_waits_for_an_earlier_run_does_not_stop_that(
    mode: str, code_tool: CodeTool, login: Login
) -> None:
    patient = {"patienceWithProgress": 600, "progressEvery": 0.02}
    heard = Heard()
    async with serving(login, code_tool, **patient) as (portal, _), client_of(portal.code, mode) as client:
        run_id = (await run(client, TWO))["executionId"]
        call = asyncio.create_task(run(client, fetching(run_id), progress_callback=heard.progress))
        await heard.until("progress")
        call.cancel()
        login.done.set()
        assert (await run(client, fetching(run_id)))["result"] == [{"text": "x"}, "y"]


@both
async def test_a_run_that_answered_paused_is_tied_to_no_connection(
    mode: str, code_tool: CodeTool, login: Login
) -> None:
    async with serving(login, code_tool) as (portal, _):
        async with client_of(portal.code, mode) as client:
            run_id = (await run(client, TWO))["executionId"]
        login.done.set()
        async with client_of(portal.code, mode) as client:
            assert (await run(client, fetching(run_id)))["result"] == [{"text": "x"}, "y"]


@both
async def test_a_question_that_comes_after_the_pause_is_asked_of_who_comes_back(
    mode: str, code_tool: CodeTool, login: Login
) -> None:
    heard = Heard(types.ElicitResult(action="accept", content={}))
    async with (
        serving(login, code_tool) as (portal, upstream),
        client_of(portal.code, mode, elicitation_callback=heard.elicit) as client,
    ):
        program = "return [await codemode.one.echo({text: 'y'}), await codemode.one.ask({text: 'sure?'})]"
        run_id = (await run(client, program))["executionId"]
        login.done.set()
        await upstream.upstream.journal.wait("call ask")
        assert heard.of("question") == []
        assert (await run(client, fetching(run_id)))["result"] == ["y", "accept legacy"]
        assert [question.message for question in heard.of("question")] == ["sure?"]


async def test_two_calls_that_wait_are_one_pause_and_a_call_in_progress_is_none(
    code_tool: CodeTool, login: Login
) -> None:
    async with serving(login, code_tool) as (portal, upstream), client_of(portal.code, MODERN) as client:
        program = "return Promise.all([codemode.one.echo({text: 'a'}), codemode.one.echo({text: 'b'})])"
        both = await run(client, program)
        assert len(both["waiting"]) == 2
        beside = "return Promise.all([codemode.one.echo({text: 'a'}), codemode.one.hang({text: ''})])"
        call = asyncio.create_task(run(client, beside))
        await upstream.upstream.journal.wait("call hang")
        await until(lambda: login.waiting == 3)
        assert not call.done()
        upstream.upstream.release.set()
        assert (await call)["status"] == "paused"
        login.done.set()
        assert (await run(client, fetching(both["executionId"])))["result"] == ["a", "b"]


async def test_the_limits_hold_after_a_pause_as_if_there_had_been_none(engine: Engine, login: Login) -> None:
    limits = Limits(wall_time=3.0, calls=2)
    with Engine(limits) as small:
        async with InProcessExecutor(small) as executor:
            async with serving(login, CodeTool(executor)) as (portal, _), client_of(portal.code, MODERN) as client:
                calls = "for (;;) await codemode.one.echo({text: 'y'})"
                waits = "await codemode.one.echo({text: 'y'}); await codemode.one.hang({text: ''})"
                paused = [(await run(client, program))["executionId"] for program in (calls, waits)]
                waited = asyncio.Event()
                asyncio.get_running_loop().call_later(3.2, waited.set)  # longer than the wall time
                await waited.wait()
                login.done.set()
                kinds = [(await run(client, fetching(run_id)))["error"]["kind"] for run_id in paused]
                assert kinds == ["calls", "wall_time"]


async def test_programs_in_worker_processes_are_paused_and_go_on(login: Login) -> None:
    async with WorkerExecutor(Limits(wall_time=3.0), workers=1) as executor:
        async with serving(login, CodeTool(executor)) as (portal, _), client_of(portal.code, LEGACY) as client:
            runs = [(await run(client, TWO))["executionId"] for _ in range(3)]
            waited = asyncio.Event()
            asyncio.get_running_loop().call_later(3.2, waited.set)
            await waited.wait()
            login.done.set()
            for run_id in runs:
                assert (await run(client, fetching(run_id)))["result"] == [{"text": "x"}, "y"]


async def test_a_portal_that_stops_ends_its_paused_runs(code_tool: CodeTool, login: Login) -> None:
    async with serving(login, code_tool) as (portal, _):
        async with client_of(portal.code, MODERN) as client:
            await run(client, TWO)
            assert login.waiting == 1
    assert login.waiting == 0
    assert [record.outcome for record in portal.kept.records] == ["ok", "cancelled"]


async def test_a_program_cannot_wait_for_itself(code_tool: CodeTool, login: Login) -> None:
    async with serving(login, code_tool) as (portal, _), client_of(portal.code, MODERN) as client:
        program = """
            await codemode.one.echo({text: ""});
            const [own] = await codemode.runs.list();
            return codemode.runs.result(own.id).catch((error) => error.message);
        """
        paused = await run(client, program)
        login.done.set()
        assert "this program is that run itself" in (await run(client, fetching(paused["executionId"])))["result"]


async def test_two_programs_that_wait_for_each_other_end_with_their_time(engine: Engine, login: Login) -> None:
    with Engine(Limits(wall_time=3.0)) as small:
        async with InProcessExecutor(small) as executor:
            async with serving(login, CodeTool(executor)) as (portal, _), client_of(portal.code, MODERN) as client:
                program = """
                    await codemode.one.echo({text: ""});
                    const all = await codemode.runs.list();
                    const others = await Promise.allSettled(all.map((one) => codemode.runs.result(one.id)));
                    return others.map((one) => one.reason?.name);
                """
                ids = [(await run(client, program))["executionId"] for _ in range(2)]
                login.done.set()
                ends = [await run(client, fetching(run_id)) for run_id in ids]
                assert "WallTimeExceeded" in str(ends)


async def until_asking(client: Any, *ids: str) -> None:
    """Returns when each of these runs waits for the answer to a question."""
    async with asyncio.timeout(PATIENCE):
        while True:
            listed = (await run(client, "return codemode.runs.list()"))["result"]
            asking = [one["id"] for one in listed if "one.ask" in [wait["tool"] for wait in one["waiting"]]]
            if set(ids) <= set(asking):
                return


@pytest.mark.parametrize("comes_for", [0, 1], ids=["for the first that waits", "for the second that waits"])
@both
async def test_a_question_in_two_programs_that_wait_for_each_other_is_asked_of_who_comes_back(
    mode: str, comes_for: int, code_tool: CodeTool, login: Login
) -> None:
    heard = Heard(types.ElicitResult(action="accept", content={}))
    program = """
        await codemode.one.echo({text: ""});
        const [first, second] = await codemode.runs.list();
        NAME === "second" && await codemode.one.hang({text: ""});
        const other = codemode.runs.result(NAME === "first" ? second.id : first.id).catch((error) => error.name);
        return await codemode.one.ask({text: NAME});
    """

    async def answer(context: Any, params: Any) -> Any:
        if mode == LEGACY and params.message == names[comes_for]:
            # Who came back is answered when that ends, so the other question is answered before. A later client
            # gives both answers at once.
            await until(lambda: ids[1 - comes_for] in [row.run for row in portal.kept.runs])
        return await heard.elicit(context, params)

    names = ["first", "second"]
    async with (
        serving(login, code_tool) as (portal, upstream),
        client_of(portal.code, mode, elicitation_callback=answer) as client,
    ):
        ids = [(await run(client, program.replace("NAME", f"'{name}'")))["executionId"] for name in names]
        before = len(asyncio.all_tasks())
        login.done.set()
        await upstream.upstream.journal.wait("call ask")  # the first program waits for the second
        upstream.upstream.release.set()
        await upstream.upstream.journal.wait("call ask", 2)  # and that for the first
        await until_asking(client, *ids)
        for _ in range(2000):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) < before + 100
        assert heard.of("question") == []
        for one in (comes_for, 1 - comes_for):
            assert (await run(client, fetching(ids[one])))["result"] == "accept legacy"
        assert sorted(question.message for question in heard.of("question")) == names


@both
async def test_a_question_is_asked_of_who_comes_back_also_while_a_program_without_a_client_waits(
    mode: str, code_tool: CodeTool, login: Login
) -> None:
    heard = Heard(types.ElicitResult(action="accept", content={}))
    async with (
        serving(login, code_tool) as (portal, _),
        client_of(portal.code, mode, elicitation_callback=heard.elicit) as client,
    ):
        asks = "await codemode.one.echo({text: ''}); return codemode.one.ask({text: 'sure?'})"
        first = (await run(client, asks))["executionId"]
        second = await run(client, f"const r = await codemode.runs.result('{first}'); return r.length")
        assert second["status"] == "paused"
        login.done.set()
        await until_asking(client, first)
        assert heard.of("question") == []
        assert (await run(client, fetching(first)))["result"] == "accept legacy"
        assert (await run(client, fetching(second["executionId"])))["result"] == len("accept legacy")
        assert [question.message for question in heard.of("question")] == ["sure?"]
