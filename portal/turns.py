"""Turns at something of which there is only so much at once. Whoever gets none waits, and no holder waits behind all
that another one wants.

A refusal would be wrong where the wait is short: a program makes fifty calls at once and expects fifty results.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass

from portal.shares import Full


@dataclass(frozen=True, slots=True)
class Room:
    """At most `most` turns at once, and `each` for one holder. The last `kept` are for holders with fewer than `few`,
    so that a newcomer gets a turn at once while others have all that they may have. At most `waiting` wait for one
    holder."""

    most: int
    each: int
    kept: int
    few: int = 4
    waiting: int = 1_000


class FairTurns:
    """Gives out the turns of a room. Holders that wait are served one after the other, one turn each.

    The holder "" has no part of its own: only `most` applies.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self._total = 0
        self._held: dict[str, int] = {}
        # In the order in which they are served. Nobody waits in it who could have a turn now.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def __len__(self) -> int:
        """How many turns are taken."""
        return self._total

    def of(self, holder: str) -> int:
        """How many turns this holder has."""
        return self._held.get(holder, 0)

    def waiting(self, holder: str) -> int:
        """How many wait for a turn of this holder."""
        return len(self._waiting.get(holder, ()))

    async def take(self, holder: str, seconds: float) -> None:
        """Wait at most so many seconds for a turn. Give it back with `give_back`.

        Raises:
            Full: there is none, in the holder's part or at all. Nothing was taken.
        """
        if self._may_have(holder):
            self._give(holder)
            return
        if self.waiting(holder) >= self.room.waiting:
            raise self._full(holder)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(holder, deque()).append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # It came as the wait ended.
                self.give_back(holder)
            else:
                self._leave(holder, turn)
            if isinstance(error, TimeoutError):
                raise self._full(holder) from None
            raise

    def give_back(self, holder: str) -> None:
        """End a turn: whoever waits for one gets it."""
        self._total -= 1
        left = self._held[holder] - 1
        if left:
            self._held[holder] = left
        else:
            del self._held[holder]
        if self._waiting:
            self._serve()

    def _may_have(self, holder: str) -> bool:
        room, own = self.room, self._held.get(holder, 0)
        if self._total >= room.most:
            return False
        if not holder:
            return True
        return own < room.each and (own < room.few or self._total < room.most - room.kept)

    def _give(self, holder: str) -> None:
        self._total += 1
        self._held[holder] = self._held.get(holder, 0) + 1

    def _serve(self) -> None:
        for holder in tuple(self._waiting):
            if self._total >= self.room.most:
                return
            if not self._may_have(holder):
                continue
            queue = self._waiting[holder]
            turn = queue.popleft()
            while turn.done() and queue:
                turn = queue.popleft()
            if queue:
                self._waiting.move_to_end(holder)
            else:
                del self._waiting[holder]
            if not turn.done():  # One that was cancelled waits no longer.
                self._give(holder)
                turn.set_result(None)

    def _leave(self, holder: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(holder)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[holder]

    def _full(self, holder: str) -> Full:
        own = bool(holder) and self.of(holder) >= self.room.each
        return Full(self.room.each if own else self.room.most, own=own)
