"""Disks that are full, each under a portal that runs as a process of its own.

`SmallDisk` is a file system of some megabytes that only the portal sees, in a namespace of its own, and that ends with
it. `ShortFiles` is the limit of the system for the length of a file: it is another error, and every Linux has it.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.clients.serving import Served, serving
from tests.patience import PATIENCE

_SIZE = "24m"
_ON_SMALL_DISK = """
mount -t tmpfs -o size=$1,mode=700 none "$2" && cp -a "$3"/. "$2" || exit 1
shift 3
exec "$@"
"""


class Disk(Protocol):
    """Where the state of a running portal is."""

    @property
    def folder(self) -> Path:
        """The folder with the state, as this process sees it."""

    def fill(self) -> None:
        """Leave no room."""

    def free(self) -> None:
        """Give the room back."""


class SmallDisk:
    def __init__(self, pid: int, place: Path) -> None:
        # The file system lasts as long as this is open, so that what is on it can be read after the portal's end.
        self._open = os.open(f"/proc/{pid}/root{place}", os.O_RDONLY | os.O_DIRECTORY)
        self.folder = Path(f"/proc/self/fd/{self._open}")
        self._ballast = self.folder / "ballast"

    def fill(self) -> None:
        with open(self._ballast, "wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def free(self) -> None:
        self._ballast.unlink()

    def close(self) -> None:
        os.close(self._open)


class ShortFiles:
    def __init__(self, pid: int, folder: Path) -> None:
        self.folder = folder
        self._pid = pid
        self._before = resource.prlimit(pid, resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        most = max(file.stat().st_size for file in self.folder.glob("state.db*"))
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (most, self._before[1]))

    def free(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._before)


class _Process:
    """The portal on the small disk, as `Served` uses one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.stderr = process.stderr
        self.pid = process.pid
        self._process = process

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(PATIENCE)


@contextmanager
def on_small_disk(document: Mapping[str, Any], folder: Path, state: Path) -> Iterator[tuple[Served, Disk]]:
    """`codemode serve` with a copy of the folder `state` on a small disk, at `folder / "disk"`."""
    if problem := _why_no_small_disk():
        pytest.skip(f"this machine mounts no file system for a test: {problem}")
    place, file = folder / "disk", folder / "codemode.json"
    place.mkdir()
    file.write_text(json.dumps({**document, "portal": {**document["portal"], "state": f"sqlite:///{place}/state.db"}}))
    serve = [sys.executable, "-m", "portal.cli", "serve", "--config", str(file), "--port", "0"]
    command = [*_NAMESPACE, "sh", "-c", _ON_SMALL_DISK, "sh", _SIZE, str(place), str(state), *serve]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        served = Served(_Process(process))  # type: ignore[arg-type]
        try:
            served.event("servers settled")
            disk = SmallDisk(process.pid, place)
            try:
                yield served, disk
            finally:
                disk.close()
        finally:
            process.kill()


@contextmanager
def with_short_files(document: Mapping[str, Any], folder: Path, state: Path) -> Iterator[tuple[Served, Disk]]:
    """`codemode serve` over the folder `state`, whose files can be kept from growing."""
    portal = {**document["portal"], "state": f"sqlite:///{state}/state.db"}
    with serving({**document, "portal": portal}, folder) as served:
        yield served, ShortFiles(served.process.pid, state)


_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


@cache
def _why_no_small_disk() -> str:
    if shutil.which("unshare") is None:
        return "there is no `unshare` (Debian: apt install util-linux)"
    command = [*_NAMESPACE, "mount", "-t", "tmpfs", "none", "/tmp"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()
