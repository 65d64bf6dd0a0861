"""Fetching what a stranger named: public addresses only, checked when the name is resolved and connected to as checked.

A client's identifier is a URL that we fetch (OAuth Client ID Metadata Documents, section 6.5): without this, whoever
can reach `/authorize` could make the portal read from inside its network.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

SECONDS = 5.0
MAX_BYTES = 64 * 1024
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class FetchRefused(Exception):
    """Nothing was fetched, or what came is not wanted. The text is for logs."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, those that are wrapped in IPv6 included."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found.teredo is not None:
            inner = found.teredo[1]
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


class PublicResolver(AbstractResolver):
    """Knows no other than public addresses. aiohttp connects to what a resolver returns, so nothing can flip."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self._resolver is None:
            self._resolver = DefaultResolver()
        found = await self._resolver.resolve(host, port, family)
        public = [one for one in found if is_public(one["host"])]
        if not public or len(public) != len(found):
            raise OSError(None, f"{host} does not lead to the open internet")
        return public

    async def close(self) -> None:
        if self._resolver is not None:
            await self._resolver.close()


class PublicWeb:
    """Fetches small documents over HTTPS. `resolver` and `tls` are for tests."""

    def __init__(self, resolver: AbstractResolver | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._resolver = resolver or PublicResolver()
        self._tls = tls

    async def fetch(self, url: str) -> bytes:
        """The body at an https URL that answers 200 with JSON, without redirects.

        Raises:
            FetchRefused: anything else.
        """
        host = urlsplit(url).hostname or ""
        # aiohttp does not ask the resolver about addresses.
        if not url.startswith("https://") or _is_address(host):
            raise FetchRefused("only https URLs with a host name are fetched")
        connector = aiohttp.TCPConnector(
            resolver=self._resolver, ssl=self._tls or True, use_dns_cache=False, force_close=True
        )
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector, timeout=timeout, trust_env=False, auto_decompress=False
                ) as web,
                web.get(
                    url, allow_redirects=False, headers={"Accept": "application/json", "Accept-Encoding": "identity"}
                ) as response,
            ):
                if response.status != 200:
                    raise FetchRefused(f"the answer has status {response.status}")
                if response.content_type != "application/json" and not response.content_type.endswith("+json"):
                    raise FetchRefused("the answer is not JSON")
                body = bytearray()
                async for chunk in response.content.iter_chunked(16 * 1024):
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise FetchRefused(f"the answer is larger than {MAX_BYTES} bytes")
                return bytes(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise FetchRefused(f"it cannot be fetched ({type(error).__name__})") from error


def _is_address(host: str) -> bool:
    """Whether a host is an address in any spelling the system would take, `2130706433` included."""
    try:
        socket.inet_aton(host)
    except OSError:
        return ":" in host
    return True
