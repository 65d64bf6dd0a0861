"""Approvals in the portal's database: documents of kind `pin`, several for a server that offers much."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import field_validator

from portal.objects import Document
from portal.pins.judging import Approved, Kind
from portal.pins.places import PinsUnusable
from portal.state import Kind as DocumentKind
from portal.state import StateError

if TYPE_CHECKING:
    from portal.state import Scan, Store, Transaction

CHUNK_CHARS = 128 * 1024
"""Of definitions in one document, unless one alone is larger: a document may have 1 MiB."""


class PinDocument(Document):
    """Approved definitions of one server, each a kind and its JSON. A server has several of these."""

    server: str
    definitions: tuple[tuple[Kind, str], ...]

    @field_validator("definitions")
    @classmethod
    def _have_names(cls, given: tuple[tuple[Kind, str], ...]) -> tuple[tuple[Kind, str], ...]:
        if not all(isinstance(_name(text), str) for _, text in given):
            raise ValueError("a definition has no name")
        return given

    @property
    def approved(self) -> Approved:
        return {(kind, _name(text)): text for kind, text in self.definitions}


PINNED = DocumentKind("pin", PinDocument)


class StorePlace:
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
                found = await transaction.scan(PINNED)
                known = _by_server(found).get(server)
                if known is not None and first:
                    return known
                kept = {**(known or {}), **approved}
                stored = {one.id: one.document for one in found.stored if one.document.server == server}
                broken = {one.id for one in found.broken if server_of(one.id) == server}
                await _put(transaction, server, stored, broken, kept, by)
                return kept
        except StateError as error:
            raise PinsUnusable(str(error)) from error

    @asynccontextmanager
    async def following(self, changed: Callable[[], None]) -> AsyncIterator[None]:
        forget = self._store.subscribe(lambda kinds: changed() if PINNED.name in kinds else None)
        try:
            yield
        finally:
            forget()


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
    """The approvals of a server as documents, one at least: having approved nothing is something too."""
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


def _by_server(found: Scan[PinDocument]) -> dict[str, Approved]:
    # A server of which something cannot be read has been listed before: what it offers is not approved unseen.
    servers: dict[str, dict[tuple[Kind, str], str]] = {server_of(one.id): {} for one in found.broken}
    for one in found.stored:
        servers.setdefault(one.document.server, {}).update(one.document.approved)
    return {**servers}


def _name(text: str) -> str:
    name: str = json.loads(text)["name"]
    return name
