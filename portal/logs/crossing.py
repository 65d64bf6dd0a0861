"""What calls add up to where there are no sums of it, such as the tools of a person: from the newest rows that an index
finds, so many at most.

Finding these rows costs more than adding them up. So they are read once, whatever number of questions there are.

Synchronous, over one connection: the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, text

from portal.logs.folding import bounded_expression, named_expression, part_expression
from portal.logs.pages import boundary, chosen
from portal.logs.query import Filters
from portal.logs.schema import AMOUNTS, DAY, HOUR
from portal.logs.totals import MINUTES, NUMBERS, CallWindow, FoundSums, Keys, Sums, SumsQuestion

LOOKED_AT = 40_000
"""Rows that are read."""
_FILTERED = ("portal", "server", "kind", "identity", "client")
OF_ROWS: Mapping[str, str] = {"day": f"id / {DAY}", "hour": f"id / {HOUR}", "minutes": f"id / {MINUTES}"}
"""Numbers that rows are told apart by, in the columns of `rows_where`."""
_SUMMED: Mapping[str, str] = {
    "n": "count(*)",
    **{name: f"sum({name})" for name in AMOUNTS[1:]},
    "us_max": "max(us)",
    "errors": "sum(CASE WHEN outcome <> 'ok' THEN 1 ELSE 0 END)",
    "denied": "sum(CASE WHEN outcome = 'denied' THEN 1 ELSE 0 END)",
}


def crossed(connection: Connection, questions: Sequence[SumsQuestion], wanted: CallWindow) -> list[FoundSums]:
    """The answer to each question, from the rows of this window."""
    first, end = wanted.span
    filters = Filters(
        portal=wanted.portal,
        server=wanted.server,
        identity=wanted.identity,
        client=wanted.client,
        since=first,
        until=end,
    )
    index = chosen(connection, filters)
    since = boundary(connection, filters, index, end, LOOKED_AT)
    first = first if since is None else since
    if first >= end:
        return [FoundSums({}, since) for _ in questions]
    given: dict[str, str] = {}
    rows = rows_where(f"id >= {first} AND id < {end}{filtered(wanted, {}, given, index)}")
    # Of several questions a database would read them again for each one.
    steps = [f"counted AS {'MATERIALIZED ' if len(questions) > 1 else ''}({rows})"]
    width = max(len(one.by) for one in questions)
    answers = []
    for number, one in enumerate(questions):
        steps += _steps(number, one, wanted, given)
        answers.append(_answer(number, one, width))
    found = connection.execute(text(f"WITH {', '.join(steps)} {' UNION ALL '.join(answers)}"), given).mappings()
    groups: list[dict[Keys, list[RowMapping]]] = [{} for _ in questions]
    for row in found:
        # Of no row at all there is one sum, of nothing.
        if row["n"]:
            groups[row["question"]].setdefault(_key(row, questions[row["question"]].by), []).append(row)
    return [FoundSums(_ordered(several, one.times), since) for several, one in zip(groups, questions, strict=True)]


def rows_where(where: str) -> str:
    """SELECT of rows as they are counted."""
    numbers = ", ".join(f"{bounded_expression(name)} AS {name}" for name in AMOUNTS[1:])
    columns = f"id, portal, server, kind, {named_expression()} AS name, outcome, identity, client, client_version"
    return f"SELECT {columns}, {numbers}, {part_expression()} AS part FROM calls WHERE {where}"


def filtered(wanted: CallWindow, columns: Mapping[str, str], given: dict[str, str], index: str | None = None) -> str:
    """The conditions of a window but its time, in a way that only this index is of use; what is `given` with them."""
    found = ""
    for name in _FILTERED:
        value = getattr(wanted, name)
        if value is not None:
            given[name] = value
            column = columns.get(name, name)
            found += f" AND {column} = :{name}" if index in (None, name) else f" AND {column} || '' = :{name}"
            if index == name == "portal":
                # As the index says it, or SQLite does not use that.
                found += " AND portal <> ''"
    return found


def among(names: Sequence[str], only: Sequence[Keys] | None, given: dict[str, str], prefix: str = "o") -> str:
    """WHERE for the groups in `only`, "" where each is wanted; what is `given` with it."""
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
                given[f"{prefix}{at}_{number}"] = value
                marks.append(f":{prefix}{at}_{number}")
        rows.append(f"({', '.join(marks)})")
    return f" WHERE ({', '.join(names)}) IN (VALUES {', '.join(rows)})"


def _steps(number: int, one: SumsQuestion, wanted: CallWindow, given: dict[str, str]) -> list[str]:
    """The steps to the groups of a question: each has a row for each part, or one without times."""
    names = [f"k{at}" for at in range(len(one.by))]
    columns = [OF_ROWS.get(name, name) for name in one.by]
    # What is alike in all rows need not be sorted by.
    fixed = [getattr(wanted, name, None) is not None for name in one.by]
    keys = [
        f"CAST({f':{name}' if is_fixed else column} AS TEXT) AS {key}"
        for key, name, column, is_fixed in zip(names, one.by, columns, fixed, strict=True)
    ]
    free = [key for key, is_fixed in zip(names, fixed, strict=True) if not is_fixed]
    keys.append("part" if one.times else "0 AS part")
    free += ["part"] if one.times else []
    summed = [f"{expression} AS {name}" for name, expression in _SUMMED.items()]
    found = f"SELECT {', '.join((*keys, *summed))} FROM counted{among(columns, one.only, given, f'o{number}_')}"
    found += f" GROUP BY {', '.join(free)}" if free else ""
    if one.most is None or not names:
        return [f"groups{number} AS ({found})"]
    most = f"ORDER BY {{}} DESC, {', '.join(names)} LIMIT {int(one.most)}"
    if not one.times:
        return [f"groups{number} AS ({found} {most.format('count(*)')})"]
    listed = ", ".join(names)
    return [
        f"every{number} AS MATERIALIZED ({found})",
        f"most{number} AS (SELECT {listed} FROM every{number} GROUP BY {listed} {most.format('sum(n)')})",
        f"groups{number} AS (SELECT * FROM every{number} WHERE ({listed}) IN (SELECT {listed} FROM most{number}))",
    ]


def _answer(number: int, one: SumsQuestion, width: int) -> str:
    """The rows of the groups of a question, with as many keys as any other has."""
    keys = (f"k{at}" if at < len(one.by) else f"'' AS k{at}" for at in range(width))
    return f"SELECT {', '.join((f'{number} AS question', *keys, 'part', *_SUMMED))} FROM groups{number}"


def _key(row: RowMapping, by: Sequence[str]) -> Keys:
    return tuple(int(row[f"k{at}"]) if name in NUMBERS else str(row[f"k{at}"]) for at, name in enumerate(by))


def _ordered(groups: Mapping[Keys, Sequence[RowMapping]], has_times: bool) -> dict[Keys, Sums]:
    """The sums of each group, those with the most calls first."""
    found = {key: _sums(rows, has_times) for key, rows in groups.items()}
    return dict(sorted(found.items(), key=lambda one: (-one[1].n, one[0])))


def _sums(rows: Sequence[RowMapping], has_times: bool) -> Sums:
    """What the rows of one group, each of one part, add up to."""
    names = ("n", "us", "bytes_in", "bytes_out", "tokens_saved", "errors", "denied")
    return Sums(
        us_max=max(int(row["us_max"]) for row in rows),
        parts={int(row["part"]): int(row["n"]) for row in rows} if has_times else {},
        **{name: sum(int(row[name]) for row in rows) for name in names},
    )
