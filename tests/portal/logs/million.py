"""A log of many rows for tests and measurements: 30 days, 8 servers with 25 tools each, 4 portals with 50 people each,
6 clients with several versions, runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sqlalchemy import create_engine, insert

from portal.logs import LogDatabase, LogPlace, LogRow
from portal.logs.batch import optimize, store
from portal.logs.folding import fold, fold_day
from portal.logs.schema import DAY, ROW_COLUMNS, VERSION, calls, facts, metadata
from tests.portal.logs.rows import AT, batch_of

DAYS = 30
BATCH = 5_000


def many(first: int, number: int, of: int) -> list[LogRow]:
    """Rows from the one of this number on, of so many that lie evenly in `DAYS`. The same numbers are the same rows."""
    made = []
    for n in range(first, first + number):
        tool, run = n * 7919 % 200, n // 10 if n % 3 else 0
        # A person is at one portal, and uses any tool there through one client.
        person = (n * 2_654_435_761 % 2**32 >> 12) % 50 * 4 + n % 4
        made.append(
            LogRow(
                AT - DAYS * DAY + n * (DAYS * DAY // of),
                500 + n * 104_729 % 900_000,
                "run" if run and n % 10 == 9 else "tool",
                "tools/call",
                "timeout" if n % 97 == 0 else "tool_error" if n % 41 == 0 else "ok",
                portal=("", "team", "ops", "quiet" if n % 10_000 == 0 else "lab")[n % 4],
                server=f"server-{tool % 8}",
                name="rare_tool" if n % 250_007 == 3 else f"tool_{tool}",
                run=f"exec_{run:016x}" if run else "",
                call=n % 10 if run else 0,
                identity=f"person-{person}",
                email=f"person-{person}@example.com",
                client=("agent", "assistant", "desktop", "editor", "terminal", "web")[person % 6],
                client_version=f"1.{person % 7}.{n * 4 // of}",
                bytes_in=n % 900,
                bytes_out=n % 40_000,
                trace=f"{n:032x}",
            )
        )
    return made


async def fill(place: LogPlace, of: int) -> None:
    """Make a log of so many rows at this place."""
    database = LogDatabase(place.url)
    await database.open()
    try:
        for first in range(0, of, BATCH):
            rows = many(first, min(BATCH, of - first), of)
            await database.write(partial(store, batch=batch_of("many", first + 1, rows), now=AT))
        for step in (fold, fold_day):
            while await database.write(step):
                pass
        await database.write(optimize)
    finally:
        await database.close()


def write_fast(file: Path, of: int) -> None:
    """The same in one transaction that no loss of power matters to, indexes last. The rows have no chain."""
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -200000", "temp_store = MEMORY"):
            connection.exec_driver_sql(f"PRAGMA {pragma}").close()
        metadata.create_all(connection)
        for index in calls.indexes:
            index.drop(connection)
        connection.execute(insert(facts).values(name="version", value=str(VERSION)))
        names = ", ".join(column.name for column in ROW_COLUMNS)
        marks = ", ".join("?" * len(ROW_COLUMNS))
        for first in range(0, of, BATCH):
            rows = many(first, min(BATCH, of - first), of)
            # Each is later than the one before it by more than it may be late.
            values = [(one.at, "many", number, *one) for number, one in enumerate(rows, first + 1)]
            connection.exec_driver_sql(f"INSERT INTO calls ({names}) VALUES ({marks})", values).close()
        for step in (partial(fold, connection, 200_000), partial(fold_day, connection)):
            while step():
                pass
        for index in calls.indexes:
            index.create(connection)
        optimize(connection)
        connection.commit()
    engine.dispose()
