"""Who is next: the identity that has used least, and within one identity first in, first out.

`FairQueue` is that decision alone, without a clock or an event loop. `Slots` adds waiting (asyncio) and turns. Neither
knows what a place to run is; its owner, a `Host`, does.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, Generic, Protocol, TypeVar

from sandbox.errors import Overloaded

T = TypeVar("T")
Work = TypeVar("Work")
Work_contra = TypeVar("Work_contra", contravariant=True)
Place = TypeVar("Place")

QUANTUM: Final = 0.05
LEAST_SHARE: Final = 5
"""The shortest turn is the quantum divided by this."""
PARKED_SHARE: Final = 3
"""Turns of an identity for what it has just begun, before one for what it has begun before."""
_FORGET: Final = 64
"""How many identities without a line may be remembered before those that owe nothing are forgotten."""


class _Line(Generic[T]):
    """What one identity waits with: what is new, and what has had a turn."""

    __slots__ = ("again", "new", "new_in_a_row")

    def __init__(self) -> None:
        self.new: deque[T] = deque()
        self.again: deque[T] = deque()
        self.new_in_a_row = 0

    def __bool__(self) -> bool:
        return bool(self.new or self.again)

    def __iter__(self) -> Iterator[T]:
        return chain(self.new, self.again)

    def ways(self, blocked: bool) -> Iterator[deque[T]]:
        """The two lines in the order of this turn. `blocked`: nothing new may begin."""
        again_first = self.new_in_a_row >= PARKED_SHARE
        if again_first:
            yield self.again
        if not blocked:
            yield self.new
        if not again_first:
            yield self.again


class FairQueue(Generic[T]):
    """Items in one line per identity. Next is an item of the identity that has used least (weighted fair queueing, all
    weights equal).

    A turn counts as `turn` when it begins, and as what it took when `settle` says so. What an identity has used stays
    known while it has no line and others wait, so neither many items nor many short ones get it a larger part. Whoever
    comes has used one turn less than a fair part of what was used so far: who was away is next, saves up no more than
    that, and a crowd of newcomers does not keep others waiting for ever.

    Whoever comes waits at most one turn of each identity that waits already, whatever is pushed after it.
    """

    def __init__(self, turn: float = 1.0) -> None:
        self._turn = turn
        self._lines: dict[str, _Line[T]] = {}
        """Who waited longest since its last turn comes first."""
        self._used: dict[str, float] = {}
        self._level = 0.0
        """What an identity that waits has used when it has had its fair part. Never falls."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return (item for line in tuple(self._lines.values()) for item in tuple(line))

    def __repr__(self) -> str:
        return f"<FairQueue {self._length} waiting, {len(self._lines)} identities>"

    def push(self, identity: str, item: T, *, again: bool = False) -> None:
        """`again`: the item has had a turn. New ones of the same identity go before it, but not always."""
        line = self._lines.get(identity)
        if line is None:
            line = self._lines[identity] = _Line()
            least = self._level - self._turn
            self._used[identity] = max(self._used.get(identity, least), least)
        (line.again if again else line.new).append(item)
        self._length += 1

    def pop(self, take: Callable[[T], bool], blocked: Callable[[str], bool] = lambda _: False) -> T | None:
        """Remove and return the first item in fair order for which `take` is true, else None.

        `take` may have a side effect: it is not called again after it returned true. `blocked` says that an identity
        may begin nothing new.
        """
        if not self._lines:
            return None
        first = min(self._lines, key=self._used.__getitem__)
        if (item := self._taken(first, take, blocked)) is not None or len(self._lines) == 1:
            return item
        for identity in sorted(self._lines, key=self._used.__getitem__):
            if identity != first and (item := self._taken(identity, take, blocked)) is not None:
                return item
        return None

    def settle(self, identity: str, spent: float) -> None:
        """A turn that `pop` has given is over, and took so much."""
        if identity in self._used:
            self._used[identity] += spent - self._turn
        if self._lines:
            self._level += spent / (len(self._lines) + 1)

    def remove(self, identity: str, item: T) -> bool:
        """Remove `item` from its line. False when it is not in it."""
        line = self._lines.get(identity)
        if line is None:
            return False
        for part in (line.new, line.again):
            if item in part:
                part.remove(item)
                self._shortened(identity, line)
                return True
        return False

    def newest(self, identity: str, which: Callable[[T], bool]) -> T | None:
        """The new item of this identity that came last, among those for which `which` is true."""
        line = self._lines.get(identity)
        return None if line is None else next((item for item in reversed(line.new) if which(item)), None)

    def anybody(self, which: Callable[[str], bool]) -> bool:
        """Whether an identity waits for which `which` is true."""
        return any(which(identity) for identity in self._lines)

    def _taken(self, identity: str, take: Callable[[T], bool], blocked: Callable[[str], bool]) -> T | None:
        line = self._lines[identity]
        for part in line.ways(blocked(identity)):
            for item in part:
                if take(item):
                    line.new_in_a_row = line.new_in_a_row + 1 if part is line.new and line.again else 0
                    part.remove(item)
                    used = max(self._used[identity], self._level - self._turn)
                    self._level = max(self._level, used)
                    self._used[identity] = used + self._turn
                    self._lines[identity] = self._lines.pop(identity)
                    self._shortened(identity, line)
                    return item
        return None

    def _shortened(self, identity: str, line: _Line[T]) -> None:
        self._length -= 1
        if line:
            return
        del self._lines[identity]
        if not self._lines:
            self._used.clear()  # nobody waits, so nobody has had less than they wanted
            self._level = 0.0
        elif len(self._used) > 2 * len(self._lines) + _FORGET:
            least = self._level - self._turn
            self._used = {one: used for one, used in self._used.items() if one in self._lines or used > least}


class _Waiter(Generic[Work, Place]):
    """Work in the queue. `place` resolves when it may run."""

    __slots__ = ("identity", "place", "refusable", "work")

    def __init__(self, identity: str, work: Work, refusable: bool, place: "asyncio.Future[Place]") -> None:
        self.identity = identity
        self.work = work
        self.refusable = refusable
        self.place = place


class _Parked(Generic[Place]):
    """A slice in the queue that is paused in its place."""

    __slots__ = ("identity", "place")

    def __init__(self, identity: str, place: Place) -> None:
        self.identity = identity
        self.place = place


class _Turn:
    """The turn of a slice that computes. `since`: loop time. `counted`: the queue gave it."""

    __slots__ = ("counted", "identity", "since")

    def __init__(self, identity: str, since: float, counted: bool) -> None:
        self.identity = identity
        self.since = since
        self.counted = counted


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
    slot, and in the queue again. A turn is shorter the more work waits, down to a fifth of the quantum, and always a
    fifth while an identity waits that has no place at all. So a short slice never waits long behind endless ones.

    Of the `places` no identity has more than `each`, computing or parked, and none takes a second one unless more are
    free than it has. So places stay free for identities that have none.
    """

    def __init__(
        self,
        host: Host[Work, Place],
        *,
        parallel: int,
        bound: int,
        places: int,
        each: int,
        quantum: float = QUANTUM,
    ) -> None:
        self._host = host
        self._parallel = parallel
        self._free = parallel
        self._bound = bound
        self._places = places
        self._each = each
        self._held: Counter[str] = Counter()
        """Places of each identity, computing or parked."""
        self._quantum = quantum
        self._queue: FairQueue[_Waiter[Work, Place] | _Parked[Place]] = FairQueue(quantum)
        self._refusable: Counter[str] = Counter()
        self._computing: dict[Place, _Turn] = {}
        """Places with a slot, the oldest turn first."""
        self._parked: dict[Place, _Parked[Place]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Slots {len(self._computing)} computing, {len(self._parked)} parked, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """How many pieces of work wait for a place."""
        return len(self._queue) - len(self._parked)

    @property
    def computing(self) -> int:
        """How many slices compute."""
        return len(self._computing)

    @property
    def parked(self) -> int:
        """How many slices are paused in their places."""
        return len(self._parked)

    async def acquire(self, identity: str, work: Work, *, refusable: bool = True) -> Place:
        """A place for `work` and a slot to compute, in fair order. Give it back with `release`.

        Raises:
            Overloaded: the queue is full (only when `refusable`).
        """
        if self._free and not self._queue and (place := self._start(identity, work, counted=False)) is not None:
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
        parked = self._parked.pop(place, None)
        if parked is not None:
            identity = parked.identity
            self._queue.remove(identity, parked)
            self._host.proceed(place)  # or a pause still on its way would stop the next work in this place
        else:
            identity = self._end_turn(place)
        self._held[identity] -= 1
        if not self._held[identity]:
            del self._held[identity]
        self._host.free(place)
        self.pump()
        if self._timer is None:
            self._watch()

    def pump(self) -> None:
        """Give out the free slots. To be called when the host may have a new place."""
        while self._free and self._queue:
            if self._queue.pop(self._take, self._may_not_begin) is None:
                return

    def fail(self, error: Exception, which: Callable[[Work], bool] = lambda _: True) -> None:
        """Fail the waiting work for which `which` is true (by default all of it). Each gets its own copy of `error`."""
        for waiter in self._queue:
            if isinstance(waiter, _Waiter) and which(waiter.work) and not waiter.place.done():
                waiter.place.set_exception(type(error)(*error.args))

    def close(self) -> None:
        """From now on no slice is parked."""
        if self._timer is not None:
            self._timer.cancel()

    def _may_not_begin(self, identity: str) -> bool:
        """Whether the identity has as many places as it may have now."""
        held = self._held.get(identity, 0)
        return held > 0 and (held >= self._each or held >= self._places - len(self._computing) - len(self._parked))

    def _start(self, identity: str, work: Work, *, counted: bool) -> Place | None:
        place = None if self._may_not_begin(identity) else self._host.take(work)
        if place is not None:
            self._held[identity] += 1
            self._begin_turn(identity, place, counted=counted)
        return place

    def _take(self, item: "_Waiter[Work, Place] | _Parked[Place]") -> bool:
        """Give a slot to what waits. False when there is no place for it."""
        if isinstance(item, _Parked):
            del self._parked[item.place]
            self._begin_turn(item.identity, item.place, counted=True)
            self._host.proceed(item.place)
            return True
        if item.place.done():
            return False
        place = self._start(item.identity, item.work, counted=True)
        if place is not None:
            item.place.set_result(place)
        return place is not None

    def _begin_turn(self, identity: str, place: Place, *, counted: bool) -> None:
        self._free -= 1
        self._computing[place] = _Turn(identity, asyncio.get_running_loop().time(), counted)

    def _end_turn(self, place: Place) -> str:
        """The identity whose turn it was."""
        turn = self._computing.pop(place)
        self._free += 1
        if turn.counted:
            self._queue.settle(turn.identity, asyncio.get_running_loop().time() - turn.since)
        return turn.identity

    def _watch(self) -> None:
        """Look again when the first turn is over, if work waits for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._computing and not self._free and self._queue:
            over = min(turn.since for turn in self._computing.values()) + self._length_of_a_turn()
            soonest = asyncio.get_running_loop().time() + self._quantum / (2 * LEAST_SHARE)
            self._timer = asyncio.get_running_loop().call_at(max(over, soonest), self._look)

    def _length_of_a_turn(self) -> float:
        """Seconds."""
        least = self._quantum / LEAST_SHARE
        if self._queue.anybody(lambda identity: identity not in self._held):
            return least
        return min(self._quantum, max(least, 2 * self._quantum * self._parallel / len(self._queue)))

    def _look(self) -> None:
        """Park the slices whose turn is over, at most as many as others wait."""
        if others := len(self._queue):
            until = asyncio.get_running_loop().time() - self._length_of_a_turn()
            for place in [place for place, turn in self._computing.items() if turn.since <= until][:others]:
                if self._host.pause(place):
                    identity = self._end_turn(place)
                    self._parked[place] = parked = _Parked(identity, place)
                    self._queue.push(identity, parked, again=True)
        self.pump()
        self._watch()

    def _make_room(self, identity: str) -> None:
        """Refuse one waiter when the queue is full: the newest of the longest line, else the newcomer.

        Raises:
            Overloaded: it is the newcomer.
        """
        if self._refusable.total() < self._bound:
            return
        longest, length = self._refusable.most_common(1)[0] if self._refusable else (identity, 0)
        if length <= self._refusable[identity] + 1:  # with the newcomer, its line would be the longest
            raise self._refusal(self._refusable[identity])
        victim = self._queue.newest(
            longest, lambda item: isinstance(item, _Waiter) and item.refusable and not item.place.done()
        )
        if not isinstance(victim, _Waiter):
            raise self._refusal(self._refusable[identity])
        victim.place.set_exception(self._refusal(length))

    def _refusal(self, own: int) -> Overloaded:
        whose = f", {own} of them yours" if own else ""
        return Overloaded(
            f"{self._bound} programs wait for a place to run{whose}: nothing was run, try again in a second"
        )
