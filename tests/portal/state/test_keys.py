"""The key file: private, made whole, refused when others can read it, and rotated without losing a secret."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path

import pytest

from portal.state import KeyRing, KeysUnusable, SecretUnreadable, Store, plain

SECRETS = {f"s{n}": f"secret-{n}".encode() for n in range(5)}


def test_the_key_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    os.umask(before := os.umask(0))
    ring = KeyRing.open(tmp_path / "new" / "state.key")
    os.umask(before)
    assert ring.path is not None and ring.path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["state.key"]
    assert KeyRing.open(ring.path).newest == ring.newest


def test_of_many_that_start_at_once_one_makes_the_file_and_all_have_the_same_key(tmp_path: Path) -> None:
    kids: list[str] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        kids.append(KeyRing.open(tmp_path / "state.key").newest.kid)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kids) == 8 and len(set(kids)) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o610])
def test_a_key_file_that_others_can_touch_is_refused_with_what_to_do(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "state.key"
    KeyRing.open(path)
    path.chmod(mode)
    with pytest.raises(KeysUnusable, match="chmod 600"):
        KeyRing.open(path)


def test_a_file_that_holds_no_keys_is_refused_unquoted_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.key"
    listed = json.loads(KeyRing.open(path).path.read_text())["keys"]  # type: ignore[union-attr]
    short = [{**listed[0], "key": base64.b64encode(b"hush").decode()}]
    for content in ["", "hush", "{}", '{"keys": []}', json.dumps({"keys": short}), json.dumps({"keys": listed * 2})]:
        path.write_text(content)
        with pytest.raises(KeysUnusable) as refused:
            KeyRing.open(path)
        assert "hush" not in str(refused.value) and path.read_text() == content


@pytest.mark.anyio
async def test_rotation_puts_every_secret_under_a_new_key_and_changes_nothing_else(url: str, tmp_path: Path) -> None:
    ring = KeyRing.open(tmp_path / "state.key")
    old = ring.newest.kid
    async with Store.open(url, ring) as store:
        for name, secret in SECRETS.items():
            await store.create(plain("server"), name, {}, by="ann", secret=secret)
        await store.create(plain("server"), "open", {}, by="ann")
        before = await store.list(plain("server"))
        rotation = await store.rotate_keys()
        assert (rotation.rewrapped, rotation.resumed, rotation.forgotten) == (5, False, ())
        assert await store.list(plain("server")) == before
        assert list(ring.kids) == [rotation.kid, old]
        forgetful = await store.rotate_keys(forget=True)
        assert list(ring.kids) == [forgetful.kid] and set(forgetful.forgotten) == {rotation.kid, old}
    async with Store.open(url, KeyRing.open(tmp_path / "state.key")) as store:
        assert {name: await store.secret(plain("server"), name) for name in SECRETS} == SECRETS


@pytest.mark.anyio
async def test_a_process_that_was_running_reads_and_writes_across_a_rotation(url: str, tmp_path: Path) -> None:
    path = tmp_path / "state.key"
    async with Store.open(url, KeyRing.open(path)) as running, Store.open(url, KeyRing.open(path)) as rotating:
        await running.create(plain("server"), "a", {}, by="ann", secret=b"one")
        await rotating.rotate_keys(forget=True)
        assert await running.secret(plain("server"), "a") == b"one"
        await running.create(plain("server"), "b", {}, by="ann", secret=b"two")
        assert await rotating.secret(plain("server"), "b") == b"two"
        assert (await rotating.rotate_keys()).rewrapped == 2


@pytest.mark.anyio
@pytest.mark.parametrize("writes", range(1, 6))
async def test_an_interrupted_rotation_loses_nothing_and_is_gone_on_with(
    writes: int, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from portal.state import rotation  # noqa: PLC0415
    from portal.state.database import Database  # noqa: PLC0415

    class Killed(BaseException):
        pass

    left = writes
    original = Database.writing

    def writing(database: Database) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return original(database)

    path = tmp_path / "state.key"
    async with Store.open(url, KeyRing.open(path)) as store:
        for name, secret in SECRETS.items():
            await store.create(plain("server"), name, {}, by="ann", secret=secret)
        monkeypatch.setattr(rotation, "BATCH", 2)
        monkeypatch.setattr(Database, "writing", writing)
        with pytest.raises(Killed):
            await store.rotate_keys(forget=True)
    monkeypatch.setattr(Database, "writing", original)
    async with Store.open(url, KeyRing.open(path)) as store:
        assert {name: await store.secret(plain("server"), name) for name in SECRETS} == SECRETS
        again = await store.rotate_keys(forget=True)
        # After the first step and before the last batch there is something to go on with.
        assert again.resumed == (writes < 4)
        assert again.rewrapped == (5 - 2 * (writes - 1) if writes < 4 else 5)
        assert KeyRing.open(path).kids == (again.kid,)
        assert {name: await store.secret(plain("server"), name) for name in SECRETS} == SECRETS


@pytest.mark.anyio
async def test_a_secret_moved_by_hand_to_another_row_is_refused(url: str) -> None:
    from sqlalchemy import text  # noqa: PLC0415

    from portal.state.database import Database  # noqa: PLC0415

    async with Store.open(url, KeyRing.in_memory()) as store:
        await store.create(plain("server"), "rich", {}, by="ann", secret=b"hush")
        await store.create(plain("server"), "poor", {}, by="eve", secret=b"mine")
        database = Database(url)
        async with database.writing() as connection:
            stolen = "UPDATE objects SET secret = (SELECT secret FROM objects WHERE id = 'rich') WHERE id = 'poor'"
            await connection.execute(text(stolen))
        await database.close()
        with pytest.raises(SecretUnreadable) as refused:
            await store.secret(plain("server"), "poor")
        assert "hush" not in str(refused.value)
