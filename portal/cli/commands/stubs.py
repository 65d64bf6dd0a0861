"""`codemode stubs`: prints declarations for an editor, saves tools, and compares two lists of tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from codemode import Catalog
from portal.bench import (
    ToolChange,
    as_document,
    breaking,
    changes_between,
    declaration_file,
    is_configuration,
    servers_of,
)
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import meant, no_file
from portal.cli.session import connect, read_config
from portal.cli.show.console import consoles, printable
from portal.cli.show.progress import WaitLine
from portal.config import YAML, read_document
from portal.errors import InputError
from stubs import Server

DIFF = "diff"
_FILES = (".json", ".toml", *YAML)
_STYLES = {"breaking": "red", "caution": "yellow", "safe": "green"}
_HEADINGS = {"breaking": "Breaking", "caution": "May matter", "safe": "Harmless"}


@dataclass(frozen=True, slots=True)
class ToolListing:
    """The tools of some servers, and the reason by server id for those that do not answer."""

    servers: tuple[Server, ...]
    unavailable: dict[str, str]


async def stubs(words: Sequence[str], output: Path | None, config: Path | None, *, as_json: bool) -> Exit:
    """`[SERVER|FILE]` or `diff OLD [NEW]`. The exit code is 3 if a server does not answer."""
    if words[:1] == [DIFF]:
        return await _diff(words[1:], config, as_json=as_json)
    if len(words) > 1:
        raise CommandError("Name one server or one file, or: codemode stubs diff OLD [NEW].")
    stdout, stderr = consoles()
    listing = await _list_tools(words[0] if words else None, config, stderr)
    with WaitLine(stderr, "Writing the declarations ..."):
        catalog = Catalog.build(listing.servers, listing.unavailable)
        text = json.dumps(as_document(listing.servers), indent=2) + "\n" if as_json else declaration_file(catalog)
    if output is None:
        stdout.out(printable(text), end="", highlight=False)
    else:
        _write(output, text)
        what = f"{len(catalog)} tools of {len(catalog.servers)} servers"
        stderr.print(f"Wrote {output}: {what}.", highlight=False, soft_wrap=True)
    return _warn_unavailable(listing, stderr)


async def _diff(words: Sequence[str], config: Path | None, *, as_json: bool) -> Exit:
    """Print what changed. The exit code is 1 if a change breaks programs."""
    if not 1 <= len(words) <= 2:
        raise CommandError(
            "codemode stubs diff takes OLD and NEW: files of saved tools (`codemode stubs --json -o tools.json`) or "
            "configurations; without NEW the configured servers are asked."
        )
    stdout, stderr = consoles()
    old = await _list_tools(words[0], config, stderr)
    new = await _list_tools(words[1] if len(words) > 1 else None, config, stderr)
    if unavailable := {**old.unavailable, **new.unavailable}:
        # The tools of such a server are unknown. A comparison would report them as removed.
        for server, reason in unavailable.items():
            stderr.print(Text(f"Server {server} is not available, nothing is compared: {reason}", style="red"))
        return Exit.UPSTREAM
    if len(words) == 1:
        named = {server.id for server in old.servers}
        new = ToolListing(tuple(s for s in new.servers if s.id in named), {}) if len(named) == 1 else new
    changes = changes_between(old.servers, new.servers)
    count = breaking(changes)
    if as_json:
        stdout.print_json(data={"breaking": count, "changes": [change.as_dict() for change in changes]})
    else:
        stdout.print(_report(changes), soft_wrap=True)
    return Exit.PROGRAM_FAILED if count else Exit.OK


async def _list_tools(name: str | None, config: Path | None, stderr: Console) -> ToolListing:
    """The tools in a file, of all configured servers, or of one of them."""
    if name is not None and (Path(name).suffix in _FILES or Path(name).is_file()):
        file = Path(name)
        if not file.is_file():
            raise CommandError(no_file(file))
        if file.suffix != ".toml":
            document = read_document(file)
            if not is_configuration(document):
                return ToolListing(servers_of(document, file.name), {})
        return await _list_live(None, file, stderr)
    return await _list_live(name, config, stderr)


async def _list_live(only: str | None, config: Path | None, stderr: Console) -> ToolListing:
    _, document = read_config(config, stderr)
    if only is not None and only not in document.servers:
        raise CommandError(f"There is no file and no server {only!r}. {meant(only, document.servers)}")
    async with connect(document, stderr) as session:
        servers, unavailable = session.snapshot.catalog_servers(), session.snapshot.unavailable()
    if only is None:
        return ToolListing(servers, unavailable)
    selected = tuple(server for server in servers if server.id == only)
    return ToolListing(selected, {server: why for server, why in unavailable.items() if server == only})


def _warn_unavailable(listing: ToolListing, stderr: Console) -> Exit:
    for server, reason in listing.unavailable.items():
        stderr.print(Text(f"Server {server} is not available: {reason}", style="yellow"), soft_wrap=True)
    return Exit.UPSTREAM if listing.unavailable else Exit.OK


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write {output}: {error.strerror or error}.") from error


def _report(changes: Sequence[ToolChange]) -> RenderableType:
    """The changes in the order of their levels, and a last line with the verdict."""
    if not changes:
        return Text("Nothing changed.")
    parts: list[RenderableType] = []
    for level, heading in _HEADINGS.items():
        selected = [change for change in changes if change.level == level]
        if selected:
            parts.append(Text(f"{heading} ({len(selected)})", style=f"bold {_STYLES[level]}"))
            parts += [_line(change) for change in selected]
            parts.append(Text(""))
    count = breaking(changes)
    word = "change breaks" if count == 1 else "changes break"
    verdict = f"{count} {word} programs." if count else "Nothing breaks programs."
    return Group(*parts, Text(verdict, style="bold"))


def _line(change: ToolChange) -> Text:
    name = change.server if change.tool is None else f"{change.server}.{change.tool}"
    line = Text.assemble("  ", (name, "bold"), f": {change.what}")
    if change.breaks is not None:
        line.append(f"\n      {change.breaks}", style="dim")
    return line
