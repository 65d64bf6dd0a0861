"""The store: objects with their secrets, tokens, transactions over both, rows of other kinds, word of every change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state import objects
from portal.state.approval_notice_rows import ApprovalNoticeRows
from portal.state.approval_rows import ApprovalRows
from portal.state.changes import Callback, Changes, count, read_revisions
from portal.state.clock import Clock, from_stored, utc_now
from portal.state.credentials import CredentialRows
from portal.state.database import Database
from portal.state.document_stamps import DocumentStampRows
from portal.state.envelope import Place, seal, unseal
from portal.state.errors import KeysUnusable, Misused, SecretUnreadable, StateUnavailable, StoreHealth
from portal.state.grant_rows import GrantRows
from portal.state.keys import KeyRing
from portal.state.kinds import Kind
from portal.state.label_rows import LabelRows
from portal.state.objects import CURRENT_KEY, KEEP, Broken, BrokenLog, Found, Idle, Keep, ObjectWriter, Scan, Stored
from portal.state.rotation import Elsewhere, Rotation, rotate
from portal.state.run_rows import RunRows
from portal.state.schema import audit, facts
from portal.state.tokens import Tokens, Writing

D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which object, and when; `action` is create, replace or delete."""

    seq: int
    at: datetime
    by: str
    action: str
    kind: str
    id: str
    revision: int


class Transaction:
    """Several changes that become true together. What it reads is what it wrote."""

    def __init__(
        self, connection: AsyncConnection, keys: KeyRing, clock: Clock, broken: BrokenLog, scope: str = ""
    ) -> None:
        self.revoked: set[str] = set()
        self.tokens = Tokens.within(connection, self.revoked, clock, scope)
        self._keys = keys
        self._clock = clock
        self._broken = broken
        self._open: AsyncConnection | None = connection
        self._writer = ObjectWriter(connection, keys.find, clock, broken)

    @property
    def changed(self) -> set[str]:
        return self._writer.changed | self.revoked

    async def get(self, kind: Kind[D], id: str) -> Stored[D] | None:
        return _readable(await self.find(kind, id))

    async def find(self, kind: Kind[D], id: str) -> Found[D] | None:
        return await objects.find(self._check(), kind, id, self._broken)

    async def list(self, kind: Kind[D]) -> Sequence[Stored[D]]:
        return (await self.scan(kind)).stored

    async def scan(self, kind: Kind[D]) -> Scan[D]:
        return await objects.scan(self._check(), kind, self._broken)

    async def secret(self, kind: Kind[D], id: str) -> bytes | None:
        return await objects.secret(self._check(), kind.name, id, self._keys.find)

    async def create(self, kind: Kind[D], id: str, document: D, *, by: str, secret: bytes | None = None) -> Stored[D]:
        self._check()
        return await self._writer.create(kind, id, document, by, secret)

    async def replace(
        self,
        kind: Kind[D],
        id: str,
        document: D,
        *,
        by: str,
        secret: bytes | None | Keep = KEEP,
        revision: int | None = None,
    ) -> Stored[D]:
        self._check()
        return await self._writer.replace(kind, id, document, by, secret, revision)

    async def delete(self, kind: Kind[D], id: str, *, by: str) -> Found[D]:
        self._check()
        return await self._writer.delete(kind, id, by)

    async def count_idle(self, idle: Idle[D]) -> int:
        """How many objects there are that nobody uses."""
        return await objects.count_idle(self._check(), idle, self._clock())

    async def list_idle(self, idle: Idle[D], before: datetime, limit: int) -> Sequence[str]:
        """The ids of objects that nobody uses and that were made before then, the oldest first."""
        return await objects.list_idle(self._check(), idle, before, self._clock(), limit)

    async def list_former(self, kind: Kind[D], by: str, limit: int) -> Sequence[str]:
        """The ids of objects that `by` has made and whose documents have an earlier shape."""
        return await objects.list_former(self._check(), kind, by, limit)

    async def forget(self, kind: Kind[D], ids: Sequence[str]) -> None:
        """Delete objects that strangers have made, and what the audit trail says of them: it is of those who answer for
        what they do, and strangers must not make it grow."""
        if ids:
            await objects.forget(self._check(), kind, ids)
            self._writer.changed.add(kind.name)

    def end(self) -> None:
        self._open = None

    def _check(self) -> AsyncConnection:
        if self._open is None:
            raise Misused("this transaction has ended")
        return self._open


class Store:
    """`async with Store.open(url, keys) as store`. What a writing method returned is on disk.

    Every method may raise `StateUnavailable`. Reads see what was committed last, by whichever process.
    """

    def __init__(self, database: Database, keys: KeyRing, clock: Clock) -> None:
        self.tokens = Tokens(database.reading, self._writing_rows, clock)
        self.credentials = CredentialRows(database.reading, self._writing_rows, clock, keys.find)
        self.labels = LabelRows(database.reading, self._writing_rows, clock)
        self.runs = RunRows(database.reading, self._writing_rows, clock, keys.find)
        self.approvals = ApprovalRows(database.reading, self._writing_rows, clock, keys.find)
        self.approval_notices = ApprovalNoticeRows(database.reading, self._writing_rows, clock)
        self.approval_grants = GrantRows(database.reading, self._writing_rows, clock)
        self.document_stamps = DocumentStampRows(database.reading, self._writing_rows, clock)
        self._database = database
        self._keys = keys
        self._clock = clock
        self._changes = Changes()
        self._broken = BrokenLog()
        self._exits = AsyncExitStack()
        self._scope = ""

    def scoped(self, scope: str) -> Store:
        """The same store, whose tokens are those of the portal `scope`. Not to be entered: the store itself is open."""
        if not scope:
            return self
        portal = copy(self)
        portal.tokens = self.tokens.scoped(scope)
        portal._scope = scope
        return portal

    @property
    def keys(self) -> KeyRing:
        """The keys of its secrets, for what others carry about sealed."""
        return self._keys

    @classmethod
    def open(cls, url: str, keys: KeyRing, *, clock: Clock = utc_now, lasting: bool = True) -> Self:
        """The store of this database, to be entered. One that is used for a moment is not `lasting`: only whoever uses
        it hears of a trouble of the database.

        Entering raises:
            StateUnusable: the database cannot be used.
            KeysUnusable: its secrets are under keys that are not in `keys`.
        """
        return cls(Database(url, lasting=lasting), keys, clock)

    @staticmethod
    async def is_made(url: str) -> bool:
        """Whether a portal has made its tables in this database. Makes none.

        Raises:
            StateUnusable: there is no such database.
            StateUnavailable: it does not answer.
        """
        database = Database(url)
        try:
            return await database.is_made()
        finally:
            await database.close()

    def __repr__(self) -> str:
        return f"Store({self._database.name!r})"

    @property
    def health(self) -> StoreHealth:
        """Whether the database does what it is asked, as far as that is known."""
        if not self._database.trouble:
            return "ok"
        return "unavailable" if self._database.trouble.reads_fail else "read only"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            exits.push_async_callback(self._database.close)
            await self._database.open()
            try:
                await self._agree_on_keys()
                self._changes.start_from(await self._revisions())
            except StateUnavailable as error:
                raise await self._database.unusable(error) or error from None
            self._database.replaced = self._changes.start_again
            await exits.enter_async_context(self._changes.following(self._revisions))
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def get(self, kind: Kind[D], id: str) -> Stored[D] | None:
        """The object, or None if there is none.

        Raises:
            DocumentBroken: it is there, and its document cannot be read.
        """
        return _readable(await self.find(kind, id))

    async def find(self, kind: Kind[D], id: str) -> Found[D] | None:
        """The object, readable or `Broken`; None if there is none."""
        async with self._database.reading() as connection:
            return await objects.find(connection, kind, id, self._broken)

    async def list(self, kind: Kind[D]) -> Sequence[Stored[D]]:
        """The objects that can be read, in order of their creation. The others are left out, and the log names them."""
        return (await self.scan(kind)).stored

    async def scan(self, kind: Kind[D]) -> Scan[D]:
        """The objects that can be read, and those that cannot: for whoever must not treat these as if they were not
        there, because a missing object allows more than the object did."""
        async with self._database.reading() as connection:
            return await objects.scan(connection, kind, self._broken)

    async def secret(self, kind: Kind[D], id: str) -> bytes | None:
        """The decrypted secret; None when the object has none, or there is no such object.

        Raises:
            SecretUnreadable: it was changed, moved, or its key is lost.
        """
        async with self._database.reading() as connection:
            return await objects.secret(connection, kind.name, id, self._keys.find)

    async def create(self, kind: Kind[D], id: str, document: D, *, by: str, secret: bytes | None = None) -> Stored[D]:
        """
        Raises:
            AlreadyExists: one of that kind and id is there, readable or not.
            DocumentInvalid: no document of the kind, not JSON within bounds, or no proper id.
        """
        async with self.transaction() as transaction:
            return await transaction.create(kind, id, document, by=by, secret=secret)

    async def replace(
        self,
        kind: Kind[D],
        id: str,
        document: D,
        *,
        by: str,
        secret: bytes | None | Keep = KEEP,
        revision: int | None = None,
    ) -> Stored[D]:
        """Without `secret` it stays, with None it goes. With `revision`, only if that is still the object's.

        Raises:
            NotFound: there is none.
            Conflict: it has another revision.
            DocumentInvalid: no document of the kind, or not JSON within bounds.
        """
        async with self.transaction() as transaction:
            return await transaction.replace(kind, id, document, by=by, secret=secret, revision=revision)

    async def delete(self, kind: Kind[D], id: str, *, by: str) -> Found[D]:
        """The object as it was last.

        Raises:
            NotFound: there is none.
        """
        async with self.transaction() as transaction:
            return await transaction.delete(kind, id, by=by)

    def sealed(self, secret: bytes, purpose: str) -> bytes:
        """What only who has the keys of this store opens, and only for this purpose. Nothing is stored."""
        return seal(secret, _place_of(purpose), self._keys.newest)

    def unsealed(self, data: bytes, purpose: str) -> bytes:
        """
        Raises:
            SecretUnreadable: it was changed, is for something else, or its key is gone.
            KeysUnusable: the keys cannot be read.
        """
        return unseal(data, _place_of(purpose), self._keys.find)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """All or nothing: committed when the block ends, undone when it raises. No other writer comes in between.

        Keep it short: meanwhile every other writer waits.
        """
        async with self._database.writing() as connection:
            transaction = Transaction(connection, self._keys, self._clock, self._broken, self._scope)
            try:
                yield transaction
            finally:
                transaction.end()
            revisions = await count(connection, transaction.changed)
        self._changes.tell(revisions)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call `callback(kinds)` on the loop after each commit that changed objects or revoked tokens of these kinds.

        At once for commits of this store, within half a second for those of other processes. It must not block; what
        it raises is logged. What is returned ends the subscription.
        """
        return self._changes.subscribe(callback)

    async def audit(self, *, limit: int = 100, before: int | None = None) -> Sequence[AuditEntry]:
        """The newest entries of the audit trail, newest first; older ones by `before` the last `seq`."""
        query = select(audit).order_by(audit.c.seq.desc()).limit(max(1, min(limit, 1000)))
        if before is not None:
            query = query.where(audit.c.seq < before)
        async with self._database.reading() as connection:
            return [
                AuditEntry(row.seq, from_stored(row.at), row.by, row.action, row.kind, row.id, row.revision)
                for row in await connection.execute(query)
            ]

    async def rotate_keys(self, *, forget: bool = False, elsewhere: Elsewhere | None = None) -> Rotation:
        """Put every secret under a new key, or go on where an interrupted rotation stopped. `elsewhere` does so for
        those that are in no table of the store.

        With `forget`, keys that no secret needs any more leave the key file.
        """
        return await rotate(self._database, self._keys, forget=forget, elsewhere=elsewhere)

    @asynccontextmanager
    async def _writing_rows(self) -> AsyncIterator[Writing]:
        changed: set[str] = set()
        async with self._database.writing() as connection:
            yield connection, changed
            revisions = await count(connection, changed)
        self._changes.tell(revisions)

    async def _revisions(self) -> dict[str, int]:
        async with self._database.reading(counted=False) as connection:
            return await read_revisions(connection)

    async def _agree_on_keys(self) -> None:
        """The database names its current key: a new one takes the newest of the ring, an old one must find its own."""
        current = select(facts.c.value).where(facts.c.name == CURRENT_KEY)
        async with self._database.reading() as connection:
            kid = (await connection.execute(current)).scalar()
        if kid is None:
            async with self._database.writing() as connection:
                # Another process may have been faster.
                kid = (await connection.execute(current)).scalar()
                if kid is None:
                    await connection.execute(insert(facts).values(name=CURRENT_KEY, value=self._keys.newest.kid))
                    return
        try:
            self._keys.find(kid)
        except SecretUnreadable as error:
            raise KeysUnusable(f"{self._database.name}: {error}") from None


def _place_of(purpose: str) -> Place:
    return Place("", "sealed", purpose, "")


def _readable(found: Found[D] | None) -> Stored[D] | None:
    if isinstance(found, Broken):
        raise found.error
    return found
