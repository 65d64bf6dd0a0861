"""`codemode logs NAME`: what the program of a server wrote, when it started and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portal.app import process_logs_folder
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import nearest
from portal.cli.sections import WORDS_IN_GROUPS
from portal.cli.session import load
from portal.cli.show.console import consoles
from portal.config import Config, StdioServer
from portal.upstream import ProcessLine, ProcessLogReader

FOLLOW_SECONDS = 0.25
MOST_LINES = 10_000
_COMMANDS = ("show", "verify")
_STYLE = {"start": "green", "end": "yellow", "failed": "red", "dropped": "yellow", "stdout": "cyan"}


@dataclass(frozen=True, slots=True)
class ProcessLogOptions:
    """What to show: the last `limit` lines, and with `follow` those that come."""

    config: Path | None
    server: str
    limit: int
    follow: bool
    as_json: bool


async def show(options: ProcessLogOptions) -> Exit:
    """Print the newest lines, the newest last.

    Raises:
        CommandError: there is no such server, or it is no program of this machine.
    """
    if not 1 <= options.limit <= MOST_LINES:
        raise CommandError(f"--limit is 1 to {MOST_LINES:,} for what a server wrote.")
    stdout, stderr = consoles()
    file, document = load(options.config, stderr, quiet=options.as_json)
    _require_program(document, options.server, file)
    folder = process_logs_folder(document)
    assert folder is not None, "the configuration is in a file"
    reader = ProcessLogReader(folder, options.server)
    try:
        found = reader.newest(options.limit)
        if not found and not options.as_json:
            text = f"{options.server} has written nothing yet. What it writes while `codemode serve` runs is kept here."
            stderr.print(Text(text, style="dim"), soft_wrap=True)
        _print(found, stdout, as_json=options.as_json)
        while options.follow:
            await asyncio.sleep(FOLLOW_SECONDS)
            _print(reader.more(), stdout, as_json=options.as_json)
    finally:
        reader.close()
    return Exit.OK


def _require_program(document: Config, name: str, file: Path) -> None:
    server = document.servers.get(name)
    if isinstance(server, StdioServer) or any(one.id == name for one in document.omissions):
        return
    if server is not None:
        raise CommandError(
            f"{name} is reached by a URL and is no program of this machine, so nothing it writes is here; "
            f"its calls are in `codemode logs --server {name}`."
        )
    programs = [id for id, one in document.servers.items() if isinstance(one, StdioServer)]
    known = [*document.servers, *(one.id for one in document.omissions)]
    commands = [*WORDS_IN_GROUPS["logs"].get(name.casefold(), ()), *(f"logs {one}" for one in nearest(name, _COMMANDS))]
    if near := [*nearest(name, known, most=1), *(f"`codemode {one}`" for one in commands[:1])]:
        hint = f"Did you mean {' or '.join(near)}?"
    else:
        hint = f"Programs there: {', '.join(programs) or 'none'}."
    raise CommandError(f"There is no server {name[:64]!r} in {file}. {hint}")


def _print(lines: Iterable[ProcessLine], stdout: Console, *, as_json: bool) -> None:
    for line in lines:
        if as_json:
            stdout.print_json(data=as_document(line), indent=None)
        else:
            stdout.print(shown_line(line), soft_wrap=True)
    stdout.file.flush()


def shown_line(line: ProcessLine) -> Text:
    """When, which process, and what."""
    said = {
        "start": f"started {line.text}",
        "end": line.text,
        "failed": line.text,
        "dropped": f"{line.text} lines left out: it wrote faster than is kept",
    }.get(line.kind, line.text)
    return Text.assemble(
        (f"{_time(line):%Y-%m-%d %H:%M:%S}.{line.at % 1000:03} ", "dim"),
        (f"[{line.pid}] " if line.pid is not None else "", "dim"),
        (said, _STYLE.get(line.kind, "")),
    )


def as_document(line: ProcessLine) -> dict[str, object]:
    """A line as JSON."""
    at = f"{_time(line):%Y-%m-%dT%H:%M:%S}.{line.at % 1000:03}Z"
    return {"time": at, "pid": line.pid, "kind": line.kind, "text": line.text}


def _time(line: ProcessLine) -> datetime:
    return datetime.fromtimestamp(line.at // 1000, UTC)
