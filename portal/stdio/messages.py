"""Reads one line of a client's standard output: the messages in it, or the JSON-RPC error that answers it. Pure.

Nothing of a message changes on its way: what is read here only decides where the bytes of the line go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)
from mcp_types import INVALID_REQUEST, PARSE_ERROR, PROTOCOL_VERSION_META_KEY
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from portal.exact import encode
from portal.upstream import MAX_BATCH, decode

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of one message of a client. The portal takes fewer (`HttpSettings.body_limit`) and says so itself."""
BATCHES = ("2024-11-05", "2025-03-26")
"""The versions of the protocol whose clients may send several messages as one array."""
Id = str | int
Kind = Literal["request", "notification", "answer"]

_STRING_OR_NUMBER = rb'("(?:[^"\\]|\\.){0,256}"|-?\d{1,18})'
_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
_ID_FIRST = re.compile(rb"\s*\{\s*(?:" + _VERSION + rb'\s*,\s*)?"id"\s*:\s*' + _STRING_OR_NUMBER + rb"\s*[,}]")
_ID_LAST = re.compile(rb',\s*"id"\s*:\s*' + _STRING_OR_NUMBER + rb"\s*(?:,\s*" + _VERSION + rb"\s*)?\}\s*\Z")

# Two of them may be one whole character. Written anew they are that.
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """A message of the client. `raw` are its bytes, `id` is None for a notification. `version` is that of a request
    which says it itself, as those of 2026-07-28 do."""

    kind: Kind
    raw: bytes = field(repr=False)
    id: Id | None = None
    method: str = ""
    params: Mapping[str, object] = field(default_factory=dict, repr=False)
    version: str = ""

    def headers(self) -> dict[str, str]:
        """The headers that repeat what is in a request of 2026-07-28 ("Standard Headers")."""
        headers = {MCP_PROTOCOL_VERSION_HEADER: self.version, MCP_METHOD_HEADER: encode_header_value(self.method)}
        named = self.params.get(NAME_BEARING_METHODS.get(self.method, ""))
        if isinstance(named, str):
            headers[MCP_NAME_HEADER] = encode_header_value(named)
        return headers


@dataclass(frozen=True, slots=True)
class MessageUnreadable:
    """What is no message. `answer` is the JSON-RPC error for it."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """The parts of an array (MCP 2025-03-26)."""

    parts: Sequence[ClientMessage | MessageUnreadable]


def read_line(line: bytes, version: str = "") -> ClientMessage | MessageBatch | MessageUnreadable:
    """What a line has. `version` is the one that client and portal have agreed on, "" before that."""
    try:
        value = decode(line)
    except (ValueError, RecursionError):
        return MessageUnreadable(
            error_of(None, PARSE_ERROR, "The line is not JSON. Each line is one JSON-RPC message.")
        )
    if not isinstance(value, list):
        return _message(value, line)
    if version not in BATCHES:
        return MessageUnreadable(
            error_of(None, INVALID_REQUEST, "A line is one message: arrays are of MCP 2025-03-26 alone.")
        )
    if not 0 < len(value) <= MAX_BATCH:
        return MessageUnreadable(
            error_of(None, INVALID_REQUEST, f"An array has 1 to {MAX_BATCH} messages. Nothing ran.")
        )
    return MessageBatch([_in_batch(one) for one in value])


def too_long(beginning: bytes, end: bytes) -> MessageUnreadable:
    """The answer to a line of which only the ends were kept. Clients write the id first or last."""
    found = _ID_FIRST.match(beginning) or _ID_LAST.search(end)
    id = orjson.loads(found[1]) if found is not None else None
    words = f"The message is longer than {MAX_BYTES} bytes. Nothing ran."
    return MessageUnreadable(error_of(id, INVALID_REQUEST, words))


def error_of(id: Id | None, code: int, message: str, data: object = None) -> bytes:
    """A JSON-RPC error as it is written."""
    error = {"code": code, "message": message, **({} if data is None else {"data": data})}
    return encode({"jsonrpc": "2.0", "id": id, "error": error})


def as_line(data: bytes) -> bytes:
    """A JSON text on one line. Within a string JSON has no line breaks: those between its parts mean nothing."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\n", b" ").replace(b"\r", b" ")
    return data


def is_strict(data: bytes) -> bool:
    """Whether every client can read the letters of a JSON text: UTF-8 without a byte order mark, and no half
    characters. The portal itself reads others too."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return not data.startswith(b"\xef\xbb\xbf") and _HALF_CHARACTER.search(data) is None


def _in_batch(value: object) -> ClientMessage | MessageUnreadable:
    found = _message(value, encode(value))
    if isinstance(found, ClientMessage) and found.method == "initialize":
        return MessageUnreadable(error_of(found.id, INVALID_REQUEST, "`initialize` comes alone, not in an array."))
    return found


def _message(value: object, raw: bytes) -> ClientMessage | MessageUnreadable:
    if not isinstance(value, dict):
        return MessageUnreadable(error_of(None, INVALID_REQUEST, "A JSON-RPC message is an object."))
    method, id, params = value.get("method"), value.get("id"), value.get("params")
    params = params if isinstance(params, dict) else {}
    if isinstance(method, str):
        if id is None and ("id" not in value or method.startswith("notifications/")):
            return ClientMessage("notification", raw, None, method, params)
        if _is_id(id):
            return ClientMessage("request", raw, id, method, params, _version_in(params))
        words = "The id of a request is a text or a whole number."
        return MessageUnreadable(error_of(None, INVALID_REQUEST, words))
    if "result" in value or "error" in value:
        return ClientMessage("answer", raw, id if _is_id(id) else None)
    words = "A JSON-RPC message has a `method`, or the `id` and `result` of a question that was asked."
    return MessageUnreadable(error_of(id if _is_id(id) else None, INVALID_REQUEST, words))


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _version_in(params: Mapping[str, object]) -> str:
    """The version that a request says it is of, "" for those of a session."""
    meta = params.get("_meta")
    version = meta.get(PROTOCOL_VERSION_META_KEY) if isinstance(meta, dict) else None
    if not isinstance(version, str) or version in HANDSHAKE_PROTOCOL_VERSIONS or not _PRINTABLE.fullmatch(version):
        return ""
    return version


_PRINTABLE = re.compile(r"[\x21-\x7e]{1,64}")
