"""The database behind the state: SQLite in a file or PostgreSQL by URL, one writer of objects at a time.

Whatever the database says goes out as an error of ours: its own messages may quote what was to be stored.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread, current_thread
from time import monotonic
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from portal.state.errors import Misused, StateUnavailable, StateUnusable
from portal.state.migrate import is_migrated, migrate

BUSY_SECONDS = 15.0
CONNECTIONS = 5
LEAVING_SECONDS = 2.0

# A number, the same in every process: the advisory lock of PostgreSQL that makes one writer at a time.
_WRITER_LOCK = 0x636F_6465_6D6F_6465

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class Database:
    """Opened once, closed once. Reading does not wait for writing."""

    def __init__(self, url: str) -> None:
        self._url, synchronous = _take_synchronous(parse_url(url))
        self.name = self._url.render_as_string(hide_password=True)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._threads = _ConnectionThreads()
        self._engine = _engine(self._url, self._threads, synchronous, sqlite=self._sqlite)
        # Writers of this process queue here, in order, instead of spinning on the file's lock.
        self._writer = asyncio.Lock()
        self._writing_task: asyncio.Task[object] | None = None

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    async def open(self) -> None:
        """Make the file if there is none, and bring the tables up to date.

        Raises:
            StateUnusable: it cannot be opened, or belongs to a newer program.
        """
        if self._sqlite:
            _make_private_file(Path(self._url.database or ""))
        try:
            async with self.writing() as connection:
                await connection.run_sync(migrate)
        except StateUnavailable as error:
            raise StateUnusable(str(error)) from None
        except StateUnusable as error:
            raise StateUnusable(f"{self.name}: {error}") from None

    async def is_made(self) -> bool:
        """Whether a portal has made its tables here. Makes nothing.

        Raises:
            StateUnavailable: the database does not answer.
        """
        async with self.reading() as connection:
            return await connection.run_sync(is_migrated)

    async def close(self) -> None:
        try:
            await self._engine.dispose()
        finally:
            # A query that was cancelled ends in its thread later, and must not find the loop closed that it reports to.
            self._threads.join(LEAVING_SECONDS)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees the database as it is at its first query."""
        with self._translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that no other writer's comes between, committed when the block ends without an error."""
        if self._writing_task is not None and self._writing_task is asyncio.current_task():
            raise Misused("inside a transaction, write through the transaction")
        with self._translated():
            async with self._writer:
                self._writing_task = asyncio.current_task()
                try:
                    async with self._engine.connect() as connection:
                        await connection.execution_options(portal_writes=True)
                        async with connection.begin():
                            if not self._sqlite:
                                await connection.execute(_LOCK_WRITERS)
                            yield connection
                finally:
                    self._writing_task = None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise StateUnavailable(f"the database at {self.name} did not answer: {_reason(error)}") from None


def parse_url(url: str) -> URL:
    """The URL with the driver used here. `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://...`.

    Raises:
        StateUnusable: it is no URL of these. The message does not quote it, for it may carry a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # ValueError: of a port that is no number.
        raise StateUnusable("the URL of the state cannot be read. It is like sqlite:///state.db") from None
    driver = _DRIVERS.get(parsed.drivername.split("+")[0])
    if driver is None:
        raise StateUnusable(f"there is no state in {parsed.drivername[:40]!r}; use sqlite:///FILE or postgresql://...")
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise StateUnusable("the state needs a file: sqlite:///FILE")
    return parsed.set(drivername=driver)


def _take_synchronous(url: URL) -> tuple[URL, str]:
    """The URL without its `synchronous`, and what SQLite is told of it (https://sqlite.org/pragma.html#pragma_synchronous).

    Raises:
        StateUnusable: it is none of these words.
    """
    if not url.drivername.startswith("sqlite"):
        return url, ""
    # By default an answered write survives the loss of power too.
    written = url.query.get("synchronous", "full")
    if written not in ("full", "normal", "off"):
        raise StateUnusable("`synchronous` in the URL of the state is full, normal or off")
    return url.difference_update_query(["synchronous"]), written


_LOCK_WRITERS = text("SELECT pg_advisory_xact_lock(:lock)").bindparams(lock=_WRITER_LOCK)


_KNOWN = (
    "database is locked",
    "disk I/O error",
    "database or disk is full",
    "readonly database",
    "database disk image is malformed",
    "file is not a database",
    "unable to open database file",
)


class _SqliteConnection(sqlite3.Connection):
    """One that gives back its locks when it is closed.

    A closed connection lives on in SQLite, with its transaction, until its last statement is finalized
    (`sqlite3_close_v2`), and a query that was cancelled leaves one in its middle to the garbage collector.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()
        super().__init__(*args, **options)

    def cursor(self, factory: type[sqlite3.Cursor] = sqlite3.Cursor) -> sqlite3.Cursor:  # type: ignore[override]
        cursor = super().cursor(factory)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        for cursor in tuple(self._cursors):
            cursor.close()
        self._cursors.clear()
        super().close()


class _ConnectionThreads:
    """The threads that SQLite's connections live in, each expected from before it starts."""

    def __init__(self) -> None:
        self._threads: list[Future[Thread]] = []

    def expect(self, dialect: object, record: object, args: object, options: dict[str, object]) -> None:
        """A connection is about to be made: SQLAlchemy's event `do_connect`."""
        thread: Future[Thread] = Future()

        def connection(*args: Any, **options: Any) -> sqlite3.Connection:
            thread.set_result(current_thread())
            return _SqliteConnection(*args, **options)

        self._threads = [one for one in self._threads if not one.done() or one.result().is_alive()]
        self._threads.append(thread)
        options["factory"] = connection

    def join(self, seconds: float) -> None:
        """Wait until all have ended, or that long."""
        until = monotonic() + seconds
        with suppress(TimeoutError):
            for thread in self._threads:
                thread.result(max(0.0, until - monotonic())).join(max(0.0, until - monotonic()))


def _engine(url: URL, threads: _ConnectionThreads, synchronous: str, *, sqlite: bool) -> AsyncEngine:
    shared: dict[str, Any] = {
        "hide_parameters": True,
        "pool_size": CONNECTIONS,
        "max_overflow": CONNECTIONS,
        "pool_timeout": BUSY_SECONDS,
    }
    try:
        if not sqlite:
            return create_async_engine(url, pool_pre_ping=True, connect_args={"timeout": BUSY_SECONDS}, **shared)
        # The driver logs every statement at DEBUG with all that is stored by it.
        logging.getLogger("aiosqlite").setLevel(logging.WARNING)
        engine = create_async_engine(url, connect_args={"timeout": BUSY_SECONDS}, **shared)
    except ModuleNotFoundError:
        raise StateUnusable("PostgreSQL needs the extra: pip install 'codemode-portal[postgres]'") from None
    event.listen(engine.sync_engine, "do_connect", threads.expect)
    event.listen(engine.sync_engine, "connect", partial(_set_up_sqlite, synchronous))
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(synchronous: str, connection: sqlite3.Connection, record: object) -> None:
    # Transactions are begun by `_begin_sqlite`, not by the driver's guess at what a statement does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute(f"PRAGMA synchronous = {synchronous}")
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: one that read first and then waited for it would have to start again.
    writes = connection.get_execution_options().get("portal_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _make_private_file(path: Path) -> None:
    try:
        path.absolute().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file that is there is not opened: closing it would end the locks that SQLite holds on it in this process.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StateUnusable(f"{path}: {error.strerror or 'cannot be made'}") from None


def _reason(error: BaseException) -> str:
    """The kind of error only, and of known ones a sentence: the rest of the text may quote what was stored."""
    original = getattr(error, "orig", None) or error
    words = str(original)
    for known in _KNOWN:
        if known in words:
            return known
    return type(getattr(original, "__cause__", None) or original).__name__
