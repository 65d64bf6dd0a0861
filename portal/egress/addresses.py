"""Where an upstream may not be, whatever a configuration, a redirect or a name server says: link-local addresses.

That is where clouds keep their metadata services and credentials (169.254.169.254, fe80::/10), but for the few that
have another place; no MCP server lives there, however the address is wrapped in IPv6. Names are checked when they are
resolved, and the address that was checked is the one connected to.
"""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

_METADATA = frozenset(
    ipaddress.ip_address(address)
    # Amazon (over IPv6), Google (over IPv6), Azure's WireServer, Alibaba, Oracle.
    for address in ("fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def forbidden(address: str) -> bool:
    """Whether this is an IP address no upstream may have; False for names."""
    found = _parsed(address)
    if found is None:
        return False
    return found.is_link_local or found.is_multicast or found.is_unspecified or found in _METADATA


def loopback(address: str) -> bool:
    """Whether this is an IP address of the machine itself; False for names."""
    found = _parsed(address)
    return found is not None and found.is_loopback


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return found.ipv4_mapped or found.sixtofour or found
    return found


class CheckedResolver(AbstractResolver):
    """The system's resolver without forbidden addresses."""

    def __init__(self) -> None:
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if not forbidden(one["host"])]
        if not allowed:
            raise OSError(None, f"{host} has no address an upstream may have")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()
