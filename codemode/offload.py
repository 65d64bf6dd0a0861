"""Keeps the event loop going beside large values: small work is done at once, large work in a thread.

What is measured is the value that work is done on, cheaply and no further than the bound: strings by their characters,
everything else by its parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

INLINE = 64 * 1024
"""The heaviest value worked on in the loop; about a byte of JSON each."""
_PART = 16

T = TypeVar("T")


async def beside(work: Callable[[], T], *values: Any) -> T:
    """The result of `work`, done in a thread when `values`, which it works on, are heavy together."""
    return await asyncio.to_thread(work) if heavy(*values) else work()


def heavy(*values: Any) -> bool:
    """Whether these JSON values weigh more than `INLINE`."""
    left = INLINE
    pending: list[Any] = [*values]
    while pending:
        value = pending.pop()
        left -= len(value) if isinstance(value, str) else _PART
        if isinstance(value, Mapping):
            left -= _PART * len(value)
            if left >= 0:
                pending.extend(value)
                pending.extend(value.values())
        elif isinstance(value, list | tuple):
            left -= _PART * len(value)
            if left >= 0:
                pending.extend(value)
        if left < 0:
            return True
    return False
