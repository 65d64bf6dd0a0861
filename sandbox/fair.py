"""Who goes next: waiting work is served round robin across identities and first in, first out within one.

`FairQueue` is the decision alone: no clock, no event loop. `Slots` puts asyncio's waiting round it. Neither knows what
a place to run is: the owner of the places passes a function that takes one, or says that there is none for now.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from sandbox.errors import Overloaded

T = TypeVar("T")
Work = TypeVar("Work")
Place = TypeVar("Place")


class FairQueue(Generic[T]):
    """Items in one line per identity. The identity served last goes to the back; a line that empties is forgotten."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return (item for line in tuple(self._lines.values()) for item in tuple(line))

    def __repr__(self) -> str:
        return f"<FairQueue {self._length} waiting, {len(self._lines)} identities>"

    def push(self, identity: str, item: T) -> None:
        self._lines.setdefault(identity, deque()).append(item)
        self._length += 1

    def pop(self, take: Callable[[T], bool]) -> T | None:
        """Remove and return the first item, in fair order, for which `take` is true; None when there is none.

        `take` may have the effect of taking: it is not called again once it has answered yes.
        """
        for identity, line in self._lines.items():
            for item in line:
                if take(item):
                    self.remove(identity, item)
                    if identity in self._lines:
                        self._lines[identity] = self._lines.pop(identity)
                    return item
        return None

    def remove(self, identity: str, item: T) -> bool:
        """Take `item` out of its line; False when it was not there."""
        line = self._lines.get(identity)
        if line is None or item not in line:
            return False
        line.remove(item)
        self._length -= 1
        if not line:
            del self._lines[identity]
        return True

    def newest(self, identity: str, which: Callable[[T], bool]) -> T | None:
        """The item of this identity that came last and satisfies `which`."""
        return next((item for item in reversed(self._lines.get(identity, ())) if which(item)), None)


class _Waiter(Generic[Work, Place]):
    __slots__ = ("granted", "identity", "refusable", "work")

    def __init__(self, identity: str, work: Work, refusable: bool, granted: "asyncio.Future[Place]") -> None:
        self.identity = identity
        self.work = work
        self.refusable = refusable
        self.granted = granted


class Slots(Generic[Work, Place]):
    """Hands out places to run. Waiting is bounded for new work; work that already runs is never refused.

    When the queue is full, the identity with the longest line loses: its newest waiter is refused, or the newcomer is,
    if no line is longer than the newcomer's own. So one identity cannot fill the queue against the others.

    `place` takes a free place for the work it is given, or answers None; `release` gives one back (and calls `pump`).
    """

    def __init__(self, place: Callable[[Work], Place | None], release: Callable[[Place], None], *, bound: int) -> None:
        self._place = place
        self._release = release
        self._bound = bound
        self._queue: FairQueue[_Waiter[Work, Place]] = FairQueue()
        self._refusable: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Slots {len(self._queue)} waiting, bound {self._bound}>"

    @property
    def waiting(self) -> int:
        """How much work waits for a place."""
        return len(self._queue)

    async def acquire(self, identity: str, work: Work, *, refusable: bool = True) -> Place:
        """A place for `work`, at once when there is one and nobody waits.

        Raises:
            Overloaded: the queue is full (only when `refusable`).
        """
        if not self._queue:
            place = self._place(work)
            if place is not None:
                return place
        if refusable:
            self._make_room(identity)
            self._refusable[identity] += 1
        waiter = _Waiter[Work, Place](identity, work, refusable, asyncio.get_running_loop().create_future())
        self._queue.push(identity, waiter)
        try:
            self.pump()
            return await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self._release(granted.result())
            raise
        finally:
            self._queue.remove(identity, waiter)
            if refusable:
                self._refusable[identity] -= 1
                self._refusable += Counter()  # drops the zeros

    def pump(self) -> None:
        """Hand out what places there are now. To be called whenever one may have become free."""
        while len(self._queue) and self._queue.pop(self._grant) is not None:
            pass

    def fail(self, error: Exception, which: Callable[[Work], bool] = lambda _: True) -> None:
        """Let the waiting work for which `which` is true (all, if not given) fail with `error`."""
        for waiter in self._queue:
            if which(waiter.work) and not waiter.granted.done():
                waiter.granted.set_exception(type(error)(*error.args))

    def _grant(self, waiter: _Waiter[Work, Place]) -> bool:
        if waiter.granted.done():
            return False
        place = self._place(waiter.work)
        if place is None:
            return False
        waiter.granted.set_result(place)
        return True

    def _make_room(self, identity: str) -> None:
        if self._refusable.total() < self._bound:
            return
        refusal = Overloaded(f"{self._bound} programs wait for a place to run already: try again later")
        longest, length = self._refusable.most_common(1)[0] if self._refusable else (identity, 0)
        if length <= self._refusable[identity] + 1:
            raise refusal
        victim = self._queue.newest(longest, lambda waiter: waiter.refusable and not waiter.granted.done())
        if victim is None:
            raise refusal
        victim.granted.set_exception(refusal)
