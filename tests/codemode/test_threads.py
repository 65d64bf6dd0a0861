"""Threads that are shared: one identity's work does not keep another's from a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from codemode.threads import FairThreads, on_behalf_of, whose, work_for
from codemode.typescript import THREADS, JavaScript, TypeScript
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end of the test at the latest, so that no thread waits for it for ever."""
    event = threading.Event()
    yield event
    event.set()


class Pool:
    """Threads, and what was done in them, in order."""

    def __init__(self, threads: FairThreads) -> None:
        self.threads = threads
        self.done: list[str] = []
        self.begun = threading.Semaphore(0)

    def give(self, identity: str, name: str, gate: threading.Event | None = None) -> Future[None]:
        def work() -> None:
            self.begun.release()
            if gate is not None:
                gate.wait(PATIENCE)
            self.done.append(name)

        with on_behalf_of(identity):
            return self.threads.submit(work)


@pytest.fixture
def pool(gate: threading.Event) -> Iterator[Pool]:
    with FairThreads(4, each=1, nobodys=2) as threads:
        yield Pool(threads)
        gate.set()


def test_a_newcomer_gets_a_thread_at_once_however_much_another_waits_with(pool: Pool, gate: threading.Event) -> None:
    hog = [pool.give("hog", f"hog {number}", gate) for number in range(100)]
    pool.give("newcomer", "newcomer").result(PATIENCE)
    assert pool.done == ["newcomer"]
    gate.set()
    for one in hog:
        one.result(PATIENCE)
    assert pool.done[1:] == [f"hog {number}" for number in range(100)]


def test_work_of_nobody_in_particular_leaves_threads_for_everybody_else(pool: Pool, gate: threading.Event) -> None:
    nobodys = [pool.give("", "nobody", gate) for _ in range(10)]
    for name in ("ann", "bob"):
        pool.give(name, name).result(PATIENCE)
    assert pool.done == ["ann", "bob"]
    gate.set()
    for one in nobodys:
        one.result(PATIENCE)


def test_when_all_threads_are_busy_those_who_come_wait_for_one_piece_of_each(pool: Pool, gate: threading.Event) -> None:
    every = [pool.give(name, f"{name} {number}", gate) for number in range(5) for name in ("a", "b", "c", "d")]
    for _ in range(4):
        pool.begun.acquire(timeout=PATIENCE)
    newcomer = pool.give("newcomer", "newcomer")
    gate.set()
    newcomer.result(PATIENCE)
    assert pool.done.index("newcomer") <= 8
    for one in every:
        one.result(PATIENCE)


def test_an_error_is_raised_where_the_result_is_waited_for(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.threads.submit(lambda: 1 / 0).result(PATIENCE)
    assert pool.threads.submit(lambda number: number + 1, 1).result(PATIENCE) == 2


def test_what_is_cancelled_while_it_waits_is_not_done(pool: Pool, gate: threading.Event) -> None:
    first, second, third = (pool.give("a", name, gate) for name in ("first", "second", "third"))
    assert second.cancel()
    gate.set()
    for one in (first, third):
        one.result(PATIENCE)
    assert pool.done == ["first", "third"]


@pytest.mark.parametrize("cancel", [False, True])
def test_at_the_end_what_waits_is_done_or_cancelled_and_nothing_more_is_taken(
    gate: threading.Event, cancel: bool
) -> None:
    threads = FairThreads(2, each=1, nobodys=1)
    pool = Pool(threads)
    waiting = [pool.give("a", str(number), gate) for number in range(4)]
    pool.begun.acquire(timeout=PATIENCE)
    threads.shutdown(wait=False, cancel_futures=cancel)
    gate.set()
    threads.shutdown()
    # What had waited runs beside the first one then, in any order.
    assert sorted(pool.done) == (["0"] if cancel else ["0", "1", "2", "3"])
    assert [one.cancelled() for one in waiting] == [False, *[cancel] * 3]
    with pytest.raises(RuntimeError):
        threads.submit(int)


async def test_what_a_task_gives_to_a_thread_counts_for_the_identity_it_works_for() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(FairThreads(4, each=1, nobodys=2))

    async def work(identity: str) -> str:
        work_for(identity)
        return await asyncio.create_task(asyncio.to_thread(whose))

    assert await asyncio.gather(*[asyncio.create_task(work(one)) for one in ("ann", "bob")]) == ["ann", "bob"]
    assert whose() == ""


# The transformer's threads


def transforming(typescript: TypeScript, identity: str, work: Callable[[], object]) -> asyncio.Task[object]:
    with on_behalf_of(identity):
        return asyncio.create_task(typescript.run(work))


async def test_the_transformer_has_a_thread_for_a_newcomer_however_much_another_gives_it(
    gate: threading.Event,
) -> None:
    typescript = TypeScript(seconds=PATIENCE)
    hog = [transforming(typescript, "hog", gate.wait) for _ in range(20)]
    newcomer = asyncio.create_task(typescript.javascript("const a: number = 1; a"))
    assert isinstance(await newcomer, JavaScript)
    assert not any(one.done() for one in hog)
    gate.set()
    assert await asyncio.gather(*hog) == [True] * 20


async def test_the_time_of_a_transformation_begins_when_its_turn_comes(gate: threading.Event) -> None:
    typescript = TypeScript(seconds=0.01)
    stuck = [transforming(typescript, "a", gate.wait) for _ in range(THREADS - 1)]
    behind = transforming(typescript, "a", lambda: "transformed")
    assert await asyncio.gather(*stuck) == [None] * len(stuck)
    assert not behind.done()
    gate.set()
    assert await behind == "transformed"
