"""The catalogs of what callers see, built off the event loop; the whole one ready before a program asks for it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from codemode import Catalog
from portal.endpoint.background import Background
from portal.endpoint.view import Seen

MAX_CATALOGS = 64

_Content = tuple[object, ...]


class Catalogs:
    """One catalog for each content that is seen, shared by all who see it; those used last are kept."""

    def __init__(self, background: Background, warm: Callable[[Catalog], Awaitable[None]]) -> None:
        self._background = background
        self._warm = warm
        self._kept: OrderedDict[_Content, asyncio.Future[Catalog]] = OrderedDict()

    async def of(self, seen: Seen) -> Catalog:
        """The catalog of a view. Waits only for a content that nobody has asked for lately."""
        if seen.catalog is not None:
            return seen.catalog
        unavailable = seen.snapshot.unavailable()
        withheld = seen.snapshot.withheld()
        content = (seen.snapshot.catalog_id, *sorted(unavailable.items()), *sorted(withheld))
        building = self._kept.get(content)
        if building is None or (building.done() and (building.cancelled() or building.exception() is not None)):
            servers = seen.snapshot.catalog_servers()
            building = asyncio.ensure_future(asyncio.to_thread(Catalog.build, servers, unavailable, withheld))
            self._kept[content] = building
            while len(self._kept) > MAX_CATALOGS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(content)
        # Shielded: one request that is cancelled does not take the catalog from the others.
        seen.catalog = await asyncio.shield(building)
        return seen.catalog

    def prepare(self, seen: Seen) -> None:
        """Start building a catalog, and what its first program and search would wait for."""
        self._background.spawn(self._prepare(seen))

    async def _prepare(self, seen: Seen) -> None:
        await self._warm(await self.of(seen))


async def warm_search(catalog: Catalog) -> None:
    """All that a portal without programs needs of a catalog."""
    await asyncio.to_thread(catalog.prepare)
