"""Runs that park: what they wait for, what is left of them, and how they go on, here and in another build."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from codemode import (
    ParkedProgram,
    RunHandle,
    ToolCall,
    ToolReturned,
    Waiting,
)
from sandbox import Engine, Limits
from tests.codemode.bench import Answer, Bench, bench
from tests.patience import PATIENCE

Engines = Callable[[Limits], Engine]
pytestmark = pytest.mark.anyio
APPROVAL = Waiting("Approve fix.echo", "https://portal.example/approve/a1", kind="approval", repeatable=True)
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
