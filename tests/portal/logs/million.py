"""A log of many rows for tests and measurements: 30 days, 8 servers with 25 tools each, 4 portals, 200 people, runs."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from portal.logs import LogDatabase, LogPlace, LogRow
from portal.logs.batch import optimize, store
from portal.logs.schema import DAY
from tests.portal.logs.rows import AT, batch_of

DAYS = 30
BATCH = 5_000


def many(first: int, number: int, of: int) -> list[LogRow]:
    """Rows from the one of this number on, of so many that lie evenly in `DAYS`. The same numbers are the same rows."""
    made = []
    for n in range(first, first + number):
        # Primes, so that no two columns go together.
        tool, run = n * 7919 % 200, n // 10 if n % 3 else 0
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
                identity=f"person-{n * 31 % 200}",
                email=f"person-{n * 31 % 200}@example.com",
                client="agent",
                client_version="1.2.3",
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
        await database.write(optimize)
    finally:
        await database.close()


def made(folder: Path, of: int) -> LogPlace:
    place = LogPlace(url=f"sqlite:///{folder}/logs.db", folder=folder)
    asyncio.run(fill(place, of))
    return place
