"""Log lines of fixed forms: Common and Combined, Squid's own, AWS load balancers, W3C extended. Pure.

Every pattern takes time by the length of the line: its repetitions give nothing back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from portal.shadow.request import (
    MAX_AGENT,
    MAX_USER,
    LogRequest,
    RequestTarget,
    is_method,
    read_address,
    read_authority,
    read_request_line,
    read_status,
    read_target,
    said,
)
from portal.shadow.signs import PROTOCOL_HEADERS
from portal.shadow.times import read_time

_QUOTED = r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
# `%v:%p` before the client, as in Apache's vhost_combined: then an IP address follows.
_SITE = r"(?:(?P<site>[A-Za-z0-9_.:\[\]-]{1,260}+) (?=[0-9a-fA-F]*[.:][0-9a-fA-F.:]*+ ))?"
COMMON = re.compile(
    _SITE
    + r"(?P<address>[^\s\"]{1,200}+) [^\s\"]{1,200}+ (?P<user>[^\[\]\"]{1,200}?) \[(?P<time>[^\]\"]{1,60}+)\] "
    + _QUOTED.replace("(", "(?P<request>", 1)
    + r" (?P<status>\d{3}|-) (?:\d++|-)"
    + f"(?: {_QUOTED.replace('(', '(?:', 1)} {_QUOTED.replace('(', '(?P<agent>', 1)})?+(?= |$)"
)
SQUID = re.compile(
    r"(?P<time>\d{9,11}\.\d{1,6}) ++-?\d++ (?P<address>[^ ]{1,200}+) [A-Z_]{1,60}+/(?P<status>\d{3}) \d++ "
    r"(?P<method>[A-Z_-]{1,30}+) (?P<url>[^ ]++) (?P<user>[^ ]{1,200}+) [A-Z_]{1,60}+/[^ ]++"
)
LOAD_BALANCER = re.compile(
    r"(?:https?|h2|grpcs|wss?) (?P<time>\d{4}-\d\d-\d\dT[^ ]{1,40}+) [^ ]++ (?P<address>[^ ]{1,100}+)(?: [^ ]++){4} "
    r"(?P<status>\d{3}|-)(?: [^ ]++){3} "
    + _QUOTED.replace("(", "(?P<request>", 1)
    + " "
    + _QUOTED.replace("(", "(?P<agent>", 1)
)
_COLUMN = re.compile(r'"[^"]*+"|[^ ]++')
_MOST_COLUMNS = 200


class TextFormat(NamedTuple):
    """A form of line: its name, its pattern, and what a line of it says."""

    name: str
    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], LogRequest | None]


def _common(line: re.Match[str]) -> LogRequest | None:
    found = read_request_line(line["request"])
    method, target = found if found is not None else ("", RequestTarget())
    host, port = (target.host, target.port) if target.host or not line["site"] else read_authority(line["site"])
    return LogRequest(
        host=host,
        port=port,
        path=target.path,
        method=method,
        status=read_status(line["status"]),
        at=read_time(line["time"]),
        address=read_address(line["address"]),
        user=said(line["user"], MAX_USER),
        agent=said(line["agent"] or "", MAX_AGENT),
    )


def _squid(line: re.Match[str]) -> LogRequest | None:
    method = line["method"]
    target = read_target(line["url"], method)
    return LogRequest(
        host=target.host,
        port=target.port,
        path=target.path,
        method=method,
        status=read_status(line["status"]),
        at=read_time(line["time"]),
        address=read_address(line["address"]),
        user=said(line["user"], MAX_USER),
    )


def _load_balancer(line: re.Match[str]) -> LogRequest | None:
    found = read_request_line(line["request"])
    method, target = found if found is not None else ("", RequestTarget())
    return LogRequest(
        host=target.host,
        port=target.port,
        path=target.path,
        method=method,
        status=read_status(line["status"]),
        at=read_time(line["time"]),
        address=read_address(line["address"]),
        agent=said(line["agent"], MAX_AGENT),
    )


TEXT_FORMATS = (
    TextFormat("common", COMMON, _common),
    TextFormat("squid", SQUID, _squid),
    TextFormat("aws", LOAD_BALANCER, _load_balancer),
)

_W3C_HOSTS = ("cs(host)", "x-host-header", "cs-host", "s-computername")
_W3C_PATHS = ("cs-uri-stem", "cs-uri-path", "cs-uri")
_W3C_USERS = ("cs-username", "cs-auth-user")
_W3C_ADDRESSES = ("c-ip", "x-forwarded-for")
_W3C_STATUSES = ("sc-status", "sc(status)")
_W3C_HEADERS = (*(f"cs({name})" for name in sorted(PROTOCOL_HEADERS)), "sc(mcp-session-id)")


@dataclass(frozen=True, slots=True)
class W3cColumns:
    """The columns that a `#Fields:` line of the W3C extended format names, and how the lines after it are cut."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, directive: str) -> W3cColumns | None:
        """The columns of this directive; None if it is another one."""
        name, colon, rest = directive.partition(":")
        if name.lower() != "#fields" or not colon:
            return None
        names = tuple(rest.lower().split())
        return cls(names) if 0 < len(names) <= _MOST_COLUMNS else None

    def cut(self, line: str) -> Mapping[str, str] | None:
        """The fields of a line by column; None if there are more or fewer."""
        fields: Sequence[str] = line.split("\t") if "\t" in line else _COLUMN.findall(line)
        return dict(zip(self.names, fields, strict=True)) if len(fields) == len(self.names) else None


def read_w3c(fields: Mapping[str, str]) -> LogRequest | None:
    """The request in these fields; None if they have no method and no place."""
    method = said(_first(fields, ("cs-method",)), 20)
    stem = _first(fields, _W3C_PATHS)
    if not is_method(method) or not (stem or _first(fields, _W3C_HOSTS[:3])):
        return None
    named = read_authority(_first(fields, _W3C_HOSTS[:3]), _port(_first(fields, ("cs-uri-port", "s-port"))))
    target = read_target(stem, method) if stem else RequestTarget()
    host, port = (target.host, target.port) if target.host else named
    date, time = _first(fields, ("date",)), _first(fields, ("time", "x-timestamp"))
    return LogRequest(
        host=host,
        port=port,
        path=None if method == "CONNECT" else target.path,
        method=method,
        status=read_status(_first(fields, _W3C_STATUSES)),
        at=read_time(f"{date}T{time}Z" if date else time),
        address=read_address(_first(fields, _W3C_ADDRESSES)),
        user=_first(fields, _W3C_USERS)[:MAX_USER],
        agent=_words(_first(fields, ("cs(user-agent)",)))[:MAX_AGENT],
        accept=_words(fields["cs(accept)"].strip('"')) if fields.get("cs(accept)", "-") != "-" else None,
        answer_type=_first(fields, ("sc(content-type)", "sc-content-type")),
        protocol=any(_first(fields, (name,)) for name in _W3C_HEADERS),
    )


def _first(fields: Mapping[str, str], names: Sequence[str]) -> str:
    """The first of these fields that says something, without quotes."""
    for name in names:
        if value := said(fields.get(name, "").strip('"'), 4_000):
            return value
    return ""


def _words(text: str) -> str:
    """A header as it was sent: IIS writes `+` for a blank, CloudFront escapes it."""
    return unquote(text.replace("+", " ") if " " not in text else text)


def _port(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else None
