"""The settings of the HTTP edge, each a bound with a default that is safe on a developer's machine."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Bounds on what reaches the portal over HTTP. Sizes in bytes, times in seconds.

    `allowed_hosts` and `allowed_origins` are added to the loopback names, which are always allowed. A host is
    `mcp.example.com` (any port) or `mcp.example.com:8443` (that port only); an origin is `https://mcp.example.com`
    with the port where it is not the scheme's own. `*` as the only host or origin switches that check off: for a
    portal behind a proxy that has made the check already.

    `forms` are the paths that take HTML forms and OAuth requests instead of JSON: whole, or a prefix that ends in `/`.
    """

    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    form_limit: int = 64 * 1024
    body_limit: int = 4 * 1024 * 1024
    body_time: float = 30.0
    header_limit: int = 64 * 1024
    header_time: float = 15.0
    keep_alive: float = 15.0
    depth: int = 100
    sessions: int = 10_000
    session_idle: float = 30 * 60.0
