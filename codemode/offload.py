"""Keeps the event loop responsive: work on small values is done at once, work on large ones in a thread.

The size of a value is measured cheaply and only up to the bound: strings by their characters, everything else by its
parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

INLINE = 64 * 1024
"""The weight of the heaviest value that the loop works on itself, about a byte of JSON each."""
_PART = 16
_SMALL = (bool, float, type(None))

T = TypeVar("T")


async def off_loop(work: Callable[[], T], *values: Any) -> T:
    """The result of `work`, which runs in a thread when the `values` that it works on are heavy together."""
    return await asyncio.to_thread(work) if heavy(*values) else work()


def heavy(*values: Any) -> bool:
    """Whether these JSON values together weigh more than `INLINE`."""
    room = INLINE
    pending: list[Any] = [*values]
    # The list grows while it is walked.
    for value in pending:
        # Of JSON, so that a comparison of types is enough for nearly all of it.
        kind = type(value)
        if kind is str:
            room -= len(value)
        elif kind is list or kind is tuple:
            room -= _PART + _PART * len(value)
            if room >= 0:
                pending += value
        elif kind is int:
            # A number of thousands of digits takes longer to write than a text.
            room -= _PART + value.bit_length()
        elif kind not in _SMALL and (kind is dict or isinstance(value, Mapping)):
            room -= _PART + _PART * len(value)
            if room >= 0:
                pending += value
                pending += value.values()
        else:
            room -= _PART
        if room < 0:
            return True
    return False
