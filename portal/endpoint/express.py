"""The short way for the requests clients make most: `tools/list`, and `tools/call`.

The SDK's transport and dispatcher take more than half of the time of a plain call. A request that is plain in every
header and member (`recognise`) is read here and its answer is written here; in between is the same handler as on the
SDK's way (`ToolMethods`). Any other request, however slightly different, takes the SDK's way, which knows all the
rules. Both ways give the same answers; tests send every kind of request down each and compare.

Plain are `tools/list` and, at 2026-07-28, `tools/call`. In a 2025 session only a call of `code` is: the streams of
other calls can be resumed, which the short way does not offer. While a request is answered, an `Attendance` watches
its client.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import orjson
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    INTERNAL_ERROR,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    methods,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from codemode import off_loop
from portal.endpoint.code import CODE
from portal.endpoint.generations import serialized
from portal.endpoint.modes import Mode
from portal.endpoint.request import MODE, ClientRequest, OnTrace, at_least, client_id_of, plain_context
from portal.endpoint.request_log import RequestLog, Stopwatch
from portal.endpoint.server import PortalMcpServer, guarded
from portal.endpoint.sessions import Session, Sessions
from portal.endpoint.tools import ToolMethods
from portal.exact import beyond_64_bits, encode
from portal.identity import Identity
from portal.trace_context import found_in
from portal.upstream import CallContext

WATCH_AFTER = 0.005
PING_SECONDS = 15.0
_PING = b": ping\r\n\r\n"
_STREAM = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Attendance:
    """Made in the task that works on the request, which is cancelled when the client leaves: then `left` is true.

    An answer within 15 s is plain JSON with its own status. A later one comes as the event of a stream that was kept
    alive with comments until then, because proxies close connections on which nothing moves.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self.left = False
        self._receive = receive
        self._send = send
        self._streaming = False
        self._worker = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._begin)

    async def finish(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send the JSON answer."""
        await self.aclose()
        if self._streaming:
            body = b"event: message\r\ndata: " + body + b"\r\n\r\n"
        else:
            await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def event(self, message: Mapping[str, Any]) -> None:
        """Send a notification ahead of the answer, which makes the answer a stream."""
        await self._stream(b"event: message\r\ndata: " + encode(message) + b"\r\n\r\n")

    def relay_logs(self, session: Session) -> Callable[[Mapping[str, Any]], Awaitable[None]]:
        """Sends the log messages of an upstream to the client, from the level on that the session has set."""

        async def relay(params: Mapping[str, Any]) -> None:
            if at_least(params.get("level"), session.log_level):
                await self.event({"jsonrpc": "2.0", "method": "notifications/message", "params": params})

        return relay

    async def aclose(self) -> None:
        """Stop watching. Idempotent."""
        self._timer.cancel()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait({watcher})

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        leaving = asyncio.create_task(self._departure())
        try:
            while True:
                done, _ = await asyncio.wait({leaving}, timeout=PING_SECONDS)
                if done:
                    break
                await self._stream(_PING)
        finally:
            leaving.cancel()
        self.left = True
        if self._worker is not None:
            self._worker.cancel()

    async def _departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _stream(self, part: bytes) -> None:
        if not self._streaming:
            self._streaming = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM})
        await self._send({"type": "http.response.body", "body": part, "more_body": True})


Method = Literal["tools/list", "tools/call"]

_ACCEPT = {b"application/json, text/event-stream", b"application/json,text/event-stream"}
_VERSION, _METHOD, _NAME, _SESSION, _ACCEPTS = (
    b"mcp-protocol-version",
    b"mcp-method",
    b"mcp-name",
    b"mcp-session-id",
    b"accept",
)
_ROUTING = {_VERSION, _METHOD, _NAME, _SESSION, _ACCEPTS}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_METHODS: Mapping[object, Method] = {"tools/list": "tools/list", "tools/call": "tools/call"}
ASKS = "input_required"
"""The `resultType` of an answer that asks the client and is no result yet."""
_MODERN = LATEST_MODERN_VERSION.encode()
_LEGACY = {version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS}
_RESERVED = "io.modelcontextprotocol/"
_ENVELOPE = {PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY}
MAX_CLIENT = 4096


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """`tools/list` or `tools/call`. `session` is the id of a 2025 session, None at 2026-07-28. `name` is the tool's."""

    id: str | int
    method: Method
    version: str
    session: str | None
    name: str
    params: dict[str, Any]
    arguments: dict[str, Any]
    meta: dict[str, Any]


def recognise(headers: list[tuple[bytes, bytes]], body: bytes) -> PlainRequest | None:
    """The plain request in these headers and this body, or None if there is anything else or anything more in them."""
    routing: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _ROUTING:
            if name in routing:
                return None
            routing[name] = value
        elif name.startswith(b"mcp-param-"):
            return None
    if routing.get(_ACCEPTS) not in _ACCEPT:
        return None
    version, session = routing.get(_VERSION), routing.get(_SESSION)
    if version == _MODERN and session is None:
        request = _parsed(body, LATEST_MODERN_VERSION, None)
        return request if request is not None and _routed(routing, request) and _plain_envelope(request.meta) else None
    if version in _LEGACY and session is not None and _METHOD not in routing and _NAME not in routing:
        return _parsed(body, version.decode(), session.decode("latin-1"))
    return None


def _parsed(body: bytes, version: str, session: str | None) -> PlainRequest | None:
    if beyond_64_bits(body):
        return None
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return None
    if not message.keys() <= {"jsonrpc", "id", "method", "params"}:
        return None
    id, params, method = message.get("id"), message.get("params", {}), _METHODS.get(_hashable(message.get("method")))
    if method is None or not isinstance(id, str | int) or isinstance(id, bool) or not isinstance(params, dict):
        return None
    meta, arguments, name = params.get("_meta", {}), params.get("arguments", {}), params.get("name")
    if not isinstance(meta, dict) or not isinstance(arguments, dict):
        return None
    if method == "tools/call":
        plain = params.keys() <= {"name", "arguments", "_meta"} and isinstance(name, str)
        plain = plain and (session is None or name == CODE)
    else:
        plain = params.keys() <= {"_meta"}
    if not plain or not _plain_meta(meta):
        return None
    return PlainRequest(id, method, version, session, str(name), params, arguments, meta)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _routed(routing: Mapping[bytes, bytes], request: PlainRequest) -> bool:
    """Whether the headers that repeat the body agree with it (2026-07-28, "Standard Headers")."""
    if routing.get(_METHOD) != request.method.encode():
        return False
    if request.method == "tools/list":
        return _NAME not in routing
    # A name that needs encoding in a header is for the SDK to compare.
    return _PLAIN_NAME.fullmatch(request.name) is not None and routing.get(_NAME) == request.name.encode()


def _plain_meta(meta: dict[str, Any]) -> bool:
    """Metadata that asks for nothing but the answer; of the protocol's own keys only those of the envelope."""
    return "progressToken" not in meta and not any(key.startswith(_RESERVED) and key not in _ENVELOPE for key in meta)


def _plain_envelope(meta: dict[str, Any]) -> bool:
    if meta.get(PROTOCOL_VERSION_META_KEY) != LATEST_MODERN_VERSION:
        return False
    envelope = orjson.dumps({key: meta[key] for key in _ENVELOPE if key in meta}, option=orjson.OPT_SORT_KEYS)
    return len(envelope) <= MAX_CLIENT and _valid_envelope(envelope)


@lru_cache(maxsize=512)
def _valid_envelope(envelope: bytes) -> bool:
    """Whether the SDK accepts this envelope. The same few come with every request, so they are checked once."""
    meta = orjson.loads(envelope)
    if CLIENT_CAPABILITIES_META_KEY not in meta:
        return False
    try:
        methods.validate_client_request("tools/list", LATEST_MODERN_VERSION, {"_meta": meta})
    except ValidationError:
        return False
    return True


# As the SDK answers a cancelled request of a 2025 version, whose stream must end with something.
REQUEST_CANCELLED = -32800
_JSON = (b"content-type", b"application/json")


class Express:
    """Answers plain requests as `server` would. `idle`: the seconds after which sessions end; `used` is called with the
    id of a session that a request is of."""

    def __init__(
        self,
        server: PortalMcpServer,
        tools: ToolMethods,
        sessions: Sessions,
        idle: float,
        log: RequestLog,
        used: Callable[[str], None] = lambda id: None,
        on_trace: OnTrace = found_in,
    ) -> None:
        self._server = server
        self._log = log
        self._on_trace = on_trace
        self.name_server(server.server_info_stamp)
        self._tools = tools
        self._sessions = sessions
        self._idle = idle
        self._used = used

    def name_server(self, stamp: Mapping[str, Any]) -> None:
        """From now on this is the portal's `serverInfo`."""
        self._meta = {SERVER_INFO_META_KEY: stamp}
        self._stamp = encode(self._meta)

    async def answered(self, scope: Scope, body: bytes, caller: Identity | None, receive: Receive, send: Send) -> bool:
        """Answer a plain request; False, with nothing sent and nothing received, for any other."""
        plain = recognise(scope["headers"], body)
        if plain is None:
            return False
        session = None
        if plain.session is not None:
            session = self._sessions.for_short_way(plain.session, plain.version, caller, self._idle)
            if session is None or plain.id in session.runs:
                return False
            self._used(plain.session)
        begun = Stopwatch()
        trace = self._on_trace(scope["headers"], plain.meta)
        context = plain_context(caller, plain.version, plain.meta, session, client_id_of(scope), trace)
        request = ClientRequest(scope=scope, mode=scope[MODE], params=plain.params, session=session, context=context)
        if plain.method == "tools/call" and request.mode is not Mode.CODE and not _has_plain_answer(request):
            return False
        attendance = Attendance(receive, send)
        if session is not None:
            request = replace(request, context=replace(context, on_log=attendance.relay_logs(session)))
        work = self._list(request, begun) if plain.method == "tools/list" else self._call(request, plain, begun)
        await self._answer(plain, self._noted(plain, context, begun, work), session, attendance)
        return True

    async def _noted(
        self, plain: PlainRequest, context: CallContext, begun: Stopwatch, work: Awaitable[bytes]
    ) -> bytes:
        """The result of `work`. That it has none is in the log."""
        try:
            return await guarded(plain.method, work)
        except BaseException as error:
            name = plain.name if plain.method == "tools/call" else ""
            await self._log.failed(plain.method, name, context, begun, error)
            raise

    async def _list(self, request: ClientRequest, begun: Stopwatch) -> bytes:
        """The result of `tools/list` as JSON."""
        if request.modern:
            members = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": self._meta}
            answer = await self._tools.list_as_json(request, self._stamp, members)
        else:
            answer = await self._tools.list_as_json(request, b"", {})
        self._log.answered("tools/list", "", request.context, begun, len(answer))
        return answer

    async def _call(self, request: ClientRequest, plain: PlainRequest, begun: Stopwatch) -> bytes:
        """The result of `tools/call` as JSON."""
        result = await self._tools.call(request, plain.name, plain.arguments)
        self._log.tool_answered(plain.name, request.context, begun, result)
        if not request.modern:
            return await off_loop(lambda: encode(result), result)
        result = {"resultType": "complete", **result}
        asks = result["resultType"] == ASKS
        # What an extension has defined the SDK does not know.
        if asks or (request.mode is not Mode.CODE and result["resultType"] == "complete"):
            try:
                result = await serialized(plain.method, plain.version, result)
            except ValueError as error:
                raise MCPError(INTERNAL_ERROR, "Handler returned an invalid result") from error
        if asks:
            result = await self._server.sealed(Request(request.scope), plain.params, result)
        whole = {**result, "_meta": {**self._meta, **result.get("_meta", {})}}
        return await off_loop(lambda: encode(whole), whole)

    async def _answer(
        self, plain: PlainRequest, work: Awaitable[bytes], session: Session | None, attendance: Attendance
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        if session is not None:
            session.runs[plain.id] = task
        try:
            status, member = 200, b"result"
            try:
                content = await work
            except MCPError as error:
                status = ERROR_CODE_HTTP_STATUS.get(error.error.code, 200) if session is None else 200
                member = b"error"
                content = encode(error.error.model_dump(mode="json", by_alias=True, exclude_none=True))
            except asyncio.CancelledError:
                if session is None or not session.cancelled(plain.id):
                    raise
                task.uncancel()
                member, content = b"error", encode({"code": REQUEST_CANCELLED, "message": "Request cancelled"})
            body = b'{"jsonrpc":"2.0","id":%b,"%b":%b}' % (encode(plain.id), member, content)
            await attendance.finish(status, [_JSON, (b"content-length", b"%d" % len(body))], body)
        except asyncio.CancelledError:
            # The attendance cancels this task when the client leaves; any other cancellation is the server's.
            if not attendance.left:
                raise
            task.uncancel()
        finally:
            if session is not None:
                session.runs.pop(plain.id, None)
            await attendance.aclose()


def _has_plain_answer(request: ClientRequest) -> bool:
    """Whether a call of an upstream's tool is answered by nothing but a result.

    Calls of a session have streams that can be resumed, and a call whose upstream may ask the client can end in a
    sealed state: only the SDK offers these.
    """
    client = request.context.client
    return request.session is None and client is not None and not client.interactive
