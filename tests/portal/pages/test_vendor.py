"""What others wrote comes from npm at build, and only what was pinned; the account of it agrees with the table."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from portal.pages.assets import ASSETS_PATH, Assets
from portal.pages.vendor import (
    HTMX,
    PACKAGES,
    VENDORED,
    VendoredFile,
    VendoredPackage,
    VendorMismatch,
    registry,
    taken_out,
    vendor,
)
from tests.house.source import ROOT
from tests.portal.pages.site import needs_scripts

ACCOUNT = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
SERVED = {file.name for package in PACKAGES for file in package.files if not file.name.endswith("LICENSE")}


def archive_of(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def package_of(archive: bytes, content: bytes = b"x") -> VendoredPackage:
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(archive).digest()).decode()}"
    file = VendoredFile("a.js", "a.js", hashlib.sha256(content).hexdigest())
    return replace(HTMX, integrity=integrity, files=(file,))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_account_has_each_package_as_the_table_has_it(package: VendoredPackage) -> None:
    row = f"| [{package.name}]({package.home}) | {package.version} | {package.licence} | `{package.integrity}` |"
    assert row in ACCOUNT
    for file in package.files:
        assert f"| {package.name} | `{file.path}` | `{file.name}` | `{file.sha256}` |" in ACCOUNT


def test_the_account_names_nothing_else() -> None:
    assert ACCOUNT.count("sha512-") == len(PACKAGES)
    assert ACCOUNT.count(".LICENSE` |") == len(PACKAGES)
    assert "sandbox/guest/NOTICE" in ACCOUNT


def test_the_files_that_were_built_in_are_those_of_the_table() -> None:
    needs_scripts()
    for package in PACKAGES:
        for file in package.files:
            assert hashlib.sha256((VENDORED / file.name).read_bytes()).hexdigest() == file.sha256
    assert Assets().missing == ()


def test_none_of_them_is_committed() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "portal/pages/vendored"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert sorted(Path(line).name for line in listed.stdout.split()) == [".gitignore", "README.md"]


def test_an_archive_or_a_file_with_another_hash_is_refused() -> None:
    archive = archive_of(**{"a.js": b"x"})
    assert list(taken_out(package_of(archive), archive)) == [("a.js", b"x")]
    with pytest.raises(VendorMismatch, match="the archive of htmx.org@"):
        list(taken_out(package_of(archive), archive + b"\0"))
    with pytest.raises(VendorMismatch, match=r"a\.js of htmx.org@"):
        list(taken_out(package_of(archive, b"y"), archive))


def test_a_file_that_was_changed_is_written_again(tmp_path: Path) -> None:
    needs_scripts()
    vendor(tmp_path)
    (tmp_path / "htmx.min.js").write_text("changed")
    vendor(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {file.name for package in PACKAGES for file in package.files}
    assert Assets(tmp_path).missing == ()


def test_without_a_network_the_build_says_so_and_goes_on(tmp_path: Path) -> None:
    script = tmp_path / "portal" / "pages" / "vendor.py"
    (script.parent / "vendored").mkdir(parents=True)
    script.write_text(Path(VENDORED.parent / "vendor.py").read_text(encoding="utf-8"), encoding="utf-8")
    environment = {"HOME": str(tmp_path), "PATH": str(tmp_path), "NPM_CONFIG_REGISTRY": "http://a:secret@127.0.0.1:9"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert "The pages do without their scripts; with a network, build again." in done.stderr
    assert "secret" not in done.stderr
    assert list((script.parent / "vendored").iterdir()) == []


def test_the_registry_is_the_one_of_npms_configuration(tmp_path: Path) -> None:
    file = tmp_path / "npmrc"
    file.write_text(
        "# registry=https://no.example\n@a:registry=https://other.example/\nregistry = https://${HOST}/npm/\n"
    )
    userconfig = {"npm_config_userconfig": str(file), "HOST": "npm.example"}
    assert registry(userconfig) == "https://npm.example/npm"
    assert registry({**userconfig, "NPM_CONFIG_REGISTRY": "https://first.example/"}) == "https://first.example"
    assert registry({"npm_config_userconfig": str(tmp_path / "none")}) == ""


def test_a_file_that_is_missing_or_changed_is_left_out_of_pages(tmp_path: Path) -> None:
    needs_scripts()
    assert set(Assets(tmp_path).missing) == SERVED
    vendor(tmp_path)
    (tmp_path / "hx-sse.min.js").write_text("changed")
    assets = Assets(tmp_path)
    assert assets.missing == ("hx-sse.min.js",) and assets.named("hx-sse.min.js") is None
    assert assets.path("hx-sse.min.js") == "" and assets.paths("htmx.min.js", "hx-sse.min.js") == []


def test_a_file_is_served_under_its_own_hash_only() -> None:
    assets = needs_scripts()
    asset = assets.named("htmx.min.js")
    assert asset is not None and asset.media_type == "text/javascript; charset=utf-8"
    assert assets.path("htmx.min.js") == f"{ASSETS_PATH}/{asset.hash}/htmx.min.js"
    assert assets.at(asset.hash, "htmx.min.js") is asset
    for hash, name in (("0" * 32, "htmx.min.js"), (asset.hash, "charts.js"), (asset.hash, "../vendor.py"), ("", "")):
        assert assets.at(hash, name) is None


def test_the_wheel_carries_them_and_their_licences(tmp_path: Path) -> None:
    needs_scripts()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"portal/pages/vendored/{file.name}" for package in PACKAGES for file in package.files} <= set(names)
    assert any(name.endswith("licenses/THIRD_PARTY.md") for name in names)
