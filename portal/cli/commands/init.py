"""`codemode init`: from nothing, or from clients with servers, to a portal that these clients are connected to."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table
from rich.text import Text

from portal.cli.asking import can_ask, choose, confirm
from portal.cli.commands.connect import connected_as, kept_changes
from portal.cli.commands.importing import import_json
from portal.cli.exits import CommandError, Exit
from portal.cli.show.changes import edit_json, print_edits, print_sentences, short_path
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
    CarriedServer,
    FoundClient,
    IsPortal,
    Machine,
    PreparedConnection,
    PreparedImport,
    carry,
    find_clients,
    leading_here,
    plan_document,
    prepare_connection,
    prepare_import,
    write_connection,
    write_import,
)
from portal.config import HttpServer, ServerConfig, StdioServer

EXAMPLE_NAME = "shop"
_RUNNER = re.compile(r"(?:npx|bunx|uvx|pipx|node|deno|bun|python[0-9.]*)(?:\.exe|\.cmd)?$")
# The name of a package or of a module, or a path: no line of a shell, no URL, and nothing with a value in it.
_PLAIN = re.compile(r"[@./~A-Za-z][A-Za-z0-9_@./~-]{0,60}")


@dataclass(frozen=True, slots=True)
class InitOptions:
    """Options of `init`. `move`: connected clients keep only the portal; None asks."""

    config: Path | None = None
    move: bool | None = None
    yes: bool = False
    as_json: bool = False


async def init(options: InitOptions) -> Exit:
    """Ask what is taken over and what is connected, show what is written, and write it."""
    stdout, stderr = consoles()
    machine = this_machine()
    if not options.yes and not can_ask():
        raise CommandError("There is no terminal to ask at. Give --yes to take the defaults: all servers, all clients.")
    with document_errors():
        into = our_document(options.config, machine.folder)
        here = leads_here(PortalChoice(), config_in(into), into)
        found = [one for one in find_clients(machine) if one.file.path.resolve() != into.resolve()]
        print_sentences(stderr, [one.problem for one in found if one.problem])
        imported = _document(options, machine, found, into, here, stderr)
        connections = _connections(options, machine, found, imported, into, here, stderr)
        changing = [one for one in connections if one.edits]
        sentences = [*imported.takeover.sentences, *(text for one in connections for text in one.sentences)]
        edits = [*([imported.edit] if imported.edit.changes else []), *(edit for one in changing for edit in one.edits)]
        if not options.as_json:
            print_edits(stdout, edits)
            print_sentences(stderr, sentences)
        if edits:
            if not confirm(f"Write {_files(len(edits))}?", yes=options.yes):
                stderr.print("Nothing was written.")
                return Exit.OK
            if imported.edit.changes:
                write_import(imported)
            for one in changing:
                write_connection(one, kept_changes())
    if options.as_json:
        answer = import_json(imported, sentences, written=bool(edits), copy=None)
        connected = [{"client": one.file.client.id, "name": one.plan.name} for one in connections]
        stdout.print_json(data={**answer, "connected": connected, "edits": [edit_json(edit) for edit in edits]})
    else:
        _end(stderr, into, connections, options, wrote=bool(edits))
    return Exit.OK


def _document(
    options: InitOptions,
    machine: Machine,
    found: Sequence[FoundClient],
    into: Path,
    here: IsPortal,
    stderr: Console,
) -> PreparedImport:
    """Our document with the servers that are chosen, or with an example where there is none at all."""
    carried = [carry(server, machine) for one in found for server in one.servers]
    own = leading_here(carried, here)
    offered = [one for one in carried if one.entry is not None and one not in own]
    chosen = offered
    if offered and not options.yes:
        stderr.print(_servers(offered))
        numbers = choose("Which servers shall the portal serve?", len(offered), yes=False)
        chosen = [offered[number] for number in numbers]
    others = [one for one in carried if one.entry is None]
    prepared = prepare_import([*chosen, *others], into, machine, here)
    if prepared.takeover.added or prepared.takeover.names or _has_servers(into):
        return prepared
    example = {"command": sys.executable, "args": ["-m", "portal.demo.shop"], "description": "An example: a shop"}
    question = "There is no server yet. Write an example server?"
    added = {EXAMPLE_NAME: example} if confirm(question, yes=options.yes) else {}
    return PreparedImport(prepared.takeover, plan_document(prepared.edit.content, added, machine.environment))


def _has_servers(into: Path) -> bool:
    return bool(config_in(into).servers)


def _connections(
    options: InitOptions,
    machine: Machine,
    found: Sequence[FoundClient],
    imported: PreparedImport,
    into: Path,
    here: IsPortal,
    stderr: Console,
) -> list[PreparedConnection]:
    """The user's own documents of the clients that are chosen, with the portal in them."""
    clients = [one for one in found if one.file.scope == "user" and not one.problem]
    if not clients:
        return []
    if not options.yes:
        stderr.print(_clients(clients, machine, here))
    numbers = choose("Which clients shall be connected?", len(clients), yes=options.yes)
    move = options.move
    if move is None:
        question = "Leave only the portal in them, in place of the servers that it serves now?"
        asks = not options.yes and bool(numbers) and bool(imported.takeover.names)
        move = confirm(question, yes=False, default=False) if asks else False
    target = endpoint(PortalChoice(), into, config_in(into), command_words())
    moved = imported.takeover if move else None
    return [prepare_connection(clients[at].file, machine, target, here, moved=moved, into=into) for at in numbers]


def _servers(offered: Sequence[CarriedServer]) -> Table:
    table = Table("", "server", "of", "what it is", box=None, pad_edge=False, header_style="bold")
    for number, one in enumerate(offered, 1):
        table.add_row(str(number), Text(one.server.name), Text(one.server.title), Text(_what(one.config)))
    return table


def _what(config: ServerConfig | None) -> str:
    """Enough to know a server by, and nothing that may be a secret: the host of a URL, the program and what it runs."""
    if isinstance(config, HttpServer):
        parts = urlsplit(config.url)
        return f"{parts.scheme}://{parts.hostname or '...'}"
    if not isinstance(config, StdioServer):
        return ""
    program = Path(config.command).name
    # What these run is their first word. With other programs it may be anything.
    first = next((word for word in config.args if not word.startswith("-")), "") if _RUNNER.match(program) else ""
    return f"{program} {first}" if _PLAIN.fullmatch(first) else program


def _clients(clients: Sequence[FoundClient], machine: Machine, here: IsPortal) -> Table:
    table = Table("", "client", "connected", "document", box=None, pad_edge=False, header_style="bold")
    for number, one in enumerate(clients, 1):
        name = connected_as(one, machine, here)
        table.add_row(str(number), one.client.title, f"as {name}" if name else "no", Text(short_path(one.file.path)))
    return table


def _files(count: int) -> str:
    return "this file" if count == 1 else f"these {count} files"


def _end(
    stderr: Console, into: Path, connections: Sequence[PreparedConnection], options: InitOptions, *, wrote: bool
) -> None:
    """What there is now, and what to run next."""
    if not wrote:
        stderr.print(
            Text(f"Nothing to write: {short_path(into)} and the clients are as they should be."), soft_wrap=True
        )
    for one in connections:
        where = f"{one.file.client.title} has the portal as `{one.plan.name}`."
        afterwards = one.file.client.afterwards if one.plan.edit.changes else ""
        stderr.print(Text(f"{where} {afterwards}".rstrip(), style="green"), soft_wrap=True)
    by_url = [one for one in connections if "command" not in one.plan.entry]
    if connections and not by_url:
        stderr.print(Text("Nothing has to run: these clients start the portal themselves.", style="bold"))
        return
    named = "" if options.config is None else f" --config {short_path(into)}"
    stderr.print(Text(f"Next: codemode serve{named}", style="bold"))
    if any(one.plan.edit.changes for one in connections):
        stderr.print(Text("`codemode connect CLIENT --undo` gives a client's document back.", style="dim"))
