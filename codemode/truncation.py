"""Cuts a JSON value to a number of characters so that it stays valid JSON of the same outline.

The largest parts give way first: strings lose their ends, arrays their tails, objects their last keys, each with a
marker that says how much is gone. Small values next to a huge one stay whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

MARK = "--- TRUNCATED ---"
MAX_PATHS = 20
_SLOT = 200  # the fewest characters that an item gets, if it needs them
_MARKER = 36  # room for a marker with its number
_NAMED_KEYS, _NAMED_CHARS = 3, 24


@dataclass(slots=True)
class Truncation:
    """A value after its truncation. `chars`: the length of the whole; `paths`: the first of the parts that were cut."""

    value: Any
    chars: int = 0
    paths: list[str] = field(default_factory=list)


def text_of(value: Any) -> str:
    """Compact JSON. Raises TypeError for a value that is not JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested deeper than orjson accepts
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def truncate(value: Any, budget: int, path: str = "result") -> Truncation | None:
    """The value cut to at most `budget` characters of compact JSON, 256 or more; None when it fits as it is."""
    size = len(text_of(value))
    if size <= budget:
        return None
    room = budget
    # Markers and the least slots may exceed the room, so it shrinks until the result fits.
    while True:
        truncator = _Truncator()
        result = truncator.fit(value, room, path)
        if len(text_of(result)) <= budget:
            return Truncation(result, size, truncator.paths[:MAX_PATHS])
        if room <= _SLOT:
            return Truncation(f"{MARK} {size} chars", size, [path])
        room -= max(_SLOT, room // 8)


def truncate_text(text: str, budget: int) -> str | None:
    """A text cut to `budget` characters with a marker at its end; None when it fits."""
    if len(text) <= budget:
        return None
    return _with_marker(text, max(0, budget - _MARKER), len(text))


def _with_marker(text: str, length: int, whole: int) -> str:
    return f"{text[:length]} {MARK} {whole - length} chars"


class _Truncator:
    """Fits values into budgets. `paths` are the parts that it has cut."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def fit(self, value: Any, budget: int, path: str) -> Any:
        if len(text_of(value)) <= budget:
            return value
        if isinstance(value, str):
            return self._string(value, budget, path)
        if isinstance(value, list):
            return self._list(value, budget, path)
        if isinstance(value, dict):
            return self._dict(value, budget, path)
        return value

    def _string(self, text: str, budget: int, path: str) -> str:
        self.paths.append(path)
        length = max(0, min(len(text), budget - _MARKER))
        # Escapes make the JSON of a string longer than its characters.
        while length and (excess := len(text_of(text[:length])) - 2 - max(0, budget - _MARKER)) > 0:
            length = max(0, length - max(1, min(excess, length // 2)))
        return _with_marker(text, length, len(text))

    def _list(self, items: list[Any], budget: int, path: str) -> list[Any]:
        sizes = [len(text_of(item)) + 1 for item in items[: budget // 2 + 1]]
        count, share = _shares(sizes, budget - 2)
        if count < len(items):
            count, share = _shares(sizes, budget - 2 - _MARKER - 8)
        result = [self._part(items[n], sizes[n] - 1, share - 1, f"{path}[{n}]") for n in range(count)]
        if count < len(items):
            self.paths.append(path)
            result.append(f"{MARK} {len(items) - count} more items")
        return result

    def _dict(self, members: dict[str, Any], budget: int, path: str) -> dict[str, Any]:
        keys = list(members)
        heads = [len(text_of(key)) + 2 for key in keys[: budget // 4 + 1]]
        sizes = [head + len(text_of(members[key])) for head, key in zip(heads, keys, strict=False)]
        count, share = _shares(sizes, budget - 2)
        if count < len(keys):
            count, share = _shares(sizes, budget - 2 - 2 * _MARKER - _NAMED_KEYS * _NAMED_CHARS)
        result = {}
        for n in range(count):
            room = max(share - heads[n] - 1, 16)
            result[keys[n]] = self._part(members[keys[n]], sizes[n] - heads[n], room, _member(path, keys[n]))
        if count < len(keys):
            self.paths.append(path)
            names = ", ".join(key[:_NAMED_CHARS] for key in keys[count : count + _NAMED_KEYS])
            more = ", …" if len(keys) - count > _NAMED_KEYS else ""
            result[MARK] = f"{len(keys) - count} keys omitted: {names}{more}"
        return result

    def _part(self, value: Any, size: int, room: int, path: str) -> Any:
        return value if size <= room else self.fit(value, room, path)


def _shares(sizes: Sequence[int], budget: int) -> tuple[int, int]:
    """How many items stay, and the most characters that one of them may have, so that their sum fits the budget."""
    count, used = 0, 0
    slot = max(min(_SLOT, budget), budget // 100)
    for size in sizes:
        if used + min(size, slot) > budget:
            break
        used += min(size, slot)
        count += 1
    share, room = slot, budget
    # Water filling: small items take what they need, the others share the rest evenly.
    for position, size in enumerate(ascending := sorted(sizes[:count])):
        share = max(slot, room // (len(ascending) - position))
        if size > share:
            break
        room -= size
    return count, share


def _member(path: str, key: str) -> str:
    return f"{path}.{key}" if key.isidentifier() and len(key) <= 40 else f"{path}[{text_of(key[:40])}]"
