"""The catalog of the servers' tools for the page and its programs, built once for each change of the tools."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from codemode import Catalog, CodeTool
from portal.bench.ui.cost import Count, ListingCost, listing_cost
from portal.servers import Snapshot, tools_by_server


class EditorCatalog:
    """A catalog, its declarations for the editor and the cost of its definitions, computed on first use."""

    def __init__(self, snapshot: Snapshot, catalog: Catalog, code_tool: CodeTool, count: Count) -> None:
        self.catalog = catalog
        self._snapshot = snapshot
        self._code_tool = code_tool
        self._count = count
        self._listing_cost: asyncio.Task[ListingCost] | None = None
        self._declarations: asyncio.Task[str] | None = None

    async def listing_cost(self) -> ListingCost:
        if self._listing_cost is None:
            self._listing_cost = asyncio.ensure_future(asyncio.to_thread(self._cost))
        return await asyncio.shield(self._listing_cost)

    async def declarations(self) -> str:
        if self._declarations is None:
            self._declarations = asyncio.ensure_future(asyncio.to_thread(self.catalog.declarations))
        return await asyncio.shield(self._declarations)

    def _cost(self) -> ListingCost:
        tools = (tool for server in self._snapshot.servers.values() for tool in server.tools)
        return listing_cost(self._code_tool.definition(self.catalog), tools, self._count)


class EditorCatalogs:
    """Caches the catalog of the latest snapshot."""

    def __init__(self, code_tool: CodeTool, count: Count) -> None:
        self._code_tool = code_tool
        self._count = count
        self._lock = asyncio.Lock()
        self._content: object = None
        self._catalog: EditorCatalog | None = None

    async def of(self, snapshot: Snapshot) -> EditorCatalog:
        unavailable = snapshot.unavailable()
        content = (snapshot.catalog_id, tuple(sorted(unavailable.items())))
        async with self._lock:
            if self._catalog is None or content != self._content:
                catalog = await asyncio.to_thread(_built, snapshot, unavailable)
                self._catalog, self._content = EditorCatalog(snapshot, catalog, self._code_tool, self._count), content
            return self._catalog


def _built(snapshot: Snapshot, unavailable: Mapping[str, str]) -> Catalog:
    parts = [(server.catalog, None) for server in snapshot.servers.values() if server.listed]
    catalog = Catalog.of(parts, unavailable, is_part=False)
    _ = catalog.tools_id
    return catalog


def server_list(snapshot: Snapshot, catalog: Catalog) -> list[dict[str, object]]:
    """The servers with their states and tools, for the list in the page."""
    tools = tools_by_server(catalog)
    return [
        {
            "id": server.id,
            "identifier": catalog.names.server(server.id) if server.id in catalog.names.tools else server.id,
            "name": server.name,
            "state": server.state,
            "reason": server.reason,
            "tools": [
                {
                    "path": tool["path"],
                    "name": tool["name"],
                    "description": str(tool["description"] or "")[:500],
                    "signature": catalog.signature(str(tool["path"])),
                    "readOnly": _is_read_only(tool["annotations"]),
                }
                for tool in tools.get(server.id, ())
            ],
        }
        for server in snapshot.servers.values()
    ]


def _is_read_only(annotations: object) -> bool:
    return isinstance(annotations, Mapping) and annotations.get("readOnlyHint") is True
