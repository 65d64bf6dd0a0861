"""Checks of the engine: a worker starts as `codemode serve` starts it, runs a program, and is confined."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from portal.app import limits_of
from portal.config import Config
from portal.doctor.findings import Diagnosis, notice, ok, trouble
from portal.errors import StartError
from sandbox import Completed, SandboxError, WorkerExecutor

PROGRAM = "1 + 2"
# The first start of a version on a machine compiles the guest.
ENGINE_SECONDS = 18.0


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What came of it. `problem` says why the program did not run; `unconfined` are the missing measures, each with the
    reason."""

    seconds: float = 0.0
    right: bool = False
    problem: str = ""
    out_of_time: bool = False
    unconfined: Mapping[str, str] = field(default_factory=dict)


async def engine_facts(config: Config | None) -> EngineFacts:
    """Start one worker and run a program in it."""
    began = time.perf_counter()
    try:
        async with (
            asyncio.timeout(ENGINE_SECONDS),
            WorkerExecutor(limits_of(config or Config()), workers=1) as executor,
            executor.execution() as run,
        ):
            outcome = await run.start(PROGRAM, time.time() * 1000, bytes(32))
            right = isinstance(outcome, Completed) and outcome.value == 3
            missing = dict(item for found in executor.confinement for item in found.missing.items())
            return EngineFacts(
                time.perf_counter() - began, right, "" if right else "its result is wrong", False, missing
            )
    except TimeoutError:
        return EngineFacts(time.perf_counter() - began, out_of_time=True)
    except (SandboxError, StartError, OSError) as error:
        return EngineFacts(time.perf_counter() - began, problem=str(error)[:300] or type(error).__name__)


def engine_findings(facts: EngineFacts) -> Iterator[Diagnosis]:
    """Everything about the engine. Pure."""
    if facts.out_of_time:
        text = f"No isolate was ready within {ENGINE_SECONDS:g} s; the first start on a machine compiles the guest."
        yield trouble("engine.runs", "engine", text, "codemode demo, once; then codemode doctor again")
        return
    if not facts.right:
        text = f"No program can run here: {facts.problem.rstrip('.')}."
        yield trouble("engine.runs", "engine", text, "correct `portal.limits`, or install codemode-portal again")
        return
    yield ok("engine.runs", "engine", f"A worker starts and runs `{PROGRAM}` within {facts.seconds:.1f} s.")
    for measure, why in facts.unconfined.items():
        text = f"Workers are not confined by {measure} here: {why.rstrip('.')}."
        yield notice("engine.confinement", "engine", text, "a newer kernel, or fewer restrictions of the container")
    if not facts.unconfined:
        yield ok("engine.confinement", "engine", "The kernel confines the workers.")
