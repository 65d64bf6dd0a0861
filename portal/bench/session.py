"""Runs programs against a backend, in isolates of this process."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from codemode import CodeTool, ProgramPlan, RealPace, common_preload
from portal.bench.backend import Backend, MadeCall, SessionJournal
from portal.bench.recording import RecordedCall, Recording, RecordingPace
from portal.bench.replay import Replay, ReplayDiverged
from sandbox import Engine, Execution, Executor, Image, InProcessExecutor, Limits

SLOTS = 32


class _Nothing:
    """Stands for no input. Null is an input."""


NO_INPUT: Final = _Nothing()


@dataclass(frozen=True, kw_only=True)
class ProgramRun:
    """A finished run. `answer` is the `structuredContent` of the `code` tool, `content` its blocks.

    `elapsed_ms` is the time in the program: virtual with mocks, recorded in a replay. `real_ms` is the real time.
    `calls` are the program's calls, in order. `recording` is set if the run was recorded, `divergence` if a replay
    differed from its recording. `notes` are messages of the backend for the developer.
    """

    answer: dict[str, Any]
    content: tuple[dict[str, Any], ...]
    elapsed_ms: float
    real_ms: float
    calls: tuple[MadeCall, ...] = ()
    recording: Recording | None = None
    divergence: ReplayDiverged | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def completed(self) -> bool:
        return self.answer.get("status") == "completed"


class Bench:
    """Runs programs with one set of limits. An async context manager for one event loop. Runs may overlap."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._engine: Engine | None = None
        self._executor: InProcessExecutor | None = None
        self._tool: CodeTool | None = None

    async def __aenter__(self) -> Bench:
        self._engine = await asyncio.to_thread(Engine, self.limits, slots=SLOTS, common=common_preload())
        self._executor = InProcessExecutor(self._engine)
        self._tool = CodeTool(self._executor)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._executor is not None:
            await self._executor.aclose()
        if self._engine is not None:
            self._engine.close()

    async def run(
        self,
        source: str,
        backend: Backend,
        *,
        input: Any = NO_INPUT,
        record: bool = False,
        title: str = "program.js",
        run_id: str | None = None,
    ) -> ProgramRun:
        """The finished run of a program. Its failure is in the answer and raises nothing; cancelling the task stops it.

        `input` is the program's global `input`, `title` the name in messages.
        """
        journal = SessionJournal(backend.caller, backend.catalog)
        pace = backend.pace or RealPace()
        recorder = RecordingPace(pace) if record else None
        tool = self._tool_with(input)
        answer: dict[str, Any]
        divergence: ReplayDiverged | None = None
        started = time.perf_counter()
        try:
            result = await tool.run(
                {"code": source},
                backend.catalog,
                journal,
                run_id=run_id or secrets.token_hex(8),
                pace=recorder or pace,
            )
            elapsed = pace.elapsed()
            answer, content = result["structuredContent"], tuple(result["content"])
            if isinstance(backend.caller, Replay):
                divergence = backend.caller.final_divergence()
        except ReplayDiverged as error:
            elapsed = pace.elapsed()
            divergence, answer, content = error, {"status": "failed", "executionId": "", "logs": [], "calls": []}, ()
        finally:
            if backend.finish is not None:
                await backend.finish()
        if divergence is not None:
            answer = {**answer, "status": "failed", "error": _error_of(divergence, answer.get("error") or {})}
            answer.pop("result", None)
        if backend.correct_times is not None:
            backend.correct_times(answer["calls"])
        recording = (
            _recording(title, source, input, backend, recorder, journal, answer) if recorder is not None else None
        )
        return ProgramRun(
            answer=answer,
            content=content,
            elapsed_ms=elapsed,
            real_ms=(time.perf_counter() - started) * 1000,
            calls=tuple(sorted(journal.calls, key=lambda call: call.seq)),
            recording=recording,
            divergence=divergence,
            notes=tuple(backend.notes),
        )

    async def plan(self, source: str, backend: Backend, *, input: object = NO_INPUT) -> ProgramPlan:
        """What a program would do: only calls that read reach the backend, which answers them at once."""
        try:
            return await self._tool_with(input).plan({"code": source}, backend.catalog, backend.caller)
        finally:
            if backend.finish is not None:
                await backend.finish()

    def _tool_with(self, input: Any) -> CodeTool:
        assert self._tool is not None and self._executor is not None, "the bench is used inside `async with`"
        if isinstance(input, _Nothing):
            return self._tool
        # A tool of its own: tools cache images by catalog, and this image contains the input.
        return CodeTool(_WithInput(self._executor, input))


class _WithInput:
    """An `Executor` whose images have one more global, `input`. It does not close the executor it wraps."""

    def __init__(self, executor: Executor, input: Any) -> None:
        self._executor = executor
        # JSON in a JSON string: in an object literal `__proto__` would set the prototype.
        self._line = f"globalThis.input = JSON.parse({json.dumps(json.dumps(input))});"

    @property
    def limits(self) -> Limits:
        return self._executor.limits

    async def build(self) -> str:
        return await self._executor.build()

    async def image(self, preload: str) -> Image:
        return await self._executor.image(f"{preload}\n{self._line}")

    def execution(self, image: Image | None = None, *, identity: str = "") -> Execution:
        return self._executor.execution(image, identity=identity)

    def thaw(self, frozen: bytes, *, identity: str = "") -> Execution:
        return self._executor.thaw(frozen, identity=identity)

    async def aclose(self) -> None:
        return None

    async def __aenter__(self) -> _WithInput:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


def _error_of(divergence: ReplayDiverged, error: dict[str, Any]) -> dict[str, Any]:
    """The divergence as the run's error, with the place in the program if the failed call has it."""
    quoted = divergence.message in str(error.get("message"))
    place: dict[str, Any] = {
        key: error[key] for key in ("line", "column", "snippet", "stack") if quoted and key in error
    }
    return {"kind": "replay", "name": "ReplayDiverged", "message": divergence.message, **place}


def _recording(
    title: str,
    source: str,
    input: Any,
    backend: Backend,
    recorder: RecordingPace,
    journal: SessionJournal,
    answer: dict[str, Any],
) -> Recording:
    times = {call["seq"]: (call.get("at", 0.0), call.get("ms", 0.0)) for call in answer["calls"]}
    calls = tuple(
        RecordedCall(call.seq, call.server, call.tool, call.arguments, call.outcome, *times.get(call.seq, (0.0, 0.0)))
        for call in sorted(journal.calls, key=lambda call: call.seq)
    )
    return Recording(
        title=title,
        source=source,
        input=None if isinstance(input, _Nothing) else input,
        has_input=not isinstance(input, _Nothing),
        now=recorder.start,
        seed=recorder.seed,
        servers=backend.catalog.servers,
        unavailable=backend.catalog.unavailable,
        calls=calls,
        resumes=tuple(recorder.resumes),
        answer=answer,
    )
