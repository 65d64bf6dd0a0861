"""Open connections: how many one network and all may have, and which one gives way to a newcomer.

A connection on which nothing is asked costs its client nothing, and the portal some memory and a descriptor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import choices
from time import monotonic
from typing import Final, Protocol

import structlog

from portal.shares import Full, Shares

MOST_LOOKED_AT: Final = 32
"""Of so many connections, drawn by lot, the one that gives way is chosen: in a flood each newcomer costs the same."""
QUIET_SECONDS: Final = 60.0
"""A flood has ended when for so long there was room for every newcomer."""


class Idles(Protocol):
    """An open connection, on which a request may be under way."""

    def ends_at(self) -> float | None:
        """When it ends by itself if its client sends nothing, on the clock of all of them; None while it is in use."""

    def end_idle(self) -> None:
        """End it. It is not in use."""


class ConnectionRoom:
    """The open connections, at most `most`, and of one network at most `each`. Without `each`, and for the holder "",
    only `most` applies.

    Where there is no room, a connection that is not in use gives way: one of the newcomer's own network if its part is
    used up; else one of the network with the most, if that has more than the newcomer's. It is the one that would end
    first by itself. Connections of the holder "" give way to that holder alone.

    `refused` counts the newcomers for whom nothing gave way, `ended` the connections that did.
    """

    def __init__(self, most: int, each: int | None, clock: Callable[[], float] = lambda: monotonic()) -> None:
        self.refused = 0
        self.ended = 0
        self._shares = Shares(most, most if each is None else each)
        self._has_parts = each is not None
        self._clock = clock
        self._holders: dict[Idles, str] = {}
        self._all = _Drawn()
        self._of: dict[str, _Drawn] = {}
        self._full_at: dict[bool, float] = {}
        self._log = structlog.get_logger("portal.http")

    def __len__(self) -> int:
        """How many are open."""
        return len(self._holders)

    def enter(self, connection: Idles, holder: str) -> Full | None:
        """Why there is no room for a new connection of this holder. None if it has come in: it counts until `left`."""
        if not self._has_parts:
            holder = ""
        if (full := self._shares.full_for(holder)) is not None:
            idle = self._gives_way(holder, full)
            if idle is None:
                self.refused += 1
            else:
                self.ended += 1
                self.left(idle)
                idle.end_idle()
            self._note(full, holder)
            if idle is None:
                return full
        self._shares.take(holder)
        self._holders[connection] = holder
        self._all.add(connection)
        self._of.setdefault(holder, _Drawn()).add(connection)
        return None

    def left(self, connection: Idles) -> None:
        """Note that a connection is no longer open. One that never came in, or has left before, is nothing."""
        holder = self._holders.pop(connection, None)
        if holder is None:
            return
        self._shares.give_back(holder)
        self._all.remove(connection)
        own = self._of[holder]
        own.remove(connection)
        if not len(own):
            del self._of[holder]

    def _gives_way(self, holder: str, full: Full) -> Idles | None:
        """The connection that ends so that this holder has room for one more."""
        own = self._weight(holder)
        found: tuple[int, float] | None = None
        chosen: Idles | None = None
        for connection in (self._of[holder] if full.own else self._all).some(MOST_LOOKED_AT):
            whose = self._holders[connection]
            weight = self._weight(whose)
            if whose != holder and weight <= own:
                continue
            ends = connection.ends_at()
            if ends is not None and (found is None or (-weight, ends) < found):
                found, chosen = (-weight, ends), connection
        return chosen

    def _weight(self, holder: str) -> int:
        """How much whoever has the most has to give way: the holder "" never to anybody."""
        return self._shares.of(holder) if holder else 0

    def _note(self, full: Full, holder: str) -> None:
        """Log that a flood has begun, once for those of networks and once for those of all."""
        now = self._clock()
        if now - self._full_at.get(full.own, float("-inf")) >= QUIET_SECONDS:
            self._log.warning(
                "there is no room for more connections",
                reason=full.reason,
                most=full.most,
                network=holder,
                refused=self.refused,
                ended=self.ended,
            )
        self._full_at[full.own] = now


class _Drawn:
    """Connections of which some can be drawn by lot, however many there are."""

    def __init__(self) -> None:
        self._members: list[Idles] = []
        self._places: dict[Idles, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def add(self, connection: Idles) -> None:
        self._places[connection] = len(self._members)
        self._members.append(connection)

    def remove(self, connection: Idles) -> None:
        place, last = self._places.pop(connection), self._members.pop()
        if last is not connection:
            self._members[place] = last
            self._places[last] = place

    def some(self, most: int) -> Sequence[Idles]:
        """All of them, or `most` drawn by lot."""
        return self._members if len(self._members) <= most else choices(self._members, k=most)
