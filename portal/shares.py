"""A cap with a part for each holder: so many of something in all, and so many of them for one person or one address.

Without the part, one holder could take everything, and everybody else would be refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from time import monotonic

from portal.errors import PortalError
from portal.identity import Identity

# What one customer of a provider gets (RFC 6177): whoever has one address of it has them all.
_PREFIX_OF_ONE_CUSTOMER = 64
STRANGERS = "address:"
"""What the holders begin with who have not signed in."""


def network_of(address: str) -> str:
    """The network that an IP address counts as: an IPv6 address as its network of 64 bits, an IPv4 address as itself,
    and so does any other text."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, _PREFIX_OF_ONE_CUSTOMER), strict=False))


def holder_of(identity: Identity | None) -> str:
    """Whose part something counts in: the key of the caller, or the network of whoever has not signed in. "" where
    nobody signs in at all: that is the operator, for whom there is only the cap."""
    if identity is None:
        return ""
    return identity.key or f"{STRANGERS}{network_of(identity.ip)}"


class Full(PortalError):
    """There is no room for one more. With `own` the holder's part is used up, else the whole cap; `most` is the size of
    the one that is used up."""

    def __init__(self, most: int, *, own: bool) -> None:
        self.most = most
        self.own = own
        super().__init__(f"{most} are taken already, the most {'for one' if own else 'in all'}")

    @property
    def reason(self) -> str:
        """What a refusal is called, for programs."""
        return "share" if self.own else "full"

    def data(self, seconds: int) -> dict[str, object]:
        """The `data` of a JSON-RPC error that says so, and after how many seconds it may be tried again."""
        return {"reason": self.reason, "retryAfter": seconds}


class Shares:
    """At most `most` in all and `each` for one holder, counted in things or in bytes. The holder "" has no part of its
    own: only `most` applies."""

    def __init__(self, most: int, each: int) -> None:
        self.most = most
        self.each = each
        self._total = 0
        # No entry stays for whoever holds nothing: holders are as many as addresses.
        self._held: dict[str, int] = {}

    def __len__(self) -> int:
        """How much is taken in all."""
        return self._total

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Shares {self._total} of {self.most}, {len(self._held)} holders>"

    def of(self, holder: str) -> int:
        """How much this holder has."""
        return self._held.get(holder, 0)

    @property
    def largest(self) -> str:
        """Who has the most, "" if nobody has anything."""
        return max(self._held, key=self._held.__getitem__, default="")

    def full_for(self, holder: str, size: int = 1) -> Full | None:
        """Why this holder cannot have `size` more; None if they can."""
        if holder and self._held.get(holder, 0) + size > self.each:
            return Full(self.each, own=True)
        return Full(self.most, own=False) if self._total + size > self.most else None

    def take(self, holder: str, size: int = 1) -> None:
        """Count `size` more for this holder. Give it back with `give_back`.

        Raises:
            Full: there is no room, in the holder's part or at all. Nothing was counted.
        """
        if (full := self.full_for(holder, size)) is not None:
            raise full
        self._held[holder] = self._held.get(holder, 0) + size
        self._total += size

    def give_back(self, holder: str, size: int = 1) -> None:
        """Count `size` less for a holder who took as much."""
        left = self._held.get(holder, 0) - size
        assert left >= 0, "more is given back than was taken"
        self._total -= size
        if left:
            self._held[holder] = left
        else:
            self._held.pop(holder, None)

    def gives_way(self, holder: str) -> str | None:
        """Who must give something back before this holder may have one more; None if nobody must, or nobody can.

        Whose part is used up gives way to themselves. Where everything is taken, it is whoever has the most: nobody
        gives way to somebody who has as much.
        """
        own = self._held.get(holder, 0)
        if holder and own >= self.each:
            return holder
        if self._total < self.most or not self._held:
            return None
        largest = self.largest
        if self._held[largest] > own + 1:
            return largest
        return holder if own else None

    @contextmanager
    def held(self, holder: str, size: int = 1) -> Iterator[None]:
        """A block for which `size` is taken.

        Raises:
            Full: as `take`.
        """
        self.take(holder, size)
        try:
            yield
        finally:
            self.give_back(holder, size)


class Lent:
    """Shares that come back by themselves after `seconds`, and not before."""

    def __init__(self, shares: Shares, seconds: float, clock: Callable[[], float] = lambda: monotonic()) -> None:
        self.seconds = seconds
        self._shares = shares
        self._clock = clock
        self._ends: deque[tuple[float, str]] = deque()

    def __len__(self) -> int:
        """How much is taken in all."""
        self._end()
        return len(self._shares)

    def __bool__(self) -> bool:
        return True

    def take(self, holder: str) -> None:
        """Count one more for this holder, for as long as it lasts.

        Raises:
            Full: there is no room, in the holder's part or at all. Nothing was counted.
        """
        self._end()
        self._shares.take(holder)
        self._ends.append((self._clock() + self.seconds, holder))

    def _end(self) -> None:
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            self._shares.give_back(self._ends.popleft()[1])
