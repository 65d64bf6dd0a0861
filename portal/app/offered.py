"""The servers that a person may use at one portal, for the page on which they log in to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from portal.access import LiveAccess
from portal.elicitation import Offered, OfferedServer
from portal.identity import Identity
from portal.servers import Servers, ServerSnapshot


def offered_servers(access: LiveAccess, servers: Servers, for_all: Callable[[], Collection[str]]) -> Offered:
    """The servers that the policies of this access let somebody use, as they are at the moment of asking. `for_all` are
    those at which everybody uses the portal's own login."""

    async def offered(identity: Identity) -> Sequence[OfferedServer]:
        standing = await access.decide(identity)
        if standing is None or not standing.portal.allowed:
            return ()
        served_for_all = for_all()
        return [
            OfferedServer(
                server.id,
                server.name,
                server.description or "",
                server.config,
                asks=_asks(server),
                for_all=server.id in served_for_all,
            )
            for server in servers.snapshot.servers.values()
            if standing.server(server.id).allowed
        ]

    return offered


def _asks(server: ServerSnapshot) -> bool | None:
    """Whether a server has refused the portal's connection for want of a login; None if it did not say."""
    if server.state == "ready":
        return False
    return True if server.status == 401 else None
