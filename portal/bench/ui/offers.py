"""What the servers offer at one moment, as the page and the programs need it, made once for each change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from codemode import Catalog, CodeTool
from portal.bench.ui.cost import Count, Standing, standing_cost
from portal.servers import Snapshot


class Offer:
    """A catalog with its declarations for the editor and the cost of knowing its tools, each made when asked for."""

    def __init__(self, snapshot: Snapshot, catalog: Catalog, code_tool: CodeTool, count: Count) -> None:
        self.catalog = catalog
        self._snapshot = snapshot
        self._code_tool = code_tool
        self._count = count
        self._standing: asyncio.Task[Standing] | None = None
        self._declarations: asyncio.Task[str] | None = None

    async def standing(self) -> Standing:
        if self._standing is None:
            self._standing = asyncio.ensure_future(asyncio.to_thread(self._cost))
        return await asyncio.shield(self._standing)

    async def declarations(self) -> str:
        if self._declarations is None:
            self._declarations = asyncio.ensure_future(asyncio.to_thread(self.catalog.declarations))
        return await asyncio.shield(self._declarations)

    def _cost(self) -> Standing:
        tools = (tool for server in self._snapshot.servers.values() for tool in server.tools)
        return standing_cost(self._code_tool.definition(self.catalog), tools, self._count)


class Offers:
    """Keeps the offer of the newest content asked for."""

    def __init__(self, code_tool: CodeTool, count: Count) -> None:
        self._code_tool = code_tool
        self._count = count
        self._lock = asyncio.Lock()
        self._content: object = None
        self._offer: Offer | None = None

    async def of(self, snapshot: Snapshot) -> Offer:
        unavailable = snapshot.unavailable()
        content = (snapshot.catalog_id, tuple(sorted(unavailable.items())))
        async with self._lock:
            if self._offer is None or content != self._content:
                catalog = await asyncio.to_thread(_built, snapshot, unavailable)
                self._offer, self._content = Offer(snapshot, catalog, self._code_tool, self._count), content
            return self._offer


def _built(snapshot: Snapshot, unavailable: Mapping[str, str]) -> Catalog:
    catalog = Catalog.build(snapshot.catalog_servers(), unavailable)
    _ = catalog.tools_id
    return catalog


def listed(snapshot: Snapshot, catalog: Catalog) -> list[dict[str, object]]:
    """The servers with their states and tools, as the page lists them."""
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
                    "description": (tool["description"] or "")[:500],
                    "signature": catalog.signature(tool["path"]),
                    "readOnly": dict(tool["annotations"] or {}).get("readOnlyHint") is True,
                }
                for tool in (catalog.tools(server.id) if server.listed else ())
            ],
        }
        for server in snapshot.servers.values()
    ]
