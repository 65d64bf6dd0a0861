"""How late an event loop is because of what its own process does.

A timer of the loop fires every two milliseconds. It is late when a callback runs for long, and also when a thread keeps
the interpreter's lock. A busy machine makes it late too, and a test must not fail for that. So no more counts as late
than the CPU time that this process used meanwhile, in all its threads: a process that waits for a core uses none.

What else runs on the same loop counts as well. A server that is hostile runs in a process of its own
(`tests.hostile.upstream`), and a client that reads large answers should not parse them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

BEAT: Final = 0.002
"""Seconds between two beats."""
MOST: Final = 0.05
"""Seconds for which nothing that comes from outside may hold up the event loop."""
STALL: Final = 2 * MOST
"""What a test allows: the speed of a machine that runs others beside it changes by a factor of two."""
_TRIES: Final = 4


class Lateness:
    """How late each beat was, in seconds, without what the machine itself was late."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._due = 0.0
        self._cpu = 0.0

    def __repr__(self) -> str:
        return f"<late: worst {self.worst * 1e3:.1f} ms, p99 {self.p99 * 1e3:.1f} ms, {len(self.late)} beats>"

    @property
    def worst(self) -> float:
        return max(self.late, default=0.0)

    @property
    def p99(self) -> float:
        """Of a hundred beats one may be later."""
        return sorted(self.late)[int(len(self.late) * 0.99)] if self.late else 0.0

    def begin_beat(self) -> None:
        self._due, self._cpu = time.perf_counter() + BEAT, time.process_time()

    def end_beat(self) -> None:
        late, used = time.perf_counter() - self._due, time.process_time() - self._cpu
        self.late.append(max(min(late, used), 0.0))


@asynccontextmanager
async def lateness() -> AsyncIterator[Lateness]:
    """How late the running loop is for as long as the block is open."""
    measured = Lateness()

    async def beat() -> None:
        try:
            while True:
                measured.begin_beat()
                await asyncio.sleep(BEAT)
                measured.end_beat()
        finally:
            # The beat in which the block ends counts too.
            measured.end_beat()

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0)
    try:
        yield measured
    finally:
        beating.cancel()
        await asyncio.wait([beating])


async def least_late(work: Callable[[], Awaitable[object]], enough: float = MOST) -> Lateness:
    """How late the running loop is while `work` is done, in the best of a few tries.

    Whatever else runs on the machine also fills its caches, which makes a single try worse than it is. A try below
    `enough` seconds is the last.
    """
    tries = list[Lateness]()
    for _ in range(_TRIES):
        async with lateness() as late:
            await work()
        tries.append(late)
        if late.worst < enough:
            break
    return min(tries, key=lambda one: one.worst)
