"""The quotas in force, and their counts: may this call be made now?

A call that one quota refuses is counted by none. Nothing here waits, so that no other call comes between the question
and the count.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest

from portal.quotas.quota import CountedCall, Key, Quota
from portal.quotas.windows import SLICES, SlidingCount, end_of, oldest_slice, slice_of, whole_seconds

MAX_COUNTS = 50_000
"""The counts of all quotas together: callers, and the names they call, are as many as they like."""
OTHERS = "(others)"
"""Who shares a count for which there was no room."""
Clock = Callable[[], float]


def steady_clock() -> Clock:
    """Seconds since 1970 that never go back: a clock that is set must not give a quota back, nor take it for hours."""
    beginning = time.time() - time.monotonic()
    return lambda: beginning + time.monotonic()


@dataclass(frozen=True, slots=True)
class OverLimit:
    """Why a call may not be made: what this quota allows is used up for so many seconds."""

    quota: Quota
    seconds: int

    @property
    def reason(self) -> str:
        return self.quota.refusal(self.seconds)


@dataclass(frozen=True, slots=True)
class Used:
    """How far one count of a quota is. `key` says whose it is; what counts now is gone `seconds` from now."""

    quota: Quota
    key: Key
    calls: int
    seconds: int


@dataclass(frozen=True, slots=True)
class SavedCount:
    """A count, to go on with after a restart: whose, whether a stranger's, and its numbers (`SlidingCount.flat`)."""

    key: Key
    stranger: bool
    flat: list[int]


class _Counts:
    """The counts of one quota for callers of one sort, at most `most`. Those for whom there is no room share one."""

    def __init__(self, quota: Quota, most: int) -> None:
        self.quota = quota
        self.most = most
        self.by_key: OrderedDict[Key, SlidingCount] = OrderedDict()
        self._shared = tuple(OTHERS for _ in quota.parts)

    def find(self, key: Key, now: int) -> SlidingCount | None:
        """The count, without what does not count any more; None if there is none."""
        count = self.by_key.get(key)
        if count is None:
            if len(self.by_key) < self.most or self._dropped(now):
                return None
            count = self.by_key.get(self._shared)
        if count is not None:
            count.forget(now, self.quota.period)
        return count

    def add(self, key: Key, now: int) -> None:
        """Count one more. The oldest of what does not count any more goes with it."""
        count = self.by_key.get(key)
        if count is None:
            self._dropped(now)
            self._dropped(now)
            if len(self.by_key) >= self.most:
                key = self._shared
                count = self.by_key.get(key)
            if count is None:
                count = self.by_key[key] = SlidingCount()
        count.add(now, self.quota.period)
        self.by_key.move_to_end(key)

    def take_over(self, former: _Counts) -> None:
        """Go on with the counts of the same quota as it was, the most recently used if there is no room for all."""
        for key, count in list(former.by_key.items())[-self.most :]:
            self.by_key[key] = count

    def _dropped(self, now: int) -> bool:
        """Leave out the count that was not used for longest if nothing of it counts any more, and say whether."""
        if not self.by_key:
            return False
        key, count = next(iter(self.by_key.items()))
        if count.newest >= oldest_slice(now, self.quota.period):
            return False
        del self.by_key[key]
        return True


class _Counting:
    """A quota with its counts. Strangers have a part of their own: they are as many as there are addresses."""

    def __init__(self, quota: Quota, most: int) -> None:
        self.quota = quota
        strangers = max(1, most // 4)
        self.known, self.strangers = _Counts(quota, max(1, most - strangers)), _Counts(quota, strangers)

    def of(self, call: CountedCall) -> _Counts:
        return self.strangers if call.stranger and "person" in self.quota.parts else self.known

    @property
    def rooms(self) -> tuple[_Counts, _Counts]:
        return self.known, self.strangers


class Quotas:
    """Without quotas `active` is false, and there is nothing to ask. `changed` counts what was counted."""

    def __init__(self, clock: Clock | None = None, most: int = MAX_COUNTS) -> None:
        self._clock = clock or steady_clock()
        self._most = most
        self._counting: tuple[_Counting, ...] = ()
        self._latest = 0
        self.active = False
        self.changed = 0

    def __len__(self) -> int:
        """How many counts there are."""
        return sum(len(room.by_key) for counting in self._counting for room in counting.rooms)

    def __bool__(self) -> bool:
        return True

    @property
    def quotas(self) -> Sequence[Quota]:
        """The quotas in force."""
        return [counting.quota for counting in self._counting]

    def apply(self, quotas: Iterable[Quota]) -> None:
        """Put these in force. One that was there before goes on with its counts, also if it allows more or fewer calls
        now; one that counts in another way, or other calls, begins with none."""
        wanted = list(quotas)
        former = {counting.quota.mark: counting for counting in self._counting}
        most = max(2, self._most // max(1, len(wanted)))
        made: list[_Counting] = []
        for quota in wanted:
            counting = _Counting(quota, most)
            if (before := former.get(quota.mark)) is not None:
                for room, was in zip(counting.rooms, before.rooms, strict=True):
                    room.take_over(was)
            made.append(counting)
        self._counting = tuple(made)
        self.active = bool(made)

    def take(self, call: CountedCall) -> OverLimit | None:
        """Count this call in every quota that is about it; or say which of them it has to wait for longest, and count
        it in none."""
        now = self.now()
        concerned: list[tuple[_Counts, Key]] = []
        refused: Quota | None = None
        longest = 0
        for counting in self._counting:
            quota = counting.quota
            if not quota.concerns(call):
                continue
            counts, key = counting.of(call), quota.key(call)
            count = counts.find(key, now)
            if count is not None and count.total >= quota.calls:
                wait = count.wait(quota.calls - 1, now, quota.period)
                if refused is None or wait > longest:
                    refused, longest = quota, wait
            concerned.append((counts, key))
        if refused is not None:
            return OverLimit(refused, whole_seconds(longest))
        for counts, key in concerned:
            counts.add(key, now)
        self.changed += bool(concerned)
        return None

    def used(self, most: int, search: str = "") -> list[Used]:
        """The counts that are nearest to the limit of their quota, at most so many: those with this text, in small
        letters, in their name or the name of their quota. May be called in a thread."""
        now = self.now()
        found = (
            one
            for one in self._all_used(now)
            if not search or any(search in text.lower() for text in (one.quota.name, *one.key))
        )
        return nlargest(most, found, key=lambda one: (one.calls / one.quota.calls, one.calls))

    def now(self) -> int:
        """The time in milliseconds since 1970, which does not decrease."""
        self._latest = max(self._latest, int(self._clock() * 1000))
        return self._latest

    def saved(self, least_period: int, most: int) -> dict[str, list[SavedCount]]:
        """The counts of quotas of such a period or a longer one, by the mark of the quota: at most so many of each,
        those that were used last. The last is the one that was used last."""
        return {
            counting.quota.mark: [
                SavedCount(key, room is counting.strangers, count.flat)
                for room in (counting.strangers, counting.known)
                for key, count in list(room.by_key.items())[-most:]
            ][-most:]
            for counting in self._counting
            if counting.quota.period >= least_period
        }

    def restore(self, mark: str, saved: Iterable[SavedCount]) -> None:
        """Begin with counts that an earlier process has saved. What would be of the future counts as of now."""
        counting = next((one for one in self._counting if one.quota.mark == mark), None)
        if counting is None:
            return
        now, quota = self.now(), counting.quota
        latest = slice_of(now, quota.period)
        for one in saved:
            room = counting.strangers if one.stranger else counting.known
            if len(one.key) != len(quota.parts) or one.key in room.by_key or len(room.by_key) >= room.most:
                continue
            count = SlidingCount(_readable(one.flat, latest))
            count.forget(now, quota.period)
            if count.total:
                room.by_key[one.key] = count

    def _all_used(self, now: int) -> Iterator[Used]:
        for counting in self._counting:
            quota = counting.quota
            oldest = oldest_slice(now, quota.period)
            for room in counting.rooms:
                for key, count in list(room.by_key.items()):
                    flat = count.flat
                    calls = sum(flat[at + 1] for at in range(0, len(flat), 2) if flat[at] >= oldest)
                    if calls:
                        gone = end_of(flat[-2], quota.period) - now
                        yield Used(quota, key, calls, whole_seconds(gone))


def _readable(flat: list[int], latest: int) -> list[int]:
    """The numbers in the order of slices, without what is none, each slice once and none after the latest."""
    by_slice: dict[int, int] = {}
    for number, calls in zip(flat[::2], flat[1::2], strict=False):
        if calls > 0:
            number = min(number, latest)
            by_slice[number] = by_slice.get(number, 0) + calls
    return [value for pair in sorted(by_slice.items()) for value in pair][-2 * (SLICES + 1) :]
