"""Approvals in the portal's database: documents of kind `pin`, several for a server that offers much."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import field_validator

from portal.objects import Document
from portal.pins.approvals import PinsUnusable
from portal.pins.definitions import Approved, Kind
from portal.state import Kind as DocumentKind
from portal.state import StateError

if TYPE_CHECKING:
    from portal.state import Scan, Store, Transaction

CHUNK_CHARS = 128 * 1024
"""Characters of definitions in one document, except for a single larger definition. A document may have 1 MiB."""


class PinDocument(Document):
    """Approved definitions of one server, each a kind and its JSON. A server can have several of these documents."""

    server: str
    definitions: tuple[tuple[Kind, str], ...]

    @field_validator("definitions")
    @classmethod
    def _have_names(cls, definitions: tuple[tuple[Kind, str], ...]) -> tuple[tuple[Kind, str], ...]:
        if not all(isinstance(_name(text), str) for _, text in definitions):
            raise ValueError("a definition has no name")
        return definitions

    @property
    def approved(self) -> Approved:
        return {(kind, _name(text)): text for kind, text in self.definitions}


PINNED = DocumentKind("pin", PinDocument)


class StoredApprovals:
    """Implements `ApprovalStore` with the portal's database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self) -> Mapping[str, Approved]:
        try:
            return _by_server(await self._store.scan(PINNED))
        except StateError as error:
            raise PinsUnusable(str(error)) from error

    async def keep(self, server: str, approved: Approved, *, by: str, first: bool) -> Approved:
        try:
            async with self._store.transaction() as transaction:
                scan = await transaction.scan(PINNED)
                known = _by_server(scan).get(server)
                if known is not None and first:
                    return known
                updated = {**(known or {}), **approved}
                stored = {pin.id: pin.document for pin in scan.stored if pin.document.server == server}
                broken = {pin.id for pin in scan.broken if server_of(pin.id) == server}
                await _put(transaction, server, stored, broken, updated, by)
                return updated
        except StateError as error:
            raise PinsUnusable(str(error)) from error

    @asynccontextmanager
    async def following(self, changed: Callable[[], None]) -> AsyncIterator[None]:
        unsubscribe = self._store.subscribe(lambda kinds: changed() if PINNED.name in kinds else None)
        try:
            yield
        finally:
            unsubscribe()


async def _put(
    transaction: Transaction,
    server: str,
    stored: Mapping[str, PinDocument],
    broken: Set[str],
    approved: Approved,
    by: str,
) -> None:
    documents = {f"{server}/{place}": document for place, document in enumerate(chunks(server, approved))}
    for id, document in documents.items():
        if id in broken or (id in stored and stored[id] != document):
            await transaction.replace(PINNED, id, document, by=by)
        elif id not in stored:
            await transaction.create(PINNED, id, document, by=by)
    for id in (stored.keys() | broken) - documents.keys():
        await transaction.delete(PINNED, id, by=by)


def chunks(server: str, approved: Approved) -> Iterator[PinDocument]:
    """The approvals of a server as documents. There is at least one, because an empty first listing counts too."""
    definitions: list[tuple[Kind, str]] = []
    size = 0
    for kind, name in sorted(approved):
        text = approved[kind, name]
        if definitions and size + len(text) > CHUNK_CHARS:
            yield PinDocument(server=server, definitions=tuple(definitions))
            definitions, size = [], 0
        definitions.append((kind, text))
        size += len(text)
    yield PinDocument(server=server, definitions=tuple(definitions))


def server_of(id: str) -> str:
    """The server that the document of this id belongs to."""
    return id.rpartition("/")[0]


def _by_server(scan: Scan[PinDocument]) -> dict[str, Approved]:
    # A server with a document that cannot be read was listed before. Without an entry here it would count as new, and
    # everything it offers would be approved.
    servers: dict[str, dict[tuple[Kind, str], str]] = {server_of(pin.id): {} for pin in scan.broken}
    for pin in scan.stored:
        servers.setdefault(pin.document.server, {}).update(pin.document.approved)
    return {**servers}


def _name(text: str) -> str:
    name: str = json.loads(text)["name"]
    return name
