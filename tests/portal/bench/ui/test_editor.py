"""The editor's files: only pinned files, only with their hashes, and a clear message if they are not available."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.bench.ui import MONACO, EditorUnavailable, install
from portal.bench.ui.assets import TYPES, content_security_policy
from portal.bench.ui.editor import PinnedRelease, archive_files, check_files, installed_copy

CONTENTS = {"loader.js": b"load", "editor/main.css": b"a{}"}
NPM = """#!/bin/sh
# What npm pack does, without a registry.
while [ "$1" != --pack-destination ]; do shift; done
echo call >> "{log}"
cp "{archive}" "$2/editor-1.0.0.tgz"
"""


def pinned(archive: bytes, contents: dict[str, bytes] | None = None) -> PinnedRelease:
    files = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in (contents or CONTENTS).items()}
    return PinnedRelease("editor", "1.0.0", len(archive), hashlib.sha512(archive).hexdigest(), "min/vs", files)


def packed(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


GOOD = packed({f"package/min/vs/{name}": data for name, data in CONTENTS.items()})


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command `npm`. The test writes its archive into the returned file."""
    archive, folder = tmp_path / "archive.tgz", tmp_path / "bin"
    folder.mkdir()
    command = folder / "npm"
    command.write_text(NPM.format(archive=archive, log=tmp_path / "calls"))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    archive.write_bytes(GOOD)
    return archive


def test_the_files_come_once_into_a_private_folder(npm: Path, tmp_path: Path) -> None:
    said: list[str] = []
    cache = tmp_path / "cache"
    folder = install(pinned(GOOD), cache, say=said.append)
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert "editor@1.0.0" in said[0] and "npm" in said[0]
    assert install(pinned(GOOD), cache, say=said.append) == folder
    assert (tmp_path / "calls").read_text() == "call\n" and len(said) == 1


def test_a_file_that_was_changed_in_the_cache_is_brought_again(npm: Path, tmp_path: Path) -> None:
    folder = install(pinned(GOOD), tmp_path / "cache")
    (folder / "loader.js").write_bytes(b"LOAD")
    assert installed_copy(pinned(GOOD), tmp_path / "cache") is None
    assert (install(pinned(GOOD), tmp_path / "cache") / "loader.js").read_bytes() == b"load"


@pytest.mark.parametrize("kept", [0, 10, len(GOOD) - 1])
def test_an_archive_that_is_not_the_pinned_one_is_not_even_opened(kept: int, npm: Path, tmp_path: Path) -> None:
    npm.write_bytes(GOOD[:kept] + bytes([GOOD[kept] ^ 1]) + GOOD[kept + 1 :])
    with pytest.raises(EditorUnavailable, match="archive of editor@1.0.0"):
        install(pinned(GOOD), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_members_outside_of_the_pinned_files_are_never_written(npm: Path, tmp_path: Path) -> None:
    hostile = packed(
        {
            **{f"package/min/vs/{name}": data for name, data in CONTENTS.items()},
            "../../escaped": b"x",
            "/tmp-escaped": b"x",
            "package/min/vs/../../../escaped": b"x",
            "package/min/vs/extra.js": b"x",
        },
        links={"package/min/vs/editor": "/"},
    )
    npm.write_bytes(hostile)
    folder = install(pinned(hostile), tmp_path / "cache")
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()) == sorted(CONTENTS)
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_link_in_place_of_a_file_is_a_missing_file(npm: Path, tmp_path: Path) -> None:
    linked = packed({"package/min/vs/loader.js": b"load"}, links={"package/min/vs/editor/main.css": "/etc/passwd"})
    npm.write_bytes(linked)
    with pytest.raises(EditorUnavailable, match=r"came without editor/main\.css"):
        install(pinned(linked), tmp_path / "cache")


@given(st.dictionaries(st.sampled_from([*CONTENTS, "other.js"]), st.binary(max_size=8)))
def test_whatever_comes_only_the_pinned_bytes_pass(contents: dict[str, bytes]) -> None:
    try:
        passed = dict(check_files(pinned(GOOD), contents.items()))
    except EditorUnavailable:
        return
    assert passed == CONTENTS


def test_without_npm_and_deno_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(EditorUnavailable, match=r"Install npm, or codemode-portal\[typecheck\]"):
        install(pinned(GOOD), tmp_path / "cache")


def test_a_client_that_fails_is_quoted(npm: Path, tmp_path: Path) -> None:
    npm.unlink()
    with pytest.raises(EditorUnavailable, match="through npm failed: .*archive.tgz"):
        install(pinned(GOOD), tmp_path / "cache")


def test_what_deno_keeps_is_checked_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "bin" / "deno"
    command.parent.mkdir()
    command.write_text(
        '#!/bin/sh\nroot="$DENO_DIR/npm/a-registry/editor/1.0.0/min/vs"; /bin/mkdir -p "$root/editor"\n'
        'printf load > "$root/loader.js"; printf "a{}" > "$root/editor/main.css"; printf x > "$root/more.js"\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent))
    folder = install(pinned(GOOD), tmp_path / "cache")
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    changed = replace(pinned(GOOD), files={**pinned(GOOD).files, "loader.js": (4, "0" * 64)})
    with pytest.raises(EditorUnavailable, match=r"loader\.js of editor@1\.0\.0 is not the file"):
        install(changed, tmp_path / "cache")


def test_a_member_larger_than_its_pin_is_read_no_further(tmp_path: Path) -> None:
    large = packed({"package/min/vs/loader.js": b"x" * 1_000_000})
    archive = tmp_path / "large.tgz"
    archive.write_bytes(large)
    [(_, content)] = archive_files(pinned(large), archive)
    assert len(content) == 5


def test_the_pinned_release_names_everything_the_page_loads() -> None:
    assert {"loader.js", "editor/editor.main.js", "editor/editor.main.css"} <= set(MONACO.files)
    assert all(Path(name).suffix in TYPES and ".." not in name for name in MONACO.files)
    monaco_js = (Path(__file__).parents[4] / "portal" / "bench" / "ui" / "page" / "monaco.js").read_text()
    for worker in ("ts.worker-g3pjEjl4", "json.worker-Csf_TLih", "editor.worker-_vAIFJDs"):
        assert worker in monaco_js and f"assets/{worker}.js" in MONACO.files


def test_inline_styles_are_let_through_for_the_editor_only() -> None:
    assert "unsafe-inline" not in content_security_policy(editor=False)
    with_editor = content_security_policy(editor=True)
    assert with_editor.count("'unsafe-inline'") == 1 and "style-src 'self' 'unsafe-inline'" in with_editor
