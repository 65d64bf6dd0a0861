"""What the portal uses of its libraries although it is private or undocumented, with the reason for each.

Any release may move these parts. `tests/portal/test_sdk.py` has a test for each, so a new version that moves one fails
there and says which. What the portal changes in uvicorn is in `portal/http/uvicorn.py`. No other file may use such
parts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary
from mcp.server.streamable_http import EventStore, StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp


def connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    """The connection behind a request.

    Why: it holds the id, the state and the end (`exit_stack`) of a session, and a `ServerRequestContext` has it only as
    a private attribute of its `session`. If that moves, every request of a client with a session fails.
    """
    return ctx.session._connection


def rename(server: Server[Any], name: str) -> None:
    """Give a server another name, in new sessions and in the `serverInfo` of every 2026-07-28 result.

    Why: the SDK computes that stamp once and keeps it. If the attribute moves, results go on naming the former name.
    """
    server.name = name
    server.__dict__.pop("_server_info_stamp_source", None)


def remove_telemetry(server: Server[Any]) -> None:
    """Take the SDK's OpenTelemetry middleware from a server, and leave every other middleware where it is.

    Why: without an exporter its spans go nowhere, but cost 13 us a request. The class has no public name. If it moves,
    the import fails; if the SDK no longer adds it, there is nothing to remove.
    """
    others = [one for one in server.middleware if not isinstance(one, OpenTelemetryMiddleware)]
    server.middleware[:] = others


@dataclass(frozen=True, slots=True)
class _Round:
    method: str
    params: Mapping[str, object]
    request: Request


async def sealed(
    boundary: RequestStateBoundary,
    method: str,
    params: Mapping[str, object],
    request: Request,
    result: dict[str, Any],
) -> dict[str, Any]:
    """The result of a request, with its `requestState` sealed by the boundary as in the SDK's own chain.

    Why: what is answered on the short way passes no middleware, and the next round comes back over the SDK's. The
    boundary reads these three members of a context. If it reads more, the answer fails.
    """

    async def call_next(ctx: object) -> dict[str, Any]:
        return result

    found = await boundary(cast("ServerRequestContext[Any, Any]", _Round(method, params, request)), call_next)
    return cast("dict[str, Any]", found)


class StoreForEachSession(StreamableHTTPSessionManager):
    """The SDK's session manager with an event store for each session, made by `new_store`. `ended` is called with the
    id of each session that has ended; `end` ends one.

    Why: the SDK has one store for all sessions, and names streams by request ids, which every client counts from the
    same number: a client that resumes would get the answers of another. The SDK reads the attribute `event_store` once
    as it opens a session. If it reads it at another time, or elsewhere, answers are not resumed or are mixed up.
    Nor does it tell that a session has ended, or end one that nobody asks to: all ends lead through `_discard_session`,
    and `_server_instances` has what is open. If that moves, sessions that have ended go on taking room.
    """

    def __init__(
        self,
        app: Server[Any],
        new_store: Callable[[], EventStore],
        ended: Callable[[str], None] = lambda session_id: None,
        **options: Any,
    ) -> None:
        self._new_store = new_store
        self._ended = ended
        super().__init__(app, **options)

    @property
    def event_store(self) -> EventStore:
        return self._new_store()

    @event_store.setter
    def event_store(self, value: object) -> None:
        """The SDK's constructor assigns its argument, which is None here."""

    async def end(self, session_id: str) -> None:
        """End a session, as if its client had."""
        transport = self._server_instances.get(session_id)
        if transport is not None:
            await self._discard_session(session_id, transport)

    async def _discard_session(self, session_id: str, transport: StreamableHTTPServerTransport) -> None:
        self._ended(session_id)
        await super()._discard_session(session_id, transport)


def mount_any_path(prefix: str, app: ASGIApp) -> Mount:
    """A Starlette mount that also matches paths with a line break in them.

    Why: an id in a path may be any text, and the mounted application answers for it in its own form. If Starlette no
    longer matches by `path_regex`, the outer application answers 404 in another form.
    """
    mount = Mount(prefix, app)
    mount.path_regex = re.compile(mount.path_regex.pattern, mount.path_regex.flags | re.DOTALL)
    return mount


def match_whole_paths(app: Starlette | Router) -> None:
    """Let the routes of an application match whole paths only.

    Why: Starlette's expressions end in `$`, which in Python also matches before a line break at the end, so that
    `/mcp%0A` would reach what is at `/mcp`. If Starlette no longer matches by `path_regex`, it does again.
    """
    for route in app.routes:
        if isinstance(route, Route) and route.path_regex.pattern.endswith("$"):
            route.path_regex = _compiled(route.path_regex.pattern[:-1] + r"\Z", route.path_regex.flags)


# A portal has more routes than Python's own cache keeps, and builds them again when its configuration changes.
@lru_cache(maxsize=4096)
def _compiled(pattern: str, flags: int) -> re.Pattern[str]:
    return re.compile(pattern, flags)


def close_pipes(process: asyncio.subprocess.Process) -> None:
    """Close our ends of the pipes to a process.

    Why: a descendant that outlived the process may hold the other ends for ever, and asyncio closes ours only when the
    other ends are closed. Closing the transport itself would also look whether the process has ended: when that comes
    before asyncio's own look, the exit status is lost. Without it the transport closes when asyncio has seen the end.
    If `_transport` moves, closing a stdio server fails.
    """
    transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]
    for descriptor in range(3):
        if (pipe := transport.get_pipe_transport(descriptor)) is not None:
            pipe.close()
    if process.returncode is not None:
        transport.close()


MAX_INFORMATIONAL = 32
"""Informational responses (1xx) before an answer."""
MAX_HEAD_BYTES = 4 * 1024 * 1024
"""Bytes before the body of an answer, informational responses included."""
_MOST_FRAMING = 2
_FRAMING_BYTES = 256 * 1024
# Bytes that aiohttp parses at once of heads, and of bodies in chunks. Other bodies cost nothing to parse.
_HEAD_SLICE, _CHUNKED_SLICE = 4 * 1024, 16 * 1024


class TooMuchFraming(aiohttp.ClientError):
    """An answer has more around its body than it may have. `str()` says what."""


def sent_once(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """The session, which sends no request a second time by itself.

    Why: aiohttp repeats a GET, PUT or DELETE whose connection was lost, and tells nobody: what is deleted a second time
    is not found, and the call seems to have failed. Its own servers for tests turn that off by the same attribute,
    which has no public name. If it moves, such requests are repeated again.
    """
    session._retry_connection = False
    return session


def read_in_turns(connector: aiohttp.TCPConnector) -> aiohttp.TCPConnector:
    """The same connector, whose connections read what a hostile server sends in turns with everybody else.

    Why: aiohttp parses what a read of the socket brings at once: up to 256 KiB of chunks with a byte each, or of
    informational responses, of which it takes any number. It has no option for that. If `_factory` moves, this fails;
    if another method brings the data, it is read as before.
    """
    before: Any = connector._factory
    connector._factory = cast("Any", partial(_InTurns, *before.args, **before.keywords))
    return connector


class _InTurns(ResponseHandler):
    """Reads a slice at a time. What waits for its turn is in `_rest`, and the transport is paused meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._rest = b""
        self._goes_on = False
        self._in_head = True
        self._is_chunked = False
        self._informational = 0
        self._wire_bytes = 0

    @property
    def should_close(self) -> bool:
        return bool(self._rest) or super().should_close

    def set_response_params(self, **params: Any) -> None:
        self._in_head, self._informational, self._wire_bytes = True, 0, 0
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        message, _ = data
        if 100 <= message.code < 200 and message.code != 101:
            self._informational += 1
        else:
            self._in_head, self._is_chunked, self._wire_bytes = False, message.chunked, 0
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        if not data:
            # aiohttp goes on with what it has put aside itself.
            super().data_received(data)
        elif self._rest:
            self._rest += data
        elif len(data) <= _HEAD_SLICE:
            # Most answers come as one slice.
            self._parse(data)
        else:
            self._read(data)

    def resume_reading(self, resume_parser: bool = True) -> None:
        super().resume_reading(resume_parser)
        self._go_on_soon()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            super().data_received(rest)
        super().connection_lost(exc)

    def _read(self, data: bytes) -> None:
        """Parse the head and a slice behind it, and leave the rest for the next turn."""
        at = 0
        while self._in_head and at < len(data) and self.transport is not None:
            at += self._parse(data[at : at + _HEAD_SLICE])
        if at < len(data) and self.transport is not None:
            at += self._parse(data[at : at + _CHUNKED_SLICE] if self._is_chunked else data[at:])
        if at < len(data) and self.transport is not None:
            self._rest = data[at:]
            self._pause_reading_for_buffer()
            self._go_on_soon()

    def _parse(self, data: bytes) -> int:
        super().data_received(data)
        self._wire_bytes += len(data)
        payload = self._payload
        if self._in_head:
            if self._informational > MAX_INFORMATIONAL:
                self._refuse(f"sent more than {MAX_INFORMATIONAL} informational responses (1xx) before its answer")
            elif self._wire_bytes > MAX_HEAD_BYTES:
                self._refuse(f"sent more than {MAX_HEAD_BYTES} bytes before its answer")
        elif self._is_chunked and payload is not None:
            if self._wire_bytes > _FRAMING_BYTES + _MOST_FRAMING * payload.total_bytes:
                self._refuse("sent far more around the pieces of its answer than is in them")
        return len(data)

    def _go_on_soon(self) -> None:
        if self._rest and not self._reading_paused and not self._goes_on:
            self._goes_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        if self._reading_paused or self.transport is None:
            return
        rest, self._rest = self._rest, b""
        self._read(rest)
        if not self._rest:
            self._resume_reading_for_buffer()

    def _refuse(self, why: str) -> None:
        error, payload, transport = TooMuchFraming(why), self._payload, self.transport
        self.set_exception(error)
        if payload is not None:
            payload.set_exception(error)
        if transport is not None:
            transport.abort()
        self.transport = None
