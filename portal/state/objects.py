"""Objects in the database: read and written over one connection, inside whatever transaction it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final

from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import check_kind, check_name, check_secret, decode, encode
from portal.state.envelope import FindKey, Place, seal, unseal
from portal.state.errors import AlreadyExists, Conflict, NotFound
from portal.state.schema import audit, facts, objects


class Keep(Enum):
    """The secret stays as it is."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP

CURRENT_KEY = "kid"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was read. `revision` counts its changes from 1; times are UTC."""

    kind: str
    id: str
    revision: int
    document: Mapping[str, Any] = field(repr=False)
    has_secret: bool
    created_at: datetime
    created_by: str
    modified_at: datetime
    modified_by: str


_COLUMNS = (
    objects.c.kind,
    objects.c.id,
    objects.c.revision,
    objects.c.document,
    objects.c.secret.is_not(None).label("has_secret"),
    objects.c.created_at,
    objects.c.created_by,
    objects.c.modified_at,
    objects.c.modified_by,
)


async def get(connection: AsyncConnection, kind: str, id: str) -> Stored | None:
    found = (await connection.execute(_one(select(*_COLUMNS), kind, id))).first()
    return _stored(found) if found else None


async def list_kind(connection: AsyncConnection, kind: str) -> list[Stored]:
    query = select(*_COLUMNS).where(objects.c.kind == kind).order_by(objects.c.created_at, objects.c.id)
    return [_stored(row) for row in await connection.execute(query)]


async def secret(connection: AsyncConnection, kind: str, id: str, find: FindKey) -> bytes | None:
    sealed = (await connection.execute(_one(select(objects.c.secret), kind, id))).scalar()
    return None if sealed is None else unseal(bytes(sealed), _place(kind, id), find)


class ObjectWriter:
    """Writes objects over the connection of one transaction, and remembers which kinds it changed."""

    def __init__(self, connection: AsyncConnection, find: FindKey, clock: Clock) -> None:
        self.changed: set[str] = set()
        self._connection = connection
        self._find = find
        self._clock = clock

    async def create(self, kind: str, id: str, document: Mapping[str, Any], by: str, secret: bytes | None) -> Stored:
        check_kind(kind)
        check_name(id)
        encoded = encode(document)
        if await get(self._connection, kind, id) is not None:
            raise AlreadyExists(kind, id)
        at = to_stored(self._clock())
        row = {
            "kind": kind,
            "id": id,
            "revision": 1,
            "document": encoded,
            "created_at": at,
            "created_by": by,
            "modified_at": at,
            "modified_by": by,
            **await self._sealed(kind, id, secret),
        }
        await self._connection.execute(insert(objects).values(**row))
        return await self._changed("create", kind, id, by)

    async def replace(
        self,
        kind: str,
        id: str,
        document: Mapping[str, Any],
        by: str,
        secret: bytes | None | Keep,
        revision: int | None,
    ) -> Stored:
        encoded = encode(document)
        before = await get(self._connection, kind, id)
        if before is None:
            raise NotFound(kind, id)
        if revision is not None and revision != before.revision:
            raise Conflict(kind, id)
        # Time does not run backwards for one object, whatever the clock does.
        at = max(to_stored(self._clock()), to_stored(before.modified_at))
        row: dict[str, Any] = {
            "revision": before.revision + 1,
            "document": encoded,
            "modified_at": at,
            "modified_by": by,
        }
        if not isinstance(secret, Keep):
            row |= await self._sealed(kind, id, secret)
        await self._connection.execute(update(objects).where(objects.c.kind == kind, objects.c.id == id).values(**row))
        return await self._changed("replace", kind, id, by)

    async def delete(self, kind: str, id: str, by: str) -> Stored:
        before = await get(self._connection, kind, id)
        if before is None:
            raise NotFound(kind, id)
        await self._record("delete", before, by)
        await self._connection.execute(delete(objects).where(objects.c.kind == kind, objects.c.id == id))
        return before

    async def _sealed(self, kind: str, id: str, secret: bytes | None) -> dict[str, Any]:
        if secret is None:
            return {"secret": None, "kid": None}
        # Which key is the current one is read in the same transaction: a rotation cannot come in between.
        kid = (await self._connection.execute(select(facts.c.value).where(facts.c.name == CURRENT_KEY))).scalar_one()
        return {"secret": seal(check_secret(secret), _place(kind, id), self._find(kid)), "kid": kid}

    async def _changed(self, action: str, kind: str, id: str, by: str) -> Stored:
        stored = await get(self._connection, kind, id)
        assert stored is not None
        await self._record(action, stored, by)
        return stored

    async def _record(self, action: str, stored: Stored, by: str) -> None:
        check_name(by, "by")
        self.changed.add(stored.kind)
        await self._connection.execute(
            insert(audit).values(
                at=to_stored(self._clock()),
                by=by,
                action=action,
                kind=stored.kind,
                id=stored.id,
                revision=stored.revision,
            )
        )


def _one(query: Select[Any], kind: str, id: str) -> Select[Any]:
    return query.where(objects.c.kind == kind, objects.c.id == id)


def _place(kind: str, id: str) -> Place:
    return Place("objects", kind, id, "secret")


def _stored(row: Row[Any]) -> Stored:
    return Stored(
        kind=row.kind,
        id=row.id,
        revision=row.revision,
        document=decode(row.document),
        has_secret=bool(row.has_secret),
        created_at=from_stored(row.created_at),
        created_by=row.created_by,
        modified_at=from_stored(row.modified_at),
        modified_by=row.modified_by,
    )
