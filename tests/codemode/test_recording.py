"""Recorded runs: repeated byte for byte from their bytes alone, and what is said where a repetition differs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemode import (
    Catalog,
    CatalogServer,
    CodeTool,
    Failure,
    NotRecordable,
    ParkedUnreadable,
    ProgramLog,
    Replayed,
    RunHandle,
    RunRecording,
    digest_of,
)
from sandbox import Engine, InProcessExecutor, Limits, LogLine, Settlement
from tests.codemode.bench import bench
from tests.codemode.director import CATALOG, Decision, Director, interrupted
from tests.codemode.parking_programs import PROGRAMS

pytestmark = pytest.mark.anyio
Engines = Callable[[Limits], Engine]
SHORT = Limits(cpu_time=0.3)
SAID = "console.log('one'); const r = await codemode.s.echo({n: 1}); console.warn('two', r.n); return [r.n, 'end']"


async def recorded(tool: CodeTool, code: str, decide: Callable[[int], Decision] = lambda _: "live") -> RunRecording:
    """The recording of a program, read from its bytes."""
    director = Director(decide)
    director.handle.records = True
    if decide(0) == "live":
        await tool.begin({"code": code}, CATALOG, director, pace=director, handle=director.handle)
    else:
        _, director = await interrupted(tool, code, decide, records=True)
    return RunRecording.from_bytes(RunRecording.of(director.handle.log).as_bytes())


async def replayed(engines: Engines, code: str, change: Callable[[RunRecording], object] = lambda _: None) -> Replayed:
    """What a repetition says of a program whose recording has been changed."""
    async with InProcessExecutor(engines(SHORT)) as executor:
        recording = await recorded(CodeTool(executor), code)
        changed = change(recording)
        return await CodeTool(executor).repeat(changed if isinstance(changed, RunRecording) else recording)


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_recorded_program_is_repeated_byte_for_byte(engines: Engines, name: str) -> None:
    engine = engines(Limits())
    before = engine.live_isolates
    async with InProcessExecutor(engine) as executor:
        tool = CodeTool(executor)
        recording = await recorded(tool, PROGRAMS[name])
        again = await recorded(tool, PROGRAMS[name], lambda step: "park" if step % 2 == 0 else "move")
        # One that has never seen the catalog: all that it takes is in the recording.
        stranger = CodeTool(executor)
        whole, parked = await stranger.repeat(recording), await stranger.repeat(again)
    assert whole.difference is None and parked.difference is None
    assert whole == parked
    assert whole.same_build and whole.calls == len(recording.arguments)
    assert recording.arguments == again.arguments and recording.logs == again.logs
    assert orjson.dumps(recording.end.value) == orjson.dumps(again.end.value)
    assert engine.live_isolates == before


@settings(max_examples=25)
@given(name=st.sampled_from(sorted(PROGRAMS)), at=st.integers(0, 50), how=st.sampled_from(["arguments", "settlement"]))
def test_a_changed_recording_is_never_called_equal_where_it_matters(name: str, at: int, how: str) -> None:
    async def change() -> tuple[Replayed, bool]:
        with Engine(Limits(), slots=2) as engine:
            async with InProcessExecutor(engine) as executor:
                tool = CodeTool(executor)
                recording = await recorded(tool, PROGRAMS[name])
                log = recording.log
                resumes = [one for one in log.resumes if (one.calls if how == "arguments" else one.settlements)]
                if not resumes:
                    return await tool.repeat(recording), False
                chosen = resumes[at % len(resumes)]
                if how == "arguments":
                    assert chosen.calls is not None
                    calls = (replace(chosen.calls[0], digest=digest_of("changed")), *chosen.calls[1:])
                    other = replace(chosen, calls=calls)
                else:
                    # To a call that the program did not make.
                    other = replace(chosen, settlements=(Settlement.value(9_999, 1),))
                log.resumes[log.resumes.index(chosen)] = other
                return await tool.repeat(recording), True

    found, changed = asyncio.run(change())
    assert (found.difference is not None) == changed


async def test_a_call_with_other_arguments_is_shown_with_both(engines: Engines) -> None:
    def change(recording: RunRecording) -> None:
        first = recording.log.calls[0]
        recording.log.calls = (replace(first, digest=digest_of({"n": 2})),)
        recording.arguments[0] = b'{"n":2}'

    difference = (await replayed(engines, SAID, change)).difference
    assert difference is not None
    assert (difference.what, difference.at) == ("call", 1)
    assert difference.words == "it called codemode.s.echo with other arguments than before, call 1"
    assert (difference.then, difference.now) == ('codemode.s.echo({"n":2})', 'codemode.s.echo({"n":1})')


async def test_another_answer_of_a_tool_is_a_difference_of_what_the_program_says(engines: Engines) -> None:
    def change(recording: RunRecording) -> None:
        resume = recording.log.resumes[0]
        recording.log.resumes[0] = replace(resume, settlements=(Settlement.value(1, {"n": 5}),))

    difference = (await replayed(engines, SAID, change)).difference
    assert difference is not None and (difference.what, difference.at) == ("log", 2)
    assert (difference.then, difference.now) == ("warn: two 1", "warn: two 5")


async def test_another_result_is_shown_around_the_place_where_it_differs(engines: Engines) -> None:
    def change(recording: RunRecording) -> RunRecording:
        return replace(recording, end=replace(recording.end, value="x" * 5000 + "z"))

    difference = (await replayed(engines, "return 'x'.repeat(5000) + 'y'", change)).difference
    assert difference is not None and difference.what == "result"
    assert difference.then == "…" + "x" * 200 + 'z"'
    assert difference.now == "…" + "x" * 200 + 'y"'


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("console.log(1); throw new TypeError('no')", "exception"),
        ("await codemode.s.fail({n: 1})", "exception"),
        ("return await new Promise(() => {})", "deadlock"),
        ("for (;;) console.log('on')", "cpu_time"),
        ("const all = []; for (;;) all.push(new Uint8Array(8e6).fill(all.length))", "memory"),
        ("let n: number = 1; return codemode.search('echo').then(found => found.length + n)", "result"),
        ("codemode.emit({type: 'text', text: 'a'}); codemode.s.echo({}); return 1", "result"),
        ("async function main() { return (await codemode.s.echo({n: 3})).n }", "result"),
        ("return codemode.nothing.here", "exception"),
    ],
)
async def test_every_end_of_a_program_is_repeated(engines: Engines, code: str, end: str) -> None:
    found = await replayed(engines, code)
    assert (found.ended, found.difference) == (end, None)


async def test_a_run_that_is_ended_while_it_waits_is_equal_up_to_there(engines: Engines) -> None:
    async with bench(engines) as b:
        handle = RunHandle()
        handle.records = True

        async def ends(_: Any) -> Any:
            handle.end(Failure("cancelled", "RunEnded", "an administrator ended it"))
            return await Director().call_tool(_)

        caller = b.caller.__class__({"echo": ends})
        await b.tool.begin(
            {"code": "console.log(1); await codemode.fix.echo({n: 1})"}, b.catalog, caller, handle=handle
        )
        recording = RunRecording.of(handle.log)
        found = await b.tool.repeat(recording)
        assert (found.ended, found.calls, found.logs, found.difference) == ("cancelled", 1, 1, None)
        longer = replace(recording, end=replace(recording.end, stopped=False))
        difference = (await b.tool.repeat(longer)).difference
        assert difference is not None and difference.words == "it waits where it had ended"


async def test_a_catalog_of_a_part_is_in_the_recording(engines: Engines) -> None:
    async with bench(engines) as b:
        server = CatalogServer(b.catalog.servers[0])
        part = Catalog.of([(server, server.visible(["echo", "search"]))], {"gone": "it is closed"})
        handle = RunHandle()
        handle.records = True
        code = "try { codemode.gone.x } catch (e) { return [e.message, Object.keys(codemode.fix)] }"
        await b.tool.begin({"code": code}, part, b.caller, handle=handle)
        recording = RunRecording.from_bytes(RunRecording.of(handle.log).as_bytes())
        assert recording.names is None
        assert "it is closed" in orjson.dumps(recording.end.value).decode()
        async with InProcessExecutor(engines(Limits())) as executor:
            assert (await CodeTool(executor).repeat(recording)).difference is None


async def test_what_cannot_be_repeated_is_not_a_recording(engines: Engines) -> None:
    with pytest.raises(NotRecordable, match="before its program began"):
        RunRecording.of(ProgramLog("return 1"))
    async with bench(engines) as b:
        handle = RunHandle()
        await b.tool.begin({"code": "return 1"}, b.catalog, b.caller, handle=handle)
        with pytest.raises(NotRecordable, match="not recorded"):
            RunRecording.of(handle.log)
        handle.records = True
        await b.tool.begin({"code": "return 1"}, b.catalog, b.caller, handle=handle)
        data = RunRecording.of(handle.log).as_bytes()
        for wrong in (b"", data[:-1], data + b"x", b"CMPK" + data[4:], data[:40] + bytes([data[40] ^ 1]) + data[41:]):
            with pytest.raises(ParkedUnreadable):
                RunRecording.from_bytes(wrong)
        assert handle.log is not None
        handle.log.whole = False
        with pytest.raises(NotRecordable, match="more than a recording may have"):
            RunRecording.of(handle.log)


async def test_all_values_of_a_recording_are_among_its_texts(engines: Engines) -> None:
    async with InProcessExecutor(engines(Limits())) as executor:
        code = "console.log('in-log'); const r = await codemode.s.say({text: 'in-call'}); return 'in-' + 'result'"
        recording = await recorded(CodeTool(executor), code)
    texts = "\n".join(recording.texts())
    assert all(one in texts for one in ("in-log", "in-call", "in-result", "codemode.s.say"))
    assert recording.logs == [LogLine("log", "in-log")]


async def test_step_calls_its_function_and_returns_its_promise(engines: Engines) -> None:
    code = """
        const a = await codemode.step("fetch", async () => (await codemode.s.echo({n: 4})).n);
        const b = await codemode.step("plain", () => 5);
        const c = await codemode.step("fails", () => { throw new Error("no") }).catch(error => error.message);
        const d = await codemode.step("none").catch(error => error.message);
        return [a, b, c, d, Object.keys(codemode).includes("step")]
    """
    async with InProcessExecutor(engines(Limits())) as executor:
        recording = await recorded(CodeTool(executor), code)
    assert recording.end.value == [4, 5, "no", "codemode.step takes a name and a function", True]
    assert [one.name for one in recording.log.calls] == ["s.echo"]
