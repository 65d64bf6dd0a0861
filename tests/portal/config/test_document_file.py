"""A changed document takes the place of the file, whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from portal.config import open_document, remove_document, replace_document
from portal.config.document import MAX_BYTES
from portal.errors import ConfigError


def test_a_file_keeps_its_mode_and_has_the_new_bytes(tmp_path: Path) -> None:
    path = tmp_path / "codemode.json"
    path.write_bytes(b"\xef\xbb\xbf{}\r\n")
    path.chmod(0o640)
    file = open_document(path)
    assert file.text == "\ufeff{}\r\n"
    assert replace_document(file, file.text.replace("{}", "[]")) is None
    assert path.read_bytes() == b"\xef\xbb\xbf[]\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["codemode.json"]


def test_a_link_stays_a_link_and_its_file_changes(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    kept, link = tmp_path / "dotfiles" / "mcp.json", tmp_path / "mcp.json"
    kept.write_text("{}")
    link.symlink_to("dotfiles/mcp.json")
    replace_document(open_document(link), "[]")
    assert link.is_symlink()
    assert kept.read_text() == "[]"


def test_a_new_file_is_for_its_owner_alone_and_its_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "config.json"
    file = open_document(path)
    assert (file.data, file.text) == (None, "")
    replace_document(file, "{}")
    assert path.read_text() == "{}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("there", [True, False])
def test_what_somebody_else_wrote_meanwhile_stays(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "codemode.json"
    if there:
        path.write_text("{}")
    file = open_document(path)
    path.write_text('{"theirs": 1}')
    with pytest.raises(ConfigError, match=r"codemode.json: has been changed by somebody else meanwhile\. Run the"):
        replace_document(file, "[]")
    assert path.read_text() == '{"theirs": 1}'
    assert os.listdir(tmp_path) == ["codemode.json"]


def test_a_file_that_somebody_removed_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "codemode.json"
    path.write_text("{}")
    file = open_document(path)
    path.unlink()
    with pytest.raises(ConfigError):
        replace_document(file, "[]")
    assert os.listdir(tmp_path) == []


def test_copies_of_the_former_bytes_do_not_replace_each_other(tmp_path: Path) -> None:
    path = tmp_path / "codemode.json"
    path.write_text("1")
    path.chmod(0o600)
    copies = [replace_document(open_document(path), text, keep_copy=True) for text in ("2", "3")]
    assert copies == [tmp_path / "codemode.json.bak", tmp_path / "codemode.json.bak1"]
    assert [copy.read_text() for copy in copies if copy is not None] == ["1", "2"]
    assert {stat.S_IMODE(copy.stat().st_mode) for copy in copies if copy is not None} == {0o600}


def test_what_is_no_file_of_text_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    (tmp_path / "large.json").write_bytes(b" " * (4 * 1024 * 1024 + 1))
    for path, why in (
        (tmp_path, "is no file|Is a directory"),
        (tmp_path / "pipe.json", "is no file"),
        (tmp_path / "bytes.json", "is not UTF-8 text"),
        (tmp_path / "large.json", "is larger than 4 MiB"),
        (tmp_path / "bytes.json" / "x", "cannot be read: Not a directory"),
    ):
        with pytest.raises(ConfigError, match=why):
            open_document(path)


def test_a_file_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "codemode.json"
    path.write_text("{}")
    file = open_document(path)
    if os.geteuid():
        tmp_path.chmod(0o500)
    else:
        # Root may write everything but what is no folder of files.
        path.unlink()
        path.symlink_to("/proc/self/comm")
        file = open_document(path)
    try:
        with pytest.raises(ConfigError, match=r"codemode\.json: cannot be written: [A-Z][a-z ]+\.$"):
            replace_document(file, "[]")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_stays_theirs(tmp_path: Path) -> None:
    path = tmp_path / "codemode.json"
    path.write_text("{}")
    os.chown(path, 1234, 1235)
    replace_document(open_document(path), "[]")
    assert (path.stat().st_uid, path.stat().st_gid, path.read_text()) == (1234, 1235, "[]")


def test_a_file_is_removed_unless_somebody_has_changed_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    read = open_document(path)
    path.write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match="changed by somebody else meanwhile"):
        remove_document(read)
    assert path.read_text() == '{"mine": 1}'
    remove_document(open_document(path))
    assert not path.exists()


def test_a_file_that_gets_a_secret_is_for_its_owner_alone_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    path.chmod(0o644)
    replace_document(open_document(path), '{"key": 1}', private=True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_document_may_be_as_large_as_its_reader_says(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}" + " " * MAX_BYTES)
    with pytest.raises(ConfigError, match="larger than"):
        open_document(path)
    replace_document(open_document(path, largest=2 * MAX_BYTES), "{}")
    assert path.read_text() == "{}"


def test_a_folder_in_place_of_a_document_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = os.listdir("/dev/fd")
    for _ in range(3):
        with pytest.raises(ConfigError, match="is no file"):
            open_document(tmp_path)
    assert len(os.listdir("/dev/fd")) == len(before)


def test_a_text_with_a_secret_is_never_in_a_file_that_others_may_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "codemode.json"
    path.write_text("{}")
    path.chmod(0o644)
    modes: list[int] = []
    written = os.fsync

    def look(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        written(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    replace_document(open_document(path), '{"secret": 1}', private=True)
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_behind_a_link_is_removed_and_the_link_stays(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept.json", tmp_path / "mcp.json"
    link.symlink_to("kept.json")
    replace_document(open_document(link), "{}")
    remove_document(open_document(link))
    assert link.is_symlink() and not kept.exists()
