"""The fair queue: round robin across identities, in order within one, bounded for new work."""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Overloaded, WorkerDied
from sandbox.fair import FairQueue, Slots

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def drain(queue: FairQueue[str]) -> list[str]:
    taken = []
    while (item := queue.pop(lambda _: True)) is not None:
        taken.append(item)
    return taken


def queue_of(*items: str) -> FairQueue[str]:
    """Items whose first letter is their identity."""
    queue: FairQueue[str] = FairQueue()
    for item in items:
        queue.push(item[0], item)
    return queue


def test_identities_take_turns_however_much_one_of_them_asks() -> None:
    assert drain(queue_of("a1", "a2", "a3", "a4", "b1", "c1", "b2")) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_a_newcomer_goes_before_those_who_have_had_their_part() -> None:
    queue = queue_of("a1", "a2", "b1", "b2")
    assert queue.pop(lambda _: True) == "a1"
    queue.push("c", "c1")
    assert drain(queue) == ["b1", "c1", "a2", "b2"]


def test_what_a_turn_took_counts_however_many_turns_there_were() -> None:
    """A hundred short turns of one are as much as one long turn of the other."""
    queue = queue_of(*["a"] * 300, *["b"] * 300)
    spent = Counter[str]()
    for _ in range(250):
        item = queue.pop(lambda _: True)
        assert item is not None
        took = 0.01 if item == "a" else 1.0
        spent[item] += took  # type: ignore[assignment]
        queue.settle(item, took)
    assert abs(spent["a"] - spent["b"]) <= 1.0


def test_leaving_the_queue_and_coming_back_gets_nobody_a_larger_part() -> None:
    queue = queue_of(*["b"] * 100)
    queue.push("a", "a")
    turns = Counter[str]()
    for _ in range(60):
        item = queue.pop(lambda _: True)
        assert item is not None
        turns[item] += 1
        queue.settle(item, 1.0)
        if item == "a":
            queue.push("a", "a")  # its line was empty until now
    assert abs(turns["a"] - turns["b"]) <= 2


def test_what_had_a_turn_waits_for_three_new_items_of_its_identity_and_no_more() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("a", "old", again=True)
    for number in range(5):
        queue.push("a", f"new {number}")
    assert drain(queue) == ["new 0", "new 1", "new 2", "old", "new 3", "new 4"]


def test_an_identity_that_may_begin_nothing_goes_on_with_what_it_began() -> None:
    queue = queue_of("a1", "a2", "b1")
    queue.push("a", "a0", again=True)
    taken = [queue.pop(lambda _: True, lambda identity: identity == "a") for _ in range(3)]
    assert taken == ["a0", "b1", None]


class Pushed(NamedTuple):
    identity: str


class Popped(NamedTuple):
    took: float


EVENTS = st.one_of(
    st.builds(Pushed, st.sampled_from("abcde")),
    st.builds(Popped, st.sampled_from([0.001, 0.2, 1.0, 3.0])),
)


@given(st.lists(EVENTS, max_size=60), st.lists(EVENTS, max_size=60))
def test_whoever_comes_waits_one_turn_of_each_who_waits_whatever_others_push(
    before: list[Pushed | Popped], after: list[Pushed | Popped]
) -> None:
    queue: FairQueue[str] = FairQueue()

    def happen(event: Pushed | Popped) -> str | None:
        if isinstance(event, Pushed):
            queue.push(event.identity, event.identity)
            return None
        if (item := queue.pop(lambda _: True)) is not None:
            queue.settle(item, event.took)
        return item

    for event in before:
        happen(event)
    others = len(set(queue))
    queue.push("newcomer", "newcomer")
    waited = 0
    for event in [*after, *[Popped(1.0)] * (others + 1)]:
        item = happen(event)
        if item == "newcomer":
            break
        waited += item is not None
    else:
        pytest.fail("the newcomer had no turn")
    assert waited <= others


@given(st.lists(st.integers(1, 4), min_size=40, max_size=40))
def test_a_stream_of_newcomers_does_not_keep_others_waiting_for_ever(crowd: list[int]) -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("patient", "patient")
    queue.push("patient", "patient")
    served = 0
    for round, many in enumerate(crowd):
        for number in range(many):
            queue.push(f"newcomer {round} {number}", f"newcomer {round} {number}")
        item = queue.pop(lambda _: True)
        assert item is not None
        served += item == "patient"
        queue.settle(item, 1.0)
    assert served >= 1


def test_nothing_is_remembered_of_those_who_have_gone() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("patient", "patient")
    for number in range(2000):
        queue.push(f"guest {number}", "guest")
        assert queue.pop(lambda item: item == "guest") == "guest"
        queue.settle(f"guest {number}", 1.0)
    assert len(queue._used) < 400


def test_work_that_cannot_go_now_holds_up_nobody_and_keeps_its_place() -> None:
    queue = queue_of("a1", "a2", "b1")
    assert queue.pop(lambda item: item != "a1") == "a2"
    assert queue.pop(lambda item: item != "a1") == "b1"
    assert queue.pop(lambda item: item != "a1") is None
    assert drain(queue) == ["a1"]


@given(st.lists(st.sampled_from(["a1", "a2", "b1", "b2", "c1"])))
def test_everything_comes_out_once_and_in_order_within_an_identity(items: list[str]) -> None:
    numbered = [f"{item}-{number}" for number, item in enumerate(items)]
    taken = drain(queue_of(*numbered))
    assert sorted(taken) == sorted(numbered)
    for identity in "abc":
        assert [t for t in taken if t[0] == identity] == [n for n in numbered if n[0] == identity]


@given(st.lists(st.sampled_from("abcd"), max_size=60))
def test_each_round_serves_every_identity_that_waits_once(letters: list[str]) -> None:
    numbered = [f"{letter}-{number}" for number, letter in enumerate(letters)]
    lines = {letter: [item for item in numbered if item[0] == letter] for letter in dict.fromkeys(letters)}
    rounds = itertools.zip_longest(*lines.values())
    assert drain(queue_of(*numbered)) == [item for turn in rounds for item in turn if item is not None]


class Rooms:
    """Places to run, for the tests: one number each."""

    def __init__(
        self, count: int, *, bound: int = 100, parallel: int = 100, each: int = 100, places: int = 200
    ) -> None:
        self.empty = deque(range(count))
        self.paused: list[int] = []
        self.pausable = True
        self.slots = Slots[str, int](self, parallel=parallel, bound=bound, places=places, each=each, quantum=0.0)
        self.order: list[str] = []

    def take(self, work: str) -> int | None:
        return self.empty.popleft() if self.empty else None

    def free(self, place: int) -> None:
        assert place not in self.empty
        self.empty.append(place)

    def pause(self, place: int) -> bool:
        if self.pausable:
            self.paused.append(place)
        return self.pausable

    def proceed(self, place: int) -> None:
        self.paused.remove(place)

    async def visit(self, work: str, refusable: bool = True) -> int:
        room = await self.slots.acquire(work[0], work, refusable=refusable)
        self.order.append(work)
        return room

    async def queue(self, *works: str, refusable: bool = True) -> list["asyncio.Task[int]"]:
        tasks = [asyncio.create_task(self.visit(work, refusable)) for work in works]
        for _ in range(3):
            await asyncio.sleep(0)
        return tasks


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_slots_are_handed_out_fairly_as_they_come_free() -> None:
    rooms = Rooms(1)
    room = await rooms.visit("a0")
    tasks = await rooms.queue("a1", "a2", "a3", "b1", "c1")
    for turn in range(len(tasks)):
        rooms.slots.release(room)
        await until(lambda turn=turn: len(rooms.order) == turn + 2)  # type: ignore[misc]
    await asyncio.gather(*tasks)
    assert rooms.order == ["a0", "a1", "b1", "c1", "a2", "a3"]


async def test_a_full_queue_refuses_newcomers() -> None:
    rooms = Rooms(0, bound=2)
    tasks = await rooms.queue("a1", "b1")
    with pytest.raises(Overloaded, match="2 programs wait"):
        await rooms.visit("c1")
    for task in tasks:
        task.cancel()


async def test_one_identity_cannot_fill_the_queue_against_another() -> None:
    rooms = Rooms(0, bound=3)
    tasks = await rooms.queue("a1", "a2", "a3")
    polite = asyncio.create_task(rooms.visit("b1"))
    with pytest.raises(Overloaded):
        await tasks[2]
    assert not polite.done()
    with pytest.raises(Overloaded):
        await rooms.visit("a4")
    for task in (*tasks[:2], polite):
        task.cancel()


async def test_work_that_runs_already_is_never_refused() -> None:
    rooms = Rooms(0, bound=1)
    waiting = await rooms.queue("a1")
    resumed = await rooms.queue("b1", "b2", "b3", refusable=False)
    with pytest.raises(Overloaded):
        await rooms.visit("c1")
    assert rooms.slots.waiting == 4
    for task in (*waiting, *resumed):
        task.cancel()


async def test_a_place_granted_to_a_task_that_was_cancelled_goes_to_the_next() -> None:
    rooms = Rooms(1)
    room = await rooms.visit("a0")
    first, second = await rooms.queue("a1", "b1")
    rooms.slots.release(room)  # granted to a1, whose task has not run since
    first.cancel()
    assert await second == room
    assert rooms.order == ["a0", "b1"]
    assert rooms.slots.waiting == 0


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    rooms = Rooms(0, bound=1)
    (task,) = await rooms.queue("a1")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert rooms.slots.waiting == 0
    again = await rooms.queue("a2")
    again[0].cancel()


async def test_chosen_waiters_can_be_failed_each_with_an_error_of_its_own() -> None:
    rooms = Rooms(0)
    tasks = await rooms.queue("a1", "b1", "c1")
    rooms.slots.fail(WorkerDied("gone"), lambda work: work != "b1")
    results = await asyncio.gather(tasks[0], tasks[2], return_exceptions=True)
    assert [str(result) for result in results] == ["gone", "gone"]
    assert results[0] is not results[1]
    assert not tasks[1].done()
    tasks[1].cancel()


async def test_a_slice_over_its_quantum_is_parked_for_one_that_waits_and_goes_on_after_it() -> None:
    rooms = Rooms(10, parallel=1)
    hog = await rooms.visit("a1")
    quick = await rooms.visit("b1")
    assert rooms.paused == [hog]
    assert (rooms.slots.parked, rooms.slots.waiting) == (1, 0)
    rooms.slots.release(quick)
    assert rooms.paused == []
    rooms.slots.release(hog)
    assert sorted(rooms.empty) == list(range(10))


async def test_parked_slices_take_turns_among_themselves() -> None:
    rooms = Rooms(10, parallel=1)
    hogs = [await rooms.visit(f"{letter}1") for letter in "abc"]
    seen: set[int] = set()
    while len(seen) < 3:
        (computing,) = set(hogs) - set(rooms.paused)
        seen.add(computing)
        await asyncio.sleep(0)
    for hog in hogs:
        rooms.slots.release(hog)
    assert rooms.paused == []


async def test_what_one_identity_begins_goes_before_what_it_has_parked_but_not_for_ever() -> None:
    rooms = Rooms(100, parallel=1)
    hog = await rooms.visit("h1")
    rooms.pausable = False
    first = await rooms.queue("h2", "h3", "h4", "h5", "h6")
    rooms.pausable = True
    await until(lambda: hog in rooms.paused)
    rooms.pausable = False
    served = 0
    while hog in rooms.paused:
        rooms.slots.release(await first[served])
        served += 1
    assert served == 3
    rooms.slots.release(hog)
    for task in first[served:]:
        rooms.slots.release(await task)
    assert (rooms.slots.waiting, rooms.slots.parked) == (0, 0)


async def test_a_parked_slice_that_ends_gives_its_place_back_and_no_slot() -> None:
    rooms = Rooms(2, parallel=1)
    hog = await rooms.visit("a1")
    quick = await rooms.visit("b1")
    rooms.slots.release(hog)  # its reply was on its way when it was parked
    (waiting,) = await rooms.queue("c1")
    rooms.pausable = False
    assert not waiting.done()
    rooms.slots.release(quick)
    await waiting


async def test_nothing_is_parked_while_nobody_waits_or_a_slot_is_free() -> None:
    rooms = Rooms(2, parallel=3)
    await rooms.visit("a1")
    await rooms.visit("b1")
    (waiting,) = await rooms.queue("c1")  # for a place, not for a slot
    for _ in range(20):
        await asyncio.sleep(0)
    assert rooms.paused == []
    waiting.cancel()


async def test_no_identity_holds_all_places() -> None:
    rooms = Rooms(4, parallel=4, each=3)
    rooms.pausable = False
    for number in range(3):
        await rooms.visit(f"a{number}")
    (greedy,) = await rooms.queue("a4")
    assert not greedy.done()
    assert await rooms.visit("b1") == 3
    rooms.slots.release(0)
    assert await greedy == 0


async def test_places_stay_free_for_an_identity_that_has_none_however_many_others_fill_them() -> None:
    rooms = Rooms(16, places=16)
    rooms.pausable = False
    hogs = [task for letter in "abcd" for task in await rooms.queue(*[f"{letter}{number}" for number in range(20)])]
    taken = sum(task.done() for task in hogs)
    assert 8 <= taken < 16
    for letter in "wxyz"[: 16 - taken]:
        await rooms.visit(f"{letter}1")
    for task in hogs:
        task.cancel()


async def test_the_turn_of_a_slice_is_the_shortest_while_somebody_without_a_place_waits() -> None:
    rooms = Rooms(10, parallel=1)
    rooms.slots._quantum = 50.0
    await rooms.visit("a1")
    (own,) = await rooms.queue("a2")
    assert rooms.slots._length_of_a_turn() == 50.0
    (newcomer,) = await rooms.queue("b1")
    assert rooms.slots._length_of_a_turn() == 10.0
    for task in (own, newcomer):
        task.cancel()
    rooms.slots.close()


async def test_a_refusal_says_that_nothing_was_run_and_when_to_try_again() -> None:
    rooms = Rooms(0, bound=2)
    tasks = await rooms.queue("a1", "a2")
    with pytest.raises(
        Overloaded, match=r"2 programs wait .*, 2 of them yours: nothing was run, try again in a second"
    ):
        await rooms.visit("a3")
    for task in tasks:
        task.cancel()
