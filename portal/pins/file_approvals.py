"""Approvals in a JSON file that only its owner may change, for a portal without a database."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from watchfiles import awatch

from portal.pins.approvals import PinsUnusable
from portal.pins.definitions import Approved, Kind, canonical

VERSION = 1
MAX_BYTES = 256 * 1024 * 1024
_SECTIONS: tuple[tuple[Kind, str], ...] = (("tool", "tools"), ("prompt", "prompts"))


class FileApprovals:
    """Implements `ApprovalStore` with one JSON file, which several processes may share."""

    def __init__(self, file: Path) -> None:
        self._file = file.absolute()

    async def read(self) -> Mapping[str, Approved]:
        return await asyncio.to_thread(_read, self._file)

    async def keep(self, server: str, approved: Approved, *, by: str, first: bool) -> Approved:
        return await asyncio.to_thread(_keep, self._file, server, approved, first)

    @asynccontextmanager
    async def following(self, changed: Callable[[], None]) -> AsyncIterator[None]:
        if not self._file.parent.is_dir():
            raise PinsUnusable(f"{self._file.parent} is no folder: portal.pinned must be a file in one that exists.")

        async def watch() -> None:
            async for changes in awatch(self._file.parent, stop_event=stop, debounce=200, step=50, recursive=False):
                if any(Path(path).name == self._file.name for _, path in changes):
                    changed()

        stop = asyncio.Event()
        task = asyncio.create_task(watch())
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait([task])


def parse(document: object) -> dict[str, Approved]:
    """The approvals in the file's JSON value, by server id.

    Raises:
        ValueError: `document` does not have the form of the file.
    """
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"it is not of version {VERSION}")
    servers = document.get("servers")
    if not isinstance(servers, dict) or not all(isinstance(sections, dict) for sections in servers.values()):
        raise ValueError("it has no `servers`")
    return {server: _approved(sections) for server, sections in servers.items()}


def _approved(sections: Mapping[str, object]) -> Approved:
    approved: dict[tuple[Kind, str], str] = {}
    for kind, section in _SECTIONS:
        items = sections.get(section)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError(f"`{section}` of a server is not a list of definitions")
        for item in items:
            if not isinstance(item.get("name"), str):
                raise ValueError(f"one of `{section}` has no name")
            approved[kind, item["name"]] = canonical(kind, item)
    return approved


def render(servers: Mapping[str, Approved]) -> str:
    """The text of the file: readable and sorted, so that two versions of it can be compared."""
    document = {
        server: {
            section: [json.loads(approved[key]) for key in sorted(approved) if key[0] == kind]
            for kind, section in _SECTIONS
        }
        for server, approved in servers.items()
    }
    return json.dumps({"version": VERSION, "servers": document}, indent=1, sort_keys=True) + "\n"


def _read(file: Path) -> dict[str, Approved]:
    # A broken file must not count as a missing one: everything the servers offer now would then be approved.
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise PinsUnusable(f"{file}: others than its owner may change it. Do: chmod 600 {file.name}")
            data = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PinsUnusable(f"{file}: {error.strerror or error}.") from error
    fix = "Restore it, or remove it to approve whatever the servers offer at the next start."
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES // 1024**2} MiB")
        return parse(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise PinsUnusable(f"{file}: these are no approvals: {error}. {fix}") from error


def _keep(file: Path, server: str, approved: Approved, first: bool) -> Approved:
    try:
        with _locked(file.parent):
            servers = _read(file)
            known = servers.get(server)
            if known is not None and (first or all(known.get(key) == text for key, text in approved.items())):
                return known
            updated = {**(known or {}), **approved}
            _write(file, render({**servers, server: updated}))
            return updated
    except OSError as error:
        raise PinsUnusable(f"{file}: {error.strerror or error}.") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. A lock on the file itself would be lost when the file is replaced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(file: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as opened:
        try:
            opened.write(text.encode())
            opened.flush()
            os.fsync(opened.fileno())
            os.replace(opened.name, file)
        except OSError:
            Path(opened.name).unlink(missing_ok=True)
            raise
