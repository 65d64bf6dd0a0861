"""Code mode of an instance: the isolates, the limits of a run and the type checker, replaced while programs run."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field

import structlog

from codemode import (
    HOW_TO_INSTALL_CHECKER,
    Catalog,
    Checker,
    CodeTool,
    LabelsOf,
    LoggedResume,
    Meanings,
    ParkedProgram,
    ProgramPlan,
    Reads,
    Replayed,
    RunHandle,
    RunRecording,
    ToolCaller,
    common_preload,
)
from portal.config import Config
from portal.errors import StartError
from sandbox import Limits, WorkerExecutor, WorkerLoad


@dataclass(eq=False, slots=True)
class _Generation:
    """A code tool with the executor it runs on, and how many runs it has. It closes after the last of them."""

    tool: CodeTool
    executor: WorkerExecutor
    exits: AsyncExitStack
    runs: int = 0
    replaced: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Programs:
    """Runs programs for every portal of an instance. `apply` takes other limits or another type check from the next run
    on; runs under way keep what they began with.

    `prepared_in` is how long the first isolates took, in seconds. `unconfined` names the measures that do not confine
    the workers on this machine, each with the reason.
    """

    def __init__(self, meanings: Meanings | None = None) -> None:
        """`meanings`: for programs that search by meaning too. It belongs to the caller."""
        self._meanings = meanings
        self.prepared_in = 0.0
        self.unconfined: Mapping[str, str] = {}
        self._settings: tuple[object, ...] = ()
        self._current: _Generation | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def apply(self, config: Config) -> None:
        """
        Raises:
            StartError: the limits cannot be used, or nothing here can check types and the configuration enforces it.
        """
        settings = (tuple(sorted(config.portal.limits.items())), config.portal.type_check)
        if self._current is not None and settings == self._settings:
            return
        checker, limits = checker_for(config), limits_of(config)
        async with AsyncExitStack() as stack:
            started = time.perf_counter()
            # The first start on a machine compiles the guest here; later ones take it from the cache.
            executor = await stack.enter_async_context(WorkerExecutor(limits, common=common_preload()))
            self.prepared_in = time.perf_counter() - started
            tool = CodeTool(executor, checker=checker, type_check=config.portal.type_check, meanings=self._meanings)
            former, self._current = self._current, _Generation(tool, executor, stack.pop_all())
        self._settings = settings
        self.unconfined = dict(item for found in executor.confinement for item in found.missing.items())
        if former is not None:
            self._retire(former)

    async def aclose(self) -> None:
        """Stop every run and the workers."""
        if self._current is not None:
            await self._current.exits.aclose()
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    # What an endpoint asks of a code tool

    def definition(self, catalog: Catalog, *, plans: bool = False) -> dict[str, object]:
        return self._generation.tool.definition(catalog, plans=plans)

    async def prepare(self, catalog: Catalog) -> None:
        await self._generation.tool.prepare(catalog)

    async def begin(
        self,
        arguments: Mapping[str, object],
        catalog: Catalog,
        caller: ToolCaller,
        *,
        handle: RunHandle,
        identity: str = "",
        run_id: str | None = None,
    ) -> dict[str, object] | ParkedProgram:
        with self._in_use() as tool:
            return await tool.begin(arguments, catalog, caller, identity=identity, run_id=run_id, handle=handle)

    async def plan(
        self,
        arguments: Mapping[str, object],
        catalog: Catalog,
        caller: ToolCaller,
        *,
        handle: RunHandle,
        identity: str = "",
        run_id: str | None = None,
        labels: LabelsOf | None = None,
        reads: Reads | None = None,
    ) -> ProgramPlan:
        with self._in_use() as tool:
            return await tool.plan(
                arguments,
                catalog,
                caller,
                identity=identity,
                run_id=run_id,
                handle=handle,
                labels=labels,
                reads=reads,
            )

    async def resume(
        self,
        parked: ParkedProgram,
        catalog: Catalog,
        caller: ToolCaller,
        *,
        handle: RunHandle,
        identity: str = "",
        tail: Sequence[LoggedResume] = (),
    ) -> dict[str, object] | ParkedProgram:
        with self._in_use() as tool:
            return await tool.resume(parked, catalog, caller, identity=identity, handle=handle, tail=tail)

    async def repeat(self, recording: RunRecording, *, identity: str = "") -> Replayed:
        with self._in_use() as tool:
            return await tool.repeat(recording, identity=identity)

    @contextmanager
    def _in_use(self) -> Iterator[CodeTool]:
        """The code tool for a run that begins. It is not closed before the block ends."""
        generation = self._generation
        generation.runs += 1
        try:
            yield generation.tool
        finally:
            generation.runs -= 1
            if generation.replaced and not generation.runs:
                generation.idle.set()

    @property
    def load(self) -> WorkerLoad:
        """What the workers do now, without those of earlier limits."""
        return self._generation.executor.load

    @property
    def _generation(self) -> _Generation:
        assert self._current is not None, "apply comes first"
        return self._current

    def _retire(self, generation: _Generation) -> None:
        generation.replaced = True
        if not generation.runs:
            generation.idle.set()
        task = asyncio.create_task(_closed_when_idle(generation))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _closed_when_idle(generation: _Generation) -> None:
    try:
        await generation.idle.wait()
    finally:
        await generation.exits.aclose()


def checker_for(config: Config, environment: Mapping[str, str] = os.environ) -> Checker:
    """What checks the types of programs before they run.

    Raises:
        StartError: the configuration enforces the check, and no type checker is installed.
    """
    checker, mode = Checker(environment), config.portal.type_check
    if mode == "off" or checker.compiler is not None:
        return checker
    missing = f"portal.typeCheck is `{mode}`, but no type checker is installed"
    if mode == "enforce":
        raise StartError(f"{missing}. Install one with: {HOW_TO_INSTALL_CHECKER}. Or set it to `warn`.")
    structlog.get_logger("codemode").warning("type_check_unavailable", reason=missing, fix=HOW_TO_INSTALL_CHECKER)
    return checker


def limits_of(config: Config) -> Limits:
    """
    Raises:
        StartError: the configured limits cannot be used.
    """
    try:
        return Limits(**dict(config.portal.limits))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise StartError(f"The configured limits cannot be used: {error}") from error
