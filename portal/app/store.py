"""The database of an instance, opened from its configuration."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from portal.config import Config
from portal.errors import StartError
from portal.state import Clock, StateError, utc_now

if TYPE_CHECKING:
    from portal.state import Store


def open_store(url: str | None, now: Clock = utc_now) -> Store:
    """The store of this URL; by default an SQLite file of this user. Its keys lie beside the file."""
    # A command whose configuration needs no database does not load one.
    from portal.state import KeyRing, Store

    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "codemode-portal"
    if url is None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        url = f"sqlite:///{home / 'state.db'}"
    file = url.partition(":///")[2].partition("?")[0] if url.startswith("sqlite") else ""
    keys = Path(file).with_suffix(".key") if file else home / "state.key"
    return Store.open(url, KeyRing.open(keys), clock=now)


@asynccontextmanager
async def store_of_pins(config: Config) -> AsyncIterator[Store | None]:
    """The database where approvals of pinned servers are, for a command that needs nothing else of it; None if no
    server of the document is pinned, or the approvals are in a file.

    Raises:
        StartError: the database cannot be used.
    """
    pinned = any(server.pin for server in config.servers.values())
    if not pinned or not config.portal.has_store:
        yield None
        return
    try:
        async with open_store(config.portal.state) as store:
            yield store
    except StateError as error:
        raise StartError(str(error)) from error
