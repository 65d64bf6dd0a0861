"""A database in trouble: nobody waits long, whoever asked hears what happened, what was answered stays, and it ends."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import event, text
from structlog.testing import capture_logs

from portal.state import DocumentInvalid, KeyRing, Misused, StateUnavailable, StateUnusable, Store, plain
from portal.state.database import LEAVING_SECONDS, PATIENCE_SECONDS
from portal.state.errors import StoreHealth
from tests.patience import PATIENCE
from tests.portal.state import troubles
from tests.portal.state.conftest import new_postgres_database
from tests.portal.state.databases import new_state
from tests.portal.state.postgresql import PostgresServer, postgres_server, run_on_server

pytestmark = pytest.mark.anyio

KIND = plain("server")
WRITERS = 5
WAIT = 0.7


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, shorter: what they come to is asserted where they are defined."""
    monkeypatch.setattr("portal.state.database.PATIENCE_SECONDS", WAIT)
    monkeypatch.setattr("portal.state.database.CARE_PATIENCE_SECONDS", WAIT)
    monkeypatch.setattr("portal.state.database.CARE_SECONDS", 0.05)
    monkeypatch.setattr("portal.state.database.MOST_CARE_SECONDS", 0.1)
    monkeypatch.setattr("portal.state.database.BUSY_SECONDS", 0.2)
    monkeypatch.setattr("portal.state.trouble.QUIET_SECONDS", 0.3)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server that a test may stop."""
    with postgres_server() as server:
        yield server


async def well(store: Store) -> None:
    async with asyncio.timeout(PATIENCE):
        while store.health != "ok":
            await asyncio.sleep(0.02)


async def write(store: Store, name: str, size: int = 0) -> None:
    await store.create(KIND, name, {"text": "x" * size}, by="test")


async def refused(work: asyncio.Future[None] | asyncio.Task[None]) -> StateUnavailable | None:
    try:
        await work
    except StateUnavailable as error:
        return error
    return None


@dataclass
class Outcome:
    """What `through` saw: the errors of the writers, whether reading went on, and the state of the store meanwhile."""

    errors: list[StateUnavailable]
    reads: bool
    health: StoreHealth
    seconds: float


async def through(
    store: Store, trouble: AbstractAsyncContextManager[object] | AbstractContextManager[object], size: int = 0
) -> Outcome:
    """Write before, during and after a trouble; what was answered, and nothing else, must be there in the end."""
    await write(store, "before")
    with capture_logs() as logs:
        async with _entered(trouble):
            began = monotonic()
            first = await asyncio.gather(
                *(refused(asyncio.create_task(write(store, f"during {n}", size))) for n in range(WRITERS))
            )
            second = await asyncio.gather(
                *(refused(asyncio.create_task(write(store, f"later {n}", size))) for n in range(WRITERS))
            )
            seconds = monotonic() - began
            try:
                reads = await store.get(KIND, "before") is not None
            except StateUnavailable:
                reads = False
            health = store.health
        await well(store)
        await write(store, "after")
    errors = [error for error in (*first, *second) if error is not None]
    assert len(errors) == 2 * WRITERS, "somebody was answered"
    assert {error.ran for error in errors} == {"no"}
    assert {stored.id for stored in await store.list(KIND)} == {"before", "after"}
    told = [log for log in logs if log["log_level"] in ("warning", "error", "critical")]
    assert [log["event"].partition(":")[0] for log in told] == [
        "the database is in trouble",
        "the database is well again",
    ], told
    assert told[1]["refused"] >= 2 * WRITERS and told[1]["seconds"] >= 0
    assert "exc_info" not in str(told)
    return Outcome(errors, reads, health, seconds)


@asynccontextmanager
async def _entered(
    trouble: AbstractAsyncContextManager[object] | AbstractContextManager[object],
) -> AsyncIterator[None]:
    if isinstance(trouble, AbstractAsyncContextManager):
        async with trouble:
            yield
    else:
        with trouble:
            yield


Trouble = Callable[[str], AbstractContextManager[object]]


@pytest.mark.parametrize(
    ("trouble", "reads", "reason"),
    [
        (troubles.locked, True, "another process holds its lock"),
        (troubles.moved_away, False, "its file was deleted"),
        (troubles.overwritten, False, "the file is"),
        (troubles.truncated, False, "the file is"),
    ],
)
@pytest.mark.usefixtures("impatient")
async def test_of_a_file_in_trouble_everybody_hears_soon_and_nothing_answered_is_lost(
    tmp_path: Path, trouble: Trouble, reads: bool, reason: str
) -> None:
    url = new_state(tmp_path)
    async with Store.open(url, KeyRing.in_memory()) as store:
        outcome = await through(store, trouble(url))
    assert outcome.reads is reads
    assert outcome.health == ("read only" if reads else "unavailable")
    assert reason in str(outcome.errors[0])
    # One after another they would have waited ten times as long.
    assert outcome.seconds < WRITERS * WAIT
    for error in outcome.errors:
        assert str(tmp_path) not in error.words and "Try again in 5 s" in error.words and "was not done" in error.words


@pytest.mark.parametrize(
    ("pragma", "reason"), [("max_page_count = 1", "the disk is full"), ("query_only = ON", "it cannot be written")]
)
@pytest.mark.usefixtures("impatient")
async def test_where_nothing_can_be_written_reading_goes_on(tmp_path: Path, pragma: str, reason: str) -> None:
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        outcome = await through(store, _connections_with(store, pragma), size=100_000)
    assert (outcome.reads, outcome.health) == (True, "read only")
    assert reason in str(outcome.errors[0])


@asynccontextmanager
async def _connections_with(store: Store, pragma: str) -> AsyncIterator[None]:
    """SQLite itself refuses what is beyond the pragma, on every connection made meanwhile."""
    engine = store._database._engine

    def restrict(connection: sqlite3.Connection, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", restrict)
    await engine.dispose()
    try:
        yield
    finally:
        event.remove(engine.sync_engine, "connect", restrict)
        await engine.dispose()


@pytest.mark.usefixtures("impatient")
async def test_a_write_whose_log_was_deleted_is_not_answered_as_if_it_would_last(tmp_path: Path, keys: KeyRing) -> None:
    url = new_state(tmp_path)
    async with Store.open(url, keys) as store:
        await write(store, "before")
        with troubles.without_log(url):
            with pytest.raises(StateUnavailable):
                await write(store, "lost")
        await well(store)
        await write(store, "after")
    async with Store.open(url, keys) as store:
        assert [stored.id for stored in await store.list(KIND)] == ["before", "after"]


@pytest.mark.usefixtures("impatient")
async def test_another_database_in_place_of_the_file_is_taken_up_and_told_of(tmp_path: Path) -> None:
    keys = KeyRing.in_memory()
    url, other = new_state(tmp_path), new_state(tmp_path, "other.db")
    async with Store.open(other, keys) as store:
        await write(store, "of the copy")
    async with Store.open(url, keys) as store:
        await write(store, "of the first")
        told: set[str] = set()
        store.subscribe(told.update)
        Path(f"{troubles.file_of(url)}-wal").unlink(missing_ok=True)
        Path(f"{troubles.file_of(url)}-shm").unlink(missing_ok=True)
        troubles.file_of(other).rename(troubles.file_of(url))
        with pytest.raises(StateUnavailable):
            await write(store, "to the first")
        await well(store)
        assert [stored.id for stored in await store.list(KIND)] == ["of the copy"]
        async with asyncio.timeout(PATIENCE):
            while KIND.name not in told:
                await asyncio.sleep(0.02)


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_is_stopped_and_started_is_used_again(own_server: PostgresServer) -> None:
    await asyncio.to_thread(_tables, own_server)
    url = await asyncio.to_thread(new_postgres_database, own_server.folder)
    async with Store.open(url, KeyRing.in_memory()) as store:
        outcome = await through(store, troubles.stopped(own_server))
    assert (outcome.reads, outcome.health) == (False, "unavailable")
    assert outcome.seconds < WRITERS * WAIT


def _tables(server: PostgresServer) -> None:
    from tests.portal.state.databases import migrated  # noqa: PLC0415

    asyncio.run(run_on_server(server.folder, "CREATE DATABASE tables"))
    asyncio.run(migrated(f"postgresql://postgres@/tables?host={server.folder}"))


@pytest.mark.parametrize(
    ("trouble", "reads", "reason"),
    [
        (troubles.advisory_lock, True, "another process holds its lock"),
        (troubles.read_only, True, "it takes no writes"),
        (troubles.closed, False, "the server does not take it"),
    ],
)
@pytest.mark.usefixtures("impatient")
async def test_of_a_server_in_trouble_everybody_hears_soon_and_nothing_answered_is_lost(
    postgres: Path, trouble: Callable[[str], AbstractAsyncContextManager[object]], reads: bool, reason: str
) -> None:
    url = await asyncio.to_thread(new_postgres_database, postgres)
    async with Store.open(url, KeyRing.in_memory()) as store:
        outcome = await through(store, trouble(url))
    assert outcome.reads is reads
    assert outcome.health == ("read only" if reads else "unavailable")
    assert any(reason in str(error) for error in outcome.errors)
    assert outcome.seconds < WRITERS * WAIT


@pytest.mark.usefixtures("impatient")
async def test_a_network_that_forwards_nothing_is_cut_and_used_again(postgres: Path, short_folder: Path) -> None:
    url = await asyncio.to_thread(new_postgres_database, postgres)
    async with troubles.Proxy(postgres, short_folder).running() as proxy:
        async with Store.open(url.replace(str(postgres), str(short_folder)), KeyRing.in_memory()) as store:
            outcome = await through(store, proxy.silent())
    assert (outcome.reads, outcome.health) == (False, "unavailable")
    assert outcome.seconds < WRITERS * WAIT + LEAVING_SECONDS


@pytest.mark.usefixtures("impatient")
async def test_a_commit_whose_answer_is_lost_is_said_to_be_unknown(postgres: Path, short_folder: Path) -> None:
    url = await asyncio.to_thread(new_postgres_database, postgres)
    async with troubles.Proxy(postgres, short_folder).running() as proxy:
        async with Store.open(url.replace(str(postgres), str(short_folder)), KeyRing.in_memory()) as store:
            with pytest.raises(StateUnavailable) as lost:
                async with store._database.writing() as connection:
                    silence = proxy.silent()
                    await silence.__aenter__()
                    assert connection.in_transaction()
            assert lost.value.ran == "unknown" and "may have been done" in lost.value.words
            await silence.__aexit__(None, None, None)
            await well(store)


async def test_backends_that_were_terminated_cost_nobody_anything(postgres: Path) -> None:
    url = await asyncio.to_thread(new_postgres_database, postgres)
    async with Store.open(url, KeyRing.in_memory()) as store:
        await asyncio.gather(*(store.get(KIND, "none") for _ in range(WRITERS)))
        await run_on_server(postgres, troubles.terminate(url))
        await asyncio.gather(*(write(store, f"after {n}") for n in range(WRITERS)))
        assert store.health == "ok"


async def test_a_writer_may_be_idle_in_its_transaction_for_ten_seconds(postgres: Path) -> None:
    url = await asyncio.to_thread(new_postgres_database, postgres)
    show = text("SHOW idle_in_transaction_session_timeout")
    async with Store.open(url, KeyRing.in_memory()) as store:
        async with store._database.writing() as connection:
            assert (await connection.execute(show)).scalar_one() == "10s"
        # It is a limit of that transaction, and not of what the connection is used for next.
        async with store._database.reading() as connection:
            assert (await connection.execute(show)).scalar_one() == "0"


async def test_a_writer_that_stops_in_its_transaction_is_ended_by_the_server_and_the_others_go_on(
    postgres: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.state.database.IDLE_SECONDS", 0.2)
    monkeypatch.setattr("portal.state.trouble.QUIET_SECONDS", 0.1)
    url, keys = await asyncio.to_thread(new_postgres_database, postgres), KeyRing.in_memory()
    async with Store.open(url, keys) as store, Store.open(url, keys) as other:
        with pytest.raises(StateUnavailable) as ended:
            async with store.transaction() as transaction:
                await transaction.create(KIND, "of the idle one", {}, by="test")
                # It waits for the lock that the idle one has until the server ends that.
                await write(other, "of another")
        assert ended.value.ran == "no" and "the connection was lost" in str(ended.value)
        assert other.health == "ok"
        await well(store)
        await write(store, "after")
        assert [stored.id for stored in await other.list(KIND)] == ["of another", "after"]


@pytest.mark.usefixtures("impatient")
async def test_a_caller_that_leaves_while_it_waits_leaves_no_lock_behind(tmp_path: Path) -> None:
    url = new_state(tmp_path)
    async with Store.open(url, KeyRing.in_memory()) as store:
        with troubles.locked(url):
            waiting = [asyncio.create_task(write(store, f"left {n}")) for n in range(WRITERS)]
            await asyncio.sleep(0.1)
            for one in waiting:
                one.cancel()
            assert {type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)} == {
                asyncio.CancelledError
            }
        await write(store, "after")
        assert [stored.id for stored in await store.list(KIND)] == ["after"]
        assert store.health == "ok", "nobody was refused, so there was no trouble"


@pytest.mark.parametrize("turns", range(12))
async def test_a_connection_that_nobody_waits_for_any_more_is_closed_with_its_database(
    tmp_path: Path, turns: int
) -> None:
    before = set(threading.enumerate())
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        asking = [asyncio.create_task(store.list(KIND)) for _ in range(8)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert [thread.name for thread in set(threading.enumerate()) - before if "connection" in thread.name] == []


async def test_a_connection_in_use_while_the_pool_is_emptied_is_closed_when_it_is_given_back(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        async with store._database.reading():
            await store._database._empty_pool()
        assert await store.list(KIND) == []
    assert [thread.name for thread in set(threading.enumerate()) - before if "connection" in thread.name] == []


async def test_connections_that_come_and_go_while_the_pool_is_emptied_are_closed(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        for number in range(40):
            emptying = asyncio.create_task(store._database._empty_pool())
            await asyncio.gather(*(store.list(KIND) for _ in range(4)))
            if number % 2:
                # As when the store is closed meanwhile.
                emptying.cancel()
            await asyncio.wait({emptying})
    assert [thread.name for thread in set(threading.enumerate()) - before if "connection" in thread.name] == []


async def test_a_value_that_the_database_does_not_take_is_no_trouble_of_the_database(postgres: Path) -> None:
    url = await asyncio.to_thread(new_postgres_database, postgres)
    async with Store.open(url, KeyRing.in_memory()) as store:
        with pytest.raises(DocumentInvalid, match="does not take"):
            async with store._database.writing() as connection:
                await connection.execute(text("SELECT CAST(:value AS text)"), {"value": "no \x00 text"})
        assert store.health == "ok"


async def test_writing_past_an_open_transaction_is_still_a_mistake_and_no_trouble(tmp_path: Path) -> None:
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        async with store.transaction():
            with pytest.raises(Misused):
                await write(store, "past it")
        assert store.health == "ok"


@pytest.mark.usefixtures("impatient")
async def test_a_start_needs_no_lock_and_says_what_is_wrong_with_a_file_that_is_none(
    tmp_path: Path, keys: KeyRing
) -> None:
    url = new_state(tmp_path)
    async with Store.open(url, keys) as store:
        await write(store, "before")
    with troubles.locked(url):
        async with Store.open(url, keys) as store:
            assert await store.get(KIND, "before") is not None
    with troubles.overwritten(url), pytest.raises(StateUnusable, match="the file is no database"):
        async with Store.open(url, keys):
            pass


def test_the_longest_wait_leaves_a_request_within_five_seconds() -> None:
    assert PATIENCE_SECONDS <= 4.0
