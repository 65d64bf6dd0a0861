"""Finds the database of a command: the one that is named, else that of the configuration, else the user's own.

No command makes a database unasked: a name that is mistyped would be a new one, and what is written there would be
missing where it belongs. `codemode serve` makes that of its configuration; the commands with --create make one too.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console

from portal.app import DatabasePlace, database_place, open_store
from portal.cli.config_file import config_in_use
from portal.cli.exits import CommandError
from portal.cli.session import load
from portal.cli.show.progress import WaitLine
from portal.config import Config
from portal.state import StateError, StateUnavailable

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
    state: str | None, config: Path | None, stderr: Console, *, create: bool | None = None
) -> AsyncIterator[tuple[Store, Config | None]]:
    """The open store of `find_database`, and its configuration if there is one. Says which database it is.

    `create` is for a command that makes something: whether it was asked to make the database too. For the others
    (None) one that was named and is not there is empty.

    Raises:
        CommandError: there is none, or it cannot be opened.
    """
    found = find_database(state, config, stderr)
    with state_errors(), TemporaryDirectory(prefix="codemode-") as folder:
        there = await found.place.exists()
        if not there and not create and (create is False or not found.named):
            raise CommandError(no_database(found.place, can_create=create is not None))
        if state is None:
            say_database(found.place, stderr, there=there)
        if create and found.place.file is not None:
            found.place.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = there or bool(create)
        url = found.place.url if made else f"sqlite:///{folder}/state.db"
        async with AsyncExitStack() as stack:
            with WaitLine(stderr, "Opening the database ..."):
                store = await stack.enter_async_context(open_store(url, lasting=False))
            yield store, found.config
    if state is not None:
        # Only now: who named it knows which it is, and an error is one line.
        say_database(found.place, stderr, there=made)


@contextmanager
def state_errors() -> Iterator[None]:
    """Says an error of the database as one of the command."""
    try:
        yield
    except StateUnavailable as error:
        what = "This was not done." if error.ran == "no" else "This may have been done: look before you repeat it."
        raise CommandError(f"{error}. {what} Try again when it answers.") from error
    except StateError as error:
        raise CommandError(str(error)) from error


def no_database(place: DatabasePlace, *, can_create: bool = False) -> str:
    """What to say where there is none. `can_create`: the command has the option --create."""
    made = "`codemode serve` makes it when people sign in at the portal"
    if can_create:
        made += ", and this command does with --create"
    absent = f"There is no database at {place} yet" if place.file is not None else f"{place} has no portal in it yet"
    return f"{absent}: {made}. Name another with --state, or its configuration with --config."


def say_database(place: DatabasePlace, stderr: Console, *, there: bool) -> None:
    """Print which database it is."""
    absent = "" if there else " (not there yet)" if place.file is not None else " (no portal in it yet)"
    stderr.print(f"Database: {place}{absent}", style="dim", highlight=False, markup=False, soft_wrap=True)
