"""`rows_by_hand` in PostgreSQL: with a server of its own, which waits for the disk, over a unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import asyncpg  # type: ignore[import-untyped]

from benchmarks.cases import Case, Measurement, Reading
from benchmarks.subjects.parked_postgresql import server_of_this_run
from benchmarks.subjects.rows_by_hand import ROUNDS, TABLE, measured


def cases() -> Mapping[str, Case | Reading]:
    return {"both": Reading(_read)}


def _read(once: bool) -> Measurement:
    with server_of_this_run() as server:
        return asyncio.run(_measured(str(server.folder), 1 if once else ROUNDS))


async def _measured(folder: str, rounds: int) -> Measurement:
    connection = await asyncpg.connect(host=folder, user="postgres", database="postgres")

    async def write(statement: str, *values: object) -> None:
        async with connection.transaction():
            await connection.fetch(statement, *values)

    await connection.execute(TABLE.format(data="bytea"))
    found = await measured(write, connection.fetch, ("$1", "$2"), rounds)
    await connection.close()
    return found
