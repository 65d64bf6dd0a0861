"""Kills, cancellations, refusals, freezes and endless programs at once: every run ends, and nothing stays taken."""

import asyncio
import contextlib
import os
import random
import signal

import pytest

from sandbox import (
    Engine,
    EngineError,
    Executor,
    Failed,
    Image,
    InProcessExecutor,
    Limits,
    Outcome,
    Settlement,
    Suspended,
    WorkerExecutor,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

PROGRAMS: dict[str, set[str | None]] = {
    "1 + 1": {None},
    "let s = 0; for (let i = 0; i < 5; i++) s += await H.add(i); s": {None},
    "await H.x(); let t = 0; for (let i = 0; i < 1e5; i++) t += i; t": {None},
    "for (;;) {}": {"cpu_time"},
    "await H.x(); for (;;) {}": {"cpu_time"},
    "const a = []; for (;;) a.push(new ArrayBuffer(1e6))": {"memory", "cpu_time"},
}
"""Each with the limits it may end at; None: with its value."""
PRELOAD = "globalThis.H = new Proxy({}, { get: (_, name) => (argument) => host.call(name, argument) })"
LIMITS = Limits(cpu_time=0.08, wall_time=120.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def drive(executor: Executor, image: Image, source: str, dice: random.Random) -> Outcome:
    execution = executor.execution(image, identity=dice.choice("abcde"))
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(execution)
        outcome = await execution.start(source, 0.0, bytes(32))
        while isinstance(outcome, Suspended):
            if dice.random() < 0.3:
                frozen = await execution.freeze()
                await execution.aclose()
                execution = await stack.enter_async_context(executor.thaw(frozen, identity="thawed"))
            outcome = await execution.resume([Settlement.value(call.id, 1) for call in outcome.calls], 0.0)
        return outcome


async def attempt(executor: Executor, image: Image, dice: random.Random) -> None:
    source = dice.choice(list(PROGRAMS))
    task = asyncio.create_task(drive(executor, image, source, dice))
    if dice.random() < 0.3:
        await asyncio.wait([task], timeout=dice.random() / 10)
        task.cancel()
    try:
        outcome = await task
    except (EngineError, asyncio.CancelledError):
        return
    assert (outcome.error.kind if isinstance(outcome, Failed) else None) in PROGRAMS[source]


async def murder(executor: WorkerExecutor, dice: random.Random) -> None:
    while True:
        await asyncio.sleep(dice.random())
        for pid in executor.pids[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, dice.choice([signal.SIGKILL, signal.SIGABRT, signal.SIGSTOP]))


@pytest.mark.parametrize("kind", ["threads", "workers"])
async def test_whatever_happens_every_run_ends_and_nothing_stays_taken(kind: str) -> None:
    dice = random.Random(kind)
    async with contextlib.AsyncExitStack() as stack:
        executor: Executor
        murderer = None
        if kind == "workers":
            workers = WorkerExecutor(LIMITS, workers=2, isolates=5, queue=20, quantum=0.01)
            executor = await stack.enter_async_context(workers)
            murderer = asyncio.create_task(murder(workers, dice))
        else:
            engine = stack.enter_context(Engine(LIMITS))
            executor = await stack.enter_async_context(InProcessExecutor(engine, parallel=2, queue=20, quantum=0.01))
        image = await executor.image(PRELOAD)
        for _ in range(3):
            await asyncio.gather(*(attempt(executor, image, dice) for _ in range(30)))
        assert "0 computing, 0 parked, 0 waiting" in repr(executor)
        if murderer is not None:
            murderer.cancel()
            assert "0 runs" in repr(executor)
