"""Sixty-four hostile programs at once: good ones still answer, no identity waits for another's, the loop turns."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from sandbox import (
    Completed,
    Engine,
    EngineError,
    Execution,
    Executor,
    Failed,
    InProcessExecutor,
    Outcome,
    Overloaded,
    Settlement,
    Suspended,
    WorkerExecutor,
)

from .hostile.arena import NOW, QUICK, SEED, SLACK, MiB, resident
from .hostile.programs import DEEP, ENDLESS, GREEDY, SLOW_NATIVE

pytestmark = pytest.mark.anyio

LIMITS = replace(QUICK, cpu_time=0.025, memory=8 * MiB, calls=50)
HOSTILE = [
    *list(ENDLESS.values())[:14],
    *list(SLOW_NATIVE.values())[:14],
    *list(GREEDY.values())[:14],
    *list(DEEP.values())[:12],
    "for (;;) await host.x()",
    "for (;;) host.x()",
    "await Promise.all(Array.from({ length: 40 }, (_, i) => host.x(i))); for (;;) {}",
    "await host.never()",
    "await new Promise(() => {})",
    "for (let i = 0; i < 1e6; i++) console.log('x'.repeat(1000))",
    "'x'.repeat(7e6)",
    "host.x('x'.repeat(2e6))",
    "throw { get a() { for (;;) {} } }",
    "setInterval(() => {}, 0); await new Promise(() => {})",
]
ENDS = {"completed", "exception", "cpu_time", "wall_time", "memory", "stack", "calls", "size", "deadlock", "dropped"}
GOOD = "const a = await host.first(20), b = await host.second(a + 1); [a, b]"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["threads", "workers"])
async def executor(request: pytest.FixtureRequest) -> AsyncIterator[Executor]:
    if request.param == "workers":
        async with WorkerExecutor(LIMITS, workers=2) as workers:
            yield workers
    else:
        with Engine(LIMITS, slots=128) as engine:
            async with InProcessExecutor(engine, parallel=2) as threads:
                yield threads
            assert engine.live_isolates == 0


async def finish(execution: Execution, source: str, *, slices: int = 60) -> Outcome:
    """To its end; calls are echoed, but `never` is not answered. A run that waits for that is dropped."""
    outcome = await execution.start(source, NOW, SEED)
    now = NOW
    for _ in range(slices):
        if not isinstance(outcome, Suspended):
            break
        answers = [Settlement.value(call.id, call.arguments) for call in outcome.calls if call.name != "never"]
        if not answers and outcome.wake_at is None:
            break
        now = max(now, outcome.wake_at or now)
        outcome = await execution.resume(answers, now)
    return outcome


def kind(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return outcome.error.kind
    return "dropped" if isinstance(outcome, Suspended) else "completed"


async def attack(executor: Executor, number: int, ends: Counter[str]) -> None:
    async with executor.execution(identity=f"enemy {number % 4}") as execution:
        ends[kind(await finish(execution, HOSTILE[number % len(HOSTILE)]))] += 1


async def answer(executor: Executor, identity: str = "friend") -> None:
    async with executor.execution(identity=identity) as execution:
        outcome = await finish(execution, GOOD)
        assert outcome == Completed([20, 21]), outcome


async def test_sixty_four_hostile_runs_and_good_ones_that_answer(executor: Executor) -> None:
    assert len(HOSTILE) == 64
    before, ends = resident(), Counter[str]()
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    async with asyncio.TaskGroup() as group:
        enemies = [group.create_task(attack(executor, number, ends)) for number in range(64)]
        good = 0
        while not all(enemy.done() for enemy in enemies):
            await answer(executor)
            good += 1
    turning.cancel()
    assert ends.total() == 64
    assert set(ends) <= ENDS, ends
    assert ends["cpu_time"] >= 20
    assert good > 3
    assert turns > 1000
    await answer(executor)
    gc.collect()
    assert resident() - before < SLACK


async def test_a_good_run_does_not_wait_for_all_hostile_ones_before_it(executor: Executor) -> None:
    """Sixty endless programs of one identity are ahead of it, over a second of CPU; the good run overtakes them."""
    ended = 0

    async def flood() -> None:
        nonlocal ended
        async with executor.execution(identity="enemy") as execution:
            await finish(execution, ENDLESS["loop"])
            ended += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(60):
            group.create_task(flood())
        await asyncio.sleep(0)
        await answer(executor)
        assert ended < 40
        await answer(executor, "another friend")
        assert ended < 50
    assert ended == 60


async def test_the_runs_of_many_identities_end_in_turn(executor: Executor) -> None:
    order: list[str] = []

    async def run(identity: str, source: str) -> None:
        async with executor.execution(identity=identity) as execution:
            await finish(execution, source)
            order.append(identity)

    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(run("enemy", ENDLESS["loop"]))
        await asyncio.sleep(0)
        for number in range(10):
            group.create_task(run(f"friend {number}", "1 + 1"))
    last_friend = max(i for i, identity in enumerate(order) if identity != "enemy")
    assert order[: last_friend + 1].count("enemy") < 25


async def test_a_queue_that_is_full_turns_the_flooding_identity_away() -> None:
    with Engine(LIMITS, slots=64) as engine:
        async with InProcessExecutor(engine, parallel=1, queue=10) as executor:
            ends = Counter[str]()

            async def enemy() -> None:
                async with executor.execution(identity="enemy") as execution:
                    try:
                        ends[kind(await finish(execution, ENDLESS["loop"]))] += 1
                    except Overloaded:
                        ends["overloaded"] += 1

            async with asyncio.TaskGroup() as group:
                for _ in range(40):
                    group.create_task(enemy())
                await asyncio.sleep(0)
                for number in range(3):
                    await answer(executor, f"friend {number}")
            assert ends["overloaded"] >= 25
            assert ends["cpu_time"] >= 5
            assert set(ends) == {"overloaded", "cpu_time"}
        assert engine.live_isolates == 0


async def test_hostile_runs_that_are_dropped_at_any_moment_leave_nothing(executor: Executor) -> None:
    for round in range(4):
        tasks = [asyncio.create_task(attack(executor, number, Counter())) for number in range(round, len(HOSTILE), 4)]
        for _ in range(1 + 40 * round):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError | EngineError), result
        await answer(executor)


async def test_no_worker_dies_of_a_hostile_program() -> None:
    async with WorkerExecutor(LIMITS, workers=2) as executor:
        while len(executor.pids) < 2:
            await asyncio.sleep(0.01)
        pids, ends = executor.pids, Counter[str]()
        async with asyncio.TaskGroup() as group:
            for number in range(64):
                group.create_task(attack(executor, number, ends))
        assert ends.total() == 64
        assert sorted(executor.pids) == sorted(pids)
        for pid in pids:
            assert _resident_of(pid) < SLACK + 64 * LIMITS.memory


def _resident_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def test_a_newcomer_waits_one_turn_of_each_slot_behind_sixty_four_endless_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted in turns that the others begin while it waits, whatever the clock says."""
    async with WorkerExecutor(replace(LIMITS, cpu_time=60.0), workers=2) as executor:
        slots = executor._dispatch._slots
        turns: list[str] = []
        begin = slots._begin_turn

        def counted(identity: str, place: Any, *, counted: bool) -> None:
            turns.append(identity)
            begin(identity, place, counted=counted)

        monkeypatch.setattr(slots, "_begin_turn", counted)

        async def endless(number: int) -> None:
            async with executor.execution(identity="enemy") as execution:
                await finish(execution, list(ENDLESS.values())[number % 14])

        enemies = [asyncio.create_task(endless(number)) for number in range(64)]
        while slots.parked < 8:
            await asyncio.sleep(0)
        for number in range(5):
            turns.clear()
            async with executor.execution(identity=f"newcomer {number}") as execution:
                assert await execution.start("1 + 1", NOW, SEED) == Completed(2)
            assert turns.index(f"newcomer {number}") <= 2
        for enemy in enemies:
            enemy.cancel()
        await asyncio.gather(*enemies, return_exceptions=True)
