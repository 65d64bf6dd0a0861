"""The connections of SQLite: few trips to their threads, and no transaction that nobody ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state.database import Database
from portal.state.sqlite import _Connection as SqliteConnection
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO facts (name, value) VALUES (:name, 'x')"
COUNT = text("SELECT count(*) FROM facts WHERE name LIKE 'test%'")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/state.db")
    await database.open()
    yield database
    await database.close()


async def driver_of(connection: AsyncConnection) -> SqliteConnection:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, SqliteConnection)
    return driver


async def count(database: Database) -> int:
    async with database.reading() as connection:
        found: int = (await connection.execute(COUNT)).scalar_one()
        return found


async def test_a_statement_with_its_rows_is_one_trip_and_a_transaction_two_more(database: Database) -> None:
    async with database.reading() as connection:
        driver = await driver_of(connection)
        before = driver.trips
        await connection.execute(COUNT)
        await connection.execute(COUNT)
        assert driver.trips - before == 2
    # The end of what was read. Its beginning came with the first statement.
    assert driver.trips - before == 3
    async with database.writing() as connection:
        assert await driver_of(connection) is driver
        await connection.execute(text(INSERT), {"name": "test"})
    # The lock, the statement, the commit; nothing is undone behind it.
    assert driver.trips - before == 6
    assert await count(database) == 1


async def test_what_is_read_stays_as_it_was_at_the_first_statement(database: Database) -> None:
    async with database.reading() as connection:
        assert (await connection.execute(COUNT)).scalar_one() == 0
        async with database.writing() as other:
            await other.execute(text(INSERT), {"name": "test"})
        assert (await connection.execute(COUNT)).scalar_one() == 0
    assert await count(database) == 1


async def test_a_statement_that_is_given_up_before_it_ran_leaves_no_transaction(database: Database) -> None:
    free, begun = threading.Event(), asyncio.Event()
    async with database.reading() as connection:
        driver = await driver_of(connection)
        loop = asyncio.get_running_loop()

        def hold(_: object) -> None:
            loop.call_soon_threadsafe(begun.set)
            free.wait(PATIENCE)

        holding = asyncio.create_task(driver.in_thread(hold))
        await begun.wait()
        before = driver.trips
        query = asyncio.create_task(connection.execute(COUNT))
        while driver.trips == before:
            await asyncio.sleep(0)
        # The statement is still in the queue, and with it the transaction that it begins.
        query.cancel()
        loop.call_later(0.05, free.set)
        await asyncio.wait({query})
        assert query.cancelled()
    await holding
    async with database.writing() as connection:
        await connection.execute(text(INSERT), {"name": "test"})
    assert await count(database) == 1


async def test_a_transaction_that_is_given_up_in_its_middle_is_undone(database: Database) -> None:
    async def write() -> None:
        async with database.writing() as connection:
            await connection.execute(text(INSERT), {"name": "test"})
            written.set()
            await asyncio.Event().wait()

    written = asyncio.Event()
    writer = asyncio.create_task(write())
    await written.wait()
    writer.cancel()
    await asyncio.wait({writer})
    assert await count(database) == 0
    async with database.writing() as connection:
        await connection.execute(text(INSERT), {"name": "test"})
    assert await count(database) == 1
