"""Work that goes on beside a block and ends with it, some of it woken by changes of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Set
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portal.state.store import Store


@asynccontextmanager
async def beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """`work` runs while the block lasts; what it raises is not said: it is to deal with its errors itself."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def beside_changes(
    store: Store, kinds: Set[str], follow: Callable[[asyncio.Event], Coroutine[None, None, None]]
) -> AsyncIterator[asyncio.Event]:
    """`follow` runs while the block lasts. The event it is given, and the block too, is set whenever the store says
    that objects of these kinds changed."""
    changed = asyncio.Event()
    forget = store.subscribe(lambda said: changed.set() if said & kinds else None)
    try:
        async with beside(follow(changed)):
            yield changed
    finally:
        forget()
