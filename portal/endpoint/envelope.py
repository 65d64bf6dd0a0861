"""JSON-RPC bodies: whether one is a message at all, decided before the SDK's 2025 transport, which quotes pydantic;
and values written as JSON."""

import json

import orjson
from mcp_types import INVALID_REQUEST, jsonrpc_message_adapter
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError

from portal.http import Refusal

_LEGACY = {version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS}
_MESSAGE = (
    'The body must be one JSON-RPC 2.0 message: an object with `jsonrpc` "2.0" and a `method` (with an `id` when it '
    "is a request), or with the `id` and `result` of a question that was asked. Batches are not accepted."
)


def malformed(headers: list[tuple[bytes, bytes]], body: bytes) -> Refusal | None:
    """The refusal for a body of a 2025 version that is JSON but not a message; None for any other body."""
    if any(name == b"mcp-protocol-version" and value not in _LEGACY for name, value in headers):
        return None
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(message, dict) and "method" in message and not _id_fits(message.get("id", 0)):
        # The SDK would take it for a notification, and the client would wait for an answer.
        return Refusal(400, "message", _MESSAGE, INVALID_REQUEST)
    try:
        jsonrpc_message_adapter.validate_python(message, by_name=False)
    except ValidationError:
        return Refusal(400, "message", _MESSAGE, INVALID_REQUEST)
    return None


def encode(value: object) -> bytes:
    """JSON, by the quick encoder where it can (it knows no integers beyond 64 bits, and no lone surrogates)."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _id_fits(id: object) -> bool:
    """Whether this can be the id of a request (MCP: a string or an integer)."""
    return isinstance(id, str | int) and not isinstance(id, bool)
