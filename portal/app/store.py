"""The database of an instance, opened from its configuration."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from portal.config import Config, LogSection
from portal.credentials import may_log_in
from portal.errors import StartError
from portal.state import Clock, StateError, utc_now

if TYPE_CHECKING:
    from portal.logs import CallLog, LogPlace
    from portal.state import Store


@dataclass(frozen=True, slots=True)
class DatabasePlace:
    """Where a database is. `file` is that of SQLite, None for a database server."""

    url: str = field(repr=False)
    file: Path | None

    def __str__(self) -> str:
        """For people: the path of the file, or the server and the name of the database, without user and password."""
        if self.file is not None:
            return str(self.file.absolute())
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    async def exists(self) -> bool:
        """Whether it is there, so that opening makes nothing: the file, or the tables of a portal on a server.

        Raises:
            StateError: the server cannot be asked.
        """
        if self.file is not None:
            return self.file.exists()
        from portal.state import Store

        return await Store.is_made(self.url)


def database_place(url: str | None) -> DatabasePlace:
    """The place of the database of this URL; by default an SQLite file of this user."""
    url = url or f"sqlite:///{state_home() / 'state.db'}"
    file = url.partition(":///")[2].partition("?")[0] if url.startswith("sqlite") else ""
    return DatabasePlace(url, Path(file) if file else None)


def open_store(url: str | None, now: Clock = utc_now, *, lasting: bool = True) -> Store:
    """The store at `database_place(url)`, which is made if it is not there. Its keys lie beside the file. That of a
    command is not `lasting`."""
    # A command whose configuration needs no database does not load one.
    from portal.state import KeyRing, Store

    place, home = database_place(url), state_home()
    if url is None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = place.file.with_suffix(".key") if place.file is not None else home / "state.key"
    return Store.open(place.url, KeyRing.open(keys), clock=now, lasting=lasting)


def log_place(config: Config) -> LogPlace | None:
    """Where the log of this configuration is, None if it has none: beside the database, or where the document says. The
    journals and the key are beside a file; for a server they are in this user's folder."""
    if not config.portal.has_log:
        return None
    # A command whose configuration has no log does not load one.
    from portal.logs import LogPlace

    section = config.portal.logs
    if section is not None and section.database is not None:
        place = database_place(section.database)
    else:
        place = database_place(config.portal.state)
        if place.file is not None:
            file = place.file.with_name(f"{place.file.stem}-logs.db")
            place = DatabasePlace(f"sqlite:///{file}", file)
    if place.file is not None:
        return LogPlace(url=place.url, folder=place.file.parent, name=place.file.stem)
    # One folder may have the journals of several databases.
    return LogPlace(url=place.url, folder=state_home(), name=f"logs-{sha256(str(place).encode()).hexdigest()[:12]}")


@asynccontextmanager
async def open_log(config: Config, settings: Callable[[], LogSection | None]) -> AsyncIterator[CallLog | None]:
    """The log of this configuration until the block ends, None if it has none. `settings` are those in force.

    Raises:
        StartError: it cannot be used.
    """
    place = log_place(config)
    if place is None:
        yield None
        return
    from portal.logs import CallLog, JournalUnusable, LogKeyUnusable, LogSettings, LogUnusable

    def in_force() -> LogSettings:
        section = settings() or LogSection()
        return LogSettings(keep_days=section.keep_days, when_full=section.when_full)

    async with AsyncExitStack() as stack:
        try:
            log = await stack.enter_async_context(CallLog.open(place, in_force))
        except (LogUnusable, JournalUnusable, LogKeyUnusable, OSError) as error:
            raise StartError(f"the log cannot be used: {error}") from error
        yield log


def state_home() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "codemode-portal"


@asynccontextmanager
async def store_for_calls(config: Config) -> AsyncIterator[Store | None]:
    """The database for a command that calls servers: it has the approvals of pinned servers, and the logins. None if
    the configuration has none, or nothing in it concerns the servers of the document.

    If the portal has not made its database yet, a temporary one is in its place: what the servers offer is approved for
    this command alone.

    Raises:
        StartError: the database cannot be used.
    """
    pinned = any(server.pin for server in config.servers.values())
    place = database_place(config.portal.state)
    if not config.portal.has_store or not (pinned or any(map(may_log_in, config.servers.values()))):
        yield None
        return
    try:
        there = await place.exists()
        if not there and not pinned:
            yield None
            return
        with TemporaryDirectory(prefix="codemode-") as folder:
            url = place.url if there else f"sqlite:///{folder}/state.db"
            async with open_store(url, lasting=False) as store:
                yield store
    except StateError as error:
        raise StartError(str(error)) from error
