"""Runs that park: what they wait for, what is left of them, and how they go on, here and in another build."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from codemode import (
    Catalog,
    CatalogServer,
    CodeTool,
    Failure,
    Flight,
    LoggedResume,
    ParkedProgram,
    ProgramLog,
    Run,
    RunHandle,
    ToolCall,
    ToolDenied,
    ToolFailed,
    ToolReturned,
    Waiting,
)
from sandbox import (
    Engine,
    EngineError,
    Executor,
    Limits,
    LocalStateError,
    LogLine,
    Overloaded,
    Settlement,
    WorkerExecutor,
)
from sandbox.executor import read_program
from stubs import Server, Tool
from tests.codemode.bench import Answer, Bench, bench
from tests.codemode.director import Journal, without_times
from tests.codemode.test_waits import LONG, SHORT, Shelf, passing
from tests.patience import PATIENCE

Engines = Callable[[Limits], Engine]
pytestmark = pytest.mark.anyio
APPROVAL = Waiting("Approve fix.echo", "https://portal.example/approve/a1", kind="approval", repeatable=True)
TWO = "return await Promise.all([codemode.fix.echo({n: 1}), codemode.fix.echo({n: 2})])"
FAR = "new Promise(resolve => setTimeout(resolve, 3600e3))"


@dataclass
class Desk:
    """A person who approves calls: `answers` by the number of a call; where there is none, the call waits."""

    answers: dict[int, Any] = field(default_factory=dict)
    handle: RunHandle = field(default_factory=RunHandle)
    waiting: Waiting = APPROVAL
    made: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    comes: asyncio.Event = field(default_factory=asyncio.Event)

    async def call_tool(self, call: ToolCall) -> Any:
        if call.seq not in self.answers:
            assert call.on_wait is not None
            async with call.on_wait(self.waiting):
                await self.comes.wait()
        self.made.append((call.seq, call.tool, call.arguments))
        answer = self.answers.get(call.seq, call.arguments)
        return ToolReturned({"structuredContent": answer}) if isinstance(answer, dict) else answer

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                changed = asyncio.Event()
                unwatch = self.handle.waits.watch(changed.set)
                if not condition():
                    await changed.wait()
                unwatch()

    async def waits_for(self, calls: int) -> None:
        await self.until(lambda: len(self.handle.waits.open) == calls)


@asynccontextmanager
async def parking(engines: Engines, limits: Limits | None = None) -> AsyncIterator[Bench]:
    """A bench whose engine has as many isolates at the end as at the beginning."""
    engine = engines(limits or Limits())
    before = engine.live_isolates
    async with bench(engines, limits) as b:
        yield b
        assert engine.live_isolates == before


async def parked(b: Bench, code: str, desk: Desk | None = None, waits: int = 1) -> ParkedProgram:
    """The program, parked once it waits for so many calls, and read from its bytes."""
    desk = desk or Desk()
    run = asyncio.create_task(b.tool.begin({"code": code}, b.catalog, desk, run_id="exec_1", handle=desk.handle))
    if waits:
        await desk.waits_for(waits)
    desk.handle.park()
    async with asyncio.timeout(PATIENCE):
        program = await run
    assert isinstance(program, ParkedProgram), program
    assert not desk.handle.waits.open
    return ParkedProgram.from_bytes(program.as_bytes())


async def resumed(b: Bench, program: ParkedProgram, desk: Desk, **options: Any) -> Answer:
    async with asyncio.timeout(PATIENCE):
        answer = await b.tool.resume(program, options.pop("catalog", b.catalog), desk, handle=desk.handle, **options)
    assert not isinstance(answer, ParkedProgram)
    return Answer(answer)


def as_of_another_build(program: ParkedProgram) -> ParkedProgram:
    return replace(program, build="another")


@pytest.mark.parametrize("build", ["the same", "another"])
async def test_a_program_that_waits_for_an_approval_goes_on_after_it(engines: Engines, build: str) -> None:
    code = """
        const first = await codemode.fix.echo({n: 1});
        const second = await codemode.fix.echo({n: first.n + 1});
        return [first, second]
    """
    async with parking(engines) as b:
        program = await parked(b, code, Desk({1: {"n": 10}}))
        assert [(one.id, one.name, one.arguments, one.seq) for one in program.pending] == [
            (2, "fix.echo", {"n": 11}, 2)
        ]
        assert program.waiting == (replace(APPROVAL, tool="fix.echo", run="exec_1"),)
        program = program if build == "the same" else as_of_another_build(program)
        desk = Desk({2: {"n": 20}})
        answer = await resumed(b, program, desk)
        assert answer.value == [{"n": 10}, {"n": 20}]
        assert answer.calls == [("fix.echo", "ok"), ("fix.echo", "ok")]
        assert desk.made == [(2, "echo", {"n": 11})]
        assert answer.structured["executionId"] == "exec_1"


async def test_a_run_that_may_park_and_does_not_answers_as_any_other(engines: Engines) -> None:
    code = "console.log('here'); return [await codemode.fix.echo({n: 1}), await codemode.fix.my_tool()]"
    async with parking(engines) as b:
        desk = Desk({1: {"n": 1}, 2: {}})
        begun = await b.tool.begin({"code": code}, b.catalog, desk, run_id="exec_1", handle=desk.handle)
        whole = await b.tool.run({"code": code}, b.catalog, desk, run_id="exec_1")
        assert not isinstance(begun, ParkedProgram)
        assert without_times(begun) == without_times(whole)
        assert desk.handle.log is not None
        assert [call.name for resume in desk.handle.log.write().resumes for call in resume.calls or ()] == [
            "fix.my_tool"
        ]


async def test_calls_in_flight_and_calls_that_queue_are_made_again_in_their_order(engines: Engines) -> None:
    code = "return (await Promise.all(Array.from({length: 20}, (_, n) => codemode.fix.echo({n})))).map(r => r.n)"
    async with parking(engines) as b:
        desk = Desk()
        program = await parked(b, code, desk, waits=16)
        assert [one.seq for one in program.pending] == list(range(1, 21))
        assert desk.made == []
        later = Desk({seq: {"n": seq} for seq in range(1, 21)})
        answer = await resumed(b, program, later)
        assert answer.value == list(range(1, 21))
        assert [seq for seq, _, _ in later.made] == list(range(1, 21))


async def test_a_settled_call_is_not_made_again(engines: Engines) -> None:
    code = "return await Promise.all([1, 2, 3].map(n => codemode.fix.echo({n})))"
    async with parking(engines) as b:
        program = await parked(b, code, Desk({2: {"n": 22}}), waits=2)
        assert [one.seq for one in program.pending] == [1, 3]
        later = Desk({1: {"n": 11}, 3: {"n": 33}})
        assert (await resumed(b, program, later)).value == [{"n": 11}, {"n": 22}, {"n": 33}]
        assert [seq for seq, _, _ in later.made] == [1, 3]


async def test_a_far_timer_parks_and_fires_when_the_time_has_come(engines: Engines) -> None:
    async with parking(engines) as b:
        program = await parked(b, f"const t = Date.now(); await {FAR}; return Date.now() - t", waits=0)
        assert program.wake_at is not None and program.pending == ()
        assert program.wake_at - program.log.now == pytest.approx(3600e3)
        assert (await resumed(b, program, Desk(), pace=Later(program.wake_at + 1000))).value == 3601e3


@dataclass
class Later:
    """A pace at one moment, at which every timer is due."""

    at: float

    def begin(self) -> tuple[float, bytes]:
        raise AssertionError("a program that goes on does not begin")

    def now(self) -> float:
        return self.at

    def elapsed(self) -> float:
        return 0.0

    async def settled(self, flight: Flight, wake_at: float | None) -> list[Settlement]:
        return []


async def test_a_near_timer_does_not_park(engines: Engines) -> None:
    handle = RunHandle()
    handle.park()
    async with parking(engines) as b:
        code = "await new Promise(resolve => setTimeout(resolve, 30)); return 1"
        answer = await b.tool.begin({"code": code}, b.catalog, b.caller, handle=handle)
        assert not isinstance(answer, ParkedProgram) and Answer(answer).value == 1


async def test_a_wait_that_cannot_be_repeated_keeps_the_run_until_the_next_one(engines: Engines) -> None:
    desk = Desk({2: {"n": 2}}, waiting=replace(APPROVAL, repeatable=False))
    async with parking(engines) as b:
        code = "const a = await codemode.fix.echo({n: 1}); return [a, await codemode.fix.echo({n: 2})]"
        run = asyncio.create_task(b.tool.begin({"code": code}, b.catalog, desk, handle=desk.handle))
        await desk.waits_for(1)
        desk.handle.park()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not run.done() and len(desk.handle.waits.open) == 1
        desk.waiting = APPROVAL
        del desk.answers[2]
        desk.comes.set()
        desk.comes = asyncio.Event()
        program = await run
        assert isinstance(program, ParkedProgram)
        assert [(seq, tool) for seq, tool, _ in desk.made] == [(1, "echo")]
        assert (await resumed(b, program, Desk({2: {"n": 2}}))).value == [{"n": 1}, {"n": 2}]


async def test_a_call_that_has_left_keeps_the_run(engines: Engines) -> None:
    desk, left = Desk(), asyncio.Event()

    async def leaves(call: ToolCall) -> ToolReturned:
        await left.wait()
        return ToolReturned({"structuredContent": {}})

    async with parking(engines) as b:
        caller = b.caller.__class__({"my-tool": leaves, "echo": desk.call_tool})
        code = "return await Promise.all([codemode.fix.my_tool(), codemode.fix.echo({n: 1})])"
        run = asyncio.create_task(b.tool.begin({"code": code}, b.catalog, caller, handle=desk.handle))
        await desk.waits_for(1)
        desk.handle.park()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not run.done()
        left.set()
        program = await run
        assert isinstance(program, ParkedProgram)
        assert [(one.id, one.name) for one in program.pending] == [(2, "fix.echo")]


async def test_a_wish_that_is_taken_back_does_not_park(engines: Engines) -> None:
    desk = Desk()
    async with parking(engines) as b:
        run = asyncio.create_task(
            b.tool.begin({"code": "return await codemode.fix.echo({n: 1})"}, b.catalog, desk, handle=desk.handle)
        )
        await desk.waits_for(1)
        desk.handle.park()
        desk.handle.unpark()
        desk.comes.set()
        answer = await run
        assert not isinstance(answer, ParkedProgram) and Answer(answer).value == {"n": 1}


async def test_the_functions_of_codemode_that_wait_for_somebody_are_made_again(engines: Engines) -> None:
    desk = Desk(handle=RunHandle(Shelf({"exec_0": Run("exec_0", "")}, APPROVAL)))
    async with parking(engines) as b:
        program = await parked(b, "return await codemode.runs.result('exec_0')", desk)
        assert [(one.name, one.seq) for one in program.pending] == [("runs.result", 0)]
        ended = Run("exec_0", "", value=7, has_value=True, logs=[LogLine("log", "of that run")])
        answer = await resumed(b, program, Desk(handle=RunHandle(Shelf({"exec_0": ended}))))
        assert answer.value == 7
        assert answer.structured["logs"] == [{"level": "log", "text": "of that run"}]


async def test_what_a_run_said_and_emitted_before_it_parked_is_in_its_answer(engines: Engines) -> None:
    code = """
        console.log("before"); await codemode.emit({type: "text", text: "block"});
        try { await codemode.fix.my_tool() } catch (error) { console.warn(error.message) }
        await codemode.fix.echo({n: 1}); console.log("after"); return 1
    """
    async with parking(engines) as b:
        program = await parked(b, code, Desk({1: ToolFailed("no luck", 5, {"a": [1]})}))
        answer = await resumed(b, program, Desk({2: {}}))
        assert [line["text"] for line in answer.structured["logs"]] == ["before", "no luck", "after"]
        assert answer.raw["content"][-1] == {"type": "text", "text": "block"}
        assert answer.calls == [("fix.my_tool", "error"), ("fix.echo", "ok")]


async def test_an_error_of_before_the_parking_is_still_known_as_the_cause(engines: Engines) -> None:
    code = """
        let first; try { await codemode.fix.my_tool() } catch (error) { first = error }
        await codemode.fix.echo({n: 1}); throw first
    """
    async with parking(engines) as b:
        program = await parked(b, code, Desk({1: ToolDenied("not today", "night", {"until": 5})}))
        answer = await resumed(b, program, Desk({2: {}}))
        assert (answer.error["name"], answer.error["tool"]) == ("ToolError", "fix.my_tool")
        assert answer.error["data"] == {"policy": "night", "until": 5}


# --- what parking must not leave behind ------------------------------------------------------------------------------


async def test_a_run_that_is_ended_while_it_is_parked_ends(engines: Engines) -> None:
    desk = Desk()
    async with parking(engines) as b:
        tool = CodeTool(
            Frozen(b.tool._executor, lambda: desk.handle.end(Failure("cancelled", "RunCancelled", "enough")))
        )
        run = asyncio.create_task(
            tool.begin({"code": "return await codemode.fix.echo({n: 1})"}, b.catalog, desk, handle=desk.handle)
        )
        await desk.waits_for(1)
        desk.handle.park()
        answer = await run
        assert not isinstance(answer, ParkedProgram)
        assert Answer(answer).error["kind"] == "cancelled"
        assert Answer(answer).calls == [("fix.echo", "cancelled")]


class Frozen:
    """An executor whose runs call `hook` when they are frozen, before and after; everything else is the real one's."""

    def __init__(self, executor: Executor, hook: Callable[[], None]) -> None:
        self._executor = executor
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def execution(self, *arguments: Any, **options: Any) -> Any:
        execution, hook = self._executor.execution(*arguments, **options), self._hook
        freeze = execution.freeze

        async def hooked() -> bytes:
            hook()
            return await freeze()

        execution.freeze = hooked  # type: ignore[method-assign]
        return execution


@pytest.mark.parametrize("error", [Overloaded("no room"), LocalStateError("not now")])
async def test_a_run_that_cannot_be_frozen_now_goes_on(engines: Engines, error: EngineError) -> None:
    desk = Desk()

    def fails() -> None:
        raise error

    async with parking(engines) as b:
        tool = CodeTool(Frozen(b.tool._executor, fails))
        for code, waits in (("return await codemode.fix.echo({n: 1})", 1), (TWO, 2)):
            desk.handle, desk.comes = RunHandle(), asyncio.Event()
            run = asyncio.create_task(tool.begin({"code": code}, b.catalog, desk, handle=desk.handle))
            await desk.waits_for(waits)
            desk.handle.park()
            await desk.until(lambda: not desk.handle.wants_to_park and bool(desk.handle.waits.open))
            desk.comes.set()
            answer = await run
            assert not isinstance(answer, ParkedProgram)
            assert set(Answer(answer).calls) == {("fix.echo", "ok")}


async def test_a_run_whose_isolate_broke_while_it_was_frozen_fails_in_words(engines: Engines) -> None:
    desk = Desk()

    def fails() -> None:
        raise EngineError("the isolate broke")

    async with parking(engines) as b:
        tool = CodeTool(Frozen(b.tool._executor, fails))
        run = asyncio.create_task(tool.begin({"code": TWO}, b.catalog, desk, handle=desk.handle))
        await desk.waits_for(2)
        desk.handle.park()
        answer = await run
        assert not isinstance(answer, ParkedProgram)
        assert Answer(answer).error["kind"] == "engine" and "the isolate broke" in Answer(answer).text


@pytest.mark.parametrize("code", ["return await codemode.fix.echo({n: 1})", "TWO"])
async def test_a_request_that_is_cancelled_at_any_moment_of_the_parking_leaves_nothing(
    engines: Engines, code: str
) -> None:
    code = TWO if code == "TWO" else code
    async with parking(engines) as b:
        seen = set()
        for turns in range(400):
            desk = Desk()
            run = asyncio.create_task(b.tool.begin({"code": code}, b.catalog, desk, handle=desk.handle))
            await desk.waits_for(2 if code == TWO else 1)
            desk.handle.park()
            for _ in range(turns):
                await asyncio.sleep(0)
            was_parked = run.done()
            run.cancel()
            await asyncio.wait([run])
            seen.add(was_parked)
            assert run.cancelled() is not was_parked
            assert not desk.handle.waits.open and desk.made == []
            if was_parked:
                break
        assert seen == {True, False}


@pytest.mark.parametrize("waits", [1, 2])
@pytest.mark.parametrize("comes_first", [True, False])
async def test_a_call_has_either_left_or_is_pending_whenever_its_person_comes(
    engines: Engines, waits: int, comes_first: bool
) -> None:
    code = TWO if waits == 2 else "return await codemode.fix.echo({n: 1})"
    sent: list[int] = []
    come = [asyncio.Event(), asyncio.Event(), asyncio.Event()]

    async def slow_on_its_way(call: ToolCall) -> ToolReturned:
        assert call.on_wait is not None
        async with call.on_wait(APPROVAL):
            await come[call.seq].wait()
        sent.append(call.seq)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return ToolReturned({"structuredContent": call.arguments})

    async with parking(engines) as b:
        caller, ends = b.caller.__class__({"echo": slow_on_its_way}), set()
        for turns in range(12):
            desk, come, sent = Desk(), [asyncio.Event() for _ in range(3)], []
            run = asyncio.create_task(b.tool.begin({"code": code}, b.catalog, caller, handle=desk.handle))
            await desk.waits_for(waits)
            first, second = (come[1].set, desk.handle.park) if comes_first else (desk.handle.park, come[1].set)
            first()
            for _ in range(turns):
                await asyncio.sleep(0)
            second()
            ended = await run
            ends.add(isinstance(ended, ParkedProgram))
            if isinstance(ended, ParkedProgram):
                pending = {one.seq for one in ended.pending}
                assert not pending & set(sent) and len(sent) == len(set(sent))
                assert pending | set(sent) == set(range(1, waits + 1))
            else:
                assert sent == [1] and waits == 1
        assert True in ends or (comes_first and waits == 1)  # then it leaves before anybody looks


@pytest.mark.parametrize("waits", [1, 2])
async def test_a_run_that_is_ended_at_any_moment_of_the_parking_ends(engines: Engines, waits: int) -> None:
    code = TWO if waits == 2 else "return await codemode.fix.echo({n: 1})"
    async with parking(engines) as b:
        seen = set()
        for turns in range(400):
            desk = Desk()
            run = asyncio.create_task(b.tool.begin({"code": code}, b.catalog, desk, handle=desk.handle))
            await desk.waits_for(waits)
            desk.handle.park()
            for _ in range(turns):
                await asyncio.sleep(0)
            was_parked = run.done()
            desk.handle.end(Failure("cancelled", "RunCancelled", "enough"))
            answer = await run
            seen.add(was_parked)
            assert isinstance(answer, ParkedProgram) is was_parked
            if not isinstance(answer, ParkedProgram):
                assert Answer(answer).calls == [("fix.echo", "cancelled")] * waits
            assert not desk.handle.waits.open and desk.made == []
            if was_parked:
                break
        assert seen == {True, False}


async def test_a_call_that_answers_although_it_was_cancelled_is_answered(engines: Engines) -> None:
    desk = Desk()

    async def stubborn(call: ToolCall) -> ToolReturned:
        assert call.on_wait is not None
        try:
            async with call.on_wait(APPROVAL):
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return ToolReturned({"structuredContent": {"sent": call.arguments["n"]}})

    async with parking(engines) as b:
        caller = b.caller.__class__({"echo": stubborn})
        for code, waits in (("return await codemode.fix.echo({n: 1})", 1), (TWO, 2)):
            desk.handle = RunHandle()
            run = asyncio.create_task(b.tool.begin({"code": code}, b.catalog, caller, handle=desk.handle))
            await desk.waits_for(waits)
            desk.handle.park()
            answer = await run
            assert not isinstance(answer, ParkedProgram)
            assert "sent" in Answer(answer).text
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and task.cancelling()]


async def test_a_call_that_does_not_stop_keeps_the_run_and_is_made_again(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codemode.calls._PATIENCE", 0.05)
    desk, lets_go, tries = Desk(), asyncio.Event(), []

    async def stuck(call: ToolCall) -> ToolReturned:
        tries.append(call.arguments["n"])
        if len(tries) <= 2:
            assert call.on_wait is not None
            async with call.on_wait(APPROVAL):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    await lets_go.wait()
                    raise
        return ToolReturned({"structuredContent": call.arguments})

    async with parking(engines) as b:
        caller = b.caller.__class__({"echo": stuck})
        run = asyncio.create_task(b.tool.begin({"code": TWO}, b.catalog, caller, handle=desk.handle))
        await desk.waits_for(2)
        desk.handle.park()
        while desk.handle.wants_to_park:
            await asyncio.sleep(0)
        lets_go.set()
        answer = await run
        assert not isinstance(answer, ParkedProgram)
        assert Answer(answer).value == [{"n": 1}, {"n": 2}] and tries == [1, 2, 1, 2]


# --- times -----------------------------------------------------------------------------------------------------------


async def test_the_time_that_a_person_took_before_the_parking_does_not_count(engines: Engines) -> None:
    desk = Desk()
    async with parking(engines, Limits(wall_time=SHORT)) as b:
        run = asyncio.create_task(
            b.tool.begin({"code": "return await codemode.fix.echo({n: 1})"}, b.catalog, desk, handle=desk.handle)
        )
        await desk.waits_for(1)
        await passing(LONG)
        desk.handle.park()
        program = await run
        assert isinstance(program, ParkedProgram)
        assert program.wall_used < SHORT and program.excused > SHORT
        assert (await resumed(b, ParkedProgram.from_bytes(program.as_bytes()), Desk({1: {"n": 1}}))).value == {"n": 1}


async def test_the_wall_time_used_before_the_parking_counts(engines: Engines) -> None:
    async with parking(engines, Limits(wall_time=20)) as b:
        program = await parked(b, "await codemode.fix.echo({n: 1}); await new Promise(f => setTimeout(f, 10000))")
        answer = await resumed(b, replace(program, wall_used=19.9), Desk({1: {}}))
        assert answer.error["kind"] == "wall_time"


async def test_the_cpu_time_used_before_the_parking_counts(engines: Engines) -> None:
    code = "let n = 0; for (let i = 0; i < 2e5; i++) n += Math.sqrt(i); await codemode.fix.echo({n: 1}); return 1"
    async with parking(engines) as b:
        program = await parked(b, code)
        used = read_program(program.frozen).cpu_used
        async with b.tool._executor.thaw(program.frozen) as execution:
            await execution.resume([Settlement.value(1, {})], program.log.last_now)
            assert execution.cpu_time > used > 0.001


# --- another catalog, another build ----------------------------------------------------------------------------------


async def test_a_pending_call_of_a_tool_that_is_gone_fails_in_words_and_does_not_run(engines: Engines) -> None:
    code = """
        const seen = [];
        for (const n of [1, 2])
            try { await codemode.fix.echo({n}) } catch (error) { seen.push(error.name, error.message) }
        return [seen, await codemode.fix.my_tool()]
    """
    today = Catalog.build([Server("fix", tools=(Tool("my-tool"),))])
    async with parking(engines) as b:
        program = await parked(b, code)
        desk = Desk({3: {"n": 3}})
        answer = await resumed(b, program, desk, catalog=today)
        gone = (
            "codemode.fix.echo is not among the tools of this program any more: its server does not offer it now, or a "
            "policy does not allow it. The call did not run."
        )
        assert answer.value == [["ToolError", gone] * 2, {"n": 3}]
        assert answer.calls == [("fix.echo", "denied"), ("fix.echo", "denied"), ("fix.my_tool", "ok")]
        assert [tool for _, tool, _ in desk.made] == ["my-tool"]


async def test_the_schema_of_today_checks_a_pending_call(engines: Engines) -> None:
    strict = {"type": "object", "properties": {"n": {"type": "string"}}}
    today = Catalog.build([Server("fix", tools=(Tool("echo", None, "", strict),))])
    async with parking(engines) as b:
        answer = await resumed(
            b, await parked(b, "return await codemode.fix.echo({n: 1})"), Desk({1: {}}), catalog=today
        )
        assert "Expected: codemode.fix.echo(" in answer.error["message"]


@pytest.mark.parametrize("is_part", [False, True])
async def test_a_program_keeps_its_stubs_in_another_build(engines: Engines, is_part: bool) -> None:
    servers = [Server("fix", tools=(Tool("echo"), Tool("old")))]
    made = Catalog.of([(CatalogServer(one), None) for one in servers]) if is_part else Catalog.build(servers)
    async with parking(engines) as b:
        b.catalog = made
        program = await parked(b, "await codemode.fix.echo({n: 1}); return typeof codemode.fix.old")
        today = Catalog.of([(CatalogServer(Server("fix", tools=(Tool("echo"),))), None)]) if is_part else made
        answer = await resumed(b, as_of_another_build(program), Desk({1: {}}), catalog=today)
        assert answer.value == "function"


def changed(log: ProgramLog, **names: str) -> ProgramLog:
    """A log whose calls have other names."""
    calls = tuple(replace(one, name=names.get(one.name.replace(".", "_"), one.name)) for one in log.calls)
    return replace(log, calls=calls)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda log: changed(log, fix_echo="fix.delete"),
            "it called codemode.fix.echo where it had called",
        ),
        (lambda log: replace(log, calls=()), "it made call 1, of codemode.fix.echo, which it had not made"),
        (
            lambda log: replace(log, calls=(*log.calls, replace(log.calls[0], id=2))),
            "it did not make call 2, of codemode.fix.echo",
        ),
        (
            lambda log: replace(log, calls=(replace(log.calls[0], digest=b"x" * 32),)),
            "it called codemode.fix.echo with other arguments than before, call 1",
        ),
        (
            lambda log: replace(log, resumes=[LoggedResume(1.0, (Settlement.value(9, 1),))]),
            "it did not wait for what it had got",
        ),
        (lambda log: replace(log, whole=False), "its log was too long to be kept"),
    ],
)
async def test_a_program_that_does_something_else_in_another_build_is_lost_and_calls_nothing(
    engines: Engines, change: Callable[[ProgramLog], ProgramLog], says: str
) -> None:
    async with parking(engines) as b:
        program = await parked(
            b, "await codemode.fix.echo({n: 1}); return await codemode.fix.echo({n: 2})", Desk({1: {"n": 1}})
        )
        desk = Desk({2: {}})
        answer = await resumed(b, replace(as_of_another_build(program), log=change(program.log)), desk)
        assert (answer.error["kind"], answer.error["name"]) == ("lost", "RunLost")
        assert says in answer.error["message"]
        assert "These calls completed: fix.echo." in answer.error["message"]
        assert answer.calls == [("fix.echo", "ok"), ("fix.echo", "cancelled")]
        assert desk.made == []


async def test_a_log_over_its_bound_is_dropped_and_the_program_still_thaws(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codemode.parking.MAX_LOG_BYTES", 1000)
    code = "for (let n = 0; n < 9; n++) await codemode.fix.my_tool({n}); return await codemode.fix.echo({n: 1})"
    async with parking(engines) as b:
        program = await parked(b, code, Desk({seq: {"text": "x" * 500} for seq in range(1, 10)}))
        assert not program.log.whole and program.log.resumes == [] and program.log.made == 10
        assert (await resumed(b, program, Desk({10: {"n": 1}}))).value == {"n": 1}


async def test_damaged_frozen_bytes_are_repeated_from_the_log(engines: Engines) -> None:
    async with parking(engines) as b:
        program = await parked(b, "return await codemode.fix.echo({n: 1})")
        damaged = program.frozen[:-5] + b"?????"
        assert (await resumed(b, replace(program, frozen=damaged), Desk({1: {"n": 1}}))).value == {"n": 1}


async def test_a_thawed_program_cannot_take_the_id_of_another_call(engines: Engines) -> None:
    async with parking(engines) as b:
        program = await parked(b, "await codemode.fix.echo({n: 1}); return await codemode.fix.echo({n: 2})")
        desk = Desk({1: {}, 2: {}})
        answer = await resumed(b, replace(program, log=replace(program.log, made=5)), desk)
        assert answer.error["kind"] == "engine" and "made call 2 out of turn" in answer.error["message"]
        assert [seq for seq, _, _ in desk.made] == [1]


async def test_a_program_is_repeated_from_its_log_without_any_call(engines: Engines) -> None:
    code = "console.log('a'); const r = await codemode.fix.echo({n: 1}); console.log('b'); return r.n + 1"
    async with parking(engines) as b:
        desk = Desk({1: {"n": 41}})
        await b.tool.begin({"code": code}, b.catalog, desk, handle=desk.handle)
        log = desk.handle.log
        assert log is not None
        repeated = await b.tool.replay(log.write(), b.catalog)
        assert repeated.difference is None
        assert (repeated.run.value, [one.text for one in repeated.run.logs]) == (42, ["a", "b"])
        assert [(call.tool, call.status) for call in repeated.run.calls] == [("fix.echo", "ok")]
        other = replace(log, calls=(replace(log.calls[0], name="fix.delete"),))
        assert "it called codemode.fix.echo where" in str((await b.tool.replay(other, b.catalog)).difference)
        assert "over its limit" in str((await b.tool.replay(replace(log, whole=False), b.catalog)).difference)
        assert len(desk.made) == 1


async def test_a_program_waits_for_an_isolate_with_what_its_calls_returned() -> None:
    with Engine(Limits(), slots=1) as engine:
        async with bench(lambda _: engine) as b:
            program = await parked(b, "return await codemode.fix.echo({n: 1})")
            for again in (program, as_of_another_build(program)):
                first, desk = Desk(), Desk({1: {"n": 1}})
                busy = asyncio.create_task(
                    b.tool.run({"code": "return await codemode.fix.echo()"}, b.catalog, first, handle=first.handle)
                )
                await first.waits_for(1)
                data = again.as_bytes()
                goes_on = asyncio.create_task(resumed(b, ParkedProgram.from_bytes(data), desk))
                while again is program and not desk.made:
                    await asyncio.sleep(0)
                assert not goes_on.done()
                first.comes.set()
                assert Answer(await busy).ok
                assert (await goes_on).value == {"n": 1}
                assert len(desk.made) == 1


async def test_a_program_parks_in_one_process_and_goes_on_in_another() -> None:
    code = "const a = await codemode.fix.echo({n: 1}); return [a, await codemode.fix.echo({n: 2})]"
    async with WorkerExecutor(workers=1) as first, WorkerExecutor(workers=1) as second:
        assert await first.build() == await second.build() != ""
        program = await parked(Bench(CodeTool(first)), code)
        assert first.load.suspended == 0
        answer = await resumed(Bench(CodeTool(second)), program, Desk({1: {"n": 1}, 2: {"n": 2}}))
        assert answer.value == [{"n": 1}, {"n": 2}]


async def test_a_tail_that_is_no_json_loses_the_run_in_words(engines: Engines) -> None:
    async with parking(engines) as b:
        program = await parked(b, "return await codemode.fix.echo({n: 1})")
        wrong = LoggedResume(1.0, (Settlement(1, False, orjson.Fragment(b"{")),))
        answer = await resumed(b, program, Desk(), tail=[wrong])
        assert answer.error["kind"] == "lost" and "no JSON" in answer.error["message"]
        unknown = LoggedResume(1.0, (Settlement.value(7, 1),))
        again = await parked(b, "return await codemode.fix.echo({n: 1})")
        answer = await resumed(b, again, Desk(), tail=[unknown])
        assert "it did not make call 7, which was answered before" in answer.error["message"]


async def test_a_call_of_unknown_outcome_is_an_error_that_says_so(engines: Engines) -> None:
    code = "try { await codemode.fix.echo({n: 1}) } catch (error) { return [error.kind, error.message] }"
    async with parking(engines) as b:
        program = await parked(b, code)
        unknown = ToolFailed("nobody knows whether it ran", kind="unknown_outcome")
        answer = await resumed(b, program, Desk({1: unknown}))
        assert answer.value == ["unknown_outcome", "nobody knows whether it ran"]
        assert answer.calls == [("fix.echo", "error")]


# --- the journal -----------------------------------------------------------------------------------------------------


async def test_the_journal_has_what_the_program_receives_before_the_program_does(engines: Engines) -> None:
    code = """
        let s = 0;
        for (let n = 1; n <= 4; n++) {
            s += (await codemode.fix.echo({n})).n; console.log(s); await codemode.emit({type: "text", text: "n" + n})
        }
        try { await codemode.fix.my_tool() } catch (error) { console.log(error.message) }
        return s
    """
    answers = {n: {"n": n * 10} for n in range(1, 5)} | {5: ToolFailed("no", 3)}
    async with parking(engines) as b:
        whole = await b.tool.run({"code": code}, b.catalog, Desk(answers), run_id="exec_1")
        program = await parked(b, code)
        data = program.as_bytes()
        for written in range(10):
            journal, desk = Journal(fails=(written,)), Desk(answers)
            desk.handle.journal = journal
            if written < 9:
                with pytest.raises(RuntimeError, match="another process"):
                    await resumed(b, ParkedProgram.from_bytes(data), desk)
            else:
                await resumed(b, ParkedProgram.from_bytes(data), desk)
            assert not desk.handle.waits.open
            for build in ("the same", "another"):
                again = ParkedProgram.from_bytes(data)
                again = again if build == "the same" else as_of_another_build(again)
                made = {seq for seq, _, _ in desk.made} if written else set()
                settled = {one.id for resume in journal.resumes for one in resume.settlements}
                later = Desk(answers)
                answer = await resumed(b, again, later, tail=journal.resumes)
                assert without_times(answer.raw) == without_times(whole)
                assert len(settled) == len(journal.resumes) == written
                assert len(made) <= len(desk.made)
