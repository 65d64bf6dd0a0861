"""`codemode tools`, `search` and `describe`: the tools that programs can call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from codemode import Catalog, CatalogError, Meanings
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import meant
from portal.cli.session import connect, read_config
from portal.cli.show.console import consoles
from portal.cli.show.listing import pending_table, search_results, servers_table, skipped_lines, tools_table, typescript
from portal.cli.show.progress import WaitLine
from portal.config import Config
from portal.servers import ServerSnapshot, Snapshot, tools_by_server


@dataclass(frozen=True, slots=True)
class DocumentOptions:
    """A catalog as a Markdown document: into a file or on standard output, with the names that a portal shows."""

    output: Path | None = None
    portal: str = ""


async def tools(
    server: str | None, config: Path | None, *, as_json: bool, document_options: DocumentOptions | None = None
) -> Exit:
    """Print servers with state and reason, then their tools. The exit code is 3 if a server does not answer."""
    stdout, stderr = consoles()
    if as_json and document_options is not None:
        raise CommandError("Either --json or --doc: a document is Markdown.")
    file, document = read_config(config, stderr, quiet=as_json)
    async with connect(document, stderr, file=file) as session:
        snapshot, catalog = session.snapshot, session.catalog
        servers = _select(snapshot, server, document)
        if document_options is not None:
            with WaitLine(stderr, "Writing the document ..."):
                text = await _page(servers, catalog, document, document_options, stderr)
    if document_options is not None:
        _write_page(text, document_options.output, stdout, stderr)
    elif as_json:
        listed = tools_by_server(catalog)
        data: dict[str, object] = {"servers": [_as_json(one, listed.get(one.id, [])) for one in servers]}
        if document.omissions:
            data["leftOut"] = [one.why for one in document.omissions]
        stdout.print_json(data=data)
    else:
        _print_tools(servers, catalog, stdout)
        why = Meanings.absence()
        stdout.print(Text(f"\nSearch goes by words{' and by meaning' if why is None else f'; {why}'}.", style="dim"))
    return Exit.UPSTREAM if any(one.state == "error" for one in servers) else Exit.OK


async def _page(
    servers: Sequence[ServerSnapshot], catalog: Catalog, document: Config, options: DocumentOptions, stderr: Console
) -> str:
    # Access policies are loaded for this alone.
    from portal.cli.commands.policy import names_of_portal
    from portal.cli.show.catalog_page import catalog_page

    names = await names_of_portal(options.portal, document, stderr)
    entry = document.portals.get(options.portal)
    return catalog_page(document.portal.name if entry is None else entry.name or entry.id, servers, catalog, names)


def _write_page(text: str, output: Path | None, stdout: Console, stderr: Console) -> None:
    if output is None:
        stdout.out(text, end="", highlight=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{output}: cannot be written: {error.strerror or error}.") from error
    stderr.print(Text(f"Wrote {output}."), soft_wrap=True)


async def search(query: str, limit: int, server: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """Print ranked tools for some words, as `codemode.search` does. The exit code is 3 if a server does not answer."""
    stdout, stderr = consoles()
    file, document = read_config(config, stderr, quiet=as_json)
    async with connect(document, stderr, file=file) as session:
        _warn_unavailable(session.snapshot, stderr)
        unavailable = session.snapshot.unavailable()
        try:
            results = await _found(session.catalog, query, limit, server, stderr)
        except CatalogError as error:
            raise CommandError(str(error), _whose_fault(server or "", unavailable)) from error
    if as_json:
        stdout.print_json(data=results)
    elif results:
        stdout.print(search_results(results))
    else:
        stderr.print(f"No tool matches {query!r}.", highlight=False, markup=False)
    return Exit.UPSTREAM if unavailable else Exit.OK


async def _found(
    catalog: Catalog, query: str, limit: int, server: str | None, stderr: Console
) -> list[dict[str, object]]:
    """The results as a program gets them from a portal that has been up for a while."""
    meanings = Meanings.installed()
    if meanings is None:
        return catalog.search(query, limit, server, full=True)
    with meanings:
        with WaitLine(stderr, f"Reading what {len(catalog):,} tools mean ..."):
            # In a thread, so that Ctrl-C is heard: it closes the meanings, and then nothing waits any more.
            await asyncio.to_thread(meanings.prepared, catalog.parts)
        return catalog.search(query, limit, server, full=True, likeness=meanings)


async def describe(path: str, config: Path | None, *, as_json: bool) -> Exit:
    """Print the TypeScript declarations of a tool or of a server."""
    stdout, stderr = consoles()
    file, document = read_config(config, stderr, quiet=as_json)
    async with connect(document, stderr, file=file) as session:
        _warn_unavailable(session.snapshot, stderr)
        try:
            with WaitLine(stderr, "Writing the declarations ..."):
                text = session.catalog.describe(path, full=True)
        except CatalogError as error:
            raise CommandError(str(error), _whose_fault(path, session.snapshot.unavailable())) from error
    if as_json:
        stdout.print_json(data={"path": path, "typeScript": text})
    elif stdout.is_terminal:
        stdout.print(typescript(text))
    else:
        stdout.out(text, highlight=False)
    return Exit.OK


def _whose_fault(path: str, unavailable: Mapping[str, str]) -> Exit:
    """The exit code where a path leads nowhere: its server does not answer, or nothing is there."""
    return Exit.UPSTREAM if path.removeprefix("codemode.").partition(".")[0] in unavailable else Exit.USAGE


def _select(snapshot: Snapshot, server: str | None, document: Config) -> list[ServerSnapshot]:
    if server is None:
        return list(snapshot.servers.values())
    if server not in snapshot.servers:
        if why := next((one.why for one in document.omissions if one.id == server), ""):
            raise CommandError(why)
        if (disabled := document.servers.get(server)) is not None and not disabled.enabled:
            raise CommandError(f"{document.section}.{disabled.name} is disabled in the configuration; enable it there.")
        raise CommandError(f"There is no server {server!r} in the configuration. {meant(server, snapshot.servers)}")
    return [snapshot.servers[server]]


def _print_tools(servers: list[ServerSnapshot], catalog: Catalog, stdout: Console) -> None:
    stdout.print(servers_table(servers))
    tools = tools_by_server(catalog)
    for server in servers:
        if server.tools:
            stdout.print(tools_table(tools.get(server.id, []), server.id))
        if server.pending:
            stdout.print(pending_table(server))
        if server.listing.skipped:
            stdout.print(skipped_lines(server))


def _as_json(server: ServerSnapshot, tools: Sequence[Mapping[str, object]]) -> dict[str, object]:
    return {
        "id": server.id,
        "name": server.name,
        "state": server.state,
        "reason": server.reason,
        "codeMode": server.own_code_mode,
        "transport": server.transport,
        "protocol": server.listing.protocol,
        "withheld": [{"kind": item.kind, "name": item.name, "digest": item.digest} for item in server.pending],
        "skipped": list(server.listing.skipped),
        "tools": tools,
    }


def _warn_unavailable(snapshot: Snapshot, stderr: Console) -> None:
    """Print which servers do not answer, because their tools are missing in the output."""
    for server, reason in snapshot.unavailable().items():
        stderr.print(Text(f"Server {server} is not available: {reason}", style="yellow"), soft_wrap=True)
