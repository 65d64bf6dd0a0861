"""What callers have read of what is labelled, as rows: one for each person, client and label.

Every writing gives its rows a number above all before, so that each process reads what is new to it and no more. A
row that is forgotten is not deleted at once but ends: the others have to hear of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import orjson
from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import check_name
from portal.state.label_read import LABELS_READ, LabelRead
from portal.state.schema import audit, labels_read, named
from portal.state.tokens import OpenWriting, Reading

MAX_READ = 5000
"""Rows that are read at once."""


class LabelRows:
    """The rows of a store. Every change of them is told to its subscribers, as `LABELS_READ`."""

    def __init__(self, reading: Reading, writing: OpenWriting, clock: Clock) -> None:
        self._reading = reading
        self._writing = writing
        self._clock = clock

    async def put(self, reads: Sequence[LabelRead]) -> Sequence[LabelRead]:
        """Write these in place of those of the same person, client and label; with their number.

        Raises:
            DocumentInvalid: a name cannot be stored.
        """
        rows = [_row(read) for read in reads]
        async with self._writing() as (connection, changed):
            number = await self._next(connection)
            await connection.execute(
                delete(labels_read).where(labels_read.c.digest.in_([row["digest"] for row in rows]))
            )
            await connection.execute(insert(labels_read), [{**row, "number": number} for row in rows])
            changed.add(LABELS_READ)
        return [replace(read, number=number) for read in reads]

    async def after(self, number: int) -> Sequence[LabelRead]:
        """At most `MAX_READ` of those that were written after the one with this number, in the order of numbers; those
        of the last number are complete."""
        query = select(labels_read).where(labels_read.c.number > number).order_by(labels_read.c.number)
        async with self._reading() as connection:
            rows = (await connection.execute(query.limit(MAX_READ))).mappings().all()
            if len(rows) == MAX_READ:
                # Of the last number there may be more.
                last = labels_read.c.number == rows[-1]["number"]
                same = (await connection.execute(select(labels_read).where(last))).mappings().all()
                rows = [*(row for row in rows if row["number"] < rows[-1]["number"]), *same]
        return [_read(row) for row in rows]

    async def of(self, person: str | None, now: datetime, limit: int = MAX_READ) -> Sequence[LabelRead]:
        """What counts at this time, of one person or of all, the newest first."""
        query = select(labels_read).where(labels_read.c.until > to_stored(now))
        if person is not None:
            query = query.where(named(labels_read.c.person, person))
        async with self._reading() as connection:
            rows = await connection.execute(query.order_by(labels_read.c.read_at.desc()).limit(limit))
            return [_read(row) for row in rows.mappings()]

    async def forget(self, person: str, *, by: str) -> int:
        """What this person has read does not count any more; the audit trail has by whom. How many rows that were."""
        now = self._clock()
        counts: ColumnElement[bool] = and_(named(labels_read.c.person, person), labels_read.c.until > to_stored(now))
        async with self._writing() as (connection, changed):
            ends = {"until": to_stored(now), "number": await self._next(connection)}
            ended = (await connection.execute(update(labels_read).where(counts).values(**ends))).rowcount
            if ended:
                names = {"by": by, "action": "delete", "kind": LABELS_READ, "id": person}
                await connection.execute(insert(audit).values(at=to_stored(now), revision=0, **names))
                changed.add(LABELS_READ)
            return ended

    async def purge(self, before: datetime) -> int:
        """Delete the rows that have not counted since then. How many that were."""
        async with self._writing() as (connection, _):
            return (
                await connection.execute(delete(labels_read).where(labels_read.c.until < to_stored(before)))
            ).rowcount

    async def _next(self, connection: AsyncConnection) -> int:
        # Not below the time: the rows with the largest numbers may have been deleted meanwhile.
        largest = (await connection.execute(select(func.max(labels_read.c.number)))).scalar() or 0
        return int(max(largest + 1, to_stored(self._clock())))


def _row(read: LabelRead) -> dict[str, object]:
    return {
        "digest": hashlib.sha256(orjson.dumps([read.person, read.client, read.label])).digest(),
        "person": check_name(read.person, "person"),
        "client": check_name(read.client, "client"),
        "label": check_name(read.label, "label"),
        "portal": check_name(read.portal, "portal"),
        "server": check_name(read.server, "server"),
        "tool": check_name(read.tool, "tool"),
        "read_at": to_stored(read.at),
        "until": to_stored(read.until),
    }


def _read(row: RowMapping) -> LabelRead:
    return LabelRead(
        person=row["person"],
        client=row["client"],
        label=row["label"],
        portal=row["portal"],
        server=row["server"],
        tool=row["tool"],
        at=from_stored(row["read_at"]),
        until=from_stored(row["until"]),
        number=row["number"],
    )
