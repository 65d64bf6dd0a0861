"""Worker processes: what the hop costs, and whether the event loop keeps its beat while every worker burns CPU."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping

from benchmarks.cases import Case, Measurement, Reading
from benchmarks.portal_client import Loop
from benchmarks.subjects.sandbox_engine import NOW, SEED
from sandbox import CpuTimeExceeded, Failed, Limits, WorkerExecutor

BURN_SECONDS = 6.0
BEAT_SECONDS = 0.002


def cases() -> Mapping[str, Case | Reading]:
    return {
        "fresh": Case(fresh, rounds=300),
        "stall_p99": Reading(stall),
    }


def fresh() -> Callable[[], object]:
    loop, executor = Loop(), WorkerExecutor(Limits())
    loop.run(executor.__aenter__())

    async def once() -> object:
        async with executor.execution() as execution:
            return await execution.start("async () => 1 + 2", NOW, SEED)

    return lambda: loop.run(once())


def stall(once: bool) -> Measurement:
    """How late a timer of the event loop fires, beyond what it asked for, while a program loops on every worker."""
    return asyncio.run(_stall(0.3 if once else BURN_SECONDS))


async def _stall(seconds: float) -> Measurement:
    async with WorkerExecutor(Limits(cpu_time=seconds)) as executor:
        late: list[float] = []

        async def burn() -> None:
            async with executor.execution() as execution:
                outcome = await execution.start("for (;;) {}", NOW, SEED)
            if not (isinstance(outcome, Failed) and isinstance(outcome.error, CpuTimeExceeded)):
                raise RuntimeError(f"a program that loops for ever ended otherwise: {outcome}")

        async def beat() -> None:
            while True:
                began = time.perf_counter()
                await asyncio.sleep(BEAT_SECONDS)
                late.append(time.perf_counter() - began - BEAT_SECONDS)

        beating = asyncio.create_task(beat())
        async with asyncio.TaskGroup() as group:
            for _ in range(2 * (os.cpu_count() or 1)):
                group.create_task(burn())
        beating.cancel()
    late.sort()
    p99 = late[int(len(late) * 0.99)]
    return Measurement(p99, p99, "s", f"p50 {late[len(late) // 2] * 1e3:.2f} ms, most {late[-1] * 1e3:.1f} ms")
