"""New databases for tests: one is migrated, each test gets a copy, and none waits for the disk."""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from portal.state.database import Database


def new_state(folder: Path, name: str = "state.db") -> str:
    """The URL of an SQLite database in this folder, made and migrated if it is not there.

    What was answered may be lost with the machine's power, which no test turns off.
    """
    file = folder / name
    if not file.exists():
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as new:
            new.write(_migrated())
    return f"sqlite:///{file}?synchronous=off"


@cache
def _migrated() -> bytes:
    """An SQLite file with the tables of this program and nothing in them."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "state.db"
        # The caller may be inside an event loop of its own.
        migration = Thread(target=lambda: asyncio.run(migrated(f"sqlite:///{file}?synchronous=off")))
        migration.start()
        migration.join()
        return file.read_bytes()


async def migrated(url: str) -> None:
    """Bring the tables of this database up to date."""
    database = Database(url)
    try:
        await database.open()
    finally:
        await database.close()
