"""Key rotation: a new key first, then every stored secret under it, in steps that may be interrupted anywhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import ColumnElement, Table, and_, func, select, update

from portal.state.database import Database
from portal.state.envelope import rewrap
from portal.state.errors import StateUnusable
from portal.state.keys import KeyRing
from portal.state.objects import CURRENT_KEY, current_kid
from portal.state.schema import approvals, credentials, facts, objects, run_calls, run_resumes, runs
from portal.state.trouble import DAMAGED

SEALED = (objects, credentials, runs, run_calls, run_resumes, approvals)
"""The tables with a secret in each row, and the id of the key that it is under."""
BATCH = 100


@dataclass(frozen=True, slots=True)
class Rotation:
    """`kid` is the current key now, `rewrapped` how many secrets were put under it, `resumed` whether this went on
    with a rotation that had been interrupted, `forgotten` the keys that are gone from the key file."""

    kid: str
    rewrapped: int
    resumed: bool
    forgotten: tuple[str, ...] = ()


Elsewhere: TypeAlias = Callable[[KeyRing, str], Awaitable[int]]
"""Puts secrets that are sealed with the same keys elsewhere under the key of this id. How many that were."""


async def rotate(database: Database, keys: KeyRing, *, forget: bool, elsewhere: Elsewhere | None = None) -> Rotation:
    """Go on with an interrupted rotation, or make a new key; put all secrets under it.

    Other processes may go on writing: which key is current is read from the database with each write. With `forget`
    the keys that no secret needs any more leave the file: copies of the database from before cannot be read then.
    """
    kid, resumed = await _begin(database, keys)
    rewrapped = 0
    for table in SEALED:
        while batch := await _rewrap_some(database, keys, table, kid):
            rewrapped += batch
    if elsewhere is not None:
        # Before anything is forgotten.
        rewrapped += await elsewhere(keys, kid)
    forgotten: tuple[str, ...] = ()
    if forget:
        async with database.writing() as connection:
            used = {await current_kid(connection)}
            for table in SEALED:
                found = await connection.execute(select(table.c.kid).distinct())
                used |= {kid for kid in found.scalars() if kid}
            forgotten = keys.keep_only(used)
    return Rotation(kid, rewrapped, resumed, forgotten)


async def _begin(database: Database, keys: KeyRing) -> tuple[str, bool]:
    async with database.writing() as connection:
        kid = await current_kid(connection)
        for table in SEALED:
            left = select(func.count()).select_from(table).where(_under_another(table, kid))
            if (await connection.execute(left)).scalar_one():
                return kid, True
        # The file has the key before the database names it: a kill in between leaves a key that nobody uses.
        kid = keys.add().kid
        await connection.execute(update(facts).where(facts.c.name == CURRENT_KEY).values(value=kid))
        return kid, False


async def _rewrap_some(database: Database, keys: KeyRing, table: Table, kid: str) -> int:
    primary = tuple(table.primary_key.columns)
    async with database.writing() as connection:
        query = select(*primary, table.c.secret).where(_under_another(table, kid)).limit(BATCH)
        rows = (await connection.execute(query)).all()
        for *found, secret in rows:
            sealed = rewrap(bytes(secret), keys.find, keys.find(kid))
            this = update(table).where(*(column == value for column, value in zip(primary, found, strict=True)))
            if (await connection.execute(this.values(secret=sealed, kid=kid))).rowcount != 1:
                # It would be found again for ever.
                raise StateUnusable(f"{database.name}: {DAMAGED[0]} (tables: {table.name})")
        return len(rows)


def _under_another(table: Table, kid: str) -> ColumnElement[bool]:
    return and_(table.c.kid.is_not(None), table.c.kid != kid)
