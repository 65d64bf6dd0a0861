"""`codemode doctor`: looks for what does not work here, and says what mends it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from portal.cli.config_file import find_config
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import meant
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine
from portal.cli.this_portal import this_machine
from portal.config import load_config
from portal.doctor import Diagnosis, Examination, ExaminationScope, Level, examine, worst
from portal.errors import ConfigError
from portal.logs import configure_logging

_MARKS: dict[Level, tuple[str, str]] = {"ok": ("ok", "green"), "notice": ("note", "yellow"), "trouble": ("FAIL", "red")}
_TITLES = {
    "config": "Configuration",
    "program": "Programs",
    "remote": "Servers by URL",
    "environment": "Environment",
    "portal": "Address",
    "database": "Database",
    "engine": "Engine",
    "clients": "Clients",
    "doctor": "Time",
}


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """Options of `codemode doctor`. Without a `server` everything is examined."""

    server: str | None
    config: Path | None
    as_json: bool


async def doctor(options: DoctorOptions) -> Exit:
    """Print what was found. The exit code is 1 if something does not work."""
    stdout, stderr = consoles()
    configure_logging(level="critical", terminal=stderr.is_terminal)
    file, missing = _config_file(options.config)
    if options.server is not None:
        _require_server(options.server, file, missing)
    wanted = ExaminationScope(file, missing, this_machine(), options.server or "")
    with WaitLine(stderr, "Looking ...") as line:
        found = await examine(wanted, _UnderWay(line))
    if options.as_json:
        stdout.print_json(data=as_document(found))
    else:
        print_examination(found, stdout)
    return Exit.PROGRAM_FAILED if found.level == "trouble" else Exit.OK


def _config_file(named: Path | None) -> tuple[Path | None, str]:
    """The configuration, or None and why there is none. One that is named and not there is a mistake of the caller."""
    if named is not None:
        return find_config(named, Path.cwd(), os.environ), ""
    try:
        return find_config(None, Path.cwd(), os.environ), ""
    except CommandError as error:
        return None, error.message


def _require_server(name: str, file: Path | None, missing: str) -> None:
    if file is None:
        raise CommandError(missing)
    try:
        config = load_config(file)
    except ConfigError:
        # What is wrong with it is a finding.
        return
    known = [*config.servers, *(one.id for one in config.omissions)]
    if name not in known:
        raise CommandError(f"There is no server {name[:64]!r} in {file}. {meant(name, known)}")


class _UnderWay:
    """Says in a line what is still being looked at."""

    def __init__(self, line: WaitLine) -> None:
        self._line = line
        self._parts: list[str] = []

    def __call__(self, part: str, ended: bool) -> None:
        if ended:
            self._parts.remove(part)
        else:
            self._parts.append(part)
        names = ", ".join(self._parts[:4]) + (" ..." if len(self._parts) > 4 else "")
        self._line.say(f"Looking at {names or 'the configuration'}")


def as_document(found: Examination) -> dict[str, object]:
    """An examination as JSON. The ids of checks stay."""
    return {
        "level": found.level,
        "seconds": round(found.seconds, 1),
        "findings": [
            {"id": one.check, "about": one.about, "level": one.level, "text": one.text, "fix": one.fix or None}
            for one in found.findings
        ],
    }


def print_examination(found: Examination, stdout: Console) -> None:
    """Print the findings under a title for each group of checks."""
    for group, some in groupby(found.findings, key=lambda one: one.check.partition(".")[0]):
        stdout.print(Text(_TITLES[group], style="bold"))
        stdout.print(_table(list(some)))
    stdout.print(_summary(found), soft_wrap=True)


def _table(findings: Sequence[Diagnosis]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(width=5, no_wrap=True)
    table.add_column(max_width=20, overflow="fold")
    table.add_column(overflow="fold", ratio=1)
    for one in findings:
        mark, style = _MARKS[one.level]
        text = Text(one.text, style="dim" if one.level == "ok" else "")
        if one.fix:
            text.append(f"\n-> {one.fix}", style="bold")
        table.add_row(Text(mark, style=style), Text(one.about), text)
    return table


def _summary(found: Examination) -> Text:
    troubles = [one for one in found.findings if one.level == "trouble"]
    notices = sum(one.level == "notice" for one in found.findings)
    took = f"{len(found.findings)} findings in {found.seconds:.1f} s"
    if not troubles:
        more = f", {notices} to know" if notices else ""
        return Text(f"\nNothing is wrong{more} ({took}).", style="green" if worst(found.findings) == "ok" else "")
    more = f" and {notices} to know" if notices else ""
    return Text(f"\n{len(troubles)} to mend{more} ({took}).", style="red")
