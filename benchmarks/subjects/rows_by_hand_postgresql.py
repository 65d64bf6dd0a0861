"""`rows_by_hand` in PostgreSQL: with a server of its own, which waits for the disk, over a unix socket."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Mapping

import asyncpg  # type: ignore[import-untyped]

from benchmarks.cases import Case, Measurement, Reading
from benchmarks.subjects.parked_postgresql import server_of_this_run
from benchmarks.subjects.rows_by_hand import CANDIDATES, CHECKPOINT_BYTES, CLAIM, PARK, READY, ROUNDS, TABLE


def cases() -> Mapping[str, Case | Reading]:
    return {"both": Reading(_read)}


def _read(once: bool) -> Measurement:
    with server_of_this_run() as server:
        return asyncio.run(_measured(str(server.folder), 1 if once else ROUNDS))


async def _measured(folder: str, rounds: int) -> Measurement:
    park, ready, claim = PARK.format(id="$1", data="$2"), READY.format(id="$1"), CLAIM.format(id="$1")
    connection = await asyncpg.connect(host=folder, user="postgres", database="postgres")
    await connection.execute(TABLE.format(data="bytea"))
    found = []
    for number in range(rounds):
        id, data = str(number), os.urandom(CHECKPOINT_BYTES)
        began = time.perf_counter()
        await _write(connection, park, id, data)
        await _write(connection, ready, id)
        await connection.fetch(CANDIDATES)
        await _write(connection, claim, id)
        found.append(time.perf_counter() - began)
    await connection.close()
    return Measurement(min(found), statistics.median(found))


async def _write(connection: asyncpg.Connection, statement: str, *values: object) -> None:
    async with connection.transaction():
        await connection.fetch(statement, *values)
