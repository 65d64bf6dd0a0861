"""The database behind the state: SQLite in a file or PostgreSQL by URL, one writer of objects at a time.

Whatever the database says goes out as an error of ours: its own messages may quote what was to be stored.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, delete, event, insert, select, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import AdaptedConnection
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, Pool
from sqlalchemy.util import greenlet_spawn

from portal.state.errors import DocumentInvalid, Misused, StateError, StateUnavailable, StateUnusable
from portal.state.migrate import is_current, is_migrated, migrate
from portal.state.schema import facts, metadata
from portal.state.sqlite import BEGIN, BEGIN_TO_WRITE, ConnectionThreads
from portal.state.trouble import (
    BUSY,
    DAMAGED,
    GONE,
    UNDONE,
    FileDamaged,
    LockHeld,
    Trouble,
    is_failure,
    is_of_value,
    reason_of,
)

T = TypeVar("T")

PATIENCE_SECONDS = 4.0
"""How long anybody waits for the database: with what a request does besides, its answer comes within 5 s."""
OPENING_SECONDS = 15.0
BUSY_SECONDS = 0.5
CONNECTIONS = 5
LEAVING_SECONDS = 2.0
CARE_SECONDS = 0.25
MOST_CARE_SECONDS = 2.0
CARE_PATIENCE_SECONDS = 2.0
IDLE_SECONDS = 10
"""A process that stops in the middle of a transaction holds the others of a PostgreSQL no longer."""
PROOF_SIZE = 16 * 1024

# A number, the same in every process: the advisory lock of PostgreSQL that makes one writer at a time.
_WRITER_LOCK = 0x636F_6465_6D6F_6465

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


@dataclass(slots=True)
class _Wait:
    """Somebody waits for a connection, `until` this time of the monotonic clock. `lock_held`: another process has the
    lock of the file. `given_up`: nobody waits any more."""

    until: float
    lock_held: bool = False
    given_up: bool = False


class Database:
    """Opened once, closed once. Reading does not wait for writing.

    Nobody waits longer than `PATIENCE_SECONDS`, the queue of the writers included. `trouble` is true while the database
    fails; it is logged and looked after until it is well, if the database is `lasting`: whoever uses one for a moment
    hears of what fails.
    """

    def __init__(self, url: str, *, lasting: bool = True) -> None:
        self._url, synchronous = _take_synchronous(parse_url(url))
        # As it was written: the driver says nothing to whoever reads it.
        named = self._url.set(drivername=self._url.get_backend_name())
        self.name = named.render_as_string(hide_password=True)
        self.trouble = Trouble(self.name, self._look_after)
        self.replaced: Callable[[], object] = lambda: None
        """Called when another file is in the place of the one that was opened, and is used from now on."""
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._threads = ConnectionThreads()
        self._engine = _engine(self._url, self._threads, synchronous, sqlite=self._sqlite)
        # Writers of this process queue here, in order, instead of spinning on the file's lock.
        self._writer = asyncio.Lock()
        self._writing_task: asyncio.Task[object] | None = None
        self._file: tuple[int, int] | None = None
        # Connections that are made and closed: whoever asked for one may have left.
        self._tasks: set[asyncio.Task[object]] = set()
        self._care: asyncio.Task[None] | None = None
        # The pool that each connection in use came from.
        self._pools: dict[int, Pool] = {}
        self._lasting = lasting
        # Whoever opens it hears of what fails then.
        self._opened = False
        self._log = structlog.get_logger("portal.state")

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    async def open(self) -> None:
        """Make the file if there is none, and bring the tables up to date. A database that is up to date is only read.

        Raises:
            StateUnusable: it cannot be opened, or belongs to a newer program.
        """
        if self._sqlite:
            make_private_file(Path(self._url.database or ""))
        try:
            async with self.reading() as connection:
                current = await connection.run_sync(is_current)
            if not current:
                # Another process may be making the tables: that takes its time.
                with self._translated(writes=True):
                    async with self._write(OPENING_SECONDS, cut=False) as connection:
                        await connection.run_sync(migrate)
            if self._sqlite and self._lasting:
                # Before somebody meets what is damaged, and before more is written beside it.
                async with self.reading() as connection:
                    await _check_whole(connection)
            self._file = self._file_there() if self._sqlite else None
        except StateUnavailable as error:
            raise await self.unusable(error) or StateUnusable(str(error)) from None
        except StateUnusable as error:
            raise StateUnusable(f"{self.name}: {error}") from None
        self._opened = True

    async def is_made(self) -> bool:
        """Whether a portal has made its tables here. Makes nothing.

        Raises:
            StateUnavailable: the database does not answer.
        """
        async with self.reading() as connection:
            return await connection.run_sync(is_migrated)

    async def close(self) -> None:
        if self._care is not None:
            self._care.cancel()
            await asyncio.wait({self._care})
        until = monotonic() + LEAVING_SECONDS
        # A connection that nobody waited for any more is closed by a task that begins when it is there.
        while self._tasks and monotonic() < until:
            await asyncio.wait(self._tasks, timeout=until - monotonic())
        try:
            async with asyncio.timeout(LEAVING_SECONDS):
                await self._engine.dispose()
        except TimeoutError:
            # A server that hangs does not take leave. The connections end with the process.
            pass
        finally:
            # A query that was cancelled ends in its thread later, and must not find the loop closed that it reports to.
            self._threads.join(LEAVING_SECONDS)

    @asynccontextmanager
    async def reading(self, *, counted: bool = True) -> AsyncIterator[AsyncConnection]:
        """A connection that sees the database as it is at its first query. A failure that nobody is told of is not
        `counted`.

        Raises:
            StateUnavailable: the database does not answer.
        """
        with self._translated(writes=False, counted=counted):
            if (refusal := self.trouble.refuse(writes=False)) is not None:
                raise refusal
            async with self._read(PATIENCE_SECONDS) as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that no other writer's comes between, committed when the block ends without an error.

        Raises:
            StateUnavailable: the database does not answer.
        """
        if self._writing_task is not None and self._writing_task is asyncio.current_task():
            raise Misused("inside a transaction, write through the transaction")
        with self._translated(writes=True):
            async with self._write(PATIENCE_SECONDS) as connection:
                yield connection

    @asynccontextmanager
    async def _read(self, seconds: float) -> AsyncIterator[AsyncConnection]:
        until = monotonic() + seconds
        connection = await self._connected(until, writes=False)
        try:
            with self._cut_at(connection, until):
                yield connection
        finally:
            await self._leave(connection)

    @asynccontextmanager
    async def _write(self, seconds: float, *, cut: bool = True, cares: bool = False) -> AsyncIterator[AsyncConnection]:
        """`cut`: however far it has come, it does not take longer. `cares`: it is to find out whether a trouble is
        over."""
        until = monotonic() + seconds
        async with self._turn(until):
            # Also those that came before the trouble and have waited for their turn.
            if not cares and (refusal := self.trouble.refuse(writes=True)) is not None:
                raise refusal
            connection = await self._connected(until, writes=True)
            try:
                with self._cut_at(connection, until) if cut else nullcontext():
                    yield connection
                    self._check_file(written=True)
                    await self._commit(connection)
            finally:
                await self._leave(connection)

    @asynccontextmanager
    async def _turn(self, until: float) -> AsyncIterator[None]:
        async with asyncio.timeout(max(0.0, until - monotonic())):
            await self._writer.acquire()
        self._writing_task = asyncio.current_task()
        try:
            yield
        finally:
            self._writing_task = None
            self._writer.release()

    async def _commit(self, connection: AsyncConnection) -> None:
        try:
            await connection.commit()
        except Exception as error:
            # Whatever it is: what becomes of a commit must be told apart from what comes before it.
            raise _NotCommitted(error) from error

    @contextmanager
    def _translated(self, *, writes: bool, counted: bool = True) -> Iterator[None]:
        began = monotonic()
        try:
            yield
        except StateUnavailable:
            if counted:
                self.trouble.refused()
            raise
        except Exception as error:
            # Most are of the block, and none of ours.
            if not isinstance(error, _NotCommitted) and not is_failure(error):
                raise
            raise self._refusal(error, writes=writes, seconds=monotonic() - began, counted=counted) from None

    def _refusal(self, error: Exception, *, writes: bool, seconds: float, counted: bool) -> StateError:
        cause = error.error if isinstance(error, _NotCommitted) else error
        if is_of_value(cause):
            return DocumentInvalid("the database does not take a value in it")
        reason = reason_of(cause)
        if reason is None:
            kind = type(getattr(cause, "orig", None) or cause).__name__
            self._log.error("the database refused a statement", database=self.name, error=kind)
            return self.trouble.error(kind)
        if self._opened and self._lasting:
            self.trouble.failed(reason, writes=writes, seconds=seconds)
            if counted:
                self.trouble.refused()
        lost = isinstance(error, _NotCommitted) and reason not in UNDONE
        return self.trouble.error(reason, may_have_happened=lost)

    # Connections

    async def _connected(self, until: float, *, writes: bool) -> AsyncConnection:
        """A connection, with a transaction to write in if it `writes`. Whoever leaves before it is there waits for
        nothing: what was begun is undone behind them."""
        self._check_file()
        wait = _Wait(until)
        making = self._apart(self._connect(wait, writes=writes))
        try:
            await asyncio.wait({making}, timeout=max(0.0, until - monotonic()))
            if making.done():
                return making.result()
            raise LockHeld if wait.lock_held else TimeoutError
        except BaseException:
            wait.given_up = True
            # What SQLite does in its thread goes on, and a connection that is cancelled as it comes out of there is
            # nobody's to close.
            if not making.done() and not self._sqlite:
                making.cancel()
            making.add_done_callback(self._undo)
            raise

    def _undo(self, making: asyncio.Task[AsyncConnection]) -> None:
        if not making.cancelled() and making.exception() is None:
            self._apart(self._close(making.result()))

    async def _connect(self, wait: _Wait, *, writes: bool) -> AsyncConnection:
        # Another pool may be in its place by the time that the connection is there.
        pool = self._engine.sync_engine.pool
        connection = await self._engine.connect()
        self._pools[id(connection)] = pool
        try:
            if writes:
                await connection.execution_options(portal_writes=True)
                await self._begin(connection, wait)
            return connection
        except BaseException:
            await asyncio.shield(self._apart(self._close(connection)))
            raise

    async def _begin(self, connection: AsyncConnection, wait: _Wait) -> None:
        if not self._sqlite:
            limits = {"patience": _server_patience(wait.until), "idle": f"{IDLE_SECONDS}s"}
            await connection.execute(_LOCK_WRITERS, limits)
            return
        while True:
            try:
                await connection.begin()
                return
            except OperationalError as error:
                # It waits in its thread, where it cannot be called back. So it waits a little at a time.
                if reason_of(error) != BUSY or wait.given_up or monotonic() >= wait.until:
                    raise
                wait.lock_held = True

    @contextmanager
    def _cut_at(self, connection: AsyncConnection, until: float) -> Iterator[None]:
        """Whatever the block waits for on this connection fails then. SQLite waits for nothing but its lock."""
        raw = connection.sync_connection
        if self._sqlite or raw is None:
            yield
            return
        driver: Any = raw.connection.driver_connection
        timer = asyncio.get_running_loop().call_later(max(0.0, until - monotonic()), driver.terminate)
        try:
            yield
        finally:
            timer.cancel()

    async def _leave(self, connection: AsyncConnection) -> None:
        await asyncio.wait({self._apart(self._close(connection))}, timeout=LEAVING_SECONDS)

    async def _close(self, connection: AsyncConnection) -> None:
        pool = self._pools.pop(id(connection))
        # Of a database that cannot undo a transaction any more: it is undone with the connection.
        with suppress(Exception):
            await connection.close()
        if pool is not self._engine.sync_engine.pool:
            # It was emptied meanwhile, and would keep the connection for nobody.
            await greenlet_spawn(pool.dispose)

    async def _empty_pool(self) -> None:
        """Close the connections that nobody uses now; the others are closed as they are given back."""
        emptied = self._engine.sync_engine.pool
        # First another pool: whoever comes while the connections of this one close would be given one of it.
        self._engine.sync_engine.dispose(close=False)
        # Whoever waits for it may be told to stop meanwhile.
        await asyncio.shield(self._apart(greenlet_spawn(emptied.dispose)))

    def _apart(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The file of SQLite

    def _file_there(self) -> tuple[int, int] | None:
        """Which file is there. It is not opened: closing it would end the locks that SQLite holds on it."""
        try:
            found = os.stat(self._url.database or "")
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _check_file(self, *, written: bool = False) -> None:
        """
        Raises:
            FileNotFoundError: what is stored now would be gone with the file, or with the one it is `written` to first.
        """
        if self._file is None:
            return
        if self._file_there() != self._file or (written and not os.path.exists(f"{self._url.database}-wal")):
            raise FileNotFoundError(GONE)

    async def unusable(self, error: StateUnavailable) -> StateUnusable | None:
        """The error for the operator if it is the file that is damaged: which tables, and what to do."""
        if error.reason not in DAMAGED:
            return None
        tables: list[str] = []
        # Of a file that is no database nothing more can be said.
        with suppress(Exception):
            async with self._read(OPENING_SECONDS) as connection:
                tables = await _damaged_tables(connection)
        what = f" (tables: {', '.join(tables)})" if tables else ""
        file = self._url.database
        return StateUnusable(
            f"{self.name}: {error.reason}{what}. Put a copy from before in the place of {file}, and delete {file}-wal"
            f" and {file}-shm; or save what can be read: sqlite3 {file} .recover > saved.sql"
        )

    # Trouble

    def _look_after(self) -> None:
        if self._care is None or self._care.done():
            self._care = asyncio.create_task(self._until_well())

    async def _until_well(self) -> None:
        pause = CARE_SECONDS
        while self.trouble:
            await asyncio.sleep(pause)
            try:
                await self._prove()
                self.trouble.over()
            except Exception as error:
                # The edge of a background task: whatever fails, the database is not well yet, and is looked at again.
                self._log.debug("the database is not well yet", database=self.name, error=type(error).__name__)
            pause = min(2 * pause, MOST_CARE_SECONDS)

    async def _prove(self) -> None:
        """Read and write something. Raises what fails."""
        if self._file is not None and (there := self._file_there()) not in (None, self._file):
            await self._take_over(there)
        if GONE in self.trouble.reasons:
            # What is in a log that has no name any more goes to the file with the last connection.
            await self._empty_pool()
        if any(reason in DAMAGED for reason in self.trouble.reasons):
            # Connections know pages by heart that are not in the file any more.
            await self._empty_pool()
            async with self._read(CARE_PATIENCE_SECONDS) as connection:
                await _check_whole(connection)
        async with self._read(CARE_PATIENCE_SECONDS) as connection:
            await connection.execute(select(facts.c.value).where(facts.c.name == _PROOF))
        self.trouble.reads()
        for statement in (insert(facts).values(name=_PROOF, value="0" * PROOF_SIZE), _DELETE_PROOF):
            async with self._write(CARE_PATIENCE_SECONDS, cares=True) as connection:
                if statement is not _DELETE_PROOF:
                    await connection.execute(_DELETE_PROOF)
                await connection.execute(statement)

    async def _take_over(self, file: tuple[int, int] | None) -> None:
        """Go on with the file that is there now, if it is a database of this program."""
        before, self._file = self._file, None
        try:
            await self._empty_pool()
            async with self._read(CARE_PATIENCE_SECONDS) as connection:
                if not await connection.run_sync(is_current):
                    raise FileNotFoundError(GONE)
                await _check_whole(connection)
            before = file
        finally:
            self._file = before
        self.replaced()


class _NotCommitted(Exception):
    """The commit failed with this error: it may have happened."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


def _server_patience(until: float) -> str:
    """How long a server waits for the lock: less than the portal, so that it is the server who says so."""
    return f"{max(1, int((until - monotonic() - 0.2) * 1000))}ms"


async def _check_whole(connection: AsyncConnection) -> None:
    if connection.dialect.name == "sqlite":
        found = (await connection.exec_driver_sql("PRAGMA quick_check(1)")).scalar()
        if found != "ok":
            raise FileDamaged


async def _damaged_tables(connection: AsyncConnection) -> list[str]:
    damaged: list[str] = []
    for table in metadata.sorted_tables:
        try:
            found = (await connection.exec_driver_sql(f"PRAGMA quick_check('{table.name}')")).scalar()
        except Exception as error:
            if not is_failure(error):
                raise
            found = None
        if found != "ok":
            damaged.append(table.name)
    return damaged


def parse_url(url: str, of: str = "state") -> URL:
    """The URL with the driver used here. `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://...`. `of`
    says to people what is in the database.

    Raises:
        StateUnusable: it is no URL of these. The message does not quote it, for it may carry a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # ValueError: of a port that is no number.
        raise StateUnusable(f"the URL of the {of} cannot be read. It is like sqlite:///{of}.db") from None
    driver = _DRIVERS.get(parsed.drivername.split("+")[0])
    if driver is None:
        raise StateUnusable(f"there is no {of} in {parsed.drivername[:40]!r}; use sqlite:///FILE or postgresql://...")
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise StateUnusable(f"the {of} needs a file: sqlite:///FILE")
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


# In one round trip; the server itself gives up waiting, or its process would wait for a portal that has left.
_LOCK_WRITERS = text(
    "SELECT set_config('lock_timeout', :patience, true),"
    " set_config('idle_in_transaction_session_timeout', :idle, true), pg_advisory_xact_lock(:lock)"
).bindparams(lock=_WRITER_LOCK)

_PROOF = "proof"
_DELETE_PROOF = delete(facts).where(facts.c.name == _PROOF)


def _engine(url: URL, threads: ConnectionThreads, synchronous: str, *, sqlite: bool) -> AsyncEngine:
    shared: dict[str, Any] = {
        "hide_parameters": True,
        "pool_size": CONNECTIONS,
        "max_overflow": CONNECTIONS,
        "pool_timeout": PATIENCE_SECONDS,
    }
    # It logs a traceback of each connection that is lost, beside the error that we get of it.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        if not sqlite:
            engine = create_async_engine(url, connect_args={"timeout": PATIENCE_SECONDS}, **shared)
            event.listen(engine.sync_engine, "connect", _is_new)
            event.listen(engine.sync_engine, "checkout", _ask_server)
            return engine
        # The driver logs every statement at DEBUG with all that is stored by it.
        logging.getLogger("aiosqlite").setLevel(logging.WARNING)
        engine = create_async_engine(url, connect_args={"timeout": BUSY_SECONDS}, **shared)
    except ModuleNotFoundError:
        raise StateUnusable("PostgreSQL needs the extra: pip install 'codemode-portal[postgres]'") from None
    event.listen(engine.sync_engine, "do_connect", threads.expect)
    # Before SQLAlchemy's own first questions, which leave a connection open that fails in them.
    event.listen(engine.sync_engine, "connect", partial(_set_up_sqlite, synchronous), insert=True)
    event.listen(engine.sync_engine, "begin", begin_sqlite)
    event.listen(engine.sync_engine, "handle_error", _raise_damage)
    return engine


def _is_new(connection: object, record: ConnectionPoolEntry) -> None:
    record.info["new"] = True


def _ask_server(connection: AdaptedConnection, record: ConnectionPoolEntry, proxy: object) -> None:
    """Before a connection is used again: whether the server still answers on it.

    Raises:
        InvalidatePoolError: it does not. SQLAlchemy makes another one.
    """
    if record.info.pop("new", False):
        return
    try:
        # One trip. SQLAlchemy's own (`pool_pre_ping`) takes three, because it makes a transaction for it.
        connection.run_async(lambda driver: driver.execute("SELECT 1"))
    except Exception as error:
        if not is_failure(error):
            raise
        raise InvalidatePoolError from None


def _set_up_sqlite(synchronous: str, connection: sqlite3.Connection, record: object) -> None:
    # Transactions are begun by `begin_sqlite`, not by the driver's guess at what a statement does.
    connection.isolation_level = None
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.execute("PRAGMA secure_delete = ON")
        cursor.close()
    except BaseException as error:
        # Nobody else knows it yet: its thread and its file would stay open with it.
        connection.close()
        if isinstance(error, UnicodeDecodeError):
            raise FileDamaged from None
        raise


def _raise_damage(failure: ExceptionContext) -> None:
    # SQLite's message quotes a damaged schema, and the driver cannot read the message.
    if isinstance(failure.original_exception, UnicodeDecodeError):
        raise FileDamaged from None


def begin_sqlite(connection: Connection) -> None:
    """Begin a transaction of SQLite, for writing where the connection's option `portal_writes` says so."""
    # A writer takes the lock at once: one that read first and then waited for it would have to start again.
    writes = connection.get_execution_options().get("portal_writes", False)
    connection.exec_driver_sql(BEGIN_TO_WRITE if writes else BEGIN)


def make_private_file(path: Path) -> None:
    """Make an empty file for its owner alone, and its folder, if there is none.

    Raises:
        StateUnusable: it cannot be made.
    """
    try:
        path.absolute().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file that is there is not opened: closing it would end the locks that SQLite holds on it in this process.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StateUnusable(f"{path}: {error.strerror or 'cannot be made'}") from None
