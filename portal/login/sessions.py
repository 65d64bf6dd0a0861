"""Browser sessions: a random token in a cookie, only its hash in the store, and what signing out ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from portal.http import cookie_name, drop_cookie, read_cookie, write_cookie
from portal.identity import Identity, identity_document, identity_from
from portal.pages import Visitor
from portal.state import Tokens, utc_now

COOKIE = "portal_session"
KIND = "session"
EVERYWHERE = ("session", "code", "access", "refresh")
"""What a person holds: signing out everywhere ends these kinds of tokens."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody signed in, in one browser, until `expires_at`."""

    identity: Identity
    since: datetime
    expires_at: datetime


class Sessions:
    """Begins, finds and ends sessions of `duration`."""

    def __init__(
        self, tokens: Tokens, duration: timedelta = timedelta(hours=24), now: Callable[[], datetime] = utc_now
    ) -> None:
        self._tokens = tokens
        self._duration = duration
        self._now = now

    async def begin(
        self,
        response: Response,
        visitor: Visitor,
        identity: Identity,
        request: Request,
        duration: timedelta | None = None,
    ) -> None:
        """Sign in: always a new token, and the browser's former session ends, so that none can be planted."""
        if former := self._presented(request, visitor.origin):
            await self._tokens.revoke(KIND, former)
        token = secrets.token_urlsafe(32)
        lasts = duration or self._duration
        await self._tokens.issue(
            KIND,
            token,
            subject=identity.id,
            document={"identity": identity_document(identity)},
            expires_at=self._now() + lasts,
        )
        write_cookie(response, COOKIE, token, visitor.origin, max_age=int(lasts.total_seconds()))

    async def find(self, request: Request, origin: str) -> Session | None:
        presented = self._presented(request, origin)
        found = await self._tokens.find(KIND, presented) if presented else None
        if found is None:
            return None
        return Session(identity_from(found.document["identity"]), found.issued_at, found.expires_at)

    async def end(self, response: Response, request: Request, origin: str) -> None:
        """Sign this browser out."""
        if presented := self._presented(request, origin):
            await self._tokens.revoke(KIND, presented)
        if cookie_name(COOKIE, origin) in request.cookies:
            drop_cookie(response, COOKIE, origin)

    async def end_everywhere(self, identity: Identity) -> int:
        """End every session and grant of a person, in all browsers and agents; how many tokens that were."""
        return await self._tokens.revoke_subject(identity.id, kinds=EVERYWHERE)

    def _presented(self, request: Request, origin: str) -> str:
        return read_cookie(request, COOKIE, origin)
