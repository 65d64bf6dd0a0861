"""No secret, document or token in what the state says of itself: reprs, errors and their tracebacks, logs, files."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text

from portal.state import KeyRing, StateError, Store, plain
from portal.state.database import Database

pytestmark = pytest.mark.anyio

HUSH = "hush-7f3a"


async def test_a_portal_s_secrets_are_nowhere_in_its_words_or_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    ring = KeyRing.open(tmp_path / "state.key")
    url = f"sqlite:///{tmp_path}/s.db"
    expires = datetime.now(UTC) + timedelta(hours=1)

    def fails(kinds: frozenset[str]) -> None:
        raise RuntimeError("a subscriber's fault")

    with structlog.testing.capture_logs() as logged:
        async with Store.open(url, ring) as store:
            store.subscribe(fails)
            made = await store.create(plain("server"), "a", {"password": HUSH}, by="ann", secret=HUSH.encode())
            await store.tokens.issue(
                plain("code"), HUSH, subject="ann", document={"verifier": HUSH}, expires_at=expires
            )
            used = await store.tokens.consume(plain("code"), HUSH)
            said += [repr(thing) for thing in (store, ring, ring.newest, made, used, await store.audit())]
            for attempt in (
                store.create(plain("server"), "a", {"password": HUSH}, by="ann", secret=HUSH.encode()),
                store.replace(plain("server"), "b", {"password": HUSH}, by="ann", secret=HUSH.encode()),
                store.create(plain("server"), "c", {"password": HUSH, "bad": "\ud800"}, by="ann"),
                store.create(plain("server"), "c", {"password": HUSH + "x" * 2_000_000}, by="ann"),
                store.create(plain("server"), "c", {}, by="ann", secret=HUSH.encode() * 100_000),
                store.tokens.issue(plain("code"), HUSH, subject="ann", document={}, expires_at=expires),
            ):
                with pytest.raises(StateError) as refused:
                    await attempt
                said.append("".join(traceback.format_exception(refused.value)))
            # The database itself fails in the middle of a write.
            database = Database(url)
            async with database.writing() as connection:
                await connection.execute(text("DROP TABLE audit"))
            await database.close()
            with pytest.raises(StateError) as failed:
                await store.create(plain("server"), "d", {"password": HUSH}, by="ann", secret=HUSH.encode())
            said.append("".join(traceback.format_exception(failed.value)))
            assert await store.get(plain("server"), "d") is None
    words = "\n".join([*said, *map(str, logged), caplog.text])
    assert HUSH not in words
    for kid in ring.kids:
        assert str(ring.find(kid).material) not in words
    assert HUSH.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("*.key"))


async def test_the_password_of_a_database_s_url_is_not_shown(tmp_path: Path) -> None:
    url = f"postgresql://ann:{HUSH}@/none?host={tmp_path}"
    store = Store.open(url, KeyRing.in_memory())
    assert HUSH not in repr(store)
    with pytest.raises(StateError) as refused:
        async with store:
            pass
    assert HUSH not in "".join(traceback.format_exception(refused.value))


async def test_what_was_encrypted_is_not_in_the_files_in_clear(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/s.db", KeyRing.open(tmp_path / "state.key")) as store:
        await store.create(plain("server"), "a", {}, by="ann", secret=HUSH.encode())
        assert all(HUSH.encode() not in path.read_bytes() for path in tmp_path.iterdir())
        assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
