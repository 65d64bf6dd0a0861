"""Where a portal keeps what was approved of its pinned servers, opened from its configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from portal.config import Config
from portal.errors import StartError
from portal.pins import Pinning, PinsUnusable, Place


@asynccontextmanager
async def pinning_of(config: Config, *, stored: bool = False) -> AsyncIterator[Pinning | None]:
    """The database's place, or the file's; None when nothing can be pinned. `stored`: servers in the database run too.

    Raises:
        StartError: what is there cannot be used.
    """
    async with AsyncExitStack() as stack:
        try:
            place = await _place(config, stack, stored=stored)
            pinning = await stack.enter_async_context(Pinning(place)) if place is not None else None
        except PinsUnusable as error:
            raise StartError(str(error)) from error
        yield pinning


async def _place(config: Config, stack: AsyncExitStack, *, stored: bool) -> Place | None:
    if config.portal.pinned is not None:
        from portal.pins import FilePlace

        return FilePlace(config.portal.pinned)
    pinned = stored or any(server.pin for server in config.servers.values())
    if not config.portal.has_store or not pinned:
        return None
    from portal.app.store import open_store
    from portal.pins import StorePlace
    from portal.state import StateError

    try:
        return StorePlace(await stack.enter_async_context(open_store(config.portal.state)))
    except StateError as error:
        raise StartError(str(error)) from error
