"""Who computes next: work is served round robin across identities and first in, first out within one.

`FairQueue` is that decision alone, without a clock or an event loop. `Slots` adds waiting (asyncio) and turns. Neither
knows what a place to run is; its owner, a `Host`, does.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from sandbox.errors import Overloaded

T = TypeVar("T")
Work = TypeVar("Work")
Work_contra = TypeVar("Work_contra", contravariant=True)
Place = TypeVar("Place")

QUANTUM: Final = 0.05
LEAST_SHARE: Final = 5
"""The shortest turn is the quantum divided by this."""
PARKED_SHARE: Final = 3
"""Turns for the queue before one for a parked slice."""


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
        """Remove and return the first item in fair order for which `take` is true, else None.

        `take` may have a side effect: it is not called again after it returned true.
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
        """Remove `item` from its line. False when it is not in it."""
        line = self._lines.get(identity)
        if line is None or item not in line:
            return False
        line.remove(item)
        self._length -= 1
        if not line:
            del self._lines[identity]
        return True

    def newest(self, identity: str, which: Callable[[T], bool]) -> T | None:
        """The item of this identity that came last, among those for which `which` is true."""
        return next((item for item in reversed(self._lines.get(identity, ())) if which(item)), None)


class _Waiter(Generic[Work, Place]):
    """Work in the queue. `place` resolves when it may run."""

    __slots__ = ("identity", "place", "refusable", "work")

    def __init__(self, identity: str, work: Work, refusable: bool, place: "asyncio.Future[Place]") -> None:
        self.identity = identity
        self.work = work
        self.refusable = refusable
        self.place = place


class _Turn(NamedTuple):
    """The turn of a slice that computes. `since`: loop time."""

    identity: str
    since: float
    was_parked: bool


class Host(Protocol[Work_contra, Place]):
    """The owner of the places to run. `Slots` calls it, on the event loop."""

    def take(self, work: Work_contra) -> Place | None:
        """A free place for this work, or None."""

    def free(self, place: Place) -> None:
        """The work in this place has ended."""

    def pause(self, place: Place) -> bool:
        """Stop the work in this place from computing until `proceed`. False when it cannot be paused."""

    def proceed(self, place: Place) -> None:
        """End a pause."""


class Slots(Generic[Work, Place]):
    """Lets at most `parallel` slices of work compute at a time, each in a place of its host, in fair order.

    Waiting is bounded for new work; a run that has started is never refused. When the queue is full, the newest waiter
    of the identity with the longest line is refused, or the newcomer, if no line is longer than the newcomer's own. So
    one identity cannot fill the queue against the others.

    A slice that has computed for a `quantum` (seconds) while others wait is parked: paused in its place, without a
    slot, in a second fair queue. That queue gets every fourth turn, and every turn when nothing else waits. A turn is
    shorter the more work waits, down to a fifth of the quantum, and always a fifth for a slice that was parked before
    while the first queue is not empty. So a short slice never waits long behind endless ones. No identity holds more
    than `each` places, computing or parked.
    """

    def __init__(
        self, host: Host[Work, Place], *, parallel: int, bound: int, each: int, quantum: float = QUANTUM
    ) -> None:
        self._host = host
        self._parallel = parallel
        self._free = parallel
        self._bound = bound
        self._each = each
        self._held: Counter[str] = Counter()
        self._quantum = quantum
        self._queue: FairQueue[_Waiter[Work, Place]] = FairQueue()
        self._refusable: Counter[str] = Counter()
        self._computing: dict[Place, _Turn] = {}
        """Places with a slot, the oldest turn first."""
        self._parked: FairQueue[Place] = FairQueue()
        self._parked_identity: dict[Place, str] = {}
        self._passed_over = 0
        """How many turns in a row the queue got while a slice was parked."""
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Slots {len(self._computing)} computing, {len(self._parked)} parked, {len(self._queue)} waiting>"

    @property
    def waiting(self) -> int:
        """How many pieces of work wait for a place."""
        return len(self._queue)

    @property
    def parked(self) -> int:
        """How many slices are paused in their places."""
        return len(self._parked)

    async def acquire(self, identity: str, work: Work, *, refusable: bool = True) -> Place:
        """A place for `work` and a slot to compute, in fair order. Give it back with `release`.

        Raises:
            Overloaded: the queue is full (only when `refusable`).
        """
        if self._free and not self._queue and not self._parked and (place := self._start(identity, work)) is not None:
            return place
        if refusable:
            self._make_room(identity)
            self._refusable[identity] += 1
        waiter = _Waiter[Work, Place](identity, work, refusable, asyncio.get_running_loop().create_future())
        self._queue.push(identity, waiter)
        try:
            self.pump()
            self._watch()
            return await waiter.place
        except asyncio.CancelledError:
            granted = waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None
            if granted:  # just before the cancellation, and nobody else would release it
                self.release(waiter.place.result())
            raise
        finally:
            self._queue.remove(identity, waiter)
            if refusable:
                self._refusable[identity] -= 1
                if not self._refusable[identity]:
                    del self._refusable[identity]

    def release(self, place: Place) -> None:
        """The slice in this place has ended."""
        identity = self._parked_identity.pop(place, None)
        if identity is not None:
            self._parked.remove(identity, place)
            self._host.proceed(place)  # or a pause still on its way would stop the next work in this place
        else:
            identity = self._computing.pop(place).identity
            self._free += 1
        self._held[identity] -= 1
        if not self._held[identity]:
            del self._held[identity]
        self._host.free(place)
        self.pump()
        if self._timer is None:
            self._watch()

    def pump(self) -> None:
        """Give out the free slots. To be called when the host may have a new place."""
        while self._free and (self._queue or self._parked):
            parked_first = self._passed_over >= PARKED_SHARE
            if not ((parked_first and self._proceed()) or self._grant() or self._proceed()):
                return

    def fail(self, error: Exception, which: Callable[[Work], bool] = lambda _: True) -> None:
        """Fail the waiting work for which `which` is true (by default all of it). Each gets its own copy of `error`."""
        for waiter in self._queue:
            if which(waiter.work) and not waiter.place.done():
                waiter.place.set_exception(type(error)(*error.args))

    def close(self) -> None:
        """From now on no slice is parked."""
        if self._timer is not None:
            self._timer.cancel()

    def _start(self, identity: str, work: Work) -> Place | None:
        place = self._host.take(work) if self._held[identity] < self._each else None
        if place is not None:
            self._held[identity] += 1
            self._free -= 1
            self._computing[place] = _Turn(identity, asyncio.get_running_loop().time(), was_parked=False)
        return place

    def _grant(self) -> bool:
        """Give a slot to the first in the queue for which there is a place."""

        def take(waiter: _Waiter[Work, Place]) -> bool:
            if waiter.place.done():
                return False
            place = self._start(waiter.identity, waiter.work)
            if place is not None:
                waiter.place.set_result(place)
            return place is not None

        if self._queue.pop(take) is None:
            return False
        self._passed_over += 1 if self._parked else 0
        return True

    def _proceed(self) -> bool:
        """Give a slot to the next parked slice."""
        place = self._parked.pop(lambda _: True)
        if place is None:
            return False
        self._passed_over = 0
        self._free -= 1
        identity = self._parked_identity.pop(place)
        self._computing[place] = _Turn(identity, asyncio.get_running_loop().time(), was_parked=True)
        self._host.proceed(place)
        return True

    def _watch(self) -> None:
        """Look again when the first turn is over, if work waits for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._computing and not self._free and (self._queue or self._parked):
            over = min(self._over(turn) for turn in self._computing.values())
            soonest = asyncio.get_running_loop().time() + self._quantum / (2 * LEAST_SHARE)
            self._timer = asyncio.get_running_loop().call_at(max(over, soonest), self._look)

    def _over(self, turn: "_Turn") -> float:
        """The loop time at which a turn is over."""
        least = self._quantum / LEAST_SHARE
        if turn.was_parked and self._queue:
            return turn.since + least
        others = len(self._queue) + len(self._parked)
        return turn.since + min(self._quantum, max(least, 2 * self._quantum * self._parallel / others))

    def _look(self) -> None:
        """Park the slices whose turn is over, at most as many as others wait."""
        now = asyncio.get_running_loop().time()
        others = len(self._queue) + len(self._parked)
        over = [place for place, turn in self._computing.items() if self._over(turn) <= now] if others else []
        for place in over[:others]:
            if self._host.pause(place):
                identity = self._computing.pop(place).identity
                self._free += 1
                self._parked_identity[place] = identity
                self._parked.push(identity, place)
        self.pump()
        self._watch()

    def _make_room(self, identity: str) -> None:
        """Refuse one waiter when the queue is full: the newest of the longest line, else the newcomer.

        Raises:
            Overloaded: it is the newcomer.
        """
        if self._refusable.total() < self._bound:
            return
        refusal = Overloaded(f"{self._bound} programs wait for a place to run: try again later")
        longest, length = self._refusable.most_common(1)[0] if self._refusable else (identity, 0)
        if length <= self._refusable[identity] + 1:
            raise refusal  # with the newcomer, its line would be the longest
        victim = self._queue.newest(longest, lambda waiter: waiter.refusable and not waiter.place.done())
        if victim is None:
            raise refusal
        victim.place.set_exception(refusal)
