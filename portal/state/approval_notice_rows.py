"""Who is told that an approval waits for people, as rows: one for each approval and target, told once by one process.

A row is due at a time. Whoever claims it moves that time on: if they end before they know what became of the notice,
it is due again then, for whichever process looks. The word of an approval is written in the transaction that marks it
as noted, so none is forgotten and none is noted twice.
"""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state.approval_row import APPROVAL_NOTICES, WEBHOOK_TARGET, ApprovalRow, NoticeBatch, NoticeEnd
from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import is_storable
from portal.state.schema import approval_notices, approvals
from portal.state.tokens import OpenWriting, Reading

MAX_IN_BATCH = 200
"""Approvals that one mail tells of."""
HOUR = timedelta(hours=1)


class ApprovalNoticeRows:
    """The notices of a store. New ones are told to its subscribers, as `APPROVAL_NOTICES`."""

    def __init__(self, reading: Reading, writing: OpenWriting, clock: Clock) -> None:
        self._reading = reading
        self._writing = writing
        self._clock = clock

    async def note(self, wanted: Sequence[tuple[ApprovalRow, Collection[str]]], due_at: datetime) -> int:
        """Have these targets told of these approvals from then on, each once. How many approvals these are: those that
        have changed since they were read stay as they are."""
        noted = 0
        async with self._writing() as (connection, changed):
            for row, targets in wanted:
                as_read = and_(approvals.c.id == row.id, approvals.c.revision == row.revision)
                mark = update(approvals).where(as_read, approvals.c.noted_at.is_(None))
                if (await connection.execute(mark.values(noted_at=to_stored(self._clock())))).rowcount != 1:
                    continue
                noted += 1
                known = select(approval_notices.c.target).where(approval_notices.c.approval == row.id)
                there = set((await connection.execute(known)).scalars())
                rows = [_new(row, target, due_at) for target in dict.fromkeys(targets) if target not in there]
                if rows:
                    await connection.execute(insert(approval_notices), rows)
                    changed.add(APPROVAL_NOTICES)
        return noted

    async def claim(
        self, portals: Collection[str], *, webhook: bool, most: int, lease: timedelta, mails_an_hour: int
    ) -> Sequence[NoticeBatch]:
        """At most so many batches that are due, for this process to tell within `lease`: those for the webhook of one
        approval each, those of an address with all that it is told of at a portal. An address that had its mails of
        this hour waits for the next."""
        now = self._clock()
        due = and_(
            approval_notices.c.state == "waiting",
            approval_notices.c.due_at <= to_stored(now),
            _of(portals, webhook=webhook),
        )
        async with self._reading() as connection:
            if (await connection.execute(select(approval_notices.c.approval).where(due).limit(1))).first() is None:
                return []
        batches: list[NoticeBatch] = []
        async with self._writing() as (connection, _):
            await connection.execute(delete(approval_notices).where(due, _is_over()))
            for group in await _groups(connection, due, webhook=webhook, most=most):
                told = [] if webhook else await _told_at(connection, group["target"], now - HOUR)
                if len(told) >= mails_an_hour:
                    later = to_stored(told[-mails_an_hour] + HOUR)
                    theirs = and_(*(approval_notices.c[name] == value for name, value in group.items()))
                    waiting = and_(theirs, approval_notices.c.state == "waiting")
                    await connection.execute(update(approval_notices).where(waiting).values(due_at=later))
                    continue
                room = None if webhook or len(told) + 1 < mails_an_hour else (told[0] if told else now) + HOUR
                batches.append(await _taken(connection, group, now, lease, room))
        return batches

    async def settle(self, batch: str, end: NoticeEnd) -> None:
        """Write what became of a batch, unless another process has claimed it since: "told", "failed" for good, "ended"
        without a word; or when it is due again."""
        values: dict[str, object] = {"state": end} if isinstance(end, str) else {"due_at": to_stored(end)}
        if end == "told":
            values["told_at"] = to_stored(self._clock())
        ours = and_(approval_notices.c.batch == batch, approval_notices.c.state == "waiting")
        async with self._writing() as (connection, _):
            await connection.execute(update(approval_notices).where(ours).values(**values))

    async def next_due(self, portals: Collection[str], *, webhook: bool) -> datetime | None:
        """When the next one of these portals is due, None if none waits."""
        theirs = _of(portals, webhook=webhook)
        query = select(approval_notices.c.due_at).where(approval_notices.c.state == "waiting", theirs)
        query = query.order_by(approval_notices.c.due_at).limit(1)
        async with self._reading() as connection:
            found = (await connection.execute(query)).scalar()
        return None if found is None else from_stored(found)

    async def states(self, approval: str) -> Mapping[str, str]:
        """How it stands with those who are told of an approval, by target: "waiting", "told", "failed", "ended"."""
        query = select(approval_notices.c.target, approval_notices.c.state)
        async with self._reading() as connection:
            rows = await connection.execute(query.where(approval_notices.c.approval == approval))
            return {row.target: row.state for row in rows}

    async def purge(self, *, before: datetime) -> None:
        """Delete those of approvals that wait for nobody any more and that were due before then."""
        old = and_(approval_notices.c.due_at < to_stored(before), _is_over())
        async with self._writing() as (connection, _):
            await connection.execute(delete(approval_notices).where(old))


def _new(row: ApprovalRow, target: str, due_at: datetime) -> dict[str, object]:
    return {
        "approval": row.id,
        "target": target,
        "portal": row.portal,
        "state": "waiting",
        "batch": "",
        "tries": 0,
        "due_at": to_stored(due_at),
        "told_at": None,
    }


def _of(portals: Collection[str], *, webhook: bool) -> ColumnElement[bool]:
    target = approval_notices.c.target
    theirs = approval_notices.c.portal.in_([one for one in portals if is_storable(one)])
    return and_(theirs, target == WEBHOOK_TARGET if webhook else target != WEBHOOK_TARGET)


def _is_over() -> ColumnElement[bool]:
    """Whether nobody is waited for any more."""
    pending = select(approvals.c.id).where(approvals.c.state == "pending")
    return approval_notices.c.approval.not_in(pending)


async def _groups(
    connection: AsyncConnection, due: ColumnElement[bool], *, webhook: bool, most: int
) -> builtins.list[dict[str, str]]:
    """What is due, the longest first, by what one batch has in common."""
    names = ("target", "portal", "approval") if webhook else ("target", "portal")
    columns = [approval_notices.c[name] for name in names]
    query = select(*columns).where(due).group_by(*columns).order_by(func.min(approval_notices.c.due_at)).limit(most)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def _told_at(connection: AsyncConnection, target: str, since: datetime) -> builtins.list[datetime]:
    """When an address has had mails since then, one after the other."""
    told = and_(approval_notices.c.target == target, approval_notices.c.told_at > to_stored(since))
    query = select(func.max(approval_notices.c.told_at)).where(told).group_by(approval_notices.c.batch)
    return sorted(from_stored(at) for at in (await connection.execute(query)).scalars())


async def _taken(
    connection: AsyncConnection, group: Mapping[str, str], now: datetime, lease: timedelta, full_until: datetime | None
) -> NoticeBatch:
    """The rows of a group that are due or were not tried yet, as a batch of this process."""
    id = f"msg_{secrets.token_hex(16)}"
    theirs = [approval_notices.c[name] == value for name, value in group.items()]
    ready = or_(approval_notices.c.due_at <= to_stored(now), approval_notices.c.tries == 0)
    query = select(approval_notices.c.approval, approval_notices.c.tries)
    query = query.where(*theirs, approval_notices.c.state == "waiting", ready)
    rows = (await connection.execute(query.order_by(approval_notices.c.due_at).limit(MAX_IN_BATCH))).all()
    ids = [row.approval for row in rows]
    chosen = and_(*theirs, approval_notices.c.approval.in_(ids), approval_notices.c.state == "waiting")
    values = {"batch": id, "tries": approval_notices.c.tries + 1, "due_at": to_stored(now + lease)}
    await connection.execute(update(approval_notices).where(chosen).values(**values))
    tries = 1 + max(row.tries for row in rows)
    return NoticeBatch(id, group["portal"], group["target"], tuple(ids), tries, full_until)
