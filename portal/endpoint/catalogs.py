"""The catalog of the current snapshot, built off the event loop and ready before a program asks for it."""

import asyncio
from collections.abc import Awaitable, Callable

from codemode import Catalog
from portal.endpoint.background import Background
from portal.servers import Snapshot


class Catalogs:
    """One catalog for each snapshot version that is asked for; the newest is kept."""

    def __init__(self, background: Background, warm: Callable[[Catalog], Awaitable[None]]) -> None:
        self._background = background
        self._warm = warm
        self._newest = -1
        self._building: asyncio.Future[Catalog] | None = None
        self._kept: Catalog | None = None
        self._kept_version = -1
        self._kept_content: tuple[str, tuple[tuple[str, str], ...]] | None = None

    async def of(self, snapshot: Snapshot) -> Catalog:
        """The catalog of a snapshot. Waits for a build only when the snapshot is newer than the last one prepared."""
        if snapshot.version == self._kept_version and self._kept is not None:
            return self._kept
        if snapshot.version < self._newest:
            # A run that started before a change: rare, and what it holds must not push out what is current.
            return await asyncio.to_thread(Catalog.build, snapshot.catalog_servers(), snapshot.unavailable())
        if snapshot.version > self._newest or self._building is None:
            self._newest = snapshot.version
            self._building = asyncio.ensure_future(self._build(snapshot))
        # Shielded: one request that is cancelled does not take the catalog from the others.
        return await asyncio.shield(self._building)

    def prepare(self, snapshot: Snapshot) -> None:
        """Start building the catalog of a new snapshot, and what its first program and search would wait for."""
        self._background.spawn(self._prepare(snapshot))

    async def _prepare(self, snapshot: Snapshot) -> None:
        await self._warm(await self.of(snapshot))

    async def _build(self, snapshot: Snapshot) -> Catalog:
        unavailable = snapshot.unavailable()
        content = (snapshot.catalog_id, tuple(sorted(unavailable.items())))
        if content == self._kept_content and self._kept is not None:
            catalog = self._kept
        else:
            catalog = await asyncio.to_thread(Catalog.build, snapshot.catalog_servers(), unavailable)
        if snapshot.version > self._kept_version:
            self._kept, self._kept_version, self._kept_content = catalog, snapshot.version, content
        return catalog


async def warm_search(catalog: Catalog) -> None:
    """All that a portal without programs needs of a catalog."""
    await asyncio.to_thread(catalog.prepare)
