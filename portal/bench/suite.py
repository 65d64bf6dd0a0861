"""Runs the cases of a suite in order, each against its own mocks or recording."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from portal.bench.backend import Backend
from portal.bench.cases import Case
from portal.bench.mocks import Mocks, document_mocks, open_mocks
from portal.bench.recording import read_recording
from portal.bench.replay import Replay
from portal.bench.session import NO_INPUT, Bench, ProgramRun
from portal.bench.tool_lists import read_servers
from portal.bench.verdict import Mismatch, verdict
from portal.config import read_text
from portal.errors import InputError
from sandbox import Limits

State = Literal["passed", "failed", "error", "skipped"]
_WORD = re.compile(r"\s*(\(|\)|[^\s()]+)")


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """The result of a case. In the state "error" it could not run. `reason` says why, as for a skipped case.

    `mismatches` are the differences of a failed case, `seconds` its real duration.
    """

    case: Case
    state: State
    seconds: float = 0.0
    source: str = ""
    program_run: ProgramRun | None = None
    mismatches: tuple[Mismatch, ...] = ()
    reason: str | None = None


class Suite:
    """Runs cases. Cases with the same limits share an engine and nothing else. An async context manager."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._benches: dict[Limits, Bench] = {}

    async def __aenter__(self) -> Suite:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def results(self, cases: Sequence[Case], *, stop_early: bool = False) -> AsyncIterator[CaseResult]:
        """The results in order. With `stop_early` the first failure or error is the last one."""
        for case in cases:
            result = await self.run(case)
            yield result
            if stop_early and result.state in ("failed", "error"):
                return

    async def run(self, case: Case) -> CaseResult:
        if case.skip is not None:
            return CaseResult(case=case, state="skipped", reason=case.skip)
        if case.broken is not None:
            return CaseResult(case=case, state="error", reason=case.broken)
        assert case.program is not None
        started = time.perf_counter()
        try:
            source = read_text(case.program)
            async with AsyncExitStack() as stack:
                backend = await _backend(case, stack)
                bench = await self._bench(case.limits)
                program_input = case.input if case.has_input else NO_INPUT
                program_run = await bench.run(source, backend, input=program_input, title=case.program.name)
        except InputError as error:
            seconds = time.perf_counter() - started
            return CaseResult(case=case, state="error", reason=str(error), seconds=seconds)
        mismatches = tuple(verdict(case.expect, program_run))
        return CaseResult(
            case=case,
            state="failed" if mismatches else "passed",
            seconds=time.perf_counter() - started,
            source=source,
            program_run=program_run,
            mismatches=mismatches,
        )

    async def _bench(self, limits: Limits) -> Bench:
        if limits not in self._benches:
            self._benches[limits] = await self._stack.enter_async_context(Bench(limits))
        return self._benches[limits]


async def _backend(case: Case, stack: AsyncExitStack) -> Backend:
    if case.replay is not None:
        return Replay(read_recording(case.replay)).backend()
    mocks = await _mocks(case, stack)
    # The time and seed in a file of mocks are for runs by hand. A test has its own.
    return mocks.backend(now=case.now, seed=case.seed, wall_time=case.limits.wall_time)


async def _mocks(case: Case, stack: AsyncExitStack) -> Mocks:
    if isinstance(case.mocks, Path):
        return await open_mocks(stack, case.mocks, tools=case.tools)
    servers = None if case.tools is None else read_servers(case.tools)
    return document_mocks({"mocks": case.mocks or {}}, case.id, case.file.parent, servers)


def select_cases(cases: Sequence[Case], words: str | None) -> list[Case]:
    """The cases whose id contains the words. `and`, `or`, `not` and brackets work as in pytest.

    Raises:
        InputError: the expression cannot be parsed.
    """
    if not words or not words.strip():
        return list(cases)
    tokens = _WORD.findall(words)
    _Words(tokens, "").whole()  # Find a mistake even if there are no cases.
    return [case for case in cases if _Words(tokens, case.id.lower()).whole()]


class _Words:
    """A recursive descent parser that evaluates an expression of words for one text."""

    def __init__(self, tokens: Sequence[str], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._place = 0

    def whole(self) -> bool:
        try:
            matched = self._either()
        except RecursionError as error:
            raise InputError("-k is nested too deep.") from error
        if self._place != len(self._tokens):
            raise InputError(f"-k cannot be read at {self._tokens[self._place]!r}.")
        return matched

    def _either(self) -> bool:
        matched = self._both()
        while self._take("or"):
            matched = self._both() or matched
        return matched

    def _both(self) -> bool:
        matched = self._one()
        while self._take("and"):
            matched = self._one() and matched
        return matched

    def _one(self) -> bool:
        if self._take("not"):
            return not self._one()
        if self._take("("):
            matched = self._either()
            if not self._take(")"):
                raise InputError("-k lacks a closing bracket.")
            return matched
        if self._place == len(self._tokens) or self._tokens[self._place] in (")", "and", "or"):
            raise InputError("-k lacks a word.")
        self._place += 1
        return self._tokens[self._place - 1].lower() in self._text

    def _take(self, token: str) -> bool:
        if self._place < len(self._tokens) and self._tokens[self._place] == token:
            self._place += 1
            return True
        return False
