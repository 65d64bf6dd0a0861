"""Objects: what was answered is there, in SQLite and in PostgreSQL alike."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from portal.app.store import open_store
from portal.state import (
    AlreadyExists,
    Conflict,
    DocumentInvalid,
    KeyRing,
    KeysUnusable,
    Misused,
    NotFound,
    StateUnusable,
    Store,
    plain,
)
from tests.deep import deep
from tests.patience import PATIENCE
from tests.portal.state.conftest import Opener

pytestmark = pytest.mark.anyio


async def test_an_object_is_created_replaced_and_deleted_with_its_history_on_it(opened: Opener) -> None:
    times = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(100))
    async with opened(lambda: next(times)) as store:
        made = await store.create(plain("server"), "files", {"name": "Files", "tags": ["a", None, 1.5]}, by="ann")
        assert (made.revision, made.created_by, made.modified_by, made.has_secret) == (1, "ann", "ann", False)
        assert made.created_at == made.modified_at == datetime(2026, 1, 1, tzinfo=UTC)

        changed = await store.replace(plain("server"), "files", {"name": "All files"}, by="bob")
        assert (changed.revision, changed.created_by, changed.modified_by) == (2, "ann", "bob")
        assert changed.created_at == made.created_at < changed.modified_at
        assert await store.get(plain("server"), "files") == changed

        assert await store.delete(plain("server"), "files", by="cy") == changed
        assert await store.get(plain("server"), "files") is None
        trail = [(entry.action, entry.by, entry.id, entry.revision) for entry in await store.audit()]
        assert trail == [("delete", "cy", "files", 2), ("replace", "bob", "files", 2), ("create", "ann", "files", 1)]


async def test_objects_are_listed_in_order_of_their_creation_and_of_their_kind_alone(opened: Opener) -> None:
    async with opened() as store:
        for name in ("b", "a", "c"):
            await store.create(plain("server"), name, {}, by="ann")
        await store.create(plain("portal"), "a", {}, by="ann")
        await store.replace(plain("server"), "b", {"later": True}, by="ann")
        assert [stored.id for stored in await store.list(plain("server"))] == ["b", "a", "c"]
        assert await store.list(plain("group")) == []


async def test_what_was_stored_is_there_when_the_database_is_opened_again(opened: Opener) -> None:
    document = {"text": "Zoë \0 \U0001f600", "deep": {"list": [1, 2**53, -0.25, True, None]}}
    async with opened() as store:
        await store.create(plain("server"), "ä/é", document, by="ann", secret=b"\0\xff")
    async with opened() as store:
        found = await store.get(plain("server"), "ä/é")
        assert found is not None and found.document == document and found.has_secret
        assert await store.secret(plain("server"), "ä/é") == b"\0\xff"


async def test_two_of_one_name_changes_of_nothing_and_of_an_old_revision_are_refused(opened: Opener) -> None:
    async with opened() as store:
        await store.create(plain("server"), "a", {"n": 1}, by="ann")
        with pytest.raises(AlreadyExists):
            await store.create(plain("server"), "a", {"n": 2}, by="ann")
        with pytest.raises(NotFound):
            await store.replace(plain("server"), "b", {}, by="ann")
        with pytest.raises(NotFound):
            await store.delete(plain("server"), "b", by="ann")
        await store.replace(plain("server"), "a", {"n": 3}, by="ann", revision=1)
        with pytest.raises(Conflict):
            await store.replace(plain("server"), "a", {"n": 4}, by="ann", revision=1)
        found = await store.get(plain("server"), "a")
        assert found is not None and found.document == {"n": 3}


async def test_a_secret_stays_until_it_is_replaced_or_taken_away(opened: Opener) -> None:
    async with opened() as store:
        await store.create(plain("server"), "a", {}, by="ann", secret=b"one")
        await store.replace(plain("server"), "a", {"n": 1}, by="ann")
        assert await store.secret(plain("server"), "a") == b"one"
        await store.replace(plain("server"), "a", {"n": 1}, by="ann", secret=b"two")
        assert await store.secret(plain("server"), "a") == b"two"
        assert not (await store.replace(plain("server"), "a", {"n": 1}, by="ann", secret=None)).has_secret
        assert await store.secret(plain("server"), "a") is None
        assert await store.secret(plain("server"), "nothing") is None


async def test_a_transaction_is_all_or_nothing(opened: Opener) -> None:
    told: list[frozenset[str]] = []
    async with opened() as store:
        store.subscribe(told.append)
        await store.create(plain("server"), "kept", {}, by="ann")
        told.clear()
        expires = datetime.now(UTC) + timedelta(hours=1)
        with pytest.raises(NotFound):
            async with store.transaction() as transaction:
                await transaction.create(plain("server"), "new", {}, by="ann", secret=b"s")
                await transaction.delete(plain("server"), "kept", by="ann")
                await transaction.tokens.issue(plain("code"), "t", subject="u", document={}, expires_at=expires)
                assert await transaction.get(plain("server"), "kept") is None
                assert await transaction.secret(plain("server"), "new") == b"s"
                await transaction.delete(plain("server"), "nothing", by="ann")
        assert [stored.id for stored in await store.list(plain("server"))] == ["kept"]
        assert await store.tokens.find(plain("code"), "t") is None
        assert told == []
        async with store.transaction() as transaction:
            await transaction.create(plain("server"), "new", {}, by="ann")
            await transaction.create(plain("portal"), "new", {}, by="ann")
        assert told == [frozenset({"server", "portal"})]
        with pytest.raises(Misused):
            await transaction.list(plain("server"))


async def test_writing_past_an_open_transaction_is_refused_and_does_not_hang(opened: Opener) -> None:
    async with opened() as store, store.transaction() as transaction:
        with pytest.raises(Misused):
            await store.create(plain("server"), "a", {}, by="ann")
        await transaction.create(plain("server"), "a", {}, by="ann")


async def test_of_many_writers_in_two_processes_none_loses_a_change(opened: Opener) -> None:
    async with opened() as one, opened() as other:
        await one.create(plain("settings"), "counter", {"n": 0}, by="ann")

        async def count(store: Store) -> None:
            async with store.transaction() as transaction:
                found = await transaction.get(plain("settings"), "counter")
                assert found is not None
                n = found.document["n"]
                assert isinstance(n, int)
                await transaction.replace(plain("settings"), "counter", {"n": n + 1}, by="ann")

        await asyncio.gather(*(count(store) for store in (one, other) for _ in range(10)))
        found = await other.get(plain("settings"), "counter")
        assert found is not None and found.document == {"n": 20} and found.revision == 21


async def test_reading_does_not_wait_for_a_writer(opened: Opener) -> None:
    async with opened() as store:
        await store.create(plain("server"), "a", {"n": 1}, by="ann")
        async with store.transaction() as transaction:
            await transaction.replace(plain("server"), "a", {"n": 2}, by="ann")
            with anyio.fail_after(PATIENCE):
                found = await store.get(plain("server"), "a")
            assert found is not None and found.document == {"n": 1}


async def test_a_cancelled_writer_leaves_nothing_half_done_and_nobody_waiting(opened: Opener) -> None:
    async with opened() as store:
        tasks = [
            asyncio.create_task(store.create(plain("server"), f"s{n}", {}, by="ann", secret=b"x")) for n in range(40)
        ]
        for number, task in enumerate(tasks):
            for _ in range(number % 7):
                await asyncio.sleep(0)
            if number % 3:
                task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        there = {stored.id for stored in await store.list(plain("server"))}
        assert {f"s{n}" for n, end in enumerate(ended) if not isinstance(end, BaseException)} <= there
        for name in there:
            assert await store.secret(plain("server"), name) == b"x"
        with anyio.fail_after(PATIENCE):
            await store.create(plain("server"), "after", {}, by="ann")


async def test_another_process_hears_of_a_commit_without_asking(opened: Opener) -> None:
    heard: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    async with opened() as one, opened() as other:
        end = other.subscribe(heard.put_nowait)
        await one.create(plain("policy"), "p", {}, by="ann")
        with anyio.fail_after(PATIENCE):
            assert await heard.get() == {"policy"}
        await one.tokens.issue(
            plain("access"), "t", subject="u", document={}, expires_at=datetime.now(UTC) + timedelta(hours=1)
        )
        await one.tokens.revoke_subject("u")
        with anyio.fail_after(PATIENCE):
            assert await heard.get() == {"access"}
        end()
        await other.create(plain("policy"), "q", {}, by="ann")
        assert heard.empty()


async def test_a_subscriber_that_fails_keeps_nobody_from_hearing_and_undoes_nothing(opened: Opener) -> None:
    def fails(kinds: frozenset[str]) -> None:
        raise RuntimeError("no")

    told: list[frozenset[str]] = []
    async with opened() as store:
        store.subscribe(fails)
        store.subscribe(told.append)
        await store.create(plain("server"), "a", {}, by="ann")
        assert told == [{"server"}]


@pytest.mark.parametrize(
    "document",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": {1}},
        {"a": b"bytes"},
        {1: "a"},
        {"a": 2**70},
        {"a": "\ud800"},
        [],
        {"a": "x" * 1_100_000},
    ],
    ids=repr,
)
async def test_what_is_not_json_within_bounds_is_refused(document: Any, tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/s.db", KeyRing.in_memory()) as store:
        with pytest.raises(DocumentInvalid):
            await store.create(plain("server"), "a", document, by="ann")
        assert await store.list(plain("server")) == []


async def test_a_document_that_is_too_deep_and_a_name_that_is_none_are_refused(tmp_path: Path) -> None:
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"a": deep}
    async with Store.open(f"sqlite:///{tmp_path}/s.db", KeyRing.in_memory()) as store:
        with pytest.raises(DocumentInvalid):
            await store.create(plain("server"), "a", deep, by="ann")
        for kind, name in [("Server", "a"), ("server", ""), ("server", "a\0"), ("server", "a" * 600), ("", "a")]:
            with pytest.raises(DocumentInvalid):
                await store.create(plain(kind), name, {}, by="ann")


async def test_a_database_of_a_newer_program_is_refused_and_left_alone(opened: Opener, url: str) -> None:
    from sqlalchemy import text  # noqa: PLC0415

    from portal.state.database import Database  # noqa: PLC0415

    async with opened() as store:
        await store.create(plain("server"), "a", {}, by="ann")
    database = Database(url)
    async with database.writing() as connection:
        known = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StateUnusable, match="newer codemode"):
        async with opened():
            pass
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :known"), {"known": known})
    await database.close()
    async with opened() as store:
        assert await store.get(plain("server"), "a") is not None


async def test_many_that_open_a_new_database_at_once_all_find_it_made(opened: Opener) -> None:
    async def use(name: str) -> None:
        async with opened() as store:
            await store.create(plain("server"), name, {}, by="ann", secret=b"s")

    await asyncio.gather(*(use(f"s{n}") for n in range(4)))
    async with opened() as store:
        assert len(await store.list(plain("server"))) == 4
        assert await store.secret(plain("server"), "s3") == b"s"


async def test_the_migrations_make_the_tables_the_program_uses(opened: Opener, url: str) -> None:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from sqlalchemy import Connection  # noqa: PLC0415

    from portal.state.database import Database  # noqa: PLC0415
    from portal.state.schema import metadata  # noqa: PLC0415

    def differences(connection: Connection) -> list[Any]:
        found: list[Any] = compare_metadata(MigrationContext.configure(connection), metadata)
        return found

    async with opened():
        database = Database(url)
        async with database.reading() as connection:
            assert await connection.run_sync(differences) == []
        await database.close()


async def test_a_database_opened_with_the_keys_of_another_is_refused(url: str, tmp_path: Path) -> None:
    async with Store.open(url, KeyRing.open(tmp_path / "a.key")):
        pass
    with pytest.raises(KeysUnusable, match="does not belong to this database"):
        async with Store.open(url, KeyRing.open(tmp_path / "b.key")):
            pass


async def test_opening_it_a_second_time_leaves_the_first_its_hold_on_the_file(tmp_path: Path) -> None:
    """Whoever closes an SQLite database last removes its log; another process must see that it is not the last."""
    file, keys = tmp_path / "state.db", KeyRing.in_memory()
    elsewhere = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM objects'); db.close()"
    )
    async with Store.open(f"sqlite:///{file}", keys) as first:
        await first.create(plain("group"), "a", {}, by="test")
        async with Store.open(f"sqlite:///{file}", keys):
            pass
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", elsewhere, str(file)], check=True)
        assert file.with_name("state.db-wal").exists()
        await first.create(plain("group"), "b", {}, by="test")
        assert [one.id for one in await first.list(plain("group"))] == ["a", "b"]


async def test_no_thread_of_a_connection_outlives_the_store_whose_queries_were_cut_off(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with Store.open(f"sqlite:///{tmp_path / 'state.db'}", KeyRing.in_memory()) as store:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(store.scan, plain("group"))
                await asyncio.sleep(0)
                # Now, and not after the end of the queries: their threads may have ended with them.
                there = [one for one in threading.enumerate() if one not in before and "connection" in one.name]
                scope.cancel()
        assert there
    assert not [one for one in threading.enumerate() if one not in before and "connection" in one.name]


async def test_a_connection_that_was_given_up_while_it_was_made_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, connect, going_on = set(threading.enumerate()), sqlite3.connect, threading.Event()

    def held_up(*args: Any, **options: Any) -> Any:
        assert going_on.wait(PATIENCE)
        return connect(*args, **options)

    async with Store.open(f"sqlite:///{tmp_path / 'state.db'}", KeyRing.in_memory()) as store:
        monkeypatch.setattr(sqlite3, "connect", held_up)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(store.scan, plain("group"))
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        later = threading.Timer(0.1, going_on.set)
        later.start()
    later.join()
    assert not [one for one in threading.enumerate() if one not in before]


@pytest.mark.parametrize("cut_off_at", deep(range(0, 60, 2)))
async def test_a_write_that_is_cut_off_anywhere_leaves_the_next_one_nothing_to_wait_for(
    opened: Opener, cut_off_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.state.database.BUSY_SECONDS", 1.0)
    async with opened() as store:
        gc.disable()  # It would tidy up sooner or later.
        try:
            for n in range(3):
                cut_off = asyncio.create_task(store.create(plain("group"), f"cut off {n}", {}, by="test"))
                for _ in range(cut_off_at):
                    await asyncio.sleep(0.0001)
                cut_off.cancel()
                await asyncio.gather(cut_off, return_exceptions=True)
                await store.create(plain("group"), f"whole {n}", {}, by="test")
        finally:
            gc.enable()
        assert {f"whole {n}" for n in range(3)} <= {one.id for one in await store.list(plain("group"))}


@pytest.mark.parametrize(("query", "pragma"), [("", 2), ("?synchronous=normal", 1), ("?synchronous=off", 0)])
async def test_an_answered_write_is_on_the_disk_unless_the_url_says_otherwise(
    tmp_path: Path, query: str, pragma: int
) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/s.db{query}", KeyRing.in_memory()) as store:
        async with store._database.reading() as connection:
            assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar() == pragma
    assert (tmp_path / "s.db").is_file()


def test_the_keys_lie_beside_the_file_whatever_else_the_url_says(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/s.db?synchronous=off")
    assert [file.name for file in tmp_path.iterdir()] == ["s.key"]


BAD_URLS = [
    "",
    "state.db",
    "mysql://u:hush@h/db",
    "sqlite://",
    "sqlite:///:memory:",
    "://hush",
    "sqlite:///s?synchronous=hush",
    "postgresql://u:hush@h:port/db",
]


@pytest.mark.parametrize("bad", BAD_URLS)
def test_a_url_of_nothing_we_know_is_refused_without_quoting_it(bad: str) -> None:
    with pytest.raises(StateUnusable) as refused:
        Store.open(bad, KeyRing.in_memory())
    assert "hush" not in str(refused.value)


async def test_a_file_that_is_no_database_and_a_folder_that_cannot_be_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at" * 50)
    for path in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "inner.db", tmp_path):
        with pytest.raises(StateUnusable):
            async with Store.open(f"sqlite:///{path}", KeyRing.in_memory()):
                pass


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_a_name_that_no_database_can_hold_is_nobodys_and_cannot_be_stored(opened: Opener, text: str) -> None:
    async with opened() as store:
        assert await store.get(plain("thing"), text) is None and await store.secret(plain("thing"), text) is None
        with pytest.raises(NotFound):
            await store.delete(plain("thing"), text, by="ada")
        with pytest.raises(DocumentInvalid):
            await store.create(plain("thing"), text, {}, by="ada")
        with pytest.raises(DocumentInvalid):
            await store.tokens.issue(plain("thing"), "t", subject=text, document={}, expires_at=datetime.now(UTC))
        await store.tokens.issue(
            plain("thing"), "t", subject="", document={}, expires_at=datetime.now(UTC) + timedelta(hours=1)
        )
        assert await store.tokens.find(plain("thing"), text) is None
        assert await store.tokens.list(plain("thing"), text) == []
        assert list(await store.tokens.families(plain("thing"), text)) == []
        assert await store.tokens.revoke_subject(text) == await store.tokens.revoke_family(text) == 0
        assert await store.tokens.find(plain("thing"), "t") is not None
        assert await store.credentials.list(plain("thing"), subject=text) == []
        assert await store.credentials.list(plain("thing"), server=text) == []
