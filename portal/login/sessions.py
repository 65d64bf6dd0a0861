"""Browser sessions: a random token in a cookie, only its hash in the store, and what signing out ends."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import AwareDatetime
from starlette.requests import Request
from starlette.responses import Response

from portal.http import PortalAddress, cookie_name, drop_cookie, read_cookie, write_cookie
from portal.identity import Identity
from portal.objects import Document, StoredIdentity
from portal.state import Kind, Tokens, utc_now

COOKIE = "portal_session"
EVERYWHERE = ("session", "code", "access", "refresh", "grant_use")
"""The kinds of tokens that a person holds, with what is noted of them. Signing out everywhere ends them."""


MAX_AGENT = 300


class SessionDocument(Document):
    """Somebody who signed in at the portal of this id, from an address, with a browser that calls itself so. What is of
    before these were kept has none of them."""

    identity: StoredIdentity
    portal: str = ""
    ip: str = ""
    agent: str = ""


SESSION = Kind("session", SessionDocument)


class PersonDocument(Document):
    """Somebody who has signed in: for the first time that is known, and the last time."""

    identity: StoredIdentity
    since: AwareDatetime
    last: AwareDatetime


PERSON = Kind("person", PersonDocument)
"""People who have signed in (`people`), known under the ids they have there."""


@dataclass(frozen=True, slots=True)
class HeldSession:
    """A session of a person, at one portal. `id` names it and opens nothing; it is "" where a session has none, which
    began before sessions had one. `groups` are the names of those that the identity provider said at the sign-in."""

    id: str
    portal: str
    ip: str
    agent: str
    since: datetime
    until: datetime
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoginSession:
    """Somebody signed in, in one browser at one portal, until `expires_at`. `binding` is what the forms of their pages
    are bound to: another one for every person, and for every time that one signs in."""

    identity: Identity
    since: datetime
    expires_at: datetime
    binding: str = field(default="", repr=False)


async def _nothing_runs() -> None:
    """No program was begun with these tokens."""


async def _nobody_is_noted(identity: Identity) -> None:
    """Nobody asks who has signed in."""


async def _nothing_is_kept(subject: str) -> None:
    """No identity provider's tokens are kept."""


class LoginSessions:
    """The sessions of the portal `portal`; `tokens` are those that it knows. `duration` is that of a session that names
    none. `note` is told of each person who signs in.

    `ended` returns when the programs and streams that a revoked token began have ended, or after a moment. `forget`
    deletes what is kept of the sign-ins of a person at identity providers.
    """

    def __init__(
        self,
        tokens: Tokens,
        duration: timedelta = timedelta(hours=24),
        now: Callable[[], datetime] = utc_now,
        ended: Callable[[], Awaitable[None]] = _nothing_runs,
        forget: Callable[[str], Awaitable[None]] = _nothing_is_kept,
        note: Callable[[Identity], Awaitable[None]] = _nobody_is_noted,
        portal: str = "",
    ) -> None:
        self._note = note
        self._portal = portal
        self._tokens = tokens
        self._ended = ended
        self._forget = forget
        self._duration = duration
        self._now = now

    async def begin(
        self,
        response: Response,
        request: Request,
        address: PortalAddress,
        identity: Identity,
        duration: timedelta | None = None,
        ip: str = "",
    ) -> None:
        """Sign in: always with a new token, and the browser's former session ends, so that nobody can plant one."""
        if former := read_cookie(request, COOKIE, address):
            await self._tokens.revoke(SESSION, former)
        token = secrets.token_urlsafe(32)
        lasts = duration or self._duration
        # Before the session: whoever has one is among those that an administrator sees.
        await self._note(identity)
        await self._tokens.issue(
            SESSION,
            token,
            subject=identity.id,
            family=str(uuid.uuid4()),
            document=SessionDocument(identity=identity, portal=self._portal, ip=ip, agent=_agent_of(request)),
            expires_at=self._now() + lasts,
        )
        write_cookie(response, COOKIE, token, address, max_age=int(lasts.total_seconds()))

    async def find(self, request: Request, address: PortalAddress) -> LoginSession | None:
        """The session of the browser that sends this request, or None if nobody is signed in there."""
        token = read_cookie(request, COOKIE, address)
        stored = await self._tokens.find(SESSION, token) if token else None
        if stored is None:
            return None
        identity = stored.document.identity
        binding = hashlib.sha256(f"session:{identity.key} {token}".encode()).hexdigest()
        return LoginSession(identity, stored.issued_at, stored.expires_at, binding)

    async def end(self, response: Response, request: Request, address: PortalAddress) -> None:
        """Sign this browser out of this portal."""
        if token := read_cookie(request, COOKIE, address):
            await self._tokens.revoke(SESSION, token)
        if cookie_name(COOKIE, address) in request.cookies:
            drop_cookie(response, COOKIE, address)

    async def of(self, identity: Identity) -> list[HeldSession]:
        """The sessions of this person, at all portals together, the newest first."""
        held = [
            HeldSession(
                one.family,
                one.document.portal,
                one.document.ip,
                one.document.agent,
                one.issued_at,
                one.expires_at,
                tuple(group.name or group.email or group.id for group in one.document.identity.groups),
            )
            for one in await self._tokens.list(SESSION, identity.id)
        ]
        return held[::-1]

    async def end_one(self, identity: Identity, id: str) -> HeldSession | None:
        """End a session of this person, at whatever portal. What it was; None if they have no such session."""
        found = next((one for one in await self.of(identity) if one.id == id), None) if id else None
        if found is not None:
            await self._tokens.revoke_family(id)
        return found

    async def count(self, identity: Identity) -> int:
        """How many browsers this person is signed in with, at all portals together."""
        return len(await self._tokens.list(SESSION, identity.id))

    async def end_everywhere(self, identity: Identity) -> int:
        """End all sessions and grants of a person, at every portal, in all browsers and agents; how many tokens. What
        is kept of their sign-ins at identity providers is deleted."""
        count = await self._tokens.revoke_subject(identity.id, kinds=EVERYWHERE)
        await self._forget(identity.id)
        await self.settled()
        return count

    async def settled(self) -> None:
        """Return when the programs and streams that a revoked token began have ended, or after a moment."""
        await self._ended()


def _agent_of(request: Request) -> str:
    """What the browser calls itself, as far as that is short and printable."""
    said = request.headers.get("user-agent", "")[:MAX_AGENT]
    return "".join(character for character in said if character.isprintable())
