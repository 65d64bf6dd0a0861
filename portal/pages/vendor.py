"""Puts the scripts of others into the package at build: htmx and uPlot, from npm, each byte checked.

    python portal/pages/vendor.py

The table below has the versions and hashes, and no other file is ever written. Archives are kept in the user's cache
by their hash. npm fetches them where it is installed, with its own configuration; otherwise Python does, from the
registry that npm's configuration names. Without a network the build goes on: every page works without scripts. Needs
the standard library only, because it runs before anything is installed.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

VENDORED = Path(__file__).resolve().parent / "vendored"
SECONDS = 60
MAX_ARCHIVE = 32 * 1024 * 1024


class VendorUnavailable(Exception):
    """An archive cannot be had now. The build goes on without it."""


class VendorMismatch(Exception):
    """What came is not what was pinned. The build must not go on."""


@dataclass(frozen=True, slots=True)
class VendoredFile:
    """A file to take out of an archive: where it stands there, its name here, and its SHA-256."""

    path: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class VendoredPackage:
    """A release on npm. `integrity` is npm's own, of the whole archive (Subresource Integrity, SHA-512)."""

    name: str
    version: str
    licence: str
    home: str
    integrity: str
    files: tuple[VendoredFile, ...]

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def sha512(self) -> str:
        return base64.b64decode(self.integrity.removeprefix("sha512-")).hex()


HTMX = VendoredPackage(
    name="htmx.org",
    version="4.0.1",
    licence="0BSD",
    home="https://htmx.org",
    integrity="sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg==",
    files=(
        VendoredFile(
            "dist/htmx.min.js", "htmx.min.js", "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
        ),
        VendoredFile(
            "dist/ext/hx-sse.min.js",
            "hx-sse.min.js",
            "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
        ),
        VendoredFile("LICENSE", "htmx.LICENSE", "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38"),
    ),
)
UPLOT = VendoredPackage(
    name="uplot",
    version="1.6.32",
    licence="MIT",
    home="https://github.com/leeoniya/uPlot",
    integrity="sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
    files=(
        VendoredFile(
            "dist/uPlot.iife.min.js", "uplot.min.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
        ),
        VendoredFile(
            "dist/uPlot.min.css", "uplot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"
        ),
        VendoredFile("LICENSE", "uplot.LICENSE", "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd"),
    ),
)
PACKAGES = (HTMX, UPLOT)


def vendor(folder: Path = VENDORED, packages: tuple[VendoredPackage, ...] = PACKAGES) -> list[Path]:
    """The files in `folder`, which are written if they are missing or others.

    Raises:
        VendorUnavailable: an archive is not in the cache and cannot be fetched.
        VendorMismatch: an archive or a file has another hash.
    """
    written: list[Path] = []
    for package in packages:
        if any(_sha256(folder / file.name) != file.sha256 for file in package.files):
            for name, content in taken_out(package, _archive(package)):
                _write(folder / name, content)
        written += [folder / file.name for file in package.files]
    return written


def taken_out(package: VendoredPackage, archive: bytes) -> Iterator[tuple[str, bytes]]:
    """The name and content of each file of `package`. The hash of the archive is checked before it is opened."""
    if hashlib.sha512(archive).hexdigest() != package.sha512:
        raise VendorMismatch(f"the archive of {package.spec} is not the one that this version was made with")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        for file in package.files:
            member = members.extractfile(f"package/{file.path}")
            content = b"" if member is None else member.read()
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise VendorMismatch(f"{file.path} of {package.spec} is not the file that this version was made with")
            yield file.name, content


def registry(environment: Mapping[str, str] = os.environ) -> str:
    """The registry that npm's configuration names: the environment, then the user's file; "" if neither does. (npm
    reads the environment in either case of letters.)"""
    for key, value in environment.items():
        if key.lower() == "npm_config_registry" and value:
            return value.rstrip("/")
    file = environment.get("npm_config_userconfig") or environment.get("NPM_CONFIG_USERCONFIG")
    try:
        text = (Path(file) if file else Path.home() / ".npmrc").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    named = re.findall(r"^[ \t]*registry[ \t]*=[ \t]*[\"']?([^\s\"']+)", text, re.MULTILINE)
    if not named:
        return ""
    return re.sub(r"\$\{(\w+)\}", lambda found: environment.get(found[1], ""), named[-1]).rstrip("/")


def archive_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """The private folder of this user for archives (XDG base directories)."""
    base = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "codemode-portal" / "vendored"


def _archive(package: VendoredPackage) -> bytes:
    kept = archive_cache() / f"{package.sha512[:32]}.tgz"
    try:
        content = kept.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha512(content).hexdigest() == package.sha512:
        return content
    say(f"fetching {package.spec}")
    content = _fetched(package)
    if hashlib.sha512(content).hexdigest() != package.sha512:
        raise VendorMismatch(f"what came as {package.spec} is not the archive that this version was made with")
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(kept, content)
    return content


def _fetched(package: VendoredPackage) -> bytes:
    """Through npm, else directly: so npm's proxies, certificates and credentials hold where there is npm."""
    ways: list[Callable[[VendoredPackage], bytes]] = [_through_npm] if shutil.which("npm") else []
    reasons: list[str] = []
    for way in (*ways, _directly):
        try:
            return way(package)
        except VendorUnavailable as error:
            reasons.append(str(error))
    raise VendorUnavailable(f"{package.spec} cannot be fetched: {'; '.join(reasons)}")


def _through_npm(package: VendoredPackage) -> bytes:
    with tempfile.TemporaryDirectory(prefix="codemode-vendor-") as scratch:
        command = ["npm", "pack", package.spec, "--pack-destination", scratch, "--ignore-scripts", "--silent"]
        try:
            done = subprocess.run(
                [*command, "--fetch-retries=1"],
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=2 * SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise VendorUnavailable(f"npm: {type(error).__name__}") from error
        archives = list(Path(scratch).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            # Not its words, which can have the registry's address and what is secret in it.
            raise VendorUnavailable(f"npm ended with code {done.returncode}")
        return archives[0].read_bytes()


def _directly(package: VendoredPackage) -> bytes:
    place = registry()
    if not place:
        raise VendorUnavailable("npm's configuration names no registry; install npm, or set npm_config_registry")
    url = f"{place}/{package.name}/-/{package.name.rpartition('/')[2]}-{package.version}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            content = answer.read(MAX_ARCHIVE)
    except urllib.error.HTTPError as error:
        error.close()
        raise VendorUnavailable(f"the registry answered {error.code}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise VendorUnavailable(f"the registry cannot be reached ({type(error).__name__})") from error
    assert isinstance(content, bytes)
    return content


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _write(file: Path, content: bytes) -> None:
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    os.replace(partial, file)


def say(text: str) -> None:
    sys.stderr.write(f"[pages] {text}\n")
    sys.stderr.flush()


def build() -> None:
    """Fills the folder of the package, or says why it cannot. For `make` and the build of the wheel.

    Raises VendorMismatch.
    """
    try:
        for file in vendor():
            # For make: it was looked at after the table was changed.
            os.utime(file)
    except VendorUnavailable as error:
        say(f"{error}. The pages do without their scripts; with a network, build again.")


if __name__ == "__main__":
    try:
        build()
    except VendorMismatch as mismatch:
        sys.exit(f"[pages] {mismatch}: nothing of it was written. Do not use that registry before you know why.")
