"""`codemode plan`, `apply` and `export`: compare a declared file with the stored objects, apply it, write it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portal.admin import (
    Admin,
    AdminError,
    AdminSettings,
    Change,
    DeclaredError,
    Existing,
    Plan,
    apply_changes,
    create_admin,
    export_objects,
    plan,
    read_existing,
)
from portal.app import config_of_state, events_of_command
from portal.cli.database import open_database
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import must_exist
from portal.cli.show.console import as_json as as_json_text
from portal.cli.show.console import consoles
from portal.cli.show.progress import StepBar
from portal.config import Expansion, read_document
from portal.errors import ConfigError, InputError
from portal.runs import row_of_end
from portal.state import StateError, Store
from portal.yaml_text import yaml_text

MAX_FILE = 16 * 1024 * 1024
_SIGNS = {"make": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}


@dataclass(frozen=True, slots=True)
class DeclarationOptions:
    """Options of `plan` and `apply`. `state` is the URL of the database, which `create` makes if it is not there.

    Without `state` the database is that of the configuration, or else the user's own.
    """

    file: Path
    state: str | None = None
    config: Path | None = None
    prune: bool = False
    yes: bool = False
    as_json: bool = False
    create: bool = False


async def show_plan(options: DeclarationOptions) -> Exit:
    """Print what `apply` would do. The exit code is 1 if there are changes."""
    stdout, _ = consoles()
    declared = read_declaration(options.file)
    async with open_admin(options.state, options.config) as (_, store):
        changes_plan = make_plan(declared, await read_existing(store), options.prune)
    _show(stdout, changes_plan, options.as_json)
    return Exit.PROGRAM_FAILED if changes_plan.changes else Exit.OK


async def apply(options: DeclarationOptions) -> Exit:
    """Apply the file, after the person confirms. A running portal on this database applies the changes at once."""
    stdout, stderr = consoles()
    declared = read_declaration(options.file)
    async with open_admin(options.state, options.config, create=options.create, logged=True) as (admin, store):
        existing = await read_existing(store)
        changes_plan = make_plan(declared, existing, options.prune)
        if not options.as_json:
            _show(stdout, changes_plan, as_json=False)
        if changes_plan.changes and not options.yes and not _confirmed(stderr, len(changes_plan.changes)):
            raise CommandError("Nothing was changed. Say --yes to apply without being asked.")
        applied = 0
        try:
            with StepBar(stderr, "Applying") as bar:
                async for _ in apply_changes(admin, changes_plan.changes, existing):
                    applied += 1
                    bar.at(applied, len(changes_plan.changes))
        except (AdminError, StateError) as error:
            failed = changes_plan.changes[applied]
            done = f"{applied} of {len(changes_plan.changes)} changes were made before it"
            raise CommandError(f"{failed.section.name}.{failed.name}: {error} ({done}).") from error
    if options.as_json:
        stdout.print_json(data={"made": [_as_dict(change) for change in changes_plan.changes]})
    elif applied:
        stdout.print(f"Done: {_counted(applied, 'change')}.", highlight=False)
    return Exit.OK


async def export(output: Path | None, state: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """Write the stored objects as a file for `apply`, without secrets."""
    stdout, stderr = consoles()
    async with open_admin(state, config) as (_, store):
        try:
            document = export_objects(await read_existing(store))
        except DeclaredError as error:
            raise CommandError(str(error)) from error
    if as_json:
        text = as_json_text(document, indent=2) + "\n"
    else:
        text = yaml_text(document, width=110)
        text = f"# What is stored, without its secrets. `codemode plan` shows how a changed copy differs.\n{text}"
    if output is None:
        stdout.out(text, highlight=False, end="")
        return Exit.OK
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{output}: cannot be written: {error.strerror or error}.") from error
    stderr.print(f"Written: {output}", highlight=False)
    return Exit.OK


@asynccontextmanager
async def open_admin(
    state: str | None, config: Path | None, *, create: bool | None = None, logged: bool = False
) -> AsyncIterator[tuple[Admin, Store]]:
    """The admin API's operations and their store, without a portal. `create` as in `open_database`. Changes that are
    `logged` are rows of the portal's log, if it has one.

    Raises:
        CommandError: the database is not there or cannot be opened, or the configuration is not valid.
    """
    _, stderr = consoles()
    async with AsyncExitStack() as stack:
        opened = open_database(state, config, stderr, create=create)
        store, found = await stack.enter_async_context(opened)
        settings = AdminSettings()
        if logged:
            events = events_of_command(found or config_of_state(state))
            settings.events = await stack.enter_async_context(events)

        async def end_run(id: str, words: str) -> bool:
            if (ended := await store.runs.cancel(id, words)) is not None:
                settings.events.write(row_of_end(ended))
            return ended is not None

        yield await create_admin(store, settings=settings, end_run=end_run), store


def read_declaration(file: Path, environment: Mapping[str, str] = os.environ) -> object:
    """The document in a YAML or JSON file, with `${VAR}` expanded.

    Raises:
        CommandError: the file cannot be read, or a variable is not set.
    """
    must_exist(file)
    try:
        document, expansion = read_document(file, largest=MAX_FILE), Expansion(environment, file=str(file))
        if not isinstance(document, dict):
            return document
        return {name: expansion.expand(entries, str(name)) for name, entries in document.items()}
    except (InputError, ConfigError) as error:
        raise CommandError(str(error)) from error


def make_plan(declared: object, existing: list[Existing], prune: bool) -> Plan:
    """The changes that turn the existing objects into the declared ones. Raises `CommandError` if there is no way."""
    try:
        return plan(declared, existing, prune=prune)
    except DeclaredError as error:
        raise CommandError(str(error)) from error


def _show(stdout: Console, changes_plan: Plan, as_json: bool) -> None:
    if as_json:
        unmentioned = [{"section": one.section.name, "called": one.name} for one in changes_plan.unmentioned]
        stdout.print_json(
            data={"changes": [_as_dict(change) for change in changes_plan.changes], "unmentioned": unmentioned}
        )
        return
    for change in changes_plan.changes:
        sign, colour = _SIGNS[change.action]
        fields = f": {', '.join(change.fields)}" if change.action == "change" else ""
        stdout.print(Text(f"{sign} {change.section.name}.{change.name}{fields}", colour), soft_wrap=True)
    for one in changes_plan.unmentioned:
        line = f"  {one.section.name}.{one.name}: not in the file, and kept (--prune removes it)"
        stdout.print(Text(line, "dim"), soft_wrap=True)
    if not changes_plan.changes:
        stdout.print("Everything is as the file says.")


def _confirmed(stderr: Console, changes: int) -> bool:
    if not sys.stdin.isatty():
        return False
    answer = stderr.input(f"Apply {_counted(changes, 'change')}? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


def _as_dict(change: Change) -> dict[str, object]:
    return {
        "action": change.action,
        "section": change.section.name,
        "called": change.name,
        "fields": list(change.fields),
    }


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
