"""Which IP addresses the portal may connect to: one rule for each kind of person who can name a place.

An administrator may name services inside the network and on this machine; a stranger may name public ones only. Nobody
may name a link-local address or a cloud's own service: that is where clouds hand credentials to whoever asks.

The rules are pure functions. `checked_connector` applies them where connections are opened: to every address that a
name resolves to, and to every socket, so the address that was checked is the one connected to.
"""

from __future__ import annotations

import asyncio
import re
import socket
import unicodedata
from enum import Enum
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from portal.egress.names import NameFailed, Wish, Wisher, resolver_here

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# Metadata and credential services outside the link-local ranges. Most clouds use 169.254.0.0/16 and fe80::/10.
CLOUD_SERVICES: tuple[Network, ...] = (
    ip_network("fd00:ec2::/32"),  # Amazon: instance metadata, EKS pod identity, name and time servers
    ip_network("fd20:ce::254"),  # Google
    ip_network("fd00:c1::a9fe:a9fe"),  # Oracle
    ip_network("fd00:42::42"),  # Scaleway
    ip_network("fd00:a9fe:a9fe::1"),  # Akamai
    ip_network("fd00:100::100:200"),  # Alibaba
    ip_network("100.100.100.200"),  # Alibaba
    ip_network("168.63.129.16"),  # Azure's WireServer; the only one that looks public
    ip_network("192.0.0.192"),  # Oracle, classic
)

# IPv6 networks whose last 32 bits are the IPv4 address that packets end up at: IPv4-compatible and IPv4-mapped
# (RFC 4291 2.5.5), IPv4-translated (RFC 2765 2.1), NAT64 (RFC 6052 2.1).
_ENDS_IN_IPV4 = tuple(map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_THIS_NETWORK = IPv4Network("0.0.0.0/8")

# All IPv6 addresses that are assigned to the public internet (RFC 4291 2.4, IANA).
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Special-purpose networks (IANA) that `is_global` of some supported Python takes for public.
_NOT_PUBLIC: tuple[Network, ...] = (
    ip_network("192.0.0.0/24"),  # protocol assignments
    ip_network("192.88.99.0/24"),  # 6to4 relays, deprecated
    ip_network("3fff::/20"),  # documentation
)

# How many addresses of one name are tried.
MOST_ADDRESSES = 16
# How many seconds one of them has to take a connection, unless the caller says otherwise.
CONNECT_SECONDS = 5.0

_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


class AddressRule(Enum):
    """Who named the place a request goes to, and so which addresses it may be at."""

    NOT_LINK_LOCAL = "an administrator named it"
    PUBLIC_ONLY = "a stranger named it"

    @property
    def wish(self) -> Wish:
        """Whose wish it is to know the addresses of a name, unless the caller says more precisely."""
        return Wish(Wisher.ADMINISTRATOR if self is AddressRule.NOT_LINK_LOCAL else Wisher.ANYBODY)

    def allows(self, address: str) -> bool:
        """Whether a socket may be connected to this IP address. False for text that is no IP address."""
        try:
            parsed = address_of(address)
        except ValueError:
            return False
        return parsed is not None and all(map(self._allows, destinations(parsed)))

    def allows_host(self, host: str) -> bool:
        """Whether the host of a URL may be asked. True for every name: its addresses are judged when it resolves."""
        try:
            parsed = address_of(host)
        except ValueError:
            return False
        return parsed is None or all(map(self._allows, destinations(parsed)))

    def _allows(self, address: Address) -> bool:
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        if any(address in network for network in CLOUD_SERVICES):
            return False
        return self is AddressRule.NOT_LINK_LOCAL or _is_public(address)


class AddressRefused(OSError):
    """The rule forbids the address, so no connection was opened. The text names the host."""


def address_of(host: str) -> Address | None:
    """The IP address that the host of a URL spells, in any spelling the system would connect to. None for a name.

    `2130706433`, `0x7f.1` and `127.1` are 127.0.0.1 (inet_aton), and so are digits of other scripts (UTS 46).

    Raises:
        ValueError: it ends in a number, as no name does (WHATWG URL, "ends in a number"), but is no address.
    """
    host = _ascii(host).removeprefix("[").removesuffix("]")
    if ":" in host:
        return IPv6Address(host.partition("%")[0])
    host = host.removesuffix(".")
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        raise ValueError(f"{host!r} is neither a name nor an IP address") from None


def is_loopback_host(host: str) -> bool:
    """Whether the host of a URL spells an address of this machine. False for a name, also for one that leads here."""
    try:
        parsed = address_of(host)
    except ValueError:
        return False
    return parsed is not None and any(address.is_loopback for address in destinations(parsed))


def destinations(address: Address) -> tuple[Address, ...]:
    """The addresses that packets to this one may end up at: itself, or the IPv4 addresses it carries."""
    if isinstance(address, IPv4Address) or address.is_unspecified or address.is_loopback:
        return (address,)
    if any(address in network for network in _ENDS_IN_IPV4):
        return (_ipv4(address, 0),)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _LOCAL_NAT64:
        # The operator chooses how long the prefix is, so each reading counts (RFC 6052 2.2). A reading that begins
        # with a zero is none: it comes from the zeros between a prefix and an address that is further right.
        readings = (_ipv4(address, 0), *(_around_octet_8(address, length) for length in (48, 56, 64)))
        return (address, *(reading for reading in readings if reading not in _THIS_NETWORK))
    return (address,)


def checked_connector(
    rule: AddressRule, resolver: AbstractResolver | None = None, *, wish: Wish | None = None, **options: Any
) -> aiohttp.TCPConnector:
    """A connector that opens connections only where the rule allows. Call it in a running event loop.

    `wish` says who wants the addresses of names: whom the rule says, unless given. `resolver` is the loop's unless
    given; `options` are aiohttp's. Connecting elsewhere fails with an `aiohttp.ClientConnectorError` whose `os_error`
    is `AddressRefused`; for a name without an address it is `NameFailed`.
    """
    checked = _CheckedResolver(rule, resolver or _LoopResolver(wish or rule.wish))
    # aiohttp does not ask the resolver about hosts that it takes for addresses itself, but asks for every socket.
    # Its own cache would ask on for those who gave up.
    return aiohttp.TCPConnector(
        resolver=checked, socket_factory=partial(_checked_socket, rule), use_dns_cache=False, **options
    )


async def connected(host: str, port: int, rule: AddressRule) -> socket.socket:
    """A socket that is connected to the first address of a host, a name or an address, that takes it. It does not
    block.

    Raises:
        OSError: none does, or the rule forbids them (`AddressRefused`), or there is none (`NameFailed`).
    """
    if not rule.allows_host(host):
        raise AddressRefused(None, f"{host} is an address that may not be connected to")
    spelled = address_of(host)
    resolver = _CheckedResolver(rule, _LoopResolver(rule.wish))
    found = (
        [str(spelled)] if spelled is not None else [one["host"] for one in await resolver.resolve(_ascii(host), port)]
    )
    problem: OSError = NameFailed("there is no address")
    for address in found:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            opened = _checked_socket(rule, (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)))
        except OSError as error:
            problem = error
            continue
        try:
            opened.setblocking(False)
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(opened, (address, port))
        except BaseException as error:
            opened.close()
            if not isinstance(error, OSError):
                raise
            problem = error
        else:
            return opened
    raise problem


class _LoopResolver(AbstractResolver):
    """The resolver of the running event loop, for one who wants to know addresses."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await resolver_here().addresses(host, self._wish)
        ]

    async def close(self) -> None:
        return None


class _CheckedResolver(AbstractResolver):
    """Leaves out the addresses that the rule forbids.

    A service that an administrator named may have a link-local address next to its own, as mDNS lists them. A name
    from a stranger with one public and one private address is an attempt to get in, and is refused altogether.
    """

    def __init__(self, rule: AddressRule, resolver: AbstractResolver) -> None:
        self._rule = rule
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        allowed = [result for result in results if self._rule.allows(result["host"])]
        if not allowed or (self._rule is AddressRule.PUBLIC_ONLY and len(allowed) < len(results)):
            raise AddressRefused(None, f"{host} resolves to an address that may not be connected to")
        return allowed[:MOST_ADDRESSES]

    async def close(self) -> None:
        await self._resolver.close()


def _checked_socket(rule: AddressRule, target: tuple[Any, ...]) -> socket.socket:
    """A socket for one entry of `getaddrinfo`."""
    family, kind, protocol, _, (host, *_) = target
    if not rule.allows(host):
        raise AddressRefused(None, f"{host} is an address that may not be connected to")
    return socket.socket(family, kind, protocol)


def _is_public(address: Address) -> bool:
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and (isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST)


def _ipv4(address: IPv6Address, bits_after: int) -> IPv4Address:
    return IPv4Address(int(address) >> bits_after & 0xFFFFFFFF)


def _around_octet_8(address: IPv6Address, length: int) -> IPv4Address:
    """The IPv4 address after a prefix of `length` bits. Octet 8 belongs to neither (RFC 6052 2.2)."""
    packed = address.packed[:8] + address.packed[9:]
    return IPv4Address(packed[length // 8 : length // 8 + 4])


def _ascii(host: str) -> str:
    """The host as it goes to the resolver. One that has no such form is left as it is; nothing connects to it."""
    if host.isascii():
        return host
    try:
        return unicodedata.normalize("NFKC", host).encode("idna").decode()
    except UnicodeError:
        return host
