"""The cache of compiled modules: it is code, so nothing in it is believed without its MAC and its owner."""

import os
from pathlib import Path

import pytest

from sandbox import Completed, Engine
from sandbox.compiled import CompiledCache, default_cache
from tests.sandbox.programs import NOW, SEED, Programs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def the_file(folder: Path) -> Path:
    return next(folder.glob("*.cwasm"))


def test_what_was_stored_is_found_again(folder: Path) -> None:
    CompiledCache(folder).store("name", b"code")
    assert CompiledCache(folder).load("name") == b"code"
    assert CompiledCache(folder).load("another name") is None


def test_the_folder_and_its_files_are_private(folder: Path) -> None:
    CompiledCache(folder).store("name", b"code")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("at", [0, 31, 32, -1])
def test_a_flipped_byte_is_noticed(folder: Path, at: int) -> None:
    CompiledCache(folder).store("name", b"machine code")
    data = bytearray(the_file(folder).read_bytes())
    data[at] ^= 1
    the_file(folder).write_bytes(data)
    assert CompiledCache(folder).load("name") is None


def test_a_file_under_another_name_is_noticed(folder: Path) -> None:
    cache = CompiledCache(folder)
    cache.store("good", b"code")
    os.replace(the_file(folder), cache._path("other"))
    assert cache.load("other") is None


def test_a_file_made_with_another_key_is_noticed(folder: Path, tmp_path: Path) -> None:
    CompiledCache(folder).store("name", b"code")
    foreign = CompiledCache(tmp_path / "theirs")
    foreign.store("name", b"evil")
    the_file(folder).write_bytes(the_file(tmp_path / "theirs").read_bytes())
    assert CompiledCache(folder).load("name") is None


def test_a_file_others_may_touch_is_not_believed(folder: Path) -> None:
    CompiledCache(folder).store("name", b"code")
    the_file(folder).chmod(0o644)
    assert CompiledCache(folder).load("name") is None


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    CompiledCache(folder).store("name", b"code")
    moved = tmp_path / "moved"
    os.replace(the_file(folder), moved)
    (folder / CompiledCache(folder)._path("name").name).symlink_to(moved)
    assert CompiledCache(folder).load("name") is None


def test_a_folder_others_may_touch_is_not_used(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    cache = CompiledCache(folder)
    cache.store("name", b"code")
    assert list(folder.iterdir()) == []
    assert cache.load("name") is None


def test_a_cache_that_cannot_be_written_is_empty(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = CompiledCache(blocked / "below")
    cache.store("name", b"code")
    assert cache.load("name") is None


def test_an_engine_rebuilds_what_was_tampered_with(programs: Programs, folder: Path) -> None:
    def run() -> object:
        with Engine(slots=1, cache=folder) as engine, engine.isolate() as isolate:
            return isolate.start("40 + 2", NOW, SEED)

    # What another engine compiled in the user's own cache is as good as what this one would.
    compiled = CompiledCache(default_cache()).load(_build_id())
    if compiled is not None:
        CompiledCache(folder).store(_build_id(), compiled)
    assert programs.on_thread(run) == Completed(42)
    good = the_file(folder).read_bytes()
    assert programs.on_thread(run) == Completed(42)
    assert the_file(folder).read_bytes() == good
    the_file(folder).write_bytes(good[:1000] + b"\0" + good[1001:])
    assert programs.on_thread(run) == Completed(42)
    assert CompiledCache(folder).load(_build_id()) is not None


def _build_id() -> str:
    with Engine(slots=1) as engine:
        return engine.build_id


def test_no_folder_is_no_cache() -> None:
    cache = CompiledCache(None)
    cache.store("name", b"code")
    assert cache.load("name") is None
