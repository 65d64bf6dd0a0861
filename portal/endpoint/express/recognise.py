"""Whether a request is plain enough for the short way (`express`), decided strictly from its headers and body alone.

Plain are `tools/list` and, at 2026-07-28, `tools/call`. In a 2025 session only a call of `code` is: the streams of
other calls can be resumed, which the short way does not offer.

A request that differs in anything, known or unknown, is not recognised and goes to the SDK.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY, methods
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION
from pydantic import ValidationError

from portal.endpoint.code import CODE

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
