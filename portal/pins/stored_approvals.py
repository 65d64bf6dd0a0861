"""Approvals in the portal's database: documents of kind `pin`, several for a server that offers much."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from portal.pins.approvals import PinsUnusable
from portal.pins.definitions import Approved, Kind
from portal.state import StateError

if TYPE_CHECKING:
    from portal.state import Store, Stored, Transaction

KIND = "pin"
CHUNK_CHARS = 128 * 1024
"""Characters of definitions in one document, except for a single larger definition. A document may have 1 MiB."""


class StoredApprovals:
    """Implements `ApprovalStore` with the portal's database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self) -> Mapping[str, Approved]:
        try:
            return _by_server(await self._store.list(KIND))
        except StateError as error:
            raise PinsUnusable(str(error)) from error

    async def keep(self, server: str, approved: Approved, *, by: str, first: bool) -> Approved:
        try:
            async with self._store.transaction() as transaction:
                stored = [pin for pin in await transaction.list(KIND) if pin.document["server"] == server]
                known = _by_server(stored).get(server)
                if known is not None and first:
                    return known
                updated = {**(known or {}), **approved}
                await _put(transaction, server, {document.id: document for document in stored}, updated, by)
                return updated
        except StateError as error:
            raise PinsUnusable(str(error)) from error

    @asynccontextmanager
    async def following(self, changed: Callable[[], None]) -> AsyncIterator[None]:
        unsubscribe = self._store.subscribe(lambda kinds: changed() if KIND in kinds else None)
        try:
            yield
        finally:
            unsubscribe()


async def _put(
    transaction: Transaction, server: str, stored: Mapping[str, Stored], approved: Approved, by: str
) -> None:
    documents = {f"{server}/{place}": document for place, document in enumerate(chunks(server, approved))}
    for id, document in documents.items():
        if id not in stored:
            await transaction.create(KIND, id, document, by=by)
        elif stored[id].document != document:
            await transaction.replace(KIND, id, document, by=by)
    for id in stored.keys() - documents.keys():
        await transaction.delete(KIND, id, by=by)


def chunks(server: str, approved: Approved) -> Iterator[dict[str, object]]:
    """The approvals of a server as documents. There is at least one, because an empty first listing counts too."""
    definitions: list[list[str]] = []
    size = 0
    for kind, name in sorted(approved):
        text = approved[kind, name]
        if definitions and size + len(text) > CHUNK_CHARS:
            yield {"server": server, "definitions": definitions}
            definitions, size = [], 0
        definitions.append([kind, text])
        size += len(text)
    yield {"server": server, "definitions": definitions}


def _by_server(stored: Iterable[Stored]) -> dict[str, Approved]:
    servers: dict[str, dict[tuple[Kind, str], str]] = {}
    for pin in stored:
        approved = servers.setdefault(pin.document["server"], {})
        approved.update({(kind, json.loads(text)["name"]): text for kind, text in pin.document["definitions"]})
    return {**servers}
