"""The tables of the log. Rows are added and, whole days later, removed; they never change."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

from portal.logs.row import COLUMNS, LogRow

VERSION = 3
DAY = 86_400_000_000
"""Microseconds."""
HOUR = 3_600_000_000
BOUNDS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
"""Upper ends, in microseconds, of the parts that times are counted in; the twelfth part has no end."""

ADDED_BY = {2: ("span", "parent_span", "labels"), 3: ("line",)}
"""Columns that came with a version, in order. They are null in older rows, whose batches were hashed without them."""
ADDED = tuple(name for names in ADDED_BY.values() for name in names)

metadata = MetaData()

_NUMBERS = {
    "at": BigInteger,
    "us": BigInteger,
    "bytes_in": BigInteger,
    "bytes_out": BigInteger,
    "tokens_saved": BigInteger,
    "error_code": BigInteger,
    "call": Integer,
    "line": Integer,
}


def _column(name: str) -> Column[int] | Column[str]:
    if (kind := _NUMBERS.get(name)) is not None:
        return Column(name, kind, nullable=name == "error_code" or name in ADDED)
    return Column(name, Text, nullable=name in ADDED)


_FAILED, _OF_RUN = text("outcome <> 'ok'"), text("run <> ''")

# `id` is the time when a row was complete, in microseconds since 1970, or later: it only grows, in the order in which
# rows are committed, so that a page, a tail or an export goes on behind an id and misses nothing.
calls = Table(
    "calls",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("instance", String(32), nullable=False),
    Column("number", BigInteger, nullable=False),
    *map(_column, COLUMNS),
    Index("calls_by_server", "server", "id"),
    Index("calls_by_identity", "identity", "id"),
    Index("calls_by_run", "run", "id", sqlite_where=_OF_RUN, postgresql_where=_OF_RUN),
    Index("calls_failed", "id", sqlite_where=text("outcome <> 'ok'"), postgresql_where=text("outcome <> 'ok'")),
    postgresql_partition_by="RANGE (id)",
)

KEY = ("hour", "portal", "server", "kind", "name", "outcome")
"""What the sums of an hour are told apart by."""
SUMS = ("n", "us", "bytes_in", "bytes_out", "tokens_saved", *(f"h{part}" for part in range(len(BOUNDS) + 1)))
"""What is summed up: calls, times, bytes, tokens, and the calls in each part of `BOUNDS`."""

# How many, how long and how much in each hour, counted as the rows are added.
rollup = Table(
    "rollup",
    metadata,
    Column("hour", BigInteger, primary_key=True),
    *(Column(name, Text, primary_key=True) for name in KEY if name != "hour"),
    *(Column(name, BigInteger, nullable=False) for name in (*SUMS, "us_max")),
)

batches = Table(
    "batches",
    metadata,
    Column("n", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("batch", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

# How far each instance's rows are here: a row is stored once, however often it comes.
writers = Table(
    "writers",
    metadata,
    Column("instance", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# Of the calls whose contents are kept: sealed, under the key `kid`.
contents = Table(
    "contents",
    metadata,
    Column("instance", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("day", BigInteger, nullable=False, index=True),
    Column("kid", String(16), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
)

facts = Table(
    "log_facts", metadata, Column("name", String(40), primary_key=True), Column("value", Text, nullable=False)
)

ROW_COLUMNS = (calls.c.id, calls.c.instance, calls.c.number, *(calls.c[name] for name in COLUMNS))
"""What a row is, in the order in which it is hashed (`as_written`)."""

assert set(LogRow._fields) < set(calls.c.keys())


def as_written(values: Sequence[object]) -> list[object]:
    """The values of a stored row as they were when it was written: without the columns that there were not yet."""
    written = [*values]
    while len(written) > len(ROW_COLUMNS) - len(ADDED) and written[-1] is None:
        written.pop()
    return written
