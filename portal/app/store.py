"""The database of an instance, opened from its configuration."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from portal.config import Config, ContentsSection, LogSection, parse_config
from portal.credentials import may_log_in
from portal.errors import StartError
from portal.logs import NO_EVENTS, EventLog, EventSink
from portal.state import Clock, StateError, utc_now

if TYPE_CHECKING:
    from portal.logs import CallLog, ContentLog, ContentSettings, LogPlace, LogSettings
    from portal.state import KeyRing, Store


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

    if url is None:
        state_home().mkdir(mode=0o700, parents=True, exist_ok=True)
    return Store.open(database_place(url).url, KeyRing.open(keys_of(url)), clock=now, lasting=lasting)


def keys_of(url: str | None) -> Path:
    """The file with the keys of the database of this URL."""
    place = database_place(url)
    return place.file.with_suffix(".key") if place.file is not None else state_home() / "state.key"


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


def process_logs_folder(config: Config) -> Path | None:
    """Where what the processes of servers write is kept: beside the database, else in this user's folder, by the file
    of the configuration. None for a configuration that has neither."""
    if config.portal.has_store:
        place = database_place(config.portal.state)
        if place.file is not None:
            return place.file.absolute().with_name(f"{place.file.stem}-servers")
        return state_home() / "servers" / sha256(str(place).encode()).hexdigest()[:12]
    if config.file is None:
        return None
    file = config.file.resolve()
    # The name of the folder is for people: half of all configurations are called alike.
    return state_home() / "servers" / f"{file.parent.name[:40]}-{sha256(str(file).encode()).hexdigest()[:12]}"


@asynccontextmanager
async def open_log(config: Config, given: Callable[[], LogSection | None]) -> AsyncIterator[CallLog | None]:
    """The log of this configuration until the block ends, None if it has none. `given` is the section in force.

    Raises:
        StartError: it cannot be used.
    """
    place = log_place(config)
    if place is None:
        yield None
        return
    from portal.logs import CallLog, JournalUnusable, LogKeyUnusable, LogUnusable

    async with AsyncExitStack() as stack:
        try:
            log = await stack.enter_async_context(CallLog.open(place, lambda: log_settings(given())))
        except (LogUnusable, JournalUnusable, LogKeyUnusable, OSError) as error:
            raise StartError(f"the log cannot be used: {error}") from error
        yield log


@asynccontextmanager
async def open_contents(
    config: Config, log: CallLog | None, settings: Callable[[], LogSection | None]
) -> AsyncIterator[ContentLog | None]:
    """What keeps the contents of calls in this log until the block ends; None without a log, or without a database
    whose keys seal them. `settings` are those in force.

    Raises:
        StartError: the keys cannot be used.
    """
    if log is None or not config.portal.has_store:
        yield None
        return
    from portal.logs import ContentLog
    from portal.state import KeyRing, KeysUnusable

    try:
        keys = KeyRing.open(keys_of(config.portal.state))
    except KeysUnusable as error:
        raise StartError(f"the log cannot keep contents: {error}") from error
    async with ContentLog(log.database, keys, _ContentsInForce(settings)) as contents:
        yield contents


class _ContentsInForce:
    """The settings of contents that are in force: made again when the section is another."""

    def __init__(self, given: Callable[[], LogSection | None]) -> None:
        self._given = given
        self._section: ContentsSection | None = None
        self._settings = content_settings(None)

    def __call__(self) -> ContentSettings:
        logs = self._given()
        section = logs.contents if logs is not None else None
        if section is not self._section:
            self._section, self._settings = section, content_settings(section)
        return self._settings


def log_settings(section: LogSection | None) -> LogSettings:
    """How long the log keeps what, and what it does when it is full, with this section of the configuration."""
    from portal.logs import LogSettings

    section = section or LogSection()
    settings = LogSettings(keep_days=section.keep_days, sums_days=section.keep_sums_days, when_full=section.when_full)
    return settings if section.contents is None else replace(settings, content_days=section.contents.keep_days)


def content_settings(section: ContentsSection | None) -> ContentSettings:
    """What is kept of which calls."""
    from portal.logs import ContentRule, ContentSettings, Masks

    if section is None:
        return ContentSettings()
    rules = [ContentRule(one.server, one.tools, one.arguments, one.results) for one in section.calls]
    return ContentSettings(rules, Masks.of(section.mask), section.max_bytes, section.programs)


async def rewrap_kept(config: Config, keys: KeyRing, kid: str) -> int:
    """Put the contents in the log of this configuration, if it has any, under the key of this id. How many.

    Raises:
        StartError: the log cannot be used.
    """
    place = log_place(config)
    if place is None or not place.key.exists():
        return 0
    from portal.logs import LogDatabase, LogUnavailable, LogUnusable, rewrap_contents

    database, done = LogDatabase(place.url), 0
    try:
        await database.open(make=False)
        while some := await database.write(partial(rewrap_contents, keys=keys, kid=kid)):
            done += some
    except (LogUnusable, LogUnavailable) as error:
        raise StartError(f"what the log keeps of calls is not under the new key: {error}") from error
    finally:
        await database.close()
    return done


def config_of_state(url: str | None) -> Config:
    """The configuration of a portal of which only the database is known: its log is beside that."""
    return parse_config({"mcpServers": {}, "portal": {"state": database_place(url).url}}, env={})


@asynccontextmanager
async def events_of_command(config: Config) -> AsyncIterator[EventSink]:
    """Takes the events of a command for the log of this configuration, if a portal has made one.

    Raises:
        StartError: it cannot be used.
    """
    place = log_place(config)
    if place is None or not place.key.exists():
        yield NO_EVENTS
        return
    async with open_log(config, lambda: config.portal.logs) as log:
        assert log is not None, "it has a place"
        async with EventLog(log) as events:
            yield events


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
