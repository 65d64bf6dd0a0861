"""Objects in the database: read and written over one connection, in its current transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, Generic, TypeAlias, TypeVar

import structlog
from sqlalchemy import ColumnElement, RowMapping, Select, and_, bindparam, delete, func, insert, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.bounded import Bounded
from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import check_name, check_secret, is_storable
from portal.state.envelope import FindKey, Place, seal, unseal
from portal.state.errors import AlreadyExists, Conflict, DocumentBroken, NotFound
from portal.state.kinds import Kind, ShapeInvalid, members_of
from portal.state.schema import audit, facts, named, objects, tokens

MAX_LOGGED = 1000
D = TypeVar("D")


class Keep(Enum):
    """The type of `KEEP`, which leaves a secret as it is."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP

CURRENT_KEY = "kid"


@dataclass(frozen=True, slots=True)
class Stored(Generic[D]):
    """An object read from the database. `revision` counts its changes from 1; times are UTC."""

    kind: str
    id: str
    revision: int
    document: D = field(repr=False)
    has_secret: bool
    created_at: datetime
    created_by: str
    modified_at: datetime
    modified_by: str

    @property
    def stamp(self) -> str:
        """A text that is another after each change, and after it was deleted and made again: none comes back."""
        return f"{self.created_at.isoformat()} {self.revision}"


@dataclass(frozen=True, slots=True)
class Broken:
    """An object whose document cannot be read. `problem` is the reason: it names a member and quotes no value.

    `members` are the members of the document, or empty if it is not a JSON object.
    """

    kind: str
    id: str
    revision: int
    problem: str = field(repr=False)
    members: Mapping[str, object] = field(repr=False)
    has_secret: bool
    modified_at: datetime
    modified_by: str

    @property
    def error(self) -> DocumentBroken:
        return DocumentBroken(self.kind, self.id, self.problem)


Found: TypeAlias = Stored[D] | Broken


@dataclass(frozen=True, slots=True)
class Scan(Generic[D]):
    """All objects of one kind, in order of their creation: those that can be read, and those that cannot."""

    stored: Sequence[Stored[D]] = ()
    broken: Sequence[Broken] = ()


class BrokenLog:
    """Logs each revision of a broken object once, however often it is read."""

    def __init__(self) -> None:
        self._logged: Bounded[tuple[str, str], int] = Bounded(MAX_LOGGED)
        self._log = structlog.get_logger("portal.state")

    def note(self, broken: Broken, code: str) -> None:
        key = (broken.kind, broken.id)
        if self._logged.get(key) != broken.revision:
            self._logged[key] = broken.revision
            self._log.error("a stored object cannot be read; it is left out", kind=broken.kind, id=broken.id, why=code)


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
# Built once: to build one takes longer than to run it.
_OF_KIND = objects.c.kind == bindparam("of_kind")
_ALL = select(*_COLUMNS).where(_OF_KIND).order_by(objects.c.created_at, objects.c.id)
_ONE = select(*_COLUMNS).where(_OF_KIND, objects.c.id == bindparam("of_id"))
_SECRET = select(objects.c.secret).where(_OF_KIND, objects.c.id == bindparam("of_id"))
_CURRENT_KID = select(facts.c.value).where(facts.c.name == CURRENT_KEY)


async def current_kid(connection: AsyncConnection) -> str:
    """The key new secrets are wrapped with."""
    kid: str = (await connection.execute(_CURRENT_KID)).scalar_one()
    return kid


async def find(connection: AsyncConnection, kind: Kind[D], id: str, log: BrokenLog) -> Found[D] | None:
    row = await _row(connection, kind.name, id)
    return _entry(row, kind, log) if row is not None else None


async def scan(connection: AsyncConnection, kind: Kind[D], log: BrokenLog) -> Scan[D]:
    found = await connection.execute(_ALL, {"of_kind": kind.name})
    entries = [_entry(row, kind, log) for row in found.mappings()]
    return Scan(
        [entry for entry in entries if not isinstance(entry, Broken)],
        [entry for entry in entries if isinstance(entry, Broken)],
    )


async def _row(
    connection: AsyncConnection, kind: str, id: str, query: Select[*tuple[object, ...]] = _ONE
) -> RowMapping | None:
    # No row has an id that cannot be stored.
    if not is_storable(id):
        return None
    return (await connection.execute(query, {"of_kind": kind, "of_id": id})).mappings().first()


async def secret(connection: AsyncConnection, kind: str, id: str, find: FindKey) -> bytes | None:
    row = await _row(connection, kind, id, _SECRET)
    return None if row is None or row["secret"] is None else unseal(bytes(row["secret"]), _place(kind, id), find)


@dataclass(frozen=True, slots=True)
class Idle(Generic[D]):
    """The objects of a kind that `by` has made in the shape of today, and that no living token of the kinds `uses`
    names as its client."""

    kind: Kind[D]
    by: str
    uses: tuple[str, ...]

    def where(self, now: datetime) -> ColumnElement[bool]:
        using = select(tokens.c.client).where(tokens.c.kind.in_(self.uses), tokens.c.expires_at > to_stored(now))
        return and_(_made_by(self.kind, self.by), _of_today(self.kind), objects.c.id.not_in(using))


async def count_idle(connection: AsyncConnection, idle: Idle[D], now: datetime) -> int:
    return int((await connection.execute(select(func.count()).where(idle.where(now)))).scalar_one())


async def list_idle(
    connection: AsyncConnection, idle: Idle[D], before: datetime, now: datetime, limit: int
) -> Sequence[str]:
    """The ids of those made before then, the oldest first."""
    old = and_(idle.where(now), objects.c.created_at <= to_stored(before))
    query = select(objects.c.id).where(old).order_by(objects.c.created_at, objects.c.id).limit(limit)
    return (await connection.execute(query)).scalars().all()


async def list_former(connection: AsyncConnection, kind: Kind[D], by: str, limit: int) -> Sequence[str]:
    """The ids of objects that `by` has made and whose documents have an earlier shape."""
    query = select(objects.c.id).where(_made_by(kind, by), not_(_of_today(kind)))
    return (await connection.execute(query.order_by(objects.c.created_at).limit(limit))).scalars().all()


async def forget(connection: AsyncConnection, kind: Kind[D], ids: Sequence[str]) -> None:
    await connection.execute(delete(objects).where(objects.c.kind == kind.name, objects.c.id.in_(ids)))
    await connection.execute(delete(audit).where(audit.c.kind == kind.name, audit.c.id.in_(ids)))


def _made_by(kind: Kind[D], by: str) -> ColumnElement[bool]:
    return and_(objects.c.kind == kind.name, objects.c.created_by == by)


def _of_today(kind: Kind[D]) -> ColumnElement[bool]:
    return func.substr(objects.c.document, 1, len(kind.mark)) == kind.mark


class ObjectWriter:
    """Writes objects over the connection of one transaction. `changed` has the kinds it changed."""

    def __init__(self, connection: AsyncConnection, find: FindKey, clock: Clock, log: BrokenLog) -> None:
        self.changed: set[str] = set()
        self._connection = connection
        self._find = find
        self._clock = clock
        self._broken = log

    async def create(self, kind: Kind[D], id: str, document: D, by: str, secret: bytes | None) -> Stored[D]:
        check_name(id)
        text = kind.text(document)
        if await _row(self._connection, kind.name, id) is not None:
            raise AlreadyExists(kind.name, id)
        at = to_stored(self._clock())
        row = {
            "kind": kind.name,
            "id": id,
            "revision": 1,
            "document": text,
            "created_at": at,
            "created_by": by,
            "modified_at": at,
            "modified_by": by,
            **await self._secret_columns(kind.name, id, secret),
        }
        await self._connection.execute(insert(objects).values(**row))
        return await self._read_back("create", kind, id, by)

    async def replace(
        self,
        kind: Kind[D],
        id: str,
        document: D,
        by: str,
        secret: bytes | None | Keep,
        revision: int | None,
    ) -> Stored[D]:
        text = kind.text(document)
        # The document to replace need not be readable.
        before = await _row(self._connection, kind.name, id)
        if before is None:
            raise NotFound(kind.name, id)
        if revision is not None and revision != before["revision"]:
            raise Conflict(kind.name, id)
        # `modified_at` of an object never decreases, even if the clock is set back.
        at = max(to_stored(self._clock()), before["modified_at"])
        row: dict[str, object] = {
            "revision": before["revision"] + 1,
            "document": text,
            "modified_at": at,
            "modified_by": by,
        }
        if not isinstance(secret, Keep):
            row |= await self._secret_columns(kind.name, id, secret)
        await self._connection.execute(update(objects).where(_is(kind.name, id)).values(**row))
        return await self._read_back("replace", kind, id, by)

    async def delete(self, kind: Kind[D], id: str, by: str) -> Found[D]:
        before = await find(self._connection, kind, id, self._broken)
        if before is None:
            raise NotFound(kind.name, id)
        await self._record("delete", before, by)
        await self._connection.execute(delete(objects).where(_is(kind.name, id)))
        return before

    async def _secret_columns(self, kind: str, id: str, secret: bytes | None) -> dict[str, object]:
        if secret is None:
            return {"secret": None, "kid": None}
        # The current key is read in the same transaction, so that no key rotation comes in between.
        kid = await current_kid(self._connection)
        return {"secret": seal(check_secret(secret), _place(kind, id), self._find(kid)), "kid": kid}

    async def _read_back(self, action: str, kind: Kind[D], id: str, by: str) -> Stored[D]:
        stored = await find(self._connection, kind, id, self._broken)
        # `Kind.text` returns only text that `Kind.read` accepts.
        assert isinstance(stored, Stored)
        await self._record(action, stored, by)
        return stored

    async def _record(self, action: str, entry: Found[D], by: str) -> None:
        check_name(by, "by")
        self.changed.add(entry.kind)
        await self._connection.execute(
            insert(audit).values(
                at=to_stored(self._clock()),
                by=by,
                action=action,
                kind=entry.kind,
                id=entry.id,
                revision=entry.revision,
            )
        )


def _is(kind: str, id: str) -> ColumnElement[bool]:
    return and_(objects.c.kind == kind, named(objects.c.id, id))


def _place(kind: str, id: str) -> Place:
    return Place("objects", kind, id, "secret")


def _entry(row: RowMapping, kind: Kind[D], log: BrokenLog) -> Found[D]:
    try:
        document = kind.read(row["document"])
    except ShapeInvalid as error:
        broken = Broken(
            row["kind"],
            row["id"],
            row["revision"],
            error.problem,
            _members(row["document"]),
            bool(row["has_secret"]),
            from_stored(row["modified_at"]),
            row["modified_by"],
        )
        log.note(broken, error.code)
        return broken
    return Stored(
        kind=row["kind"],
        id=row["id"],
        revision=row["revision"],
        document=document,
        has_secret=bool(row["has_secret"]),
        created_at=from_stored(row["created_at"]),
        created_by=row["created_by"],
        modified_at=from_stored(row["modified_at"]),
        modified_by=row["modified_by"],
    )


def _members(text: str) -> Mapping[str, object]:
    try:
        return members_of(text)
    except ValueError:
        return {}
