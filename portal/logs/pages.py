"""Pages of the log, one row with its run, and counts. However rare what is wanted, only so many rows are looked at.

A filter that no index has could make a page read the whole log. So a page may end before it is full, and say from which
id the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, select

from portal.logs.query import (
    COUNT_TO,
    MAX_PAGE,
    Filters,
    StoredRow,
    after,
    before,
    conditions,
    indexes,
    newest_id,
    only_by,
)
from portal.logs.schema import calls

FEW, MANY = 2_000, 30_000
"""Rows that are looked at for one page: first few, then at most so many."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Rows, and whether there may be `more`. `reached` is the id that the next page goes on from; 0 without one."""

    rows: list[StoredRow]
    more: bool
    reached: int


@dataclass(frozen=True, slots=True)
class TurnedPage:
    """Rows, newest first. `next` is the id that the next page is before, `previous` the one that the page before this
    one is after; None where there is no such page. `reached` is the id that was looked up to."""

    rows: list[StoredRow]
    next: int | None
    previous: int | None
    reached: int


def older(connection: Connection, filters: Filters, id: int | None = None, limit: int = 50) -> LogPage:
    """The newest rows, or the newest before an id, newest first."""
    if id is None:
        id = newest_id(connection) + 1

    index = chosen(connection, filters)

    def read(start: int, end: int | None, missing: int) -> list[StoredRow]:
        within = filters if end is None else replace(filters, since=max(end, filters.since or 0))
        return before(connection, within, start, missing, index)

    # What is older than `since` need not be looked at, nor what is newer than `until`.
    start = id if filters.until is None else min(id, filters.until)
    return _search(connection, filters, index, start, limit, read, newest_first=True)


def newer(connection: Connection, filters: Filters, id: int, limit: int = 50) -> LogPage:
    """The rows that follow an id, oldest first. `reached` is at least the newest row of the log if there are no more:
    whoever goes on from there misses no row and looks at none again."""
    # First: a row that is committed after this has a larger id.
    newest = newest_id(connection)
    start = max(min(id, newest), (filters.since or 0) - 1)
    index = chosen(connection, filters)

    def read(start: int, end: int | None, missing: int) -> list[StoredRow]:
        end = newest if end is None else min(end, newest)
        until = end + 1 if filters.until is None else min(end + 1, filters.until)
        return after(connection, replace(filters, until=until), start, missing, index)

    found = _search(connection, filters, index, start, limit, read, newest_first=False)
    return found if found.more else replace(found, reached=max(found.reached, newest))


def turned(
    connection: Connection, filters: Filters, *, before: int | None = None, after: int | None = None, limit: int = 50
) -> TurnedPage:
    """The page of the newest rows, of those before an id, or of those that follow one: newest first, whichever way it
    was come to."""
    if after is None:
        page = older(connection, filters, before, limit)
        first = page.rows[0].id if page.rows else (before or 1) - 1
        return TurnedPage(
            page.rows, page.reached if page.more else None, None if before is None else first, page.reached
        )
    page = newer(connection, filters, after, limit)
    last = page.rows[0].id if page.rows else after + 1
    return TurnedPage(page.rows[::-1], last, page.reached if page.more else None, page.reached)


def find(connection: Connection, id: int) -> StoredRow | None:
    """The row with this id."""
    found = before(connection, Filters(since=id, until=id + 1), None, 1)
    return found[0] if found else None


def run_of(connection: Connection, run: str) -> tuple[StoredRow | None, list[StoredRow], bool]:
    """The row of a run, those of its calls in the order in which it made them, and whether there are more than
    `MAX_PAGE` rows."""
    found = after(connection, Filters(run=run), 0, MAX_PAGE)
    own = next((one for one in found if one.row.kind == "run"), None)
    made = sorted((one for one in found if one is not own), key=lambda one: (one.row.call, one.row.at, one.id))
    return own, made, len(found) == MAX_PAGE


def count_some(connection: Connection, filters: Filters) -> tuple[int, bool]:
    """How many rows there are, at most `COUNT_TO`, and whether there may be more."""
    index = chosen(connection, filters)
    end = boundary(connection, filters, index, None, MANY) if _has_rest(filters, index) else None
    within = replace(filters, since=max(end or 0, filters.since or 0))
    some = conditions(select(calls.c.id), within, index).limit(COUNT_TO + 1).subquery()
    found = int(connection.execute(select(func.count()).select_from(some)).scalar() or 0)
    return min(found, COUNT_TO), found > COUNT_TO or end is not None


Read = Callable[[int, int | None, int], list[StoredRow]]
"""The rows from one id (exclusive) to another (inclusive; None: to the end), at most so many."""


def _search(
    connection: Connection,
    filters: Filters,
    index: str | None,
    start: int,
    limit: int,
    read: Read,
    *,
    newest_first: bool,
) -> LogPage:
    limit = max(1, min(limit, MAX_PAGE - 1))
    rows: list[StoredRow] = []
    for some in (FEW, MANY - FEW):
        end = None
        if _has_rest(filters, index):
            end = boundary(connection, filters, index, start, some, newest_first=newest_first)
        rows += read(start, end, limit + 1 - len(rows))
        if len(rows) > limit:
            return LogPage(rows[:limit], True, rows[limit - 1].id)
        if end is None:
            return LogPage(rows, False, rows[-1].id if rows else start)
        start = end
    return LogPage(rows, True, start)


def chosen(connection: Connection, filters: Filters) -> str | None:
    """The index to find such rows by, None if there is none: the first one that has few of them, or the first."""
    every = indexes(filters)
    if len(every) > 1:
        for index in every:
            if boundary(connection, filters, index, None, FEW) is None:
                return index
    return every[0] if every else None


def boundary(
    connection: Connection,
    filters: Filters,
    index: str | None,
    start: int | None,
    some: int,
    *,
    newest_first: bool = True,
) -> int | None:
    """The id of the last of so many rows from an id on that the index finds; None if there are not so many."""
    query = conditions(select(calls.c.id), only_by(filters, index), index)
    query = query.where(calls.c.id >= (filters.since or 0))
    if filters.until is not None:
        query = query.where(calls.c.id < filters.until)
    if start is not None:
        query = query.where(calls.c.id < start if newest_first else calls.c.id > start)
    query = query.order_by(calls.c.id.desc() if newest_first else calls.c.id)
    found = connection.execute(query.offset(some - 1).limit(1)).scalar()
    return None if found is None else int(found)


def _has_rest(filters: Filters, index: str | None) -> bool:
    """Whether rows that an index finds may still be none of those wanted."""
    return replace(only_by(filters, index), since=filters.since, until=filters.until) != filters
