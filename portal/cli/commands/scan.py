"""`codemode scan`: reads logs and shows the MCP traffic in them that goes around the portals."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import socket
import sys
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

from rich.console import Console
from rich.text import Text

from portal.cli.config_file import config_in_use
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import no_file
from portal.cli.session import load
from portal.cli.show.console import consoles
from portal.cli.show.progress import StepBar
from portal.cli.show.sightings import scan_report
from portal.config import Config, HttpServer, read_duration
from portal.shadow import (
    LOOPBACK_NAMES,
    EndpointPlace,
    Hosts,
    LogFile,
    Portals,
    ScannedFile,
    ScanReport,
    Sightings,
    Window,
    is_loopback,
    read_address,
    read_authority,
    read_time,
    report_json,
)

CHUNK = 256 * 1024
_EVERY_ADDRESS = ("0.0.0.0", "::")
_STANDARD_INPUT = "-"
# How files begin that are compressed in a way that is not read here, and what reads them.
_COMPRESSED = (
    (b"\x28\xb5\x2f\xfd", "zstdcat"),
    (b"BZh", "bzcat"),
    (b"\xfd7zXZ\x00", "xzcat"),
    (b"PK\x03\x04", "unzip -p"),
)


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """Options of `scan`. `portals` are URLs, `addresses` those from which portals connect.

    `site` is the host of lines that name none. `page` is the file for a page of what was found.
    """

    files: Sequence[str]
    config: Path | None = None
    portals: Sequence[str] = ()
    addresses: Sequence[str] = ()
    hosts: Sequence[str] = ()
    site: str = ""
    since: str | None = None
    until: str | None = None
    as_json: bool = False
    page: Path | None = None


async def scan(options: ScanOptions) -> Exit:
    """Read the files, and print what was seen. The exit code is 1 if something certain or likely was."""
    stdout, stderr = consoles()
    now = datetime.now(UTC).timestamp()
    window = Window(_moment("--since", options.since, now), _moment("--until", options.until, now))
    if options.page is not None:
        _check_page(options.page)
    portals = _portals(options, _configuration(options.config, stderr, quiet=options.as_json))
    sightings = Sightings(portals, window, _hosts(options.hosts), site=_site(options.site))
    scanned: list[ScannedFile] = []
    logs: list[LogFile] = []
    sizes = [_size(name) for name in options.files]
    with StepBar(stderr, "Reading", in_bytes=True) as bar:
        done = 0
        for name, size in zip(options.files, sizes, strict=True):
            log, damage = LogFile(name, portals.words), ""
            try:
                async for chunk, at in _chunks(name):
                    bar.at(done + at, sum(sizes) or None, Path(name).name[-30:])
                    for request in log.feed(chunk):
                        sightings.add(request)
            except (OSError, EOFError, zlib.error) as error:
                damage = str(error) or type(error).__name__
            for request in log.end():
                sightings.add(request)
            done += size
            scanned.append(ScannedFile(name, log.lines, log.unread, dict(log.formats), damage))
            logs.append(log)
    report = sightings.report(scanned, (line for log in logs for line in log.first_unread))
    if options.as_json:
        stdout.print_json(data=report_json(report))
    else:
        stdout.print(scan_report(report, stdout.width))
    if options.page is not None:
        await asyncio.to_thread(_write_page, options.page, report, window, now)
        stderr.print(Text(f"The page is {options.page}."), soft_wrap=True)
    for file in report.files:
        if file.damage:
            text = f"{file.name}: its end could not be read ({file.damage}). What is before it was."
            stderr.print(Text(text, style="yellow"), soft_wrap=True)
    if report.found:
        return Exit.PROGRAM_FAILED
    return Exit.USAGE if any(file.damage for file in report.files) else Exit.OK


def _check_page(path: Path) -> None:
    """Before hours of reading, and not after them.

    Raises:
        CommandError: there can be no such file.
    """
    try:
        if path.is_dir():
            raise CommandError(f"--page: {path} is a folder; name a file in it.")
        if not path.parent.is_dir():
            raise CommandError(f"--page: there is no folder {path.parent}.")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


def _write_page(path: Path, report: ScanReport, window: Window, now: float) -> None:
    """The page says who used what: a file that is made is for its owner alone.

    Raises:
        CommandError: it cannot be written.
    """
    # The libraries of the pages are loaded for this alone.
    from portal.cli.show.scan_page import scan_page

    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(scan_page(report, window, now))
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: Exception) -> CommandError:
    why = getattr(error, "strerror", None) or type(error).__name__
    return CommandError(f"--page: {str(path)[:100]} cannot be written: {why}.")


def portals_of(config: Config) -> tuple[EndpointPlace, ...]:
    """The places at which the portals of this configuration are reached."""
    settings = config.portal
    names = {settings.host, *(LOOPBACK_NAMES if is_loopback(settings.host) else ())}
    if settings.host in _EVERY_ADDRESS:
        names = {*LOOPBACK_NAMES, socket.gethostname().lower()}
    places = [EndpointPlace(name, settings.port or None) for name in sorted(names)]
    if settings.public_url:
        places.append(EndpointPlace.of(settings.public_url))
    further = [read_authority(name) for name in settings.allowed_hosts]
    places += [EndpointPlace(host, port) for host, port in further if host]
    places += [EndpointPlace(entry.hostname) for entry in config.portals.values() if entry.hostname]
    return tuple(places)


def servers_of(config: Config) -> tuple[tuple[str, EndpointPlace], ...]:
    """Where the servers of this configuration that have a URL are, by id."""
    found: list[tuple[str, EndpointPlace]] = []
    for id, server in config.servers.items():
        if isinstance(server, HttpServer):
            try:
                found.append((id, EndpointPlace.of(server.url)))
            except ValueError:
                continue
    return tuple(found)


def _configuration(named: Path | None, stderr: Console, *, quiet: bool) -> Config | None:
    """The configuration that is named or in use; None if there is none."""
    if named is None and config_in_use(Path.cwd(), os.environ) is None:
        return None
    return load(named, stderr, quiet=quiet)[1]


def _portals(options: ScanOptions, config: Config | None) -> Portals:
    try:
        named = tuple(EndpointPlace.of(url) for url in options.portals)
    except ValueError as error:
        raise CommandError(f"--portal {error}.") from error
    addresses = frozenset(read_address(address) for address in options.addresses)
    if config is None:
        return Portals(named, addresses=addresses)
    return Portals((*named, *portals_of(config)), servers_of(config), addresses)


def _hosts(names: Sequence[str]) -> Hosts:
    try:
        return Hosts.of(names)
    except ValueError as error:
        raise CommandError(f"--host: {error}.") from error


def _site(name: str) -> str:
    host, _ = read_authority(name)
    if name and not host:
        raise CommandError(f"--site: {name!r} is no host; write one such as mcp.example.com.")
    return host


def _moment(option: str, text: str | None, now: float) -> float | None:
    """The time that an option names: a date, a time, or how long ago."""
    if text is None:
        return None
    try:
        days = text.removesuffix("d")
        ago = 86_400.0 * int(days) if text.endswith("d") and days.isdigit() else read_duration(text).total_seconds()
        return now - ago
    except ValueError:
        at = read_time(text)
    if at is None:
        raise CommandError(f"{option}: {text!r} is no time; write 2026-11-29, 2026-11-29T08:00, or 24h or 7d for ago.")
    return at


def _size(name: str) -> int:
    """The bytes of a file, 0 for a pipe and standard input.

    Raises:
        CommandError: this is a folder, or there is no such file that can be read.
    """
    if name == _STANDARD_INPUT:
        return 0
    path = Path(name)
    if path.is_dir():
        raise CommandError(f"{name} is a folder; name the log files in it.")
    if not path.exists():
        raise CommandError(no_file(name))
    if not os.access(path, os.R_OK):
        raise CommandError(f"{name}: you may not read it.")
    return path.stat().st_size


async def _chunks(name: str) -> AsyncIterator[tuple[bytes, int]]:
    """What a file has, unpacked, in chunks, each with how many bytes of the file itself are read."""
    with _opened(name) as raw:
        beginning, read, knows_place = raw.peek(6), 0, raw.seekable()
        for mark, program in _COMPRESSED:
            if beginning.startswith(mark):
                raise CommandError(f"{name} is compressed; write `{program} {name} | codemode scan -`.")
        packed = beginning.startswith(b"\x1f\x8b")
        file = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
        while chunk := file.read(CHUNK):
            read += len(chunk)
            yield chunk, raw.tell() if knows_place else read
            await asyncio.sleep(0)  # An interrupt ends the command here.


@contextmanager
def _opened(name: str) -> Iterator[io.BufferedReader]:
    if name == _STANDARD_INPUT:
        yield io.BufferedReader(cast("io.RawIOBase", sys.stdin.buffer), CHUNK)
        return
    file: io.BufferedReader = io.BufferedReader(io.FileIO(name), CHUNK)
    with file:
        yield file
