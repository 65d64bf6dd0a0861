"""The stamps of what stands in the configuration document, as rows: one for each entry that some document has had.

An entry is known by the digest of its text. Its stamp is another each time that the entry comes back, so that what was
given under the entry of before holds no more. Several processes with one document have the same stamps.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, select, update

from portal.state.changes import insert_of
from portal.state.clock import Clock, to_stored
from portal.state.schema import document_stamps
from portal.state.tokens import OpenWriting, Reading

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

DOCUMENT_STAMPS = "document_stamps"
"""What subscribers of a store are told when the stamp of an entry is another."""
KEPT = timedelta(days=90)
"""How long the row of an entry stays that no document has any more."""
_SOME = 500


@dataclass(frozen=True, slots=True)
class _Known:
    """The stamps of entries that some document has had, and which of these the last document has."""

    stamps: Mapping[bytes, str] = field(default_factory=dict)
    present: frozenset[bytes] = frozenset()


class DocumentStampRows:
    """The rows of a store. A stamp that is another is told to its subscribers, as `DOCUMENT_STAMPS`."""

    def __init__(self, reading: Reading, writing: OpenWriting, clock: Clock) -> None:
        self._reading = reading
        self._writing = writing
        self._clock = clock

    async def of(self, entries: Collection[bytes]) -> dict[bytes, str]:
        """The stamps of those of these entries that have one."""
        async with self._reading() as connection:
            stamps = (await _known(connection)).stamps
        return {entry: stamps[entry] for entry in entries if entry in stamps}

    async def load(self, proposed: Mapping[bytes, str], came_back: Collection[bytes] = ()) -> dict[bytes, str]:
        """The stamps of these entries, which are all that the document has that was loaded last. An entry that the
        document before had keeps its stamp. Any other gets the one that is proposed, and so do those that `came_back`
        while the database was not asked."""
        async with self._reading() as connection:
            known = await _known(connection)
        if _as_loaded(known, proposed, came_back):
            return {entry: known.stamps[entry] for entry in proposed}
        now = self._clock()
        async with self._writing() as (connection, changed):
            known = await _known(connection)
            moves = [entry for entry, stamp in proposed.items() if _moves(known, entry, stamp, came_back)]
            moved = {entry: _unlike(known.stamps.get(entry), proposed[entry]) for entry in moves}
            for entry, stamp in moved.items():
                await _put(connection, entry, stamp)
            gone = sorted(known.present - proposed.keys())
            for start in range(0, len(gone), _SOME):
                some = document_stamps.c.digest.in_(gone[start : start + _SOME])
                await connection.execute(update(document_stamps).where(some).values(gone_at=to_stored(now)))
            old = and_(document_stamps.c.gone_at.is_not(None), document_stamps.c.gone_at < to_stored(now - KEPT))
            await connection.execute(delete(document_stamps).where(old))
            if moved:
                changed.add(DOCUMENT_STAMPS)
        return {entry: moved.get(entry) or known.stamps[entry] for entry in proposed}


def _as_loaded(known: _Known, proposed: Mapping[bytes, str], came_back: Collection[bytes]) -> bool:
    """Whether loading these changes nothing."""
    return known.present == proposed.keys() and not any(
        _moves(known, entry, stamp, came_back) for entry, stamp in proposed.items()
    )


def _moves(known: _Known, entry: bytes, proposed: str, came_back: Collection[bytes]) -> bool:
    if entry not in known.present:
        return True
    # A load whose answer was lost is made again: its stamp is there already.
    return entry in came_back and known.stamps[entry] != proposed


def _unlike(before: str | None, proposed: str) -> str:
    """The stamp of an entry that comes back: the one that is proposed, unless it had that one before. A process that
    has had the entry all the time proposes it, and meanwhile another one has loaded a document without the entry."""
    return new_stamp() if proposed == before else proposed


def new_stamp() -> str:
    """A stamp that nothing had before, in any copy of the database."""
    return secrets.token_hex(8)


async def _known(connection: AsyncConnection) -> _Known:
    columns = document_stamps.c
    rows = (await connection.execute(select(columns.digest, columns.stamp, columns.gone_at))).all()
    stamps = {bytes(row.digest): str(row.stamp) for row in rows}
    return _Known(stamps, frozenset(bytes(row.digest) for row in rows if row.gone_at is None))


async def _put(connection: AsyncConnection, entry: bytes, stamp: str) -> None:
    new = insert_of(connection)(document_stamps).values(digest=entry, stamp=stamp, gone_at=None)
    over = new.on_conflict_do_update(index_elements=[document_stamps.c.digest], set_={"stamp": stamp, "gone_at": None})
    await connection.execute(over)
