"""What a scan found, as values that a table, a page or a program can show: nothing in them is secret or controls a
terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from portal.shadow.reading import UnreadLine
from portal.shadow.signs import Certainty, Sign
from portal.shadow.timeline import TimeSlot
from portal.shadow.times import iso

_LONGEST_PATH = 200
_QUERY = re.compile("[?#;]")
_HIDDEN = "\N{HORIZONTAL ELLIPSIS}"
_TOKEN_BEGINNING = re.compile(r"(?:sk|pk|rk|ghp|gho|ghs|xox[a-z]|eyj|key|token|secret|bearer)[-_:=.]?.{6}", re.I)


@dataclass(frozen=True, slots=True)
class SeenCaller:
    """Somebody who used an endpoint, by what the log says of them: client address, user, user agent."""

    address: str
    user: str
    agent: str
    requests: int
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """An endpoint that looks like MCP and is used around the portals.

    `host` is "" if the log does not say it, `port` None if it does not or if it is an ordinary one, `path` None if only
    the host is known. `server` is the id of the server of the configuration that has this address, "" for none.
    `more_callers` are requests of callers beside those listed.
    """

    host: str
    port: int | None
    path: str | None
    certainty: Certainty
    signs: tuple[Sign, ...]
    methods: tuple[str, ...]
    versions: tuple[str, ...]
    vendor: str
    server: str
    requests: int
    first: float | None
    last: float | None
    callers: tuple[SeenCaller, ...]
    more_callers: int

    @property
    def place(self) -> str:
        """Host, port and path in one text; `?` for a host that the log does not say."""
        name = f"[{self.host}]" if ":" in self.host else self.host or "?"
        port = f":{self.port}" if self.port is not None else ""
        return f"{name}{port}{self.path or ''}"


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file that was read. `formats` counts its lines by form. `damage` says why its end could not be read, "" if it
    could."""

    name: str
    lines: int
    unread: int
    formats: Mapping[str, int]
    damage: str = ""


@dataclass(frozen=True, slots=True)
class ScanReport:
    """The sightings, the most certain and most used first, and what else was counted.

    `through_portals` counts requests of MCP that went to a portal, `by_portals` those that a portal made itself, and
    `left_out` those for which there was no room, by how certain they are. `times` says when the requests of the
    sightings were, and those left out. `clients` says how many of them each client has made, by what it calls itself,
    "" where the log does not say it, those with the most first; `more_clients` how many the others.
    """

    sightings: tuple[Sighting, ...]
    through_portals: int
    by_portals: int
    left_out: Mapping[Certainty, int]
    files: tuple[ScannedFile, ...]
    unread: tuple[UnreadLine, ...]
    times: tuple[TimeSlot, ...] = ()
    clients: tuple[tuple[str, int], ...] = ()
    more_clients: int = 0

    @property
    def found(self) -> bool:
        """Whether something certain or likely was seen."""
        seen = {sighting.certainty for sighting in self.sightings}
        seen |= {certainty for certainty, requests in self.left_out.items() if requests}
        return bool(seen & {Certainty.CERTAIN, Certainty.LIKELY})


def report_json(report: ScanReport) -> dict[str, object]:
    """The report as JSON. Times are ISO 8601 in UTC, null where the log says none."""
    return {
        "found": report.found,
        "sightings": [_sighting(sighting) for sighting in report.sightings],
        "through_portals": report.through_portals,
        "by_portals": report.by_portals,
        "left_out": {certainty.value: requests for certainty, requests in report.left_out.items()},
        "times": [
            {"start": iso(slot.start), "seconds": slot.seconds, "requests": slot.requests} for slot in report.times
        ],
        "clients": [{"agent": agent or None, "requests": requests} for agent, requests in report.clients],
        "requests_of_more_clients": report.more_clients,
        "files": [
            {
                "name": file.name,
                "lines": file.lines,
                "unread": file.unread,
                "formats": dict(file.formats),
                "damage": file.damage,
            }
            for file in report.files
        ],
        "unread": [
            {"file": line.file, "line": line.number, "bytes": line.length, "shape": line.shape}
            for line in report.unread
        ],
    }


def shown(text: str) -> str:
    """The text with a mark in place of each character that could control a terminal or hide another."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def shown_path(path: str) -> str:
    """The path without the parts that look like keys: some servers have the key of a person in their URL."""
    plain = _QUERY.split(unquote(path), maxsplit=1)[0]
    text = shown("/".join(_HIDDEN if looks_secret(segment) else segment for segment in plain.split("/")))
    return text if len(text) <= _LONGEST_PATH else f"{text[: _LONGEST_PATH - 1]}{_HIDDEN}"


def looks_secret(segment: str) -> bool:
    """Whether this part of a path may be a key: long and mixed, or with the beginning of one."""
    if len(segment) < 8:
        return False
    digits = any(character.isdigit() for character in segment)
    letters = any(character.isalpha() for character in segment)
    cases = segment.lower() != segment != segment.upper()
    mixed = (digits and letters and len(segment) >= 16) or (cases and len(segment) >= 24) or len(segment) >= 40
    return mixed or (digits and len(segment) >= 12 and not letters) or _TOKEN_BEGINNING.match(segment) is not None


def _sighting(sighting: Sighting) -> dict[str, object]:
    return {
        "host": sighting.host or None,
        "port": sighting.port,
        "path": sighting.path,
        "certainty": sighting.certainty.value,
        "signs": [sign.name.lower() for sign in sighting.signs],
        "methods": list(sighting.methods),
        "versions": list(sighting.versions),
        "vendor": sighting.vendor or None,
        "configured_here": sighting.server or None,
        "requests": sighting.requests,
        "first": _time(sighting.first),
        "last": _time(sighting.last),
        "callers": [
            {
                "address": caller.address or None,
                "user": caller.user or None,
                "agent": caller.agent or None,
                "requests": caller.requests,
                "first": _time(caller.first),
                "last": _time(caller.last),
            }
            for caller in sighting.callers
        ],
        "requests_of_more_callers": sighting.more_callers,
    }


def _time(at: float | None) -> str | None:
    return None if at is None else iso(at)
