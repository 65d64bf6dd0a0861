"""Where portals and the servers behind them are: which requests go to a portal, and which around it. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from portal.shadow.request import LogRequest, read_authority, read_target

PORTAL_AGENT = "codemode-portal"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
ORDINARY_PORTS = (80, 443)


@dataclass(frozen=True, slots=True)
class EndpointPlace:
    """An address: a host, its port (None for any), and the path that all of it is below ("" for every path)."""

    host: str
    port: int | None = None
    path: str = ""

    @classmethod
    def of(cls, url: str) -> EndpointPlace:
        """The place of a URL, `https://agents.example.com/mcp`.

        Raises:
            ValueError: this is no URL with a host.
        """
        target = read_target(url)
        if not target.host:
            raise ValueError("must be a URL such as https://agents.example.com/mcp")
        return cls(target.host, target.port, (target.path or "").rstrip("/"))

    def has(self, request: LogRequest) -> bool:
        """Whether the request goes here. Where a log has no port or no path, the host decides, except on loopback: a
        name that every machine has for itself says nothing without its port."""
        if request.host != self.host or not self._is_port(request.port):
            return False
        if request.path is None or not self.path:
            return True
        return request.path == self.path or request.path.startswith(f"{self.path}/")

    def _is_port(self, port: int | None) -> bool:
        if self.port is None or port == self.port:
            return True
        return port is None and (self.port in ORDINARY_PORTS or not is_loopback(self.host))


@dataclass(frozen=True, slots=True)
class Portals:
    """The portals, and the servers they serve, by id. `addresses` are those from which the portals themselves connect;
    if there are none, a request says by its user agent that it is theirs."""

    places: tuple[EndpointPlace, ...] = ()
    servers: tuple[tuple[str, EndpointPlace], ...] = ()
    addresses: frozenset[str] = frozenset()

    @property
    def words(self) -> frozenset[str]:
        """What is in each line about one of these places, but for those on loopback: their hosts say nothing."""
        places = (*self.places, *(place for _, place in self.servers))
        return frozenset(place.host for place in places if not is_loopback(place.host))

    def take(self, request: LogRequest) -> bool:
        """Whether the request goes to a portal."""
        return any(place.has(request) for place in self.places)

    def serve(self, request: LogRequest) -> str:
        """The id of the server behind a portal that the request goes to; "" if there is none."""
        return next((id for id, place in self.servers if place.has(request)), "")

    def make(self, request: LogRequest) -> bool:
        """Whether a portal made the request."""
        if self.addresses:
            return request.address in self.addresses
        return request.agent == PORTAL_AGENT and bool(self.serve(request))


@dataclass(frozen=True, slots=True)
class Hosts:
    """Names of hosts that a report is about: `mcp.example.com`, or `*.example.com` for all below. None means all."""

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> Hosts:
        """Raises `ValueError` for what is no name."""
        read = tuple(name.strip().lower() for name in names)
        for name in read:
            if not read_authority(name.removeprefix("*."))[0]:
                raise ValueError(f"{name!r} is no host; write one such as mcp.example.com or *.example.com")
        return cls(read)

    def have(self, host: str) -> bool:
        if not self.names:
            return True
        return any(host.endswith(name[1:]) if name.startswith("*.") else host == name for name in self.names)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
