"""Looks at a database without changing it: which version its tables have, and whether somebody holds its lock.

A file of SQLite is looked at in a copy: opening it as the portal does may write to it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path
from typing import Literal

from portal.state.database import Database
from portal.state.errors import StateUnavailable, StateUnusable
from portal.state.migrate import is_ahead, is_current, is_migrated

SchemaState = Literal["none", "older", "current", "newer"]
"""`none`: there are no tables of a portal; `older`: the next start brings them up to date; `newer`: they are of a newer
program."""

MOST_COPIED = 512 * 1024 * 1024
_PAGES = 2_000
# Nothing is wrong with the database then: https://sqlite.org/rescode.html
_NOT_NOW = {
    "SQLITE_FULL": "there is no room for a copy",
    "SQLITE_BUSY": "somebody writes to it",
    "SQLITE_LOCKED": "somebody writes to it",
}
# The byte of the file beside the database that a writer locks: https://sqlite.org/walformat.html, "WAL Locks".
_WAL_WRITE_LOCK = 120
_FLOCK = "@hhqqi4x"


async def schema_state(url: str) -> SchemaState:
    """Which tables there are. For SQLite name a copy.

    Raises:
        StateUnavailable, StateUnusable: it cannot be read.
    """
    database = Database(url, lasting=False)
    try:
        async with database.reading() as connection:
            if not await connection.run_sync(is_migrated):
                return "none"
            if await connection.run_sync(is_current):
                return "current"
            return "newer" if await connection.run_sync(is_ahead) else "older"
    finally:
        await database.close()


def copy_sqlite(file: Path, to: Path) -> None:
    """A copy of a database as it is now, for its owner alone, while others may write to it.

    Raises:
        StateUnusable: it cannot be read.
        StateUnavailable: it is too large to be copied for a look, or there is no room, or somebody writes to it.
    """
    try:
        if file.stat().st_size > MOST_COPIED:
            raise StateUnavailable(f"it is larger than {MOST_COPIED // 2**20} MiB, and is looked at in a copy only")
        os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        # Without its log nobody has it open, and SQLite would make files beside it only to read it.
        how = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
        with (
            closing(sqlite3.connect(f"{file.absolute().as_uri()}?{how}", uri=True, timeout=1)) as there,
            closing(sqlite3.connect(to)) as here,
        ):
            there.backup(here, pages=_PAGES)
    except sqlite3.Error as error:
        kind = error.sqlite_errorname if isinstance(error, sqlite3.Error) and hasattr(error, "sqlite_errorname") else ""
        if kind in _NOT_NOW:
            raise StateUnavailable(f"it cannot be copied now: {_NOT_NOW[kind]}") from None
        raise StateUnusable(f"{file}: it cannot be read ({kind or type(error).__name__})") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StateUnavailable("there is no room for a copy of it") from None
        raise StateUnusable(f"{file}: {error.strerror or 'it cannot be read'}") from None


async def lock_holder(file: Path, seconds: float, poll: float = 0.05) -> int | None:
    """The process that holds the lock of writers of an SQLite file for so long; None if nobody does, or that cannot be
    told here. Nothing is locked."""
    loop = asyncio.get_running_loop()
    until, holder = loop.time() + seconds, _holder(file)
    while holder is not None and loop.time() < until:
        await asyncio.sleep(poll)
        holder = _holder(file)
    return holder


def _holder(file: Path) -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        descriptor = os.open(f"{file}-shm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _WAL_WRITE_LOCK, 1, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except (OSError, struct.error):
        return None
    finally:
        os.close(descriptor)
    return pid if kind != fcntl.F_UNLCK else None
