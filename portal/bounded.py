"""A map of bounded size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, ItemsView, ValuesView
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """A map of at most `size` entries.

    A new entry for which there is no room evicts the one that was used least recently. Writing an entry uses it, and so
    does `get`; `in`, `values` and `items` do not.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __setitem__(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def get(self, key: K) -> V | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def pop(self, key: K) -> V | None:
        """Remove the entry, if there is one, and return its value."""
        return self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()

    def values(self) -> ValuesView[V]:
        """The values, the least recently used first. Do not use the map while looking through them."""
        return self._entries.values()

    def items(self) -> ItemsView[K, V]:
        """Keys and values, the least recently used first. Do not use the map while looking through them."""
        return self._entries.items()
