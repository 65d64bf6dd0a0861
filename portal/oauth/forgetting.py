"""Which clients are forgotten: those that registered themselves, and that nobody uses.

One that no person has ever allowed is forgotten after a day, one that was used after ninety days without a use. A
client with a living grant is kept, and so is every client that an administrator has made.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from portal.oauth.clients import BY, CLIENT, IDLE
from portal.oauth.uses import use_client
from portal.state import Store, Stored, Transaction

UNUSED_KEPT = timedelta(days=1)
BATCH = 100
# Strangers have made them as large as they liked: reading one may take milliseconds.
FORMER, FORMER_AT_ONCE = 500, 5


async def forget_clients(store: Store, now: datetime) -> int:
    """Forget the clients that nobody uses by now, and return how many those were."""
    await _take_over(store, now)
    count = 0
    while True:
        # A few at a time: meanwhile every other writer waits.
        async with store.transaction() as transaction:
            ids = await transaction.list_idle(IDLE, now - UNUSED_KEPT, BATCH)
            await transaction.forget(CLIENT, ids)
        count += len(ids)
        if len(ids) < BATCH:
            return count


async def _take_over(store: Store, now: datetime) -> None:
    """Reduce the clients of earlier versions to what is used, and count them as used now: uses were not noted then."""
    while True:
        async with store.transaction() as transaction:
            ids = await transaction.list_former(CLIENT, BY, FORMER)
        for start in range(0, len(ids), FORMER_AT_ONCE):
            async with store.transaction() as transaction:
                for id in ids[start : start + FORMER_AT_ONCE]:
                    await _take_over_one(transaction, id, now)
        if len(ids) < FORMER:
            return


async def _take_over_one(transaction: Transaction, id: str, now: datetime) -> None:
    found = await transaction.find(CLIENT, id)
    if isinstance(found, Stored):
        await transaction.replace(CLIENT, id, found.document, by=BY)
        await use_client(transaction, id, now)
    elif found is not None:
        # No client can use a registration that cannot be read.
        await transaction.forget(CLIENT, [id])
