"""Checks of the portal's database: it can be read, its keys are there, the disk has room, nobody holds its lock.

Nothing is written to it. A file of SQLite is read in a copy that is removed afterwards; no key file is made.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from portal.app import DatabasePlace, database_place, keys_of
from portal.config import Config
from portal.doctor.findings import Diagnosis, notice, ok, trouble
from portal.doctor.logins import StoredLogins
from portal.state import (
    KeyRing,
    KeysUnusable,
    SchemaState,
    StateError,
    StateUnavailable,
    Store,
    copy_sqlite,
    lock_holder,
    schema_state,
)

LOCK_SECONDS = 2.0
LITTLE_ROOM, MORE_ROOM = 200 * 1024**2, 2 * 1024**3


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What there is of a database. `schema` is None if it cannot be read, and `problem` says why; `there`: it was made.
    `unseen`: why it was not looked into, though nothing may be wrong with it; `forbidden`: this user may not read it.
    `keys` is the key file, `keys_problem` why it cannot be used. `free`: bytes on the disk, None for a server."""

    place: str
    there: bool = False
    schema: SchemaState | None = None
    problem: str = ""
    unseen: str = ""
    forbidden: bool = False
    keys: str = ""
    keys_there: bool = False
    keys_problem: str = ""
    free: int | None = None
    folder: str = ""
    folder_problem: str = ""
    holder: int | None = None


@asynccontextmanager
async def opened_database(config: Config) -> AsyncIterator[tuple[DatabaseFacts | None, StoredLogins]]:
    """The facts about the database of a configuration, None without one, and the logins in it."""
    lead = timedelta(seconds=config.portal.credential_notices.lead)
    if not config.portal.has_store:
        yield None, StoredLogins(None, lead)
        return
    place = database_place(config.portal.state)
    keys = keys_of(config.portal.state)
    async with AsyncExitStack() as stack:
        try:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="codemode-doctor-")))
            facts, url = await _facts(place, keys, folder)
        except OSError as error:
            unseen = (error.strerror or type(error).__name__).lower()
            yield DatabaseFacts(str(place), unseen=unseen), StoredLogins(None, lead, "see database")
            return
        if url is None or facts.schema != "current" or facts.keys_problem or not facts.keys_there:
            # The database's own finding says what is wrong.
            why = "see database" if facts.there and facts.schema != "none" else ""
            yield facts, StoredLogins(None, lead, why)
            return
        try:
            store = await stack.enter_async_context(Store.open(url, KeyRing.open(keys), lasting=False))
        except StateError as error:
            yield _with_problem(facts, error), StoredLogins(None, lead, "see database")
            return
        yield facts, StoredLogins(store, lead)


async def _facts(place: DatabasePlace, keys: Path, folder: Path) -> tuple[DatabaseFacts, str | None]:
    """The facts, and the URL at which the database can be read without changing it."""
    there, schema, problem, unseen, url, holder = False, None, "", "", None, None
    forbidden = place.file is not None and _is_forbidden(place.file)
    try:
        there = forbidden or await place.exists()
        if there and place.file is not None and not forbidden:
            holder = await lock_holder(place.file, LOCK_SECONDS)
            url = await _copied(place.file, folder / "copy.db")
        elif there and not forbidden:
            url = place.url
        if url is not None:
            schema = await schema_state(url)
    except StateUnavailable as error:
        # Of a server it is the trouble itself.
        problem, unseen = ("", str(error)) if place.file is not None else (str(error), "")
    except StateError as error:
        problem = str(error)
    keys_problem = ""
    keys_there = not _is_forbidden(keys) and keys.exists()
    if keys_there:
        try:
            KeyRing.open(keys)
        except KeysUnusable as error:
            keys_problem = str(error)
    disk = _disk(place.file) if place.file is not None else (None, "", "")
    found = DatabaseFacts(str(place), there, schema, problem, unseen, forbidden, str(keys), keys_there, keys_problem)
    return replace(found, free=disk[0], folder=disk[1], folder_problem=disk[2], holder=holder), url


async def _copied(file: Path, copy: Path) -> str:
    """The URL of a copy.

    Raises:
        StateError: it cannot be made.
    """
    await asyncio.to_thread(copy_sqlite, file, copy)
    return f"sqlite:///{copy}"


def _is_forbidden(file: Path) -> bool:
    """Whether this user may not read a file, or not even see whether it is there."""
    try:
        return file.exists() and not os.access(file, os.R_OK)
    except OSError:
        return True


def _disk(file: Path) -> tuple[int | None, str, str]:
    """The free bytes where a file is, its folder, and why nothing can be written there."""
    folder = file.absolute().parent
    existing = next(one for one in (folder, *folder.parents) if os.path.exists(one))
    problem = "" if os.access(existing, os.W_OK | os.X_OK) else "this user may not write into it"
    try:
        return shutil.disk_usage(existing).free, str(folder), problem
    except OSError:
        return None, str(folder), problem


def _with_problem(facts: DatabaseFacts, error: StateError) -> DatabaseFacts:
    if isinstance(error, KeysUnusable):
        return replace(facts, keys_problem=str(error))
    return replace(facts, schema=None, problem=str(error))


def database_findings(facts: DatabaseFacts | None) -> Iterator[Diagnosis]:
    """Everything about the database. Pure."""
    if facts is None:
        return
    about = "database"
    yield _schema(about, facts)
    if facts.there and facts.schema not in (None, "none"):
        yield _keys(about, facts)
    if facts.folder_problem:
        text = f"Nothing can be written into {facts.folder}: {facts.folder_problem}."
        yield trouble("database.disk", about, text, f"chown or chmod {facts.folder}, or name another `portal.state`")
    elif facts.free is not None:
        yield _room(about, facts.free, facts.folder)
    if facts.there and facts.holder is not None:
        text = (
            f"The process {facts.holder} has held the lock of {facts.place} for {LOCK_SECONDS:g} s: nobody can write."
        )
        yield trouble("database.lock", about, text, f"ps -p {facts.holder}, and end it if it is no portal")
    elif facts.there and facts.schema is not None:
        yield ok("database.lock", about, "Nobody holds its lock.")


def _schema(about: str, facts: DatabaseFacts) -> Diagnosis:
    if facts.forbidden:
        text = f"This user may not read {facts.place}."
        fix = "run codemode doctor as the user of the portal, or chown or chmod its folder and file"
        return trouble("database.schema", about, text, fix)
    if facts.unseen:
        text = f"{facts.place} was not looked into: {facts.unseen.rstrip('.')}."
        return notice("database.schema", about, text, "export TMPDIR=... to a folder with room for a copy of it")
    if facts.problem:
        text = f"{facts.place} cannot be read: {facts.problem.rstrip('.')}."
        fix = "restore it from a copy" if facts.folder else "start the server of the database"
        return trouble("database.schema", about, text, f"{fix}, or correct `portal.state`")
    if not facts.there or facts.schema == "none":
        return ok("database.schema", about, f"{facts.place} is not there yet; `codemode serve` makes it.")
    if facts.schema == "newer":
        text = f"{facts.place} was last used by a newer codemode."
        return trouble("database.schema", about, text, "use that version again, or a copy of it from before")
    if facts.schema == "older":
        text = f"{facts.place} is of an older version; `codemode serve` brings it up to date at its next start."
        return notice("database.schema", about, text, "keep a copy of it before you start this version")
    return ok("database.schema", about, f"{facts.place} is of this version.")


def _keys(about: str, facts: DatabaseFacts) -> Diagnosis:
    if not facts.keys_there:
        text = f"The key file {facts.keys} is not there: no secret in the database can be read."
        return trouble("database.keys", about, text, "restore it from a copy")
    if "chmod" in facts.keys_problem:
        text = f"The key file {facts.keys} can be read or written by others than its owner."
        return trouble("database.keys", about, text, f"chmod 600 {facts.keys}")
    if facts.keys_problem:
        return trouble("database.keys", about, f"{facts.keys_problem}.", "restore the key file from a copy")
    return ok("database.keys", about, f"Its keys are in {facts.keys}, for their owner alone.")


def _room(about: str, free: int, folder: str) -> Diagnosis:
    words = f"{free / 1024**3:.1f} GiB are free in {folder}."
    if free < LITTLE_ROOM:
        return trouble("database.disk", about, words, f"make room: du -xsh {folder}/*")
    if free < MORE_ROOM:
        return notice("database.disk", about, words, f"make room soon: du -xsh {folder}/*")
    return ok("database.disk", about, words)
