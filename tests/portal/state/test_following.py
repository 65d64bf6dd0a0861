"""Values kept until the store tells of a change, whatever happens during the reading; and work that a change starts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.state import Follower, Kept, KeptByKey, KeyRing, StateUnavailable, Store, plain
from portal.state.changes import Changes
from portal.state.following import MAX_CROSSED
from tests.deep import examples
from tests.patience import PATIENCE
from tests.portal.state.held import HeldStore

KIND = "token"
# More turns of the event loop than anything here takes to become quiet.
TURNS = 8


class World:
    """A store of one number, which each change raises, and callers of a `Kept` of it.

    A reading sees the number as it is when it begins, and ends when a step says so. What a caller may get is asserted
    where it gets it.
    """

    def __init__(self) -> None:
        self.changes = Changes()
        self.number = 1
        self.readings: list[asyncio.Future[None]] = []
        self.callers: list[asyncio.Task[None]] = []
        self.left: set[asyncio.Task[None]] = set()
        self.begun = 0
        self.kept = Kept(self.changes, {KIND}, self._read)

    async def _read(self) -> int:
        number, end = self.number, asyncio.get_running_loop().create_future()
        self.begun += 1
        assert not self.readings, "two readings at a time"
        self.readings.append(end)
        try:
            await end
        except asyncio.CancelledError:
            self.readings.remove(end)
            # As a query takes its time to be given up.
            await turn(2)
            raise
        except StateUnavailable:
            self.readings.remove(end)
            raise
        self.readings.remove(end)
        return number

    async def _call(self) -> None:
        asked = self.number
        try:
            number = await self.kept.get()
        except StateUnavailable:
            return
        assert number >= asked, "older than the call"
        # The reading that a caller joins may have been crossed before it asked.
        if self.number - asked < MAX_CROSSED - 1:
            assert number == self.number, "a change was missed"

    def step(self, name: str) -> None:
        if name == "call":
            self.callers.append(asyncio.create_task(self._call()))
        elif name == "change":
            self.number += 1
            self.changes.tell({KIND: self.number})
        elif name == "cancel" and (waiting := [caller for caller in self.callers if not caller.done()]):
            self.left.add(waiting[0])
            waiting[0].cancel()
        elif name == "finish" and self.readings and not self.readings[0].done():
            self.readings[0].set_result(None)
        elif name == "fail" and self.readings and not self.readings[0].done():
            self.readings[0].set_exception(StateUnavailable("the database did not answer"))

    async def play(self, steps: Sequence[tuple[str, int]]) -> None:
        """Take each step, and let the loop turn that often after it. Then everybody must come to an end."""
        for name, turns in steps:
            self.step(name)
            await turn(turns)
        await turn()
        while self.readings:
            self.step("finish")
            await turn()
        assert all(caller.done() for caller in self.callers), "a caller waits for nothing"
        for caller in set(self.callers) - self.left:
            caller.result()
        await self._is_kept()

    async def _is_kept(self) -> None:
        """Without changes the value is read once more at most, and is the present one."""
        begun = self.begun
        for _ in range(2):
            self.step("call")
            await turn()
            self.step("finish")
            await turn()
            self.callers[-1].result()
        assert self.begun <= begun + 1


async def turn(turns: int = TURNS) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


STEPS = ("call", "change", "finish", "fail", "cancel")


def test_in_every_order_of_five_steps_no_caller_gets_a_value_older_than_a_change_it_could_know_of() -> None:
    with asyncio.Runner() as runner:
        for steps in product(STEPS, repeat=5):
            runner.run(World().play([("call", TURNS), *((step, TURNS) for step in steps)]))


def test_no_turn_of_the_loop_is_wrong_for_a_change_or_for_a_caller_to_leave() -> None:
    with asyncio.Runner() as runner:
        for steps in (
            ("finish", "change", "call"),
            ("finish", "change", "finish", "change"),
            ("change", "finish"),
            ("cancel", "cancel", "call"),
        ):
            for turns in product(range(5), repeat=len(steps)):
                after = list(zip(steps, turns, strict=True))
                runner.run(World().play([("call", TURNS), ("call", TURNS), *after]))


@examples(300)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 4)), max_size=25))
def test_in_any_order_at_any_turn_of_the_loop_no_caller_misses_a_change(steps: list[tuple[str, int]]) -> None:
    asyncio.run(World().play(steps))


@pytest.mark.anyio
async def test_callers_at_once_share_one_reading_and_its_failure_and_the_next_reads_again() -> None:
    world = World()
    calls = [asyncio.create_task(world.kept.get()) for _ in range(5)]
    await turn()
    world.step("fail")
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(failure) for failure in failures] == [StateUnavailable] * 5
    calls = [asyncio.create_task(world.kept.get()) for _ in range(5)]
    await turn()
    world.step("finish")
    assert await asyncio.gather(*calls) == [1] * 5
    assert world.begun == 2


@pytest.mark.anyio
async def test_a_caller_that_leaves_does_not_end_the_reading_of_the_others() -> None:
    world = World()
    first, second = (asyncio.create_task(world.kept.get()) for _ in range(2))
    await turn()
    first.cancel()
    await turn()
    world.step("finish")
    assert await second == 1
    assert (first.cancelled(), world.begun) == (True, 1)


@pytest.mark.anyio
async def test_a_reading_that_nobody_waits_for_any_longer_is_cancelled() -> None:
    world = World()
    calls = [asyncio.create_task(world.kept.get()) for _ in range(2)]
    await turn()
    for call in calls:
        call.cancel()
    await turn()
    assert world.readings == []


@pytest.mark.anyio
async def test_when_changes_cross_every_reading_the_last_value_is_returned_and_not_kept() -> None:
    world = World()
    call = asyncio.create_task(world.kept.get())
    for _ in range(MAX_CROSSED):
        await turn()
        assert not call.done()
        world.step("change")
        world.step("finish")
    assert await call == MAX_CROSSED
    again = asyncio.create_task(world.kept.get())
    await turn()
    world.step("finish")
    assert await again == MAX_CROSSED + 1


@pytest.mark.anyio
async def test_only_changes_of_its_kinds_are_a_reason_to_read_again() -> None:
    world = World()
    call = asyncio.create_task(world.kept.get())
    await turn()
    world.changes.tell({"another": 1})
    world.step("finish")
    assert (await call, await world.kept.get(), world.begun) == (1, 1, 1)


@pytest.mark.anyio
async def test_what_is_missing_is_not_kept_and_a_full_map_forgets_the_value_used_least_recently() -> None:
    changes, read = Changes(), list[str]()
    kept: KeptByKey[str, str | None] = KeptByKey(changes, {KIND}, size=2)

    async def get(key: str, value: str | None) -> str | None:
        async def reading() -> str | None:
            read.append(key)
            return value

        return await kept.get(key, reading)

    assert [await get("a", None), await get("a", "A")] == [None, "A"]
    await get("b", "B")
    assert await get("a", "again") == "A"
    await get("c", "C")
    assert [await get("a", "again"), await get("b", "again")] == ["A", "again"]
    kept.forget("a")
    assert await get("a", "anew") == "anew"
    assert read == ["a", "a", "b", "c", "b", "a"]
    kept.close()
    changes.tell({KIND: 1})
    assert await get("a", "later") == "later"


@pytest.mark.anyio
async def test_a_value_read_from_a_store_while_it_is_changed_is_read_again(tmp_path: Path) -> None:
    async with HeldStore.open(f"sqlite:///{tmp_path / 'state.db'}", KeyRing.in_memory()) as store:
        kept = Kept(store, {KIND}, lambda: store.list(plain(KIND)))
        store.hold.begin()
        call = asyncio.create_task(kept.get())
        await store.hold.answered.wait()
        await store.create(plain(KIND), "one", {}, by="test")
        store.hold.end()
        assert [stored.id for stored in await call] == ["one"]


@pytest.mark.anyio
async def test_a_change_by_another_process_is_followed_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with Store.open(url, KeyRing.in_memory()) as store:
        kept, told = Kept(store, {KIND}, lambda: store.list(plain(KIND))), asyncio.Event()
        assert await kept.get() == []
        store.subscribe(lambda kinds: told.set())
        async with Store.open(url, store._keys) as other:
            await other.create(plain(KIND), "one", {}, by="test")
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert [stored.id for stored in await kept.get()] == ["one"]


class Work:
    """Work that waits until the test lets it go, as often as it runs."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.runs = 0
        self.told = 0
        self.problems: list[Exception] = []
        self.complaints: list[str] = []
        self.go = asyncio.Semaphore(0)
        self.follower = Follower(self.changes, {KIND}, self._run, lambda e: self.complaints.append(str(e)), 0)

    async def _run(self) -> None:
        self.runs += 1
        await self.go.acquire()
        if self.problems:
            raise self.problems.pop(0)

    def change(self, kind: str = KIND) -> None:
        self.told += 1
        self.changes.tell({kind: self.told})


@pytest.mark.anyio
async def test_a_change_during_the_work_is_work_again_once_and_never_at_the_same_time() -> None:
    work = Work()
    work.change("another")
    await turn()
    assert work.runs == 0
    work.change()
    work.change()
    await turn()
    assert work.runs == 1
    work.change()
    work.change()
    await turn()
    assert work.runs == 1
    for _ in range(3):
        work.go.release()
        await turn()
    assert work.runs == 2
    await work.follower.aclose()


@pytest.mark.anyio
async def test_work_is_repeated_until_the_store_is_available_and_the_outage_is_told_once() -> None:
    work = Work()
    work.problems = [StateUnavailable("first"), StateUnavailable("second")]
    work.change()
    for _ in range(4):
        work.go.release()
        await turn()
    assert (work.runs, work.complaints) == (3, ["first"])
    work.problems = [StateUnavailable("third")]
    work.follower.again()
    await turn()
    assert (work.runs, work.complaints) == (5, ["first", "third"])
    await work.follower.aclose()


@pytest.mark.anyio
async def test_a_fault_in_the_work_does_not_keep_the_next_change_from_being_followed() -> None:
    work = Work()
    work.problems = [RuntimeError("a fault of ours")]
    work.change()
    work.go.release()
    await turn()
    assert work.runs == 1
    work.change()
    await turn()
    assert work.runs == 2
    await work.follower.aclose()


@pytest.mark.anyio
async def test_a_closed_follower_has_ended_its_work_and_follows_nothing() -> None:
    work = Work()
    work.change()
    await turn()
    await work.follower.aclose()
    work.change()
    work.follower.again()
    await turn()
    assert work.runs == 1


@pytest.mark.anyio
async def test_a_change_is_settled_when_its_work_has_ended_or_the_time_is_over() -> None:
    work = Work()
    await work.follower.settled(PATIENCE)
    work.change()
    waiting = asyncio.create_task(work.follower.settled(PATIENCE))
    await turn()
    work.change()
    await work.follower.settled(0)
    work.go.release()
    await turn()
    assert (work.runs, waiting.done()) == (2, False)
    work.go.release()
    await waiting
    assert work.runs == 2
    await work.follower.aclose()
