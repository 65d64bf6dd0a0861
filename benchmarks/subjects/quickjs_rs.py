"""quickjs-rs: QuickJS-ng in Wasmtime from Python, values crossing one handle at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import quickjs_rs

from benchmarks.cases import Case
from benchmarks.programs import FIB, MARSHAL_CHARS, marshal_rows

# One loop for all rounds: making a loop is asyncio's cost, not the engine's.
LOOP = asyncio.new_event_loop()


def cases() -> dict[str, Case]:
    return {
        "fresh": Case(lambda: fresh, rounds=40),
        "fib": Case(fib, rounds=15),
        "marshal_1kb": Case(lambda: marshal(MARSHAL_CHARS["marshal_1kb"]), rounds=10),
        "sequence": Case(
            lambda: running("let s = 0; for (let i = 0; i < 100; i++) s += (await echo({ i })).i; s"), 100, 5
        ),
        "parallel_100": Case(
            lambda: running("(await Promise.all(Array.from({ length: 100 }, (_, i) => echo({ i })))).length"), rounds=5
        ),
    }


def fresh() -> object:
    runtime = quickjs_rs.Runtime()
    try:
        with runtime.new_context() as context:
            return LOOP.run_until_complete(context.eval_async("await (async () => 1 + 2)()"))
    finally:
        runtime.close()


def fib() -> Callable[[], object]:
    context = quickjs_rs.Runtime().new_context(timeout=60)
    context.eval(FIB)
    return lambda: context.eval("fib(24)")


def running(program: str) -> Callable[[], object]:
    async def echo(given: Any) -> Any:
        return given

    return lambda: with_context(program, echo)


def marshal(size: int) -> Callable[[], object]:
    rows = marshal_rows(size)

    async def echo(_: Any) -> Any:
        return rows

    return lambda: with_context("await echo({})", echo)


def with_context(program: str, echo: Callable[[Any], Awaitable[Any]]) -> object:
    runtime = quickjs_rs.Runtime()
    try:
        with runtime.new_context(timeout=60) as context:
            context.register("echo", echo)
            return LOOP.run_until_complete(context.eval_async(program))
    finally:
        runtime.close()
