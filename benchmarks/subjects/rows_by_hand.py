"""What it costs at least to park a program and to claim it, as `parked` does: the same transactions with rows of that
size, by hand from asyncio, in a file of SQLite that waits for the disk."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Mapping
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
    park, ready, claim = PARK.format(id="?", data="?"), READY.format(id="?"), CLAIM.format(id="?")
    found = []
    async with aiosqlite.connect(file, isolation_level=None) as database:
        for prepare in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = full", TABLE.format(data="blob")):
            await database.execute_fetchall(prepare)
        for number in range(rounds):
            id, data = str(number), os.urandom(CHECKPOINT_BYTES)
            began = time.perf_counter()
            await _write(database, park, (id, data))
            await _write(database, ready, (id,))
            await database.execute_fetchall(CANDIDATES)
            await _write(database, claim, (id,))
            found.append(time.perf_counter() - began)
    return Measurement(min(found), statistics.median(found))


async def _write(database: aiosqlite.Connection, statement: str, values: tuple[object, ...]) -> None:
    await database.execute_fetchall("BEGIN IMMEDIATE")
    await database.execute_fetchall(statement, values)
    await database.commit()
