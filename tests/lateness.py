"""How long the event loop is held up, by a measure that a busy machine does not change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

MOST: Final = 0.05
"""Seconds for which nothing that comes from outside may hold up the event loop."""
_TRIES: Final = 4


async def held_up(work: Callable[[], Awaitable[object]]) -> float:
    """For how many seconds at a stretch work kept the loop from everything else, at the worst; of a few tries the best.

    Counted in the processor time of the loop's thread: what other processes take is no fault of the work's. No try is
    made after one that stays within `MOST`.
    """
    best = float("inf")
    for _ in range(_TRIES):
        beat = asyncio.create_task(_worst())
        await work()
        beat.cancel()
        best = min(best, await beat)
        if best <= MOST:
            break
    return best


async def _worst() -> float:
    worst = 0.0
    try:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            worst = max(worst, time.thread_time() - began)
    except asyncio.CancelledError:
        return worst
