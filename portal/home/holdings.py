"""What people have begun at all portals of an instance, and its end: browser sessions, agents, logins at servers.

A person ends it on their pages, an administrator over the admin API: both here, so that both end the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from portal.credentials import forget_sign_ins
from portal.home.upstream_logins import EndedLogin, FindServer, UpstreamLogins
from portal.identity import Identity
from portal.login import SESSION, LoginSessions
from portal.oauth import REFRESH, Grants, HeldGrant, HeldGrants, Uses
from portal.state import Clock, Store, utc_now


@dataclass(frozen=True, slots=True)
class Ended:
    """What signing out everywhere has ended: so many browsers, these agents, logins at servers, and so many programs
    that were under way in this process."""

    browsers: int
    agents: tuple[HeldGrant, ...]
    servers: tuple[EndedLogin, ...]
    programs: int = 0

    @property
    def logins(self) -> int:
        """How many logins at servers have ended."""
        return sum(one.outcome != "kept" for one in self.servers)


async def _at_once() -> None:
    """Nothing in this process was begun with a login."""


def _no_programs(identity: Identity) -> int:
    """Nothing runs in this process."""
    return 0


async def held_since(store: Store) -> list[tuple[Identity, datetime]]:
    """Who holds a session or an agent, and since when, for each of these."""
    sessions = [(one.document.identity, one.issued_at) for one in await store.tokens.list(SESSION)]
    return sessions + [(one.document.identity, one.issued_at) for one in await store.tokens.list(REFRESH)]


class Holdings:
    """`programs` says how many programs of a person are under way. Close it before its store."""

    def __init__(
        self,
        sessions: LoginSessions,
        agents: HeldGrants,
        logins: UpstreamLogins,
        programs: Callable[[Identity], int] = _no_programs,
    ) -> None:
        self.sessions = sessions
        self.agents = agents
        self.logins = logins
        self._programs = programs
        self._log = structlog.get_logger("portal.home")

    @classmethod
    def over(
        cls,
        store: Store,
        now: Clock = utc_now,
        *,
        ended: Callable[[], Awaitable[None]] = _at_once,
        find_server: FindServer = lambda id: None,
        programs: Callable[[Identity], int] = _no_programs,
    ) -> Holdings:
        """Those in this store. `ended` returns when what a revoked login began has ended in this process."""
        sessions = LoginSessions(store.tokens, now=now, ended=ended, forget=partial(forget_sign_ins, store))
        agents = HeldGrants(store, Grants(store, now), Uses(store, now), "")
        return cls(sessions, agents, UpstreamLogins(store, find_server), programs)

    async def aclose(self) -> None:
        await self.logins.aclose()

    async def end(self, identity: Identity) -> Ended:
        """End all that this person has begun at every portal, and say what that was."""
        agents = await self.agents.of(identity, everywhere=True)
        browsers, programs = await self.sessions.count(identity), self._programs(identity)
        # First those who could begin something new at a server.
        await self.sessions.end_everywhere(identity)
        servers = await self.logins.end(identity)
        self._log.info("signed out everywhere", who=identity.key, agents=len(agents), servers=len(servers))
        return Ended(browsers, tuple(agents), servers, programs)
