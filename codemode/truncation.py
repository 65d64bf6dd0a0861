"""Cuts a JSON value to a number of characters so that it stays valid JSON of the same outline.

The largest parts give way first: strings lose their ends, arrays their tails, objects their last keys, each with a
marker that says how much is gone. Small values beside a huge one survive whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

MARK = "--- TRUNCATED ---"
MAX_PATHS = 20
_SLOT = 200  # characters that every kept item is worth at least
_MARKER = 36  # room for a marker with its number
_NAMED_KEYS, _NAMED_CHARS = 3, 24


@dataclass(slots=True)
class Truncated:
    """`chars` is the length of the whole; `paths` names the parts that were cut, the first few of them."""

    value: Any
    chars: int = 0
    paths: list[str] = field(default_factory=list)


def text_of(value: Any) -> str:
    """Compact JSON. Raises TypeError for what is not JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested deeper than orjson goes
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def truncate(value: Any, budget: int, path: str = "result") -> Truncated | None:
    """The value cut to at most `budget` characters of compact JSON; None when it fits as it is. `budget` >= 256."""
    size = len(text_of(value))
    if size <= budget:
        return None
    room = budget
    while True:
        cut = _Cut()
        result = cut.fit(value, room, path)
        if len(text_of(result)) <= budget:
            return Truncated(result, size, cut.paths[:MAX_PATHS])
        if room <= _SLOT:
            return Truncated(f"{MARK} {size} chars", size, [path])
        room -= max(_SLOT, room // 8)


def truncate_text(text: str, budget: int) -> str | None:
    """A text cut to `budget` characters with a marker at its end; None when it fits."""
    if len(text) <= budget:
        return None
    return _clipped(text, max(0, budget - _MARKER), len(text))


def _clipped(text: str, keep: int, whole: int) -> str:
    return f"{text[:keep]} {MARK} {whole - keep} chars"


class _Cut:
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
        keep = max(0, min(len(text), budget - _MARKER))
        # Escapes make a string longer than its characters; what they cost is measured on the part kept.
        while keep and (excess := len(text_of(text[:keep])) - 2 - max(0, budget - _MARKER)) > 0:
            keep = max(0, keep - max(1, min(excess, keep // 2)))
        return _clipped(text, keep, len(text))

    def _list(self, items: list[Any], budget: int, path: str) -> list[Any]:
        sizes = [len(text_of(item)) + 1 for item in items[: budget // 2 + 1]]
        kept, share = _shares(sizes, budget - 2)
        if kept < len(items):
            kept, share = _shares(sizes, budget - 2 - _MARKER - 8)
        result = [self._part(items[n], sizes[n] - 1, share - 1, f"{path}[{n}]") for n in range(kept)]
        if kept < len(items):
            self.paths.append(path)
            result.append(f"{MARK} {len(items) - kept} more items")
        return result

    def _dict(self, members: dict[str, Any], budget: int, path: str) -> dict[str, Any]:
        keys = list(members)
        heads = [len(text_of(key)) + 2 for key in keys[: budget // 4 + 1]]
        sizes = [head + len(text_of(members[key])) for head, key in zip(heads, keys, strict=False)]
        kept, share = _shares(sizes, budget - 2)
        if kept < len(keys):
            kept, share = _shares(sizes, budget - 2 - 2 * _MARKER - _NAMED_KEYS * _NAMED_CHARS)
        result = {}
        for n in range(kept):
            room = max(share - heads[n] - 1, 16)
            result[keys[n]] = self._part(members[keys[n]], sizes[n] - heads[n], room, _member(path, keys[n]))
        if kept < len(keys):
            self.paths.append(path)
            omitted = ", ".join(key[:_NAMED_CHARS] for key in keys[kept : kept + _NAMED_KEYS])
            more = ", …" if len(keys) - kept > _NAMED_KEYS else ""
            result[MARK] = f"{len(keys) - kept} keys omitted: {omitted}{more}"
        return result

    def _part(self, value: Any, size: int, room: int, path: str) -> Any:
        return value if size <= room else self.fit(value, room, path)


def _shares(sizes: Sequence[int], budget: int) -> tuple[int, int]:
    """How many items to keep, and the most characters one of them may have, so that their sum is within the budget."""
    kept, used = 0, 0
    slot = max(min(_SLOT, budget), budget // 100)
    for size in sizes:
        if used + min(size, slot) > budget:
            break
        used += min(size, slot)
        kept += 1
    share, left = slot, budget
    # Water filling: small items take what they need, the rest share what is left evenly.
    for position, size in enumerate(remaining := sorted(sizes[:kept])):
        share = max(slot, left // (len(remaining) - position))
        if size > share:
            break
        left -= size
    return kept, share


def _member(path: str, key: str) -> str:
    return f"{path}.{key}" if key.isidentifier() and len(key) <= 40 else f"{path}[{text_of(key[:40])}]"
