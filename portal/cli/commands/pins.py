"""`codemode pins`: shows and approves the new and changed definitions of pinned servers."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portal.app import database_place
from portal.cli.database import no_database, say_database, state_errors
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import meant
from portal.cli.session import connect, read_config
from portal.cli.show.console import consoles
from portal.config import Config
from portal.pins import NotPending, PendingDefinition, PinsUnusable, describe_changes, select_pending
from portal.servers import ServerSnapshot

DIGEST_CHARS = 12


async def list_pending(config: Path | None, *, as_json: bool) -> Exit:
    """Print all pending definitions with their changes. The exit code is 1 if there are any, 3 if a server does not
    answer.
    """
    stdout, stderr = consoles()
    _, document = read_config(config, stderr, quiet=as_json)
    await _say_place(document, stderr, quiet=as_json)
    async with connect(document, stderr) as session:
        servers = [server for server in session.snapshot.servers.values() if server.config.pin]
    if as_json:
        stdout.print_json(
            data={"servers": {server.id: [_as_json(one) for one in server.pending] for server in servers}}
        )
    else:
        _print(servers, stdout)
    for server in servers:
        if not server.listed:
            stderr.print(Text(f"Server {server.id} is not available: {server.absence}", style="yellow"), soft_wrap=True)
    if any(server.pending for server in servers):
        return Exit.PROGRAM_FAILED
    return Exit.OK if all(server.listed for server in servers) else Exit.UPSTREAM


async def approve(server_id: str, names: Sequence[str], config: Path | None, *, as_json: bool) -> Exit:
    """Approve pending definitions of a server, all or by name, as they are now."""
    stdout, stderr = consoles()
    _, document = read_config(config, stderr, quiet=as_json)
    await _say_place(document, stderr, quiet=as_json)
    async with connect(document, stderr) as session:
        server = session.snapshot.servers.get(server_id)
        if server is None or not server.config.pin:
            pinned = [one.id for one in session.snapshot.servers.values() if one.config.pin]
            raise CommandError(f"There is no pinned server {server_id!r}. {meant(server_id, pinned)}")
        if not server.listed:
            raise CommandError(f"Server {server_id} is not available: {server.absence}", Exit.UPSTREAM)
        try:
            selected = select_pending(server.pending, names)
            if selected:
                await session.servers.approve(server_id, selected, by=f"command line: {getpass.getuser()}")
        except NotPending as error:
            raise CommandError(f"{server_id}: {error}. `codemode pins` lists what waits.") from error
        except PinsUnusable as error:
            raise CommandError(str(error)) from error
    if as_json:
        stdout.print_json(data={"approved": [_as_json(one) for one in selected]})
    elif not selected:
        stdout.print(f"Nothing of {server_id} waits for approval.", highlight=False)
    else:
        stdout.print(Text(f"Approved, {server_id}:", style="bold"))
        _print_each(selected, stdout)
    return Exit.OK


async def _say_place(document: Config, stderr: Console, *, quiet: bool) -> None:
    """Print which database the approvals are in, if they are not in a file.

    Raises:
        CommandError: the database is not there yet.
    """
    if not document.portal.has_store or not any(server.pin for server in document.servers.values()):
        return
    place = database_place(document.portal.state)
    with state_errors():
        if not await place.exists():
            raise CommandError(no_database(place))
    if not quiet:
        say_database(place, stderr, there=True)


def _print(servers: Sequence[ServerSnapshot], stdout: Console) -> None:
    if not servers:
        stdout.print('No server is pinned. Write `"pin": true` into the entry of one.', highlight=False, markup=False)
    for server in servers:
        if not server.pending:
            stdout.print(f"{server.id}: nothing waits for approval.", highlight=False)
            continue
        stdout.print(Text(f"{server.id}: {len(server.pending)} wait for approval", style="bold"))
        _print_each(server.pending, stdout)
        stdout.print(Text(f"  codemode pins approve {server.id}", style="dim"))


def _print_each(pending: Iterable[PendingDefinition], stdout: Console) -> None:
    for definition in pending:
        head = Text.assemble(
            "  ", (definition.name, "bold"), f"@{definition.digest[:DIGEST_CHARS]}", (f"  {definition.kind}", "dim")
        )
        stdout.print(head, soft_wrap=True)
        for words in describe_changes(definition):
            stdout.print(Text(f"      {words}"), soft_wrap=True)


def _as_json(definition: PendingDefinition) -> Mapping[str, object]:
    return {
        "kind": definition.kind,
        "name": definition.name,
        "digest": definition.digest,
        "new": definition.is_new,
        "what": describe_changes(definition),
    }
