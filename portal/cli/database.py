"""Finds the database of a command: the one that is named, else that of the configuration, else the user's own.

A database is made only by a command that writes to it, and only if somebody wrote where it is to be: in --state, or in
`portal.state` of the configuration that --config names.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console

from portal.app import DatabasePlace, database_place, open_store
from portal.cli.config_file import config_in_use
from portal.cli.exits import CommandError
from portal.cli.session import load
from portal.config import Config
from portal.state import StateError

if TYPE_CHECKING:
    from portal.state import Store


@dataclass(frozen=True, slots=True)
class CommandDatabase:
    """The database of a command. `config` is the configuration that was named, or whose database it is.

    `named`: somebody wrote where it is to be.
    """

    place: DatabasePlace
    config: Config | None
    named: bool


def find_database(state: str | None, config: Path | None, stderr: Console) -> CommandDatabase:
    """The database of the URL `state`, else of the configuration (named, or found as other commands find it), else the
    user's own.

    Raises:
        CommandError: the configuration has none, or cannot be used.
    """
    if state is not None:
        return CommandDatabase(database_place(state), None if config is None else load(config, stderr)[1], named=True)
    if config is None and config_in_use(Path.cwd(), os.environ) is None:
        return CommandDatabase(database_place(None), None, named=False)
    file, found = load(config, stderr)
    if not found.portal.has_store:
        raise CommandError(
            f"{file} has no database: it has neither `portal.state` nor `portal.identity`. "
            "Name another configuration with --config, or a database with --state."
        )
    named = config is not None and found.portal.state is not None
    return CommandDatabase(database_place(found.portal.state), found, named)


@asynccontextmanager
async def open_database(
    state: str | None, config: Path | None, stderr: Console, *, writing: bool = False
) -> AsyncIterator[tuple[Store, Config | None]]:
    """The open store of `find_database`, and its configuration if there is one. Says which database it is.

    A database that was named and is not there is made for a command that is `writing`, and empty for any other.

    Raises:
        CommandError: there is none, or it cannot be opened.
    """
    found = find_database(state, config, stderr)
    there = found.place.exists()
    if not there and not found.named:
        raise CommandError(no_database(found.place))
    if state is None:
        say_database(found.place, stderr)
    with TemporaryDirectory(prefix="codemode-") as folder:
        try:
            async with open_store(found.place.url if there or writing else f"sqlite:///{folder}/state.db") as store:
                yield store, found.config
        except StateError as error:
            raise CommandError(str(error)) from error
    if state is not None:
        # Only now: who named it knows which it is, and an error is one line.
        say_database(found.place, stderr)


def no_database(place: DatabasePlace) -> str:
    return (
        f"There is no database at {place} yet: `codemode serve` makes it when people sign in at the portal. "
        "Name another with --state, or its configuration with --config."
    )


def say_database(place: DatabasePlace, stderr: Console) -> None:
    """Print which database it is."""
    absent = "" if place.exists() else " (not there yet)"
    stderr.print(f"Database: {place}{absent}", style="dim", highlight=False, markup=False, soft_wrap=True)
