"""Answers that wait for their clients: how many bytes, whose they are, and which connection ends if there are too many.

A client that takes nothing keeps its answer in the portal's memory for as long as its connection lasts.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final, Protocol

EACH: Final = 64 << 20
MOST: Final = 256 << 20
"""How many bytes may wait for the clients of one network, and for all."""


class CanBeCut(Protocol):
    """A connection on which bytes wait."""

    def cut(self) -> None:
        """End it at once, and let go of what waits."""


class Unread:
    """The connections on which bytes wait, the one that waits longest first."""

    def __init__(self, most: int = MOST, each: int = EACH) -> None:
        self._most = most
        self._each = each
        self._waiting: OrderedDict[CanBeCut, tuple[str, int]] = OrderedDict()
        self._held: Counter[str] = Counter()
        self._total = 0

    def __len__(self) -> int:
        """The bytes that wait."""
        return self._total

    def waits(self, connection: CanBeCut, holder: str, size: int) -> None:
        """Note that so many bytes wait for a client of this holder. If the holder has too many, their connection that
        waits longest is cut; if all have too many together, that of the holder with the most."""
        self.ended(connection)
        self._waiting[connection] = holder, size
        self._held[holder] += size
        self._total += size
        while self._held[holder] > self._each:
            self._cut_oldest(holder)
        while self._total > self._most:
            self._cut_oldest(max(self._held, key=self._held.__getitem__))

    def ended(self, connection: CanBeCut) -> None:
        """Note that nothing waits on this connection any more."""
        found = self._waiting.pop(connection, None)
        if found is None:
            return
        holder, size = found
        self._held[holder] -= size
        self._total -= size
        if not self._held[holder]:
            del self._held[holder]

    def _cut_oldest(self, holder: str) -> None:
        oldest = next(connection for connection, (whose, _) in self._waiting.items() if whose == holder)
        self.ended(oldest)
        oldest.cut()
