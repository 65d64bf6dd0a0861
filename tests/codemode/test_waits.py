"""Runs that wait for people: what stands still, what ends them, how a later program gets their results."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from codemode import (
    Catalog,
    CatalogError,
    Failure,
    OnWait,
    Run,
    RunHandle,
    ToolCall,
    ToolReturned,
    Waiting,
    only_fetches,
    paused,
)
from sandbox import Engine, Limits
from stubs import Server, Tool
from tests.codemode.bench import CATALOG, Answer, Bench, bench
from tests.codemode.counting import counted
from tests.patience import PATIENCE

Engines = Callable[[Limits], Engine]
pytestmark = pytest.mark.anyio
LOGIN = Waiting("Log in to fix", "https://portal.example/authorize?elicitationId=x1")
SHORT = 1.5  # seconds of wall time: more than a busy machine takes to reach the wait
LONG = 2.0


@dataclass
class Person:
    """Somebody who has to come before a call goes on."""

    handle: RunHandle = field(default_factory=RunHandle)
    comes: asyncio.Event = field(default_factory=asyncio.Event)

    async def awaited(self, call: ToolCall) -> ToolReturned:
        assert call.on_wait is not None
        async with call.on_wait(LOGIN):
            await self.comes.wait()
        return ToolReturned({"structuredContent": {"in": True}})

    async def waits(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                changed = asyncio.Event()
                unwatch = self.handle.waits.watch(changed.set)
                if not condition():
                    await changed.wait()
                unwatch()

    async def only_they_are_missing(self) -> None:
        await self.waits(lambda: self.handle.waits.only_for_people)


async def passing(seconds: float) -> None:
    """Time passes: the limits are about nothing else."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, done.set)
    await done.wait()


async def started(b: Bench, person: Person, code: str) -> Awaitable[dict[str, Any]]:
    return asyncio.create_task(b.tool.run({"code": code}, b.catalog, b.caller, run_id="exec_1", handle=person.handle))


async def test_the_wall_clock_stands_still_while_the_program_waits_for_a_person_alone(engines: Engines) -> None:
    person = Person()
    async with bench(engines, Limits(wall_time=SHORT), echo=person.awaited) as b:
        run = await started(b, person, "const a = await codemode.fix.echo(); return [a, await codemode.fix.my_tool()]")
        await person.only_they_are_missing()
        assert person.handle.waits.open == (Waiting("Log in to fix", LOGIN.url, tool="fix.echo", run="exec_1"),)
        await passing(LONG)
        person.comes.set()
        assert Answer(await run).value == [{"in": True}, {}]
        assert not person.handle.waits.open


async def test_several_calls_that_all_wait_are_one_wait_for_a_person(engines: Engines) -> None:
    person = Person()
    async with bench(engines, Limits(wall_time=SHORT), echo=person.awaited) as b:
        run = await started(b, person, "return Promise.all([1, 2, 3].map((n) => codemode.fix.echo({n})))")
        await person.waits(lambda: len(person.handle.waits.open) == 3 and person.handle.waits.only_for_people)
        await passing(LONG)
        person.comes.set()
        assert len(Answer(await run).value) == 3


@pytest.mark.parametrize(
    "beside",
    ["codemode.fix.slow()", "new Promise((done) => setTimeout(done, 100_000))"],
    ids=["another call", "a timer"],
)
async def test_the_wall_clock_goes_on_while_something_else_is_awaited_too(engines: Engines, beside: str) -> None:
    person = Person()
    async with bench(engines, Limits(wall_time=SHORT), echo=person.awaited) as b:
        run = await started(b, person, f"await Promise.all([codemode.fix.echo(), {beside}])")
        answer = Answer(await run)
        assert answer.error["kind"] == "wall_time"
        assert ("fix.echo", "cancelled") in answer.calls


async def test_the_wall_clock_goes_on_where_it_stood_after_the_person_came(engines: Engines) -> None:
    person = Person()
    async with bench(engines, Limits(wall_time=SHORT), echo=person.awaited) as b:
        run = await started(b, person, "await codemode.fix.echo(); await codemode.fix.slow()")
        await person.only_they_are_missing()
        person.comes.set()
        assert Answer(await run).error["kind"] == "wall_time"


async def test_a_run_is_ended_from_outside_with_the_hosts_own_words(engines: Engines) -> None:
    person = Person()
    async with bench(engines, echo=person.awaited) as b:
        run = await started(b, person, "console.log('begun'); await codemode.fix.my_tool(); await codemode.fix.echo()")
        await person.only_they_are_missing()
        person.handle.end(Failure("cancelled", "RunExpired", "nobody came"))
        person.handle.end(Failure("cancelled", "RunCancelled", "too late"))
        answer = Answer(await run)
        assert (answer.error["kind"], answer.error["name"], answer.error["message"]) == (
            "cancelled",
            "RunExpired",
            "nobody came",
        )
        assert answer.calls == [("fix.my_tool", "ok"), ("fix.echo", "cancelled")]
        assert [line["text"] for line in answer.structured["logs"]] == ["begun"]


async def test_a_run_that_was_ended_before_it_began_calls_nothing(engines: Engines) -> None:
    person = Person()
    person.handle.end(Failure("cancelled", "RunCancelled", "not wanted"))
    async with bench(engines) as b:
        answer = Answer(await (await started(b, person, "await codemode.fix.slow()")))
        assert answer.error["name"] == "RunCancelled"


async def test_without_a_host_that_follows_the_run_no_call_may_wait_for_a_person(engines: Engines) -> None:
    async with bench(engines) as b:
        await b.run("await codemode.fix.echo()")
        assert [call.on_wait for call in b.caller.calls] == [None]


# --- codemode.runs -------------------------------------------------------------------------------------------------


@dataclass
class Shelf:
    """The runs that a program may come back for, in a dict."""

    records: dict[str, Run] = field(default_factory=dict)
    waiting: Waiting | None = None
    come: asyncio.Event = field(default_factory=asyncio.Event)

    async def result(self, run_id: str, on_wait: OnWait) -> Run:
        if self.waiting is not None:
            async with on_wait(self.waiting):
                await self.come.wait()
        return self._record(run_id)

    async def list(self) -> list[dict[str, Any]]:
        return [{"id": name} for name in self.records]

    async def cancel(self, run_id: str) -> Run:
        return self._record(run_id)

    def _record(self, run_id: str) -> Run:
        if run_id not in self.records:
            raise CatalogError(f"there is no run {run_id!r}")
        return self.records[run_id]


async def with_shelf(engines: Engines, code: str, **records: Run) -> Answer:
    handle = RunHandle(Shelf(records))
    async with bench(engines) as b:
        return Answer(await b.tool.run({"code": code}, b.catalog, b.caller, handle=handle))


async def finished(engines: Engines, code: str, **handlers: Any) -> Run:
    """The record of a real run."""
    handle = RunHandle()
    async with bench(engines, **handlers) as b:
        await b.tool.run({"code": code}, b.catalog, b.caller, run_id="exec_0", handle=handle)
    assert handle.record is not None
    return handle.record


async def test_a_result_comes_with_the_logs_calls_and_blocks_of_its_run_once(engines: Engines) -> None:
    record = await finished(
        engines,
        "console.log('earlier'); await codemode.emit({type: 'text', text: 'block'}); return codemode.fix.echo({n: 1})",
    )
    program = """
        const one = await codemode.runs.result("exec_0");
        const two = await codemode.runs.result("exec_0");
        return [one, two];
    """
    answer = await with_shelf(engines, program, exec_0=record)
    assert answer.value == [{"n": 1}, {"n": 1}]
    assert [line["text"] for line in answer.structured["logs"]] == ["earlier"]
    assert [(call["tool"], call["run"]) for call in answer.structured["calls"]] == [("fix.echo", "exec_0")]
    assert answer.raw["content"][-1] == {"type": "text", "text": "block"}


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("throw new RangeError('too far')", Limits()),
        ("await codemode.fix.search({query: 1})", Limits()),
        ("await codemode.fix.slow()", Limits(wall_time=0.2)),
        ("await new Promise(() => {})", Limits()),
        ("for (;;) {}", Limits(cpu_time=0.05)),
    ],
)
async def test_a_failure_is_thrown_with_its_kind_name_and_message(engines: Engines, code: str, limits: Limits) -> None:
    handle = RunHandle()
    async with bench(engines, limits) as b:
        first = Answer(await b.tool.run({"code": code}, b.catalog, b.caller, run_id="exec_0", handle=handle))
    assert handle.record is not None
    again = await with_shelf(engines, 'return await codemode.runs.result("exec_0")', exec_0=handle.record)
    kept = ("kind", "name", "message", "tool")
    assert {name: again.error.get(name) for name in kept} == {name: first.error.get(name) for name in kept}
    caught = """
        try { await codemode.runs.result("exec_0") } catch (error) { return [error.kind, error.name, error.message] }
    """
    answer = await with_shelf(engines, caught, exec_0=handle.record)
    assert answer.value == [first.error["kind"], first.error["name"], first.error["message"]]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("codemode.runs.result('exec_9')", "there is no run 'exec_9'"),
        ("codemode.runs.result()", "takes the id of a run"),
        ("codemode.runs.result({id: 'exec_0'})", "takes the id of a run"),
        ("codemode.runs.cancel('x'.repeat(101))", "takes the id of a run"),
        ("codemode.runs.fetch('exec_0')", "codemode.runs has result(id), list() and cancel(id)"),
    ],
)
async def test_a_wrong_id_or_name_is_an_error_that_says_what_is_right(engines: Engines, code: str, says: str) -> None:
    assert says in (await with_shelf(engines, f"return await {code}")).error["message"]


async def test_where_no_runs_are_kept_that_is_said(engines: Engines) -> None:
    async with bench(engines) as b:
        for call in ("result('exec_0')", "list()", "cancel('exec_0')"):
            assert "no runs are kept here" in (await b.run(f"return await codemode.runs.{call}")).error["message"]


async def test_a_program_that_waits_for_a_run_waits_for_the_person_of_that_run(engines: Engines) -> None:
    shelf = Shelf({"exec_0": Run("exec_0", "", value=7, has_value=True)}, LOGIN)
    person = Person(RunHandle(shelf))
    async with bench(engines, Limits(wall_time=SHORT)) as b:
        run = await started(b, person, "return await codemode.runs.result('exec_0')")
        await person.only_they_are_missing()
        await passing(LONG)
        shelf.come.set()
        assert Answer(await run).value == 7


async def test_runs_is_a_member_that_programs_find(engines: Engines) -> None:
    program = """
        return [Object.keys(codemode).includes("runs"), "runs" in codemode, Object.keys(codemode.runs),
                typeof codemode.runs.result, await codemode.runs.list(), codemode.runs === codemode.runs]
    """
    answer = await with_shelf(engines, program, exec_0=Run("exec_0", ""))
    assert answer.value == [True, True, ["result", "list", "cancel"], "function", [{"id": "exec_0"}], True]


async def test_a_server_called_runs_hides_nothing(engines: Engines) -> None:
    catalog = Catalog.build(
        [Server("runs", tools=(Tool("result"), Tool("start"))), Server("portal", tools=(Tool("x"),))]
    )
    program = """
        return [Object.keys(codemode).sort(), await codemode.runs_.result({n: 1}), await codemode.runs.start({n: 2}),
                await codemode.runs.result("exec_0"), await codemode.portal_.x({n: 3})]
    """
    shelf = Shelf({"exec_0": Run("exec_0", "", value="kept", has_value=True)})
    async with bench(engines, catalog=catalog) as b:
        answer = Answer(await b.tool.run({"code": program}, catalog, b.caller, handle=RunHandle(shelf)))
    own = ["describe", "emit", "portal", "portal_", "runs", "runs_", "search", "step", "tools"]
    assert answer.value == [own, {"n": 1}, {"n": 2}, "kept", {"n": 3}]


def test_describe_declares_runs() -> None:
    text = CATALOG.describe("runs")
    assert "result(id: string): Promise<any>" in text and text == CATALOG.describe(["codemode.runs"])
    with pytest.raises(CatalogError, match="on its own"):
        CATALOG.describe(["runs", "fix"])
    assert "result(id: string)" in CATALOG.declarations()
    theirs = Catalog.build([Server("runs", tools=(Tool("start"),))])
    assert "start(" in theirs.describe("runs")


@pytest.mark.parametrize(
    ("program", "run_id"),
    [
        ('return await codemode.runs.result("exec_5f")', "exec_5f"),
        (" await codemode.runs.result('exec_5f');\n", "exec_5f"),
        ("codemode.runs.result(`exec_5f`)", "exec_5f"),
        ('return (await codemode.runs.result("exec_5f")).n', None),
        ('const a = 1; return await codemode.runs.result("exec_5f")', None),
        ("return await codemode.runs.result(\"exec_5f')", None),
        pytest.param(
            " " * 200_000 + "codemode.runs.result('exec_5f')" + "\n" * 200_000, "exec_5f", id="in white space"
        ),
        pytest.param("codemode.runs.result('exec_5f')" + " " * 200_000 + "+ 1", None, id="and more, far away"),
    ],
)
def test_a_program_that_only_fetches_a_result_is_recognised(program: str, run_id: str | None) -> None:
    assert only_fetches(program) == run_id


# --- paused --------------------------------------------------------------------------------------------------------

EXECUTION = "exec_0123456789abcdef01234567"


@pytest.mark.parametrize(
    "waiting",
    [
        (
            Waiting(
                "Log in to linear", "https://portal.example.com/authorize?elicitationId=" + "aB3x" * 10, "linear.list"
            ),
        ),
        (Waiting("word " * 500, "https://portal.example.com/authorize?elicitationId=" + "aB3x" * 10, "a.b"),) * 5,
        (Waiting("ждём вас " * 100, None, "a.b"),),
    ],
    ids=["usual", "long texts", "no page"],
)
def test_a_paused_answer_is_short_and_says_where_to_go_and_how_to_go_on(waiting: tuple[Waiting, ...]) -> None:
    answer = paused(EXECUTION, waiting, ())
    text = answer["content"][0]["text"]
    assert counted(text) <= 120
    assert f'return await codemode.runs.result("{EXECUTION}")' in text
    assert waiting[0].url is None or waiting[0].url in text
    assert answer["isError"] is False
    assert answer["structuredContent"]["status"] == "paused"
    assert answer["structuredContent"]["executionId"] == EXECUTION
    assert [one["text"] for one in answer["structuredContent"]["waiting"]] == [one.text for one in waiting]
