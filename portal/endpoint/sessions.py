"""The clients of the 2025 protocol versions, which have a session: what the portal remembers of each until it ends.

Clients of 2026-07-28 have none, every request of theirs says who they are and what they can.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ServerEvent
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from portal.upstream import Client

_STATE = "portal"


@dataclass(slots=True, eq=False)
class Session:
    """One downstream session. `client.key` is its id, never shown to upstreams or in errors."""

    connection: Connection
    client: Client
    log_level: str | None = None
    subscriptions: set[str] = field(default_factory=set)
    untold: dict[ServerEvent, None] = field(default_factory=dict)
    telling: bool = False


class Sessions:
    """All open sessions. `on_end` is called once for each that ends, whichever way."""

    def __init__(self, on_end: Callable[[Session], None]) -> None:
        self._open: dict[str, Session] = {}
        self._on_end = on_end

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def of(self, ctx: ServerRequestContext[Any, Any]) -> Session | None:
        """The session of a request, entered in the book at its first; None for a client that has none."""
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return None
        connection = _connection(ctx)
        session = connection.state.get(_STATE)
        if session is None and connection.session_id is not None and connection.client_params is not None:
            session = self._enter(connection, connection.session_id)
        return session

    def _enter(self, connection: Connection, key: str) -> Session:
        params = connection.client_params
        assert params is not None
        info = params.client_info.model_dump(by_alias=True, mode="json", exclude_none=True)
        capabilities = params.capabilities.model_dump(by_alias=True, mode="json", exclude_none=True)
        session = Session(connection, Client(key=key, info=info, capabilities=capabilities))
        connection.state[_STATE] = self._open[key] = session
        connection.exit_stack.callback(self._end, key)
        return session

    def _end(self, key: str) -> None:
        session = self._open.pop(key, None)
        if session is not None:
            self._on_end(session)


def _connection(ctx: ServerRequestContext[Any, Any]) -> Connection:
    """The connection behind a request. The SDK has no public way to it, nor another hook for the end of a session."""
    return ctx.session._connection
