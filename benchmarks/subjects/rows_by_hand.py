"""What it costs at least to park a program and to claim it, as `parked` does: the same transactions with rows of that
size, by hand from asyncio, in a file of SQLite that waits for the disk."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import aiosqlite

from benchmarks.cases import Case, Measurement, Reading

ROUNDS = 200
CHECKPOINT_BYTES = 13_000
TABLE = "CREATE TABLE run (id text PRIMARY KEY, state text, revision int, data {data})"
PARK = "INSERT INTO run VALUES ({id}, 'parked', 1, {data})"
READY = "UPDATE run SET state = 'ready' WHERE id = {id}"
CANDIDATES = "SELECT id FROM run WHERE state = 'ready'"
CLAIM = "UPDATE run SET state = 'running', revision = revision + 1 WHERE id = {id} RETURNING data"


def cases() -> Mapping[str, Case | Reading]:
    return {"both": Reading(_read)}


def _read(once: bool) -> Measurement:
    with TemporaryDirectory(prefix="codemode-bench-") as folder:
        return asyncio.run(_measured(Path(folder) / "rows.db", 1 if once else ROUNDS))


async def _measured(file: Path, rounds: int) -> Measurement:
    async with aiosqlite.connect(file, isolation_level=None) as database:

        async def write(statement: str, *values: object) -> None:
            await database.execute_fetchall("BEGIN IMMEDIATE")
            await database.execute_fetchall(statement, values)
            await database.commit()

        for prepare in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = full", TABLE.format(data="blob")):
            await database.execute_fetchall(prepare)
        return await measured(write, database.execute_fetchall, ("?", "?"), rounds)


async def measured(
    write: Callable[..., Awaitable[object]],
    read: Callable[[str], Awaitable[object]],
    marks: tuple[str, str],
    rounds: int,
) -> Measurement:
    """Seconds for the four steps. `write` makes a statement with its values a transaction, whose places are `marks`."""
    id_mark, data_mark = marks
    park, ready, claim = (one.format(id=id_mark, data=data_mark) for one in (PARK, READY, CLAIM))
    found = []
    for number in range(rounds):
        id, data = str(number), os.urandom(CHECKPOINT_BYTES)
        began = time.perf_counter()
        await write(park, id, data)
        await write(ready, id)
        await read(CANDIDATES)
        await write(claim, id)
        found.append(time.perf_counter() - began)
    return Measurement(min(found), statistics.median(found))
