"""What every executor promises, tried on each: in this process, and in worker processes."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator

import pytest

from sandbox import (
    Completed,
    CpuTimeExceeded,
    Engine,
    EngineError,
    Execution,
    Executor,
    Failed,
    ForeignImage,
    GuestException,
    InProcessExecutor,
    IsolateClosed,
    Limits,
    LocalStateError,
    Outcome,
    Overloaded,
    Settlement,
    Suspended,
    WallTimeExceeded,
    WorkerExecutor,
)
from sandbox.executor import read_program

pytestmark = pytest.mark.anyio

SEED = bytes(32)
NOW = 1_700_000_000_000.0
ENDLESS = "for (;;) {}"
ADD_TWO = "const a = await host.first(1); const b = await host.second(a); a + b"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(params=["threads", "workers"])
async def executor(request: pytest.FixtureRequest) -> AsyncIterator[Executor]:
    """One guest at a time, to its end; at most three programs waiting."""
    limits = Limits(cpu_time=30.0)
    if request.param == "workers":
        async with WorkerExecutor(limits, workers=1, queue=3, quantum=1e6) as workers:
            yield workers
    else:
        with Engine(limits) as engine:
            async with InProcessExecutor(engine, parallel=1, queue=3, quantum=1e6) as threads:
                yield threads


async def run(execution: Execution, source: str) -> Outcome:
    return await execution.start(source, NOW, SEED)


async def test_a_program_runs_to_its_end(executor: Executor) -> None:
    async with executor.execution() as execution:
        assert await run(execution, "1 + 2") == Completed(3)
        assert execution.cpu_time > 0


async def test_a_program_suspends_and_is_resumed_with_values(executor: Executor) -> None:
    async with executor.execution() as execution:
        outcome = await run(execution, ADD_TWO)
        assert isinstance(outcome, Suspended)
        (call,) = outcome.calls
        assert (call.name, call.arguments) == ("first", 1)
        outcome = await execution.resume([Settlement.value(call.id, 20)], NOW)
        assert isinstance(outcome, Suspended)
        assert outcome.calls[0].arguments == 20
        assert await execution.resume([Settlement.value(outcome.calls[0].id, 22)], NOW) == Completed(42)


async def test_a_program_that_fails_is_a_value_and_not_an_exception(executor: Executor) -> None:
    async with executor.execution() as execution:
        outcome = await run(execution, "throw new TypeError('no')")
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, GuestException)
        assert (outcome.error.name, outcome.error.message, outcome.error.line) == ("TypeError", "no", 1)


async def test_steps_out_of_order_are_the_callers_mistake_and_change_nothing(executor: Executor) -> None:
    async with executor.execution() as execution:
        with pytest.raises(LocalStateError):
            await execution.resume([], NOW)
        with pytest.raises(LocalStateError):
            await execution.freeze()
        outcome = await run(execution, ADD_TWO)
        assert isinstance(outcome, Suspended)
        with pytest.raises(LocalStateError):
            await run(execution, "1")
        with pytest.raises(LocalStateError):
            await execution.resume([Settlement.value(99, 1)], NOW)
        with pytest.raises(LocalStateError):
            await execution.resume([Settlement.value(1, object())], NOW)
        assert isinstance(await execution.resume([Settlement.value(1, 1)], NOW), Suspended)


async def test_a_run_that_has_ended_says_so(executor: Executor) -> None:
    execution = executor.execution()
    await run(execution, "1")
    with pytest.raises(IsolateClosed):
        await execution.resume([], NOW)
    await execution.aclose()
    await execution.aclose()
    with pytest.raises(IsolateClosed):
        await run(execution, "1")


async def test_a_frozen_run_continues_in_another_execution_and_in_its_own(executor: Executor) -> None:
    async with executor.execution() as first:
        assert isinstance(await run(first, "let n = 40; n += await host.more(); n"), Suspended)
        frozen = await first.freeze()
        async with executor.thaw(frozen) as second:
            assert await second.freeze() == frozen
            assert await second.resume([Settlement.value(1, 1)], NOW) == Completed(41)
        assert await first.resume([Settlement.value(1, 2)], NOW) == Completed(42)


async def test_what_is_not_a_frozen_run_is_refused(executor: Executor) -> None:
    with pytest.raises(ForeignImage):
        executor.thaw(b"something else")
    image = await executor.image("globalThis.a = 1")
    with pytest.raises(ForeignImage):
        executor.thaw(image.data)


async def test_an_image_is_built_once_and_its_preload_is_there(executor: Executor) -> None:
    preload = "globalThis.ask = (what) => host.call('ask', {what});"
    image, same = await asyncio.gather(executor.image(preload), executor.image(preload))
    assert image == same
    for _ in range(2):
        async with executor.execution(image) as execution:
            outcome = await run(execution, "typeof host + await ask('time')")
            assert isinstance(outcome, Suspended)
            assert (outcome.calls[0].name, outcome.calls[0].arguments) == ("ask", {"what": "time"})
            frozen = await execution.freeze()
        async with executor.thaw(frozen) as thawed:
            assert await thawed.resume([Settlement.value(1, "!")], NOW) == Completed("undefined!")


async def test_a_preload_that_throws_is_our_error(executor: Executor) -> None:
    with pytest.raises(EngineError, match="no such luck"):
        await executor.image("throw new Error('no such luck')")
    async with executor.execution() as execution:
        assert await run(execution, "1") == Completed(1)


async def test_an_endless_program_ends_at_its_cpu_limit() -> None:
    limits = Limits(cpu_time=0.1)
    async with WorkerExecutor(limits, workers=1) as workers, workers.execution() as execution:
        outcome = await run(execution, ENDLESS)
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, CpuTimeExceeded)
        assert execution.cpu_time >= 0.1


async def test_closing_a_run_stops_its_slice(executor: Executor) -> None:
    execution = executor.execution()
    running = asyncio.create_task(run(execution, ENDLESS))
    await asyncio.sleep(0)
    await execution.aclose()
    with pytest.raises(IsolateClosed):
        await running
    async with executor.execution() as next_one:
        assert await run(next_one, "1") == Completed(1)


async def test_cancelling_the_task_that_waits_stops_the_slice_and_frees_its_place(executor: Executor) -> None:
    running = asyncio.create_task(run(executor.execution(), ENDLESS))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with executor.execution() as next_one:
        assert await run(next_one, "1") == Completed(1)


async def test_a_suspended_run_holds_no_place(executor: Executor) -> None:
    waiting = [executor.execution(identity=f"{number}") for number in range(20)]
    for execution in waiting:
        assert isinstance(await run(execution, ADD_TWO), Suspended)
    async with executor.execution() as execution:
        assert await run(execution, "1") == Completed(1)
    for execution in waiting:
        await execution.aclose()


async def test_places_go_round_the_identities_and_the_wait_is_measured(executor: Executor) -> None:
    order: list[str] = []

    async def visit(name: str) -> float:
        async with executor.execution(identity=name[0]) as execution:
            await run(execution, "1")
            order.append(name)
            return execution.queue_time

    blocker = executor.execution(identity="a")
    blocking = asyncio.create_task(run(blocker, ENDLESS))
    await asyncio.sleep(0)
    visits = []
    for name in ("a1", "a2", "b1"):
        visits.append(asyncio.create_task(visit(name)))
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await visit("a3")
    await blocker.aclose()
    queue_times = await asyncio.gather(*visits)
    await asyncio.gather(blocking, return_exceptions=True)
    assert order == ["a1", "b1", "a2"]
    assert all(waited > 0 for waited in queue_times)


async def test_a_refused_program_can_be_tried_again(executor: Executor) -> None:
    blocker = executor.execution()
    blocking = asyncio.create_task(run(blocker, ENDLESS))
    await asyncio.sleep(0)
    queued = [asyncio.create_task(run(executor.execution(), "1")) for _ in range(3)]
    await asyncio.sleep(0)
    async with executor.execution() as refused:
        with pytest.raises(Overloaded):
            await run(refused, "1 + 1")
        await blocker.aclose()
        await asyncio.gather(*queued)
        assert await run(refused, "1 + 1") == Completed(2)
    await asyncio.gather(blocking, return_exceptions=True)


async def test_a_run_that_is_closed_while_it_waits_never_runs(executor: Executor) -> None:
    blocker = executor.execution()
    blocking = asyncio.create_task(run(blocker, ENDLESS))
    await asyncio.sleep(0)
    waiter = executor.execution()
    waiting = asyncio.create_task(run(waiter, "1"))
    await asyncio.sleep(0)
    await waiter.aclose()
    with pytest.raises(IsolateClosed):
        await waiting
    assert not blocking.done()
    await blocker.aclose()
    await asyncio.gather(blocking, return_exceptions=True)


async def test_closing_the_executor_ends_what_runs_and_what_waits(executor: Executor) -> None:
    suspended = executor.execution()
    assert isinstance(await run(suspended, ADD_TWO), Suspended)
    tasks = [asyncio.create_task(run(executor.execution(), ENDLESS)) for _ in range(3)]
    await asyncio.sleep(0)
    await executor.aclose()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, EngineError) for result in results)
    with pytest.raises(EngineError):
        await suspended.resume([Settlement.value(1, 1)], NOW)
    with pytest.raises(IsolateClosed):
        await run(executor.execution(), "1")
    await executor.aclose()


@pytest.mark.parametrize("kind", ["threads", "workers"])
async def test_a_short_program_goes_between_endless_ones_and_those_go_on_after_it(kind: str) -> None:
    """One guest computes at a time, and three never end: each is paused in turn."""
    limits = Limits(cpu_time=600.0, wall_time=600.0)
    async with contextlib.AsyncExitStack() as stack:
        executor: Executor
        if kind == "workers":
            executor = await stack.enter_async_context(WorkerExecutor(limits, workers=1))
        else:
            engine = stack.enter_context(Engine(limits))
            executor = await stack.enter_async_context(InProcessExecutor(engine, parallel=1))
        hogs = [executor.execution(identity=name) for name in "abc"]
        tasks = [asyncio.create_task(run(hog, ENDLESS)) for hog in hogs]
        await asyncio.sleep(0)
        for _ in range(3):
            async with executor.execution(identity="d") as execution:
                assert await run(execution, "1 + 1") == Completed(2)
        assert not any(task.done() for task in tasks)
        for hog in hogs:
            await hog.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, IsolateClosed) for result in results)


@pytest.mark.parametrize("kind", ["threads", "workers"])
async def test_a_program_that_was_paused_ends_with_its_own_cpu_time(kind: str) -> None:
    """Two programs that each compute until their CPU limit share one slot; neither pays for the other's turns."""
    limits = Limits(cpu_time=0.12, wall_time=600.0)
    async with contextlib.AsyncExitStack() as stack:
        executor: Executor
        if kind == "workers":
            executor = await stack.enter_async_context(WorkerExecutor(limits, workers=1))
        else:
            engine = stack.enter_context(Engine(limits))
            executor = await stack.enter_async_context(InProcessExecutor(engine, parallel=1))
        pair = [executor.execution(identity=name) for name in "ab"]
        for outcome in await asyncio.gather(*(run(execution, ENDLESS) for execution in pair)):
            assert isinstance(outcome, Failed)
            assert isinstance(outcome.error, CpuTimeExceeded)
        assert all(0.12 <= execution.cpu_time for execution in pair)


async def test_the_event_loop_goes_on_while_a_guest_computes(executor: Executor) -> None:
    running = asyncio.create_task(run(executor.execution(), ENDLESS))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_guests_in_this_process_never_run_on_the_main_thread_or_the_loops() -> None:
    with Engine() as engine:
        threads: list[threading.Thread] = []
        isolate = engine.isolate

        def spy(*arguments: object) -> object:
            threads.append(threading.current_thread())
            return isolate()

        engine.isolate = spy  # type: ignore[method-assign, assignment]
        # No run is paused, however slow the machine: a paused one keeps its thread, and another takes its turn.
        async with InProcessExecutor(engine, parallel=2, quantum=3600.0) as executor:
            await asyncio.gather(*(run(executor.execution(), "1") for _ in range(8)))
        assert len(set(threads)) <= 2
        assert threading.main_thread() not in threads
        assert engine.live_isolates == 0


@pytest.mark.parametrize("kind", ["threads", "workers"])
async def test_seconds_of_waiting_that_are_excused_do_not_count_as_wall_time(kind: str) -> None:
    limits = Limits(wall_time=1.0)
    async with contextlib.AsyncExitStack() as stack:
        executor: Executor
        if kind == "workers":
            executor = await stack.enter_async_context(WorkerExecutor(limits, workers=1))
        else:
            executor = await stack.enter_async_context(InProcessExecutor(stack.enter_context(Engine(limits))))
        excused, counted = [await stack.enter_async_context(executor.execution()) for _ in range(2)]
        for execution in (excused, counted):
            assert isinstance(await run(execution, ADD_TWO), Suspended)
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1.1)  # the time that passes is the subject
        waited = time.monotonic() - began
        assert isinstance(await excused.resume([Settlement.value(1, 1)], NOW, excused=waited), Suspended)
        outcome = await counted.resume([Settlement.value(1, 1)], NOW)
        assert isinstance(outcome, Failed) and isinstance(outcome.error, WallTimeExceeded)


async def test_no_more_seconds_are_excused_than_have_passed(executor: Executor) -> None:
    """A caller that excuses too much does not lengthen the run: its header says what was used."""
    async with executor.execution() as execution:
        assert isinstance(await run(execution, ADD_TWO), Suspended)
        await execution.resume([Settlement.value(1, 1)], NOW, excused=1e9)
        header = read_program(await execution.freeze())
        assert 0 <= header.wall_used < 1e6


async def test_whoever_waits_for_the_end_of_the_workers_may_give_up() -> None:
    unhandled: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context["message"]))
    executor = WorkerExecutor(Limits(), workers=1)
    await executor.__aenter__()
    closing = asyncio.create_task(executor.aclose())
    for _ in range(8):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    await executor.aclose()
    assert unhandled == []
