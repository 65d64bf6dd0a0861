"""Who has signed in: one small row for each identity, written at its sign-in, so that nobody has to search the log.

A row is a token of the store that opens nothing: it is known under the id of the person, and forgotten when they have
not signed in for `KEPT`, or when more than `MOST` others have since. Local accounts are people too, before they have
signed in at all.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from portal.identity import Identity
from portal.login.administrators import ADMINISTRATOR, IDP, AccountDocument
from portal.login.sessions import PERSON, PersonDocument
from portal.state import AlreadyExists, Store, Stored, Transaction, utc_now

KEPT = timedelta(days=400)
MOST = 10_000
_NAMESPACE = uuid.UUID("5b0a6b3e-52b2-4c1c-9a51-0d3f4b2f8e11")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has signed in, or has a local account. `identity` is what is kept of them: no groups, no claims.

    `since` is their first sign-in that is known, or when their account was made; `last` the last one, None without.
    """

    id: str
    identity: Identity
    since: datetime
    last: datetime | None


def person_id(identity: Identity) -> str:
    """The stable id of a person, for URLs: an identity's own may have any characters."""
    return str(uuid.uuid5(_NAMESPACE, identity.id))


class People:
    """The people of an instance. What is here is the same for every portal."""

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store.scoped("")
        self._now = now

    async def note(self, identity: Identity) -> None:
        """This person signs in now."""
        now = self._now()
        try:
            async with self._store.transaction() as transaction:
                found = await transaction.tokens.find(PERSON, person_id(identity))
                since = now if found is None else found.document.since
                await transaction.tokens.revoke(PERSON, person_id(identity))
                await self._write(transaction, identity, since, now)
        except AlreadyExists:
            # They have signed in twice at once, and are noted.
            return

    async def adopt(self, held: Sequence[tuple[Identity, datetime]]) -> int:
        """Note people who hold something since a time, and of whom no sign-in was noted: how many."""
        known = {found.subject for found in await self._store.tokens.list(PERSON)}
        missing = {identity.id: (identity, since) for identity, since in held if identity.id not in known}
        for identity, since in missing.values():
            try:
                async with self._store.transaction() as transaction:
                    await self._write(transaction, identity, since, since)
            except AlreadyExists:
                continue
        return len(missing)

    async def trim(self) -> int:
        """Forget those whose last sign-in is longest ago, where there are more than `MOST`: how many."""
        return await self._store.tokens.keep_newest(PERSON, MOST)

    async def list(self) -> list[Person]:
        """Everybody, the last who signed in first."""
        rows = {found.subject: found.document for found in await self._store.tokens.list(PERSON)}
        people = [Person(person_id(one.identity), one.identity, one.since, one.last) for one in rows.values()]
        for stored in await self._store.list(ADMINISTRATOR):
            identity = _of_account(stored)
            if identity.id not in rows:
                people.append(Person(person_id(identity), identity, stored.created_at, None))
        return sorted(people, key=lambda one: (one.last is not None, one.last or one.since), reverse=True)

    async def find(self, id: str) -> Person | None:
        """The person of this id."""
        found = await self._store.tokens.find(PERSON, id)
        if found is not None:
            document = found.document
            return Person(id, document.identity, document.since, document.last)
        return next((one for one in await self.list() if one.id == id), None)

    async def known(self, key: str) -> Identity | None:
        """Who has this key (`Identity.key`), read without a search; None for nobody who is known."""
        scheme, _, id = key.partition(":")
        if scheme == IDP:
            stored = await self._store.find(ADMINISTRATOR, id)
            return _of_account(stored) if isinstance(stored, Stored) else None
        found = await self._store.tokens.find(PERSON, person_id(Identity(id=key)))
        return found.document.identity if found is not None else None

    async def _write(self, transaction: Transaction, identity: Identity, since: datetime, last: datetime) -> None:
        kept = Identity(
            id=identity.id,
            email=identity.email,
            name=identity.name,
            idp_id=identity.idp_id,
            idp_type=identity.idp_type,
            login_method=identity.login_method,
        )
        await transaction.tokens.issue(
            PERSON,
            person_id(identity),
            subject=identity.id,
            document=PersonDocument(identity=kept, since=since, last=last),
            expires_at=self._now() + KEPT,
        )


def _of_account(stored: Stored[AccountDocument]) -> Identity:
    """The person who has this local account."""
    return Identity(
        id=f"{IDP}:{stored.id}",
        email=stored.document.email,
        name=stored.document.name,
        idp_id=IDP,
        idp_type=IDP,
        login_method=IDP,
    )
