"""`codemode connect`: writes the portal into a client's own document, and takes it out again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from portal.app import state_home
from portal.cli.asking import confirm
from portal.cli.config_file import config_in_use
from portal.cli.exits import CommandError, Exit
from portal.cli.show.changes import edit_json, print_edits, print_restoring, print_sentences, short_path
from portal.cli.show.console import consoles
from portal.cli.this_portal import (
    PortalChoice,
    command_words,
    config_in,
    document_errors,
    endpoint,
    leads_here,
    our_document,
    this_machine,
)
from portal.clients import (
    CLIENTS,
    ClientFile,
    FoundClient,
    IsPortal,
    KeptChanges,
    Machine,
    PreparedConnection,
    PreparedImport,
    carry,
    client_named,
    find_clients,
    leading_here,
    prepare_connection,
    prepare_import,
    prepare_undo,
    project_file,
    read_client_file,
    servers_in,
    user_file,
    write_connection,
    write_undo,
)
from portal.config import Config
from portal.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """Options of `connect`. Without a `client` the clients of the machine are listed."""

    client: str | None
    config: Path | None
    choice: PortalChoice
    name: str | None = None
    stdio: bool = False
    project: bool = False
    move: bool = False
    undo: bool = False
    yes: bool = False
    dry_run: bool = False
    as_json: bool = False


async def connect(options: ConnectOptions) -> Exit:
    """Show what changes in the client's document, ask, and write it."""
    machine = this_machine()
    with document_errors():
        if options.client is None:
            return _list(options, machine)
        file = file_of(options.client, machine, project=options.project)
        if options.undo:
            return _undo(options, file, machine)
        _require_name(options.name)
        return _connect(options, file, machine)


def kept_changes() -> KeptChanges:
    """Where what clients had before is kept."""
    return KeptChanges(state_home() / "clients")


def file_of(named: str, machine: Machine, *, project: bool) -> ClientFile:
    """The document of the client of this name: the user's own, or that of the folder.

    Raises:
        CommandError: there is no such client, or it has none for a folder.
    """
    client = client_named(named)
    if client is None:
        known = ", ".join(one.id for one in CLIENTS)
        raise CommandError(f"There is no client {named!r} that is known here. Known: {known}.")
    if not project:
        return user_file(client, machine)
    file = project_file(client, machine)
    if file is None:
        raise CommandError(f"{client.title} has no document for a folder. Leave out --project.")
    return file


def _require_name(name: str | None) -> None:
    """Raises `CommandError` for a name that not every client takes."""
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise CommandError("--name: use up to 64 letters, digits, hyphens and underscores.")


def _connect(options: ConnectOptions, file: ClientFile, machine: Machine) -> Exit:
    stdout, stderr = consoles()
    config_file = _config_file(options, machine)
    config = config_in(config_file)
    needs_file = file.client.starts_programs_only or options.stdio
    if needs_file and config_file is None and options.choice.url is None:
        raise CommandError(
            f"{file.client.title} starts the portal itself, and needs a configuration for it: "
            "`codemode init` writes one, --config names one, and --url another portal."
        )
    here = leads_here(options.choice, config, config_file)
    prepared, imported = _prepared(options, file, machine, config_file, config, here)
    sentences = (*(imported.takeover.sentences if imported is not None else ()), *prepared.sentences)
    if not options.as_json:
        print_edits(stdout, prepared.edits)
        print_sentences(stderr, sentences)
    copy = None
    written = bool(prepared.edits) and not options.dry_run
    if written:
        if not confirm(f"Write {_named(prepared)}?", yes=options.yes):
            stderr.print("Nothing was written.")
            return Exit.OK
        copy = write_connection(prepared, kept_changes())
    if options.as_json:
        stdout.print_json(data=_json(prepared, sentences, written=written, copy=copy))
    else:
        running = "" if options.choice.url is not None or needs_file else _serving(config_file)
        _tell(stderr, prepared, options, copy, written=written, running=running)
    return Exit.OK


def _prepared(
    options: ConnectOptions,
    file: ClientFile,
    machine: Machine,
    config_file: Path | None,
    config: Config,
    here: IsPortal,
) -> tuple[PreparedConnection, PreparedImport | None]:
    imported = None
    if options.move:
        into = our_document(options.config, machine.folder)
        require_another_file(into, file)
        carried = [carry(one, machine) for one in servers_in(file, read_client_file(file, machine), machine)]
        imported = prepare_import(carried, into, machine, here)
        config_file = into
    prepared = prepare_connection(
        file,
        machine,
        endpoint(options.choice, config_file, config, command_words()),
        here,
        name=options.name,
        stdio=options.stdio,
        moved=imported.takeover if imported is not None else None,
        document=imported.edit if imported is not None else None,
    )
    return prepared, imported


def require_another_file(into: Path, file: ClientFile) -> None:
    """Servers move out of a client's document into another one.

    Raises:
        CommandError: it is the same file.
    """
    if into.resolve() == file.path.resolve():
        raise CommandError(f"{into} is the document of {file.client.title} itself. Name another file for the servers.")


def _config_file(options: ConnectOptions, machine: Machine) -> Path | None:
    """The configuration whose portal is meant, None if there is none."""
    if options.move:
        return our_document(options.config, machine.folder)
    if options.config is not None and not options.config.is_file():
        raise CommandError(f"There is no configuration file {options.config}.")
    return options.config or config_in_use(machine.folder, machine.environment)


def _tell(
    stderr: Console,
    prepared: PreparedConnection,
    options: ConnectOptions,
    copy: Path | None,
    *,
    written: bool,
    running: str,
) -> None:
    client, plan = prepared.file.client, prepared.plan
    if options.dry_run and prepared.edits:
        stderr.print("Nothing was written: this was a dry run.")
        return
    if not plan.edit.changes:
        text = f"{client.title} is connected already, as `{plan.name}` in {short_path(prepared.file.path)}."
        stderr.print(Text(text), soft_wrap=True)
        if not written:
            return
    else:
        text = f"{client.title} is connected, as `{plan.name}` in {short_path(prepared.file.path)}."
        stderr.print(Text(text, style="bold green"), soft_wrap=True)
    if copy is not None:
        stderr.print(Text(f"The former file is kept as {short_path(copy)}.", style="dim"), soft_wrap=True)
    flag = " --project" if prepared.file.scope == "project" else ""
    stderr.print(Text(f"`codemode connect {client.id}{flag} --undo` gives it back.", style="dim"), soft_wrap=True)
    if client.afterwards:
        stderr.print(Text(client.afterwards), soft_wrap=True)
    if running:
        stderr.print(Text(running), soft_wrap=True)


def _serving(config_file: Path | None) -> str:
    """What has to run for a client that reaches the portal by its URL."""
    first = (
        "" if config_file is not None else "`codemode init` writes the portal's configuration, which is not there yet. "
    )
    return f"{first}It reaches the portal while `codemode serve` runs."


def _named(prepared: PreparedConnection) -> str:
    return " and ".join(short_path(edit.content.path) for edit in prepared.edits)


def _json(
    prepared: PreparedConnection, sentences: tuple[str, ...], *, written: bool, copy: Path | None
) -> Mapping[str, object]:
    plan = prepared.plan
    return {
        "client": prepared.file.client.id,
        "scope": prepared.file.scope,
        "file": str(prepared.file.path),
        "name": plan.name,
        "entry": {name: value for name, value in plan.entry.items() if name in _SHOWN},
        "changed": written and plan.edit.changes,
        "written": written,
        "removed": [server.name for server in plan.removed],
        "edits": [edit_json(edit) for edit in prepared.edits],
        "copy": str(copy) if copy is not None else None,
        "notes": list(sentences),
    }


_SHOWN = {"type", "url", "httpUrl", "serverUrl", "command", "args"}


def _undo(options: ConnectOptions, file: ClientFile, machine: Machine) -> Exit:
    stdout, stderr = consoles()
    kept = kept_changes()
    prepared = prepare_undo(file, machine, kept)
    changing = [one for one in prepared.restoring if one.changes]
    if not options.as_json:
        print_restoring(stdout, changing)
        print_sentences(stderr, prepared.sentences)
    written = not options.dry_run
    if written:
        named = " and ".join(short_path(one.file.path) for one in changing)
        if changing and not confirm(f"Give {named} back?", yes=options.yes):
            stderr.print("Nothing was written.")
            return Exit.OK
        write_undo(prepared, kept)
    if options.as_json:
        stdout.print_json(
            data={
                "client": file.client.id,
                "file": str(file.path),
                "exact": prepared.exact,
                "written": written,
                "files": [str(one.file.path) for one in changing],
                "notes": list(prepared.sentences),
            }
        )
    elif not written:
        stderr.print("Nothing was written: this was a dry run.")
    else:
        how = "has the portal no more"
        if prepared.exact:
            how = "is as it was before codemode first changed it, byte for byte"
        if prepared.staying:
            how = f"keeps the entry `{prepared.staying}`, which somebody has changed"
        stderr.print(Text(f"{short_path(file.path)} {how}.", style="bold green"), soft_wrap=True)
    return Exit.OK


def _list(options: ConnectOptions, machine: Machine) -> Exit:
    if options.undo or options.move or options.name:
        raise CommandError(f"Name a client: {', '.join(client.id for client in CLIENTS)}.")
    stdout, stderr = consoles()
    config_file = _config_file(options, machine)
    try:
        config, problem = config_in(config_file), ""
    except ConfigError as error:
        # Which clients there are does not depend on it.
        config, problem = Config(), str(error)
    here = leads_here(options.choice, config, config_file)
    found = [(one, connected_as(one, machine, here)) for one in find_clients(machine)]
    if options.as_json:
        stdout.print_json(data={"clients": [_client_json(one, name) for one, name in found]})
        return Exit.OK
    if not found:
        stderr.print(
            Text(f"No MCP client was found. Known: {', '.join(client.title for client in CLIENTS)}."), soft_wrap=True
        )
        return Exit.OK
    table = Table("client", "connected", "other servers", "document", box=None, pad_edge=False, header_style="bold")
    for one, name in found:
        state = Text(f"as {name}", style="green") if name else Text("no", style="dim")
        if one.problem:
            state = Text("cannot be read", style="red")
        document = short_path(one.file.path) + ("" if one.there else " (not there yet)")
        table.add_row(one.client.id, state, str(len(one.servers) - (name is not None)), document)
    stdout.print(table)
    print_sentences(stderr, filter(None, (problem, *(one.problem for one, _ in found))))
    stderr.print(Text("`codemode connect CLIENT` connects one.", style="dim"))
    return Exit.OK


def connected_as(found: FoundClient, machine: Machine, here: IsPortal) -> str | None:
    """The name under which a client has this portal, None if it has not."""
    own = leading_here([carry(server, machine) for server in found.servers], here)
    return own[0].server.name if own else None


def _client_json(found: FoundClient, name: str | None) -> Mapping[str, object]:
    return {
        "client": found.client.id,
        "title": found.client.title,
        "scope": found.file.scope,
        "file": str(found.file.path),
        "there": found.there,
        "connected": name,
        "servers": [server.name for server in found.servers],
        "problem": found.problem or None,
    }
