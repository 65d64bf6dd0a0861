"""The servers of one portal for each of its people: what they may use, their logins, and what they have turned off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from portal.access import LiveAccess
from portal.app.offered import offered_servers
from portal.elicitation import Choices, PeoplesLogins, shown_servers
from portal.endpoint import OwnServer
from portal.identity import Identity
from portal.servers import Servers
from portal.state import Clock


class PortalServers:
    """Implements `portal.endpoint.PersonServers`. `portal` is the portal's id."""

    def __init__(
        self, portal: str, access: LiveAccess, servers: Servers, logins: PeoplesLogins, choices: Choices, now: Clock
    ) -> None:
        self._portal = portal
        self._offered = offered_servers(access, servers)
        self._logins = logins
        self._choices = choices
        self._now = now

    def off(self, person: Identity | None) -> frozenset[str]:
        return self._choices.off(self._portal, person.key) if person is not None and person.key else frozenset()

    async def of(self, person: Identity) -> Sequence[OwnServer]:
        offered, off = await self._offered(person), self.off(person)
        logins, connecting = await self._logins.of(person), await self._logins.connecting(person)
        return [
            OwnServer(
                id=one.id,
                name=one.name,
                description=one.description,
                enabled=one.id not in off,
                login=one.state,
                reason=one.reason,
                connected=one.connected,
            )
            for one in shown_servers(offered, logins, connecting, {}, self._now())
        ]

    async def choose(self, person: Identity, servers: Mapping[str, bool]) -> None:
        await self._choices.choose(self._portal, person.key, servers)

    def subscribe(self, listener: Callable[[str], object]) -> Callable[[], None]:
        def chosen(portal: str, subject: str) -> None:
            if portal == self._portal:
                listener(subject)

        return self._choices.subscribe(chosen)
