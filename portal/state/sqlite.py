"""The connections of SQLite: each lives in a thread of its own, and a statement with all its rows is one trip there.

SQLAlchemy's driver goes to the thread four times for a statement: for a cursor, to execute, for the rows, to close; and
to undo a transaction that was committed. Each trip takes some 0.2 ms of a loop that has nothing else to do, and more of
a busy one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread, current_thread
from time import monotonic
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")
BEGIN, BEGIN_TO_WRITE = "BEGIN", "BEGIN IMMEDIATE"
# Rows that aiosqlite's own cursors, which are not used here, fetch at once.
_CHUNK = 64


def _text(stored: bytes) -> str:
    """The text of a column. One that is damaged begins with a character that no document has, so that it is broken."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return "\ufffd" + stored.decode(errors="replace")


class _Connection(aiosqlite.Connection):
    """A connection whose cursors are one trip to its thread for each statement."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, _CHUNK)
        # Works sent to the thread, which the loop counts, and those that ended, which the thread counts.
        self.trips = self._ended = 0
        self._to_begin = False
        # The process ends also while a statement waits for a lock.
        self._thread.daemon = True

    def cursor(self) -> _Cursor:  # type: ignore[override]
        return _Cursor(self)

    async def in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What the work returns. It goes on to its end when nobody waits for it any more."""
        begins, self._to_begin = self._to_begin, False

        def run() -> T:
            try:
                if begins:
                    self._conn.execute(BEGIN).close()
                return work(self._conn)
            finally:
                self._ended += 1

        self.trips += 1
        found: T = await self._execute(run)  # type: ignore[no-untyped-call]
        return found

    def begin_later(self) -> None:
        """Begin a transaction with the next statement, which needs no trip of its own."""
        self._to_begin = True

    async def commit(self) -> None:
        await self._end(lambda connection: connection.commit())

    async def rollback(self) -> None:
        await self._end(lambda connection: connection.rollback())

    async def _end(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self._to_begin = False
        # A statement that nobody waits for any more may be about to begin a transaction there.
        if self.trips != self._ended or self.in_transaction:
            await self.in_thread(work)


class _Cursor:
    """What SQLAlchemy takes for the cursor of a driver that is asynchronous, for one statement."""

    arraysize = 1

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._rows: list[tuple[object, ...]] = []
        self.description: object = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> _Cursor:
        return self

    async def execute(self, statement: str, parameters: Sequence[object] = ()) -> None:
        if statement == BEGIN:
            self._connection.begin_later()
            return
        await self._run(lambda cursor: cursor.execute(statement, parameters))

    async def executemany(self, statement: str, parameters: Iterable[Sequence[object]]) -> None:
        await self._run(lambda cursor: cursor.executemany(statement, parameters))

    async def fetchall(self) -> list[tuple[object, ...]]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []

    async def _run(self, execute: Callable[[sqlite3.Cursor], object]) -> None:
        def run(connection: sqlite3.Connection) -> None:
            cursor = connection.cursor()
            try:
                execute(cursor)
                self.description = cursor.description
                self._rows = cursor.fetchall() if cursor.description is not None else []
                self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
            finally:
                # A closed connection keeps its locks until its last statement is finalized (`sqlite3_close_v2`).
                cursor.close()

        await self._connection.in_thread(run)


class ConnectionThreads:
    """The threads that SQLite's connections live in, each expected from before it starts."""

    def __init__(self) -> None:
        self._threads: list[Future[Thread]] = []

    def expect(self, dialect: object, record: object, args: object, options: dict[str, object]) -> None:
        """A connection is about to be made: SQLAlchemy's event `do_connect`."""
        thread: Future[Thread] = Future()

        def connect(*args: Any, **options: Any) -> _Connection:
            def connected() -> sqlite3.Connection:
                thread.set_result(current_thread())
                made: sqlite3.Connection = sqlite3.connect(*args, **options)
                made.text_factory = _text
                return made

            return _Connection(connected)

        self._threads = [one for one in self._threads if not one.done() or one.result().is_alive()]
        self._threads.append(thread)
        options["async_creator_fn"] = connect

    def join(self, seconds: float) -> None:
        """Wait until all have ended, or that long."""
        until = monotonic() + seconds
        with suppress(TimeoutError):
            for thread in self._threads:
                thread.result(max(0.0, until - monotonic())).join(max(0.0, until - monotonic()))
