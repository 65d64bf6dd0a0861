"""Who wants to know of changes, and how they hear of those that other processes commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache

import structlog
from sqlalchemy import Table, select
from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningInsert

from portal.state.errors import StateUnavailable
from portal.state.schema import changes

POLL_SECONDS = 0.25

Callback = Callable[[frozenset[str]], None]
Revisions = Mapping[str, int]


class Changes:
    """The subscribers of one store, and the revision of each kind they were last told of."""

    def __init__(self) -> None:
        self._callbacks: list[Callback] = []
        self._seen: dict[str, int] = {}
        self._gone: set[str] = set()
        self._log = structlog.get_logger("portal.state")

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._callbacks.remove(callback)

        return unsubscribe

    def tell(self, revisions: Revisions) -> None:
        """These are the newest revisions: tell of the kinds that were not known to be there."""
        newer = {kind: revision for kind, revision in revisions.items() if revision > self._seen.get(kind, 0)}
        new = frozenset(newer.keys() | self._gone)
        if not new:
            return
        self._seen.update(newer)
        self._gone.clear()
        for callback in tuple(self._callbacks):
            try:
                callback(new)
            except Exception:
                # A subscriber's fault must not undo an answer that was committed, nor keep the others from hearing.
                self._log.exception("a subscriber to changes failed", kinds=sorted(new))

    def start_again(self) -> None:
        """What is told next is of another database: all that was known may be otherwise there."""
        self._gone |= self._seen.keys()
        self._seen.clear()

    def start_from(self, revisions: Revisions) -> None:
        """What is there at the start is no news."""
        self._seen.update(revisions)

    @asynccontextmanager
    async def following(self, read: Callable[[], Awaitable[Revisions]]) -> AsyncIterator[None]:
        """While the context is open, look again and again for what other processes committed."""
        task = asyncio.create_task(self._follow(read))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _follow(self, read: Callable[[], Awaitable[Revisions]]) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            # What is known is kept meanwhile. The database logs that it is in trouble.
            with suppress(StateUnavailable):
                self.tell(await read())


# Each is built once: to build one takes longer than to run it.
_REVISIONS = select(changes.c.kind, changes.c.revision)


async def read_revisions(connection: AsyncConnection) -> dict[str, int]:
    return {row.kind: row.revision for row in await connection.execute(_REVISIONS)}


def insert_of(connection: AsyncConnection) -> Callable[[Table], SqliteInsert | PostgresqlInsert]:
    """What makes an INSERT of this database that may change the row that is there already (`on_conflict_do_update`)."""
    return insert_sqlite if connection.dialect.name == "sqlite" else insert_postgresql


async def count(connection: AsyncConnection, kinds: Iterable[str]) -> dict[str, int]:
    """Write down that something of these kinds changed, in the transaction that changes it. The new revisions."""
    counting = _counting(insert_of(connection))
    revisions: dict[str, int] = {}
    for kind in sorted(kinds):
        counted = await connection.execute(counting, {"kind": kind, "revision": 1})
        revisions[kind] = counted.scalar_one()
    return revisions


@cache
def _counting(insert: Callable[[Table], SqliteInsert | PostgresqlInsert]) -> ReturningInsert[int]:
    counting = insert(changes)
    return counting.on_conflict_do_update(
        index_elements=[changes.c.kind], set_={"revision": changes.c.revision + 1}
    ).returning(changes.c.revision)
