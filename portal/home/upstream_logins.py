"""What signing out everywhere ends at upstream servers: a person's logins there, and their tokens at the authorization
servers that gave them.

A login is forgotten here first. Then its authorization server is asked to take its tokens back, which may take longer
than a person waits for a page: that goes on in the background, within bounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import structlog

from portal.config import HttpServer, ServerConfig
from portal.credentials import CredentialDocument, Outbound, SealedGrant, forget_login, stored_logins, take_back
from portal.identity import Identity
from portal.shares import Full
from portal.state import StateError, Store, StoredCredential
from portal.turns import FairTurns, Room

SHOWN_SECONDS = 4.0
"""How long a page waits for authorization servers."""
ASKED_SECONDS = 30.0
"""How long one authorization server is asked."""
AT_ONCE = Room(most=16, each=4, kept=4, few=1)
"""Logins whose authorization servers are asked at once; each of these has a part: one is slow for itself alone."""
WAITING_SECONDS = 300.0

Outcome = Literal["taken_back", "not_taken_back", "under_way", "kept"]
FindServer = Callable[[str], ServerConfig | None]


@dataclass(frozen=True, slots=True)
class EndedLogin:
    """A login at a server that was ended, and what its authorization server, at `issuer`, has done with its tokens.

    `taken_back`: they are good no longer. `not_taken_back`: the portal has forgotten them, and they end by themselves.
    `under_way`: the same, and it is still being asked. `kept`: the login could not be ended.
    """

    server: str
    issuer: str
    outcome: Outcome


class UpstreamLogins:
    """The logins of people at upstream servers. `find` gives the configuration of a server, None if it has none now.

    Close it before its store: what is under way then ends.
    """

    def __init__(self, store: Store, find: FindServer) -> None:
        self._store = store
        self._find = find
        self._asking: set[asyncio.Task[bool]] = set()
        self._turns = FairTurns(AT_ONCE)
        self._log = structlog.get_logger("portal.home")

    async def aclose(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def of(self, identity: Identity) -> Sequence[StoredCredential[CredentialDocument]]:
        """The logins of a person. Nobody's are those of the portal itself, which no person ends here."""
        return await stored_logins(self._store, subject=identity.key) if identity.key else ()

    def names(self, logins: Sequence[StoredCredential[CredentialDocument]]) -> list[str]:
        """What people call the servers of these logins, each once."""
        return sorted({self._name(stored) for stored in logins})

    async def end(self, identity: Identity) -> tuple[EndedLogin, ...]:
        """End every login of a person. Returns within seconds, with what is known by then."""
        asked: list[tuple[StoredCredential[CredentialDocument], asyncio.Task[bool] | None]] = []
        # All are forgotten before anybody is asked: the slowest authorization server keeps none of them.
        for stored in await self.of(identity):
            try:
                grant = await forget_login(self._store, stored)
            except StateError as error:
                self._log.error("a login could not be ended", server=stored.key.server, reason=str(error))
                asked.append((stored, None))
            else:
                asked.append((stored, self._ask(stored, grant)))
        if tasks := [task for _, task in asked if task is not None]:
            await asyncio.wait(tasks, timeout=SHOWN_SECONDS)
        return tuple(
            EndedLogin(self._name(stored), _host(stored.key.issuer), _outcome(task))
            for stored, task in sorted(asked, key=lambda one: one[0].key.server)
        )

    def _ask(self, stored: StoredCredential[CredentialDocument], grant: SealedGrant | None) -> asyncio.Task[bool]:
        """Begin to ask the authorization server of a forgotten login."""
        task = asyncio.create_task(self._take_back(stored, grant), name=f"end of a login at {stored.key.server}")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return task

    async def _take_back(self, stored: StoredCredential[CredentialDocument], grant: SealedGrant | None) -> bool:
        """Whether the authorization server has taken the tokens back."""
        found = self._find(stored.key.server)
        oauth = found.oauth if isinstance(found, HttpServer) else None
        issuer = stored.key.issuer
        try:
            await self._turns.take(issuer, WAITING_SECONDS)
            try:
                async with (
                    asyncio.timeout(ASKED_SECONDS),
                    Outbound.allowed_by(oauth, stored.key.resource) as outbound,
                ):
                    return bool(await take_back(stored, grant, outbound, oauth))
            finally:
                self._turns.give_back(issuer)
        except (TimeoutError, Full):
            self._log.warning("a token was not taken back in time", server=stored.key.server)
            return False

    def _name(self, stored: StoredCredential[CredentialDocument]) -> str:
        """What people call the server."""
        found = self._find(stored.key.server)
        return found.name if found is not None else stored.key.server


def _outcome(task: asyncio.Task[bool] | None) -> Outcome:
    if task is None:
        return "kept"
    if not task.done():
        return "under_way"
    return "taken_back" if not task.cancelled() and task.exception() is None and task.result() else "not_taken_back"


def _host(issuer: str) -> str:
    """The host of an issuer, "" for what is none. It comes from a server's metadata, and is shown to a person."""
    try:
        host = urlsplit(issuer).hostname or ""
    except ValueError:
        return ""
    return host if host.isprintable() else ""
