"""A newcomer behind 64 hostile programs of one person: how long their first program takes, as `serve` runs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.cases import Measurement, Reading
from codemode import Catalog, CodeTool, FairThreads, ToolFailed, work_for
from sandbox import Limits, WorkerExecutor
from stubs import Server, Tool

SECONDS = 8.0
EVERY = 0.1
PROGRAMS = 64
HOSTILE = (
    "for (;;) {}",
    "const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(7))",
    "/^(a+)+$/.test('a'.repeat(40) + 'b')",
    "for (;;) await new Promise(r => setTimeout(r, 0))",
    "for (;;) { for (let i = 0; i < 1e5; i++); await new Promise(r => setTimeout(r, 0)) }",
    "for (;;) await Promise.all(Array.from({length: 16}, () => codemode.slow.wait({})))",
    "for (;;) await Promise.all(Array.from({length: 16}, (_, i) => codemode.search('zzq wxyv ' + i)))",
    "for (;;) console.log('x'.repeat(1000))",
    "let x = 0;\n" + "x += (1 + 2) * 7;\n" * 3_000 + "export default async (n: number) => x",
    "interface A { a: number }\n" + "".join(f"const v{n}: number[] = [1];\n" for n in range(1_500)),
    "const x = ;\n" + "f(x);\n" * 8_000,
    "const o = {};\n" + "o.a = 1;\n" * 5_000 + "o.b.c.d()",
)
FIRST = ("return 1 + 1", "const a: number = 2; return a", "await codemode.search('wait'); return 2")


class Slow:
    """Calls that take as long as the program lasts."""

    async def call_tool(self, call: Any) -> ToolFailed:
        await asyncio.Event().wait()
        return ToolFailed("never")


def cases() -> Mapping[str, Reading]:
    return {"newcomer": Reading(newcomer)}


def newcomer(once: bool) -> Measurement:
    return asyncio.run(_newcomer(0.3 if once else SECONDS))


async def _newcomer(seconds: float) -> Measurement:
    """Nine of ten newcomers have their answer in this time; one comes every tenth of a second."""
    asyncio.get_running_loop().set_default_executor(FairThreads())
    catalog = Catalog.build([Server(id="slow", tools=(Tool(name="wait", description="Wait."),))])
    async with WorkerExecutor(Limits()) as executor:
        tool = CodeTool(executor)
        await tool.prepare(catalog)
        await tool.run({"code": FIRST[1]}, catalog, Slow())

        async def attack(source: str) -> None:
            work_for("hostile")
            while True:
                await tool.run({"code": source}, catalog, Slow(), identity="hostile")

        async def come(number: int) -> float:
            work_for(f"newcomer {number}")
            began = time.perf_counter()
            source = FIRST[number % len(FIRST)]
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
