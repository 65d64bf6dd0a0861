"""The tables of the log. Rows are added and, whole days later, removed; they never change."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

from portal.logs.row import COLUMNS, LogRow

VERSION = 4
DAY = 86_400_000_000
"""Microseconds."""
HOUR = 3_600_000_000
BOUNDS = tuple(round(1000 * 2 ** (part / 6)) for part in range(103))
"""Upper ends, in microseconds, of the parts that times are counted in: from 1 ms to 2 minutes, each 12.2 % above the
one before, so that the middle of a part is at most 6 % from any time in it. The last part has no end."""
PARTS = len(BOUNDS) + 1
PART_BITS = 31
"""Of a column with the counts of two parts, so many bits are the first one's."""

ADDED_BY = {2: ("span", "parent_span", "labels"), 3: ("line",), 4: ("recording",)}
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
_NO_TOOL, _DECIDED, _NAMED = text("kind <> 'tool'"), text("policy <> ''"), text("portal <> ''")

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
    Index("calls_failed", "id", sqlite_where=_FAILED, postgresql_where=_FAILED),
    Index("calls_by_outcome", "outcome", "id", sqlite_where=_FAILED, postgresql_where=_FAILED),
    Index("calls_by_portal", "portal", "id", sqlite_where=_NAMED, postgresql_where=_NAMED),
    Index("calls_by_client", "client", "id"),
    Index("calls_by_name", "name", "id"),
    Index("calls_by_kind", "kind", "id", sqlite_where=_NO_TOOL, postgresql_where=_NO_TOOL),
    Index("calls_by_policy", "policy", "id", sqlite_where=_DECIDED, postgresql_where=_DECIDED),
    postgresql_partition_by="RANGE (id)",
)

KEY = ("subject", "at", "value", "detail", "portal", "kind", "outcome")
"""What sums are told apart by. `at` counts hours or days from 1970. `subject` is what `value` and `detail` are of:

| subject | value | detail |
|---|---|---|
| `portal` | | |
| `server` | the server | |
| `tool` | the server | the name of a tool or prompt |
| `person` | the identity | |
| `client` | its name | its version |
"""
AMOUNTS = ("n", "us", "bytes_in", "bytes_out", "tokens_saved")
"""What is summed up: calls, times, bytes, tokens."""
TIMES = tuple(f"h{number}" for number in range(PARTS // 2))
"""How many calls are in each part of `BOUNDS`, two parts a column: sums of such numbers are the numbers of the sums."""
OTHERS = "*"
"""`value` and `detail` of all those that have no sums of their own."""


def _sums_table(name: str, *indexes: Index) -> Table:
    return Table(
        name,
        metadata,
        Column("subject", String(8), primary_key=True),
        Column("at", BigInteger, primary_key=True, autoincrement=False),
        *(Column(name, Text, primary_key=True) for name in KEY[2:]),
        *(Column(name, BigInteger, nullable=False) for name in (*AMOUNTS, "us_max", *TIMES)),
        *indexes,
        sqlite_with_rowid=False,
    )


# What hours and whole days add up to. Of callers there are far more than of servers, and one is looked for.
hour_sums, day_sums = _sums_table("hour_sums"), _sums_table("day_sums")
hour_callers = _sums_table("hour_callers", Index("hour_callers_by_value", "subject", "value", "at"))
day_callers = _sums_table("day_callers", Index("day_callers_by_value", "subject", "value", "at"))
SUM_TABLES = (hour_sums, day_sums, hour_callers, day_callers)

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


def _sealed_table(name: str) -> Table:
    """Of rows, by their names, something that is sealed under the key `kid`."""
    return Table(
        name,
        metadata,
        Column("instance", String(32), primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("day", BigInteger, nullable=False, index=True),
        Column("kid", String(16), nullable=False, index=True),
        Column("sealed", LargeBinary, nullable=False),
    )


# Of the calls whose contents are kept, and of the runs that are recorded.
contents, recordings = _sealed_table("contents"), _sealed_table("recordings")
SEALED_TABLES = (contents, recordings)

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
