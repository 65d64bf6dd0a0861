"""`codemode import`: takes over the servers that clients of this machine have, into a document of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from portal.cli.asking import confirm
from portal.cli.commands.connect import file_of, require_another_file
from portal.cli.exits import CommandError, Exit
from portal.cli.show.changes import edit_json, print_edits, print_sentences, short_path
from portal.cli.show.console import consoles
from portal.cli.this_portal import PortalChoice, config_in, document_errors, leads_here, our_document, this_machine
from portal.clients import (
    ClientFile,
    FoundClient,
    IsPortal,
    Machine,
    PreparedImport,
    carry,
    find_clients,
    look_at,
    prepare_import,
    read_client_file,
    servers_elsewhere,
    write_import,
)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of `import`. `into` is our document, `client` one client's name or None for all that are found."""

    client: str | None
    into: Path | None
    project: bool = False
    yes: bool = False
    dry_run: bool = False
    as_json: bool = False


async def import_servers(options: ImportOptions) -> Exit:
    """Show what comes into our document, ask, and write it."""
    stdout, stderr = consoles()
    machine = this_machine()
    with document_errors():
        into = our_document(options.into, machine.folder)
        here = leads_here(PortalChoice(), config_in(into), into)
        found, sentences = _found(options, machine, into, here)
        carried = [carry(server, machine) for one in found for server in one.servers]
        prepared = prepare_import(carried, into, machine, here)
        sentences += prepared.takeover.sentences
        if not options.as_json:
            print_edits(stdout, [prepared.edit] if prepared.edit.changes else [])
            print_sentences(stderr, sentences)
        written = prepared.edit.changes and not options.dry_run
        copy = None
        if written:
            if not confirm(f"Write {short_path(into)}?", yes=options.yes):
                stderr.print("Nothing was written.")
                return Exit.OK
            copy = write_import(prepared)
    if options.as_json:
        stdout.print_json(data=import_json(prepared, sentences, written=written, copy=copy))
        return Exit.OK
    stderr.print(Text(_outcome(prepared, options, written=written, none_found=not carried)), soft_wrap=True)
    if copy is not None:
        stderr.print(Text(f"The former file is kept as {short_path(copy)}.", style="dim"), soft_wrap=True)
    return Exit.OK


def import_json(
    prepared: PreparedImport, sentences: Sequence[str], *, written: bool, copy: Path | None
) -> Mapping[str, object]:
    """What was taken over, for a program. No entry is in it: entries have secrets."""
    takeover = prepared.takeover
    return {
        "file": str(prepared.edit.content.path),
        "written": written,
        "added": list(takeover.added),
        "servers": [
            {"client": server.file.client.id, "server": server.name, "name": name} for server, name in takeover.names
        ],
        "itself": [{"client": server.file.client.id, "server": server.name} for server in takeover.itself],
        "left": [{"client": server.file.client.id, "server": server.name, "why": why} for server, why in takeover.left],
        "edits": [edit_json(prepared.edit)] if prepared.edit.changes else [],
        "copy": str(copy) if copy is not None else None,
        "notes": list(sentences),
    }


def _found(options: ImportOptions, machine: Machine, into: Path, here: IsPortal) -> tuple[list[FoundClient], list[str]]:
    """The clients whose servers are taken over, and what to say about those whose are not.

    Raises:
        CommandError: the one that was named cannot be used.
    """
    if options.client is not None:
        file = file_of(options.client, machine, project=options.project)
        require_another_file(into, file)
        one = look_at(file, machine)
        if one.problem:
            raise CommandError(one.problem)
        if not one.there:
            raise CommandError(f"{file.client.title} has no document {short_path(file.path)}.")
        return [one], _elsewhere(file, machine)
    wanted = "project" if options.project else "user"
    found, sentences = list[FoundClient](), list[str]()
    for one in find_clients(machine):
        if into.resolve() == one.file.path.resolve():
            continue
        if one.file.scope != wanted:
            servers = [carry(server, machine) for server in one.servers] if one.file.scope == "project" else []
            if new := len(prepare_import(servers, into, machine, here).takeover.added):
                few = "one server" if new == 1 else f"{new} servers"
                it = "it" if new == 1 else "them"
                sentences.append(f"{short_path(one.file.path)} has {few} of this folder: --project takes {it} over.")
            continue
        if one.problem:
            sentences.append(one.problem)
            continue
        found.append(one)
        sentences += _elsewhere(one.file, machine)
    return found, sentences


def _elsewhere(file: ClientFile, machine: Machine) -> list[str]:
    """What is said about servers that a client has for other folders."""
    folders = servers_elsewhere(read_client_file(file, machine), machine) if file.scope == "user" else ()
    if not folders:
        return []
    shown = ", ".join(folders[:3]) + (f" and {len(folders) - 3} more" if len(folders) > 3 else "")
    return [f"{file.client.title} has servers of their own for {shown}: import there takes those over."]


def _outcome(prepared: PreparedImport, options: ImportOptions, *, written: bool, none_found: bool) -> str:
    into, count = short_path(prepared.edit.content.path), len(prepared.takeover.added)
    if none_found:
        return "No server of a client was found. `codemode connect` lists the clients."
    if not count:
        has_some = bool(prepared.takeover.names)
        return f"Nothing to do: {into} has them all already." if has_some else "No server could be taken over."
    servers = "One server" if count == 1 else f"{count} servers"
    if not written:
        return f"{servers} would be taken over into {into}. Nothing was written: this was a dry run."
    return f"{servers} taken over into {into}. `codemode serve` serves {'it' if count == 1 else 'them'}."
