"""Key rotation: a new key first, then every stored secret under it, in steps that may be interrupted anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from portal.state.database import Database
from portal.state.envelope import rewrap
from portal.state.keys import KeyRing
from portal.state.objects import CURRENT_KEY
from portal.state.schema import facts, objects

BATCH = 100


@dataclass(frozen=True, slots=True)
class Rotation:
    """`kid` is the current key now, `rewrapped` how many secrets were put under it, `resumed` whether this went on
    with a rotation that had been interrupted, `forgotten` the keys that are gone from the key file."""

    kid: str
    rewrapped: int
    resumed: bool
    forgotten: tuple[str, ...] = ()


async def rotate(database: Database, keys: KeyRing, *, forget: bool) -> Rotation:
    """Go on with an interrupted rotation, or make a new key; put all secrets under it.

    Other processes may go on writing: which key is current is read from the database with each write. With `forget`
    the keys that no secret needs any more leave the file: copies of the database from before cannot be read then.
    """
    kid, resumed = await _begin(database, keys)
    rewrapped = 0
    while batch := await _rewrap_some(database, keys, kid):
        rewrapped += batch
    forgotten: tuple[str, ...] = ()
    if forget:
        async with database.writing() as connection:
            used = set((await connection.execute(select(objects.c.kid).distinct())).scalars()) - {None}
            forgotten = keys.keep_only({await current_kid(connection), *(kid for kid in used if kid)})
    return Rotation(kid, rewrapped, resumed, forgotten)


async def current_kid(connection: AsyncConnection) -> str:
    """The key new secrets are wrapped with."""
    kid: str = (await connection.execute(select(facts.c.value).where(facts.c.name == CURRENT_KEY))).scalar_one()
    return kid


async def _begin(database: Database, keys: KeyRing) -> tuple[str, bool]:
    async with database.writing() as connection:
        kid = await current_kid(connection)
        left = select(func.count()).select_from(objects).where(_under_another(kid))
        if (await connection.execute(left)).scalar_one():
            return kid, True
        # The file has the key before the database names it: a kill in between leaves a key that nobody uses.
        kid = keys.add().kid
        await connection.execute(update(facts).where(facts.c.name == CURRENT_KEY).values(value=kid))
        return kid, False


async def _rewrap_some(database: Database, keys: KeyRing, kid: str) -> int:
    async with database.writing() as connection:
        query = select(objects.c.kind, objects.c.id, objects.c.secret).where(_under_another(kid)).limit(BATCH)
        rows = (await connection.execute(query)).all()
        for row in rows:
            sealed = rewrap(bytes(row.secret), keys.find, keys.find(kid))
            this = update(objects).where(objects.c.kind == row.kind, objects.c.id == row.id)
            await connection.execute(this.values(secret=sealed, kid=kid))
        return len(rows)


def _under_another(kid: str) -> ColumnElement[bool]:
    return and_(objects.c.kid.is_not(None), objects.c.kid != kid)
