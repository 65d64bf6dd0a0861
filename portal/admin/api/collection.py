"""The operations every collection of objects has: list, create, show, replace and delete."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from pydantic import BaseModel

from portal.admin.api.answers import ListAnswer
from portal.admin.api.errors import in_use, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import Area
from portal.admin.api.revisions import Revised, whole
from portal.objects import Document
from portal.state import Kind, Store, Stored, Transaction

MAX_OBJECTS = 1000

Check = Callable[[Transaction], Awaitable[None]]
Guard = Callable[[Transaction, ApiRequest, str, str], Awaitable[None]]
B = TypeVar("B", bound=BaseModel)
D = TypeVar("D", bound=Document)


class Removed(BaseModel):
    id: str


async def unchecked(transaction: Transaction) -> None:
    """Accepts every change: nothing else depends on these objects."""


async def unguarded(transaction: Transaction, request: ApiRequest, kind: str, id: str) -> None:
    """Lets everybody who has the permission of the operation change every object."""


class Collection(ABC, Generic[B, D]):
    """One kind of stored object under one path. Subclasses build the document for a body and the answer for a document.

    `check` runs inside the transaction of each change and sees its result. If it raises, nothing is changed. `guard`
    runs there before the change, with the request, the kind and the id ("" for a new object), and raises for who may
    not make it.
    """

    kind: Kind[D]
    path: str
    noun: str
    area: Area
    body: type[B]
    answer: type[BaseModel]
    created_answer: type[BaseModel] | None = None

    def __init__(self, store: Store, check: Check = unchecked, guard: Guard = unguarded) -> None:
        self._store = store
        self._check = check
        self._guard = guard

    @abstractmethod
    def document(self, body: B, before: D | None) -> D:
        """The document to store. `before` is the one it replaces, or None if there is none or it cannot be read."""

    def name(self, document: D) -> str:
        """The text that `search` is matched against."""
        return str(getattr(document, "name", ""))

    def show(self, stored: Stored[D]) -> BaseModel:
        """The answer for a stored object."""
        dates = {"created_at": stored.created_at, "updated_at": stored.modified_at}
        return self.answer.model_validate({**self.kind.members(stored.document), "id": stored.id, **dates})

    @property
    def of(self) -> Revised:
        """What the operations on one object are about."""
        return whole(self._store, self.kind, self.noun)

    def operations(self) -> list[Operation]:
        item, of = self.path + "/{id}", self.of
        created = self.created_answer or self.answer
        a_noun = f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"
        nouns = f"{self.noun[:-1]}ies" if self.noun.endswith("y") else f"{self.noun}s"
        return [
            Operation("GET", self.path, f"List {nouns}", self.list, self.answer, self.area, listed=True),
            Operation("POST", self.path, f"Make {a_noun}", self.create, created, self.area, self.body, status=201),
            Operation("GET", item, f"Show {a_noun}", self.get, self.answer, self.area, of=of),
            Operation("PUT", item, f"Replace {a_noun}", self.replace, self.answer, self.area, self.body, of=of),
            Operation("DELETE", item, f"Remove {a_noun}", self.delete, Removed, self.area, status=202, of=of),
        ]

    async def list(self, request: ApiRequest) -> ListAnswer[BaseModel]:
        scan = await self._store.scan(self.kind)
        search = request.paging.search.lower()
        items = [self.show(stored) for stored in scan.stored if search in self.name(stored.document).lower()]
        return ListAnswer(items, scan.broken)

    async def get(self, request: ApiRequest) -> BaseModel:
        stored = await self._store.get(self.kind, request.path["id"])
        if stored is None:
            raise not_found(self.noun)
        return self.show(stored)

    async def create(self, request: ApiRequest) -> BaseModel:
        return self.show(await self.store(request, self.document(request.read(self.body), None)))

    async def store(self, request: ApiRequest, document: D, secret: bytes | None = None) -> Stored[D]:
        """The new object, stored under a new id."""
        async with self._store.transaction() as transaction:
            await self._guard(transaction, request, self.kind.name, "")
            scan = await transaction.scan(self.kind)
            if len(scan.stored) + len(scan.broken) >= MAX_OBJECTS:
                raise in_use(f"there are already {MAX_OBJECTS} of this kind, the most allowed")
            created = await transaction.create(self.kind, str(uuid.uuid4()), document, by=request.by, secret=secret)
            await self._check(transaction)
        return created

    async def replace(self, request: ApiRequest) -> BaseModel:
        async with request.transaction(self._store) as transaction:
            existing = await transaction.find(self.kind, request.path["id"])
            if existing is None:
                raise not_found(self.noun)
            await self._guard(transaction, request, self.kind.name, existing.id)
            # An object that cannot be read is replaced as if it had not existed.
            before = existing.document if isinstance(existing, Stored) else None
            document = self.document(request.read(self.body), before)
            replaced = await transaction.replace(self.kind, existing.id, document, by=request.by)
            await self._check(transaction)
        return self.show(replaced)

    async def delete(self, request: ApiRequest) -> Removed:
        async with request.transaction(self._store) as transaction:
            await self._guard(transaction, request, self.kind.name, request.path["id"])
            deleted = await transaction.delete(self.kind, request.path["id"], by=request.by)
            await self._check(transaction)
        return Removed(id=deleted.id)
