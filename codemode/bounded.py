"""Maps of bounded size: one keeps the entries used last, the other as many as there is room for."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentlyUsed(Generic[K, V]):
    """At most `size` entries; a further one takes the place of the entry whose last use is longest ago.

    For one thread or event loop at a time.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key, or None. Counts as a use."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: K, value: V) -> None:
        """Set the value of a key. Counts as a use."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)


class WithinRoom(Generic[K, V]):
    """Entries whose sizes together stay within a room; the one that no longer fits takes the place of all others.

    Threads may share it where the values of a key are equal: either may stay.
    """

    def __init__(self, room: int) -> None:
        self._room = self._free = room
        self._entries: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        return self._entries.get(key)

    def put(self, key: K, value: V, size: int) -> None:
        """Set the value of a key. An entry of size 0 takes room too, because there may be any number of them."""
        if self._free < 1 + size:
            self._entries, self._free = {}, self._room
        self._free -= 1 + size
        self._entries[key] = value
