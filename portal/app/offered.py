"""The servers that a person may use at one portal, for the page on which they log in to them."""

from __future__ import annotations

from collections.abc import Sequence

from portal.access import LiveAccess
from portal.elicitation import Offered, OfferedServer
from portal.identity import Identity
from portal.servers import Servers


def offered_servers(access: LiveAccess, servers: Servers) -> Offered:
    """The servers that the policies of this access let somebody use, as they are at the moment of asking."""

    async def offered(identity: Identity) -> Sequence[OfferedServer]:
        standing = await access.decide(identity)
        if standing is None or not standing.portal.allowed:
            return ()
        return [
            OfferedServer(
                server.id, server.name, server.description or "", server.config, answers=server.state == "ready"
            )
            for server in servers.snapshot.servers.values()
            if standing.server(server.id).allowed
        ]

    return offered
