"""The servers of one portal for the people who use it: those they may use, their logins, what they have turned off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from portal.elicitation.choices import Choices
from portal.elicitation.offered import Offered, ServerOnPage, shown_servers
from portal.elicitation.people import PeoplesLogins
from portal.elicitation.seen import new_servers
from portal.identity import Identity


@dataclass(frozen=True, slots=True)
class PeoplesServers:
    """`portal` is the id of the portal. `aclose` it before the store."""

    offered: Offered
    logins: PeoplesLogins
    choices: Choices
    portal: str

    async def aclose(self) -> None:
        await self.logins.aclose()

    async def of(self, identity: Identity) -> list[ServerOnPage]:
        """Those that a person may use, in the portal's order, with the state of their logins."""
        offered, logins = await self.offered(identity), await self.logins.of(identity)
        return shown_servers(offered, logins, await self.logins.connecting(identity), {}, self.logins.now())

    async def want_login(self, identity: Identity) -> bool:
        """Whether servers are known to want a login of this person, who has none at any."""
        logins, now = await self.logins.of(identity), self.logins.now()
        shown = shown_servers(await self.offered(identity), logins, (), {}, now)
        return any(server.asks for server in shown) and not any(server.can == "renew" for server in shown)

    def off(self, identity: Identity) -> frozenset[str]:
        """The servers that a person has turned off."""
        return self.choices.off(self.portal, identity.key)

    async def new_to(self, identity: Identity, shown: Collection[str]) -> frozenset[str]:
        """Those of the servers that are `shown` which came after this person had last looked."""
        return await new_servers(self.logins.store, self.portal, identity.key, shown)

    async def choose(self, identity: Identity, servers: Mapping[str, bool]) -> None:
        """Turn servers on (true) or off, by id.

        Raises:
            ValueError: too many would be off.
            StateUnavailable: it cannot be stored.
        """
        await self.choices.choose(self.portal, identity.key, servers)
