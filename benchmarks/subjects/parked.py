"""Ours, parked: a program that waits for a person becomes a row of the database, is claimed, and goes on; alone, in
process. What is written is the checkpoint that a portal writes, in a file of SQLite, which waits for the disk.

`go_on_N` goes on after N earlier calls, from its frozen bytes; `replay_N` by its log, as in another build."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cases import Case, Measurement, Reading
from benchmarks.subjects.checks import catalog
from codemode import CallOutcome, CodeTool, ParkedProgram, RunHandle, ToolCall, ToolReturned, Waiting, common_preload
from portal.state import FinishedRun, KeyRing, Parking, RunClaim, RunDocument, Store, utc_now
from sandbox import Engine, InProcessExecutor

ROUNDS, ROUNDS_AFTER_CALLS = 200, 40
EARLIER = (1, 10, 100)
"""How many calls a program has made before the one that waits."""
PROGRAM = (
    "for (let i = 0; i < N; i++) await codemode.s1.get_1({id: `${i}`}); return (await codemode.s1.list_1({})).answer"
)
LEASE = timedelta(seconds=30)


def cases() -> Mapping[str, Case | Reading]:
    return {
        **{part: reading(opened, part) for part in ("park", "go_on", "both")},
        **{f"go_on_{calls}": reading(opened, "go_on", calls) for calls in EARLIER},
        **{f"replay_{calls}": reading(opened, "replay", calls) for calls in EARLIER if calls > 1},
    }


Opened = Callable[[], AbstractAsyncContextManager[Store]]


def reading(opened: Opened, part: str, calls: int = 0) -> Reading:
    """Seconds that a part takes in a database, for a program that has made so many calls before."""
    return Reading(partial(_read, opened, part, calls))


@asynccontextmanager
async def opened() -> AsyncIterator[Store]:
    with TemporaryDirectory(prefix="codemode-bench-") as folder:
        async with Store.open(f"sqlite:///{folder}/state.db", KeyRing.open(Path(folder) / "state.key")) as store:
            yield store


def _read(opened: Opened, part: str, calls: int, once: bool) -> Measurement:
    return asyncio.run(_measured(opened, part, calls, 1 if once else ROUNDS_AFTER_CALLS if calls else ROUNDS))


class Person:
    """A tool caller whose calls of `list_1` wait for a person until `there`."""

    def __init__(self) -> None:
        self.there = False

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        if call.tool == "list_1" and not self.there:
            assert call.on_wait is not None
            async with call.on_wait(Waiting("somebody", kind="approval", repeatable=True)):
                await asyncio.get_running_loop().create_future()
        return ToolReturned({"structuredContent": {"answer": 42}})


async def _measured(opened: Opened, part: str, calls: int, rounds: int) -> Measurement:
    """Seconds to `park` a program that waits, to claim it and have it `go_on` or `replay`, or for `both`."""
    found: list[float] = []
    tools, source = catalog(), PROGRAM.replace("N", str(calls))
    async with opened() as store, InProcessExecutor(Engine(common=common_preload())) as executor:
        tool = CodeTool(executor)
        await tool.prepare(tools)
        for number in range(rounds):
            id, person = f"exec_{number}", Person()
            waiting = RunHandle()
            waiting.park()
            parked = await tool.begin({"code": source}, tools, person, handle=waiting, run_id=id)
            assert isinstance(parked, ParkedProgram), parked
            if part == "replay":
                parked = replace(parked, build="another")
            began = time.perf_counter()
            await _park(store, id, parked)
            stored = time.perf_counter()
            claim = await _claimed(store, id)
            person.there = True
            again = await asyncio.to_thread(ParkedProgram.from_bytes, claim.checkpoint)
            answer = await tool.resume(again, tools, person, handle=RunHandle())
            ended = time.perf_counter()
            if isinstance(answer, ParkedProgram) or answer["structuredContent"].get("result") != 42:
                raise RuntimeError(f"the parked program did not go on: {answer}")
            finished = FinishedRun("completed", utc_now() + LEASE, RunDocument())
            await store.runs.end(id, claim.run.revision, finished)
            found.append({"park": stored - began, "both": ended - began}.get(part, ended - stored))
    return Measurement(min(found), statistics.median(found))


async def _park(store: Store, id: str, parked: ParkedProgram) -> None:
    data = await asyncio.to_thread(parked.as_bytes)
    parking = Parking(id=id, portal="", subject="ada", client="", reason="login", expires_at=utc_now() + 100 * LEASE)
    await store.runs.park(parking, data)


async def _claimed(store: Store, id: str) -> RunClaim:
    await store.runs.ready(id)
    (candidate,) = await store.runs.candidates(LEASE)
    claim = await store.runs.take(candidate, "benchmark", LEASE)
    assert claim is not None, "nobody else claims"
    return claim
