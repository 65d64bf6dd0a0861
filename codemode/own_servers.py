"""`codemode.portal` inside a program: the servers of the portal for its person, which the host knows.

What a program can call is fixed when it begins, so what it turns on or connects is there for the next one.
"""

from __future__ import annotations

from functools import partial

from codemode.errors import CatalogError
from codemode.handle import RunHandle
from sandbox import HostCall, Settlement

FUNCTIONS = ("portal.servers", "portal.enable", "portal.disable", "portal.connect")
_MOST_ID_CHARS = 200


class ServerCalls:
    """Serves `codemode.portal` for one run."""

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle

    async def settle(self, call: HostCall, argument: object) -> Settlement:
        """The answer to a call of one of `FUNCTIONS`. Raises CatalogError for wrong ids."""
        servers = self._handle.servers
        if servers is None:
            raise CatalogError("nobody signs in here, so all servers are there for everybody")
        if call.name == "portal.servers":
            return Settlement.value(call.id, await servers.servers())
        if not isinstance(argument, str) or not 0 < len(argument) <= _MOST_ID_CHARS:
            raise CatalogError(f"takes the id of a server, got {argument!r:.100}")
        if call.name == "portal.disable":
            await servers.choose(argument, on=False)
            return Settlement.value(call.id, None)
        if call.name == "portal.enable":
            await servers.choose(argument, on=True)
        is_connected = await servers.connect(argument, partial(self._handle.waits.wait, call.id))
        return Settlement.value(call.id, is_connected)
