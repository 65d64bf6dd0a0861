"""What it costs at least to park a program and to claim it, as `parked` does: the same commits of rows of that size, by
hand, in a file of SQLite that waits for the disk."""

from __future__ import annotations

import os
import sqlite3
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

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
    park, ready, claim = PARK.format(id="?", data="?"), READY.format(id="?"), CLAIM.format(id="?")
    with TemporaryDirectory(prefix="codemode-bench-") as folder:
        database = sqlite3.connect(Path(folder) / "rows.db", isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = full")
        database.execute(TABLE.format(data="blob"))
        found = []
        for number in range(1 if once else ROUNDS):
            id, data = str(number), os.urandom(CHECKPOINT_BYTES)
            began = time.perf_counter()
            for statement, values in ((park, (id, data)), (ready, (id,)), (CANDIDATES, ()), (claim, (id,))):
                # Outside of a transaction each statement is one.
                database.execute(statement, values).fetchall()
            found.append(time.perf_counter() - began)
        database.close()
    return Measurement(min(found), statistics.median(found))
