"""Rows of parked runs as they are read: one, a page of them, what they keep, those that may be claimed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state import run_statements as statements
from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import is_storable
from portal.state.envelope import FindKey, Place, unseal
from portal.state.run_reading import (
    place_of_call,
    place_of_run,
    read_call,
    read_run,
)
from portal.state.run_statements import RUN, SHOWN, SHOWN_OF_CALL, times_to_claim
from portal.state.run_states import LIVE, RunState
from portal.state.run_values import RunCandidate, RunFilter, StoredCall, StoredRun
from portal.state.schema import named, run_calls, runs
from portal.state.tokens import Reading

MAX_LISTED = 200
CANDIDATES = 32
LARGE = 256 * 1024
"""More is sealed and opened in a thread."""
# In one query: SQLite has bounds of its own.
IDS_AT_ONCE = 500


class RunLists:
    """What is read of runs, without changing any."""

    def __init__(self, reading: Reading, clock: Clock, find: FindKey) -> None:
        self._reading = reading
        self._clock = clock
        self._find_key = find

    async def candidates(
        self, lease: timedelta, portals: Collection[str] | None = None, limit: int = CANDIDATES
    ) -> Sequence[RunCandidate]:
        """Runs that may be claimed now, in fair order: the one that has waited longest of each subject, then the second
        of each, and so on. Without `portals`, of all."""
        values = {**times_to_claim(self._clock(), lease), **_portals(portals)}
        async with self._reading() as connection:
            due = (await connection.execute(statements.candidates(portals is not None), values)).mappings().all()
        return _in_turns(due)[:limit]

    async def get(self, id: str) -> StoredRun | None:
        async with self._reading() as connection:
            row = await self._row(connection, id)
        return None if row is None else read_run(row)

    async def list(self, query: RunFilter) -> Sequence[StoredRun]:
        """At most `MAX_LISTED` at once."""
        found = select(*SHOWN).order_by(runs.c.created_at.desc(), runs.c.id.desc())
        for column, wanted in (
            (runs.c.portal, query.portal),
            (runs.c.subject, query.subject),
            (runs.c.client, query.client),
        ):
            if wanted is not None:
                found = found.where(named(column, wanted))
        if query.states:
            found = found.where(runs.c.state.in_(query.states))
        if query.reason is not None:
            found = found.where(runs.c.reason == query.reason)
        if query.before is not None:
            at = to_stored(query.before.created_at)
            same = and_(runs.c.created_at == at, runs.c.id < query.before.id)
            found = found.where(or_(runs.c.created_at < at, same))
        async with self._reading() as connection:
            rows = await connection.execute(found.limit(max(1, min(query.limit, MAX_LISTED))))
            return [read_run(row) for row in rows.mappings()]

    async def each(self, query: RunFilter) -> AsyncIterator[StoredRun]:
        """All of these, the newest first. One that begins meanwhile may be left out."""
        page: Sequence[StoredRun] = ()
        while page := await self.list(replace(query, before=page[-1] if page else query.before, limit=MAX_LISTED)):
            for run in page:
                yield run
            if len(page) < MAX_LISTED:
                return

    async def any(self) -> bool:
        """Whether there is a run at all."""
        async with self._reading() as connection:
            return (await connection.execute(select(runs.c.id).limit(1))).first() is not None

    async def portals(self, unchanged_since: datetime) -> Sequence[str]:
        """The ids of the portals that have runs that have not ended, and none of which has changed since then."""
        live = select(runs.c.portal).where(runs.c.state.in_(LIVE)).group_by(runs.c.portal)
        async with self._reading() as connection:
            found = await connection.execute(live.having(func.max(runs.c.updated_at) < to_stored(unchanged_since)))
            return [*found.scalars()]

    async def result(self, id: str) -> bytes | None:
        """The result of a run that has ended; None if there is none, or it is not kept any more.

        Raises:
            SecretUnreadable: it was changed, it belongs elsewhere, or its key is lost.
        """
        kept = and_(runs.c.state.not_in(LIVE), runs.c.expires_at > to_stored(self._clock()))
        async with self._reading() as connection:
            row = (await connection.execute(select(runs).where(named(runs.c.id, id), kept))).mappings().first()
        if row is None or row["secret"] is None:
            return None
        return await self._unsealed(bytes(row["secret"]), place_of_run(row, "result", row["sealed"]))

    async def calls(self, id: str) -> Sequence[StoredCall]:
        """The calls that were written of a run that has not ended, in order, without their values."""
        query = select(*SHOWN_OF_CALL).where(named(run_calls.c.run, id)).order_by(run_calls.c.seq)
        async with self._reading() as connection:
            return [read_call(row) for row in (await connection.execute(query)).mappings()]

    async def arguments(self, id: str, call: int) -> bytes | None:
        """The arguments of a call that has no settlement: for whoever says what became of it.

        Raises:
            SecretUnreadable: they were changed, they belong elsewhere, or their key is lost.
        """
        this = and_(named(run_calls.c.run, id), run_calls.c.call == call)
        kept = run_calls.c.state.in_(("started", "unknown"))
        async with self._reading() as connection:
            row = (await connection.execute(select(run_calls).where(this, kept))).mappings().first()
        if row is None:
            return None
        return unseal(bytes(row["secret"]), place_of_call(id, call, row["revision"], "arguments"), self._find_key)

    async def states(self, ids: Collection[str]) -> Mapping[str, tuple[RunState, int]]:
        """State and revision of those of these runs that there are."""
        wanted, found = sorted(ids), dict[str, tuple[RunState, int]]()
        if not wanted:
            return found
        async with self._reading() as connection:
            for start in range(0, len(wanted), IDS_AT_ONCE):
                some = runs.c.id.in_(wanted[start : start + IDS_AT_ONCE])
                query = select(runs.c.id, runs.c.state, runs.c.revision).where(some)
                for row in (await connection.execute(query)).mappings():
                    found[row["id"]] = row["state"], row["revision"]
        return found

    async def next_due(self, portals: Collection[str] | None = None) -> datetime | None:
        """When a run is due, left by its process, expires or is looked for in the log next; None if there is none."""
        values = {"now": to_stored(self._clock()), **_portals(portals)}
        async with self._reading() as connection:
            times = (await connection.execute(statements.next_due(portals is not None), values)).scalars().all()
        return from_stored(min(times)) if times else None

    async def _row(self, connection: AsyncConnection, id: str) -> RowMapping | None:
        return (await connection.execute(RUN, {"of_run": id})).mappings().first() if is_storable(id) else None

    async def _unsealed(self, sealed: bytes, place: Place) -> bytes:
        if len(sealed) < LARGE:
            return unseal(sealed, place, self._find_key)
        return await asyncio.to_thread(unseal, sealed, place, self._find_key)


def _in_turns(due: Sequence[RowMapping]) -> Sequence[RunCandidate]:
    turns: Counter[tuple[str, str]] = Counter()
    found: list[RunCandidate] = []
    for row in sorted(due, key=lambda row: (row["updated_at"], row["id"])):
        whose = row["portal"], row["subject"]
        turns[whose] += 1
        found.append(RunCandidate(row["id"], *whose, row["revision"], turns[whose]))
    return sorted(found, key=lambda candidate: candidate.turn)


def _portals(portals: Collection[str] | None) -> dict[str, list[str]]:
    return {} if portals is None else {"portals": sorted(portals)}
