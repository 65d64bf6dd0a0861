"""The names that a shell completes, kept from the last time that a command knew them: servers, portals and tools.

A completion connects to nothing, and loads nothing that takes long. The names are in files of the user's cache, one
for each configuration. Names of servers and portals count only for the configuration as it was when they were read.
Tools are those that their servers listed last. Nothing but names is kept, and only those that a shell cannot misread.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

MOST_TOOLS = 20_000
MOST_FILES = 200
MAX_BYTES = 4 * 1024 * 1024
LONGEST = 200
# Shells evaluate what a completion prints: quotes, `$(`, blanks and line ends never get there.
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@/+-]*")


@dataclass(frozen=True, slots=True)
class KnownNames:
    """What is known of one configuration. `stamp` says as of which state of its file."""

    stamp: str = ""
    servers: tuple[str, ...] = ()
    portals: tuple[str, ...] = ()
    tools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def safe(names: Iterable[str]) -> tuple[str, ...]:
    """The names that every shell takes as one word."""
    return tuple(name for name in names if len(name) <= LONGEST and _SAFE.fullmatch(name))


def stamp_of(config: Path) -> str:
    """The state of a file: it changes when the file is written. "" if there is none."""
    try:
        found = config.stat()
    except OSError:
        return ""
    return f"{found.st_mtime_ns}-{found.st_size}"


def recall(config: Path, environment: Mapping[str, str]) -> KnownNames:
    """What is known of this configuration; nothing where nothing is, or it cannot be read."""
    try:
        file = _file(config, environment)
        if file.stat().st_size > MAX_BYTES:
            return KnownNames()
        found = json.loads(file.read_text(encoding="utf-8"))
        tools = {str(server): safe(map(str, names)) for server, names in dict(found["tools"]).items()}
        return KnownNames(
            str(found["stamp"]), safe(map(str, found["servers"])), safe(map(str, found["portals"])), tools
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return KnownNames()


def keep(config: Path, names: KnownNames, environment: Mapping[str, str]) -> None:
    """Keep these names for later completions. Where there is no place for them, there are none later."""
    if recall(config, environment) == names:
        return
    file = _file(config, environment)
    scratch = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as written:
                json.dump(asdict(names), written)
            scratch.replace(file)
            _forget_oldest(file.parent)
        finally:
            scratch.unlink(missing_ok=True)


def keep_tools(config: Path, listed: Mapping[str, Iterable[str]], environment: Mapping[str, str]) -> None:
    """Keep the paths of tools by the id of their server. Servers that are not among them keep theirs."""
    known = recall(config, environment)
    tools = {**known.tools, **{server: safe(paths) for server, paths in listed.items()}}
    room = MOST_TOOLS
    for server, paths in tools.items():
        tools[server] = paths[: max(room, 0)]
        room -= len(paths)
    keep(config, KnownNames(known.stamp, known.servers, known.portals, tools), environment)


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
    for file in files[: max(0, len(files) - MOST_FILES)]:
        file.unlink(missing_ok=True)


def _file(config: Path, environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CACHE_HOME")
    cache = Path(base) if base else Path(environment.get("HOME", "~")).expanduser() / ".cache"
    digest = hashlib.sha256(os.fsencode(config.resolve())).hexdigest()
    return cache / "codemode-portal" / "known" / f"{digest[:32]}.json"
