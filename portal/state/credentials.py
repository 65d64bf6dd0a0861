"""Credentials that are used up and renewed: sealed, found by whose they are and what for, leased to who renews them.

A lease says which process renews a credential. It is taken before the request leaves, in the database, because several
processes hold the same credential, and some authorization servers take back everything when one is used twice.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import orjson
import structlog
from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import check_name, check_secret
from portal.state.envelope import FindKey, Place, seal, unseal
from portal.state.errors import DocumentInvalid
from portal.state.kinds import Kind, ShapeInvalid
from portal.state.objects import KEEP, Keep, current_kid
from portal.state.schema import credentials, named
from portal.state.tokens import OpenWriting, Reading

MAX_URL = 4096
MOST_LEASES = 3
MAX_LISTED = 10_000
# In one query: SQLite has bounds of its own.
_SUBJECTS = 500
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class CredentialKey:
    """Whose credential it is ("" is the portal's own), for which server, and what it is bound to: the issuer that gave
    it, the resource it is for, the client it was given to. None of them can be changed: that is another credential.
    """

    subject: str
    server: str
    issuer: str
    resource: str
    client: str

    @property
    def digest(self) -> bytes:
        # A JSON array, so that no two keys are written alike.
        written = orjson.dumps([self.subject, self.server, self.issuer, self.resource, self.client])
        return hashlib.sha256(written).digest()


@dataclass(frozen=True, slots=True)
class StoredCredential(Generic[D]):
    """A credential as it was read. `version` is another after each change. `leased_until` is when the lease of the
    process that renews it ends, None without one; times are UTC."""

    key: CredentialKey
    version: int
    document: D = field(repr=False)
    modified_at: datetime
    leased_until: datetime | None


class CredentialRows:
    """The credentials of a store. Changes of them are told to its subscribers where a method says so."""

    def __init__(self, reading: Reading, writing: OpenWriting, clock: Clock, find: FindKey) -> None:
        self._reading = reading
        self._writing = writing
        self._clock = clock
        self._find_key = find

    async def list(
        self, kind: Kind[D], *, subject: str | None = None, server: str | None = None
    ) -> Sequence[StoredCredential[D]]:
        """Those of a subject, for a server, or of both, oldest change first, at most `MAX_LISTED`. One whose document
        cannot be read is left out: its holder logs in again.
        """
        query = select(credentials).where(credentials.c.kind == kind.name)
        if subject is not None:
            query = query.where(named(credentials.c.subject, subject))
        if server is not None:
            query = query.where(named(credentials.c.server, server))
        async with self._reading() as connection:
            rows = await connection.execute(query.order_by(credentials.c.modified_at).limit(MAX_LISTED))
            found = [_credential(row, kind) for row in rows.mappings()]
        return [one for one in found if one is not None]

    async def of_subjects(self, kind: Kind[D], subjects: Collection[str]) -> Sequence[StoredCredential[D]]:
        """The credentials of these subjects, oldest change first. As `list` otherwise, without its bound."""
        wanted, found = sorted(subjects), list[StoredCredential[D] | None]()
        async with self._reading() as connection:
            for start in range(0, len(wanted), _SUBJECTS):
                some = credentials.c.subject.in_(wanted[start : start + _SUBJECTS])
                query = select(credentials).where(credentials.c.kind == kind.name, some)
                rows = await connection.execute(query.order_by(credentials.c.modified_at))
                found += [_credential(row, kind) for row in rows.mappings()]
        return [one for one in found if one is not None]

    async def changed_since(self, subject: str, since: datetime) -> bool:
        """Whether a credential of this subject, of any kind, was stored since then."""
        mine = and_(named(credentials.c.subject, subject), credentials.c.modified_at >= to_stored(since))
        async with self._reading() as connection:
            return (await connection.execute(select(credentials.c.server).where(mine).limit(1))).first() is not None

    async def get(self, kind: Kind[D], key: CredentialKey) -> StoredCredential[D] | None:
        """The credential; None if there is none, or its document cannot be read."""
        async with self._reading() as connection:
            row = await self._row(connection, kind.name, key)
        return _credential(row, kind) if row is not None else None

    async def secret(self, kind: Kind[D], key: CredentialKey) -> bytes | None:
        """The decrypted secret; None if there is no such credential.

        Raises:
            SecretUnreadable: it was changed, it was moved here from another key, or its own key is lost.
        """
        async with self._reading() as connection:
            row = await self._row(connection, kind.name, key)
        return None if row is None else unseal(bytes(row["secret"]), _place(kind.name, key), self._find_key)

    async def put(self, kind: Kind[D], key: CredentialKey, document: D, secret: bytes) -> StoredCredential[D]:
        """Store this credential in place of the one that there was, lease and all. Subscribers are told.

        Raises:
            DocumentInvalid: no document of the kind, no proper name, or too large.
        """
        _check(key)
        text = kind.text(document)
        async with self._writing() as (connection, changed):
            row = await self._row(connection, kind.name, key)
            values = {
                **await self._sealed(connection, kind.name, key, secret),
                # The credential of a later login must not be taken for one that was deleted.
                "version": row["version"] + 1 if row is not None else secrets.randbelow(2**31),
                "document": text,
                "modified_at": to_stored(self._clock()),
                "leased_until": None,
                "leased_by": None,
            }
            if row is None:
                identity = {"subject": key.subject, "server": key.server, "issuer": key.issuer}
                identity |= {"resource": key.resource, "client": key.client}
                new = insert(credentials).values(kind=kind.name, digest=key.digest, **identity, **values)
                await connection.execute(new)
            else:
                await connection.execute(update(credentials).where(_is(kind.name, key)).values(**values))
            changed.add(kind.name)
            return await self._written(connection, kind, key)

    async def lease(
        self, kind: Kind[D], key: CredentialKey, version: int, owner: str, seconds: float, document: D
    ) -> bool:
        """Whether `owner` may renew this credential now, for so many seconds: it is of this version, and nobody else
        has a lease. The document is stored with the lease, which its owner may take again.
        """
        now = self._clock()
        lease = credentials.c.leased_until
        # No lease is that long: it is of a process whose clock is wrong.
        wrong = lease > to_stored(now + timedelta(seconds=MOST_LEASES * seconds))
        free = or_(credentials.c.leased_by == owner, lease.is_(None), lease <= to_stored(now), wrong)
        take = update(credentials).where(_is(kind.name, key), credentials.c.version == version, free)
        until = to_stored(now + timedelta(seconds=seconds))
        async with self._writing() as (connection, _):
            taken = await connection.execute(
                take.values(leased_until=until, leased_by=owner, document=kind.text(document))
            )
            return taken.rowcount == 1

    async def settle(
        self,
        kind: Kind[D],
        key: CredentialKey,
        version: int,
        document: D,
        secret: bytes | Keep = KEEP,
        *,
        tell: bool = False,
        unless_leased: bool = False,
    ) -> StoredCredential[D] | None:
        """Store the outcome of a renewal and end the lease, if the credential is still of this version. None if not.

        The lease itself is not asked for: an outcome that comes late is better than none. With `unless_leased` nothing
        is stored while anybody renews the credential: it is for other changes. Subscribers are told only if
        `tell` is set: other processes go on with what they have until it ends, and read this one then.
        """
        values: dict[str, object] = {
            "version": version + 1,
            "document": kind.text(document),
            "modified_at": to_stored(self._clock()),
            "leased_until": None,
            "leased_by": None,
        }
        async with self._writing() as (connection, changed):
            if secret is not KEEP:
                assert isinstance(secret, bytes)
                values |= await self._sealed(connection, kind.name, key, secret)
            mine = update(credentials).where(_is(kind.name, key), credentials.c.version == version)
            if unless_leased:
                now = to_stored(self._clock())
                mine = mine.where(or_(credentials.c.leased_until.is_(None), credentials.c.leased_until <= now))
            if (await connection.execute(mine.values(**values))).rowcount != 1:
                return None
            if tell:
                changed.add(kind.name)
            return await self._written(connection, kind, key)

    async def delete(self, kind: Kind[D], key: CredentialKey) -> bool:
        """Forget a credential; whether there was one. Subscribers are told."""
        async with self._writing() as (connection, changed):
            gone = (await connection.execute(delete(credentials).where(_is(kind.name, key)))).rowcount == 1
            if gone:
                changed.add(kind.name)
            return gone

    async def _row(self, connection: AsyncConnection, kind: str, key: CredentialKey) -> RowMapping | None:
        return (await connection.execute(select(credentials).where(_is(kind, key)))).mappings().first()

    async def _written(self, connection: AsyncConnection, kind: Kind[D], key: CredentialKey) -> StoredCredential[D]:
        row = await self._row(connection, kind.name, key)
        found = _credential(row, kind) if row is not None else None
        assert found is not None
        return found

    async def _sealed(
        self, connection: AsyncConnection, kind: str, key: CredentialKey, secret: bytes
    ) -> dict[str, object]:
        kid = await current_kid(connection)
        return {"secret": seal(check_secret(secret), _place(kind, key), self._find_key(kid)), "kid": kid}


def _is(kind: str, key: CredentialKey) -> ColumnElement[bool]:
    return and_(credentials.c.kind == kind, credentials.c.digest == key.digest)


def _place(kind: str, key: CredentialKey) -> Place:
    # By the whole key: a secret in the row of another person, server or issuer does not open.
    return Place("credentials", kind, key.digest.hex(), "secret")


def _check(key: CredentialKey) -> None:
    check_name(key.subject, "subject")
    check_name(key.server)
    for value in (key.issuer, key.resource, key.client):
        if len(value) > MAX_URL or not value.isprintable():
            raise DocumentInvalid(f"what a credential is bound to must be printable and at most {MAX_URL} characters")


def _credential(row: RowMapping, kind: Kind[D]) -> StoredCredential[D] | None:
    try:
        document = kind.read(row["document"])
    except ShapeInvalid as error:
        structlog.get_logger("portal.state").error("a stored credential cannot be read", kind=kind.name, why=error.code)
        return None
    return StoredCredential(
        key=CredentialKey(row["subject"], row["server"], row["issuer"], row["resource"], row["client"]),
        version=row["version"],
        document=document,
        modified_at=from_stored(row["modified_at"]),
        leased_until=None if row["leased_until"] is None else from_stored(row["leased_until"]),
    )
