"""The rules of the HTTP edge: its settings, and the decisions on the Host and Origin headers.

Each setting is a bound with a default that is safe on a developer's machine. The headers keep a web page from talking
to a portal on the same machine: a page whose DNS name is rebound to 127.0.0.1 still sends its own name as Host, and a
page of another site sends its own Origin (DNS rebinding; MCP specification, transports, "Security Warning").
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from portal.http.bind import is_loopback
from portal.http.client_ip import Proxies

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
DEFAULT_PORTS = {"http": "80", "https": "443"}


def split_host(value: str) -> tuple[str, str] | None:
    """`name:port` as (lower-case name, port or ""), an IPv6 name in brackets; None when it is not of that form."""
    if value.startswith("["):
        name, bracket, rest = value.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        name, port = name + bracket, rest[1:]
    else:
        name, _, port = value.partition(":")
    if not name or (port and not (port.isascii() and port.isdigit())):
        return None
    return name.rstrip(".").lower(), port


@dataclass(frozen=True, slots=True)
class NameRules:
    """Allow lists compiled once: whole names (any port) and name-port pairs for Host; exact origins for Origin."""

    any_host: bool
    names: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    any_origin: bool
    origins: frozenset[str]

    @classmethod
    def compile(cls, hosts: tuple[str, ...], origins: tuple[str, ...]) -> "NameRules":
        """Raises ValueError naming the entry that is neither `host`, `host:port` nor (for origins) `scheme://host`."""
        names, pairs = set(LOOPBACK_NAMES), set[tuple[str, str]]()
        for entry in hosts:
            if entry == "*":
                continue
            parts = split_host(entry.removesuffix(":*"))
            if parts is None:
                raise ValueError(f"allowed host {entry!r} is not of the form 'name' or 'name:port'")
            if parts[1]:
                pairs.add(parts)
            else:
                names.add(parts[0])
        exact = {normal_origin(origin) for origin in origins if origin != "*"}
        if None in exact:
            raise ValueError(
                f"an allowed origin of {origins!r} is not of the form 'https://name' or 'https://name:port'"
            )
        return cls("*" in hosts, frozenset(names), frozenset(pairs), "*" in origins, frozenset(exact - {None}))  # type: ignore[arg-type]

    def host_allowed(self, value: str) -> bool:
        if self.any_host:
            return True
        parts = split_host(value)
        return parts is not None and (parts[0] in self.names or parts in self.pairs)

    def origin_allowed(self, value: str) -> bool:
        """The listed origins, and those of any port on loopback, of allowed hosts such as `docs.localhost` too; `null`
        (sandboxed frames, files) never."""
        if self.any_origin:
            return True
        origin = normal_origin(value)
        if origin is None:
            return False
        if origin in self.origins:
            return True
        parts = split_host(origin.partition("://")[2])
        if parts is None:
            return False
        return parts[0] in LOOPBACK_NAMES or (parts[0] in self.names and is_loopback(parts[0]))


def normal_origin(value: str) -> str | None:
    """An origin (RFC 6454) in lower case without its scheme's own port; None for `null` and what is no web origin."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    host = split_host(parts.netloc)
    if host is None:
        return None
    name, port = host
    return f"{parts.scheme}://{name}" + (f":{port}" if port and port != DEFAULT_PORTS[parts.scheme] else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Bounds on what reaches the portal over HTTP. Sizes in bytes, times in seconds.

    `allowed_hosts` and `allowed_origins` are added to the loopback names, which are always allowed. A host is
    `mcp.example.com` (any port) or `mcp.example.com:8443` (that port only); an origin is `https://mcp.example.com`
    with the port where it is not the scheme's own. `*` as the only host or origin switches that check off: for a
    portal behind a proxy that has made the check already.

    `connections` is how many connections are open, `connections_each` how many of one network. Both are read as the
    server starts.

    `sessions` is how many 2025 sessions a portal has at once, `requests` how many requests at its MCP endpoint are
    under way, streams among them, and `request_bytes` how many bytes their bodies have together; `sessions_each`,
    `requests_each` and `request_bytes_each` are the parts of one caller.

    `forms` are the paths that take HTML forms and OAuth requests instead of JSON: whole, or a prefix that ends in `/`.
    `oauth` are those whose clients read the errors of OAuth, written alike. A path that is all of `uploads` takes bytes
    too (`application/octet-stream`, which no form of another site can send).

    `form_limit` is the size of what whoever has not signed in may send, `body_limit` that of everybody else. `values`
    is how many values JSON may have. `write_time` is how long bytes may wait for a client that takes none of them.
    `proxies` are the networks whose `X-Forwarded-For` is believed, and whose connections count in no part.
    """

    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    oauth: tuple[str, ...] = ()
    uploads: re.Pattern[str] | None = None
    form_limit: int = 64 * 1024
    body_limit: int = 4 * 1024 * 1024
    body_time: float = 30.0
    header_limit: int = 64 * 1024
    header_time: float = 15.0
    keep_alive: float = 15.0
    write_time: float = 30.0
    depth: int = 100
    values: int = 100_000
    sessions: int = 10_000
    sessions_each: int = 500
    session_idle: float = 30 * 60.0
    proxies: Proxies = ()
    connections: int = 10_000
    connections_each: int = 4_000
    requests: int = 10_000
    requests_each: int = 1_000
    request_bytes: int = 512 * 1024 * 1024
    request_bytes_each: int = 64 * 1024 * 1024


class Edge:
    """The settings in force, and the rules for names compiled from them. Another set may take their place while the
    portal serves: each request is judged by those in force when it comes in."""

    def __init__(self, settings: HttpSettings | None = None) -> None:
        """Raises ValueError as `replace`."""
        self.settings = HttpSettings()
        self.names = NameRules.compile((), ())
        self.replace(settings or HttpSettings())

    def replace(self, settings: HttpSettings) -> None:
        """Judge by these settings from now on.

        Raises:
            ValueError: an allowed host or origin is not one. The former settings stay.
        """
        self.names = NameRules.compile(settings.allowed_hosts, settings.allowed_origins)
        self.settings = settings

    def takes_forms(self, path: str) -> bool:
        """Whether HTML forms and OAuth requests are sent to this path, of the instance or of one of its portals."""
        return _is_among(path, self.settings.forms)

    def takes_bytes(self, path: str) -> bool:
        """Whether files are uploaded to this path."""
        return self.settings.uploads is not None and self.settings.uploads.fullmatch(path) is not None

    def is_oauth(self, path: str) -> bool:
        """Whether this is an OAuth endpoint for clients, of the instance or of one of its portals."""
        return _is_among(path, self.settings.oauth)


def _is_among(path: str, known: tuple[str, ...]) -> bool:
    """Whether a path, or what is below its first segment, is one of the known."""
    _, _, rest = path.removeprefix("/").partition("/")
    return any(
        here == one or (one.endswith("/") and here.startswith(one)) for here in (path, f"/{rest}") for one in known
    )
