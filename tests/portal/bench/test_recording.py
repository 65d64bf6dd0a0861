"""Recordings: a replay is the same run, with the same time, randomness and results, or says where it is not."""

from __future__ import annotations

import asyncio
import json
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemode import CallOutcome, Catalog, ToolCall, ToolDenied, ToolFailed, ToolReturned
from portal.bench.backend import Backend
from portal.bench.blocking import BlockingBench
from portal.bench.recording import FILE, Recording, read_recording, write_recording
from portal.bench.replay import Replay
from portal.bench.session import NO_INPUT, ProgramRun
from portal.errors import InputError
from sandbox import Limits
from stubs import Server, Tool

CATALOG = Catalog.build([Server("t", tools=tuple(Tool(name) for name in ("get", "put", "fail", "deny", "never")))])
PROGRAM = """
const seen = [Math.random(), Date.now(), crypto.randomUUID()];
const tick = (ms) => new Promise((resolve) => setTimeout(() => { seen.push(["tick", ms]); resolve(); }, ms));
await Promise.all([1, 2, 3].map(async (n) => { seen.push(await codemode.t.get({ n })); await tick(n); }));
seen.push(await Promise.race([codemode.t.never(), tick(4).then(() => "gave up")]));
for (const name of ["fail", "deny"]) seen.push(await codemode.t[name]().catch((e) => [e.message, e.code, e.data]));
seen.push((await codemode.search("get")).length, Date.now(), Math.random());
console.log("seen", seen.length);
return seen;
"""


class Live:
    """A server that takes its time and never answers the same."""

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        await asyncio.sleep(random.random() / 100)
        if call.tool == "never":
            await asyncio.Event().wait()
        if call.tool == "fail":
            return ToolFailed("broken", -32000, {"why": [1]})
        if call.tool == "deny":
            return ToolDenied("not you")
        return ToolReturned({"structuredContent": {"given": call.arguments, "chance": random.random()}})


@pytest.fixture(scope="module")
def bench() -> Iterator[BlockingBench]:
    with BlockingBench() as made:
        yield made


def run(
    bench: BlockingBench, source: str, backend: Backend, *, record: bool = False, given: Any = NO_INPUT
) -> ProgramRun:
    async def ran() -> ProgramRun:
        return await (await bench.bench(Limits())).run(source, backend, record=record, input=given)

    return bench.wait(ran())


def recorded(bench: BlockingBench, source: str, given: Any = NO_INPUT) -> Recording:
    recording = run(bench, source, Backend(CATALOG, Live()), record=True, given=given).recording
    assert recording is not None
    return recording


def replayed(bench: BlockingBench, recording: Recording, source: str | None = None) -> ProgramRun:
    given = recording.input if recording.has_input else NO_INPUT
    return run(bench, recording.source if source is None else source, Replay(recording).backend(), given=given)


def outcome(answer: Any) -> dict[str, Any]:
    return {key: answer.get(key) for key in ("status", "result", "error", "logs", "calls")}


def test_a_replay_is_the_same_run_to_the_last_digit_of_its_times(bench: BlockingBench, tmp_path: Path) -> None:
    recording = recorded(bench, PROGRAM)
    write_recording(recording, tmp_path)
    again = replayed(bench, read_recording(tmp_path))
    assert again.divergence is None
    assert outcome(again.answer) == outcome(recording.answer)
    assert [call["status"] for call in again.answer["calls"]] == ["ok"] * 3 + ["cancelled", "error", "denied"]


@settings(max_examples=15)
@given(st.lists(st.sampled_from(["get", "put", "fail"]), min_size=1, max_size=6), st.integers(0, 2))
def test_the_order_in_which_calls_came_back_is_repeated(bench: BlockingBench, names: list[str], timers: int) -> None:
    source = f"""
    const seen = [];
    const note = (word) => (value) => seen.push([word, value?.chance ?? null, Date.now()]);
    const calls = {json.dumps(names)}.map((name, n) => codemode.t[name]({{ n }}).then(note(name), note("error")));
    for (let n = 0; n < {timers}; n++) setTimeout(note("timer"), 3 * n);
    await Promise.all(calls);
    return seen
    """
    recording = recorded(bench, source)
    again = replayed(bench, recording)
    assert again.divergence is None and outcome(again.answer) == outcome(recording.answer)


def test_a_program_in_typescript_and_its_input_are_replayed_too(bench: BlockingBench, tmp_path: Path) -> None:
    source = "const n: number = input.n; return [await codemode.t.get({ n }), Math.random()] as unknown[]"
    recording = recorded(bench, source, {"n": 4, "__proto__": {"x": 1}})
    write_recording(recording, tmp_path / "deep" / "er")
    kept = read_recording(tmp_path / "deep" / "er")
    assert kept == recording
    assert outcome(replayed(bench, kept).answer) == outcome(recording.answer)


def test_a_recording_is_for_its_owner_only_and_whole(bench: BlockingBench, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    file = write_recording(recorded(bench, "await codemode.t.get({ secret: 1 })"), folder)
    write_recording(recorded(bench, "await codemode.t.get({ secret: 2 })"), folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert '"secret": 2' in file.read_text()


TWO = "const a = await codemode.t.get({ n: 1 });\nconst b = await codemode.t.put({ n: 2 });\nreturn [a, b]"


@pytest.mark.parametrize(
    ("change", "said", "line"),
    [
        (("codemode.t.put", "codemode.t.get"), "call 2 is t.get, and was t.put in the recording", 2),
        (("n: 1", "n: 3"), 'recorded: {"n": 1}\n  now:      {"n": 3}', 1),
        (("return", "await codemode.t.get({});\nreturn"), "the recording has no call 3", 3),
        (("const b = await codemode.t.put({ n: 2 });", "const b = 1;"), "after 1 of 2 recorded calls; the next", None),
        (("const b", "await new Promise((r) => setTimeout(r, 5)); const b"), "something else than the recorded", None),
        (("return", "await new Promise((r) => setTimeout(r, 5)); return"), "where the recorded run had ended", None),
    ],
)
def test_a_replay_of_another_program_says_where_it_differs(
    bench: BlockingBench, change: tuple[str, str], said: str, line: int | None
) -> None:
    ran = replayed(bench, recorded(bench, TWO), TWO.replace(*change))
    assert ran.divergence is not None and not ran.completed
    assert said in ran.answer["error"]["message"] and ran.answer["error"]["name"] == "ReplayDiverged"
    assert ran.answer["error"].get("line") == line
    assert "result" not in ran.answer


def test_a_change_that_asks_for_the_same_is_no_divergence(bench: BlockingBench) -> None:
    ran = replayed(bench, recorded(bench, TWO), TWO.replace("return [a, b]", "console.log(1); return b"))
    assert ran.divergence is None and ran.answer["logs"][0]["text"] == "1"


def test_a_program_that_swallows_the_divergence_still_fails(bench: BlockingBench) -> None:
    source = TWO.replace("n: 1 })", "n: 9 }).catch(() => 0)")
    ran = replayed(bench, recorded(bench, TWO), source)
    assert ran.divergence is not None and ran.divergence.seq == 1 and ran.answer["status"] == "failed"


@pytest.mark.parametrize("damage", ['{"format": "x"}', "[]", "{", '{"format": "codemode-recording/1"}', "null"])
def test_a_damaged_recording_is_refused(tmp_path: Path, damage: str) -> None:
    (tmp_path / FILE).write_text(damage)
    with pytest.raises(InputError, match=FILE):
        read_recording(tmp_path)


def test_no_recording_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read"):
        read_recording(tmp_path)
