"""The answer of `/healthz`: that the portal is up, the state of its store and of each of its upstream servers."""

from typing import Any

from portal.servers import Snapshot
from portal.state import StoreHealth

MAX_REASON = 300


def status(store: StoreHealth | None) -> str:
    """The state of the whole portal. With its store in trouble it is still up: it goes on with what it knows, and a
    restart would lose that."""
    return "ok" if store in (None, "ok") else "degraded"


def health(snapshot: Snapshot, omissions: int = 0, store: StoreHealth | None = None) -> dict[str, Any]:
    """A JSON object. An upstream that is down does not make the portal unhealthy: it serves the others. `omissions` is
    the number of servers that are configured and not served, because they cannot be used. `store` is None for a portal
    without one."""
    return {
        "status": status(store),
        **({"store": store} if status(store) != "ok" else {}),
        **({"leftOut": omissions} if omissions else {}),
        "servers": {
            server.id: {
                "state": server.state,
                **({"reason": server.reason[:MAX_REASON]} if server.reason else {}),
                **({"codeMode": server.own_code_mode[:MAX_REASON]} if server.own_code_mode else {}),
                "transport": server.transport,
                "protocol": server.listing.protocol,
                "tools": len(server.tools),
                "prompts": len(server.prompts),
                "resources": len(server.resources),
                **({"skipped": server.listing.skipped_count} if server.listing.skipped_count else {}),
                **({"withheld": len(server.pending)} if server.pending else {}),
            }
            for server in snapshot.servers.values()
        },
    }
