"""Pages of the log: nothing is left out or comes twice, and what is rare does not read the whole log at once."""

from __future__ import annotations

import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine

from portal.logs import (
    CallLog,
    Filters,
    LogDatabase,
    LogPlace,
    StoredRow,
    TurnedPage,
    count_some,
    find,
    newer,
    older,
    pages,
    run_of,
    turned,
)
from portal.logs.batch import store
from portal.logs.schema import DAY, metadata
from tests.deep import examples
from tests.portal.logs.rows import AT, batch_of, row

pytestmark = pytest.mark.anyio


async def filled(database: LogDatabase, number: int = 300) -> list[StoredRow]:
    """A log of so many rows, of which one in 50 is rare."""
    made = [
        row(
            n,
            server=f"s{n % 3}",
            name="rare" if n % 50 == 7 else "read",
            trace="rare" if n % 50 == 7 else "",
            outcome="timeout" if n % 11 == 0 else "ok",
            run="exec_1" if n % 10 == 0 else "",
            call=number - n if n % 10 == 0 else 0,
            kind="run" if n == number - 10 else "tool",
        )
        for n in range(number)
    ]
    await database.write(partial(store, batch=batch_of("i", 1, made), now=AT + DAY))
    return (await database.read(partial(newer, filters=Filters(), id=0, limit=900))).rows


def wanted(rows: list[StoredRow], filters: Filters) -> list[StoredRow]:
    return [
        one
        for one in rows
        if (filters.server in (None, one.row.server))
        and (filters.name in (None, one.row.name))
        and (filters.outcome in (None, one.row.outcome))
        and not (filters.failed and one.row.outcome == "ok")
        and (filters.since is None or one.id >= filters.since)
        and (filters.until is None or one.id < filters.until)
    ]


async def test_pages_one_after_the_other_are_all_rows_once_however_few_are_looked_at(
    place: LogPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FEW", 7)
    monkeypatch.setattr(pages, "MANY", 40)
    chance = random.Random(5)
    async with CallLog.open(place) as log:
        every = await filled(log.database)
        for _ in range(40):
            at = [chance.choice(every).id for _ in range(2)]
            filters = Filters(
                server=chance.choice([None, None, "s1"]),
                name=chance.choice([None, "rare", "read", "nothing"]),
                outcome=chance.choice([None, None, "ok", "timeout"]),
                failed=chance.random() < 0.2,
                since=chance.choice([None, min(at)]),
                until=chance.choice([None, max(at)]),
            )
            found: list[StoredRow] = []
            here = None
            while True:
                page = await log.database.read(partial(older, filters=filters, id=here, limit=9))
                found += page.rows
                here = page.reached
                if not page.more:
                    break
            assert found == wanted(every, filters)[::-1], filters
            found, here = [], 0
            while True:
                page = await log.database.read(partial(newer, filters=filters, id=here, limit=9))
                found += page.rows
                here = page.reached
                if not page.more:
                    break
            assert found == wanted(every, filters), filters
            assert here == every[-1].id


@pytest.mark.parametrize(
    "filters", [Filters(), Filters(server="s1"), Filters(trace="rare"), Filters(server="s1", outcome="timeout")]
)
async def test_a_page_turns_both_ways(place: LogPlace, monkeypatch: pytest.MonkeyPatch, filters: Filters) -> None:
    monkeypatch.setattr(pages, "FEW", 7)
    monkeypatch.setattr(pages, "MANY", 400)
    async with CallLog.open(place) as log:
        every = [one for one in await filled(log.database) if filters.trace is None or one.row.trace == filters.trace]
        every = wanted(every, filters)[::-1]

        async def turn(before: int | None = None, after: int | None = None) -> TurnedPage:
            work = partial(turned, filters=filters, before=before, after=after, limit=9)
            return await log.database.read(work)

        there = [await turn()]
        while (id := there[-1].next) is not None:
            there.append(await turn(before=id))
        assert [one for page in there for one in page.rows] == every
        assert there[0].previous is None and all(page.previous is not None for page in there[1:])
        for page, former in zip(there[:0:-1], there[-2::-1], strict=True):
            back = await turn(after=page.previous)
            assert back.rows == former.rows
            assert back.next == former.next
        # Whoever comes to the newest page from an older one sees that it is the newest.
        if len(there) > 1:
            assert (await turn(after=there[1].previous)).previous is None


async def test_a_page_of_what_is_rare_looks_at_so_many_rows_and_says_where_to_go_on(
    place: LogPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FEW", 10)
    monkeypatch.setattr(pages, "MANY", 60)
    async with CallLog.open(place) as log:
        every = await filled(log.database)
        page = await log.database.read(partial(older, filters=Filters(trace="rare"), limit=9))
        assert [one.row.at for one in page.rows] == [every[257].row.at]
        assert page.more and page.reached == every[-60].id
        nothing = await log.database.read(partial(older, filters=Filters(trace="nothing"), limit=9))
        assert nothing.rows == [] and nothing.more and nothing.reached == every[-60].id
        # An index finds these: nothing else is looked at.
        page = await log.database.read(partial(older, filters=Filters(server="s1"), limit=90))
        assert len(page.rows) == 90
        page = await log.database.read(partial(older, filters=Filters(name="rare")))
        assert len(page.rows) == 6 and not page.more


async def test_rows_are_counted_up_to_a_number(place: LogPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    async with CallLog.open(place) as log:
        await filled(log.database)

        async def count(filters: Filters) -> tuple[int, bool]:
            return await log.database.read(partial(count_some, filters=filters))

        assert await count(Filters()) == (300, False)
        assert await count(Filters(trace="rare")) == (6, False)
        monkeypatch.setattr(pages, "COUNT_TO", 50)
        assert await count(Filters()) == (50, True)
        monkeypatch.setattr(pages, "MANY", 60)
        assert await count(Filters(trace="rare")) == (1, True)
        assert await count(Filters(server="s0", outcome="timeout")) == (10, False)


async def test_a_run_has_its_calls_in_the_order_in_which_it_made_them(place: LogPlace) -> None:
    async with CallLog.open(place) as log:
        await filled(log.database, 100)
        run, calls, more = await log.database.read(partial(run_of, run="exec_1"))
        assert run is not None and run.row.kind == "run" and not more
        assert [one.row.call for one in calls] == [20, 30, 40, 50, 60, 70, 80, 90, 100]
        assert await log.database.read(partial(find, id=run.id)) == run
        assert await log.database.read(partial(find, id=run.id + 1)) is None
        assert await log.database.read(partial(run_of, run="exec_2")) == (None, [], False)


@examples(20)
@given(st.integers(0, 2**63 - 1), st.integers(-(2**57), 2**58), st.integers(-(2**57), 2**58))
def test_any_id_and_time_is_a_page(id: int, since: int, until: int) -> None:
    found = _EMPTY.read(partial(_both, filters=Filters(since=since, until=until), id=id))
    assert found == ([], [])


def _both(connection: Connection, filters: Filters, id: int) -> tuple[list[StoredRow], list[StoredRow]]:
    return older(connection, filters, id).rows, newer(connection, filters, id).rows


class _Empty:
    """An empty log in memory."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://")
        metadata.create_all(self._engine)

    def read(self, work: partial[tuple[list[StoredRow], list[StoredRow]]]) -> tuple[list[StoredRow], list[StoredRow]]:
        with self._engine.begin() as connection:
            return work(connection)


_EMPTY = _Empty()


async def test_rows_of_an_address_are_those_of_everybody_who_has_it_in_whatever_case(
    place: LogPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FEW", 7)
    monkeypatch.setattr(pages, "MANY", 40)
    addresses = ("Ada@Example.com", "ada@example.com", "ADA%@example.com", "Jürgen@example.com", "grace@example.com")
    made = [row(n, identity=f"p{n % 7}", email=addresses[n % 5]) for n in range(100)]
    async with CallLog.open(place) as log:
        await log.database.write(partial(store, batch=batch_of("i", 1, made), now=AT + DAY))
        for asked, number in (("ada@EXAMPLE.com", 40), ("Jürgen@example.com", 20), ("ada%@example.com", 20), ("a", 0)):
            found: list[StoredRow] = []
            here = None
            while True:
                page = await log.database.read(partial(older, filters=Filters(email=asked), id=here, limit=9))
                found += page.rows
                if not page.more:
                    break
                here = page.reached
            assert len(found) == len({one.id for one in found}) == number, asked
            if number:
                assert {one.row.email.lower() for one in found} == {asked.lower()}
