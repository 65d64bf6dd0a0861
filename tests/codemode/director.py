"""A pace and a caller that settle calls in an order that depends on nothing but the program, and park it on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from codemode import (
    Agreement,
    Catalog,
    CodeTool,
    Flight,
    LoggedResume,
    ParkedProgram,
    RunHandle,
    ToolCall,
    ToolDenied,
    ToolFailed,
    ToolReturned,
    Waiting,
)
from sandbox import Settlement
from stubs import Server, Tool

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
CATALOG = Catalog.build(
    [
        Server("s", None, "Things", (Tool("echo"), Tool("fail"), Tool("deny"), Tool("say", None, "Says.", TEXT))),
        Server("big", None, "Large results", (Tool("rows"),)),
    ]
)
WAIT = Waiting("Somebody has to agree", kind="approval", repeatable=True)
START = 1_700_000_000_000.0
STEP = 7.0  # milliseconds from one resume to the next


Decision: TypeAlias = Literal["live", "park", "move", "crash"]
"""What happens at a suspension: nothing, a parking, one that goes on in another build, the end of the process."""


class ProcessDied(BaseException):
    """The process that ran a program is gone, with all that was in its memory."""


@dataclass
class Director:
    """The time and the answers of one run, which it keeps while the run is parked.

    At every suspension it settles the functions of `codemode` first, then some of the tool calls that wait: how many
    and which ones depends on the number of the suspension. Before that happens what `decide` says, by that number.
    """

    decide: Callable[[int], Decision] = lambda _: "live"
    step: int = 0
    time: float = START
    parkings: int = 0
    crashes: int = 0
    handle: RunHandle = field(default_factory=RunHandle)
    waiting: dict[int, asyncio.Event] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    decided_at: int = -1
    moves: bool = False
    made: list[tuple[int, str, str]] = field(default_factory=list)

    def begin(self) -> tuple[float, bytes]:
        return self.time, bytes(range(32))

    def now(self) -> float:
        return self.time

    def elapsed(self) -> float:
        return self.time - START

    async def settled(self, flight: Flight, wake_at: float | None) -> list[Settlement]:
        while flight.in_flight > len(self.waiting):
            await self._stir(flight)
        if flight.ready:
            ready, flight.ready = sorted(flight.ready, key=lambda one: one.id), []
            self.time += STEP
            return ready
        decision = self.decide(self.step) if self.decided_at != self.step else "live"
        self.decided_at = self.step
        if decision == "crash" and self.handle.journal is not None:
            raise ProcessDied
        if decision != "live":
            self.moves = decision == "move"
            self.handle.park()
            await flight.changed(5.0)  # raises, because all of them can be made again
            self.handle.unpark()
        self.step += 1
        if wake_at is not None and (not self.waiting or self.step % 3 == 0 or wake_at <= self.time):
            self.time = max(self.time, wake_at)
            return []
        waiting = sorted(self.waiting)
        chosen = [waiting[(self.step * 5 + at) % len(waiting)] for at in range(min(len(waiting), 1 + self.step % 3))]
        for seq in chosen:
            self.waiting.pop(seq).set()
        while len(flight.ready) < len(chosen) or flight.in_flight > len(self.waiting):
            await self._stir(flight)
        ready, flight.ready = flight.ready, []
        self.time += STEP
        ready = sorted(ready, key=lambda one: one.id)
        return ready if self.step % 2 else ready[::-1]

    async def _stir(self, flight: Flight) -> None:
        """Something happens: a call ends, or one begins to wait."""
        self.changed = asyncio.Event()
        wakes = asyncio.create_task(self.changed.wait())
        wakes.add_done_callback(lambda _: flight.wake())
        try:
            await flight.changed()
        finally:
            wakes.cancel()

    async def call_tool(self, call: ToolCall) -> Any:
        assert call.on_wait is not None
        async with call.on_wait(WAIT):
            event = self.waiting[call.seq] = asyncio.Event()
            self.changed.set()
            try:
                await event.wait()
            finally:
                if self.waiting.get(call.seq) is event:
                    del self.waiting[call.seq]
        self.made.append((call.seq, call.tool, repr(sorted(call.arguments.items()))))
        return outcome(call)


def outcome(call: ToolCall) -> Any:
    """What a tool answers, by its name alone."""
    match call.tool:
        case "fail":
            return ToolFailed(f"failed with {call.arguments.get('n')}", -32000, {"n": call.arguments.get("n")})
        case "deny":
            return ToolDenied("not today", "night", {"until": "tomorrow"})
        case "rows":
            count = int(call.arguments.get("count", 3))
            return ToolReturned({"structuredContent": [{"id": n, "name": f"row {n}"} for n in range(count)]})
        case "say":
            return ToolReturned({"content": [{"type": "text", "text": call.arguments["text"]}]})
    return ToolReturned({"structuredContent": call.arguments})


async def uninterrupted(tool: CodeTool, code: str) -> dict[str, Any]:
    """The answer of a run that nobody parks."""
    director = Director()
    return await tool.run({"code": code}, CATALOG, director, run_id="exec_1", pace=director, handle=director.handle)


async def interrupted(
    tool: CodeTool,
    code: str,
    decide: Callable[[int], Decision],
    *,
    records: bool = False,
    agreement: Agreement | None = None,
) -> tuple[dict[str, Any], Director]:
    """The answer of a run that is parked where `decide` says so, and goes on from its bytes and its journal. With an
    `agreement` it is parked too while that waits, and goes on in another build."""
    director, journal, data = Director(decide), Journal(), b""
    director.handle.records = records
    if agreement is not None:
        director.handle.agreement, director.moves = agreement, True
        director.handle.park()
    ended: dict[str, Any] | ParkedProgram | None = await tool.begin(
        {"code": code}, CATALOG, director, run_id="exec_1", pace=director, handle=director.handle
    )
    while not isinstance(ended, dict):
        if isinstance(ended, ParkedProgram):
            director.parkings += 1
            data, journal = ended.as_bytes(), Journal()
        director.handle, parked = RunHandle(), ParkedProgram.from_bytes(data)
        director.handle.journal, tail = journal, list(journal.resumes)
        parked = replace(parked, build="another") if director.moves else parked
        try:
            ended = await tool.resume(parked, CATALOG, director, pace=director, handle=director.handle, tail=tail)
        except ProcessDied:
            director.crashes += 1
            ended = None
    return ended, director


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    structured = answer["structuredContent"]
    calls = [{**call, "at": 0, "ms": 0} for call in structured["calls"]]
    return {**answer, "structuredContent": {**structured, "calls": calls}}


@dataclass
class Journal:
    """A `RunJournal` in a list."""

    resumes: list[LoggedResume] = field(default_factory=list)
    fails: Sequence[int] = ()

    async def resumed(self, resume: LoggedResume) -> None:
        if len(self.resumes) in self.fails:
            raise RuntimeError("another process has taken this run")
        self.resumes.append(LoggedResume.from_bytes(resume.as_bytes()))
