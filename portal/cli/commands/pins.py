"""`codemode pins`: what waits for approval at pinned servers, and approving it."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portal.cli.exits import CommandError, Exit
from portal.cli.session import connected, read_config
from portal.cli.show.console import consoles
from portal.pins import NotPending, PendingDefinition, PinsUnusable, describe_changes, select_pending
from portal.servers import ServerSnapshot

DIGEST_CHARS = 12


async def waiting(config: Path | None, *, as_json: bool) -> Exit:
    """Everything that waits, with the differences in words; 1 when there is anything, 3 when a server is silent."""
    stdout, stderr = consoles()
    _, document = read_config(config, stderr, quiet=as_json)
    async with connected(document, stderr) as session:
        servers = [server for server in session.snapshot.servers.values() if server.config.pin]
    if as_json:
        stdout.print_json(
            data={"servers": {server.id: [_as_json(one) for one in server.pending] for server in servers}}
        )
    else:
        _print(servers, stdout)
    for server in servers:
        if not server.listed:
            reason = server.reason or "still connecting"
            stderr.print(Text(f"Server {server.id} is not available: {reason}", style="yellow"), soft_wrap=True)
    if any(server.pending for server in servers):
        return Exit.PROGRAM_FAILED
    return Exit.OK if all(server.listed for server in servers) else Exit.UPSTREAM


async def approve(server_id: str, names: Sequence[str], config: Path | None, *, as_json: bool) -> Exit:
    """Approve what waits at a server, all or by name, as it is at this moment."""
    stdout, stderr = consoles()
    _, document = read_config(config, stderr, quiet=as_json)
    async with connected(document, stderr) as session:
        server = session.snapshot.servers.get(server_id)
        if server is None or not server.config.pin:
            pinned = ", ".join(one.id for one in session.snapshot.servers.values() if one.config.pin) or "none"
            raise CommandError(f"There is no pinned server {server_id!r}; pinned are: {pinned}.")
        if not server.listed:
            raise CommandError(f"Server {server_id} is not available: {server.reason}", Exit.UPSTREAM)
        try:
            meant = select_pending(server.pending, names)
            if meant:
                await session.servers.approve(server_id, meant, by=f"command line: {getpass.getuser()}")
        except NotPending as error:
            raise CommandError(f"{server_id}: {error}. `codemode pins` lists what waits.") from error
        except PinsUnusable as error:
            raise CommandError(str(error)) from error
    if as_json:
        stdout.print_json(data={"approved": [_as_json(one) for one in meant]})
    elif not meant:
        stdout.print(f"Nothing of {server_id} waits for approval.", highlight=False)
    else:
        stdout.print(Text(f"Approved, {server_id}:", style="bold"))
        _print_each(meant, stdout)
    return Exit.OK


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


def _print_each(withheld: Iterable[PendingDefinition], stdout: Console) -> None:
    for waits in withheld:
        head = Text.assemble("  ", (waits.name, "bold"), f"@{waits.digest[:DIGEST_CHARS]}", (f"  {waits.kind}", "dim"))
        stdout.print(head, soft_wrap=True)
        for words in describe_changes(waits):
            stdout.print(Text(f"      {words}"), soft_wrap=True)


def _as_json(waits: PendingDefinition) -> Mapping[str, object]:
    return {
        "kind": waits.kind,
        "name": waits.name,
        "digest": waits.digest,
        "new": waits.is_new,
        "what": describe_changes(waits),
    }
