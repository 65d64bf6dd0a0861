"""Runs programs against a backend, in isolates of this process, and says everything that happened."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from codemode import CodeTool, RealPace
from portal.bench.backend import Backend, Made, Observed
from portal.bench.recording import NotingPace, RecordedCall, Recording
from portal.bench.replay import Replay, ReplayDiverged
from sandbox import Engine, Execution, Executor, Image, InProcessExecutor, Limits

SLOTS = 32


class _Nothing:
    """Told apart from null, which is an input too."""


NO_INPUT: Final = _Nothing()


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What came of a run. `answer` is the `structuredContent` of the `code` tool, `content` its blocks.

    `elapsed_ms` is the program's own time, virtual under mocks and that of the recording in a replay; `real_ms` is how
    long it took. `made` are the calls that left the program, in order; `recording` is there when it was asked for,
    `divergence` when a replay was not the recorded run; `notes` are what the backend has to say to the developer.
    """

    answer: dict[str, Any]
    content: tuple[dict[str, Any], ...]
    elapsed_ms: float
    real_ms: float
    made: tuple[Made, ...] = ()
    recording: Recording | None = None
    divergence: ReplayDiverged | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def completed(self) -> bool:
        return self.answer.get("status") == "completed"


class Bench:
    """An async context manager for one event loop. Runs may overlap."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._engine: Engine | None = None
        self._executor: InProcessExecutor | None = None
        self._tool: CodeTool | None = None

    async def __aenter__(self) -> Bench:
        self._engine = await asyncio.to_thread(Engine, self.limits, slots=SLOTS)
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
    ) -> Ran:
        """Run a program. Nothing it does raises; cancelling the task stops it. `input` is its global of that name."""
        observed = Observed(backend.caller, backend.catalog)
        pace = backend.pace or RealPace()
        noted = NotingPace(pace) if record else None
        tool = self._tool_with(input)
        answer: dict[str, Any]
        divergence: ReplayDiverged | None = None
        started = time.perf_counter()
        try:
            result = await tool.run(
                {"code": source},
                backend.catalog,
                observed,
                run_id=run_id or secrets.token_hex(8),
                pace=noted or pace,
            )
            elapsed = pace.elapsed()
            answer, content = result["structuredContent"], tuple(result["content"])
            if isinstance(backend.caller, Replay):
                divergence = backend.caller.left()
        except ReplayDiverged as error:
            elapsed = pace.elapsed()
            divergence, answer, content = error, {"status": "failed", "executionId": "", "logs": [], "calls": []}, ()
        finally:
            if backend.finish is not None:
                await backend.finish()
        if divergence is not None:
            answer = {**answer, "status": "failed", "error": _error_of(divergence, answer.get("error") or {})}
            answer.pop("result", None)
        if backend.corrected is not None:
            backend.corrected(answer["calls"])
        recording = _recording(title, source, input, backend, noted, observed, answer) if noted is not None else None
        return Ran(
            answer=answer,
            content=content,
            elapsed_ms=elapsed,
            real_ms=(time.perf_counter() - started) * 1000,
            made=tuple(sorted(observed.made, key=lambda made: made.seq)),
            recording=recording,
            divergence=divergence,
            notes=tuple(backend.notes),
        )

    def _tool_with(self, given: Any) -> CodeTool:
        assert self._tool is not None and self._executor is not None, "the bench is used inside `async with`"
        if isinstance(given, _Nothing):
            return self._tool
        # A tool of its own: it keeps images by catalog, and this one has the input in it.
        return CodeTool(_WithInput(self._executor, given))


class _WithInput:
    """An `Executor` whose images have one more global, `input`. Closing stays with the executor inside."""

    def __init__(self, executor: Executor, given: Any) -> None:
        self._executor = executor
        # JSON twice: as an object literal `__proto__` would be no ordinary key.
        self._line = f"globalThis.input = JSON.parse({json.dumps(json.dumps(given))});"

    @property
    def limits(self) -> Limits:
        return self._executor.limits

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
    """The divergence as the run's error, with its place in the program where the failed call told it."""
    told = divergence.message in str(error.get("message"))
    place: dict[str, Any] = {key: error[key] for key in ("line", "column", "snippet", "stack") if told and key in error}
    return {"kind": "replay", "name": "ReplayDiverged", "message": divergence.message, **place}


def _recording(
    title: str,
    source: str,
    given: Any,
    backend: Backend,
    noted: NotingPace,
    observed: Observed,
    answer: dict[str, Any],
) -> Recording:
    times = {call["seq"]: (call.get("at", 0.0), call.get("ms", 0.0)) for call in answer["calls"]}
    calls = tuple(
        RecordedCall(made.seq, made.server, made.tool, made.arguments, made.outcome, *times.get(made.seq, (0.0, 0.0)))
        for made in sorted(observed.made, key=lambda made: made.seq)
    )
    return Recording(
        title=title,
        source=source,
        input=None if isinstance(given, _Nothing) else given,
        has_input=not isinstance(given, _Nothing),
        now=noted.start,
        seed=noted.seed,
        servers=backend.catalog.servers,
        unavailable=backend.catalog.unavailable,
        calls=calls,
        resumes=tuple(noted.resumes),
        answer=answer,
    )
