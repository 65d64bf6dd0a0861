"""Puts a batch of rows into the database: the rows and their link of the chain. One transaction.

Synchronous, over one connection: the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from sqlalchemy import Connection, Table, delete, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from portal.logs.chain import START, Checkpoint, LogKey, digest_of, linked
from portal.logs.row import LogRow, packed, storable
from portal.logs.schema import DAY, HOUR, ROW_COLUMNS, SUM_TABLES, batches, calls, checkpoints, writers

_RUNS_AT_ONCE = 200
_LOCK = 0x636F_6465_6C6F_6773
_ANALYSED = 1_000
"""Entries of an index that are looked at, which takes milliseconds however many there are."""

_NAMES = ", ".join(column.name for column in ROW_COLUMNS)
_CAST = ", ".join(f"CAST(value->>{at} AS {column.type})" for at, column in enumerate(ROW_COLUMNS))
_ADD_ON_SERVER = f"INSERT INTO calls ({_NAMES}) SELECT {_CAST} FROM jsonb_array_elements(CAST($1 AS jsonb)) AS value"
"""Adds rows, given as a JSON array of arrays: PostgreSQL takes them apart itself."""
_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
_MARKS = f"({', '.join('?' * len(ROW_COLUMNS))})"
_ADD_TO_FILE = {number: f"INSERT INTO calls ({_NAMES}) VALUES {', '.join([_MARKS] * number)}" for number in _AT_ONCE}
"""Add so many rows, given as their values. For SQLite to take JSON apart costs as much as all the rest of a row, and
many rows at once spare the thread to wait for the interpreter after each."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one instance in order, each with its number. `dropped` is how many it had no room for so far."""

    instance: str
    rows: Sequence[tuple[int, LogRow]]
    dropped: int = 0


def store(connection: Connection, batch: Batch, now: int) -> None:
    """Add the rows that are not there yet, of a run one. `now` is in microseconds since 1970."""
    lock(connection)
    known = connection.execute(select(writers.c.number).where(writers.c.instance == batch.instance)).scalar() or 0
    rows = _once(connection, [(number, row) for number, row in batch.rows if number > known])
    n, last, previous = _newest(connection)
    lines: list[tuple[int, int, LogRow, bytes]] = []
    for number, row in rows:
        # A clock that was wrong for a moment must not put all later rows behind that moment.
        last = max(last + 1, min(row.at + row.us, now))
        lines.append(_line(last, batch.instance, number, row))
    # No batch is of two days: whole days are removed.
    for day, part in groupby(lines, lambda one: one[0] // DAY):
        together = [*part]
        ids, _, _, texts = zip(*together, strict=True)
        _make_room(connection, day)
        _add(connection, batch.instance, together)
        n += 1
        digest = digest_of(texts)
        previous = linked(previous, digest)
        connection.execute(
            insert(batches).values(n=n, first=ids[0], last=ids[-1], count=len(ids), digest=digest, hash=previous)
        )
    reached = {"number": rows[-1][0] if rows else known, "dropped": batch.dropped, "at": now}
    noted = insert_into(connection, writers).values(instance=batch.instance, **reached)
    connection.execute(noted.on_conflict_do_update(index_elements=["instance"], set_=reached))


def runs_written(connection: Connection, ids: Sequence[str], since: int) -> set[str]:
    """Those of these runs that have their row. They began at `since` or later, in microseconds since 1970."""
    found = set[str]()
    # A clock may have been wrong. What is far older is in other partitions.
    late = calls.c.id >= since - HOUR
    for at in range(0, len(ids), _RUNS_AT_ONCE):
        some = calls.c.run.in_(ids[at : at + _RUNS_AT_ONCE])
        found.update(connection.execute(select(calls.c.run).where(some, calls.c.kind == "run", late)).scalars())
    return found


def _once(connection: Connection, rows: Sequence[tuple[int, LogRow]]) -> Sequence[tuple[int, LogRow]]:
    """These rows without those of runs that have one already: another process may have written it in the place of one
    that was killed, whose journal is stored later."""
    runs = [row for _, row in rows if row.kind == "run" and row.run]
    if not runs:
        return rows
    there = runs_written(connection, sorted({row.run for row in runs}), min(row.at for row in runs))
    kept: list[tuple[int, LogRow]] = []
    for number, row in rows:
        if row.kind == "run" and row.run:
            if row.run in there:
                continue
            there.add(row.run)
        kept.append((number, row))
    return kept


def sign(connection: Connection, key: LogKey, now: int) -> None:
    """Sign where the chain stands, unless that is signed."""
    lock(connection)
    n, _, newest = _newest(connection)
    signed = connection.execute(select(checkpoints.c.batch).order_by(checkpoints.c.batch.desc()).limit(1)).scalar()
    if n and n != signed:
        add_checkpoint(connection, key, Checkpoint(n, newest, now))


def add_checkpoint(connection: Connection, key: LogKey, checkpoint: Checkpoint) -> None:
    connection.execute(
        insert(checkpoints).values(
            batch=checkpoint.batch,
            at=checkpoint.at,
            hash=checkpoint.hash,
            public_key=key.public,
            signature=key.sign(checkpoint),
        )
    )


def lock(connection: Connection) -> None:
    """Let no other process write until the transaction ends. SQLite has begun it that way."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def day_table(day: int) -> str:
    """The name of the partition of a day, which is counted from 1970."""
    return f"calls_{datetime.fromtimestamp(day * 86_400, UTC):%Y%m%d}"


def _newest(connection: Connection) -> tuple[int, int, bytes]:
    """The number of the last batch, the id of its last row, and its hash."""
    columns = batches.c.n, batches.c.last, batches.c.hash
    found = connection.execute(select(*columns).order_by(batches.c.n.desc()).limit(1)).first()
    if found is not None:
        return found.n, found.last, found.hash
    # Everything was removed: the chain goes on where it was signed.
    signed = select(checkpoints).order_by(checkpoints.c.batch.desc(), checkpoints.c.at.desc()).limit(1)
    end = connection.execute(signed).first()
    return (0, 0, START) if end is None else (end.batch, end.at, end.hash)


def _make_room(connection: Connection, day: int) -> None:
    if connection.dialect.name == "postgresql":
        # Two numbers, and a name made of one.
        bounds = f"FROM ({day * DAY}) TO ({(day + 1) * DAY})"
        connection.execute(text(f"CREATE TABLE IF NOT EXISTS {day_table(day)} PARTITION OF calls FOR VALUES {bounds}"))


def _line(id: int, instance: str, number: int, row: LogRow) -> tuple[int, int, LogRow, bytes]:
    """Its id, its number, a row as it is stored, and as it is hashed: a JSON array of `ROW_COLUMNS`."""
    if (text := packed(row)) is None:
        row = storable(row)
        text = packed(row)
    assert text is not None, "what is storable can be packed"
    return id, number, row, b'[%d,"%s",%d,%s' % (id, instance.encode(), number, text[1:])


def _add(connection: Connection, instance: str, lines: Sequence[tuple[int, int, LogRow, bytes]]) -> None:
    if connection.dialect.name == "postgresql":
        array = b"[" + b",".join(text for _, _, _, text in lines) + b"]"
        connection.exec_driver_sql(_ADD_ON_SERVER, (array.decode(),)).close()
        return
    at = 0
    while at < len(lines):
        number = next(one for one in _AT_ONCE if one <= len(lines) - at)
        values: list[int | str | None] = []
        for id, of_instance, row, _ in lines[at : at + number]:
            values += (id, instance, of_instance, *row)
        connection.exec_driver_sql(_ADD_TO_FILE[number], tuple(values)).close()
        at += number


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


@dataclass(frozen=True, slots=True)
class Leaving:
    """Rows that are about to be removed: all up to the id `until`, at the end of a batch."""

    until: int

    def count_after(self, connection: Connection, id: int) -> int:
        """How many of them are behind this id."""
        whole = select(func.sum(batches.c.count)).where(batches.c.first > id, batches.c.last <= self.until)
        # The batch that the id is in is counted row by row.
        end = select(batches.c.last).where(batches.c.first <= id, batches.c.last > id).limit(1)
        last = min(connection.execute(end).scalar() or id, self.until)
        part = select(func.count()).select_from(calls).where(calls.c.id > id, calls.c.id <= last)
        return int(connection.execute(whole).scalar() or 0) + int(connection.execute(part).scalar() or 0)


Farewell = Callable[[Connection, Leaving], None]
"""What is done in the transaction that removes rows, before they are gone."""


def remove_before(
    connection: Connection, day: int, key: LogKey, now: int, most: int, farewells: Sequence[Farewell] = ()
) -> int:
    """Remove what is older than this day, at most about so many rows. How many rows are gone; 0 when there are no more.

    Batches go whole, and where the chain begins then is signed first.
    """
    lock(connection)
    on_server = connection.dialect.name == "postgresql"
    old = select(batches.c.n, batches.c.first, batches.c.last, batches.c.count, batches.c.hash)
    gone, end = 0, None
    for found in connection.execute(old.where(batches.c.last < day * DAY).order_by(batches.c.n)):
        end = found
        gone += found[3]
        # A server drops whole days at no cost.
        if gone >= most and not on_server:
            break
    if end is None:
        return 0
    signed = select(checkpoints.c.batch).where(checkpoints.c.batch == end.n).limit(1)
    if connection.execute(signed).first() is None:
        add_checkpoint(connection, key, Checkpoint(end.n, end.hash, now))
    for farewell in farewells:
        farewell(connection, Leaving(end.last))
    connection.execute(delete(batches).where(batches.c.n <= end.n))
    if on_server:
        for table in _old_days(connection, day):
            connection.execute(text(f"DROP TABLE {table}"))
        return gone
    connection.execute(delete(calls).where(calls.c.id <= end.last))
    # The room goes back to the disk, as much at once as was removed: some kilobytes for each row.
    connection.exec_driver_sql(f"PRAGMA incremental_vacuum({gone})").close()
    return gone


def _old_days(connection: Connection, day: int) -> list[str]:
    """The partitions of days before this one."""
    tables = text("SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'calls'::regclass")
    return sorted(name for name in connection.execute(tables).scalars() if name < day_table(day))


def optimize(connection: Connection) -> None:
    """Let SQLite look at some entries of each index, so that it uses the right one. A server does that by itself."""
    if connection.dialect.name == "sqlite":
        # `PRAGMA optimize` does it only for what this connection has asked for, and the writer asks for nothing.
        tables = [f"ANALYZE {one.name}" for one in (calls, *SUM_TABLES)]
        for statement in (f"PRAGMA analysis_limit = {_ANALYSED}", *tables):
            connection.exec_driver_sql(statement).close()
