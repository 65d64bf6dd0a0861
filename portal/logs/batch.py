"""Puts a batch of rows into the database: the rows, what they add to the hours, their link of the chain. One
transaction.

Synchronous, over one connection: the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from sqlalchemy import Connection, Table, delete, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from portal.logs.chain import START, Checkpoint, LogKey, digest_of, linked
from portal.logs.row import LogRow
from portal.logs.schema import BOUNDS, DAY, HOUR, batches, calls, checkpoints, rollup, writers

_LOCK = 0x636F_6465_6C6F_6773
_SUMS = ("n", "us", "bytes_in", "bytes_out", "tokens_saved", *(f"h{part}" for part in range(len(BOUNDS) + 1)))
_KEY = ("hour", "portal", "server", "kind", "name", "outcome")
_NAMED = frozenset({"tool", "prompt"})
"""Kinds whose names are as few as servers list. URIs may be as many as rows."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one instance, whose numbers begin at `first`. `dropped` is how many it had no room for so far."""

    instance: str
    first: int
    rows: Sequence[LogRow]
    dropped: int = 0


def store(connection: Connection, batch: Batch, now: int) -> None:
    """Add the rows that are not there yet. `now` is in microseconds since 1970."""
    lock(connection)
    known = connection.execute(select(writers.c.number).where(writers.c.instance == batch.instance)).scalar() or 0
    rows = batch.rows[max(0, known + 1 - batch.first) :]
    first = max(batch.first, known + 1)
    n, last, previous = _newest(connection)
    numbered: list[tuple[int, str, int, LogRow]] = []
    for offset, row in enumerate(rows):
        # A clock that was wrong for a moment must not put all later rows behind that moment.
        last = max(last + 1, min(row.at + row.us, now))
        numbered.append((last, batch.instance, first + offset, row))
    # No batch is of two days: whole days are removed.
    for day, part in groupby(numbered, lambda one: one[0] // DAY):
        found = list(part)
        _make_room(connection, day)
        values = [(id, instance, number, *row) for id, instance, number, row in found]
        # By position: it is the same statement, and takes a third of the time that names take.
        connection.exec_driver_sql(str(insert(calls).compile(dialect=connection.dialect)), values)
        n += 1
        digest = digest_of(values)
        previous = linked(previous, digest)
        connection.execute(
            insert(batches).values(
                n=n, first=values[0][0], last=values[-1][0], count=len(values), digest=digest, hash=previous
            )
        )
    _count(connection, numbered)
    reached = {"number": first + len(rows) - 1, "dropped": batch.dropped, "at": now}
    noted = _insert_into(connection, writers).values(instance=batch.instance, **reached)
    connection.execute(noted.on_conflict_do_update(index_elements=["instance"], set_=reached))


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


def _count(connection: Connection, numbered: Sequence[tuple[int, str, int, LogRow]]) -> None:
    hours: dict[tuple[object, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys((*_SUMS, "us_max"), 0))
    for id, _, _, row in numbered:
        name = row.name if row.kind in _NAMED else ""
        sums = hours[id // HOUR, row.portal, row.server, row.kind, name, row.outcome]
        sums["n"] += 1
        sums["us"] += row.us
        sums["us_max"] = max(sums["us_max"], row.us)
        sums["bytes_in"] += row.bytes_in
        sums["bytes_out"] += row.bytes_out
        sums["tokens_saved"] += row.tokens_saved
        sums[f"h{bisect_left(BOUNDS, row.us)}"] += 1
    if not hours:
        return
    added = _insert_into(connection, rollup)
    new = added.excluded
    larger = func.greatest if connection.dialect.name == "postgresql" else func.max
    totals = {name: rollup.c[name] + new[name] for name in _SUMS}
    longest = larger(rollup.c.us_max, new.us_max)
    statement = added.on_conflict_do_update(index_elements=_KEY, set_={**totals, "us_max": longest})
    # In one order, so that no two writers wait for each other.
    keys = sorted(hours, key=repr)
    connection.execute(statement, [{**dict(zip(_KEY, key, strict=True)), **hours[key]} for key in keys])


def _insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def remove_before(connection: Connection, day: int, key: LogKey, now: int, most: int) -> int:
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
    """Let SQLite count what is in its indexes, so that it uses the right one. A server does that by itself."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA optimize").close()
