"""What calls add up to: in a window, by the hour, of the servers, tools, people and clients with the most.

Whole days come from the sums of days, other hours from those of hours, and what is in neither yet from the rows behind
the mark (`folding`): few, so that an answer is of all rows that are stored. A question that no sums are for, such as
the tools of a person, is answered from the newest rows that an index finds, so many at most, and says since when
(`crossing`).

Synchronous, over one connection: the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, RowMapping, select, text

from portal.logs.crossing import OF_ROWS, among, crossed, filtered, rows_where
from portal.logs.folding import first_open_day, mark_of
from portal.logs.schema import AMOUNTS, PART_BITS, TIMES, calls, day_callers, day_sums, hour_callers, hour_sums
from portal.logs.totals import NUMBERS, CallWindow, FoundSums, Keys, Sums, SumsQuestion

TAIL_ROWS = 20_000
"""Rows behind the mark that are read. There are more only while a log of an earlier version is brought up to date."""
CALLERS = ("person", "client")
_OF_SUBJECT: Mapping[str, Mapping[str, str]] = {
    "portal": {},
    "server": {"server": "value"},
    "tool": {"server": "value", "name": "detail"},
    "person": {"identity": "value"},
    "client": {"client": "value", "client_version": "detail"},
}


def sums(
    connection: Connection,
    by: Sequence[str],
    wanted: CallWindow,
    most: int | None = None,
    only: Sequence[Keys] | None = None,
) -> FoundSums:
    """What calls add up to for each value of the columns in `by` (some of `COLUMNS`). At most `most` values, and of
    `only` these if it is given."""
    return sums_of_each(connection, [SumsQuestion(by, most, only)], wanted)[0]


def sums_of_each(connection: Connection, questions: Sequence[SumsQuestion], wanted: CallWindow) -> list[FoundSums]:
    """The answer to each question about one window. What there are no sums of is read once for all of them."""
    unsummed = [one for one in questions if subject_of(one.by, wanted) is None]
    read = iter(crossed(connection, unsummed, wanted) if unsummed else ())
    return [
        next(read) if subject is None else _from_sums(connection, subject, one, wanted)
        for one in questions
        for subject in (subject_of(one.by, wanted),)
    ]


def _from_sums(connection: Connection, subject: str, one: SumsQuestion, wanted: CallWindow) -> FoundSums:
    sources = _Sources(connection, subject, one.by, wanted)
    found = sources.amounts(one.most, one.only)
    wants = one.times and bool(found)
    times = sources.times([*found] if one.most is not None or one.only is not None else None) if wants else {}
    return FoundSums({key: _sums(row, times.get(key, {})) for key, row in found.items()}, until=sources.cut_until)


def numbers(connection: Connection, wanted: CallWindow) -> dict[int, int]:
    """How many calls there were in each hour, counted from 1970, that has some."""
    (found,) = sums_of_each(connection, [SumsQuestion(["hour"], times=False)], wanted)
    return {int(hour): one.n for (hour,), one in found.groups.items()}


def subject_of(by: Sequence[str], wanted: CallWindow) -> str | None:
    """The subject whose sums answer such a question; None if there is none, and rows have to be read."""
    if wanted.rows:
        return None
    used = {name for name in by if name not in (*NUMBERS, "portal", "kind", "outcome")}
    used |= {name for name in ("server", "identity", "client") if getattr(wanted, name) is not None}
    return next((subject for subject, columns in _OF_SUBJECT.items() if used <= {*columns}), None)


class _Sources:
    """The tables that the answer to one question is in, as SELECTs that have the same columns."""

    def __init__(self, connection: Connection, subject: str, by: Sequence[str], wanted: CallWindow) -> None:
        self._connection = connection
        self._by = [*by]
        self._wanted = wanted
        self._subject = subject
        self._given: dict[str, str] = {}
        self.cut_until: int | None = None
        self._rows = self._rows_behind()

    def amounts(self, most: int | None, only: Sequence[Keys] | None) -> dict[Keys, RowMapping]:
        """Everything but the times of each group."""
        names = [f"k{number}" for number in range(len(self._by))]
        of_rows = ", ".join(("1 AS n", "us AS us_max", *AMOUNTS[1:]))
        parts = [
            f"SELECT {self._keys(columns)}outcome, n, us_max, {', '.join(AMOUNTS[1:])} {rest}"
            for columns, rest in self._tables()
        ]
        if self._rows:
            parts.append(f"SELECT {self._keys(OF_ROWS)}outcome, {of_rows} FROM ({self._rows}) AS counted")
        summed = ", ".join(f"sum({name}) AS {name}" for name in AMOUNTS)
        query = (
            f"SELECT {''.join(name + ', ' for name in names)}{summed}, max(us_max) AS us_max, "
            f"sum(CASE WHEN outcome <> 'ok' THEN n ELSE 0 END) AS errors, "
            f"sum(CASE WHEN outcome = 'denied' THEN n ELSE 0 END) AS denied "
            f"FROM ({' UNION ALL '.join(parts)}) AS whole"
        )
        if not parts:
            return {}
        query += among(names, only, self._given)
        if names:
            query += f" GROUP BY {', '.join(names)} ORDER BY sum(n) DESC, {', '.join(names)}"
        if most is not None:
            query += f" LIMIT {int(most)}"
        found = self._connection.execute(text(query), self._given).mappings()
        return {tuple(row[name] for name in names): row for row in found if row["n"] is not None}

    def times(self, only: Sequence[Keys] | None) -> dict[Keys, dict[int, int]]:
        """How many calls of each group are in each part of `BOUNDS`."""
        names = [f"k{number}" for number in range(len(self._by))]
        found: dict[Keys, dict[int, int]] = {}
        grouped = f" GROUP BY {', '.join(names)}" if names else ""
        low = (1 << PART_BITS) - 1
        summed = ", ".join(f"sum({name})" for name in TIMES)
        for columns, rest in self._tables():
            inner = f"SELECT {self._keys(columns)}{', '.join(TIMES)} {rest}"
            query = f"SELECT {''.join(name + ', ' for name in names)}{summed} FROM ({inner}) AS whole"
            for row in self._connection.execute(text(query + among(names, only, self._given) + grouped), self._given):
                parts = found.setdefault(tuple(row[: len(names)]), {})
                for number, both in enumerate(row[len(names) :]):
                    if both:
                        one, two = int(both) & low, int(both) >> PART_BITS
                        parts[2 * number] = parts.get(2 * number, 0) + one
                        parts[2 * number + 1] = parts.get(2 * number + 1, 0) + two
        if self._rows:
            inner = f"SELECT {self._keys(OF_ROWS)}part FROM ({self._rows}) AS counted"
            query = f"SELECT {''.join(name + ', ' for name in names)}part, count(*) FROM ({inner}) AS whole"
            query += among(names, only, self._given) + f" GROUP BY {', '.join((*names, 'part'))}"
            for row in self._connection.execute(text(query), self._given):
                *key, part, number = row
                parts = found.setdefault(tuple(key), {})
                parts[int(part)] = parts.get(int(part), 0) + int(number)
        return found

    def _tables(self) -> Iterator[tuple[Mapping[str, str], str]]:
        """The columns of the tables of sums that have a part of the answer, and FROM and WHERE of each part."""
        columns = _OF_SUBJECT[self._subject]
        of_days, of_hours = {**columns, "day": "at"}, {**columns, "day": "at / 24", "hour": "at"}
        where = f"WHERE subject = '{self._subject}'{filtered(self._wanted, columns, self._given)}"
        first, end = self._wanted.hours
        hours, days = (hour_callers, day_callers) if self._subject in CALLERS else (hour_sums, day_sums)
        day, last_day = -(-first // 24), min(end // 24, first_open_day(self._connection))
        parts = [(first, end)]
        if "hour" not in self._by and day < last_day:
            yield of_days, f"FROM {days.name} {where} AND at >= {day} AND at < {last_day}"
            parts = [(first, day * 24), (last_day * 24, end)]
        for one, two in parts:
            if one < two:
                yield of_hours, f"FROM {hours.name} {where} AND at >= {one} AND at < {two}"

    def _rows_behind(self) -> str:
        """The rows that are in no sums yet, "" if there are none."""
        first, end = self._wanted.span
        first = max(first, mark_of(self._connection) + 1)
        cut = select(calls.c.id).where(calls.c.id >= first, calls.c.id < end).order_by(calls.c.id)
        if (found := self._connection.execute(cut.offset(TAIL_ROWS).limit(1)).scalar()) is not None:
            self.cut_until = end = found
        if first >= end:
            return ""
        return rows_where(f"id >= {first} AND id < {end}{filtered(self._wanted, {}, self._given)}")

    def _keys(self, columns: Mapping[str, str]) -> str:
        """What the groups are told apart by."""
        return "".join(f"{columns.get(name, name)} AS k{number}, " for number, name in enumerate(self._by))


def _sums(one: RowMapping, parts: Mapping[int, int]) -> Sums:
    names = ("n", "us", "us_max", "bytes_in", "bytes_out", "tokens_saved", "errors", "denied")
    return Sums(parts=parts, **{name: int(one[name]) for name in names})
