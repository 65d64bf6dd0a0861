"""Adds rows to what their hours and days add up to, a bounded number at once, and removes sums that are old.

Rows have ids that only grow in the order in which they are committed. A mark says up to which row the hours are
counted. It moves in the transaction that adds to them: each row counts once, whoever adds it. Few rows are behind the
mark, and `sums` reads these themselves. The path of a row into the log has nothing to do with it, and a log that an
earlier version wrote is brought up to date in the same steps.

Synchronous, over one connection: the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, Table, bindparam, delete, func, inspect, select, text

from portal.logs.batch import insert_into, lock
from portal.logs.schema import (
    AMOUNTS,
    BOUNDS,
    DAY,
    HOUR,
    KEY,
    OTHERS,
    PART_BITS,
    TIMES,
    calls,
    day_callers,
    day_sums,
    facts,
    hour_callers,
    hour_sums,
)

FOLD_ROWS = 10_000
"""Rows of one transaction: a tenth of a second."""
IMPORT_HOURS = 24
MOST_CALLERS = 1_000
"""People, and clients by name and version, that have sums of their own in an hour: those who came first, and of those
who came together those with the most calls. What the others did is in the sums of `OTHERS`."""
HOUR_DAYS = 70
"""Whole days for which tools and callers have sums by the hour: a month and the one before it. Days last longer, and so
do the hours of portals and servers."""

ROWS_UNTIL, DAYS_UNTIL = "sums_until", "sums_days"
"""The facts that say up to which row the hours are, and which day is the first that has no sums yet."""

NAMED = ("tool", "prompt")
"""Kinds whose names are as few as servers list. URIs may be as many as rows."""
_MOST = 2**40
"""A larger number in a row is counted as so many: 12 days, or a TiB."""
_FORMER = "rollup"
_FORMER_MIDDLES = (
    577, 1_732, 5_477, 17_321, 54_772, 173_205, 547_723, 1_732_051, 5_477_226, 17_320_508, 54_772_256, 173_205_081,
)  # fmt: skip
"""The middles, in microseconds, of the parts that it counted times in: at most 1.8 times from any time in them."""
_COLUMNS = ", ".join((*KEY, "n", "us_max", *AMOUNTS[1:], *TIMES))

LeftOut = Mapping[str, Sequence[tuple[str, str]]]

_SUBJECTS: Mapping[str, tuple[Table, str, str]] = {
    "tool": (hour_sums, "server", "name"),
    "person": (hour_callers, "identity", "''"),
    "client": (hour_callers, "client", "client_version"),
    "server": (hour_sums, "value", "''"),
    "portal": (hour_sums, "''", "''"),
}
"""Of each subject the table of its hours, and what `value` and `detail` are: of a row, or of the sums of tools."""
_CAPPED = ("person", "client")
_OF_TOOLS = ("server", "portal")
_TEXTS = ("server", "name", "identity", "client", "client_version", "portal", "kind", "outcome")
# What is added at once, on its way: each row with what it adds to which column of `TIMES`, and what tools add up to. A
# name of their own for each connection, and nothing in them between transactions.
_TAKEN = ", ".join(
    (
        f"at BIGINT, pair INTEGER, one BIGINT, {', '.join(f'{name} TEXT' for name in _TEXTS)}",
        *(f"{name} BIGINT" for name in AMOUNTS[1:]),
    )
)
_ADDED = ", ".join(
    (
        *(f"{name} TEXT" for name in KEY if name != "at"),
        *(f"{name} BIGINT" for name in ("at", "us_max", *AMOUNTS, *TIMES)),
    )
)


def fold(connection: Connection, most: int = FOLD_ROWS) -> int:
    """Add the next rows to their hours. How many rows that were; 0 when every row is there."""
    lock(connection)
    mark = mark_of(connection)
    behind = select(calls.c.id).where(calls.c.id > mark).order_by(calls.c.id)
    last = connection.execute(behind.offset(most - 1).limit(1)).scalar()
    if last is None:
        last = connection.execute(select(func.max(calls.c.id)).where(calls.c.id > mark)).scalar()
    if last is None:
        return 0
    _begin(connection)
    taken = _take(connection, mark + 1, last)
    for subject in _SUBJECTS:
        _add(connection, subject, _left_out(connection, subject, mark // HOUR) if subject in _CAPPED else {})
    _note(connection, ROWS_UNTIL, last)
    return taken


def fold_day(connection: Connection) -> bool:
    """Add up the hours of the next day that is over. False when there is none."""
    lock(connection)
    mark = mark_of(connection)
    day = first_open_day(connection)
    hours = select(func.min(hour_sums.c.at)).where(hour_sums.c.subject == "portal", hour_sums.c.at >= day * 24)
    hour = connection.execute(hours).scalar()
    first = None if hour is None else int(hour) // 24
    # Ids only grow: when a row of a later day is there, none comes into this one.
    if first is None or (first + 1) * DAY > mark:
        return False
    for table, days in ((hour_sums, day_sums), (hour_callers, day_callers)):
        connection.execute(delete(days).where(days.c.subject.in_(_SUBJECTS), days.c.at == first))
        key = ", ".join(name for name in KEY if name != "at")
        summed = ", ".join(_sum(connection, name) for name in (*AMOUNTS[1:], *TIMES))
        connection.exec_driver_sql(
            f"INSERT INTO {days.name} ({key}, at, n, us_max, {', '.join((*AMOUNTS[1:], *TIMES))}) "
            f"SELECT {key}, {first}, {_sum(connection, 'n')}, max(us_max), {summed} FROM {table.name} "
            f"WHERE subject IN ({_quoted(_SUBJECTS)}) AND at >= {first * 24} AND at < {first * 24 + 24} GROUP BY {key}"
        ).close()
    _note(connection, DAYS_UNTIL, first + 1)
    return True


def rows_behind(connection: Connection, most: int) -> tuple[int, int]:
    """How many rows are behind the mark, at most `most`, and the id of the first, 0 without one."""
    some = select(calls.c.id).where(calls.c.id > mark_of(connection)).order_by(calls.c.id).limit(most).subquery()
    number, first = connection.execute(select(func.count(), func.min(some.c.id)).select_from(some)).one()
    return int(number), int(first or 0)


def mark_of(connection: Connection) -> int:
    """The id of the last row that is in the sums of the hours."""
    return _noted(connection, ROWS_UNTIL)


def first_open_day(connection: Connection) -> int:
    """The first day, counted from 1970, that has no sums of its own yet."""
    return _noted(connection, DAYS_UNTIL)


def remove_sums(connection: Connection, today: int, keep_days: int) -> None:
    """Remove the sums of days that are older than is kept. `today` is counted from 1970."""
    lock(connection)
    before = today - keep_days
    for table in (day_sums, day_callers):
        connection.execute(delete(table).where(table.c.subject.in_(_SUBJECTS), table.c.at < before))
    # Hours are removed when their day has its sums, and not before.
    fine = min(max(before, today - HOUR_DAYS), first_open_day(connection))
    for table, subject in ((hour_sums, "tool"), *((hour_callers, subject) for subject in _CAPPED)):
        connection.execute(delete(table).where(table.c.subject == subject, table.c.at < fine * 24))
    coarse = hour_sums.c.subject.in_(("portal", "server"))
    connection.execute(delete(hour_sums).where(coarse, hour_sums.c.at < before * 24))


def take_former(connection: Connection) -> bool:
    """Take what an earlier version has summed up of rows that are gone. False when there is nothing left of it."""
    lock(connection)
    if not inspect(connection).has_table(_FORMER):
        return False
    first = connection.execute(text(f"SELECT min(hour) FROM {_FORMER}")).scalar()
    oldest = connection.execute(select(func.min(calls.c.id))).scalar()
    end = None if oldest is None else max(oldest, 0) // HOUR
    if first is None or (end is not None and first >= end):
        # The rows of the others are there, and say more.
        connection.execute(text(f"DROP TABLE {_FORMER}"))
        return False
    last = first + IMPORT_HOURS if end is None else min(first + IMPORT_HOURS, end)
    for subject in ("portal", "server", "tool"):
        _add_former(connection, subject, first, last)
    connection.execute(text(f"DELETE FROM {_FORMER} WHERE hour < :last"), {"last": last})
    return True


def missing_indexes(connection: Connection) -> list[str]:
    """The indexes of rows that a log of an earlier version does not have."""
    there = {one["name"] for one in inspect(connection).get_indexes(calls.name)}
    return sorted(str(one.name) for one in calls.indexes if one.name not in there)


def make_index(connection: Connection, name: str) -> None:
    lock(connection)
    next(one for one in calls.indexes if one.name == name).create(connection, checkfirst=True)


def part_expression(column: str = "us") -> str:
    """SQL for the number of the part that a time is in: seven comparisons."""

    def of(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high) // 2
        return f"CASE WHEN {column} <= {BOUNDS[middle]} THEN {of(low, middle)} ELSE {of(middle + 1, high)} END"

    return of(0, len(BOUNDS))


def bounded_expression(column: str) -> str:
    """SQL for a number of a row as it is counted."""
    return f"CASE WHEN {column} > {_MOST} THEN {_MOST} WHEN {column} < 0 THEN 0 ELSE {column} END"


def named_expression() -> str:
    """SQL for the name of a row as it is counted."""
    return f"CASE WHEN kind IN ({_quoted(NAMED)}) THEN name ELSE '' END"


def _begin(connection: Connection) -> None:
    """Make what is added on its way, or empty it."""
    end = " ON COMMIT DELETE ROWS" if connection.dialect.name == "postgresql" else ""
    for name, columns in (("taken", _TAKEN), ("adding", _ADDED)):
        connection.exec_driver_sql(f"CREATE TEMP TABLE IF NOT EXISTS {name} ({columns}){end}").close()
        connection.exec_driver_sql(f"DELETE FROM {name}").close()


def _take(connection: Connection, first: int, last: int) -> int:
    """Take the rows from one id to another, each with its part: a database would work it out again for each column."""
    names = [name for name in _TEXTS if name != "name"]
    numbers = [bounded_expression(name) for name in AMOUNTS[1:]]
    found = connection.exec_driver_sql(
        f"INSERT INTO taken (at, pair, one, name, {', '.join((*names, *AMOUNTS[1:]))}) "
        f"SELECT id / {HOUR}, part / 2, CASE part % 2 WHEN 0 THEN 1 ELSE {1 << PART_BITS} END, "
        f"{', '.join((named_expression(), *names, *numbers))} "
        f"FROM (SELECT *, {part_expression()} AS part FROM calls WHERE id BETWEEN {first} AND {last}) AS parted"
    )
    return found.rowcount


def _add(connection: Connection, subject: str, left_out: LeftOut) -> None:
    """Add what was taken to the hours of this subject."""
    table, value, detail = _SUBJECTS[subject]
    key = ", ".join(KEY[1:])
    if subject in _OF_TOOLS:
        summed = ", ".join(_sum(connection, one) for one in (*AMOUNTS[1:], *TIMES))
        numbers = f"{_sum(connection, 'n')}, max(us_max), {summed}"
        rows = f"SELECT at, {value} AS value, {detail} AS detail, portal, kind, outcome, us_max, "
        rows += f"{', '.join((*AMOUNTS, *TIMES))} FROM adding"
        _upsert(connection, table, f"SELECT '{subject}', {key}, {numbers} FROM ({rows}) AS counted GROUP BY {key}")
        return
    if left_out:
        is_other = " OR ".join(f"at = {hour} AND ({value}, {detail}) NOT IN :own_{hour}" for hour in sorted(left_out))
        value, detail = (f"CASE WHEN {is_other} THEN '{OTHERS}' ELSE {one} END" for one in (value, detail))
    # A filter costs half of what a sum of noughts does, and there are many columns.
    parts = [f"coalesce({_sum(connection, 'one', f'pair = {number}')}, 0)" for number in range(len(TIMES))]
    summed = ", ".join((*(_sum(connection, name) for name in AMOUNTS[1:]), *parts))
    numbers = f"count(*), max(us), {summed}"
    rows = f"SELECT at, {value} AS value, {detail} AS detail, portal, kind, outcome, pair, one, "
    rows += ", ".join(AMOUNTS[1:])
    found = f"SELECT '{subject}', {key}, {numbers} FROM ({rows} FROM taken) AS counted GROUP BY {key}"
    if subject == "tool":
        connection.exec_driver_sql(f"INSERT INTO adding ({_COLUMNS}) {found}").close()
        found = f"SELECT {_COLUMNS} FROM adding"
    _upsert(connection, table, found, {f"own_{hour}": own for hour, own in left_out.items()})


def _upsert(connection: Connection, table: Table, found: str, own: LeftOut | None = None) -> None:
    """Add what a query finds, whose columns are those of `_COLUMNS`."""
    larger = "greatest" if connection.dialect.name == "postgresql" else "max"
    totals = [f"{name} = {table.name}.{name} + excluded.{name}" for name in (*AMOUNTS, *TIMES)]
    totals.append(f"us_max = {larger}({table.name}.us_max, excluded.us_max)")
    # Of `INSERT ... SELECT ... ON CONFLICT` SQLite wants a WHERE, or takes ON for a join's.
    added = text(
        f"INSERT INTO {table.name} ({_COLUMNS}) SELECT * FROM ({found}) AS found WHERE true "
        f"ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {', '.join(totals)}"
    )
    given = own or {}
    connection.execute(added.bindparams(*(bindparam(name, expanding=True) for name in given)), dict(given))


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _sum(connection: Connection, expression: str, where: str = "") -> str:
    found = f"sum({expression})" + (f" FILTER (WHERE {where})" if where else "")
    # A sum of PostgreSQL is of any length.
    return f"CAST({found} AS BIGINT)" if connection.dialect.name == "postgresql" else found


def _left_out(connection: Connection, subject: str, begun: int) -> LeftOut:
    """For each hour in which not all callers have sums of their own: those who have. Most of the time there is none.
    Only the hour `begun` has sums already."""
    _, value, detail = _SUBJECTS[subject]
    found: dict[str, list[tuple[str, str]]] = {}
    for hour, rows in connection.execute(text("SELECT at, count(*) FROM taken GROUP BY at")).all():
        kept = select(hour_callers.c.value, hour_callers.c.detail).distinct()
        kept = kept.where(hour_callers.c.subject == subject, hour_callers.c.at == hour)
        own = [(one.value, one.detail) for one in connection.execute(kept)] if hour == begun else []
        if len(own) + rows <= MOST_CALLERS:
            continue
        coming = (
            f"SELECT {value} AS value, {detail} AS detail, count(*) AS n FROM taken WHERE at = {hour} GROUP BY 1, 2"
        )
        callers = connection.execute(text(f"SELECT count(*) FROM ({coming}) AS coming")).scalar() or 0
        if len(own) + callers <= MOST_CALLERS:
            continue
        known = {*own}
        order = text(f"SELECT value, detail FROM ({coming}) AS coming ORDER BY n DESC, value, detail")
        new = [(one.value, one.detail) for one in connection.execute(order) if (one.value, one.detail) not in known]
        if len(known) + len(new) > MOST_CALLERS:
            found[str(hour)] = [*own, *new[: max(0, MOST_CALLERS - len(own))]]
    return found


def _add_former(connection: Connection, subject: str, first: int, last: int) -> None:
    """Add the sums of an earlier version, which had twelve parts for times: each counts where its middle is."""
    value, detail = {"portal": ("''", "''"), "server": ("server", "''"), "tool": ("server", "name")}[subject]
    places: dict[int, list[str]] = {}
    for former, middle in enumerate(_FORMER_MIDDLES):
        part = bisect_left(BOUNDS, middle)
        places.setdefault(part // 2, []).append(f"h{former} * {1 << PART_BITS * (part % 2)}")
    parts = [" + ".join(places.get(number, ["0"])) for number in range(len(TIMES))]
    summed = ", ".join(_sum(connection, one) for one in (*AMOUNTS[1:], *parts))
    found = (
        f"SELECT '{subject}' AS subject, hour, {value} AS value, {detail} AS detail, portal, kind, outcome, "
        f"{_sum(connection, 'n')}, max(us_max), {summed} FROM {_FORMER} WHERE hour >= {first} AND hour < {last} "
        f"GROUP BY 2, 3, 4, 5, 6, 7"
    )
    _upsert(connection, hour_sums, found)


def _noted(connection: Connection, name: str) -> int:
    return int(connection.execute(select(facts.c.value).where(facts.c.name == name)).scalar() or 0)


def _note(connection: Connection, name: str, number: int) -> None:
    noted = insert_into(connection, facts).values(name=name, value=str(number))
    connection.execute(noted.on_conflict_do_update(index_elements=["name"], set_={"value": str(number)}))
