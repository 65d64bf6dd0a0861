"""Questions about the log, each by an index. Pages go on behind an id, never by counting rows again.

Synchronous, over one connection (`LogDatabase.read`): the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, func, literal, or_, select

from portal.logs.row import LogRow
from portal.logs.schema import ROW_COLUMNS, as_written, calls, writers

Query: TypeAlias = Select[Any]

MAX_PAGE = 1_000
COUNT_TO = 10_000
"""Rows are counted up to so many: of more it is said that there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which rows. What is None does not matter. `since` and `until` are microseconds since 1970, by when a row was
    complete: from `since` on, before `until`. `failed` leaves out what ended well. `email` is an address, in whatever
    case: several identities may have it."""

    portal: str | None = None
    server: str | None = None
    kind: str | None = None
    name: str | None = None
    identity: str | None = None
    email: str | None = None
    client: str | None = None
    outcome: str | None = None
    run: str | None = None
    policy: str | None = None
    trace: str | None = None
    since: int | None = None
    until: int | None = None
    failed: bool = False


_INDEXED = ("run", "policy", "identity", "name", "kind", "outcome", "client", "portal", "server")
"""Columns with an index: those first that most often leave few rows."""
FAILED = "failed"
"""The index of what did not end well, in the order of ids."""
_BUT = {"run": "", "policy": "", "kind": "tool", "portal": ""}
"""What is not in the index of a column."""
_EQUAL = ("portal", "server", "kind", "name", "identity", "client", "outcome", "run", "policy", "trace")


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row in the log. `id` orders all rows; `instance` and `number` name the row for ever."""

    id: int
    instance: str
    number: int
    row: LogRow


def before(
    connection: Connection, filters: Filters, id: int | None = None, limit: int = 50, index: str | None = None
) -> list[StoredRow]:
    """The newest rows, or the newest of those before an id, newest first. `index` is one of `indexes`, or the first."""
    query = _where(filters, index).order_by(calls.c.id.desc())
    return _read(connection, query if id is None else query.where(calls.c.id < id), limit)


def after(
    connection: Connection, filters: Filters, id: int, limit: int = MAX_PAGE, index: str | None = None
) -> list[StoredRow]:
    """The rows that follow an id, oldest first."""
    return _read(connection, _where(filters, index).where(calls.c.id > id).order_by(calls.c.id), limit)


def newest_id(connection: Connection) -> int:
    """The id of the last row, 0 if there is none."""
    return connection.execute(select(func.max(calls.c.id))).scalar() or 0


def email_of(connection: Connection, identity: str) -> str:
    """The newest address that the log has of a person, "" without one."""
    mine = select(calls.c.email).where(calls.c.identity == identity).order_by(calls.c.id.desc()).limit(1)
    return connection.execute(mine).scalar() or ""


def dropped(connection: Connection) -> int:
    """How many rows were dropped because there was no room for them, by all instances that have written here."""
    return int(connection.execute(select(func.sum(writers.c.dropped))).scalar() or 0)


def _where(filters: Filters, index: str | None) -> Query:
    return conditions(select(*ROW_COLUMNS), filters, index)


def indexes(filters: Filters) -> list[str]:
    """The columns of these filters that an index finds rows by: those first that most often leave few."""
    out = {**_BUT, "outcome": "ok"}
    given = [name for name in _INDEXED if getattr(filters, name) not in (None, out.get(name))]
    if filters.failed and "outcome" not in given:
        given.insert(sum(_INDEXED.index(name) < _INDEXED.index("outcome") for name in given), FAILED)
    return given


def only_by(filters: Filters, index: str | None) -> Filters:
    """The one filter of these that this index finds rows by."""
    if index == FAILED:
        return Filters(failed=True)
    return Filters() if index is None else Filters(**{index: getattr(filters, index)})


def conditions(query: Query, filters: Filters, index: str | None = None) -> Query:
    """The query with what these filters want, in a way that only this index is of use."""
    if index is None:
        index = next(iter(indexes(filters)), None)
    wanted: list[ColumnElement[bool]] = []
    for name in _EQUAL:
        if (value := getattr(filters, name)) is not None:
            column = calls.c[name]
            # Of several indexes the database may not know which one leaves fewer rows.
            wanted.append((column if name == index or name not in _INDEXED else column.concat("")) == value)
    if filters.email is not None:
        # No index has it: of many rows only so many are looked at for a page.
        wanted.append(
            or_(calls.c.email == filters.email, func.lower(calls.c.email) == func.lower(literal(filters.email)))
        )
    # As the index says it, or SQLite does not use that.
    if index in (FAILED, "outcome"):
        wanted.append(calls.c.outcome != "ok")
    elif filters.failed:
        wanted.append(calls.c.outcome.concat("") != "ok")
    if index in _BUT:
        wanted.append(calls.c[index] != _BUT[index])
    if filters.since is not None:
        wanted.append(calls.c.id >= filters.since)
    if filters.until is not None:
        wanted.append(calls.c.id < filters.until)
    return query.where(*wanted)


def _read(connection: Connection, query: Query, limit: int) -> list[StoredRow]:
    found = connection.execute(query.limit(max(1, min(limit, MAX_PAGE))))
    return [StoredRow(one.id, one.instance, one.number, _row(as_written(one)[3:])) for one in found]


def _row(written: Sequence[object]) -> LogRow:
    return LogRow(*written)  # type: ignore[arg-type]  # the columns, in order
