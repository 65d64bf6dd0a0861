"""Questions about the log, each by an index. Pages go on behind an id, never by counting rows again.

Synchronous, over one connection (`LogDatabase.read`): the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, case, func, select, tuple_

from portal.logs.row import LogRow
from portal.logs.schema import BOUNDS, HOUR, ROW_COLUMNS, SUMS, as_written, calls, rollup, writers

Query: TypeAlias = Select[Any]

MAX_PAGE = 1_000
COUNT_TO = 10_000
"""Rows are counted up to so many: of more it is said that there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which rows. What is None does not matter. `since` and `until` are microseconds since 1970, by when a row was
    complete: from `since` on, before `until`. `failed` leaves out what ended well."""

    portal: str | None = None
    server: str | None = None
    kind: str | None = None
    name: str | None = None
    identity: str | None = None
    client: str | None = None
    outcome: str | None = None
    run: str | None = None
    policy: str | None = None
    trace: str | None = None
    since: int | None = None
    until: int | None = None
    failed: bool = False


_EQUAL = ("portal", "server", "kind", "name", "identity", "client", "outcome", "run", "policy", "trace")


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row in the log. `id` orders all rows; `instance` and `number` name the row for ever."""

    id: int
    instance: str
    number: int
    row: LogRow


def before(connection: Connection, filters: Filters, id: int | None = None, limit: int = 50) -> list[StoredRow]:
    """The newest rows, or the newest of those before an id, newest first."""
    query = _where(filters).order_by(calls.c.id.desc())
    return _read(connection, query if id is None else query.where(calls.c.id < id), limit)


def after(connection: Connection, filters: Filters, id: int, limit: int = MAX_PAGE) -> list[StoredRow]:
    """The rows that follow an id, oldest first."""
    return _read(connection, _where(filters).where(calls.c.id > id).order_by(calls.c.id), limit)


def newest_id(connection: Connection) -> int:
    """The id of the last row, 0 if there is none."""
    return connection.execute(select(func.max(calls.c.id))).scalar() or 0


def dropped(connection: Connection) -> int:
    """How many rows were dropped because there was no room for them, by all instances that have written here."""
    return int(connection.execute(select(func.sum(writers.c.dropped))).scalar() or 0)


@dataclass(frozen=True, slots=True)
class Sums:
    """What an hour, a server, a tool... adds up to. Times are in microseconds; `errors` are the calls that did not end
    well."""

    n: int
    us: int
    us_max: int
    bytes_in: int
    bytes_out: int
    tokens_saved: int
    parts: tuple[int, ...]
    errors: int = 0

    def quantile(self, q: float) -> int:
        """The time within which this share of the calls ended: the upper end of the part that it is in (the parts end
        at 1, 3, 10, 30... ms), or the longest time there was."""
        rank, seen = q * self.n, 0
        for part, number in enumerate(self.parts[:-1]):
            seen += number
            if seen >= rank:
                return min(BOUNDS[part], self.us_max)
        return self.us_max


def added(several: Iterable[Sums]) -> Sums | None:
    """What several add up to together; None if there are none."""
    every = [*several]
    if not every:
        return None
    parts = [sum(part) for part in zip(*(one.parts for one in every), strict=True)]
    longest = max(one.us_max for one in every)
    n, us, received, sent, saved, errors = (
        sum(values)
        for values in zip(
            *((one.n, one.us, one.bytes_in, one.bytes_out, one.tokens_saved, one.errors) for one in every), strict=True
        )
    )
    return Sums(n, us, longest, received, sent, saved, tuple(parts), errors)


Keys: TypeAlias = tuple[str | int, ...]


def sums(
    connection: Connection,
    by: Sequence[str],
    since: int,
    until: int,
    portal: str | None = None,
    server: str | None = None,
    kind: str | None = None,
    most: int | None = None,
    only: Sequence[Keys] | None = None,
) -> dict[Keys, Sums]:
    """What calls add up to in whole hours, from that of `since` on, before `until`, for each value of the columns in
    `by` (some of `schema.KEY`; `hour` counts from 1970): those with the most calls first. At most `most` values, and of
    `only` these if it is given."""
    keys = [rollup.c[name] for name in by]
    failed = func.sum(case((rollup.c.outcome != "ok", rollup.c.n), else_=0))
    numbers = [func.sum(rollup.c[name]) for name in SUMS]
    query = select(*keys, func.max(rollup.c.us_max), failed, *numbers).where(
        rollup.c.hour >= since // HOUR, rollup.c.hour < -(-until // HOUR)
    )
    for column, value in ((rollup.c.portal, portal), (rollup.c.server, server), (rollup.c.kind, kind)):
        if value is not None:
            query = query.where(column == value)
    if keys:
        query = query.group_by(*keys).order_by(func.sum(rollup.c.n).desc(), *keys)
    if keys and only is not None:
        query = query.where(tuple_(*keys).in_(only))
    found = connection.execute(query.limit(most))
    width = len(keys)
    return {
        tuple(row[:width]): _sums([int(number) for number in row[width:]]) for row in found if row[width] is not None
    }


def _sums(numbers: Sequence[int]) -> Sums:
    us_max, errors, n, us, bytes_in, bytes_out, tokens_saved, *parts = numbers
    return Sums(n, us, us_max, bytes_in, bytes_out, tokens_saved, tuple(parts), errors)


def _where(filters: Filters) -> Query:
    return conditions(select(*ROW_COLUMNS), filters)


def conditions(query: Query, filters: Filters) -> Query:
    """The query with what these filters want."""
    # Of several indexes the database may not know which one leaves fewer rows: a person has fewer than a server.
    failed = filters.failed or filters.outcome not in (None, "ok")
    index = "run" if filters.run else "identity" if filters.identity else "failed" if failed else "server"
    wanted: list[ColumnElement[bool]] = [
        _column(name, index) == value for name in _EQUAL if (value := getattr(filters, name)) is not None
    ]
    if failed:
        # As the index of failures says it, or SQLite does not use that.
        wanted.append((calls.c.outcome if index == "failed" else calls.c.outcome.concat("")) != "ok")
    if filters.run:
        # As the index of runs says it, or SQLite does not use that.
        wanted.append(calls.c.run != "")
    if filters.since is not None:
        wanted.append(calls.c.id >= filters.since)
    if filters.until is not None:
        wanted.append(calls.c.id < filters.until)
    return query.where(*wanted)


def _column(name: str, index: str) -> ColumnElement[str]:
    """A column of texts, in a way that only this index is of use."""
    column = calls.c[name]
    return column.concat("") if name in ("identity", "server") and name != index else column


def _read(connection: Connection, query: Query, limit: int) -> list[StoredRow]:
    found = connection.execute(query.limit(max(1, min(limit, MAX_PAGE))))
    return [StoredRow(one.id, one.instance, one.number, _row(as_written(one)[3:])) for one in found]


def _row(written: Sequence[object]) -> LogRow:
    return LogRow(*written)  # type: ignore[arg-type]  # the columns, in order
