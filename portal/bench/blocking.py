"""The bench without `async`, for tests and scripts: programs run on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from codemode import CallOutcome, ToolReturned
from portal.bench.backend import Backend
from portal.bench.cases import NOW, SEED
from portal.bench.mocks import Mocks, open_mocks
from portal.bench.recording import read_recording, write_recording
from portal.bench.replay import Replay
from portal.bench.session import NO_INPUT, Bench, ProgramRun
from portal.bench.tool_lists import read_servers, servers_of
from portal.bench.virtual_time import parse_seed, parse_time
from portal.config import read_text
from sandbox import Limits
from stubs import Server

T = TypeVar("T")


class ProgramFailed(AssertionError):
    """A program failed, so it has no value. The message shows its error in its source."""


@dataclass(frozen=True, slots=True)
class ProgramCall:
    """A call of a program. `result` is the raw MCP result, or None if the call has none."""

    tool: str
    arguments: dict[str, Any]
    status: str
    result: dict[str, Any] | None = None


class RunResult:
    """The result of a run, for assertions. `program_run` has every detail."""

    def __init__(self, program_run: ProgramRun) -> None:
        self.program_run = program_run

    def __repr__(self) -> str:
        return f"<Result {self.program_run.answer['status']}, {len(self.calls)} calls>"

    @property
    def ok(self) -> bool:
        return self.program_run.completed

    @property
    def value(self) -> Any:
        """The value that the program returned, None for undefined. Raises `ProgramFailed` if it failed."""
        if self.error is not None:
            raise ProgramFailed(_failure_text(self.error, self.program_run))
        return self.program_run.answer.get("result")

    @property
    def error(self) -> dict[str, Any] | None:
        """The error of the program, or None if it completed.

        It has `kind`, `name`, `message`, and if they are known `line`, `column` and `snippet`.
        """
        return self.program_run.answer.get("error")

    @property
    def calls(self) -> list[ProgramCall]:
        """The calls of tools, in the order in which the program made them."""
        calls_by_seq = {made.seq: made for made in self.program_run.calls}
        return [
            ProgramCall(call["tool"], made.arguments, call["status"], _raw(made.outcome))
            for call in self.program_run.answer["calls"]
            if (made := calls_by_seq.get(call["seq"])) is not None
        ]

    @property
    def logs(self) -> list[str]:
        return [log["text"] for log in self.program_run.answer["logs"]]

    @property
    def emitted(self) -> list[dict[str, Any]]:
        """The content blocks of the answer that are not text."""
        return [block for block in self.program_run.content if block.get("type") != "text"]


class BlockingBench:
    """A thread with an event loop, and a `Bench` for each set of limits. A context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="codemode-bench", daemon=True)
        self._stack = AsyncExitStack()
        self._benches: dict[Limits, Bench] = {}

    def __enter__(self) -> BlockingBench:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.wait(self._stack.aclose())
            self.wait(self._loop.shutdown_default_executor())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that runs on the loop. An interrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def bench(self, limits: Limits) -> Bench:
        """The bench with these limits."""
        if limits not in self._benches:
            self._benches[limits] = await self._stack.enter_async_context(Bench(limits))
        return self._benches[limits]


class Codemode:
    """Runs programs against mocks or recordings. Relative paths start at `folder`."""

    def __init__(self, bench: BlockingBench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder

    def run(
        self,
        program: str | Path,
        *,
        mocks: Mapping[str, Any] | str | Path | None = None,
        tools: str | Path | Sequence[Any] | Mapping[str, Any] | None = None,
        input: Any = NO_INPUT,
        replay: str | Path | None = None,
        record: str | Path | None = None,
        now: str | float = NOW,
        seed: str | int = SEED,
        limits: Limits | None = None,
    ) -> RunResult:
        """The result of a program. `program` is its text, or the path of its file.

        `mocks` maps `server.tool` to rules or functions of the arguments, or is a file of mocks. Python mocks run on
        another thread. `tools` are saved tools: a file or a document. `now` and `seed` set time and randomness, which
        are the same in every run by default.

        Raises:
            InputError: a file, a mock or an option cannot be used. A program that fails raises nothing here.
        """
        return self._bench.wait(self._run(program, mocks, tools, input, replay, record, now, seed, limits or Limits()))

    async def _run(
        self,
        program: str | Path,
        mocks: Mapping[str, Any] | str | Path | None,
        tools: Any,
        program_input: Any,
        replay: str | Path | None,
        record: str | Path | None,
        now: str | float,
        seed: str | int,
        limits: Limits,
    ) -> RunResult:
        source = read_text(self._folder / program) if isinstance(program, Path) else program
        bench = await self._bench.bench(limits)
        async with AsyncExitStack() as stack:
            if replay is not None:
                recording = read_recording(self._folder / replay)
                program_input = recording.input if recording.has_input else NO_INPUT
                backend = Replay(recording).backend()
            else:
                opened = await self._mocks(stack, mocks, tools)
                start, chosen = parse_time(now, "now"), parse_seed(seed, "seed")
                backend = opened.backend(now=start, seed=chosen, wall_time=limits.wall_time)
            return RunResult(await self._run_and_record(bench, source, backend, program_input, record))

    async def _run_and_record(
        self, bench: Bench, source: str, backend: Backend, program_input: Any, record: str | Path | None
    ) -> ProgramRun:
        program_run = await bench.run(source, backend, input=program_input, record=record is not None)
        if record is not None and program_run.recording is not None:
            write_recording(program_run.recording, self._folder / record)
        return program_run

    async def _mocks(self, stack: AsyncExitStack, mocks: Any, tools: Any) -> Mocks:
        if isinstance(mocks, str | Path):
            saved = self._folder / tools if isinstance(tools, str | Path) else None
            return await open_mocks(stack, self._folder / mocks, tools=saved)
        return Mocks.of(mocks or {}, servers=self._servers(tools), title="the mocks of this test")

    def _servers(self, tools: Any) -> Sequence[Server] | None:
        if tools is None:
            return None
        if isinstance(tools, str | Path):
            return read_servers(self._folder / tools)
        if isinstance(tools, list | tuple) and tools and all(isinstance(one, Server) for one in tools):
            return tuple(tools)
        return servers_of(tools, "tools")


def _raw(outcome: CallOutcome | None) -> dict[str, Any] | None:
    return outcome.result if isinstance(outcome, ToolReturned) else None


def _failure_text(error: Mapping[str, Any], program_run: ProgramRun) -> str:
    place = f" at line {error['line']}" if error.get("line") else ""
    lines = [f"the program failed ({error['kind']}{place}): {error['name']}: {error['message']}"]
    lines += [str(error["snippet"])] if error.get("snippet") else []
    lines += [f"log: {log['text']}" for log in program_run.answer["logs"][-10:]]
    return "\n".join(lines)
