"""What every command that talks to upstream servers shares: the configuration, the running registry, one caller."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from codemode import Catalog
from portal.app import open_upstreams, store_of_pins
from portal.calls import Caller
from portal.cli.exits import CommandError, Exit
from portal.cli.find import find_config
from portal.config import Config, load_config
from portal.errors import ConfigError
from portal.logs import Discard, configure_logging
from portal.servers import Servers, Snapshot

SETTLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Session:
    """Connected servers and the one way to call them, for the length of a command."""

    config: Config
    servers: Servers
    caller: Caller
    snapshot: Snapshot

    @property
    def catalog(self) -> Catalog:
        return catalog_of(self.snapshot)


def catalog_of(snapshot: Snapshot) -> Catalog:
    return Catalog.build(snapshot.catalog_servers(), snapshot.unavailable(), snapshot.pending())


def read_config(named: Path | None, stderr: Console, *, quiet: bool = False) -> tuple[Path, Config]:
    """Find and read the configuration; says which one is used, because it may start programs on this machine."""
    file = find_config(named, Path.cwd(), os.environ)
    if named is None and not quiet:
        stderr.print(f"Using {_relative(file)}", style="dim", highlight=False)
    try:
        return file, load_config(file)
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from error


@asynccontextmanager
async def connected(config: Config, stderr: Console) -> AsyncIterator[Session]:
    """Start every configured server, wait until each is ready or has failed, and close them all at the end."""
    # What goes wrong with a server is said by the command itself, with the server's state.
    configure_logging(level="critical", terminal=stderr.is_terminal)
    async with store_of_pins(config) as store, open_upstreams(config, Discard(), store) as upstreams:
        servers = upstreams.servers
        with stderr.status(f"Connecting to {len(config.servers)} servers ..."):
            snapshot = await servers.settled(SETTLE_SECONDS)
        caller = Caller(servers, upstreams.records, observer=upstreams.learning)
        yield Session(config, servers, caller, snapshot)


def _relative(path: Path) -> str:
    try:
        return f"./{path.relative_to(Path.cwd())}"
    except ValueError:
        return str(path)
