"""The catalogs of views, built off the event loop; that of the whole is ready before a program asks for it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from codemode import Catalog
from portal.endpoint.background import Background
from portal.endpoint.views import View

MAX_CATALOGS = 64


class Catalogs:
    """Builds a view's catalog when it is first asked for. Only the views used last keep theirs: a catalog is large."""

    def __init__(self, background: Background, warm: Callable[[Catalog], Awaitable[None]]) -> None:
        self._background = background
        self._warm = warm
        self._recent: OrderedDict[View, None] = OrderedDict()

    async def of(self, view: View) -> Catalog:
        """The catalog of a view. Waits only if it has to be built."""
        building = view.catalog
        if building is None or _failed(building):
            snapshot = view.snapshot
            arguments = snapshot.catalog_servers(), snapshot.unavailable(), snapshot.pending()
            building = view.catalog = asyncio.ensure_future(asyncio.to_thread(Catalog.build, *arguments))
        self._recent[view] = None
        self._recent.move_to_end(view)
        while len(self._recent) > MAX_CATALOGS:
            self._recent.popitem(last=False)[0].catalog = None
        # Shielded, because several requests wait for it: one that is cancelled must not cancel it for the others.
        return building.result() if building.done() else await asyncio.shield(building)

    def prepare(self, view: View) -> None:
        """Start building a catalog, and what its first program and search would wait for."""
        self._background.spawn(self._prepare(view))

    async def _prepare(self, view: View) -> None:
        await self._warm(await self.of(view))


def _failed(building: asyncio.Future[Catalog]) -> bool:
    return building.done() and (building.cancelled() or building.exception() is not None)


async def warm_search(catalog: Catalog) -> None:
    """All that a portal without programs needs of a catalog."""
    await asyncio.to_thread(catalog.prepare)
