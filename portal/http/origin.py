"""Under which origin a request reaches the portal: the configured public URL, or, on loopback, the request's own.

Everything OAuth compares as text starts with it: issuer, resource, redirect of a login. Without a public URL only
loopback names are answered for, where the port may not be known before the portal listens.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from portal.http.bind import is_loopback
from portal.http.names import normal_origin, split_host
from portal.http.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Origins:
    """`public_url` is the instance's, `https://portal.example.com`, or "" on loopback. `host_url` is that of a portal
    with a host name of its own, which may be reached by its path on the instance's address as well."""

    public_url: str = ""
    host_url: str = ""

    def __post_init__(self) -> None:
        for name in ("public_url", "host_url"):
            if given := getattr(self, name):
                object.__setattr__(self, name, _https_origin(given))

    def of(self, scope: Scope) -> str:
        """`scheme://host[:port]`, lower case. Raises `Refusal` for a name that nobody configured."""
        if self.host_url and not scope.get("root_path"):
            return self.host_url
        if self.public_url:
            return self.public_url
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        parts = split_host(hosts[0]) if len(hosts) == 1 else None
        if parts is None or not is_loopback(parts[0]):
            message = "This portal has no public URL, so people sign in on loopback only. Configure its public URL."
            raise Refusal(421, "host", message)
        name, port = parts
        return f"http://{name}:{port}" if port else f"http://{name}"


def _https_origin(url: str) -> str:
    normal = normal_origin(url.rstrip("/"))
    if normal is None:
        raise ValueError("must be an origin such as https://portal.example.com, without a path")
    if not normal.startswith("https://") and not is_loopback(urlsplit(normal).hostname or ""):
        raise ValueError("must be https: passwords and tokens would cross the network in clear")
    return normal


def hostname_of(public_url: str) -> str:
    """By which an application and a stored portal are those of the portal with this public URL."""
    return urlsplit(public_url).hostname or "localhost"


def is_secure(origin: str) -> bool:
    """Whether cookies for this origin can be `Secure`."""
    return origin.startswith("https://")
