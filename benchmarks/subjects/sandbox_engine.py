"""Ours, the engine in process: one thread, no event loop, so that the engine alone is timed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.cases import Case, Measurement, Reading
from benchmarks.programs import FIB, MARSHAL_CHARS, marshal_rows
from sandbox import Completed, Engine, Failed, Limits, Outcome, Settlement, Suspended

NOW = 1_790_000_000_000.0
SEED = bytes(32)
SUSPENDED_RUNS = 10_000
ONE_CALL = "async () => { await host.call({}) }"
SEQUENCE = "let sum = 0; for (let i = 0; i < 100; i++) sum += (await host.call({ i })).i; sum"
PARALLEL = "(await Promise.all(Array.from({ length: 100 }, (_, i) => host.call({ i })))).length"


def cases() -> Mapping[str, Case | Reading]:
    return {
        "fresh": Case(fresh, rounds=400),
        "sequence": Case(lambda: answering(SEQUENCE, lambda given: given), per=100, rounds=40),
        "parallel_100": Case(lambda: answering(PARALLEL, lambda given: given), rounds=60),
        "marshal_1kb": Case(lambda: marshal(MARSHAL_CHARS["marshal_1kb"])),
        "marshal_1mb": Case(lambda: marshal(MARSHAL_CHARS["marshal_1mb"]), rounds=20),
        "fib": Case(fib, rounds=15),
        "suspended_10000": Reading(suspended_runs),
    }


def run(engine: Engine, source: str, answer: Callable[[Any], Any]) -> Outcome:
    with engine.isolate() as isolate:
        outcome = isolate.start(source, NOW, SEED)
        while isinstance(outcome, Suspended):
            outcome = isolate.resume([Settlement.value(call.id, answer(call.arguments)) for call in outcome.calls], NOW)
    if isinstance(outcome, Failed):
        raise RuntimeError(f"the benchmark's program failed: {outcome.error}")
    return outcome


def answering(source: str, answer: Callable[[Any], Any]) -> Callable[[], object]:
    engine = Engine(Limits(cpu_time=60, result=4 << 20))
    return lambda: run(engine, source, answer)


def fresh() -> Callable[[], object]:
    return answering("async () => 1 + 2", lambda _: None)


def marshal(size: int) -> Callable[[], object]:
    rows = marshal_rows(size)
    return answering("return await host.call({})", lambda _: rows)


def fib() -> Callable[[], object]:
    """As the native peer's case does, the function is defined once in a context that lives on; calls are timed."""
    engine = Engine(Limits(cpu_time=600, calls=100_000))
    isolate = engine.isolate()
    isolate.start(f"{FIB}; for (;;) await host.call({{ n: fib(24) }})", NOW, SEED)
    call = 0

    def operation() -> object:
        nonlocal call
        call += 1
        return isolate.resume([Settlement.value(call, None)], NOW)

    return operation


def suspended(engine: Engine, source: str) -> Any:
    isolate = engine.isolate()
    outcome = isolate.start(source, NOW, SEED)
    if not isinstance(outcome, Suspended):
        raise RuntimeError(f"the benchmark's program did not suspend: {outcome}")
    return isolate


def suspended_runs(once: bool) -> Measurement:
    """Resident bytes per live suspended run, and proof that the last of ten thousand still answers."""
    count = 100 if once else SUSPENDED_RUNS
    engine = Engine(slots=count + 1)
    suspended(engine, ONE_CALL).close()
    before = resident()
    runs = [suspended(engine, ONE_CALL) for _ in range(count)]
    each = (resident() - before) / count
    outcome = runs[-1].resume([Settlement.value(1, None)], NOW)
    if not isinstance(outcome, Completed):
        raise RuntimeError(f"a run suspended among {count} did not complete: {outcome}")
    return Measurement(each, each, "B", f"{count:,} suspended at once")


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
