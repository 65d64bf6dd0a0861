"""The configuration, connected servers and caller of a command that calls upstream servers."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from codemode import Catalog
from portal.app import OwnAddress, flow_settings, open_upstreams, store_for_calls, without_itself
from portal.calls import Caller
from portal.cli.config_file import find_config
from portal.cli.exits import CommandError, Exit
from portal.cli.known_names import keep_tools
from portal.cli.show.progress import WaitLine
from portal.config import Config, load_config
from portal.errors import ConfigError
from portal.flows import Flows
from portal.logs import Discard, configure_logging
from portal.servers import Servers, Snapshot
from portal.state import utc_now

SETTLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class CommandSession:
    """The connected servers of one command, their snapshot, and a caller for them."""

    config: Config
    servers: Servers
    caller: Caller
    snapshot: Snapshot

    @property
    def catalog(self) -> Catalog:
        return catalog_of(self.snapshot)


def catalog_of(snapshot: Snapshot) -> Catalog:
    """The catalog of a snapshot, as a program sees it."""
    return snapshot.catalog()


def read_config(
    named: Path | None,
    stderr: Console,
    *,
    quiet: bool = False,
) -> tuple[Path, Config]:
    """The file and the configuration in it, without servers that lead back to the portal of that configuration.

    If no file is named, the one that is found is printed: a configuration may start programs on this machine. Printed
    is also what of the configuration is passed over or left out.

    Raises:
        CommandError: there is no configuration, or it is not valid.
    """
    file, config = load(named, stderr, quiet=quiet)
    config = usable(config, file=file)
    print_notes(config.notes, file, stderr)
    return file, config


def load(named: Path | None, stderr: Console, *, quiet: bool = False) -> tuple[Path, Config]:
    """The file and the configuration in it. If no file is named, the one that is found is printed.

    Raises:
        CommandError: there is no configuration, or it is not valid.
    """
    file = find_config(named, Path.cwd(), os.environ)
    if named is None and not quiet:
        stderr.print(f"Using {_relative(file)}", style="dim", highlight=False)
    try:
        return file, load_config(file)
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from error


def usable(config: Config, host: str | None = None, port: int | None = None, file: Path | None = None) -> Config:
    """The configuration without servers that lead back to the portal of that configuration; a note names them.

    `host` and `port` are where the portal listens if not where the configuration says, `file` is the document's own.
    """
    return without_itself(config, OwnAddress.of(config, host, port, (socket.gethostname(),), document=file))


def print_notes(notes: Sequence[str], file: Path, stderr: Console) -> None:
    """Print what of a configuration is passed over or left out."""
    for note in notes:
        stderr.print(Text(f"{_relative(file)}: {note}", style="yellow"), soft_wrap=True)


@asynccontextmanager
async def connect(
    config: Config, stderr: Console, *, quiet: bool = False, file: Path | None = None
) -> AsyncIterator[CommandSession]:
    """Connect every configured server, and wait until each is ready or has failed. All are closed at the end.

    A terminal sees that it is waited for, unless the command is to be `quiet`. The names of the tools are kept for
    completion beside those of `file`, from which the configuration is.

    The document's data-flow rules hold within a program. What one command has read is nothing to the next one.
    """
    # No log lines: the command itself prints the state of each server.
    configure_logging(level="critical", terminal=stderr.is_terminal)
    async with store_for_calls(config) as store, open_upstreams(config, Discard(), store) as upstreams:
        servers = upstreams.servers
        number = len(config.servers)
        with WaitLine(stderr, f"Connecting to {number} server{'' if number == 1 else 's'} ...", quiet=quiet):
            snapshot = await servers.settled(SETTLE_SECONDS)
        if file is not None:
            catalog = snapshot.catalog()
            listed = {server.id: tuple(catalog.paths(server.id)) for server in catalog.servers}
            keep_tools(file, listed, os.environ)
        flows = Flows(utc_now)
        flows.settings = flow_settings(config)
        caller = Caller(servers, upstreams.records, observer=upstreams.learning, flows=flows)
        yield CommandSession(config, servers, caller, snapshot)


def _relative(path: Path) -> str:
    try:
        return f"./{path.relative_to(Path.cwd())}"
    except ValueError:
        return str(path)
