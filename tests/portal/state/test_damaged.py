"""A damaged file of SQLite: a start says what is damaged, a running store says so, and a damaged row costs itself."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portal.state import (
    AlreadyExists,
    CredentialKey,
    DocumentBroken,
    KeyRing,
    StateError,
    StateUnusable,
    Store,
    plain,
    utc_now,
)
from tests.deep import is_deep, sixth
from tests.portal.state import troubles
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio

SERVER, TOKEN, CREDENTIAL = plain("server"), plain("access"), plain("upstream")
OBJECTS = 40
TABLES = ("objects", "tokens", "credentials", "audit", "changes", "facts")


def credential(n: int) -> CredentialKey:
    return CredentialKey("ada", "files", "https://issuer.example", "https://files.example", f"client {n}")


@pytest.fixture
async def url(tmp_path: Path, keys: KeyRing) -> str:
    """A file in which every table has rows, with nothing in its log."""
    url = new_state(tmp_path)
    until = utc_now() + timedelta(hours=1)
    async with Store.open(url, keys) as store, store.transaction() as transaction:
        for n in range(OBJECTS):
            document = {"text": "x" * (30 * n)}
            await transaction.create(SERVER, f"s{n}", document, by="test", secret=b"secret" * 20)
            await transaction.tokens.issue(
                TOKEN, f"t{n}", subject=f"p{n % 5}", document={"text": "y" * 80}, expires_at=until, family=f"f{n % 7}"
            )
    async with Store.open(url, keys) as store:
        for n in range(3):
            await store.credentials.put(CREDENTIAL, credential(n), {"text": "z"}, b"secret")
    with closing(sqlite3.connect(troubles.file_of(url))) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return url


def change(url: str, statement: str) -> None:
    with closing(sqlite3.connect(troubles.file_of(url))) as database, database:
        assert database.execute(statement).rowcount == 1


@pytest.mark.parametrize("table", TABLES)
async def test_a_start_over_a_damaged_page_says_which_file_what_is_damaged_and_what_to_do(
    url: str, keys: KeyRing, table: str
) -> None:
    troubles.write_page(url, troubles.page_of(url, table), random.Random(table).randbytes(troubles.PAGE))
    with capture_logs() as logs:
        with pytest.raises(StateUnusable) as refused:
            async with Store.open(url, keys):
                pass
    said, file = str(refused.value), str(troubles.file_of(url))
    assert f"{file}: the file is damaged (tables: {table}). Put a copy from before in the place of {file}" in said
    assert f"sqlite3 {file} .recover" in said
    assert logs == []


@pytest.mark.parametrize("name", [b"objects", bytes([0xFF]) * 7])
async def test_a_start_over_a_damaged_schema_says_so(url: str, keys: KeyRing, name: bytes) -> None:
    file = troubles.file_of(url)
    content = bytearray(file.read_bytes())
    row, statement = content.index(b"tableobjectsobjects") + len("table"), content.index(b"CREATE TABLE objects")
    # SQLite quotes the name in its message, and the driver cannot read one that is no text.
    content[row : row + len(name)] = name
    content[statement : statement + 6] = b"REMOVE"
    file.write_bytes(content)
    with pytest.raises(StateUnusable, match="the file is damaged"):
        async with Store.open(url, keys):
            pass


async def everything(store: Store) -> AsyncIterator[Awaitable[object]]:
    yield store.list(SERVER)
    yield store.get(SERVER, "s3")
    yield store.secret(SERVER, "s4")
    yield store.audit(limit=1000)
    yield store.tokens.find(TOKEN, "t1")
    yield store.tokens.consume(TOKEN, "t2")
    yield store.tokens.list(TOKEN)
    yield store.tokens.families(TOKEN, "p1")
    yield store.credentials.list(CREDENTIAL)
    yield store.credentials.get(CREDENTIAL, credential(0))
    yield store.credentials.secret(CREDENTIAL, credential(1))
    yield store.create(SERVER, "new", {"text": "x" * 5000}, by="test", secret=b"secret")
    yield store.replace(SERVER, "s5", {}, by="test")
    yield store.delete(SERVER, "s6", by="test")
    yield store.tokens.revoke_subject("p2")
    yield store.tokens.purge(utc_now() + timedelta(hours=2))
    yield store.rotate_keys()


def whole(page: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(len(page))


def few(page: bytes, chance: random.Random) -> bytes:
    changed = bytearray(page)
    for _ in range(8):
        changed[chance.randrange(len(page))] = chance.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("damage", [whole, few])
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.deep) for seed in range(2, 12))])
async def test_whatever_page_is_damaged_under_a_store_its_own_errors_come_out_and_every_call_ends(
    url: str, keys: KeyRing, damage: object, seed: int
) -> None:
    assert callable(damage)
    file, chance = troubles.file_of(url), random.Random(seed)
    good = file.read_bytes()
    failed = 0
    for page in sixth(range(1, len(good) // troubles.PAGE + 1), seed, is_deep()):
        # A file of its own: what is still closing has the one before.
        copy = url.replace(file.name, f"page-{page}.db")
        troubles.file_of(copy).write_bytes(good)
        with capture_logs() as logs:
            async with Store.open(copy, keys) as store:
                before = troubles.write_page(copy, page, b"")
                troubles.write_page(copy, page, damage(before, chance))
                # A connection knows by heart what it has read.
                await store._database._empty_pool()
                async for work in everything(store):
                    try:
                        await work
                    except StateError:
                        failed += 1
        assert "exc_info" not in str(logs) and "xxx" not in str(logs)
        told = [log["event"] for log in logs if log["event"].startswith("the database is in trouble")]
        assert len(told) <= 1
    assert failed


async def test_a_document_that_is_no_text_costs_itself_alone(url: str, keys: KeyRing) -> None:
    change(url, "UPDATE objects SET document = CAST(X'7b2261223a2022ff227d' AS TEXT) WHERE id = 's3'")
    change(url, "UPDATE tokens SET document = CAST(X'7bff7d' AS TEXT) WHERE rowid = (SELECT min(rowid) FROM tokens)")
    with capture_logs() as logs:
        async with Store.open(url, keys) as store:
            for _ in range(2):
                assert len(await store.list(SERVER)) == OBJECTS - 1
            with pytest.raises(DocumentBroken):
                await store.get(SERVER, "s3")
            with pytest.raises(AlreadyExists):
                await store.create(SERVER, "s3", {}, by="test")
            assert len(await store.tokens.list(TOKEN)) == OBJECTS - 1
            await store.replace(SERVER, "s3", {"text": "mended"}, by="test")
            assert len(await store.list(SERVER)) == OBJECTS
            assert store.health == "ok"
    assert [log["event"] for log in logs].count("a stored object cannot be read; it is left out") == 1
    assert "the database refused a statement" not in str(logs)


@pytest.mark.parametrize("value", ["'no number'", "X'ff00'", str(2**62), str(-(2**62))])
async def test_a_number_that_is_none_costs_its_row_alone(url: str, keys: KeyRing, value: str) -> None:
    for column in ("revision", "created_at", "modified_at"):
        change(url, f"UPDATE objects SET {column} = {value} WHERE id = 's3'")
    change(url, f"UPDATE audit SET at = {value} WHERE id = 's3'")
    change(url, f"UPDATE credentials SET modified_at = {value}, version = {value} WHERE client = 'client 1'")
    change(url, f"UPDATE tokens SET expires_at = {value} WHERE rowid = (SELECT min(rowid) FROM tokens)")
    async with Store.open(url, keys) as store:
        assert len(await store.list(SERVER)) == OBJECTS
        assert len(await store.audit(limit=1000)) == OBJECTS
        assert len(await store.credentials.list(CREDENTIAL)) == 3
        # A token whose end is not known is not taken.
        assert await store.tokens.find(TOKEN, "t0") is None
        assert (await store.replace(SERVER, "s3", {"text": "mended"}, by="test")).revision == 1
        assert store.health == "ok"


async def test_a_rotation_of_keys_ends_where_an_index_has_lost_its_rows(url: str, keys: KeyRing) -> None:
    # A leaf of an index without cells (https://sqlite.org/fileformat.html#b_tree_pages).
    leaf = bytes([10, 0, 0, 0, 0, 0x10, 0, 0])
    page = troubles.page_of(url, "sqlite_autoindex_objects_1")
    troubles.write_page(url, page, leaf.ljust(troubles.PAGE, bytes(1)))
    async with Store.open(url, keys) as store:
        with pytest.raises(StateUnusable, match="objects"):
            await store.rotate_keys()
