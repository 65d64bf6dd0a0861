"""What calls add up to is what their rows add up to, whatever the batches, and however far the sums are behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, select, text
from sqlalchemy.util import await_only

from portal.logs import (
    CallLog,
    CallWindow,
    Filters,
    FoundSums,
    LogDatabase,
    LogPlace,
    LogRow,
    LogSettings,
    StoredRow,
    Sums,
    SumsQuestion,
    after,
    crossing,
    folding,
    summing,
    sums,
    sums_of_each,
)
from portal.logs.batch import store
from portal.logs.folding import fold, fold_day, mark_of, missing_indexes, take_former
from portal.logs.schema import (
    BOUNDS,
    DAY,
    HOUR,
    OTHERS,
    SUM_TABLES,
    calls,
    day_sums,
    hour_callers,
    hour_sums,
    metadata,
)
from tests.deep import examples
from tests.patience import PATIENCE
from tests.portal.logs.rows import AT, batch_of, row
from tests.portal.logs.rows import rows as any_rows

pytestmark = pytest.mark.anyio

BY: Sequence[Sequence[str]] = (
    (),
    ("hour",),
    ("day",),
    ("portal", "kind"),
    ("outcome",),
    ("server",),
    ("server", "name", "outcome"),
    ("identity",),
    ("client", "client_version"),
)
MIDNIGHT = AT // DAY * DAY


def expected(stored: Sequence[StoredRow], by: Sequence[str], wanted: CallWindow) -> dict[tuple[Any, ...], list[LogRow]]:
    """The rows of each group, found by looking at every row."""
    groups: dict[tuple[Any, ...], list[LogRow]] = {}
    for one in stored:
        first, end = wanted.span
        if not first <= one.id < end:
            continue
        values = one.row._asdict() | {"hour": one.id // HOUR, "day": one.id // DAY}
        if values["kind"] not in ("tool", "prompt"):
            values["name"] = ""
        given = {name: getattr(wanted, name) for name in ("portal", "server", "kind", "identity", "client")}
        if all(value is None or values[name] == value for name, value in given.items()):
            groups.setdefault(tuple(values[name] for name in by), []).append(one.row)
    return groups


def agree(found: FoundSums, groups: dict[tuple[Any, ...], list[LogRow]]) -> None:
    """Whether these are the sums of these rows, and the times as near as is said."""
    assert {*found.groups} == {*groups}
    for key, made in groups.items():
        one = found.groups[key]
        assert one.n == len(made) == sum(one.parts.values()), key
        for name in ("us", "bytes_in", "bytes_out", "tokens_saved"):
            assert getattr(one, name) == sum(min(getattr(each, name), 2**40) for each in made), (key, name)
        assert one.us_max == min(max(each.us for each in made), 2**40)
        assert one.errors == sum(each.outcome != "ok" for each in made)
        assert one.denied == sum(each.outcome == "denied" for each in made)
        times = sorted(min(each.us, 2**40) for each in made)
        for q in (0.5, 0.99):
            near(one.quantile(q), times[max(0, ceil(q * len(times)) - 1)])
    assert [one.n for one in found.groups.values()] == sorted((one.n for one in found.groups.values()), reverse=True)


def near(found: int | None, true: int) -> None:
    assert found is not None
    assert abs(found - true) <= max(0.06 * true, 1000) or true > BOUNDS[-1], (found, true)


def names(*texts: str) -> st.SearchStrategy[str]:
    return st.sampled_from(texts)


FEW = st.builds(
    row,
    at=st.integers(MIDNIGHT - DAY - 3 * HOUR, MIDNIGHT + 5 * HOUR),
    us=st.integers(0, 10**9) | st.sampled_from([0, 999, 1000, 1001, 2**53]),
    kind=names("tool", "prompt", "resource", "run"),
    name=names("read", "write", "it's \"\ud83d\ude00"),
    outcome=names("ok", "ok", "denied", "timeout", "some day"),
    portal=names("", "team"),
    server=names("", "files", "mail"),
    identity=names("", "ada", "bob", "*"),
    client=names("", "agent"),
    client_version=names("1", "2"),
    bytes_in=st.integers(0, 2**62),
    tokens_saved=st.integers(0, 9),
)


@examples(100)
@given(
    batches=st.lists(st.tuples(names("one", "two"), st.lists(FEW | any_rows(), min_size=1, max_size=8)), max_size=8),
    steps=st.lists(st.integers(0, 6), min_size=8, max_size=8),
    days=st.integers(0, 3),
    wanted=st.builds(
        CallWindow,
        since=st.integers(MIDNIGHT - 2 * DAY, MIDNIGHT),
        until=st.integers(MIDNIGHT - DAY, MIDNIGHT + 3 * DAY),
        portal=st.none() | names("", "team"),
        server=st.none() | names("files"),
        kind=st.none() | names("tool"),
        identity=st.none() | names("ada"),
        client=st.none() | names("agent"),
    ),
)
def test_sums_are_those_of_the_rows_whatever_the_batches_and_however_many_are_behind(
    batches: list[tuple[str, list[LogRow]]], steps: list[int], days: int, wanted: CallWindow
) -> None:
    numbers = {"one": 1, "two": 1}
    with _memory().begin() as connection:
        for at, ((instance, made), step) in enumerate(zip(batches, steps, strict=False)):
            store(connection, batch_of(instance, numbers[instance], made), MIDNIGHT - DAY + at * 5 * HOUR)
            numbers[instance] += len(made)
            if step:
                fold(connection, step)
        for _ in range(days):
            fold_day(connection)
        stored = after(connection, Filters(), -(2**63), 900)
        for by in BY:
            found = sums(connection, by, wanted)
            assert found.since is None and found.until is None
            agree(found, expected(stored, by, wanted))


def _memory() -> Any:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    return engine


def spread(number: int = 600) -> list[LogRow]:
    """Rows of 40 hours that end at `AT`."""
    return [
        row(
            at=AT - (number - n) * 40 * HOUR // number,
            us=300 + n * 7919 % 2_000_000,
            outcome="ok" if n % 9 else "denied",
            portal=("", "team")[n % 2],
            server=f"s{n % 5}",
            name=f"t{n % 7}",
            identity=f"p{n % 11}",
            client=f"c{n % 3}",
            client_version=f"{n % 2}",
            tokens_saved=n,
        )
        for n in range(number)
    ]


@pytest.mark.parametrize("folded", ["nothing", "some", "all"])
async def test_each_question_is_answered_alike_before_and_after_its_rows_are_added_up(
    place: LogPlace, folded: str
) -> None:
    database = LogDatabase(place.url)
    await database.open()
    try:
        await database.write(partial(store, batch=batch_of("i", 1, spread()), now=AT + DAY))
        if folded != "nothing":
            assert await database.write(partial(fold, most=317)) == 317
        if folded == "all":
            while await database.write(fold):
                pass
            while await database.write(fold_day):
                pass
            assert await database.read(lambda c: c.execute(select(day_sums.c.at).distinct()).all())
        stored = await database.read(partial(after, filters=Filters(), id=0))
        for by, more in product(BY, ({}, {"server": "s1"}, {"identity": "p3"}, {"client": "c1", "portal": "team"})):
            window: dict[str, Any] = {"since": AT - 39 * HOUR, "until": AT, **more}
            wanted = CallWindow(**window)
            agree(await database.read(partial(sums, by=by, wanted=wanted)), expected(stored, by, wanted))
        wanted = CallWindow(since=AT - 39 * HOUR, until=AT)
        every = await database.read(partial(sums, by=["identity"], wanted=wanted))
        some = await database.read(partial(sums, by=["identity"], wanted=wanted, most=3))
        assert [*some.groups.items()] == [*every.groups.items()][:3]
        only = [*every.groups][4:6]
        assert (await database.read(partial(sums, by=["identity"], wanted=wanted, only=only))).groups == {
            key: every.groups[key] for key in only
        }
    finally:
        await database.close()


async def test_of_very_many_callers_in_an_hour_those_with_the_most_calls_have_sums_of_their_own(
    place: LogPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "MOST_CALLERS", 5)
    hour = AT // HOUR * HOUR
    made = [row(at=hour + n * 1000, identity=f"p{n % 20:02}", client=f"c{n}'", us=1) for n in range(40)]
    made += [row(at=hour + HOUR // 4 + n, identity="busy", us=1) for n in range(9)]
    later = [row(at=hour + HOUR // 2 + n, identity=("p00", "new", "busy")[n % 3], us=1) for n in range(30)]
    database = LogDatabase(place.url)
    await database.open()
    try:
        for first, part in ((1, made), (len(made) + 1, later)):
            await database.write(partial(store, batch=batch_of("i", first, part), now=AT + DAY))
            await database.write(fold)
        wanted = CallWindow(since=hour, until=hour + HOUR)
        people = (await database.read(partial(sums, by=["identity"], wanted=wanted))).groups
        assert {key: one.n for key, one in people.items()} == {
            (OTHERS,): 32 + 10,
            ("busy",): 19,
            ("p00",): 12,
            ("p01",): 2,
            ("p02",): 2,
            ("p03",): 2,
        }
        clients = (await database.read(partial(sums, by=["client", "client_version"], wanted=wanted))).groups
        assert len(clients) == 6 and clients[(OTHERS, OTHERS)].n == 79 - sum(
            one.n for key, one in clients.items() if key != (OTHERS, OTHERS)
        )
        assert sum(one.n for one in people.values()) == 79
    finally:
        await database.close()


async def test_a_question_that_no_sums_are_for_says_since_when_rows_were_read(
    place: LogPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossing, "LOOKED_AT", 20)
    monkeypatch.setattr(summing, "TAIL_ROWS", 30)
    async with CallLog.open(place) as log:
        await log.database.write(partial(store, batch=batch_of("i", 1, spread()), now=AT + DAY))
        wanted = CallWindow(since=AT - 40 * HOUR, until=AT + HOUR, identity="p3")
        found = await log.database.read(partial(sums, by=["name"], wanted=wanted))
        stored = await log.database.read(partial(after, filters=Filters(), id=0))
        mine = [one for one in stored if one.row.identity == "p3"]
        assert found.since == mine[-20].id and sum(one.n for one in found.groups.values()) == 20


ASKED = (
    SumsQuestion(["outcome"]),
    SumsQuestion(["day"]),
    SumsQuestion(["hour"], times=False),
    SumsQuestion([]),
    SumsQuestion(["server", "name"], most=3),
    SumsQuestion(["identity"], most=2, times=False),
    SumsQuestion(["client", "client_version"], only=[("c1", "0"), ("c2", "1"), ("nobody", "1")]),
    SumsQuestion(["server"], only=[]),
)


@pytest.mark.parametrize(
    "more",
    [{}, {"server": "s1"}, {"identity": "p3", "server": "s2"}, {"client": "c1", "identity": "nobody"}, {"rows": True}],
    ids=["everything", "a server", "a person at a server", "nobody", "rows"],
)
async def test_several_questions_about_a_window_are_answered_as_each_one_is_alone(
    place: LogPlace, more: dict[str, Any]
) -> None:
    database = LogDatabase(place.url)
    await database.open()
    try:
        await database.write(partial(store, batch=batch_of("i", 1, spread()), now=AT + DAY))
        for step in (partial(fold, most=317), fold_day):
            await database.write(step)
        wanted = CallWindow(since=AT - 39 * HOUR, until=AT, **more)
        found = await database.read(partial(sums_of_each, questions=ASKED, wanted=wanted))
        stored = await database.read(partial(after, filters=Filters(), id=0))
        for one, answer in zip(ASKED, found, strict=True):
            alone = await database.read(partial(sums, by=one.by, wanted=wanted, most=one.most, only=one.only))
            assert [*answer.groups] == [*alone.groups]
            for key, each in answer.groups.items():
                assert each == (alone.groups[key] if one.times else replace(alone.groups[key], parts={}))
                assert one.times or each.quantile(0.5) is None
            if one.most is None and one.only is None and one.times:
                agree(answer, expected(stored, one.by, wanted))
    finally:
        await database.close()


async def test_while_sums_are_far_behind_an_answer_says_until_when_it_is(
    place: LogPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summing, "TAIL_ROWS", 30)
    database = LogDatabase(place.url)
    await database.open()
    try:
        await database.write(partial(store, batch=batch_of("i", 1, spread(100)), now=AT + DAY))
        await database.write(partial(fold, most=50))
        stored = await database.read(partial(after, filters=Filters(), id=0))
        found = await database.read(partial(sums, by=[], wanted=CallWindow(since=AT - 40 * HOUR, until=AT + HOUR)))
        assert found.groups[()].n == 80 and found.until == stored[80].id
    finally:
        await database.close()


async def test_what_is_read_at_once_belongs_together_while_rows_are_added(place: LogPlace) -> None:
    database = LogDatabase(place.url)
    await database.open()
    try:
        await database.write(partial(store, batch=batch_of("i", 1, [row(1)]), now=AT + DAY))
        loop = asyncio.get_running_loop()
        half, added = asyncio.Event(), asyncio.Event()

        def read(connection: Connection) -> tuple[int, int]:
            first = mark_of(connection)
            loop.call_soon_threadsafe(half.set)
            wait(connection, added, loop)
            return first, mark_of(connection)

        reading = asyncio.create_task(database.read(read))
        async with asyncio.timeout(PATIENCE):
            await half.wait()
            assert await database.write(fold) == 1
            added.set()
            assert await reading == (0, 0)
        assert await database.read(mark_of) > 0
    finally:
        await database.close()


def wait(connection: Connection, event: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    """Wait within the work of a database: on SQLite in its thread, on a server in its task."""
    if connection.dialect.name == "sqlite":
        asyncio.run_coroutine_threadsafe(event.wait(), loop).result(PATIENCE)
    else:
        await_only(event.wait())


async def test_a_log_adds_up_its_rows_by_itself(place: LogPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.logs.log.FOLD_SECONDS", 0.01)
    monkeypatch.setattr("portal.logs.log.FOLD_LEAST", 5)
    async with CallLog.open(place) as log:
        for number in range(50):
            log.write(row(number))
        await log.stored()
        async with asyncio.timeout(PATIENCE):
            while await log.database.read(behind):
                await asyncio.sleep(0.01)


def behind(connection: Connection) -> int:
    return len(connection.execute(select(calls.c.id).where(calls.c.id > mark_of(connection))).all())


async def test_sums_outlast_their_rows_and_go_when_they_are_old(place: LogPlace) -> None:
    today = AT // DAY
    kept = [LogSettings(keep_days=3000, sums_days=3000)]
    async with CallLog.open(place, lambda: kept[0]) as log:
        number = 0
        for back in (200, 100, 50, 1, 0):
            made = [row(at=(today - back) * DAY + n * 1000) for n in range(10)]
            await log.database.write(partial(store, batch=batch_of("i", number + 1, made), now=AT + DAY))
            number += len(made)
        kept[0] = LogSettings(keep_days=2, sums_days=150)
        assert await log.remove_old(AT) == 30

        async def count(by: Sequence[str], back: int) -> int:
            start = (today - back) * DAY
            found = await log.database.read(partial(sums, by=by, wanted=CallWindow(since=start, until=start + DAY)))
            return sum(one.n for one in found.groups.values())

        for by in BY:
            assert [await count(by, back) for back in (200, 50, 1, 0)] == [0, 10, 10, 10], by
        assert await count(["hour"], 100) == await count(["name"], 100) == await count(["identity"], 100) == 10
        # Of what is so long ago there are no hours of tools and people any more.
        left = await log.database.read(hours_left)
        assert left == {("portal", 100), ("server", 100)} | {
            (subject, back) for subject in ("portal", "server", "tool", "person", "client") for back in (50, 1, 0)
        }


def hours_left(connection: Connection) -> set[tuple[str, int]]:
    """The subjects that have sums by the hour, and of how many days ago."""
    found = [
        one
        for table in (hour_sums, hour_callers)
        for one in connection.execute(select(table.c.subject, table.c.at).distinct())
    ]
    return {(subject, AT // DAY - hour // 24) for subject, hour in found}


FORMER = """CREATE TABLE rollup (hour BIGINT, portal TEXT, server TEXT, kind TEXT, name TEXT, outcome TEXT, n BIGINT,
us BIGINT, bytes_in BIGINT, bytes_out BIGINT, tokens_saved BIGINT, h0 BIGINT, h1 BIGINT, h2 BIGINT, h3 BIGINT,
h4 BIGINT, h5 BIGINT, h6 BIGINT, h7 BIGINT, h8 BIGINT, h9 BIGINT, h10 BIGINT, h11 BIGINT, us_max BIGINT,
PRIMARY KEY (hour, portal, server, kind, name, outcome))"""


async def test_a_log_of_an_earlier_version_is_brought_up_to_date_in_steps(
    place: LogPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "FOLD_ROWS", 50)
    long_ago = AT - 90 * DAY
    database = LogDatabase(place.url)
    await database.open()

    def as_before(connection: Connection) -> None:
        for table in SUM_TABLES:
            connection.execute(text(f"DROP TABLE {table.name}"))
        for name in ("calls_by_portal", "calls_by_client"):
            connection.execute(text(f"DROP INDEX {name}"))
        connection.execute(text(FORMER))
        # Rows of an hour that are gone, and of one that are there.
        for hour in (long_ago // HOUR, long_ago // HOUR + 30, AT // HOUR):
            values = f"({hour}, 'team', 'files', 'tool', 'read', 'ok', 4, 20000, 40, 80, 1, 0, 0, 4"
            connection.execute(text(f"INSERT INTO rollup VALUES {values}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6000)"))

    await database.write(partial(store, batch=batch_of("i", 1, spread(120)), now=AT + DAY))
    await database.write(as_before)
    await database.close()
    async with CallLog.open(place, lambda: LogSettings(keep_days=3000)) as log:
        async with asyncio.timeout(PATIENCE):
            while True:
                if not await log.database.read(missing_indexes) and not await log.database.read(behind):
                    break
                await asyncio.sleep(0.01)
        assert not await log.database.write(take_former)
        stored = await log.database.read(partial(after, filters=Filters(), id=0))
        wanted = CallWindow(since=AT - 50 * HOUR, until=AT + HOUR)
        for by in BY:
            agree(await log.database.read(partial(sums, by=by, wanted=wanted)), expected(stored, by, wanted))
        former = CallWindow(since=long_ago, until=long_ago + 2 * DAY, portal="team", kind="tool")
        for by in ((), ("server",), ("server", "name")):
            (one,) = (await log.database.read(partial(sums, by=by, wanted=former))).groups.values()
            assert (one.n, one.us, one.bytes_out, one.us_max) == (8, 40_000, 160, 6_000)
            # The time was between 3 and 10 ms.
            assert 5_000 < (one.quantile(0.5) or 0) < 6_000


@given(st.lists(st.integers(0, 600_000_000), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_as_near_as_it_is_said(times: list[int], q: float) -> None:
    parts: dict[int, int] = {}
    for us in times:
        part = next((at for at, bound in enumerate(BOUNDS) if us <= bound), len(BOUNDS))
        parts[part] = parts.get(part, 0) + 1
    one = Sums(len(times), sum(times), max(times), 0, 0, 0, parts)
    near(one.quantile(q), sorted(times)[max(0, ceil(q * len(times)) - 1)])
    assert Sums(0, 0, 0, 0, 0, 0).quantile(q) is None


def test_the_part_of_a_time_is_the_same_in_the_database() -> None:
    expression = folding.part_expression("us")
    with _memory().begin() as connection:
        for at, bound in enumerate(BOUNDS):
            found = connection.execute(text(f"SELECT {expression} FROM (SELECT {bound} AS us)")).scalar()
            more = connection.execute(text(f"SELECT {expression} FROM (SELECT {bound + 1} AS us)")).scalar()
            assert (found, more) == (at, at + 1)
