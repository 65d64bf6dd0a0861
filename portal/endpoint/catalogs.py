"""The catalogs of views, built in a thread. The catalog of the whole view is ready before the first program."""

import asyncio
from collections.abc import Awaitable, Callable

from codemode import Catalog
from portal.endpoint.background import Background
from portal.endpoint.views import View


class Catalogs:
    """Builds a view's catalog on first use. The view stores it."""

    def __init__(self, background: Background, warm: Callable[[Catalog], Awaitable[None]]) -> None:
        self._background = background
        self._warm = warm

    async def of(self, view: View) -> Catalog:
        """The catalog of a view. Waits only if it must be built."""
        catalog = view.catalog
        if catalog is None or _failed(catalog):
            # In a thread, because the names of a new server are made here, and it may have thousands of tools.
            catalog = view.catalog = asyncio.ensure_future(asyncio.to_thread(view.selection.catalog))
        # Shielded, because several requests wait for it: cancelling one must not cancel it for the others.
        return catalog.result() if catalog.done() else await asyncio.shield(catalog)

    def prepare(self, view: View) -> None:
        """Start to build a catalog, and to warm all that its first program and search need."""
        self._background.spawn(self._prepare(view))

    def prepare_parts(self) -> None:
        """Start to make what the programs of all parts share, before the first one needs it."""
        self._background.spawn(self._prepare_parts())

    async def _prepare_parts(self) -> None:
        await self._warm(Catalog.of([]))

    async def _prepare(self, view: View) -> None:
        await self._warm(await self.of(view))


def _failed(catalog: asyncio.Future[Catalog]) -> bool:
    return catalog.done() and (catalog.cancelled() or catalog.exception() is not None)


async def warm_search(catalog: Catalog) -> None:
    """Prepare the catalog for a portal without programs."""
    await asyncio.to_thread(catalog.prepare)
