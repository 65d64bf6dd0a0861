"""The address of a client, also of one that comes through proxies. Pure."""

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from starlette.types import Scope

Proxies: TypeAlias = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
"""The networks whose `X-Forwarded-For` is believed."""


def client_ip(scope: Scope, proxies: Proxies = ()) -> str:
    """The address of the client: the peer's, or, through trusted proxies, the last one that is none of theirs."""
    client = scope.get("client")
    ip = str(client[0]) if client else ""
    if not proxies or not is_within(ip, proxies):
        return ip
    forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for hop in reversed([hop.strip() for line in forwarded for hop in line.split(",")]):
        try:
            ip = str(ipaddress.ip_address(hop))
        except ValueError:
            return ip
        if not is_within(ip, proxies):
            return ip
    return ip


def is_within(ip: str, networks: Proxies) -> bool:
    """Whether an address is in one of these networks. What is no address is in none."""
    if not networks:
        return False
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        # So a socket that listens for both kinds shows an IPv4 address.
        address = address.ipv4_mapped
    return any(address in network for network in networks)
