"""When grants were last used, as far as their tokens do not say it, and clients that registered themselves.

Each refresh stores a new token, and its age says when the grant was last used. A client whose access token lives longer
than an hour refreshes seldom. For it the time is noted, in the background and once an hour, so that no request waits.

A client is used when a person allows it, and when it gets tokens. That is noted in the background too, once a day, and
known for as long as a client is kept that is not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta

import structlog
from pydantic import AwareDatetime

from portal.bounded import Bounded
from portal.identity import Identity
from portal.oauth.grants import GrantDocument
from portal.objects import Document
from portal.state import Kind, StateError, Store, Token, Transaction, utc_now

NOTED_EVERY = timedelta(hours=1)
MAX_NOTED = 20_000
CLIENT_NOTED_EVERY = timedelta(days=1)
CLIENT_KEPT = timedelta(days=90)
"""How long a client that registered itself is kept after its last use."""


class UseDocument(Document):
    """When a grant was last used."""

    at: AwareDatetime


# Known under the family of the grant, which is no secret and opens nothing.
GRANT_USE = Kind("grant_use", UseDocument)


# Known under the id of the client. It ends when the client was not used for as long as it is kept.
CLIENT_USE = Kind("client_use", UseDocument)


class Uses:
    """Notes the uses of access tokens and clients at one portal. Close it before its store."""

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._noted: Bounded[str, datetime] = Bounded(MAX_NOTED)
        self._clients: Bounded[str, datetime] = Bounded(MAX_NOTED)
        self._writing: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("portal.oauth")

    def note(self, token: Token[GrantDocument]) -> None:
        """An access token was shown now."""
        now, noted = self._now(), self._noted.get(token.family)
        known = token.issued_at if noted is None else max(noted, token.issued_at)
        if not token.family or now - known < NOTED_EVERY:
            return
        self._noted[token.family] = now
        self._begin(self._write(token, now), "use of a grant")

    def note_client(self, client_id: str) -> None:
        """A registered client was used now."""
        now, noted = self._now(), self._clients.get(client_id)
        if noted is not None and now - noted < CLIENT_NOTED_EVERY:
            return
        self._clients[client_id] = now
        self._begin(self._write_client(client_id, now), "use of a client")

    def _begin(self, work: Coroutine[None, None, None], name: str) -> None:
        writing = asyncio.create_task(work, name=name)
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def by_family(self, identity: Identity) -> Mapping[str, datetime]:
        """The uses of a person's grants that were noted."""
        return {use.family: use.document.at for use in await self._store.tokens.list(GRANT_USE, identity.id)}

    async def settled(self) -> None:
        """Return when what was noted is stored."""
        await asyncio.gather(*self._writing)

    async def _write(self, token: Token[GrantDocument], at: datetime) -> None:
        try:
            async with self._store.transaction() as transaction:
                await transaction.tokens.revoke(GRANT_USE, token.family)
                await transaction.tokens.issue(
                    GRANT_USE,
                    token.family,
                    subject=token.subject,
                    client=token.client,
                    family=token.family,
                    document=UseDocument(at=at),
                    expires_at=token.document.until,
                )
        except StateError as error:
            # Another process may have noted it at the same moment. If not, the next use is noted.
            self._noted.pop(token.family)
            self._log.debug("the use of a grant was not noted", reason=str(error))

    async def _write_client(self, client_id: str, at: datetime) -> None:
        try:
            async with self._store.transaction() as transaction:
                await use_client(transaction, client_id, at)
        except StateError as error:
            self._clients.pop(client_id)
            self._log.debug("the use of a client was not noted", reason=str(error))


async def use_client(transaction: Transaction, client_id: str, at: datetime) -> None:
    """Note that a client was used then."""
    await transaction.tokens.revoke(CLIENT_USE, client_id)
    await transaction.tokens.issue(
        CLIENT_USE,
        client_id,
        subject="",
        client=client_id,
        document=UseDocument(at=at),
        expires_at=at + CLIENT_KEPT,
    )
