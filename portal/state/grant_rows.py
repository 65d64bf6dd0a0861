"""Remembered approvals, as rows: so many further calls of a tool by a person need none until an end."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, RowMapping, and_, case, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state.approval_row import APPROVAL_GRANTS, ApprovalGrant
from portal.state.clock import Clock, from_stored, to_stored
from portal.state.documents import check_name
from portal.state.schema import approval_grants, named
from portal.state.tokens import OpenWriting, Reading

MAX_LISTED = 1000
_TEXTS = ("portal", "subject", "client", "run", "server", "tool", "policy")


class GrantRows:
    """The remembered approvals of a store. Every one that is made or revoked is told to its subscribers."""

    def __init__(self, reading: Reading, writing: OpenWriting, clock: Clock) -> None:
        self._reading = reading
        self._writing = writing
        self._clock = clock

    async def list(self, *, portal: str | None = None, subject: str = "") -> Sequence[ApprovalGrant]:
        """Those that hold now, newest first, at most `MAX_LISTED`."""
        query = select(approval_grants).where(_holds(to_stored(self._clock())))
        if portal is not None:
            query = query.where(named(approval_grants.c.portal, portal))
        if subject:
            query = query.where(named(approval_grants.c.subject, subject))
        async with self._reading() as connection:
            rows = await connection.execute(query.order_by(approval_grants.c.created_at.desc()).limit(MAX_LISTED))
            return [_row(row) for row in rows.mappings()]

    async def get(self, id: str) -> ApprovalGrant | None:
        async with self._reading() as connection:
            found = await connection.execute(select(approval_grants).where(named(approval_grants.c.id, id)))
            row = found.mappings().first()
        return None if row is None else _row(row)

    async def use(self, like: ApprovalGrant) -> str | None:
        """The id of a grant that holds for this person, client, run, server, tool and revision of the policy, used once
        more; None if there is none."""
        fits = _fits(like, to_stored(self._clock()))
        async with self._reading() as connection:
            if (await connection.execute(select(approval_grants.c.id).where(fits).limit(1))).first() is None:
                return None
        left = approval_grants.c.uses_left
        async with self._writing() as (connection, _):
            # Those without bound first, then those that end soonest: what is bounded is kept.
            order = (case((left.is_(None), 0), else_=1), approval_grants.c.until)
            query = select(approval_grants.c.id).where(fits).order_by(*order).limit(1)
            id = (await connection.execute(query)).scalar()
            if id is None:
                return None
            used = update(approval_grants).where(approval_grants.c.id == id, fits).values(uses_left=left - 1)
            return str(id) if (await connection.execute(used)).rowcount == 1 else None

    async def revoke(self, id: str) -> bool:
        """Whether there was one, which is gone."""
        async with self._writing() as (connection, changed):
            gone = delete(approval_grants).where(named(approval_grants.c.id, id))
            if (await connection.execute(gone)).rowcount != 1:
                return False
            changed.add(APPROVAL_GRANTS)
            return True

    async def purge(self) -> None:
        """Delete those that do not hold any more."""
        now = to_stored(self._clock())
        over = or_(approval_grants.c.until <= now, approval_grants.c.uses_left <= 0)
        async with self._writing() as (connection, _):
            await connection.execute(delete(approval_grants).where(over))


async def insert_grant(connection: AsyncConnection, grant: ApprovalGrant) -> None:
    """Make this grant in the transaction of the decision that makes it."""
    texts = {name: check_name(getattr(grant, name), name) for name in _TEXTS}
    await connection.execute(
        insert(approval_grants).values(
            **texts,
            id=check_name(grant.id),
            policy_revision=grant.policy_revision,
            expression="",
            uses_left=grant.uses_left,
            until=to_stored(grant.until),
            granted_by=check_name(grant.granted_by, "granted_by"),
            created_at=to_stored(grant.created_at),
        )
    )


def _holds(now: int) -> ColumnElement[bool]:
    left = approval_grants.c.uses_left
    return and_(approval_grants.c.until > now, or_(left.is_(None), left > 0))


def _fits(like: ApprovalGrant, now: int) -> ColumnElement[bool]:
    same = [named(approval_grants.c[name], getattr(like, name)) for name in _TEXTS if name != "run"]
    runs = or_(approval_grants.c.run == "", named(approval_grants.c.run, like.run))
    return and_(*same, runs, approval_grants.c.policy_revision == like.policy_revision, _holds(now))


def _row(row: RowMapping) -> ApprovalGrant:
    return ApprovalGrant(
        id=row["id"],
        portal=row["portal"],
        subject=row["subject"],
        client=row["client"],
        run=row["run"],
        server=row["server"],
        tool=row["tool"],
        policy=row["policy"],
        policy_revision=row["policy_revision"],
        uses_left=row["uses_left"],
        until=from_stored(row["until"]),
        granted_by=row["granted_by"],
        created_at=from_stored(row["created_at"]),
    )
