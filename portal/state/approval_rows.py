"""Approvals of exact calls, as rows: each change of one is a single transaction that checks what it was before.

A row is looked for and made, voted on, used, and given up, each so that of any number of processes that do so at once
one wins. The arguments of its call are sealed, and erased soon after it has ended.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state.approval_row import (
    APPROVALS,
    OPEN,
    ApprovalChange,
    ApprovalCounts,
    ApprovalFilter,
    ApprovalGrant,
    ApprovalRow,
)
from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import MAX_DOCUMENT_BYTES, check_name, is_storable
from portal.state.envelope import FindKey, Place, seal, unseal
from portal.state.errors import DocumentInvalid
from portal.state.grant_rows import insert_grant
from portal.state.objects import current_kid
from portal.state.schema import approvals, named
from portal.state.tokens import OpenWriting, Reading

MAX_LISTED = 1000
# What is sealed of one: arguments of 1 MiB, written as JSON, and some words.
_MAX_SECRET_BYTES = 1_200_000
# Of one call: more are not looked at.
_MAX_FOUND = 5
_MAX_DENIALS = 100
# In one query: SQLite has bounds of its own.
_SOME = 500


class ApprovalRows:
    """The approvals of a store. Every change is told to its subscribers, as `APPROVALS`."""

    def __init__(self, reading: Reading, writing: OpenWriting, clock: Clock, find: FindKey) -> None:
        self._reading = reading
        self._writing = writing
        self._clock = clock
        self._find_key = find

    async def get(self, id: str) -> ApprovalRow | None:
        async with self._reading() as connection:
            return await _get(connection, id)

    async def secret(self, id: str) -> bytes | None:
        """What is sealed of it; None if that is erased, or there is no such row.

        Raises:
            SecretUnreadable: it was changed or moved here, or its key is lost.
        """
        async with self._reading() as connection:
            query = select(approvals.c.secret).where(named(approvals.c.id, id))
            sealed = (await connection.execute(query)).scalar()
        return None if sealed is None else unseal(bytes(sealed), _place(id), self._find_key)

    async def of_call(self, row: ApprovalRow) -> Sequence[ApprovalRow]:
        """Those of the same call, newest first: of its number in its run, or outside of any run of the same arguments
        by the same person and client."""
        async with self._reading() as connection:
            return await _of_call(connection, row)

    async def request(
        self,
        row: ApprovalRow,
        secret: bytes,
        fits: Callable[[ApprovalRow], bool],
        admit: Callable[[ApprovalCounts], None],
        *,
        since: datetime,
    ) -> tuple[ApprovalRow, bool]:
        """The newest row of the same call that fits, or this one, which is added, and whether it was. `admit` is asked
        before that, and may raise; what counts as lately is since then.

        Raises:
            DocumentInvalid: a name of it cannot be stored, or it is too large.
        """
        values = _values(row)
        if len(secret) > _MAX_SECRET_BYTES:
            raise DocumentInvalid(f"the arguments have over {_MAX_SECRET_BYTES} bytes with what is kept of them")
        async with self._writing() as (connection, changed):
            for found in await _of_call(connection, row):
                if fits(found):
                    return found, False
            admit(await _counts(connection, row, since))
            if row.run:
                # Nobody should decide about a call that is made otherwise now, or under another policy.
                other = and_(approvals.c.run == row.run, approvals.c.call == row.call, approvals.c.state.in_(OPEN))
                ended = {"state": "withdrawn", "ended_at": to_stored(self._clock()), **_NEXT}
                await connection.execute(update(approvals).where(other).values(**ended))
            sealed = await self._sealed(connection, row.id, secret)
            await connection.execute(insert(approvals).values(**values, **sealed))
            changed.add(APPROVALS)
        return row, True

    async def change(self, id: str, decide: Callable[[ApprovalRow], ApprovalChange | None]) -> ApprovalRow | None:
        """The row after `decide` has said what becomes of it, None to leave it as it is; None if there is no such row.
        No other change comes in between. What `decide` raises is raised, and nothing changes.

        What waits and may be made with the grant of a change is withdrawn, as much as that has uses.
        """
        async with self._writing() as (connection, changed):
            row = await _get(connection, id)
            if row is None or (change := decide(row)) is None:
                return row
            values: dict[str, object] = {"state": change.state, "document": change.document}
            if change.decided_at is not None:
                values["decided_at"] = to_stored(change.decided_at)
            if change.state not in OPEN:
                values["ended_at"] = to_stored(self._clock())
            if change.secret is not None:
                values |= await self._sealed(connection, id, change.secret)
                # What the call is for is said now: others may have to be told.
                values["noted_at"] = None
            seen = and_(approvals.c.id == id, approvals.c.revision == row.revision)
            written = await connection.execute(update(approvals).where(seen).values(**values, **_NEXT))
            # Nobody else writes meanwhile: another revision would be a fault of this transaction.
            assert written.rowcount == 1
            if change.grant is not None:
                await insert_grant(connection, change.grant)
                await self._cover(connection, change.grant)
            changed.add(APPROVALS)
            return await _get(connection, id)

    async def use(self, id: str, digest: bytes, policy_revision: str) -> bool:
        """Whether this approval was good for a call with these arguments under this revision of its policy. It is used
        then, and good for none."""
        now = to_stored(self._clock())
        good = and_(
            named(approvals.c.id, id),
            approvals.c.state == "approved",
            approvals.c.arguments == digest,
            approvals.c.policy_revision == policy_revision,
            approvals.c.expires_at > now,
        )
        return await self._one(good, state="used", ended_at=now)

    async def give_back(self, id: str, digest: bytes, policy_revision: str) -> bool:
        """Whether this approval, which was used for a call that did not run, is good for that call again."""
        now = to_stored(self._clock())
        good = and_(
            named(approvals.c.id, id),
            approvals.c.state == "used",
            approvals.c.arguments == digest,
            approvals.c.policy_revision == policy_revision,
            approvals.c.expires_at > now,
        )
        return await self._one(good, state="approved", ended_at=None)

    async def withdraw(self, run: str) -> int:
        """End those of a run that are open. How many they were."""
        return await self._end(and_(named(approvals.c.run, run), approvals.c.state.in_(OPEN)), "withdrawn")

    async def expire(self) -> int:
        """End those that are open and whose time is over. How many they were."""
        over = and_(approvals.c.state.in_(OPEN), approvals.c.expires_at <= to_stored(self._clock()))
        return await self._end(over, "expired")

    async def erase(self, *, before: datetime) -> None:
        """Erase the arguments of those that had ended by then."""
        old = and_(approvals.c.ended_at <= to_stored(before), approvals.c.secret.is_not(None))
        async with self._writing() as (connection, _):
            await connection.execute(update(approvals).where(old).values(secret=None, kid=None))

    async def purge(self, *, decided: datetime, undecided: datetime) -> None:
        """Delete those that ended before then, of those that nobody has decided before another time."""
        ended = approvals.c.ended_at
        old = or_(ended <= to_stored(decided), and_(ended <= to_stored(undecided), approvals.c.decided_at.is_(None)))
        async with self._writing() as (connection, _):
            await connection.execute(delete(approvals).where(old))

    async def list(self, which: ApprovalFilter, *, limit: int = 100) -> Sequence[ApprovalRow]:
        """Newest first, at most `MAX_LISTED`."""
        query = select(*_COLUMNS).where(*_conditions(which)).order_by(approvals.c.created_at.desc(), approvals.c.id)
        async with self._reading() as connection:
            rows = await connection.execute(query.limit(max(1, min(limit, MAX_LISTED))))
            return [_row(row) for row in rows.mappings()]

    async def unnoted(self, portals: Collection[str], limit: int) -> Sequence[ApprovalRow]:
        """Those that wait for people at these portals, and of which nobody was told yet, the oldest first."""
        new = and_(approvals.c.state == "pending", approvals.c.noted_at.is_(None))
        theirs = approvals.c.portal.in_([one for one in portals if is_storable(one)])
        query = select(*_COLUMNS).where(new, theirs, approvals.c.expires_at > to_stored(self._clock()))
        async with self._reading() as connection:
            rows = await connection.execute(query.order_by(approvals.c.created_at).limit(limit))
            return [_row(row) for row in rows.mappings()]

    async def revisions(self, ids: Collection[str]) -> Mapping[str, int]:
        """The revision of each of these that is there."""
        wanted, found = sorted(ids), dict[str, int]()
        async with self._reading() as connection:
            for start in range(0, len(wanted), _SOME):
                some = approvals.c.id.in_(wanted[start : start + _SOME])
                rows = await connection.execute(select(approvals.c.id, approvals.c.revision).where(some))
                found |= {row.id: row.revision for row in rows}
        return found

    async def _one(self, good: ColumnElement[bool], **values: object) -> bool:
        async with self._writing() as (connection, changed):
            done = await connection.execute(update(approvals).where(good).values(**values, **_NEXT))
            if done.rowcount == 1:
                changed.add(APPROVALS)
            return done.rowcount == 1

    async def _cover(self, connection: AsyncConnection, grant: ApprovalGrant) -> None:
        """Withdraw what waits and may be made with this grant."""
        names = ("portal", "subject", "client", "server", "tool", "policy")
        like = [named(approvals.c[name], getattr(grant, name)) for name in names]
        if grant.run:
            like.append(named(approvals.c.run, grant.run))
        waits = and_(*like, approvals.c.policy_revision == grant.policy_revision, approvals.c.state == "pending")
        most = MAX_LISTED if grant.uses_left is None else grant.uses_left
        oldest = select(approvals.c.id).where(waits).order_by(approvals.c.created_at, approvals.c.id).limit(most)
        ids = (await connection.execute(oldest)).scalars().all()
        values = {"state": "withdrawn", "ended_at": to_stored(self._clock()), **_NEXT}
        for start in range(0, len(ids), _SOME):
            some = approvals.c.id.in_(ids[start : start + _SOME])
            await connection.execute(update(approvals).where(some).values(**values))

    async def _end(self, which: ColumnElement[bool], state: str) -> int:
        values = {"state": state, "ended_at": to_stored(self._clock()), **_NEXT}
        async with self._writing() as (connection, changed):
            ended = (await connection.execute(update(approvals).where(which).values(**values))).rowcount
            if ended:
                changed.add(APPROVALS)
            return ended

    async def _sealed(self, connection: AsyncConnection, id: str, secret: bytes) -> dict[str, object]:
        kid = await current_kid(connection)
        return {"secret": seal(secret, _place(id), self._find_key(kid)), "kid": kid}


async def reuse(connection: AsyncConnection, run: str, call: int, now: datetime) -> bool:
    """Make the approval good again that a call of a run has used, for the one repeat that a person has ordered. Whether
    there is one whose time is not over. Everything that `use` asks is asked of it again."""
    used = and_(
        named(approvals.c.run, run),
        approvals.c.call == call,
        approvals.c.state == "used",
        approvals.c.expires_at > to_stored(now),
    )
    newest = select(approvals.c.id).where(used).order_by(approvals.c.created_at.desc()).limit(1)
    id = (await connection.execute(newest)).scalar()
    if id is None:
        return False
    good = {"state": "approved", "ended_at": None, **_NEXT}
    await connection.execute(update(approvals).where(approvals.c.id == id).values(**good))
    return True


_COLUMNS = tuple(column for column in approvals.c if column.name not in ("secret", "kid", "noted_at"))
_NEXT: Mapping[str, object] = {"revision": approvals.c.revision + 1}


def _place(id: str) -> Place:
    return Place("approvals", "approval", id, "secret")


async def _get(connection: AsyncConnection, id: str) -> ApprovalRow | None:
    found = (await connection.execute(select(*_COLUMNS).where(named(approvals.c.id, id)))).mappings().first()
    return None if found is None else _row(found)


async def _of_call(connection: AsyncConnection, row: ApprovalRow) -> builtins.list[ApprovalRow]:
    same: ColumnElement[bool] = and_(approvals.c.run == row.run, approvals.c.call == row.call)
    if not row.run:
        same = and_(
            same,
            approvals.c.portal == row.portal,
            approvals.c.subject == row.subject,
            approvals.c.client == row.client,
            approvals.c.server == row.server,
            approvals.c.tool == row.tool,
            approvals.c.arguments == row.digest,
        )
    query = select(*_COLUMNS).where(same).order_by(approvals.c.created_at.desc()).limit(_MAX_FOUND)
    return [_row(found) for found in (await connection.execute(query)).mappings()]


async def _counts(connection: AsyncConnection, row: ApprovalRow, since: datetime) -> ApprovalCounts:
    async def count(*conditions: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(approvals).where(*conditions)
        return int((await connection.execute(query)).scalar_one())

    pending, theirs = approvals.c.state == "pending", approvals.c.subject == row.subject
    denied = (
        select(approvals.c.decided_at)
        .where(theirs, approvals.c.client == row.client, approvals.c.state == "denied")
        .where(approvals.c.decided_at > to_stored(since), approvals.c.created_at > to_stored(since - _OLDEST))
        .order_by(approvals.c.decided_at.desc())
        .limit(_MAX_DENIALS)
    )
    return ApprovalCounts(
        await count(pending, theirs),
        await count(pending, approvals.c.portal == row.portal),
        await count(theirs, approvals.c.created_at > to_stored(since)),
        tuple(from_stored(at) for at in (await connection.execute(denied)).scalars()),
    )


# How long one may be waited for, at most: what is denied now was made after that.
_OLDEST = timedelta(days=31)


def _conditions(which: ApprovalFilter) -> Sequence[ColumnElement[bool]]:
    conditions: builtins.list[ColumnElement[bool]] = []
    if which.portal is not None:
        conditions.append(named(approvals.c.portal, which.portal))
    texts = {"subject": which.subject, "client": which.client, "run": which.run, "server": which.server}
    conditions += [named(approvals.c[name], value) for name, value in texts.items() if value]
    if which.states:
        conditions.append(approvals.c.state.in_(which.states))
    if which.mentions:
        conditions.append(approvals.c.document.contains(which.mentions, autoescape=True))
    if which.before is not None:
        conditions.append(approvals.c.created_at < to_stored(which.before))
    return conditions


def _values(row: ApprovalRow) -> dict[str, object]:
    names = {name: check_name(getattr(row, name), name) for name in ("id", "portal", "subject", "client")}
    names |= {name: check_name(getattr(row, name), name) for name in ("server", "tool", "policy")}
    if len(row.document.encode()) > MAX_DOCUMENT_BYTES:
        raise DocumentInvalid(f"an approval has at most {MAX_DOCUMENT_BYTES} bytes besides its arguments")
    return {
        **names,
        "run": check_name(row.run, "run"),
        "call": row.call,
        "arguments": row.digest,
        "policy_revision": row.policy_revision,
        "state": row.state,
        "revision": row.revision,
        "created_at": to_stored(row.created_at),
        "expires_at": to_stored(row.expires_at),
        "decided_at": None,
        "ended_at": None,
        "document": row.document,
    }


def _row(row: RowMapping) -> ApprovalRow:
    return ApprovalRow(
        id=row["id"],
        portal=row["portal"],
        subject=row["subject"],
        client=row["client"],
        run=row["run"],
        call=row["call"],
        server=row["server"],
        tool=row["tool"],
        digest=bytes(row["arguments"]),
        policy=row["policy"],
        policy_revision=row["policy_revision"],
        state=row["state"],
        created_at=from_stored(row["created_at"]),
        expires_at=from_stored(row["expires_at"]),
        document=row["document"],
        revision=row["revision"],
        decided_at=None if row["decided_at"] is None else from_stored(row["decided_at"]),
        ended_at=None if row["ended_at"] is None else from_stored(row["ended_at"]),
    )
