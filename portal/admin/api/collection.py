"""A kind of objects under one path, listed, made, shown, replaced and removed all in the same way."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from pydantic import BaseModel

from portal.admin.api.answers import ListAnswer
from portal.admin.api.errors import in_use, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import Area
from portal.objects import Document
from portal.state import Kind, Store, Stored, Transaction

MAX_OBJECTS = 1000

Check = Callable[[Transaction], Awaitable[None]]
B = TypeVar("B", bound=BaseModel)
D = TypeVar("D", bound=Document)


class Removed(BaseModel):
    id: str


async def unchecked(transaction: Transaction) -> None:
    """Nothing else depends on these objects."""


class Collection(Generic[B, D]):
    """Subclasses make the document that is stored for a body, and show a stored object.

    `check` sees the database as a change would leave it, and refuses by raising: then nothing was changed.
    """

    kind: Kind[D]
    path: str
    noun: str
    area: Area
    body: type[B]
    shown: type[BaseModel]
    made: type[BaseModel] | None = None

    def __init__(self, store: Store, check: Check = unchecked) -> None:
        self._store = store
        self._check = check

    def document(self, body: B, before: D | None) -> D:
        """The document to store; `before` is the one that it replaces, None where there is none that can be read."""
        raise NotImplementedError

    def name(self, document: D) -> str:
        """The text that a search looks into."""
        return str(getattr(document, "name", ""))

    def show(self, stored: Stored[D]) -> BaseModel:
        """The object as everyone is shown it who may read it."""
        dates = {"created_at": stored.created_at, "updated_at": stored.modified_at}
        return self.shown.model_validate({**self.kind.members(stored.document), "id": stored.id, **dates})

    def operations(self) -> list[Operation]:
        one = self.path + "/{id}"
        made = self.made or self.shown
        return [
            Operation("GET", self.path, f"List {self.noun}s", self.list, self.shown, self.area, listed=True),
            Operation("POST", self.path, f"Make a {self.noun}", self.create, made, self.area, self.body, status=201),
            Operation("GET", one, f"Show a {self.noun}", self.get, self.shown, self.area),
            Operation("PUT", one, f"Replace a {self.noun}", self.replace, self.shown, self.area, self.body),
            Operation("DELETE", one, f"Remove a {self.noun}", self.delete, Removed, self.area, status=202),
        ]

    async def list(self, asked: ApiRequest) -> ListAnswer[BaseModel]:
        found = await self._store.scan(self.kind)
        wanted = asked.paging.search.lower()
        shown = [self.show(stored) for stored in found.stored if wanted in self.name(stored.document).lower()]
        return ListAnswer(shown, found.broken)

    async def get(self, asked: ApiRequest) -> BaseModel:
        stored = await self._store.get(self.kind, asked.path["id"])
        if stored is None:
            raise not_found(self.noun)
        return self.show(stored)

    async def create(self, asked: ApiRequest) -> BaseModel:
        return self.show(await self.store(asked, self.document(asked.read(self.body), None)))

    async def store(self, asked: ApiRequest, document: D, secret: bytes | None = None) -> Stored[D]:
        """Store a new object under a new id."""
        async with self._store.transaction() as transaction:
            found = await transaction.scan(self.kind)
            if len(found.stored) + len(found.broken) >= MAX_OBJECTS:
                raise in_use(f"there are {MAX_OBJECTS} of them already")
            made = await transaction.create(self.kind, str(uuid.uuid4()), document, by=asked.by, secret=secret)
            await self._check(transaction)
        return made

    async def replace(self, asked: ApiRequest) -> BaseModel:
        async with self._store.transaction() as transaction:
            found = await transaction.find(self.kind, asked.path["id"])
            if found is None:
                raise not_found(self.noun)
            # One that cannot be read is replaced as if nothing had been there.
            before = found.document if isinstance(found, Stored) else None
            document = self.document(asked.read(self.body), before)
            replaced = await transaction.replace(self.kind, found.id, document, by=asked.by)
            await self._check(transaction)
        return self.show(replaced)

    async def delete(self, asked: ApiRequest) -> Removed:
        async with self._store.transaction() as transaction:
            gone = await transaction.delete(self.kind, asked.path["id"], by=asked.by)
            await self._check(transaction)
        return Removed(id=gone.id)
