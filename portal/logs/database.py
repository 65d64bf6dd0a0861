"""The database of the log: SQLite in a file of its own, or PostgreSQL. It is not the state's: writing here delays no
login.

Everything runs in threads or in the driver, never on the event loop, and within a time.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from portal.logs.batch import lock
from portal.logs.schema import ADDED_BY, VERSION, calls, facts, metadata
from portal.state import StateUnusable, begin_sqlite, is_failure, make_private_file, parse_url, reason_of

T = TypeVar("T")

WRITE_SECONDS = 10.0
READ_SECONDS = 10.0
READERS = 2
BUSY_SECONDS = 4.0
_STEPS = 10_000
"""Steps of SQLite's machine after which it is looked whether the time is over: some milliseconds."""


class LogUnavailable(Exception):
    """The database of the log does not answer, or not in time. `str()` says why, without a value of a row."""


class LogUnusable(Exception):
    """It cannot be used: of a newer program, no database, not to be opened. `str()` says what to do."""


class LogDatabase:
    """Use `open` and `close`. `write` runs in a transaction that no other process's comes between."""

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        self.name = self._url.render_as_string(hide_password=True)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._engine: Engine | None = None
        self._async_engine: AsyncEngine | None = None
        self._writer = ThreadPoolExecutor(1, "log writer")
        self._readers = ThreadPoolExecutor(READERS, "log reader")

    def __repr__(self) -> str:
        return f"LogDatabase({self.name!r})"

    async def open(self, *, make: bool = True) -> None:
        """Make the tables if they are not there, unless only what is there is to be read.

        Raises:
            LogUnusable: it cannot be used.
        """
        try:
            if self._sqlite:
                file = Path(self._url.database or "")
                if make:
                    make_private_file(file)
                elif not file.exists():
                    raise LogUnusable(f"{file}: there is no log yet; a portal that serves makes it")
                self._engine = _sqlite_engine(self._url)
            else:
                self._async_engine = _server_engine(self._url)
            await (self.write(_prepare) if make else self.read(_check))
        except (LogUnavailable, StateUnusable) as error:
            raise LogUnusable(f"{self.name}: {error}") from None

    async def close(self) -> None:
        if self._async_engine is not None:
            await self._async_engine.dispose()
        if self._engine is not None:
            self._engine.dispose()
        self._writer.shutdown(wait=False)
        self._readers.shutdown(wait=False)

    async def write(self, work: Callable[[Connection], T], seconds: float = WRITE_SECONDS) -> T:
        """The result of `work` in a transaction, which is committed when it returns.

        Raises:
            LogUnavailable: nothing of it was done, or the answer to the commit was lost.
        """
        return await self._run(work, self._writer, seconds, writes=True)

    async def read(self, work: Callable[[Connection], T], seconds: float = READ_SECONDS) -> T:
        """The result of `work`, which sees the log as it is at its first query.

        Raises:
            LogUnavailable: the database does not answer, or not in time.
        """
        return await self._run(work, self._readers, seconds, writes=False)

    async def _run(
        self, work: Callable[[Connection], T], threads: ThreadPoolExecutor, seconds: float, *, writes: bool
    ) -> T:
        try:
            async with asyncio.timeout(seconds + 1):
                if self._async_engine is not None:
                    return await self._on_server(self._async_engine, work, seconds, writes)
                assert self._engine is not None, "open it first"
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(threads, _on_file, self._engine, work, seconds, writes)
        except Exception as error:
            # Most are of the work, and none of ours.
            if not is_failure(error):
                raise
            raise LogUnavailable(reason_of(error) or "it refuses a statement") from None

    @staticmethod
    async def _on_server(engine: AsyncEngine, work: Callable[[Connection], T], seconds: float, writes: bool) -> T:
        async with engine.begin() as connection:
            if not writes:
                # As on SQLite: what is read of several tables belongs together.
                await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            await connection.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))
            return await connection.run_sync(work)


def _on_file(engine: Engine, work: Callable[[Connection], T], seconds: float, writes: bool) -> T:
    until = monotonic() + seconds
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        # A query that takes too long ends where it is: its thread is one of few.
        driver.set_progress_handler(lambda: monotonic() > until, _STEPS)
        try:
            with connection.execution_options(portal_writes=writes).begin():
                return work(connection)
        finally:
            driver.set_progress_handler(None, 0)


def _prepare(connection: Connection) -> None:
    lock(connection)
    metadata.create_all(connection)
    _upgrade(connection)
    if connection.execute(select(facts.c.value).where(facts.c.name == "version")).scalar() is None:
        connection.execute(insert(facts).values(name="version", value=str(VERSION)))
    _check(connection)


def _upgrade(connection: Connection) -> None:
    """Add the columns that a log of an older version does not have."""
    found = connection.execute(select(facts.c.value).where(facts.c.name == "version")).scalar()
    if found is None or not found.isdecimal() or int(found) >= VERSION:
        return
    for version, names in ADDED_BY.items():
        for name in names if version > int(found) else ():
            connection.execute(text(f"ALTER TABLE calls ADD COLUMN {name} {calls.c[name].type}"))
    connection.execute(update(facts).where(facts.c.name == "version").values(value=str(VERSION)))


def _check(connection: Connection) -> None:
    if not connection.dialect.has_table(connection, facts.name):
        raise LogUnusable("there is no log in it yet; a portal that serves makes it")
    found = connection.execute(select(facts.c.value).where(facts.c.name == "version")).scalar()
    if found is None or not found.isdecimal() or int(found) > VERSION:
        raise LogUnusable(f"the log was made by a newer codemode (its version is {found}). Use that one again.")
    if int(found) < VERSION:
        raise LogUnusable("the log was made by an older codemode; a portal that serves brings it up to date")


def _parsed(url: str) -> URL:
    try:
        parsed = parse_url(url, of="log")
    except StateUnusable as error:
        raise LogUnusable(str(error)) from None
    # In a thread of the log: the driver without one of its own.
    return parsed.set(drivername="sqlite") if parsed.get_backend_name() == "sqlite" else parsed


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _set_up, insert=True)
    event.listen(engine, "begin", begin_sqlite)
    return engine


def _set_up(connection: sqlite3.Connection, record: object) -> None:
    # Transactions are begun by `begin_sqlite`, not by the driver's guess at what a statement does.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Before there are tables: whole days are given back to the disk in small steps.
    for pragma in (
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        "synchronous = FULL",
        "cache_size = -16000",
        "temp_store = MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _server_engine(url: URL) -> AsyncEngine:
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        return create_async_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=READERS + 1,
            max_overflow=0,
            pool_timeout=READ_SECONDS,
            connect_args={"timeout": BUSY_SECONDS},
        )
    except ModuleNotFoundError:
        raise LogUnusable("PostgreSQL needs the extra: pip install 'codemode-portal[postgres]'") from None
