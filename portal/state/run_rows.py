"""Runs that have been parked, as rows: a sealed checkpoint, a journal of what came after it, and who runs them now.

A process claims a run with a lease and takes the next revision. Each write of that run names the revision and changes
one row, or it raises `RunTaken`: of two processes that run the same checkpoint one gets on, the other stops.

A call that does something is written as `started` before it leaves, once: after a crash nobody knows what became of it,
and it is `unknown` until a person says so. What was given to the program since its checkpoint is its tail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, Update, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state import run_statements as statements
from portal.state.approval_row import APPROVALS
from portal.state.approval_rows import reuse
from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import is_storable
from portal.state.envelope import FindKey, Place, seal
from portal.state.errors import (
    AlreadyExists,
    Misused,
    RunsFull,
    RunTaken,
    RunTooLarge,
    SecretUnreadable,
)
from portal.state.objects import current_kid
from portal.state.run_lists import IDS_AT_ONCE, LARGE, MAX_LISTED, RunLists
from portal.state.run_reading import (
    check_parking,
    document_text,
    place_of_call,
    place_of_resume,
    place_of_run,
    read_call,
    read_document,
    read_resume,
    read_run,
)
from portal.state.run_statements import READY, SHOWN, SHOWN_OF_CALL, ready_of, times_to_claim
from portal.state.run_states import LIVE, EndState, ParkReason, states_before
from portal.state.run_values import (
    LOG_SECONDS,
    MAX_ARGUMENTS_BYTES,
    MAX_CHECKPOINT_BYTES,
    MAX_RESULT_BYTES,
    MAX_RUN_BYTES,
    MOST_ATTEMPTS,
    MOST_BYTES_OF_PORTAL,
    MOST_BYTES_OF_SUBJECT,
    MOST_ENDED_OF_SUBJECT,
    MOST_OF_PORTAL,
    MOST_OF_SUBJECT,
    MOST_RESULT_BYTES_OF_SUBJECT,
    RUNS,
    CallEnd,
    CallStart,
    CallState,
    EndOfRun,
    FinishedRun,
    Parking,
    RunCandidate,
    RunClaim,
    RunDocument,
    StoredRun,
    Verdict,
)
from portal.state.schema import approvals, named, run_calls, run_resumes, runs
from portal.state.tokens import OpenWriting, Reading

EXPIRED_AT_ONCE = 100
PURGED_AT_ONCE = 1000
UNLOGGED_AT_ONCE = 100
_FIRST = 1
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How many runs may be kept that have not ended, and how many bytes of them."""

    of_subject: int = MOST_OF_SUBJECT
    of_portal: int = MOST_OF_PORTAL
    bytes_of_subject: int = MOST_BYTES_OF_SUBJECT
    bytes_of_portal: int = MOST_BYTES_OF_PORTAL


class RunRows(RunLists):
    """The parked runs of a store. Subscribers are told, as `RUNS`, when one is parked, ready, given back or has ended;
    not of what happens under a claim."""

    def __init__(
        self,
        reading: Reading,
        writing: OpenWriting,
        clock: Clock,
        find: FindKey,
        limits: RunLimits = RunLimits(),
    ) -> None:
        super().__init__(reading, clock, find)
        self._writing = writing
        self._limits = limits

    # Parking

    async def park(self, parking: Parking, checkpoint: bytes, *, revision: int | None = None) -> StoredRun:
        """The run as it is stored: parked, or ready if what it waits for has come meanwhile.

        Without a `revision` it is parked for the first time. With that of its claim it is parked again: the checkpoint
        takes the place of the former one and of all that came after it. The same parking may be repeated when its
        answer was lost.

        Raises:
            RunsFull: whoever's it is, or the portal, has as many as may be.
            RunTooLarge: the checkpoint is over its bound.
            RunTaken: the run is not this process's any more.
            AlreadyExists: there is another run with its id.
            DocumentInvalid: the document or a name cannot be stored.
        """
        check_parking(parking)
        text = document_text(parking.document)
        _check_size("the heap and the log of the program", checkpoint, MAX_CHECKPOINT_BYTES)
        async with self._writing() as (connection, changed):
            row = await self._row(connection, parking.id)
            if row is not None and (found := _parked_before(row, parking, revision)) is not None:
                return found
            await self._check_room(connection, parking, row, len(checkpoint))
            now = to_stored(self._clock())
            sealed = revision or _FIRST
            values = {
                **await self._parked(connection, parking, row),
                **await self._sealed(connection, checkpoint, place_of_run(parking, "checkpoint", sealed)),
                "size": len(checkpoint),
                "sealed": sealed,
                "expires_at": to_stored(parking.expires_at),
                "document": text,
                "updated_at": now,
            }
            if row is None:
                whose = {"portal": parking.portal, "subject": parking.subject, "client": parking.client}
                new = {"id": parking.id, **whose, "revision": _FIRST, "created_at": now, **values}
                row = (await connection.execute(statements.NEW_RUN, new)).mappings().one()
            else:
                assert revision is not None
                row = await self._change(connection, parking.id, revision, values)
                await connection.execute(statements.DELETE_RESUMES, {"of_run": parking.id})
            changed.add(RUNS)
            return read_run(row)

    async def hold(
        self,
        id: str,
        revision: int,
        reason: ParkReason,
        document: RunDocument,
        wake_at: datetime | None = None,
    ) -> StoredRun:
        """Park a claimed run as it is: its checkpoint and what came after it stay. The run as it is stored.

        Raises:
            RunTaken: the run is not this process's any more.
        """
        text = document_text(document)
        async with self._writing() as (connection, changed):
            row = await self._mine(connection, id, revision)
            parking = Parking(
                id=id,
                portal=row["portal"],
                subject=row["subject"],
                client=row["client"],
                reason=reason,
                wake_at=wake_at,
                expires_at=from_stored(row["expires_at"]),
                document=document,
            )
            values = {**await self._parked(connection, parking, row), "document": text}
            row = await self._change(connection, id, revision, {**values, "updated_at": to_stored(self._clock())})
            changed.add(RUNS)
            return read_run(row)

    async def ready(self, id: str) -> bool:
        """What the run waits for is there, or may be: it may be claimed. Of one that runs, it may again once it is
        parked. Whether there is such a run that has not ended."""
        if not is_storable(id):
            return False
        async with self._writing() as (connection, changed):
            return await self._ready(connection, changed, READY, {"of_run": id}) > 0

    async def ready_all(self, subject: str, reason: ParkReason) -> int:
        """What the runs of this subject that are parked with that reason wait for may be there, at any portal: see
        `ready`. How many these are, with those that run: they may be about to wait for it."""
        theirs = named(runs.c.subject, subject)
        async with self._writing() as (connection, changed):
            ready = ready_of(and_(theirs, runs.c.reason == reason), theirs)
            return await self._ready(connection, changed, ready, {})

    async def ready_decided(self) -> int:
        """Runs that wait for approvals of which some are decided are ready. How many that were.

        For decisions after which nobody called `ready`: their process was killed.
        """
        waiting = and_(runs.c.state == "parked", runs.c.approvals > 0)
        still = and_(approvals.c.state == "pending", approvals.c.expires_at > to_stored(self._clock()))
        # Counted once for all: a count for each run would look through all that are pending.
        pending = (
            select(approvals.c.run, func.count().label("number")).where(still).group_by(approvals.c.run).subquery()
        )
        query = select(runs.c.id).outerjoin(pending, pending.c.run == runs.c.id)
        decided = query.where(waiting, runs.c.approvals > func.coalesce(pending.c.number, 0)).limit(MAX_LISTED)
        async with self._reading() as connection:
            # First without the lock of the writers: there may be thousands.
            ids = (await connection.execute(decided)).scalars().all()
        if not ids:
            return 0
        async with self._writing() as (connection, changed):
            those = and_(runs.c.id.in_(ids), waiting)
            return await self._ready(connection, changed, ready_of(those, those), {})

    # Claims

    async def take(
        self,
        candidate: RunCandidate,
        owner: str,
        lease: timedelta,
        *,
        on_lost: Callable[[StoredRun], None] = lambda run: None,
    ) -> RunClaim | None:
        """The claim of this run; None if somebody else was faster. One whose checkpoint does not open, and one that
        nobody has got on with in `MOST_ATTEMPTS` claims, ends as lost instead: `on_lost` is told of it."""
        now = self._clock()
        values: dict[str, object] = {
            "of_run": candidate.id,
            "at_revision": candidate.revision,
            **times_to_claim(now, lease),
            "state": "running",
            "reason": "",
            "revision": candidate.revision + 1,
            "owner": owner,
            "lease_until": to_stored(now + lease),
            "wake_at": None,
            "approvals": 0,
            "again": 0,
            "updated_at": to_stored(now),
        }
        async with self._writing() as (connection, changed):
            row = (await connection.execute(statements.TAKE, values)).mappings().first()
            if row is None:
                return None
            lost = f"{MOST_ATTEMPTS} processes have taken it up, and each of them ended without getting on with it"
            if row["attempts"] <= MOST_ATTEMPTS:
                try:
                    return await self._claimed(connection, row)
                except SecretUnreadable as error:
                    lost = f"what is kept of it does not open: {error}"
            end = EndOfRun(state="lost", kind="lost", name="RunLost", words=lost)
            await self._end_found(connection, row, "lost", end)
            changed.update((RUNS, APPROVALS))
            ended = await self._written(connection, candidate.id)
        on_lost(ended)
        return None

    async def claim(self, owner: str, lease: timedelta, *, portals: Collection[str] | None = None) -> RunClaim | None:
        """The claim of a run that is ready, due, or left by its process; None if there is none."""
        while found := await self.candidates(lease, portals):
            for candidate in found:
                if (claim := await self.take(candidate, owner, lease)) is not None:
                    return claim
        return None

    async def renew(self, id: str, revision: int, lease: timedelta) -> bool:
        """Whether the run is still this process's, for so long from now."""
        return bool(await self.renew_all({id: revision}, lease))

    async def renew_all(self, claims: Mapping[str, int], lease: timedelta) -> set[str]:
        """Those of these runs, by id with the revision of their claims, that are still this process's."""
        until = to_stored(self._clock() + lease)
        async with self._writing() as (connection, _):
            held = set()
            for id, revision in claims.items():
                renewal = {"of_run": id, "at_revision": revision, "lease_until": until}
                if (await connection.execute(statements.CHANGE, renewal)).rowcount == 1:
                    held.add(id)
            return held

    async def release(self, id: str, revision: int, *, wake_at: datetime | None = None, in_vain: bool = False) -> bool:
        """Give a claim back: another process may claim the run at once, or from `wake_at`. False if it was not this
        process's any more. `in_vain`: the attempt came to nothing, and counts (`MOST_ATTEMPTS`)."""
        values: dict[str, object] = {
            "of_run": id,
            "at_revision": revision,
            "state": "ready",
            "owner": None,
            "lease_until": None,
            "wake_at": to_stored(self._clock() if wake_at is None else wake_at),
            "updated_at": to_stored(self._clock()),
        }
        change = statements.CHANGE if in_vain else statements.CHANGE.values(attempts=runs.c.attempts - 1)
        async with self._writing() as (connection, changed):
            if (await connection.execute(change, values)).rowcount != 1:
                return False
            changed.add(RUNS)
            return True

    # What happens under a claim

    async def started(self, id: str, revision: int, call: CallStart) -> CallState:
        """ "started" if the call may leave now: it is written. Otherwise what is known of it: it was started before.

        A call whose outcome nobody knows may be made again if it only reads, or does the same thing twice.

        Raises:
            RunTaken: the run is not this process's any more.
            RunTooLarge: the arguments are over their bound, or all that the run keeps.
            Misused: it was started before with other arguments.
        """
        _check_size("the arguments of a call", call.arguments, MAX_ARGUMENTS_BYTES)
        async with self._writing() as (connection, _):
            this = {"of_run": id, "of_call": call.call}
            row = (await connection.execute(statements.CALL, this)).mappings().first()
            await self._grow(connection, id, revision, len(call.arguments) if row is None else 0, {})
            if row is not None and not _may_start(row, call):
                return "unknown" if row["state"] == "started" else read_call(row).state
            values = {
                **await self._sealed(connection, call.arguments, place_of_call(id, call.call, revision, "arguments")),
                "seq": call.seq,
                "server": call.server[:512],
                "tool": call.tool[:512],
                "effect": call.effect,
                "state": "started",
                "revision": revision,
                "arguments": call.digest,
                "at": to_stored(self._clock()),
                "us": 0,
            }
            if row is None:
                await connection.execute(statements.NEW_CALL, {"run": id, "call": call.call, **values})
            else:
                await connection.execute(statements.CHANGE_CALL, {**this, **values})
            return "started"

    async def came_back(self, id: str, revision: int, call: int) -> None:
        """A call that was written as started has come back, and nothing ran: it is as if it had not left.

        Raises:
            RunTaken: the run is not this process's any more.
        """
        async with self._writing() as (connection, _):
            await self._mine(connection, id, revision)
            this = and_(run_calls.c.run == id, run_calls.c.call == call, run_calls.c.state == "started")
            await connection.execute(delete(run_calls).where(this))

    async def settled(self, id: str, revision: int, number: int, data: bytes, ends: Sequence[CallEnd] = ()) -> None:
        """Write what the program is about to get, and that these calls have ended, before it goes on.

        `number` counts these since the checkpoint, from 1; one that was written may be written once more, when its
        answer was lost.

        Raises:
            RunTaken: the run is not this process's any more.
            RunTooLarge: all that the run keeps is over its bound.
            Misused: the number is not the next one.
        """
        async with self._writing() as (connection, _):
            # Two numbers follow each other without a gap, or the replay would be of something else.
            written = (await connection.execute(statements.LAST_RESUME, {"of_run": id})).scalar() or 0
            await self._grow(connection, id, revision, len(data) if number > written else 0, {"attempts": 0})
            if number != written + 1:
                if await self._is_written(connection, id, number, revision):
                    return
                raise Misused(f"the run {id!r} has {written} resumes: {number} is not the next")
            values = await self._sealed(connection, data, place_of_resume(id, number, revision))
            resume = {"run": id, "number": number, "revision": revision, **values}
            await connection.execute(statements.NEW_RESUME, resume)
            for end in ends:
                ended = {"state": "failed" if end.failed else "done", "us": end.us, "secret": None, "kid": None}
                await connection.execute(statements.CHANGE_CALL, {"of_run": id, "of_call": end.call, **ended})

    async def end(self, id: str, revision: int, finished: FinishedRun) -> StoredRun:
        """End a claimed run: its checkpoint, arguments and results of calls are deleted. The run as it is stored. The
        same end may be repeated when its answer was lost.

        Raises:
            RunTaken: the run is not this process's any more.
            RunTooLarge: the result is over its bound.
        """
        text = document_text(finished.document)
        _check_size("the result of the program", finished.result or b"", MAX_RESULT_BYTES)
        async with self._writing() as (connection, changed):
            row = await self._row(connection, id)
            if row is not None and row["revision"] == revision and row["state"] == finished.state:
                return read_run(row)
            row = await self._mine(connection, id, revision)
            values: dict[str, object] = {"document": text, "expires_at": to_stored(finished.keep_until)}
            if finished.result is not None:
                place = place_of_run(row, "result", revision)
                values |= await self._sealed(connection, finished.result, place)
                values |= {"size": len(finished.result), "sealed": revision}
            await self._end(connection, row, finished.state, values)
            await self._forget_oldest(connection, row)
            changed.update((RUNS, APPROVALS))
            return await self._written(connection, id)

    # What others do to a run

    async def cancel(self, id: str, words: str = "it was cancelled") -> StoredRun | None:
        """End a run, whoever runs it: their next write is refused. None if there is none that has not ended."""
        async with self._writing() as (connection, changed):
            row = await self._row(connection, id)
            if row is None or row["state"] not in states_before("cancel"):
                return None
            end = EndOfRun(state="cancelled", kind="cancelled", name="RunCancelled", words=words)
            await self._end_found(connection, row, "cancelled", end)
            changed.update((RUNS, APPROVALS))
            return await self._written(connection, id)

    async def resolve(self, id: str, call: int, verdict: Verdict, answer: bytes | None = None) -> bool:
        """Say what became of a call that is `unknown`, with its answer if it happened; its run is ready then. False if
        there is no such call, or somebody has said so already. What people approved it with is good for its repeat.

        Raises:
            RunTooLarge: the answer is over its bound.
        """
        _check_size("the answer of a call", answer or b"", MAX_ARGUMENTS_BYTES)
        this = and_(named(run_calls.c.run, id), run_calls.c.call == call, run_calls.c.state == "unknown")
        async with self._writing() as (connection, changed):
            row = (await connection.execute(select(*SHOWN_OF_CALL).where(this))).mappings().first()
            if row is None:
                return False
            values: dict[str, object] = {"state": verdict, "secret": None, "kid": None}
            if answer is not None:
                place = place_of_call(id, call, row["revision"], "answer")
                values |= await self._sealed(connection, answer, place)
            await connection.execute(update(run_calls).where(this).values(**values))
            if verdict == "repeat" and await reuse(connection, id, row["seq"], self._clock()):
                changed.add(APPROVALS)
            await self._ready(connection, changed, READY, {"of_run": id})
            return True

    async def expire_due(self) -> Sequence[StoredRun]:
        """End those whose time is over, whoever runs them. They as they are stored then, at most `EXPIRED_AT_ONCE`."""
        over = and_(runs.c.state.in_(LIVE), runs.c.expires_at <= to_stored(self._clock()))
        async with self._reading() as connection:
            if (await connection.execute(select(runs.c.id).where(over).limit(1))).first() is None:
                return ()
        async with self._writing() as (connection, changed):
            query = select(*SHOWN).where(over).order_by(runs.c.expires_at).limit(EXPIRED_AT_ONCE)
            rows = (await connection.execute(query)).mappings().all()
            for row in rows:
                waits = ", ".join(sorted({wait.kind for wait in read_document(row).waits})) or row["reason"]
                words = f"its time was over before what it waited for had come: {waits or 'nothing'}"
                end = EndOfRun(state="expired", kind="expired", name="RunExpired", words=words)
                await self._end_found(connection, row, "expired", end)
                changed.update((RUNS, APPROVALS))
            ended = select(*SHOWN).where(runs.c.id.in_([row["id"] for row in rows])).order_by(runs.c.created_at)
            return [read_run(row) for row in (await connection.execute(ended)).mappings()]

    async def purge(self) -> int:
        """Delete runs that have ended, are not kept any more, and whose row the log has. How many, at most
        `PURGED_AT_ONCE`."""
        over = and_(runs.c.state.not_in(LIVE), runs.c.expires_at <= to_stored(self._clock()), runs.c.log_due.is_(None))
        async with self._reading() as connection:
            ids = (await connection.execute(select(runs.c.id).where(over).limit(PURGED_AT_ONCE))).scalars().all()
        if not ids:
            return 0
        async with self._writing() as (connection, _):
            return (await connection.execute(delete(runs).where(runs.c.id.in_(ids), over))).rowcount

    async def take_unlogged(self) -> Sequence[StoredRun]:
        """Runs that ended a while ago, and of which nobody knows whether the log has their row, at most
        `UNLOGGED_AT_ONCE`. Nobody else gets them for as long again: see `logged`."""
        now = self._clock()
        due = runs.c.log_due <= to_stored(now)
        query = select(*SHOWN).where(due).order_by(runs.c.log_due).limit(UNLOGGED_AT_ONCE)
        async with self._reading() as connection:
            if (await connection.execute(query.limit(1))).first() is None:
                return ()
        async with self._writing() as (connection, _):
            found = [read_run(row) for row in (await connection.execute(query)).mappings()]
            later = {"log_due": to_stored(now + timedelta(seconds=LOG_SECONDS))}
            await connection.execute(update(runs).where(runs.c.id.in_([run.id for run in found])).values(**later))
            return found

    async def logged(self, ids: Collection[str]) -> None:
        """The log has the rows of these runs, which have ended: they are kept for their owners alone."""
        async with self._writing() as (connection, _):
            ended = and_(runs.c.id.in_(sorted(ids)), runs.c.state.not_in(LIVE))
            await connection.execute(update(runs).where(ended).values(log_due=None))

    # Parts

    async def _written(self, connection: AsyncConnection, id: str) -> StoredRun:
        row = await self._row(connection, id)
        assert row is not None
        return read_run(row)

    async def _mine(self, connection: AsyncConnection, id: str, revision: int) -> RowMapping:
        claim = {"of_run": id, "at_revision": revision}
        row = (await connection.execute(statements.RUN_OF_CLAIM, claim)).mappings().first()
        if row is None:
            raise RunTaken(id)
        return row

    async def _change(
        self, connection: AsyncConnection, id: str, revision: int, values: Mapping[str, object]
    ) -> RowMapping:
        change = {"of_run": id, "at_revision": revision, **values}
        row = (await connection.execute(statements.CHANGED_RUN, change)).mappings().first()
        if row is None:
            raise RunTaken(id)
        return row

    async def _grow(
        self, connection: AsyncConnection, id: str, revision: int, size: int, values: Mapping[str, object]
    ) -> None:
        """Count what a claimed run keeps more, with these values."""
        row = await self._mine(connection, id, revision)
        if row["size"] + size > MAX_RUN_BYTES:
            raise RunTooLarge(
                f"what its calls got since it last waited is over {MAX_RUN_BYTES // _MIB} MiB, which is all that is "
                "kept of a program that has been parked; ask for less in each call, or do this in several programs"
            )
        grown = {"size": row["size"] + size, "updated_at": to_stored(self._clock()), **values}
        await self._change(connection, id, revision, grown)

    async def _parked(self, connection: AsyncConnection, parking: Parking, row: RowMapping | None) -> dict[str, object]:
        """State and what belongs to it: ready, if what the run waits for has come since it began to wait."""
        now = self._clock()
        waits = sum(wait.kind == "approval" for wait in parking.document.waits)
        decided = False
        if waits:
            mine = {"of_run": parking.id, "now": to_stored(now)}
            decided = (await connection.execute(statements.PENDING, mine)).scalar_one() < waits
        ready = decided or (row is not None and row["again"] != 0)
        wake_at = parking.wake_at
        if ready or (wake_at is None and parking.reason == "drain"):
            # It waits for nothing but a process.
            wake_at = now
        return {
            "state": "ready" if ready else "parked",
            "reason": "" if ready else parking.reason,
            "owner": None,
            "lease_until": None,
            "wake_at": None if wake_at is None else to_stored(wake_at),
            "approvals": waits,
            "again": 0,
            "attempts": 0,
        }

    async def _ready(
        self,
        connection: AsyncConnection,
        changed: set[str],
        ready: tuple[Update, Update],
        values: Mapping[str, object],
    ) -> int:
        """How many runs are ready now, or will be once they are parked: see `ready_of`."""
        parked, running = ready
        number = (await connection.execute(parked, {"now": to_stored(self._clock()), **values})).rowcount
        if number:
            changed.add(RUNS)
        return number + (await connection.execute(running, values)).rowcount

    async def _check_room(
        self, connection: AsyncConnection, parking: Parking, row: RowMapping | None, size: int
    ) -> None:
        """
        Raises:
            RunsFull: there is none, for a new run or for what this one has more than before.
        """
        more = size if row is None else size - row["size"]
        if more <= 0 and row is not None:
            return
        new, limits = row is None, self._limits
        whose = {"of_portal": parking.portal, "of_subject": parking.subject}
        kept = {of: (number, used) for of, number, used in await connection.execute(statements.ROOM, whose)}
        number, used = kept["subject"]
        if new and number >= limits.of_subject or used + more > limits.bytes_of_subject:
            raise RunsFull(
                f"{number} of your programs wait already, with {used // _MIB} MiB, and more may not: end one with "
                "codemode.runs.cancel(id), codemode.runs.list() shows them",
                own=True,
            )
        number, used = kept["portal"]
        if new and number >= limits.of_portal or used + more > limits.bytes_of_portal:
            raise RunsFull(
                f"{number} programs wait at this portal, with {used // _MIB} MiB, and more may not: try again later",
                own=False,
            )

    async def _claimed(self, connection: AsyncConnection, row: RowMapping) -> RunClaim:
        """The claim of this row, which was read with its secret. What has started under a former claim is unknown."""
        place = place_of_run(row, "checkpoint", row["sealed"])
        checkpoint = await self._unsealed(bytes(row["secret"] or b""), place)
        this = {"of_run": row["id"]}
        resumes = (await connection.execute(statements.RESUMES, this)).mappings()
        tail = [read_resume(resume, self._find_key) for resume in resumes]
        calls = (await connection.execute(statements.CALLS, this)).mappings().all()
        if any(call["state"] == "started" for call in calls):
            await connection.execute(statements.LEFT_STARTED, this)
            calls = (await connection.execute(statements.CALLS, this)).mappings().all()
        found = tuple(read_call(call, self._find_key) for call in calls)
        return RunClaim(read_run(row), checkpoint, tuple(tail), found)

    async def _is_written(self, connection: AsyncConnection, id: str, number: int, revision: int) -> bool:
        this = and_(run_resumes.c.run == id, run_resumes.c.number == number, run_resumes.c.revision == revision)
        return (await connection.execute(select(run_resumes.c.number).where(this))).first() is not None

    async def _end_found(self, connection: AsyncConnection, row: RowMapping, state: EndState, end: EndOfRun) -> None:
        """End a run that was read in this transaction. It is shown for as long again as it was to be kept."""
        now = self._clock()
        kept = from_stored(row["expires_at"]) - from_stored(row["created_at"])
        document = read_document(row).model_copy(update={"end": end, "waits": ()})
        values: dict[str, object] = {"document": document_text(document), "expires_at": to_stored(now + kept)}
        await self._end(connection, row, state, values)

    async def _end(
        self, connection: AsyncConnection, row: RowMapping, state: EndState, values: Mapping[str, object]
    ) -> None:
        """Everything that the run kept goes with it, in the same commit."""
        now, of_run = self._clock(), {"of_run": row["id"]}
        ended = {
            **of_run,
            "at_revision": row["revision"],
            "state": state,
            "reason": "",
            "owner": None,
            "lease_until": None,
            "wake_at": None,
            "size": 0,
            "approvals": 0,
            "again": 0,
            "secret": None,
            "kid": None,
            "updated_at": to_stored(now),
            "log_due": to_stored(now + timedelta(seconds=LOG_SECONDS)),
            **values,
        }
        if (await connection.execute(statements.end(state), ended)).rowcount != 1:
            raise RunTaken(row["id"])
        await connection.execute(statements.DELETE_CALLS, of_run)
        await connection.execute(statements.DELETE_RESUMES, of_run)
        await connection.execute(statements.WITHDRAW, {**of_run, "now": to_stored(now)})

    async def _forget_oldest(self, connection: AsyncConnection, row: RowMapping) -> None:
        """The results of one person have a bound together; the oldest give way. What the log may not know of yet stays
        without its result."""
        theirs = and_(runs.c.portal == row["portal"], runs.c.subject == row["subject"], runs.c.state.not_in(LIVE))
        query = select(runs.c.id, runs.c.size).where(theirs).order_by(runs.c.updated_at.desc(), runs.c.id == row["id"])
        size, too_many = 0, list[str]()
        for number, one in enumerate((await connection.execute(query)).mappings(), start=1):
            size += one["size"]
            if one["id"] != row["id"] and (number > MOST_ENDED_OF_SUBJECT or size > MOST_RESULT_BYTES_OF_SUBJECT):
                too_many.append(one["id"])
        if too_many:
            those = runs.c.id.in_(too_many[:IDS_AT_ONCE])
            await connection.execute(delete(runs).where(those, runs.c.log_due.is_(None)))
            await connection.execute(update(runs).where(those).values(secret=None, kid=None, size=0))

    async def _sealed(self, connection: AsyncConnection, secret: bytes, place: Place) -> dict[str, object]:
        kid = await current_kid(connection)
        key = self._find_key(kid)
        if len(secret) < LARGE:
            return {"secret": seal(secret, place, key), "kid": kid}
        return {"secret": await asyncio.to_thread(seal, secret, place, key), "kid": kid}


def _parked_before(row: RowMapping, parking: Parking, revision: int | None) -> StoredRun | None:
    """The run if it is parked just so: its answer was lost. None if it is this process's, and to be parked now."""
    same = (row["portal"], row["subject"], row["client"]) == (parking.portal, parking.subject, parking.client)
    if revision is None:
        if same and row["state"] in ("parked", "ready") and row["revision"] == row["sealed"] == _FIRST:
            return read_run(row)
        raise AlreadyExists("run", parking.id)
    if row["revision"] != revision:
        raise RunTaken(parking.id)
    if not same:
        raise Misused(f"the run {parking.id!r} belongs to somebody else, at another portal or with another client")
    if row["state"] in ("parked", "ready") and row["sealed"] == revision:
        return read_run(row)
    if row["state"] != "running":
        raise RunTaken(parking.id)
    return None


def _may_start(row: RowMapping, call: CallStart) -> bool:
    """Whether a call that was started before may leave once more."""
    may = row["state"] == "repeat" or (row["state"] == "unknown" and row["effect"] in ("read", "idempotent"))
    if may and bytes(row["arguments"]) != call.digest:
        raise Misused(f"call {call.call} of the run {row['run']!r} was started before with other arguments")
    return may


def _check_size(what: str, data: bytes, most: int) -> None:
    if len(data) > most:
        raise RunTooLarge(
            f"{what} would take {len(data) / _MIB:.1f} MiB, and at most {most // _MIB} MiB are kept: hold less in "
            "variables and results while it waits, and fetch it again afterwards"
        )


__all__ = ["RunLimits", "RunRows"]
