"""Writes small MaxMind databases (format 2.0, IPv6 tree, 24-bit records) for tests: networks and their countries."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any


def database(countries: Mapping[str, str]) -> bytes:
    """A country database; IPv4 networks lie under ::/96, as in the published ones."""
    nodes: list[list[int | str | None]] = [[None, None]]
    for written, code in countries.items():
        network = ipaddress.ip_network(written)
        bits = network.prefixlen + (96 if network.version == 4 else 0)
        number = int(network.network_address)
        at = 0
        for depth in range(bits):
            bit = number >> (127 - depth) & 1
            if depth == bits - 1:
                nodes[at][bit] = code
                break
            following = nodes[at][bit]
            if not isinstance(following, int):
                nodes.append([None, None])
                following = nodes[at][bit] = len(nodes) - 1
            at = following
    data = b""
    places: dict[str, int] = {}
    for code in dict.fromkeys(countries.values()):
        places[code] = len(data)
        data += encoded({"country": {"iso_code": code}})
    count = len(nodes)

    def record(value: int | str | None) -> bytes:
        if isinstance(value, str):
            return (count + 16 + places[value]).to_bytes(3, "big")
        return (count if value is None else value).to_bytes(3, "big")

    tree = b"".join(record(side) for node in nodes for side in node)
    about = {
        "node_count": count,
        "record_size": 24,
        "ip_version": 6,
        "database_type": "Test-Country",
        "languages": [],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 0,
        "description": {},
    }
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encoded(about)


def encoded(value: Any) -> bytes:
    """The format's own data: maps, arrays, short texts and 32-bit numbers are all it takes."""
    if isinstance(value, dict):
        return bytes([0xE0 | len(value)]) + b"".join(encoded(k) + encoded(v) for k, v in value.items())
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(encoded(part) for part in value)
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0x40 | len(text)]) if len(text) < 29 else bytes([0x5D, len(text) - 29])) + text
    return bytes([0xC4]) + int(value).to_bytes(4, "big")
