"""Where an upstream may not be, whatever a configuration, a redirect or a name server says: link-local addresses.

That is where clouds keep their metadata services and credentials (169.254.169.254, fe80::/10); no MCP server lives
there. Names are checked when they are resolved, and the address that was checked is the one connected to.
"""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver


def forbidden(address: str) -> bool:
    """Whether this is an IP address no upstream may have; False for names."""
    found = _parsed(address)
    return found is not None and (found.is_link_local or found.is_multicast or found.is_unspecified)


def loopback(address: str) -> bool:
    """Whether this is an IP address of the machine itself; False for names."""
    found = _parsed(address)
    return found is not None and found.is_loopback


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


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
