"""The servers of a person with their states, as the home page lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.elicitation import Offered, PeoplesLogins, ServerOnPage, shown_servers
from portal.identity import Identity


@dataclass(frozen=True, slots=True)
class PersonsServers:
    """The servers of people at one portal: those that the policies let them use, and their logins there."""

    offered: Offered
    logins: PeoplesLogins

    async def of(self, identity: Identity) -> Sequence[ServerOnPage]:
        """Those of a person, first those that need something of them."""
        offered = await self.offered(identity)
        logins, connecting = await self.logins.of(identity), await self.logins.connecting(identity)
        shown = shown_servers(offered, logins, connecting, {}, self.logins.now())
        return sorted(shown, key=lambda server: server.connected)
