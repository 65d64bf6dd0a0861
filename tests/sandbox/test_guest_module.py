"""The module itself: it can reach nothing, offers only what was meant, and carries its licences."""

import dataclasses
import hashlib
import importlib.util
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

GUEST = Path(__file__).parents[2] / "sandbox" / "guest"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guest_build", GUEST / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_guest_has_no_imports_and_only_the_expected_exports(build: ModuleType) -> None:
    imports, exports = build.module_interface((GUEST / "guest.wasm").read_bytes())
    assert imports == []
    assert set(exports) == build.EXPORTS


def test_an_import_would_be_noticed(build: ModuleType) -> None:
    # (module (import "env" "leak" (func)) (export "run" (func 0)))
    module = bytes.fromhex("0061736d01000000010401600000020c0103656e76046c65616b00000707010372756e0000")
    assert build.module_interface(module) == (["env.leak"], ["run"])


def test_every_licence_of_what_is_compiled_in_is_in_the_notice() -> None:
    notice = (GUEST / "NOTICE").read_text(encoding="utf-8")
    for holder in (
        "Fabrice Bellard",
        "Saúl Ibarra Corretgé",
        "Copyright (c) 2023 Ada",
        "wasi-libc",
        "Rich Felker",
        "LLVM",
    ):
        assert holder in notice


def test_a_source_with_another_hash_is_not_unpacked(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "quickjs.tar.gz"
    archive.write_bytes(b"not the source we know")
    monkeypatch.setattr(build, "_archive", lambda sdist, scratch: archive)
    with pytest.raises(build.BuildError, match="not unpacking"):
        build._obtain(build.QUICKJS, tmp_path)


def test_an_unsafe_archive_is_refused(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("pkg/../../evil"), io.BytesIO())
    sdist = dataclasses.replace(build.QUICKJS, sha256=hashlib.sha256(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(build, "_archive", lambda sdist, scratch: archive)
    with pytest.raises(build.BuildError, match="unsafe entry"):
        build._obtain(sdist, tmp_path)


def test_building_without_an_index_says_what_to_do(build: ModuleType, tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    source = (GUEST / "build.py").read_text().replace("Path(__file__)", f"Path({str(GUEST / 'build.py')!r})")
    copy = tmp_path / "build.py"
    copy.write_text(source)
    done = subprocess.run(
        [sys.executable, str(copy), "--force"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 1
    assert "pip could not download the source of quickjs-ng" in done.stderr
    assert "Traceback" not in done.stderr


def test_each_edit_of_the_engine_source_must_match_once(build: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "quickjs.c"
    source.write_text("nothing like it")
    with pytest.raises(build.BuildError, match="0 times, expected once"):
        build._edit(source)
