"""What the database remembers of the entries of a configuration document, for several processes, on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from portal.state import DOCUMENT_STAMPS
from portal.state.document_stamps import KEPT
from tests.portal.approvals.people import Time
from tests.portal.state.conftest import Opener

pytestmark = pytest.mark.anyio

A, B, C = (bytes([number]) * 32 for number in range(3))


async def test_an_entry_that_stays_keeps_its_stamp_and_one_that_comes_back_has_another(opened: Opener) -> None:
    async with opened() as store:
        rows = store.document_stamps
        assert await rows.of([A]) == {}
        assert await rows.load({A: "a1", C: "c1"}) == {A: "a1", C: "c1"}
        assert await rows.load({B: "b1", C: "c2"}) == {B: "b1", C: "c1"}
        assert await rows.load({A: "a2", C: "c3"}) == {A: "a2", C: "c1"}
        assert await rows.load({B: "b2"}) == {B: "b2"}
    async with opened() as store:
        # What a document has no more is still known, for processes that still have that document.
        assert await store.document_stamps.of([A, B, C]) == {A: "a2", B: "b2", C: "c1"}


async def test_processes_with_the_same_document_have_the_same_stamps(opened: Opener) -> None:
    async with opened() as one, opened() as other:
        first, second = await asyncio.gather(
            one.document_stamps.load({A: "a1", B: "b1"}), other.document_stamps.load({A: "a2", B: "b2"})
        )
        assert first == second
        assert await other.document_stamps.load({A: "later", B: "later"}) == first


async def test_a_process_that_has_had_the_entry_all_the_time_does_not_keep_the_stamp_of_one_that_had_gone(
    opened: Opener,
) -> None:
    async with opened() as one, opened() as other:
        assert await one.document_stamps.load({A: "a1"}) == {A: "a1"}
        await other.document_stamps.load({B: "b1"})
        [stamp] = (await one.document_stamps.load({A: "a1"})).values()
        assert stamp != "a1"


async def test_what_came_back_while_the_database_was_away_has_another_stamp_once(opened: Opener) -> None:
    async with opened() as store:
        rows = store.document_stamps
        await rows.load({A: "a1", C: "c1"})
        assert await rows.load({A: "a2", C: "c2"}, came_back={A}) == {A: "a2", C: "c1"}
        # The answer was lost, and the same is loaded once more.
        assert await rows.load({A: "a2", C: "c1"}, came_back={A}) == {A: "a2", C: "c1"}


async def test_a_load_that_changes_nothing_writes_and_tells_nothing(opened: Opener) -> None:
    async with opened() as store:
        told: list[frozenset[str]] = []
        store.subscribe(told.append)
        await store.document_stamps.load({A: "a1"})
        assert told == [{DOCUMENT_STAMPS}]
        await store.document_stamps.load({A: "a2"})
        await store.document_stamps.load({})
        assert told == [{DOCUMENT_STAMPS}]
        await store.document_stamps.load({A: "a3"})
        assert told == [{DOCUMENT_STAMPS}] * 2


async def test_what_no_document_has_is_forgotten_in_the_end(opened: Opener) -> None:
    time = Time()
    async with opened(time) as store:
        rows = store.document_stamps
        await rows.load({A: "a1"})
        await rows.load({B: "b1"})
        time.now += KEPT + timedelta(seconds=1)
        await rows.load({C: "c1"})
        assert await rows.of([A, B, C]) == {B: "b1", C: "c1"}
        assert await rows.load({A: "a2"}) == {A: "a2"}
