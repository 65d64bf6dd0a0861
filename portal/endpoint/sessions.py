"""The clients of the 2025 protocol versions, which have a session: what the portal remembers of each until it ends.

Clients of 2026-07-28 have none, every request of theirs says who they are and what they can.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.server.subscriptions import ServerEvent
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from portal.endpoint.aggregate import Aggregate, Target
from portal.identity import Identity, identity_of, principal_of
from portal.sdk import connection_of
from portal.upstream import Client

_STATE = "portal"


@dataclass(slots=True, eq=False)
class Session:
    """One downstream session. `client.key` is its id, never shown to upstreams or in errors."""

    connection: Connection
    client: Client
    log_level: str | None = None
    # What it watches: the URI its client knows, and whose it is.
    subscriptions: dict[str, Target] = field(default_factory=dict)
    untold: dict[ServerEvent, None] = field(default_factory=dict)
    telling: bool = False
    # Requests answered without the SDK (`express`), by JSON-RPC id; None instead of the task once it is cancelled.
    runs: dict[str | int, asyncio.Task[Any] | None] = field(default_factory=dict)
    identity: str = ""
    principal: Identity | None = None
    # What its client was last told of: the lists of this aggregate.
    told: Aggregate | None = None
    heard: float = 0.0
    # The client has ended it, and was told so; what it held is given back a moment later.
    over: bool = False

    def cancel(self, request_id: str | int) -> None:
        """The client cancels a request, or the session ends."""
        task = self.runs.get(request_id)
        if task is not None:
            self.runs[request_id] = None
            task.cancel()

    def cancelled(self, request_id: str | int) -> bool:
        return request_id in self.runs and self.runs[request_id] is None


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
        connection = connection_of(ctx)
        session = connection.state.get(_STATE)
        if session is None and connection.session_id is not None and connection.client_params is not None:
            session = self._enter(connection, connection.session_id)
            session.identity = identity_of(scope_of(ctx))
        if session is not None:
            session.heard = time.monotonic()
            session.principal = principal_of(scope_of(ctx))
        return session

    def ready(self, key: str, version: str, identity: str, idle: float) -> Session | None:
        """An open session whose requests may be answered without the SDK.

        That is not so for one of another identity or protocol version, for a client that may be asked something in
        the middle of a call, and from time to time: the SDK ends sessions it has not heard of for `idle` seconds.
        """
        session = self._open.get(key)
        if (
            session is None
            or session.over
            or session.identity != identity
            or session.connection.protocol_version != version
        ):
            return None
        if session.client.interactive or time.monotonic() - session.heard > idle / 4:
            return None
        return session

    def of_another(self, scope: Scope) -> bool:
        """Whether a request names a session that somebody else has opened."""
        session = self._open.get(Headers(scope=scope).get(MCP_SESSION_ID_HEADER, ""))
        return session is not None and session.identity != identity_of(scope)

    def told_of_its_end(self, scope: Scope, send: Send) -> Send:
        """`send` for a DELETE of a session: once it says yes, no further request of that session is answered."""
        key = Headers(scope=scope).get(MCP_SESSION_ID_HEADER, "")

        async def telling(message: Message) -> None:
            session = self._open.get(key)
            if message["type"] == "http.response.start" and message["status"] < 300 and session is not None:
                session.over = True
            await send(message)

        return telling

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
            for request_id in tuple(session.runs):
                session.cancel(request_id)
            self._on_end(session)


def scope_of(ctx: ServerRequestContext[Any, Any]) -> Scope | None:
    """The ASGI scope of the HTTP request behind an MCP request."""
    return ctx.request.scope if ctx.request is not None else None
