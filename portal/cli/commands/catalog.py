"""`codemode tools`, `search` and `describe`: what there is to call, as a program sees it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from codemode import Catalog, CatalogError
from portal.cli.exits import CommandError, Exit
from portal.cli.session import connected, read_config
from portal.cli.show.console import consoles
from portal.cli.show.listing import search_results, servers_table, tools_table, typescript, withheld_table
from portal.servers import ServerSnapshot, Snapshot


async def tools(server: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """Servers with state and reason, then their tools; 3 when a server does not answer."""
    stdout, stderr = consoles()
    _, document = read_config(config, stderr, quiet=as_json)
    async with connected(document, stderr) as session:
        snapshot, catalog = session.snapshot, session.catalog
    shown = _chosen(snapshot, server)
    if as_json:
        stdout.print_json(data={"servers": [_as_json(one, catalog) for one in shown]})
    else:
        _print_tools(shown, catalog, stdout)
    return Exit.UPSTREAM if any(one.state == "error" for one in shown) else Exit.OK


async def search(query: str, limit: int, server: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """Ranked tools for some words; the same search a program has as `codemode.search`."""
    stdout, stderr = consoles()
    _, document = read_config(config, stderr, quiet=as_json)
    async with connected(document, stderr) as session:
        _warn_of_silent(session.snapshot, stderr)
        try:
            results = session.catalog.search(query, limit, server, full=True)
        except CatalogError as error:
            raise CommandError(str(error)) from error
    if as_json:
        stdout.print_json(data=results)
    elif results:
        stdout.print(search_results(results))
    else:
        stderr.print(f"No tool matches {query!r}.", highlight=False)
    return Exit.OK


async def describe(path: str, config: Path | None) -> Exit:
    """The TypeScript declarations of a tool or of a whole server."""
    stdout, stderr = consoles()
    _, document = read_config(config, stderr)
    async with connected(document, stderr) as session:
        _warn_of_silent(session.snapshot, stderr)
        try:
            text = session.catalog.describe(path, full=True)
        except CatalogError as error:
            raise CommandError(str(error)) from error
    if stdout.is_terminal:
        stdout.print(typescript(text))
    else:
        stdout.out(text, highlight=False)
    return Exit.OK


def _chosen(snapshot: Snapshot, server: str | None) -> list[ServerSnapshot]:
    if server is None:
        return list(snapshot.servers.values())
    if server not in snapshot.servers:
        known = ", ".join(snapshot.servers) or "none"
        raise CommandError(f"There is no server {server!r} in the configuration; it has: {known}.")
    return [snapshot.servers[server]]


def _print_tools(shown: list[ServerSnapshot], catalog: Catalog, stdout: Console) -> None:
    stdout.print(servers_table(shown))
    for one in shown:
        if one.tools:
            stdout.print(tools_table(catalog.tools(one.id), one.id))
        if one.pending:
            stdout.print(withheld_table(one))


def _as_json(one: ServerSnapshot, catalog: Catalog) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.name,
        "state": one.state,
        "reason": one.reason,
        "codeMode": one.own_code_mode,
        "transport": one.transport,
        "protocol": one.listing.protocol,
        "withheld": [{"kind": waits.kind, "name": waits.name, "digest": waits.digest} for waits in one.pending],
        "tools": catalog.tools(one.id) if one.tools else [],
    }


def _warn_of_silent(snapshot: Snapshot, stderr: Console) -> None:
    """Say which servers are missing from what is printed, so that an absent tool is no riddle."""
    for server, reason in snapshot.unavailable().items():
        stderr.print(Text(f"Server {server} is not available: {reason}", style="yellow"), soft_wrap=True)
