"""When grants were last used, as far as their tokens do not say it.

Each refresh stores a new token, and its age says when the grant was last used. A client whose access token lives longer
than an hour refreshes seldom. For it the time is noted, in the background and once an hour, so that no request waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog
from pydantic import AwareDatetime

from portal.bounded import Bounded
from portal.identity import Identity
from portal.oauth.grants import GrantDocument
from portal.objects import Document
from portal.state import Kind, StateError, Store, Token, utc_now

NOTED_EVERY = timedelta(hours=1)
MAX_NOTED = 20_000


class UseDocument(Document):
    """When a grant was last used."""

    at: AwareDatetime


# Known under the family of the grant, which is no secret and opens nothing.
GRANT_USE = Kind("grant_use", UseDocument)


class Uses:
    """Notes the uses of access tokens at one portal. Close it before its store."""

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._noted: Bounded[str, datetime] = Bounded(MAX_NOTED)
        self._writing: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("portal.oauth")

    def note(self, token: Token[GrantDocument]) -> None:
        """An access token was shown now."""
        now, noted = self._now(), self._noted.get(token.family)
        known = token.issued_at if noted is None else max(noted, token.issued_at)
        if not token.family or now - known < NOTED_EVERY:
            return
        self._noted[token.family] = now
        writing = asyncio.create_task(self._write(token, now), name="use of a grant")
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
