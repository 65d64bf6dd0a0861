"""The sessions of clients of the 2025 protocol versions, and what the portal keeps for each until it ends.

Clients of 2026-07-28 have no session: each of their requests says who they are and what they can do.
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
from portal.identity import Identity, key_of, principal_of
from portal.sdk import connection_of
from portal.upstream import DownstreamClient

_STATE = "portal"


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """A resource that a client watches, once: `whose` connections at the server carry the subscription."""

    target: Target
    principal: Identity | None
    whose: str

    @property
    def key(self) -> object:
        """The same for all watches that one subscription upstream serves."""
        return self.whose, self.target.server, self.target.name


@dataclass(slots=True, eq=False)
class Session:
    """One downstream session. `client.key` is its id, never shown to upstreams or in errors.

    `subscriptions` are the resources it watches, by the URI its client knows. `runs` are its requests on the short way
    (`express`), by JSON-RPC id; None instead of the task once the request is cancelled. `last_lists` is the aggregate
    it was last notified of. `last_sdk_request` is when the SDK last had a request of it, on the monotonic clock.
    `ended`: its client has ended it and knows that; the portal gives back its resources a moment later.
    """

    connection: Connection
    client: DownstreamClient
    identity: str = ""
    principal: Identity | None = None
    log_level: str | None = None
    subscriptions: dict[str, Watch] = field(default_factory=dict)
    pending_events: dict[ServerEvent, None] = field(default_factory=dict)
    sending: bool = False
    runs: dict[str | int, asyncio.Task[Any] | None] = field(default_factory=dict)
    last_lists: Aggregate | None = None
    last_sdk_request: float = field(default_factory=time.monotonic)
    ended: bool = False

    def cancel(self, request_id: str | int) -> None:
        """The client cancels a request, or the session ends."""
        task = self.runs.get(request_id)
        if task is not None:
            self.runs[request_id] = None
            task.cancel()

    def cancelled(self, request_id: str | int) -> bool:
        return request_id in self.runs and self.runs[request_id] is None


class Sessions:
    """All open sessions. `on_end` is called once for each, however it ends."""

    def __init__(self, on_end: Callable[[Session], None]) -> None:
        self._open: dict[str, Session] = {}
        self._on_end = on_end

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def of(self, ctx: ServerRequestContext[Any, Any]) -> Session | None:
        """The session of a request, opened at its first one; None for a client that has none."""
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return None
        connection = connection_of(ctx)
        session = connection.state.get(_STATE)
        if session is None and connection.session_id is not None and connection.client_params is not None:
            session = self._enter(connection, connection.session_id)
            session.identity = key_of(principal_of(scope_of(ctx)))
        if session is not None:
            session.principal = principal_of(scope_of(ctx))
        return session

    def for_short_way(self, key: str, version: str, caller: Identity | None, idle: float) -> Session | None:
        """An open session, if its requests may be answered on the short way.

        They may not for another identity or protocol version than those that opened it, for a client that upstreams
        may ask something in the middle of a call, and from time to time: the SDK ends a session when it has had no
        request of it for `idle` seconds.
        """
        session = self._open.get(key)
        if (
            session is None
            or session.ended
            or session.identity != key_of(caller)
            or session.connection.protocol_version != version
        ):
            return None
        if session.client.interactive or time.monotonic() - session.last_sdk_request > idle / 4:
            return None
        session.principal = caller
        return session

    def busy(self, key: str) -> bool:
        """Whether a request of a session is answered on the short way."""
        session = self._open.get(key)
        return session is not None and bool(session.runs)

    def note_sdk_request(self, scope: Scope, caller: Identity | None) -> None:
        """A request goes to the SDK, which keeps its session from being idle."""
        session = self._named(scope)
        if session is not None and session.identity == key_of(caller):
            session.last_sdk_request = time.monotonic()

    def belongs_to_another(self, scope: Scope, caller: Identity | None) -> bool:
        """Whether a request names a session that another identity has opened."""
        session = self._named(scope)
        return session is not None and session.identity != key_of(caller)

    def note_end(self, scope: Scope, send: Send) -> Send:
        """`send` for a DELETE of a session: once it reports success, no further request of that session is answered."""

        async def send_and_note(message: Message) -> None:
            session = self._named(scope)
            if message["type"] == "http.response.start" and message["status"] < 300 and session is not None:
                session.ended = True
            await send(message)

        return send_and_note

    def _named(self, scope: Scope) -> Session | None:
        """The session that the request's header names."""
        return self._open.get(Headers(scope=scope).get(MCP_SESSION_ID_HEADER, ""))

    def _enter(self, connection: Connection, key: str) -> Session:
        params = connection.client_params
        assert params is not None
        info = params.client_info.model_dump(by_alias=True, mode="json", exclude_none=True)
        capabilities = params.capabilities.model_dump(by_alias=True, mode="json", exclude_none=True)
        session = Session(connection, DownstreamClient(key=key, info=info, capabilities=capabilities))
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
