"""The short way for the two requests clients of 2026-07-28 make most: `tools/list`, and `tools/call` of `code`.

The SDK spends about 250 us on a request before a handler sees it. A request that is plainly one of these two, in
every header and member, is answered here; anything else, however slightly different, takes the SDK's way, which is
the one that knows the rules. Both give the same answers, which the conformance suite and a test hold.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    methods,
)
from mcp_types.version import LATEST_MODERN_VERSION
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from portal.endpoint.attendance import Attendance
from portal.endpoint.code import CODE, CodeMode
from portal.endpoint.identity import identity_of
from portal.endpoint.server import guarded
from portal.endpoint.tools import ToolSurface
from portal.http import BODY
from portal.modes import Mode
from portal.upstream import CallContext

Method = Literal["tools/list", "tools/call"]

_ACCEPT = {b"application/json, text/event-stream", b"application/json,text/event-stream"}
_ROUTING = {b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"accept"}
_METHODS: Mapping[bytes | None, Method] = {b"tools/list": "tools/list", b"tools/call": "tools/call"}
_RESERVED = "io.modelcontextprotocol/"
_ENVELOPE = {PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY}
_JSON = (b"content-type", b"application/json")
MAX_CLIENT = 4096


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A request that needs nothing but its answer: no progress, no logs, no state, no header declarations."""

    id: str | int
    method: Method
    arguments: dict[str, Any]
    meta: dict[str, Any]


class Express:
    """Answers plain requests. `stamp` is the portal's `serverInfo`."""

    def __init__(self, stamp: Mapping[str, Any], modes: Mapping[Mode, ToolSurface], code: CodeMode | None) -> None:
        self._meta = {SERVER_INFO_META_KEY: stamp}
        self._modes = modes
        self._code = code
        self._lists: dict[Mode, tuple[dict[str, Any], bytes]] = {}

    async def answered(self, scope: Scope, mode: Mode, receive: Receive, send: Send) -> bool:
        """Answer a plain request; False, with nothing sent and nothing received, for any other."""
        body = scope.get(BODY)
        if not isinstance(body, bytes):
            return False
        request = recognise(scope["headers"], body)
        if request is None:
            return False
        if request.method == "tools/list":
            await self._answer(request, guarded("tools/list", self._list(mode)), receive, send)
        elif mode is Mode.CODE and self._code is not None:
            context = CallContext(identity=identity_of(scope), protocol=LATEST_MODERN_VERSION, meta=request.meta)
            run = self._run(self._code, request, context)
            await self._answer(request, guarded("tools/call", run), receive, send)
        else:
            return False
        return True

    async def _run(self, code: CodeMode, request: PlainRequest, context: CallContext) -> bytes:
        result = await code.run(request.arguments, context)
        return encode({"resultType": "complete", **result, "_meta": {**self._meta, **result.get("_meta", {})}})

    async def _list(self, mode: Mode) -> bytes:
        """The result of `tools/list` as JSON, made once for each list."""
        listed = await self._modes[mode].listed()
        kept = self._lists.get(mode)
        if kept is None or kept[0] is not listed:
            whole = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **listed, "_meta": self._meta}
            kept = self._lists[mode] = (listed, encode(whole))
        return kept[1]

    async def _answer(self, request: PlainRequest, work: Any, receive: Receive, send: Send) -> None:
        attendance = Attendance(receive, send)
        try:
            status, member = 200, b"result"
            try:
                content = await work
            except MCPError as error:
                status, member = ERROR_CODE_HTTP_STATUS.get(error.error.code, 200), b"error"
                content = encode(error.error.model_dump(mode="json", by_alias=True, exclude_none=True))
            body = b'{"jsonrpc":"2.0","id":%b,"%b":%b}' % (encode(request.id), member, content)
            await attendance.finish(status, [_JSON, (b"content-length", b"%d" % len(body))], body)
        except asyncio.CancelledError:
            if not attendance.left:
                raise
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        finally:
            await attendance.aclose()


def recognise(headers: list[tuple[bytes, bytes]], body: bytes) -> PlainRequest | None:
    """The plain request in these headers and this body, or None when they are anything else or anything more."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _ROUTING:
            if name in found:
                return None
            found[name] = value
        elif name.startswith(b"mcp-param-"):
            return None
    method = _METHODS.get(found.get(b"mcp-method"))
    if method is None or found.get(b"mcp-protocol-version") != LATEST_MODERN_VERSION.encode():
        return None
    if found.get(b"accept") not in _ACCEPT:
        return None
    if found.get(b"mcp-name") != (b"code" if method == "tools/call" else None):
        return None
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return _request(message, method)


def _request(message: Any, method: Method) -> PlainRequest | None:
    if not isinstance(message, dict) or message.keys() != {"jsonrpc", "id", "method", "params"}:
        return None
    id, params = message["id"], message["params"]
    if message["jsonrpc"] != "2.0" or message["method"] != method or not isinstance(params, dict):
        return None
    if not isinstance(id, str | int) or isinstance(id, bool):
        return None
    meta, arguments = params.get("_meta"), params.get("arguments", {})
    if not isinstance(meta, dict) or not isinstance(arguments, dict) or not _plain_meta(meta):
        return None
    if method == "tools/call":
        named = params.keys() <= {"name", "arguments", "_meta"} and params.get("name") == CODE
    else:
        named = params.keys() == {"_meta"}
    return PlainRequest(id, method, arguments, meta) if named else None


def _plain_meta(meta: dict[str, Any]) -> bool:
    if meta.get(PROTOCOL_VERSION_META_KEY) != LATEST_MODERN_VERSION or "progressToken" in meta:
        return False
    if any(key.startswith(_RESERVED) and key not in _ENVELOPE for key in meta):
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


def encode(value: Any) -> bytes:
    """JSON, by the quick encoder where it can (it knows no integers beyond 64 bits)."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()
