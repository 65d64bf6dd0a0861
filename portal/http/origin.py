"""Where a portal is: its origin (the configured public URL, or, on loopback, the request's own) and its path prefix.

Everything OAuth compares as text starts with it: issuer, resource, redirect of a login. Without a public URL only
loopback names are answered for, where the port may not be known before the portal listens.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from portal.http.bind import is_loopback
from portal.http.edge import DEFAULT_PORTS, normal_origin, split_host
from portal.http.refusal import Refusal
from portal.http.urls import normal_url


@dataclass(frozen=True, slots=True)
class PortalAddress:
    """The address of one portal: `https://host`, or `http://127.0.0.1:8787` with the prefix `/docs`.

    `prefix` is "" for a portal at the root of its origin; otherwise it starts with a slash and does not end with one.
    """

    origin: str
    prefix: str = ""

    def url(self, path: str = "") -> str:
        """The URL of a path of this portal; without a path the portal's own, which is its issuer."""
        return f"{self.origin}{self.prefix}{path}"

    def path(self, path: str) -> str:
        """A path of this portal as a browser asks the origin for it: for redirects, links and forms."""
        return f"{self.prefix}{path}"

    def within(self, path: str) -> str | None:
        """A path of the origin as a path of this portal, "" for the portal itself; None if it belongs to another."""
        if path != self.prefix and not path.startswith(f"{self.prefix}/"):
            return None
        return path.removeprefix(self.prefix)


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
        """`scheme://host[:port]` in its normal spelling.

        Raises:
            Refusal: there is no public URL, and the request names a host beyond loopback.
        """
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
        origin = f"http://{name}:{port}" if port and port != DEFAULT_PORTS["http"] else f"http://{name}"
        # IPv6 has many spellings, and most clients send the short one.
        return (normal_url(origin) or origin).removesuffix("/") if name.startswith("[") else origin

    def address(self, scope: Scope) -> PortalAddress:
        """The address of the portal that this request reached: `root_path` is where it is mounted (ASGI 3.0, HTTP).

        Raises:
            Refusal: as `of`.
        """
        return PortalAddress(self.of(scope), scope.get("root_path", "").rstrip("/"))


def path_within(scope: Scope) -> str:
    """The path of a request within its portal: without the `root_path` in front (ASGI 3.0, HTTP)."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _https_origin(url: str) -> str:
    normal = normal_origin(url.rstrip("/"))
    if normal is None:
        raise ValueError("must be an origin such as https://portal.example.com, without a path")
    if not normal.startswith("https://") and not is_loopback(urlsplit(normal).hostname or ""):
        raise ValueError("must be https: passwords and tokens would cross the network in clear")
    return normal


def hostname_of(public_url: str) -> str:
    """The name by which applications and stored portals speak of the portal with this public URL."""
    return urlsplit(public_url).hostname or "localhost"


def is_secure(origin: str) -> bool:
    """Whether cookies for this origin can be `Secure`."""
    return origin.startswith("https://")
