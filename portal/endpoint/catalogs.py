"""The catalogs of views, made off the event loop; that of the whole is ready before a program asks for it."""

import asyncio
from collections.abc import Awaitable, Callable

from codemode import Catalog
from portal.endpoint.background import Background
from portal.endpoint.views import View


class Catalogs:
    """Makes a view's catalog when it is first asked for. A view keeps its own."""

    def __init__(self, background: Background, warm: Callable[[Catalog], Awaitable[None]]) -> None:
        self._background = background
        self._warm = warm

    async def of(self, view: View) -> Catalog:
        """The catalog of a view. Waits only if it has to be made."""
        making = view.catalog
        if making is None or _failed(making):
            # Servers that no catalog had before are named here, and one may have thousands of tools.
            making = view.catalog = asyncio.ensure_future(asyncio.to_thread(view.selection.catalog))
        # Shielded, because several requests wait for it: one that is cancelled must not cancel it for the others.
        return making.result() if making.done() else await asyncio.shield(making)

    def prepare(self, view: View) -> None:
        """Start making a catalog, and what its first program and search would wait for."""
        self._background.spawn(self._prepare(view))

    async def _prepare(self, view: View) -> None:
        await self._warm(await self.of(view))


def _failed(making: asyncio.Future[Catalog]) -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)


async def warm_search(catalog: Catalog) -> None:
    """All that a portal without programs needs of a catalog."""
    await asyncio.to_thread(catalog.prepare)
