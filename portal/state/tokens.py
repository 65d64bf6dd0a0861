"""Everything a bearer can present: sessions, codes, access and refresh tokens. Only the SHA-256 of one is stored."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar

import structlog
from sqlalchemy import ColumnElement, RowMapping, and_, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import check_name
from portal.state.errors import AlreadyExists
from portal.state.kinds import Kind, ShapeInvalid
from portal.state.schema import named, tokens

MAX_LISTED = 10_000
MAX_FAMILIES = 200
PURGED = 1000
MANY = 200
"""Documents; more are read in a thread."""
D = TypeVar("D")

# A connection of a transaction, with the set of kinds whose tokens were revoked in it.
Writing = tuple[AsyncConnection, set[str]]
Reading = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
OpenWriting = Callable[[], AbstractAsyncContextManager[Writing]]


@dataclass(frozen=True, slots=True)
class Token(Generic[D]):
    """What is known of a token; times are UTC. `reused` is true when `consume` met one that was used before."""

    kind: str
    subject: str
    client: str
    family: str
    document: D = field(repr=False)
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Family(Generic[D]):
    """The tokens of one kind that came of one grant: the one that can be used now, and when the first was issued."""

    token: Token[D]
    since: datetime


# Built once: to build it takes longer than to run it, and each request with a token does.
_LIVING = select(tokens).where(
    tokens.c.kind == bindparam("of_kind"),
    tokens.c.digest == bindparam("of_digest"),
    tokens.c.expires_at > bindparam("now"),
)


class Tokens:
    """The tokens of a store, or of one of its transactions: then what is done holds when that is committed.

    `scope` is a portal's id. A token of one scope is unknown in every other, because its digest includes the scope.
    Families, subjects and lists do not: a person's tokens of all portals can be listed and revoked together.
    """

    def __init__(self, reading: Reading, writing: OpenWriting, clock: Clock, scope: str = "") -> None:
        self._reading = reading
        self._writing = writing
        self._clock = clock
        self._scope = scope

    @classmethod
    def within(cls, connection: AsyncConnection, revoked: set[str], clock: Clock, scope: str = "") -> Tokens:
        """Those of a transaction."""

        @asynccontextmanager
        async def reading() -> AsyncIterator[AsyncConnection]:
            yield connection

        @asynccontextmanager
        async def writing() -> AsyncIterator[Writing]:
            yield connection, revoked

        return cls(reading, writing, clock, scope)

    def scoped(self, scope: str) -> Tokens:
        """The same tokens as the portal `scope` knows them."""
        return Tokens(self._reading, self._writing, self._clock, scope)

    async def issue(
        self,
        kind: Kind[D],
        token: str,
        *,
        subject: str,
        document: D,
        expires_at: datetime,
        client: str = "",
        family: str = "",
    ) -> None:
        """Make this token known.

        Raises:
            AlreadyExists: it is.
            DocumentInvalid: the document is not one of the kind, not JSON within bounds, or a name is not one.
        """
        row = {
            "kind": kind.name,
            "digest": _digest(self._scope, token),
            "subject": check_name(subject, "subject"),
            "client": check_name(client, "client"),
            "family": check_name(family, "family"),
            "document": kind.text(document),
            "issued_at": to_stored(self._clock()),
            "expires_at": to_stored(expires_at),
        }
        async with self._writing() as (connection, _):
            try:
                async with connection.begin_nested():
                    await connection.execute(insert(tokens).values(**row))
            except IntegrityError:
                raise AlreadyExists(kind.name, "token") from None

    async def find(self, kind: Kind[D], token: str) -> Token[D] | None:
        """The token, used or not; None when it is unknown, has expired, was revoked, or its document is broken."""
        async with self._reading() as connection:
            return await self._find(connection, kind, token)

    async def consume(self, kind: Kind[D], token: str) -> Token[D] | None:
        """Use a token that can be used once: of any number of callers, in any process, one gets it with `reused` false.

        None when it is unknown, has expired, was revoked, or its document is broken.
        """
        now = to_stored(self._clock())
        use = update(tokens).where(self._is(kind.name, token), tokens.c.used_at.is_(None), tokens.c.expires_at > now)
        async with self._writing() as (connection, _):
            first = (await connection.execute(use.values(used_at=now))).rowcount == 1
            found = await self._find(connection, kind, token)
        return found and replace(found, reused=not first)

    async def revoke(self, kind: Kind[D], token: str) -> bool:
        """From now on it is unknown. False when it was."""
        return await self._revoke(self._is(kind.name, token)) == 1

    async def revoke_family(self, family: str) -> int:
        """Revoke every token of a family (those that came of one grant), whatever its kind; how many there were."""
        return await self._revoke(named(tokens.c.family, family)) if family else 0

    async def revoke_subject(self, subject: str, kinds: Collection[str] | None = None) -> int:
        """Revoke every token of a subject, or those of some kinds; how many there were."""
        of_kinds = [] if kinds is None else [tokens.c.kind.in_(list(kinds))]
        return await self._revoke(and_(named(tokens.c.subject, subject), *of_kinds))

    async def list(self, kind: Kind[D], subject: str | None = None) -> list[Token[D]]:
        """Tokens that have not expired, oldest first, at most `MAX_LISTED`; without those whose document is broken."""
        query = select(tokens).where(tokens.c.kind == kind.name, tokens.c.expires_at > to_stored(self._clock()))
        if subject is not None:
            query = query.where(named(tokens.c.subject, subject))
        async with self._reading() as connection:
            found = await connection.execute(query.order_by(tokens.c.issued_at, tokens.c.digest).limit(MAX_LISTED))
            rows = found.mappings().all()
        # Reading thousands of documents takes a second, in which the event loop would do nothing else.
        return await asyncio.to_thread(_readable, rows, kind) if len(rows) > MANY else _readable(rows, kind)

    async def families(self, kind: Kind[D], subject: str) -> Sequence[Family[D]]:
        """The families of a subject that have an unused token of this kind, newest token first, at most
        `MAX_FAMILIES`. For kinds of which a family has one unused token; its used ones count as long as they have not
        expired."""
        earlier = tokens.alias()
        since = (
            select(func.min(earlier.c.issued_at))
            .where(earlier.c.family == tokens.c.family, earlier.c.kind == kind.name)
            .scalar_subquery()
        )
        living = and_(tokens.c.used_at.is_(None), tokens.c.expires_at > to_stored(self._clock()))
        query = select(tokens, since.label("since")).where(
            tokens.c.kind == kind.name, named(tokens.c.subject, subject), tokens.c.family != "", living
        )
        async with self._reading() as connection:
            found = await connection.execute(query.order_by(tokens.c.issued_at.desc()).limit(MAX_FAMILIES))
            listed = [(_token(row, kind), from_stored(row["since"])) for row in found.mappings()]
        return [Family(token, since) for token, since in listed if token is not None]

    async def keep_newest(self, kind: Kind[D], most: int) -> int:
        """Forget the oldest tokens of this kind where there are more than so many; how many there were."""
        of_kind = tokens.c.kind == kind.name
        newest = select(tokens.c.issued_at).where(of_kind).order_by(tokens.c.issued_at.desc()).offset(most).limit(1)
        async with self._writing() as (connection, _):
            last = (await connection.execute(newest)).scalar()
            if last is None:
                return 0
            return (await connection.execute(delete(tokens).where(of_kind, tokens.c.issued_at <= last))).rowcount

    async def purge(self, now: datetime) -> int:
        """Forget what has expired by then; how many there were. In small steps: other writers come in between."""
        key = tuple_(tokens.c.kind, tokens.c.digest)
        expired = select(tokens.c.kind, tokens.c.digest).where(tokens.c.expires_at <= to_stored(now)).limit(PURGED)
        gone = 0
        while True:
            async with self._writing() as (connection, _):
                step = (await connection.execute(delete(tokens).where(key.in_(expired)))).rowcount
            gone += step
            if step < PURGED:
                return gone

    async def _find(self, connection: AsyncConnection, kind: Kind[D], token: str) -> Token[D] | None:
        this = {"of_kind": kind.name, "of_digest": _digest(self._scope, token), "now": to_stored(self._clock())}
        row = (await connection.execute(_LIVING, this)).mappings().first()
        found = _token(row, kind) if row else None
        # In a damaged row the database compares what is no time.
        return found if found is not None and found.expires_at > self._clock() else None

    def _is(self, kind: str, token: str) -> ColumnElement[bool]:
        return and_(tokens.c.kind == kind, tokens.c.digest == _digest(self._scope, token))

    async def _revoke(self, which: ColumnElement[bool]) -> int:
        async with self._writing() as (connection, revoked):
            gone = (await connection.execute(delete(tokens).where(which).returning(tokens.c.kind))).scalars().all()
            revoked.update(gone)
        return len(gone)


def _digest(scope: str, token: str) -> bytes:
    # The length keeps every pair of scope and token apart from every other pair.
    text = f"{len(scope)}:{scope}:{token}" if scope else token
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _readable(rows: Sequence[RowMapping], kind: Kind[D]) -> list[Token[D]]:
    return [token for token in (_token(row, kind) for row in rows) if token is not None]


def _token(row: RowMapping, kind: Kind[D]) -> Token[D] | None:
    try:
        document = kind.read(row["document"])
    except ShapeInvalid as error:
        # A token that cannot be read counts as unknown, so its holder signs in again.
        structlog.get_logger("portal.state").error("a stored token cannot be read", kind=kind.name, why=error.code)
        return None
    return Token(
        kind=row["kind"],
        subject=row["subject"],
        client=row["client"],
        family=row["family"],
        document=document,
        issued_at=from_stored(row["issued_at"]),
        expires_at=from_stored(row["expires_at"]),
        used_at=None if row["used_at"] is None else from_stored(row["used_at"]),
    )
