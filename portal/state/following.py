"""Following the store: values that are read once and forgotten when they change, and work that a change starts.

The store tells its subscribers the kinds of the objects that a commit changed. It may do so while one of them reads:
the value it gets can be older than the change. Kept until the next change, which may never come, it leaves a deleted
credential valid. The classes here know which readings a change has crossed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import structlog

from portal.bounded import Bounded
from portal.state.errors import StateUnavailable

MAX_CROSSED = 4
"""Readings of one value that a change may cross before a caller takes the last of them as it is."""
RETRY_SECONDS = 1.0

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class TellsChanges(Protocol):
    """A store, as far as it matters here."""

    def subscribe(self, callback: Callable[[frozenset[str]], None]) -> Callable[[], None]:
        """Call `callback` with the kinds of each change, until the function that is returned is called."""


@dataclass(slots=True, eq=False)
class _Reading(Generic[T]):
    """A reading that callers wait for. `changes` counts the changes that the store had told of when it began."""

    task: asyncio.Task[T]
    changes: int
    waiting: int = 0


class KeptByKey(Generic[K, T]):
    """Values read from the store, by key, until the store tells of a change of objects of `kinds`.

    Holds at most `size` values; `Bounded` says which one goes first. None is returned and not kept: a missing value is
    read again each time, because the store does not tell of each new value.

    A caller gets a value that no change has crossed: every change that the store told of before the caller goes on is
    in it. When changes cross `MAX_CROSSED` readings in a row, the caller gets the last one, which began after it asked;
    that value is not kept.

    All callers for one key share its reading and its failure, which is not kept either. There is one reading of a key
    at a time: a caller that asks after a change waits for the end of the reading that the change crossed, and shares
    the next one. A caller that is cancelled leaves the reading to the others; without others, it is cancelled too.
    """

    def __init__(self, store: TellsChanges, kinds: Set[str], size: int) -> None:
        self._kinds = kinds
        self._values: Bounded[K, T] = Bounded(size)
        self._readings: dict[K, _Reading[T]] = {}
        self._changes = 0
        self._unsubscribe = store.subscribe(self._changed)

    def close(self) -> None:
        """Stop following the store. Do not call `get` afterwards."""
        self._unsubscribe()
        self.forget_all()

    async def get(self, key: K, read: Callable[[], Awaitable[T]]) -> T:
        """The value of `key`, from `read` where none is kept. Raises what `read` raises."""
        crossed = 0
        while (value := self._values.get(key)) is None:
            reading = self._readings.get(key) or self._begin(key, read)
            await self._end_of(key, reading)
            # The store may have told of a change during the reading, and also between its end and this line.
            crossed += reading.changes != self._changes
            if reading.changes == self._changes or crossed == MAX_CROSSED:
                return reading.task.result()
        return value

    async def again(self, key: K, read: Callable[[], Awaitable[T]]) -> T:
        """A value that is kept, read again. Until that has worked the former value stays. Raises what `read` raises."""
        reading = self._readings.get(key) or self._begin(key, read)
        await self._end_of(key, reading)
        value = reading.task.result()
        if reading.changes != self._changes:
            return await self.get(key, read)
        if value is None:
            self.forget(key)
        return value

    def kept(self, key: K) -> T | None:
        """The value of `key` if one is kept that no change has crossed. Reads nothing."""
        return self._values.get(key)

    def forget(self, key: K) -> None:
        """Read this value again when it is next needed. A reading in progress goes on and is kept."""
        self._values.pop(key)

    def forget_all(self) -> None:
        """Read every value again when it is next needed, as after a change. A reading in progress is not kept."""
        self._changes += 1
        self._values.clear()

    def _changed(self, kinds: frozenset[str]) -> None:
        if kinds & self._kinds:
            self.forget_all()

    def _begin(self, key: K, read: Callable[[], Awaitable[T]]) -> _Reading[T]:
        task = asyncio.create_task(self._read(key, read, self._changes))
        # All callers may be gone when it fails, and asyncio complains about an exception that nobody takes.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        reading = self._readings[key] = _Reading(task, self._changes)
        return reading

    async def _read(self, key: K, read: Callable[[], Awaitable[T]], changes: int) -> T:
        try:
            value = await read()
        finally:
            # Here and not when the callers wake: a caller that asks in between must not share a reading that is over.
            if (reading := self._readings.get(key)) is not None and reading.task is asyncio.current_task():
                del self._readings[key]
        if changes == self._changes and value is not None:
            self._values[key] = value
        return value

    async def _end_of(self, key: K, reading: _Reading[T]) -> None:
        """Wait until it has ended. A caller that is cancelled does not cancel it, unless it was the only one."""
        reading.waiting += 1
        try:
            await asyncio.wait({reading.task})
        finally:
            reading.waiting -= 1
            if not reading.waiting and not reading.task.done():
                # The next caller must not share a reading that is about to be cancelled.
                if self._readings.get(key) is reading:
                    del self._readings[key]
                reading.task.cancel()


class Kept(Generic[T]):
    """One value read from the store with `read`, until the store tells of a change of objects of `kinds`.

    See `KeptByKey` for how old it can be, and what concurrent callers share.
    """

    def __init__(self, store: TellsChanges, kinds: Set[str], read: Callable[[], Awaitable[T]]) -> None:
        self._values: KeptByKey[None, T] = KeptByKey(store, kinds, size=1)
        self._read = read

    def close(self) -> None:
        """Stop following the store. Do not call `get` afterwards."""
        self._values.close()

    async def get(self) -> T:
        """The value. Raises what `read` raises."""
        return await self._values.get(None, self._read)

    def forget(self) -> None:
        """Read it again when it is next needed, as after a change. A reading in progress is not kept."""
        self._values.forget_all()


class Follower:
    """Runs `work` after each change of objects of `kinds`, until it is closed.

    Never twice at a time: a change while it runs makes it run once more. When the store is unavailable it runs again
    after `retry_seconds`; `unavailable` is called with the first error, and not again before a success. Any other error
    of `work` is a fault of ours: it is logged, and the next change is followed all the same.
    """

    def __init__(
        self,
        store: TellsChanges,
        kinds: Set[str],
        work: Callable[[], Awaitable[None]],
        unavailable: Callable[[StateUnavailable], object],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._kinds = kinds
        self._work = work
        self._unavailable = unavailable
        self._retry_seconds = retry_seconds
        self._outdated = False
        self._open = True
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe = store.subscribe(self._changed)

    async def aclose(self) -> None:
        self._open = False
        self._unsubscribe()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def settled(self, seconds: float) -> None:
        """Return when every change that the store has told of was followed, or after `seconds`."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)

    def again(self) -> None:
        """Run the work as if there had been a change."""
        self._outdated = self._open
        if self._outdated and self._task is None:
            self._task = asyncio.create_task(self._run())

    def _changed(self, kinds: frozenset[str]) -> None:
        if kinds & self._kinds:
            self.again()

    async def _run(self) -> None:
        answering = True
        try:
            while self._outdated:
                # Before the work, not after it: what changes during the work is work again.
                self._outdated = False
                try:
                    await self._work()
                    answering = True
                except StateUnavailable as error:
                    if answering:
                        self._unavailable(error)
                    answering = False
                    self._outdated = True
                    await asyncio.sleep(self._retry_seconds)
                except Exception:
                    # The edge of a background task: nobody awaits it, and the next change must be followed.
                    structlog.get_logger("portal.state").exception(
                        "following a change failed", kinds=sorted(self._kinds)
                    )
        finally:
            self._task = None


@asynccontextmanager
async def background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run `work` while the block lasts. Exceptions from `work` are discarded; handle them inside."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
