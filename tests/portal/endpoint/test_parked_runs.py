"""Programs that wait are parked in the database, and go on in whichever process has it open."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from codemode import CodeTool
from portal.endpoint import code as code_module
from portal.endpoint import parking as parking_module
from portal.endpoint.parked import read_checkpoint
from portal.runs import ended_by
from portal.state import LIVE, CredentialRows, RunFilter, RunRows, StateUnavailable, StoredRun
from tests.patience import PATIENCE
from tests.portal.portals import GENERATIONS, MODERN, Portal, client_of, portal_over
from tests.portal.runs.login import LINK, Login
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both = pytest.mark.parametrize("mode", GENERATIONS)
AT_ONCE = {"patience": 0.001, "patienceWithProgress": 0.001, "durable": "on_park"}
TWO = "console.log('begun'); const a = await codemode.one.structured({text: 'x'}); const b = await codemode.one.echo("
TWO += "{text: 'y'}); await codemode.emit({type: 'text', text: 'block'}); return [a, b]"


@pytest.fixture
def login() -> Login:
    return Login("echo")


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted(Behaviour(legacy=True)) as one:
        yield one


@asynccontextmanager
async def serving(folder: Path, upstream: Hosted, login: Login, code_tool: Any, **runs: Any) -> AsyncIterator[Portal]:
    state = f"sqlite:///{folder / 'state.db'}"
    settings: dict[str, Any] = {"runs": {**AT_ONCE, **runs}, "state": state}
    async with portal_over({"one": upstream}, code_tool=code_tool, gate=login.gate, **settings) as portal:
        yield portal


async def run(client: Any, program: str, **options: Any) -> Any:
    return (await client.call_tool("code", {"code": program}, **options)).structured_content


def fetching(run_id: str) -> str:
    return f'return await codemode.runs.result("{run_id}")'


async def stored(portal: Portal) -> list[StoredRun]:
    store = portal.instance.shared.store
    assert store is not None
    return [*await store.runs.list(RunFilter())]


async def parked_runs(portal: Portal) -> list[StoredRun]:
    """Those that are parked, as soon as there is one."""
    async with asyncio.timeout(PATIENCE):
        while not (found := [one for one in await stored(portal) if one.state == "parked"]):
            await asyncio.sleep(0.01)
    return found


async def rows_of_runs(portal: Portal, run_id: str) -> list[str]:
    """The outcomes of the rows of a run itself."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while not found:
            await asyncio.sleep(0.01)
            found = [one.outcome for one in portal.kept.runs if one.run == run_id]
    return found


async def logged_in(portal: Portal, login: Login) -> None:
    """The person logs in, and the store says so."""
    store = portal.instance.shared.store
    assert store is not None
    login.done.set()
    await store.runs.ready_all("", "login")


@both
async def test_a_program_that_waits_is_parked_and_a_later_one_gets_its_result(
    mode: str, code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, mode) as client:
        await client.list_tools()
        paused = await run(client, TWO)
        assert paused["status"] == "paused"
        assert paused["waiting"] == [{"tool": "one.echo", "text": "Log in to one", "url": LINK}]
        assert [(call["tool"], call["status"]) for call in paused["calls"]] == [
            ("one.structured", "ok"),
            ("one.echo", "pending"),
        ]
        parked, *_ = await stored(portal)
        assert (parked.id, parked.state, parked.reason) == (paused["executionId"], "parked", "login")
        assert login.waiting == 0
        assert [record.kind for record in portal.kept.records] == ["tool"]
        await logged_in(portal, login)
        done = await client.call_tool("code", {"code": fetching(parked.id)})
        answer = done.structured_content
        assert answer["result"] == [{"text": "x"}, "y"]
        assert [line["text"] for line in answer["logs"]] == ["begun"]
        assert [(call["tool"], call["status"], call["run"]) for call in answer["calls"]] == [
            ("one.structured", "ok", parked.id),
            ("one.echo", "ok", parked.id),
        ]
        assert done.content[-1].text == "block"  # type: ignore[union-attr]
        again = await run(client, f"return (await codemode.runs.result('{parked.id}'))[1]")
        assert again["result"] == "y"
        calls = [(one.name, one.outcome) for one in portal.kept.records if one.run == parked.id and one.kind == "tool"]
        assert calls == [("structured", "ok"), ("echo", "ok")]


async def test_a_parked_program_goes_on_in_another_process(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        run_id = (await run(client, TWO))["executionId"]
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        early = await run(client, fetching(run_id))
        assert (early["status"], early["executionId"]) == ("paused", run_id)
        await logged_in(portal, login)
        answer = await run(client, fetching(run_id))
        assert answer["result"] == [{"text": "x"}, "y"]
        assert [line["text"] for line in answer["logs"]] == ["begun"]
        (record,) = await stored(portal)
        assert record.state == "completed"


async def test_a_client_that_is_still_there_gets_the_answer_of_a_parked_program(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    patient = {"patience": 600}
    async with (
        serving(tmp_path, upstream, login, code_tool, **patient) as portal,
        client_of(portal.code, MODERN) as client,
    ):
        work = asyncio.create_task(run(client, TWO))
        async with asyncio.timeout(PATIENCE):
            while not [one for one in await stored(portal) if one.state == "parked"]:
                await asyncio.sleep(0.01)
        await logged_in(portal, login)
        answer = await work
        assert (answer["status"], answer["result"]) == ("completed", [{"text": "x"}, "y"])
        assert [line["text"] for line in answer["logs"]] == ["begun"]


async def test_a_program_that_sleeps_is_parked_and_wakes_by_itself(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    program = (
        "await new Promise(done => setTimeout(done, 2200)); return (await codemode.one.structured({text: 'z'})).text"
    )
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        paused = await run(client, program)
        assert paused["status"] == "paused" and "timer" in paused["waiting"][0]["text"]
        assert (await stored(portal))[0].reason == "sleep"
        async with asyncio.timeout(PATIENCE):
            while (answer := await run(client, fetching(paused["executionId"])))["status"] == "paused":
                await asyncio.sleep(0.05)
        assert answer["result"] == "z"


async def test_a_parked_program_is_listed_and_can_be_cancelled(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        run_id = (await run(client, TWO))["executionId"]
        (listed,) = (await run(client, "return await codemode.runs.list()"))["result"]
        assert (listed["id"], listed["status"]) == (run_id, "paused")
        assert listed["waiting"][0]["tool"] == "one.echo"
        assert (await run(client, f"return await codemode.runs.cancel('{run_id}')"))["result"] is True
        (ended,) = await stored(portal)
        assert ended.state == "cancelled" and ended.state not in LIVE
        error = (await run(client, fetching(run_id)))["error"]
        assert (error["kind"], error["name"]) == ("cancelled", "RunCancelled")


async def test_a_parked_program_that_fails_says_so_where_its_result_is_asked_for(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        paused = await run(client, "await codemode.one.echo({text: ''}); await codemode.one.fail({text: ''})")
        await logged_in(portal, login)
        error = (await run(client, fetching(paused["executionId"])))["error"]
        assert (error["kind"], error["name"], error["message"]) == ("exception", "ToolError", "it failed")
        assert (await stored(portal))[0].state == "failed"


async def test_without_durable_runs_a_program_waits_in_its_process(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with (
        serving(tmp_path, upstream, login, code_tool, durable="off") as portal,
        client_of(portal.code, MODERN) as client,
    ):
        run_id = (await run(client, TWO))["executionId"]
        assert await stored(portal) == [] and login.waiting == 1
        login.done.set()
        assert (await run(client, fetching(run_id)))["result"] == [{"text": "x"}, "y"]


@both
async def test_a_client_that_waits_for_a_parked_program_reads_who_ended_it(
    mode: str, code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with (
        serving(tmp_path, upstream, login, code_tool, patience=600) as portal,
        client_of(portal.code, mode) as client,
    ):
        work = asyncio.create_task(client.call_tool("code", {"code": TWO}))
        (parked,) = await parked_runs(portal)
        durable = portal.instance.shared.parked
        assert durable is not None and await durable.end(parked.id, "an operator ended it")
        done = await work
        assert done.is_error and done.structured_content is not None
        error = done.structured_content["error"]
        assert (error["kind"], error["message"]) == ("cancelled", "an operator ended it")
        assert "an operator ended it" in done.content[0].text  # type: ignore[union-attr]
        assert await rows_of_runs(portal, parked.id) == ["cancelled"]


async def test_a_client_that_leaves_while_its_program_is_being_parked_ends_it(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, upstream, login, code_tool, patience=600) as portal:
        store = portal.instance.shared.store
        assert store is not None
        is_stored, goes_on, park = asyncio.Event(), asyncio.Event(), RunRows.park

        async def slowly(self: RunRows, *arguments: Any, **options: Any) -> StoredRun:
            run = await park(self, *arguments, **options)
            is_stored.set()
            # The answer of its commit is on its way.
            await goes_on.wait()
            return run

        monkeypatch.setattr(RunRows, "park", slowly)
        async with client_of(portal.code, MODERN) as client:
            work = asyncio.create_task(run(client, TWO))
            async with asyncio.timeout(PATIENCE):
                await is_stored.wait()
            work.cancel()
            await asyncio.wait({work})
        goes_on.set()
        async with asyncio.timeout(PATIENCE):
            while (one := (await stored(portal))[0]).state in LIVE:
                await asyncio.sleep(0.01)
        assert one.state == "cancelled"
        assert await rows_of_runs(portal, one.id) == ["cancelled"]


@pytest.mark.parametrize("ran", ["no", "unknown"])
async def test_a_program_of_which_nobody_knows_whether_it_is_parked_does_not_go_on_beside_it(
    ran: Any, code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    park, failures = RunRows.park, [1]

    async def lossy(self: RunRows, *arguments: Any, **options: Any) -> StoredRun:
        found = await park(self, *arguments, **options) if ran == "unknown" or not failures else None
        if failures:
            failures.pop()
            raise StateUnavailable("the connection was lost", ran=ran)
        assert found is not None
        return found

    monkeypatch.setattr(RunRows, "park", lossy)
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        run_id = (await run(client, TWO))["executionId"]
        assert (login.waiting, len(await stored(portal))) == ((1, 0) if ran == "no" else (0, 1))
        await logged_in(portal, login)
        assert (await run(client, fetching(run_id)))["result"] == [{"text": "x"}, "y"]
        calls = [one.name for one in portal.kept.records if one.run == run_id and one.kind == "tool"]
        assert calls == ["structured", "echo"]
        assert await rows_of_runs(portal, run_id) == ["ok"]


async def test_a_program_that_is_parked_stays_so_if_the_database_fails_right_after(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, looked = [1, 1], CredentialRows.changed_since

    async def lossy(*arguments: Any, **options: Any) -> Any:
        if failures:
            failures.pop()
            raise StateUnavailable("the connection was lost")
        return await looked(*arguments, **options)

    monkeypatch.setattr(CredentialRows, "changed_since", lossy)
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        run_id = (await run(client, TWO))["executionId"]
        assert login.waiting == 0, "it is parked, and does not wait in this process too"
        await logged_in(portal, login)
        assert (await run(client, fetching(run_id)))["result"] == [{"text": "x"}, "y"]
        calls = [one.name for one in portal.kept.records if one.run == run_id and one.kind == "tool"]
        assert calls == ["structured", "echo"]


@pytest.mark.parametrize("damage", ["sealed", "inside"])
async def test_a_parked_program_that_is_lost_has_its_row(
    damage: str, code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        run_id = (await run(client, TWO))["executionId"]
        if damage == "sealed":
            with sqlite3.connect(tmp_path / "state.db") as database:
                database.execute("update runs set secret = ?", (b"x" * 200,))
        else:
            monkeypatch.setattr(code_module, "read_checkpoint", lambda data: read_checkpoint(b"x" + data))
        await logged_in(portal, login)
        error = (await run(client, fetching(run_id)))["error"]
        assert (error["kind"], error["name"]) == ("lost", "RunLost")
        assert await rows_of_runs(portal, run_id) == ["error"]


async def test_a_program_that_was_parked_where_nobody_signs_in_sees_its_runs_as_before(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    program = "const before = (await codemode.runs.list()).length; await codemode.one.echo({text: 'y'}); "
    program += "return [before, (await codemode.runs.list()).length]"
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        run_id = (await run(client, program))["executionId"]
        await run(client, TWO)
        await logged_in(portal, login)
        before, after = (await run(client, fetching(run_id)))["result"]
        assert before == 0 and after >= 1


@both
async def test_a_portal_that_stops_does_not_end_the_parked_program_of_a_client_that_waits(
    mode: str, code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with (
        serving(tmp_path, upstream, login, code_tool, patience=600) as portal,
        client_of(portal.code, mode) as client,
    ):
        work = asyncio.create_task(run(client, TWO))
        (parked,) = await parked_runs(portal)
        portal.instance.close_streams()
        async with asyncio.timeout(PATIENCE):
            answer = await work
        assert (answer["status"], answer["executionId"]) == ("paused", parked.id)
        assert [one.state for one in await stored(portal)] == ["parked"]
        assert portal.kept.runs == []


async def test_what_a_call_of_a_parked_program_has_answered_outlasts_an_outage_of_the_database(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, settled = [StateUnavailable("the connection was lost")] * 20, RunRows.settled

    async def lossy(self: RunRows, *arguments: Any) -> None:
        if arguments[3] and arguments[4] and failures:
            raise failures.pop()
        await settled(self, *arguments)

    monkeypatch.setattr(RunRows, "settled", lossy)
    monkeypatch.setattr(parking_module, "_LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(parking_module, "_FIRST_PAUSE", 0.001)
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        run_id = (await run(client, TWO))["executionId"]
        await logged_in(portal, login)
        assert (await run(client, fetching(run_id)))["result"] == [{"text": "x"}, "y"]
        assert not failures
        calls = [one.name for one in portal.kept.records if one.run == run_id and one.kind == "tool"]
        assert calls == ["structured", "echo"]


async def test_a_program_that_somebody_ends_while_it_is_being_parked_ends_though_the_database_fails_right_after(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    park, cancel, failures = RunRows.park, RunRows.cancel, [StateUnavailable("the connection was lost")]
    ended: list[str] = []

    async def parks(self: RunRows, parking: Any, checkpoint: bytes, **options: Any) -> StoredRun:
        found = await park(self, parking, checkpoint, **options)
        (under_way,) = portal.instance.shared.runs.all()
        watched = portal.instance.shared.runs.find(under_way.row.run)
        assert watched is not None
        watched.end(ended_by("somebody", watched))
        ended.append(watched.id)
        return found

    async def lossy(self: RunRows, *arguments: Any) -> StoredRun | None:
        if failures:
            raise failures.pop()
        return await cancel(self, *arguments)

    monkeypatch.setattr(RunRows, "park", parks)
    monkeypatch.setattr(RunRows, "cancel", lossy)
    async with serving(tmp_path, upstream, login, code_tool) as portal, client_of(portal.code, MODERN) as client:
        await run(client, TWO)
        assert not failures and len(ended) == 1
        assert [(one.id, one.state) for one in await stored(portal)] == [(ended[0], "cancelled")]
        assert await rows_of_runs(portal, ended[0]) == ["cancelled"]
