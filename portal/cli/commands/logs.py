"""`codemode logs`: shows rows of the log, follows it as it grows, and verifies that nothing in it was changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portal.app import log_place
from portal.cli.exits import CommandError, Exit
from portal.cli.session import load
from portal.cli.show.console import consoles
from portal.cli.show.log_rows import as_document, row_line, say_report
from portal.cli.show.progress import StepBar, WaitLine
from portal.config import read_duration
from portal.logs import (
    Filters,
    LogDatabase,
    LogKey,
    LogKeyUnusable,
    LogPlace,
    LogUnavailable,
    LogUnusable,
    StoredRow,
    after,
    before,
    dropped,
    newest_id,
    verify,
)

FOLLOW_SECONDS = 0.5
VERIFY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What to show. `before` is the id of a row, and rows older than it are shown."""

    config: Path | None
    filters: Filters
    limit: int
    before: int | None
    follow: bool
    as_json: bool


async def show(options: LogOptions) -> Exit:
    """Print the newest rows, the newest last, and with `follow` those that come."""
    stdout, stderr = consoles()
    async with opened_log(options.config, stderr, quiet=options.as_json) as (database, _):
        read = partial(before, filters=options.filters, id=options.before, limit=options.limit)
        with WaitLine(stderr, "Reading the log ..."):
            found = await database.read(read)
        _print(found[::-1], stdout, as_json=options.as_json)
        if options.follow:
            await _follow(database, options, found[0].id if found else await database.read(newest_id), stdout)
        if not options.as_json:
            await _say_rest(database, found, options.limit, stdout, stderr)
    return Exit.OK


async def check(config: Path | None, keys: Sequence[str], *, as_json: bool) -> Exit:
    """Verify the whole log. The exit code is 1 if something in it is not as it was written.

    `keys` are public keys in hexadecimal that are trusted; without any it is the one beside the log.
    """
    stdout, stderr = consoles()
    async with opened_log(config, stderr, quiet=as_json) as (database, place):
        trusted = [_public(key) for key in keys] or [_own(place)]
        with StepBar(stderr, "Verifying") as bar:
            report = await database.read(partial(verify, trusted=trusted, progress=bar.at), VERIFY_SECONDS)
    if as_json:
        members = {name: getattr(report, name) for name in report.__slots__}
        stdout.print_json(data={**members, "keys": sorted(report.keys), "whole": report.is_whole})
    else:
        say_report(report, [key.hex() for key in trusted], stdout)
    return Exit.OK if report.is_whole else Exit.PROGRAM_FAILED


@asynccontextmanager
async def opened_log(
    config: Path | None, stderr: Console, *, quiet: bool
) -> AsyncIterator[tuple[LogDatabase, LogPlace]]:
    """The log of a configuration, to be read.

    Raises:
        CommandError: there is none, or it cannot be read.
    """
    file, document = load(config, stderr, quiet=quiet)
    place = log_place(document)
    if place is None:
        raise CommandError(
            f"{file} has no log: it has neither `portal.logs` nor a database (`portal.state`, `portal.identity`). "
            'Write "logs": {"database": "sqlite:///logs.db"} into its `portal` section.'
        )
    try:
        database = LogDatabase(place.url)
        try:
            with WaitLine(stderr, "Opening the log ..."):
                await database.open(make=False)
            yield database, place
        finally:
            await database.close()
    except (LogUnusable, LogUnavailable) as error:
        raise CommandError(f"The log: {error}") from error


async def _follow(database: LogDatabase, options: LogOptions, last: int, stdout: Console) -> None:
    while True:
        found = await database.read(partial(after, filters=options.filters, id=last))
        if found:
            last = found[-1].id
            _print(found, stdout, as_json=options.as_json)
        else:
            await asyncio.sleep(FOLLOW_SECONDS)


async def _say_rest(
    database: LogDatabase, found: Sequence[StoredRow], limit: int, stdout: Console, stderr: Console
) -> None:
    if not found:
        stdout.print("No row of the log is like that.", highlight=False)
    elif len(found) == limit:
        stderr.print(Text(f"Older ones: --before {found[-1].id}", style="dim"))
    if lost := await database.read(dropped):
        stderr.print(Text(f"{lost} rows were dropped because there was no room for them.", style="yellow"))


def _print(rows: Sequence[StoredRow], stdout: Console, *, as_json: bool) -> None:
    for one in rows:
        if as_json:
            stdout.print_json(data=as_document(one), indent=None)
        else:
            stdout.print(row_line(one), soft_wrap=True)
    stdout.file.flush()


def _own(place: LogPlace) -> bytes:
    if not place.key.exists():
        raise CommandError(
            f"{place.key} is not there, the key that has signed the log. Name its public key with --key."
        )
    try:
        return LogKey.open(place.key).public
    except LogKeyUnusable as error:
        raise CommandError(str(error)) from error


def _public(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise CommandError("--key is a public key of 64 hexadecimal digits, as `codemode logs verify` prints it.")
    return found


def moment(text: str | None, option: str) -> int | None:
    """The time that an option names, in microseconds since 1970: so long ago (`2h`), or a date or time (ISO 8601), in
    UTC unless it says another zone.

    Raises:
        CommandError: it is none.
    """
    if text is None:
        return None
    try:
        return time.time_ns() // 1000 - int(read_duration(text).total_seconds() * 1_000_000)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text[:40]!r} is no time: write 2h, 2026-11-30 or 2026-11-30T08:00.") from None
    return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)
