"""A newcomer behind 64 hostile programs of one person: how long their first program takes, as `serve` runs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from benchmarks.cases import Measurement, Reading
from codemode import Catalog, CodeTool, FairThreads, work_for
from sandbox import Limits, WorkerExecutor
from tests.hostile.crowd import HOSTILE, QUICK, SLOW, Slow

SECONDS = 8.0
EVERY = 0.1
PROGRAMS = 64


def cases() -> Mapping[str, Reading]:
    return {"newcomer": Reading(newcomer)}


def newcomer(once: bool) -> Measurement:
    return asyncio.run(_newcomer(0.3 if once else SECONDS))


async def _newcomer(seconds: float) -> Measurement:
    """Nine of ten newcomers have their answer in this time; one comes every tenth of a second."""
    asyncio.get_running_loop().set_default_executor(FairThreads())
    catalog = Catalog.build([SLOW])
    async with WorkerExecutor(Limits()) as executor:
        tool = CodeTool(executor)
        await tool.prepare(catalog)
        await tool.run({"code": QUICK[1]}, catalog, Slow())

        async def attack(source: str) -> None:
            work_for("hostile")
            while True:
                await tool.run({"code": source}, catalog, Slow(), identity="hostile")

        async def come(number: int) -> float:
            work_for(f"newcomer {number}")
            began = time.perf_counter()
            source = QUICK[number % len(QUICK)]
            answer = await tool.run({"code": source}, catalog, Slow(), identity=f"newcomer {number}")
            if answer["structuredContent"].get("result") != 2:
                raise RuntimeError(f"a newcomer's program failed: {answer}")
            return time.perf_counter() - began

        hostile = [asyncio.create_task(attack(HOSTILE[n % len(HOSTILE)])) for n in range(PROGRAMS)]
        newcomers: list[asyncio.Task[float]] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            await asyncio.sleep(EVERY)
            newcomers.append(asyncio.create_task(come(len(newcomers))))
        took = sorted(await asyncio.gather(*newcomers))
        for task in hostile:
            task.cancel()
        await asyncio.gather(*hostile, return_exceptions=True)
    most = took[int(len(took) * 0.9)]
    return Measurement(took[0], most, "s", f"p50 {took[len(took) // 2] * 1e3:.1f} ms, most {took[-1] * 1e3:.0f} ms")
