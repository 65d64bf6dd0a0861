"""The servers of one portal for each of its people, as its endpoint asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from portal.elicitation import PeoplesServers
from portal.endpoint import PersonServer
from portal.identity import Identity


class PortalServers:
    """Implements `portal.endpoint.PersonServers`."""

    def __init__(self, servers: PeoplesServers) -> None:
        self._servers = servers

    def off(self, person: Identity | None) -> frozenset[str]:
        return self._servers.off(person) if person is not None and person.key else frozenset()

    async def of(self, person: Identity) -> Sequence[PersonServer]:
        off = self.off(person)
        return [
            PersonServer(
                id=one.id,
                name=one.name,
                description=one.description,
                enabled=one.id not in off,
                login=one.state,
                reason=one.reason,
                connected=one.connected,
                may_connect=bool(one.can),
            )
            for one in await self._servers.of(person)
        ]

    async def choose(self, person: Identity, servers: Mapping[str, bool]) -> None:
        await self._servers.choose(person, servers)

    def subscribe(self, listener: Callable[[str], object]) -> Callable[[], None]:
        def chosen(portal: str, subject: str) -> None:
            if portal == self._servers.portal:
                listener(subject)

        return self._servers.choices.subscribe(chosen)
