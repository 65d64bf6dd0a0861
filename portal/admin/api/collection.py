"""A kind of objects under one path, listed, made, shown, replaced and removed all in the same way."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import BaseModel

from portal.admin.api.errors import in_use, not_found
from portal.admin.api.operations import Asked, Operation
from portal.admin.api.permissions import Area
from portal.state import Store, Stored, Transaction

MAX_OBJECTS = 1000

Check = Callable[[Transaction], Awaitable[None]]


class Removed(BaseModel):
    id: str


async def unchecked(transaction: Transaction) -> None:
    """Nothing else depends on these objects."""


class Collection:
    """Subclasses say what is stored of a body, and how a stored object is shown.

    `check` sees the database as a change would leave it, and refuses by raising: then nothing was changed.
    """

    kind: str
    path: str
    noun: str
    area: Area
    body: type[BaseModel]
    shown: type[BaseModel]
    made: type[BaseModel] | None = None

    def __init__(self, store: Store, check: Check = unchecked) -> None:
        self._store = store
        self._check = check

    def document(self, body: Any, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """What is stored; `before` is what it replaces."""
        document: dict[str, Any] = body.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return document

    def show(self, stored: Stored) -> Any:
        """As it is shown to whoever may read it."""
        return self.shown.model_validate(
            {**stored.document, "id": stored.id, "created_at": stored.created_at, "updated_at": stored.modified_at}
        )

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

    async def list(self, asked: Asked) -> list[Any]:
        wanted = asked.paging.search.lower()
        return [
            self.show(stored)
            for stored in await self._store.list(self.kind)
            if wanted in str(stored.document.get("name", "")).lower()
        ]

    async def get(self, asked: Asked) -> Any:
        stored = await self._store.get(self.kind, asked.path["id"])
        if stored is None:
            raise not_found(self.noun)
        return self.show(stored)

    async def create(self, asked: Asked) -> Any:
        document = self.document(asked.body, None)
        async with self._store.transaction() as transaction:
            if len(await transaction.list(self.kind)) >= MAX_OBJECTS:
                raise in_use(f"there are {MAX_OBJECTS} of them already")
            made = await transaction.create(self.kind, str(uuid.uuid4()), document, by=asked.by)
            await self._check(transaction)
        return self.show(made)

    async def replace(self, asked: Asked) -> Any:
        async with self._store.transaction() as transaction:
            stored = await transaction.get(self.kind, asked.path["id"])
            if stored is None:
                raise not_found(self.noun)
            document = self.document(asked.body, stored.document)
            replaced = await transaction.replace(self.kind, stored.id, document, by=asked.by)
            await self._check(transaction)
        return self.show(replaced)

    async def delete(self, asked: Asked) -> Removed:
        async with self._store.transaction() as transaction:
            gone = await transaction.delete(self.kind, asked.path["id"], by=asked.by)
            await self._check(transaction)
        return Removed(id=gone.id)
