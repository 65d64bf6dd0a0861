"""Trouble made for a database, each by a context manager that ends it again, and what a caller of the store gets."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from portal.state.database import _WRITER_LOCK
from tests.patience import PATIENCE
from tests.portal.state.postgresql import PostgresServer, run_on_server

PAGE = 4096
"""The size of a page of SQLite."""

_HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute(sys.argv[2])
print(flush=True)
sys.stdin.read()
"""


def file_of(url: str) -> Path:
    return Path(url.partition(":///")[2].partition("?")[0])


@contextmanager
def locked(url: str, how: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Another process holds the lock of writers."""
    holder = subprocess.Popen(
        [sys.executable, "-S", "-c", _HOLD, str(file_of(url)), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline()
        yield
    finally:
        holder.stdin.close()
        holder.wait(PATIENCE)
        holder.stdout.close()


@contextmanager
def overwritten(url: str) -> Iterator[None]:
    """Somebody writes something else into the file, and a copy from before later."""
    file, log = file_of(url), Path(f"{file_of(url)}-wal")
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    good = file.read_bytes()
    _write_into(file, b"no database at all. " * (len(good) // 20))
    try:
        yield
    finally:
        if log.exists():
            os.truncate(log, 0)
        _write_into(file, good)


@contextmanager
def truncated(url: str) -> Iterator[None]:
    """The second half of the file is gone, and comes back."""
    file = file_of(url)
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    good = file.read_bytes()
    os.truncate(file, 4096)
    try:
        yield
    finally:
        _write_into(file, good)


def page_of(url: str, name: str) -> int:
    """The number of the first page of a table or an index, from 1."""
    with closing(sqlite3.connect(file_of(url))) as database:
        found = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    return int(found[0])


def write_page(url: str, page: int, content: bytes) -> bytes:
    """Write other bytes over a page, behind SQLite's back; what was there."""
    with open(file_of(url), "r+b") as file:
        file.seek((page - 1) * PAGE)
        before = file.read(PAGE)
        file.seek((page - 1) * PAGE)
        file.write(content)
    return before


@contextmanager
def flipped(url: str, *names: str) -> Iterator[None]:
    """Random bytes are in the place of the first pages of these tables and indexes, and what was there comes back."""
    with closing(sqlite3.connect(file_of(url))) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = {page: write_page(url, page, os.urandom(PAGE)) for page in (page_of(url, name) for name in names)}
    try:
        yield
    finally:
        for page, content in before.items():
            write_page(url, page, content)


@contextmanager
def moved_away(url: str) -> Iterator[None]:
    """The file is not where it was, and comes back."""
    file = file_of(url)
    file.rename(file.with_suffix(".moved"))
    try:
        yield
    finally:
        file.with_suffix(".moved").rename(file)


@contextmanager
def without_log(url: str) -> Iterator[None]:
    """The write-ahead log is deleted under the portal."""
    Path(f"{file_of(url)}-wal").unlink()
    yield


def _write_into(file: Path, content: bytes) -> None:
    with open(file, "r+b") as place:
        place.write(content)
        place.truncate()


def _folder(url: str) -> Path:
    return Path(url.partition("host=")[2])


def name_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def terminate(url: str) -> str:
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name_of(url)}'"


@asynccontextmanager
async def advisory_lock(url: str) -> AsyncIterator[None]:
    """Another process holds the lock of writers. The lock is one of a database."""
    database = url.replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(database, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"SELECT pg_advisory_lock({_WRITER_LOCK})"))
            yield
    finally:
        await engine.dispose()


@asynccontextmanager
async def read_only(url: str) -> AsyncIterator[None]:
    """The database takes no writes, like a standby."""
    await run_on_server(
        _folder(url), f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on", terminate(url)
    )
    try:
        yield
    finally:
        await run_on_server(
            _folder(url), f"ALTER DATABASE {name_of(url)} RESET default_transaction_read_only", terminate(url)
        )


@asynccontextmanager
async def closed(url: str) -> AsyncIterator[None]:
    """The database takes no connections."""
    await run_on_server(_folder(url), f"ALTER DATABASE {name_of(url)} ALLOW_CONNECTIONS false", terminate(url))
    try:
        yield
    finally:
        await run_on_server(_folder(url), f"ALTER DATABASE {name_of(url)} ALLOW_CONNECTIONS true")


@asynccontextmanager
async def stopped(server: PostgresServer) -> AsyncIterator[None]:
    await asyncio.to_thread(server.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


class Proxy:
    """Stands in front of a PostgreSQL server, on a socket in another folder, and stops forwarding when it is told."""

    def __init__(self, server: Path, folder: Path) -> None:
        self.url_host = folder
        self._target = server / ".s.PGSQL.5432"
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_unix_server(self._serve, self.url_host / ".s.PGSQL.5432")
        try:
            yield self
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_unix_connection(self._target)
            await asyncio.gather(self._forward(reader, back), self._forward(there, writer))
        except OSError:
            pass
        finally:
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
