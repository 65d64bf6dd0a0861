"""What calls add up to: in a window, by the hour, of the servers, tools, people and clients with the most.

Whole days come from the sums of days, other hours from those of hours, and what is in neither yet from the rows behind
the mark (`folding`): few, so that an answer is of all rows that are stored. A question that no sums are for, such as
the tools of a person, is answered from the newest rows that an index finds, so many at most, and says since when.

Synchronous, over one connection: the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import TypeAlias

from sqlalchemy import Connection, RowMapping, select, text

from portal.logs.folding import bounded_expression, first_open_day, mark_of, named_expression, part_expression
from portal.logs.pages import boundary, chosen
from portal.logs.query import Filters
from portal.logs.schema import (
    AMOUNTS,
    BOUNDS,
    HOUR,
    PART_BITS,
    TIMES,
    calls,
    day_callers,
    day_sums,
    hour_callers,
    hour_sums,
)

TAIL_ROWS = 20_000
"""Rows behind the mark that are read. There are more only while a log of an earlier version is brought up to date."""
LOOKED_AT = 40_000
"""Rows that are read for a question that no sums are for."""

Keys: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Sums:
    """What an hour, a server, a tool... adds up to. Times are in microseconds; `errors` are the calls that did not end
    well, `denied` those of them that were denied."""

    n: int
    us: int
    us_max: int
    bytes_in: int
    bytes_out: int
    tokens_saved: int
    parts: Mapping[int, int] = field(default_factory=dict)
    errors: int = 0
    denied: int = 0

    def quantile(self, q: float) -> int | None:
        """The time within which this share of the calls ended, at most 6 % from the true one (or 1 ms, if that is
        more); None without a call. Above 2 minutes it is the longest time there was."""
        if not self.n:
            return None
        rank, seen = q * self.n, 0
        for part in sorted(self.parts):
            seen += self.parts[part]
            if seen >= rank and part < len(BOUNDS):
                middle = sqrt(BOUNDS[part - 1] * BOUNDS[part]) if part else BOUNDS[0]
                return min(round(middle), self.us_max)
        return self.us_max


def added(several: Iterable[Sums]) -> Sums | None:
    """What several add up to together; None if there are none."""
    every = [*several]
    if not every:
        return None
    parts: dict[int, int] = {}
    for one in every:
        for part, number in one.parts.items():
            parts[part] = parts.get(part, 0) + number
    return Sums(
        n=sum(one.n for one in every),
        us=sum(one.us for one in every),
        us_max=max(one.us_max for one in every),
        bytes_in=sum(one.bytes_in for one in every),
        bytes_out=sum(one.bytes_out for one in every),
        tokens_saved=sum(one.tokens_saved for one in every),
        parts=parts,
        errors=sum(one.errors for one in every),
        denied=sum(one.denied for one in every),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWindow:
    """Whole hours, from that of `since` on, before `until` (microseconds since 1970), and which calls. What is None
    does not matter. With `rows` the rows themselves are read, from `since` on: for a time that is no whole hours."""

    since: int
    until: int
    portal: str | None = None
    server: str | None = None
    kind: str | None = None
    identity: str | None = None
    client: str | None = None
    rows: bool = False

    @property
    def hours(self) -> tuple[int, int]:
        return self.since // HOUR, -(-self.until // HOUR)


@dataclass(frozen=True, slots=True)
class FoundSums:
    """`groups` with the most calls first. What ended before `since` or after `until` is not in them, where they are not
    None (microseconds since 1970): too many rows would have had to be read."""

    groups: dict[Keys, Sums]
    since: int | None = None
    until: int | None = None


COLUMNS = ("hour", "portal", "server", "kind", "name", "outcome", "identity", "client", "client_version", "minutes")
"""What sums can be told apart by. `hour` counts from 1970, and so do `minutes`, five at a time and of rows alone."""
MINUTES = 300_000_000
"""Five of them, in microseconds."""
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
    sources = _Sources(connection, by, wanted)
    found = sources.amounts(most, only)
    times = sources.times([*found] if most is not None or only is not None else None) if found else {}
    groups = {key: _sums(one, times.get(key, {})) for key, one in found.items()}
    return FoundSums(groups, sources.cut_since, sources.cut_until)


def numbers(connection: Connection, wanted: CallWindow) -> dict[int, int]:
    """How many calls there were in each hour, counted from 1970, that has some."""
    found = _Sources(connection, ["hour"], wanted).amounts(None, None)
    return {int(hour): int(one["n"]) for (hour,), one in found.items()}


def subject_of(by: Sequence[str], wanted: CallWindow) -> str | None:
    """The subject whose sums answer such a question; None if there is none, and rows have to be read."""
    if wanted.rows:
        return None
    used = {name for name in by if name not in ("hour", "portal", "kind", "outcome")}
    used |= {name for name in ("server", "identity", "client") if getattr(wanted, name) is not None}
    return next((subject for subject, columns in _OF_SUBJECT.items() if used <= {*columns}), None)


class _Sources:
    """The tables that the answer to one question is in, as SELECTs that have the same columns."""

    def __init__(self, connection: Connection, by: Sequence[str], wanted: CallWindow) -> None:
        self._connection = connection
        self._by = [*by]
        self._wanted = wanted
        self._subject = subject_of(by, wanted)
        self._given: dict[str, str] = {}
        self.cut_since: int | None = None
        self.cut_until: int | None = None
        self._rows = self._rows_between()

    def amounts(self, most: int | None, only: Sequence[Keys] | None) -> dict[Keys, RowMapping]:
        """Everything but the times of each group."""
        names = [f"k{number}" for number in range(len(self._by))]
        of_rows = ", ".join(("1 AS n", "us AS us_max", *AMOUNTS[1:]))
        parts = [
            f"SELECT {self._keys(columns)}outcome, n, us_max, {', '.join(AMOUNTS[1:])} {rest}"
            for columns, rest in self._tables()
        ]
        if self._rows:
            parts.append(f"SELECT {self._keys(None)}outcome, {of_rows} FROM ({self._rows}) AS counted")
        summed = ", ".join(f"sum({name}) AS {name}" for name in AMOUNTS)
        query = (
            f"SELECT {''.join(name + ', ' for name in names)}{summed}, max(us_max) AS us_max, "
            f"sum(CASE WHEN outcome <> 'ok' THEN n ELSE 0 END) AS errors, "
            f"sum(CASE WHEN outcome = 'denied' THEN n ELSE 0 END) AS denied "
            f"FROM ({' UNION ALL '.join(parts)}) AS whole"
        )
        if not parts:
            return {}
        query += self._only(names, only)
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
            for row in self._connection.execute(text(query + self._only(names, only) + grouped), self._given):
                parts = found.setdefault(tuple(row[: len(names)]), {})
                for number, both in enumerate(row[len(names) :]):
                    if both:
                        one, two = int(both) & low, int(both) >> PART_BITS
                        parts[2 * number] = parts.get(2 * number, 0) + one
                        parts[2 * number + 1] = parts.get(2 * number + 1, 0) + two
        if self._rows:
            inner = f"SELECT {self._keys(None)}part FROM ({self._rows}) AS counted"
            query = f"SELECT {''.join(name + ', ' for name in names)}part, count(*) FROM ({inner}) AS whole"
            query += self._only(names, only) + f" GROUP BY {', '.join((*names, 'part'))}"
            for row in self._connection.execute(text(query), self._given):
                *key, part, number = row
                parts = found.setdefault(tuple(key), {})
                parts[int(part)] = parts.get(int(part), 0) + int(number)
        return found

    def _tables(self) -> Iterator[tuple[Mapping[str, str], str]]:
        """The columns of the tables of sums that have a part of the answer, and FROM and WHERE of each part."""
        if self._subject is None:
            return
        columns = _OF_SUBJECT[self._subject]
        where = f"WHERE subject = '{self._subject}'{self._filter(columns)}"
        first, end = self._wanted.hours
        hours, days = (hour_callers, day_callers) if self._subject in CALLERS else (hour_sums, day_sums)
        day, last_day = -(-first // 24), min(end // 24, first_open_day(self._connection))
        parts = [(first, end)]
        if "hour" not in self._by and day < last_day:
            yield columns, f"FROM {days.name} {where} AND at >= {day} AND at < {last_day}"
            parts = [(first, day * 24), (last_day * 24, end)]
        for one, two in parts:
            if one < two:
                yield columns, f"FROM {hours.name} {where} AND at >= {one} AND at < {two}"

    def _rows_between(self) -> str:
        """The rows that are read themselves, "" if there are none."""
        first, end = (hour * HOUR for hour in self._wanted.hours)
        if self._wanted.rows:
            first, end = self._wanted.since, self._wanted.until
        # Larger than any id, for any time that may be asked for.
        first, end = max(first, 0), min(end, 2**62)
        index = None
        if self._subject is not None:
            first = max(first, mark_of(self._connection) + 1)
            cut = select(calls.c.id).where(calls.c.id >= first, calls.c.id < end).order_by(calls.c.id)
            if (found := self._connection.execute(cut.offset(TAIL_ROWS).limit(1)).scalar()) is not None:
                self.cut_until = end = found
        else:
            filters = Filters(
                portal=self._wanted.portal,
                server=self._wanted.server,
                identity=self._wanted.identity,
                client=self._wanted.client,
                since=first,
                until=end,
            )
            index = chosen(self._connection, filters)
            if (found := boundary(self._connection, filters, index, end, LOOKED_AT)) is not None:
                self.cut_since = first = found
        if first >= end:
            return ""
        numbers = ", ".join(f"{bounded_expression(name)} AS {name}" for name in AMOUNTS[1:])
        columns = f"id, portal, server, kind, {named_expression()} AS name, outcome, identity, client, client_version"
        where = f"id >= {first} AND id < {end}{self._filter({}, index)}"
        return f"SELECT {columns}, {numbers}, {part_expression()} AS part FROM calls WHERE {where}"

    def _filter(self, columns: Mapping[str, str], index: str | None = None) -> str:
        found = ""
        for name in ("portal", "server", "kind", "identity", "client"):
            value = getattr(self._wanted, name)
            if value is not None:
                self._given[name] = value
                column = columns.get(name, name)
                # In a way that only this index is of use.
                found += f" AND {column} = :{name}" if index in (None, name) else f" AND {column} || '' = :{name}"
                if index == name == "portal":
                    # As the index says it, or SQLite does not use that.
                    found += " AND portal <> ''"
        return found

    def _keys(self, columns: Mapping[str, str] | None) -> str:
        """What the groups are told apart by; `columns` is None of rows."""
        hour, renamed = (f"id / {HOUR}", {}) if columns is None else ("at", columns)
        renamed = {**renamed, "hour": hour, "minutes": f"id / {MINUTES}"}
        named = [renamed.get(name, name) for name in self._by]
        return "".join(f"{column} AS k{number}, " for number, column in enumerate(named))

    def _only(self, names: Sequence[str], only: Sequence[Keys] | None) -> str:
        if not names or only is None:
            return ""
        if not only:
            return " WHERE 1 = 0"
        rows = []
        for at, key in enumerate(only):
            marks = []
            for number, value in enumerate(key):
                if isinstance(value, int):
                    marks.append(str(value))
                else:
                    self._given[f"o{at}_{number}"] = value
                    marks.append(f":o{at}_{number}")
            rows.append(f"({', '.join(marks)})")
        return f" WHERE ({', '.join(names)}) IN (VALUES {', '.join(rows)})"


def _sums(one: RowMapping, parts: Mapping[int, int]) -> Sums:
    names = ("n", "us", "us_max", "bytes_in", "bytes_out", "tokens_saved", "errors", "denied")
    return Sums(parts=parts, **{name: int(one[name]) for name in names})
