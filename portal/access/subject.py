"""An identity prepared for rules: the values that many rules need, computed once."""

from __future__ import annotations

import ipaddress
from functools import cached_property

from portal.identity import Identity


class Subject:
    """An identity for one decision, or a few in a row. `known_groups` caches the outcome of reusable groups."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.email = identity.email.lower()
        self.domain = self.email.rpartition("@")[2]
        self.known_groups: dict[str, bool | None] = {}

    @cached_property
    def email_unknown(self) -> bool:
        """Whether the caller logged in but their address is unknown. A caller without a login has no address."""
        return not self.email and self.identity.logged_in

    @cached_property
    def address(self) -> tuple[int, int] | None:
        """(IP version, address as a number); None if it is unknown. An IPv4-mapped IPv6 address counts as IPv4."""
        try:
            address = ipaddress.ip_address(self.identity.ip)
        except ValueError:
            return None
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (4, int(mapped)) if mapped is not None else (address.version, int(address))

    @cached_property
    def group_ids(self) -> frozenset[str]:
        return frozenset(group.id for group in self.identity.groups if group.id)

    @cached_property
    def group_names(self) -> frozenset[str]:
        return frozenset(group.name for group in self.identity.groups if group.name)

    @cached_property
    def group_emails(self) -> frozenset[str]:
        return frozenset(group.email.lower() for group in self.identity.groups if group.email)
