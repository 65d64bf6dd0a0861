"""The log: rows come in, are stored once, in batches that follow from each other, and whole days later they go."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, insert, select, text, update
from structlog.testing import capture_logs

from portal.logs import CallLog, LogDatabase, LogPlace, LogRow, LogSettings, LogUnusable
from portal.logs import log as logs
from portal.logs.batch import sign, store
from portal.logs.chain import START, LogKey, digest_of, linked
from portal.logs.journal import Journal
from portal.logs.pages import count_some
from portal.logs.query import Filters, after, before, conditions, dropped, newest_id
from portal.logs.row import packed
from portal.logs.schema import ADDED_BY, DAY, ROW_COLUMNS, VERSION, batches, calls, checkpoints, facts
from portal.logs.verification import Verification, verify
from tests.patience import PATIENCE
from tests.portal.logs.rows import AT, batch_of, row

pytestmark = pytest.mark.anyio


async def rows_of(log: CallLog, filters: Filters | None = None) -> list[LogRow]:
    """The rows in the database, oldest first."""
    found = await log.database.read(partial(after, filters=filters or Filters(), id=0))
    return [one.row for one in found]


async def verified(database: LogDatabase, *keys: LogKey) -> Verification:
    return await database.read(partial(verify, trusted=[key.public for key in keys]))


async def test_rows_are_stored_in_order_and_once(place: LogPlace) -> None:
    written = [row(number) for number in range(1200)]
    async with CallLog.open(place) as log:
        for one in written:
            log.write(one, "ada")
        await log.stored()
        # As after a process that ended before it noted in its journal what it had stored.
        again = batch_of(log._journal.instance, 601, written[600:])
        await log.database.write(partial(store, batch=again, now=AT + DAY))
        assert await log.database.read(partial(count_some, filters=Filters())) == (1200, False)
    async with CallLog.open(place) as log:
        found: list[Any] = []
        while page := await log.database.read(partial(after, filters=Filters(), id=found[-1].id if found else 0)):
            found += page
        assert [one.row for one in found] == written
        assert [one.number for one in found] == list(range(1, 1201))
        assert {one.instance for one in found} == {log._journal.instance}
        assert await verified(log.database, LogKey.open(place.key)) == Verification(
            1200, len(await _all(log.database, batches)), 1, 1200, 0, 0, {LogKey.open(place.key).public.hex()}, []
        )


async def _all(database: LogDatabase, table: Any) -> Sequence[Any]:
    return await database.read(lambda connection: connection.execute(select(table)).all())


async def test_what_an_ended_process_left_in_its_journal_is_stored_by_the_next(place: LogPlace) -> None:
    for number in (0, 3, 5):
        journal = Journal.open(place.journal(number))
        for at in range(3):
            assert journal.append(packed(row(10 * number + at)) or b"")
        journal.close()
    async with CallLog.open(place) as log:
        async with asyncio.timeout(PATIENCE):
            while len(await rows_of(log)) < 9 or place.journal(5).exists():
                await asyncio.sleep(0.01)
        assert sorted(one.at for one in await rows_of(log)) == [row(n).at for n in (0, 1, 2, 30, 31, 32, 50, 51, 52)]
        # Its own journal stays; the others are of no use any more.
        assert place.journal(0).exists() and not place.journal(3).exists()


async def test_a_row_of_a_journal_that_cannot_be_read_changes_the_number_of_no_other(place: LogPlace) -> None:
    for number in (0, 1):
        journal = Journal.open(place.journal(number))
        for left in (packed(row(1)), b"of another program", packed(row(3))):
            assert journal.append(left or b"")
        journal.close()
    async with CallLog.open(place) as log:
        async with asyncio.timeout(PATIENCE):
            while place.journal(1).exists():
                await asyncio.sleep(0.01)
            await log.stored()
        found = await log.database.read(partial(after, filters=Filters(), id=0))
    assert sorted((one.number, one.row.at) for one in found) == 2 * [(1, row(1).at)] + 2 * [(3, row(3).at)]


async def test_two_processes_write_into_one_log(place: LogPlace) -> None:
    async with CallLog.open(place) as one, CallLog.open(place) as two:
        for number in range(300):
            one.write(row(number))
            two.write(row(number, server="mail"))
        await asyncio.gather(one.stored(), two.stored())
        found = await rows_of(one)
        assert [r.at for r in found if r.server == "mail"] == [r.at for r in found if r.server == "files"]
        assert len(found) == 600 and one._journal.instance != two._journal.instance
        key = LogKey.open(place.key)
        await one._sign()
        report = await verified(one.database, key)
        assert report.is_whole and report.rows == report.signed == 600


async def test_ids_only_grow_whatever_the_clock_does(place: LogPlace) -> None:
    now = AT + 10_000_000
    async with CallLog.open(place) as log:
        for first, at in enumerate([AT, AT - DAY, AT + 400 * DAY, AT + 1], start=1):
            batch = batch_of("i", first, [row(at=at)])
            await log.database.write(partial(store, batch=batch, now=now))
        found = await log.database.read(partial(after, filters=Filters(), id=0))
    ids = [one.id for one in found]
    assert ids[0] == AT + 1500 and ids[1] == ids[0] + 1 and ids[2] == now and ids[3] == now + 1


async def test_what_no_database_takes_is_stored_as_near_as_it_can_be(place: LogPlace) -> None:
    async with CallLog.open(place) as log:
        log.write(row(1))
        log.write(row(2, us=2**70))
        log.write(row(3, reason="with a \0 and a \ud800"))
        async with asyncio.timeout(PATIENCE):
            await log.stored()
        found = await rows_of(log)
    assert [one.at for one in found] == [row(1).at, row(2).at, row(3).at]
    assert found[1].us == 2**62 and found[2].reason == "with a \ufffd and a \ufffd"


async def test_without_room_rows_are_dropped_and_counted_and_one_caller_leaves_room_for_others(place: LogPlace) -> None:
    async with CallLog.open(place, room=10) as log:
        for number in range(20):
            log.write(row(number), "flood")
        log.write(row(99), "bob")
        assert log.dropped == 15 and log.has_room()
        await log.stored()
        assert [one.at for one in await rows_of(log)][-1] == row(99).at
        log.write(row(100))
        await log.stored()
        assert await log.database.read(dropped) == 15


async def test_callers_wait_for_room_where_that_is_set(place: LogPlace) -> None:
    async with CallLog.open(place, lambda: LogSettings(when_full="block"), room=4) as log:
        for number in range(2):
            assert log.has_room("ada")
            log.write(row(number), "ada")
        assert not log.has_room("ada") and log.has_room("bob")
        async with asyncio.timeout(PATIENCE):
            await log.room("ada")
        log.write(row(2), "ada")
        assert log.dropped == 0


async def test_who_watches_sees_each_row_as_it_comes(place: LogPlace) -> None:
    seen: list[LogRow] = []
    async with CallLog.open(place) as log:
        end = log.watch(seen.append)
        log.write(row(1))
        assert seen == [row(1)]
        end()
        log.write(row(2))
    assert seen == [row(1)]


async def test_whole_days_are_removed_and_the_rest_still_verifies(place: LogPlace) -> None:
    key = LogKey.open(place.key)
    today = AT // DAY
    kept = [LogSettings(keep_days=3000)]
    async with CallLog.open(place, lambda: kept[0]) as log:
        number = 0
        for day in range(6):
            begin = (today - 5 + day) * DAY
            made = [row(at=begin + 1000 * n) for n in range(100)]
            await log.database.write(partial(store, batch=batch_of("i", number + 1, made), now=AT + DAY))
            number += len(made)
        kept[0] = LogSettings(keep_days=2)
        assert await log.remove_old(AT) == 300
        found = await log.database.read(partial(after, filters=Filters(), id=0))
        assert len(found) == 300 and found[0].id // DAY == today - 2
        assert await log.remove_old(AT) == 0
        await log.database.write(partial(sign, key=key, now=AT))
        report = await verified(log.database, key)
        assert report.is_whole and report.rows == report.signed == 300
        # All of it, and the chain goes on.
        assert await log.remove_old(AT + 10 * DAY) == 300
        await log.database.write(partial(store, batch=batch_of("i", number + 1, [row(5)]), now=AT + DAY))
        report = await verified(log.database, key)
        assert report.is_whole and report.rows == 1


async def test_a_batch_is_of_one_day(place: LogPlace) -> None:
    midnight = (AT // DAY) * DAY
    async with CallLog.open(place) as log:
        made = [row(at=midnight - 2000, us=n * 1000) for n in range(5)]
        await log.database.write(partial(store, batch=batch_of("i", 1, made), now=AT))
        found = await _all(log.database, batches)
    assert [one.count for one in found] == [2, 3]
    assert all(one.first // DAY == one.last // DAY for one in found)


TAMPERED = {
    "changed": ("UPDATE calls SET name = 'other' WHERE number = 5", "a row of batch 1 .* was changed"),
    "removed": ("DELETE FROM calls WHERE number = 5", "batch 1 has 9 rows and had 10"),
    "moved": ("UPDATE calls SET id = id + 1 WHERE number = 10", "batch 1 has 9 rows"),
    "a batch": ("DELETE FROM batches WHERE n = 1", "batches 1 to 1 are missing"),
    "the last batch": ("DELETE FROM batches WHERE n = 2", "batches 2 to 2 were signed and are missing"),
    "a link": ("UPDATE batches SET hash = digest WHERE n = 1", "batch 1 does not follow"),
    "a signature": (
        "UPDATE checkpoints SET signature = hash",
        "the signature of the checkpoint of batch 2 is not right",
    ),
    "the key": ("UPDATE checkpoints SET public_key = hash", "which is not trusted"),
    "a writer": ("UPDATE writers SET number = 21", "has written 21 rows, and the last that is there is 20"),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_a_change_by_hand_is_found(place: LogPlace, what: str) -> None:
    statement, words = TAMPERED[what]
    key = LogKey.open(place.key)
    async with CallLog.open(place) as log:
        for first in (1, 11):
            made = [row(first + n) for n in range(10)]
            await log.database.write(partial(store, batch=batch_of("i", first, made), now=AT + DAY))
        await log.database.write(partial(sign, key=key, now=AT + DAY))
        assert (await verified(log.database, key)).is_whole
        await log.database.write(lambda connection: connection.execute(text(statement)).close())
        report = await verified(log.database, key)
        assert not report.is_whole
        assert any(re.search(words, fault) for fault in report.faults), report.faults


async def test_a_row_that_was_added_by_hand_is_found(place: LogPlace) -> None:
    key = LogKey.open(place.key)
    async with CallLog.open(place) as log:
        await log.database.write(partial(store, batch=batch_of("i", 1, [row(1)]), now=AT + DAY))

        def add(connection: Connection) -> None:
            one = row(2)
            connection.execute(insert(calls).values(id=AT + 9_000, instance="i", number=2, **one._asdict()))

        await log.database.write(add)
        assert "were added by hand" in (await verified(log.database, key)).faults[0]


async def test_a_chain_that_was_computed_anew_is_not_signed(place: LogPlace) -> None:
    key, other = LogKey.open(place.key), LogKey.open(place.folder / "other.key")
    async with CallLog.open(place) as log:
        await log.database.write(partial(store, batch=batch_of("i", 1, [row(1)]), now=AT + DAY))
        await log.database.write(partial(sign, key=key, now=AT + DAY))

        def forge(connection: Connection) -> None:
            for table in (calls, batches, checkpoints):
                connection.execute(table.delete())
            connection.execute(text("DELETE FROM writers"))
            store(connection, batch_of("i", 1, [row(1, name="forged")]), AT + DAY)
            sign(connection, other, AT + DAY)

        await log.database.write(forge)
        assert "is not trusted" in (await verified(log.database, key)).faults[0]


async def test_pages_go_on_behind_an_id_and_filters_hold(place: LogPlace) -> None:
    async with CallLog.open(place) as log:
        made = [
            row(n, server=f"s{n % 3}", identity=f"p{n % 5}", outcome="error" if n % 7 == 0 else "ok", run=f"r{n // 10}")
            for n in range(100)
        ]
        await log.database.write(partial(store, batch=batch_of("i", 1, made), now=AT + DAY))
        read = log.database.read
        newest = await read(partial(before, filters=Filters(), limit=40))
        assert [one.row for one in newest] == made[:-41:-1]
        older = await read(partial(before, filters=Filters(), id=newest[-1].id, limit=40))
        assert [one.row for one in older] == made[59:19:-1]
        for filters, wanted in (
            (Filters(server="s1"), [r for r in made if r.server == "s1"]),
            (Filters(failed=True), [r for r in made if r.outcome != "ok"]),
            (Filters(run="r3"), made[30:40]),
            (Filters(identity="p2", server="s0"), [r for r in made if r.identity == "p2" and r.server == "s0"]),
            (Filters(since=made[50].at + 1500, until=made[60].at + 1500), made[50:60]),
            (Filters(name="nothing"), []),
        ):
            assert [one.row for one in await read(partial(after, filters=filters, id=0))] == wanted
            assert await read(partial(count_some, filters=filters)) == (len(wanted), False)
        assert await read(newest_id) == newest[0].id


async def test_each_page_uses_an_index(tmp_path: Path) -> None:
    place = LogPlace(url=f"sqlite:///{tmp_path}/logs.db", folder=tmp_path)
    plans: dict[str, str] = {}

    def explain(connection: Connection) -> None:
        # As the log does itself from time to time.
        connection.execute(text("ANALYZE"))
        every = {
            "everything": Filters(),
            "calls_by_server": Filters(server="s1"),
            "calls_by_identity": Filters(identity="p1"),
            "calls_by_run": Filters(run="r1"),
            "calls_failed": Filters(failed=True),
            "a while": Filters(since=1, until=2),
        }
        for name, filters in every.items():
            query = conditions(select(calls.c.id), filters).order_by(calls.c.id.desc()).limit(10)
            words = str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {words}").all()
            plans[name] = " / ".join(str(line[-1]) for line in plan)

    async with CallLog.open(place) as log:
        made = [
            row(n, server=f"s{n % 9}", identity=f"p{n % 50}", outcome="ok" if n % 20 else "error", run=f"r{n // 5}")
            for n in range(2000)
        ]
        await log.database.write(partial(store, batch=batch_of("i", 1, made), now=AT + DAY))
        await log.database.write(explain)
    for name, plan in plans.items():
        assert "B-TREE" not in plan, plan
        if name.startswith("calls_"):
            assert f"USING COVERING INDEX {name}" in plan or f"USING INDEX {name}" in plan, plan
    assert plans["a while"].startswith("SEARCH calls USING INTEGER PRIMARY KEY"), plans["a while"]


@pytest.mark.parametrize("version", [1, 2])
async def test_a_log_of_an_older_version_is_brought_up_to_date_and_still_verifies(
    place: LogPlace, version: int
) -> None:
    labels = "confidential" if version > 1 else ""
    key = LogKey.open(place.key)
    old = [row(number, trace="0af7651916cd43dd8448eb211c80319c", labels=labels) for number in range(3)]
    database = LogDatabase(place.url)
    await database.open()
    await database.write(partial(_as_version, version=version, rows=old, key=key))
    await database.close()
    with pytest.raises(LogUnusable, match="a portal that serves brings it up to date"):
        await read_only(place)
    async with CallLog.open(place) as log:
        log.write(row(9, span="00f067aa0ba902b7", labels="confidential", line=12))
        await log.stored()
        assert await rows_of(log) == [*old, row(9, span="00f067aa0ba902b7", labels="confidential", line=12)]
        assert await verified(log.database, key) == Verification(4, 2, 1, 3, 1, 0, {key.public.hex()}, [])
        # Nothing, where there was no column, is not the same as an empty value.
        await log.database.write(
            lambda connection: connection.execute(update(calls).where(calls.c.number == 1).values(line=0))
        )
        assert (await verified(log.database, key)).faults
    await read_only(place)


async def read_only(place: LogPlace) -> None:
    """Open the log as a command does that only reads it."""
    database = LogDatabase(place.url)
    try:
        await database.open(make=False)
    finally:
        await database.close()


def _as_version(connection: Connection, version: int, rows: Sequence[LogRow], key: LogKey) -> None:
    """Make the log that this version has made of these rows."""
    added = [name for since, names in ADDED_BY.items() for name in names if since > version]
    store(connection, batch_of("a" * 32, 1, rows), AT + DAY)
    for name in added:
        connection.execute(text(f"ALTER TABLE calls DROP COLUMN {name}"))
    connection.execute(update(facts).values(value=str(version)))
    kept = [column for column in ROW_COLUMNS if column.name not in added]
    digest = digest_of(orjson.dumps([*one]) for one in connection.execute(select(*kept).order_by(calls.c.id)))
    connection.execute(update(batches).values(digest=digest, hash=linked(START, digest)))
    sign(connection, key, AT + DAY)


async def test_a_log_of_a_newer_program_is_refused(place: LogPlace) -> None:
    async with CallLog.open(place) as log:
        await log.database.write(lambda c: c.execute(facts.update().values(value=str(VERSION + 1))).close())
    with pytest.raises(LogUnusable, match="newer codemode"):
        async with CallLog.open(place):
            pass


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://x/y", "there is no log in 'mysql'"),
        ("sqlite://", "needs a file"),
        ("no url", "cannot be read"),
        ("postgresql://nobody@127.0.0.1:1/none", "cannot be reached"),
        ("sqlite:////proc/none/logs.db", "logs.db: "),
    ],
)
async def test_a_place_that_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(LogUnusable, match=words):
        async with CallLog.open(LogPlace(url=url, folder=tmp_path)):
            pass


async def test_reading_makes_no_log(tmp_path: Path) -> None:
    database = LogDatabase(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(LogUnusable, match="there is no log yet"):
        await database.open(make=False)
    await database.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("_sign", "signing"),
        ("remove_old", "removing old rows"),
        ("_store_journal", "a journal"),
        ("_store", "storing rows"),
    ],
)
async def test_a_part_of_the_log_that_fails_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, what: str
) -> None:
    place = LogPlace(url=f"sqlite:///{tmp_path}/logs.db", folder=tmp_path)
    left = Journal.open(place.journal(5))
    assert left.append(packed(row(7)) or b"")
    left.close()
    for name in ("SIGN_SECONDS", "REMOVE_SECONDS", "_LONGEST_PAUSE", "BATCH_SECONDS"):
        monkeypatch.setattr(logs, name, 0.001)
    real, tried = getattr(CallLog, part), 0
    again = asyncio.Event()

    async def failing(self: CallLog, *arguments: Any) -> Any:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise ZeroDivisionError("a fault of ours")
        again.set()
        return await real(self, *arguments)

    monkeypatch.setattr(CallLog, part, failing)
    with capture_logs() as said:
        async with CallLog.open(place) as log:
            log.write(row(1))
            async with asyncio.timeout(PATIENCE):
                if part == "_store_journal":
                    while not tried:
                        await asyncio.sleep(0.001)
                else:
                    await again.wait()
                await log.stored()
    assert [one for one in said if what in str(one) and one["log_level"] == "error"], said
    if part == "_store_journal":
        # It stays, with its rows, and the next start stores them.
        assert place.journal(5).exists()
        async with CallLog.open(place) as log, asyncio.timeout(PATIENCE):
            while place.journal(5).exists():
                await asyncio.sleep(0.001)
            assert len(await rows_of(log)) == 2


async def test_a_run_has_one_row_whichever_process_writes_it(place: LogPlace) -> None:
    first, other = row(1, kind="run", run="exec_1"), row(2, kind="run", run="exec_1", reason="of another process")
    call = row(3, run="exec_1")
    async with CallLog.open(place) as one, CallLog.open(place) as two:
        one.write(first)
        await one.stored()
        two.write(call)
        two.write(other)
        two.write(row(4, kind="run", run="exec_2"))
        two.write(row(5, kind="run", run="exec_2", reason="once more"))
        await two.stored()
        assert await rows_of(one) == [first, call, row(4, kind="run", run="exec_2")]
        # What is left out is no gap: the last row of a process may be one of these.
        assert (await verified(one.database, LogKey.open(place.key))).is_whole
