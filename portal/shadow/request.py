"""An HTTP request as a log tells it, and its parts as logs write them. Pure.

Query strings, user information in URLs and fragments are cut off here: nothing behind this module has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_ADDRESS = 64
MAX_USER = 100
MAX_AGENT = 200
MAX_PATH = 2_000

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20})://([^/?#]*+)([^?#]*+)")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
_IPV6 = re.compile(r"[0-9a-f:.]{2,45}")
_METHOD = re.compile(r"[A-Z][A-Z_-]{1,19}")


@dataclass(frozen=True, slots=True)
class LogRequest:
    """One request. What the log does not say is "" or None.

    `host` is in lower case and without a port. `path` has no query; it is None where only the host is known (CONNECT).
    `at` is in seconds of the Unix epoch. `answer_type` is the content type of the response, `protocol` whether a header
    of MCP is there, `bodies` what is known of the two bodies.
    """

    host: str = ""
    port: int | None = None
    path: str | None = None
    method: str = ""
    status: int | None = None
    at: float | None = None
    address: str = ""
    user: str = ""
    agent: str = ""
    accept: str | None = None
    answer_type: str = ""
    protocol: bool = False
    bodies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """Where a request goes: its host ("" if it is not said), port and path (None if only the host is known)."""

    host: str = ""
    port: int | None = None
    path: str | None = None


def read_authority(text: str, port: int | None = None) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port` or `[address]:port`; ("", None) if this is none.

    `port` is the port where none is written.
    """
    text = text.rpartition("@")[2].strip().lower()
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        named = rest.removeprefix(":")
        valid = _IPV6.fullmatch(name) is not None and ":" in name
    else:
        name, _, named = text.partition(":")
        name = name.removesuffix(".")
        valid = _NAME.fullmatch(name) is not None
    if not valid or (named and not (named.isascii() and named.isdigit() and len(named) <= 5)):
        return "", None
    return name, int(named) if named else port


def read_target(target: str, method: str = "") -> RequestTarget:
    """Where the target of a request line, or a URL, leads to. Its query is dropped."""
    if method == "CONNECT":
        return RequestTarget(*read_authority(target.partition("/")[0]))
    if target.startswith("/"):
        return RequestTarget(path=_path(target))
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return RequestTarget()
    host, port = read_authority(absolute[2], _PORTS.get(absolute[1].lower()))
    return RequestTarget(host, port, _path(absolute[3]) or "/")


def read_request_line(line: str) -> tuple[str, RequestTarget] | None:
    """Method and target of `POST /mcp HTTP/1.1`; None if this is no request line."""
    method, _, rest = line.partition(" ")
    target, _, protocol = rest.rpartition(" ")
    if not target or not protocol.startswith("HTTP"):
        target = rest
    return (method, read_target(target, method)) if is_method(method) and target else None


def is_method(text: str) -> bool:
    return _METHOD.fullmatch(text) is not None


def read_status(text: object) -> int | None:
    """The status of an HTTP response; None for anything else."""
    if isinstance(text, str) and len(text) == 3 and text.isascii() and text.isdigit():
        text = int(text)
    return text if isinstance(text, int) and not isinstance(text, bool) and 100 <= text <= 599 else None


def read_address(text: str) -> str:
    """The address of a client without its port; "" for `-`. Of several, as in X-Forwarded-For, the first."""
    text = text.partition(",")[0].strip()[: MAX_ADDRESS + 8]
    if text.startswith("["):
        return text[1:].partition("]")[0]
    if text.count(":") == 1:
        text = text.partition(":")[0]
    return "" if text == "-" else text[:MAX_ADDRESS]


def said(text: str, longest: int) -> str:
    """A field of a log; "" for `-`, which says that there is nothing."""
    return "" if text == "-" else text[:longest]


def _path(text: str) -> str:
    for mark in "?#;":
        text = text.partition(mark)[0]
    return text[:MAX_PATH]
