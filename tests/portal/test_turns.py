"""Turns at something of which there is only so much at once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.shares import Full
from portal.turns import FairTurns, Room

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_holder_takes_at_most_its_part_and_the_next_gets_a_turn_at_once() -> None:
    turns = FairTurns(Room(most=10, each=6, kept=2))
    for _ in range(6):
        await turns.take("ann", 0)
    with pytest.raises(Full) as full:
        await turns.take("ann", 0)
    assert full.value.own and full.value.most == 6
    await turns.take("ben", 0)
    assert len(turns) == 7


async def test_the_last_turns_are_kept_for_whoever_has_few() -> None:
    turns = FairTurns(Room(most=10, each=6, kept=2, few=1))
    for holder, number in (("ann", 6), ("ben", 2)):
        for _ in range(number):
            await turns.take(holder, 0)
    with pytest.raises(Full):
        await turns.take("ben", 0)
    await turns.take("cid", 0)
    await turns.take("dan", 0)
    with pytest.raises(Full) as full:
        await turns.take("eve", 0)
    assert not full.value.own and full.value.most == 10


async def test_holders_that_wait_are_served_in_turn_each_in_order() -> None:
    turns, served = FairTurns(Room(most=1, each=1, kept=0, few=0)), list[str]()

    async def one(holder: str, number: int) -> None:
        await turns.take(holder, 60)
        served.append(f"{holder}{number}")
        turns.give_back(holder)

    await turns.take("zoe", 0)
    waiting = [asyncio.create_task(one("ann", number)) for number in range(3)]
    await settle()
    waiting += [asyncio.create_task(one("ben", number)) for number in range(2)]
    await settle()
    turns.give_back("zoe")
    await asyncio.gather(*waiting)
    assert served == ["ann0", "ben0", "ann1", "ben1", "ann2"]
    assert len(turns) == 0


async def test_only_so_many_wait_for_one_holder() -> None:
    turns = FairTurns(Room(most=1, each=1, kept=0, waiting=2))
    await turns.take("ann", 0)
    waiting = [asyncio.create_task(turns.take("ann", 60)) for _ in range(2)]
    await settle()
    with pytest.raises(Full):
        await turns.take("ann", 60)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert turns.waiting("ann") == 0


async def test_a_turn_that_comes_as_its_waiter_is_cancelled_goes_to_the_next() -> None:
    turns = FairTurns(Room(most=1, each=1, kept=0, few=0))
    await turns.take("ann", 0)
    first, second = asyncio.create_task(turns.take("ben", 60)), asyncio.create_task(turns.take("cid", 60))
    await settle()
    turns.give_back("ann")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert turns.of("cid") == len(turns) == 1


Step = tuple[str, str]


@given(
    st.builds(
        Room,
        most=st.integers(1, 5),
        each=st.integers(1, 4),
        kept=st.integers(0, 2),
        few=st.integers(0, 2),
        waiting=st.integers(0, 5),
    ),
    st.lists(st.tuples(st.sampled_from(["take", "give", "cancel"]), st.sampled_from(["", "ann", "ben", "cid"]))),
)
def test_no_sequence_breaks_a_bound_or_leaves_somebody_waiting_who_could_have_a_turn(
    room: Room, steps: list[Step]
) -> None:
    async def play() -> None:
        turns = FairTurns(room)
        held = Counter[str]()
        waiting: list[tuple[str, asyncio.Task[None]]] = []
        for what, holder in steps:
            if what == "take":
                waiting.append((holder, asyncio.create_task(turns.take(holder, 60))))
            elif what == "give" and held[holder]:
                held[holder] -= 1
                turns.give_back(holder)
            elif what == "cancel" and waiting:
                waiting[0][1].cancel()
            await settle()
            for one, task in [(one, task) for one, task in waiting if task.done()]:
                waiting.remove((one, task))
                if not task.cancelled() and task.exception() is None:
                    held[one] += 1
            assert {one: number for one, number in held.items() if number} == dict(turns._held)
            assert len(turns) == held.total() <= room.most
            assert all(number <= room.each for one, number in held.items() if one)
            assert not any(turns._may_have(one) for one, _ in waiting)
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
        assert not turns._waiting

    asyncio.run(play())
