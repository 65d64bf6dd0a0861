"""Bytes to JSON values and back, for messages from servers that owe us nothing.

orjson, with the standard library behind it for the texts orjson refuses and JavaScript servers do send: lone
surrogates, which become U+FFFD because they would kill the client that reads them later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from portal.errors import RpcError

SNIPPET = 200
MAX_DEPTH = 100
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE_HIGH = re.compile(_HIGH + rb"(?!" + _LOW + rb")")
_LONE_LOW = re.compile(rb"(?<!" + _HIGH + rb")" + _LOW)


def encode(message: Any) -> bytes:
    """JSON bytes of one message."""
    try:
        return orjson.dumps(message)
    except orjson.JSONEncodeError:  # integers over 64 bits, lone surrogates
        return json.dumps(message, separators=(",", ":")).encode()


def decode(data: bytes | bytearray | memoryview | str) -> Any:
    """The JSON value in `data`.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = _without_surrogates(data.encode() if isinstance(data, str) else bytes(data))
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def message_in(data: bytes | bytearray) -> dict[str, Any] | None:
    """The JSON-RPC message in `data`; None when it is none."""
    try:
        message = decode(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def params_of(message: Mapping[str, Any]) -> dict[str, Any]:
    params = message.get("params")
    return params if isinstance(params, dict) else {}


def result_in(message: Mapping[str, Any], request_id: int) -> dict[str, Any] | None:
    """The result of the request with this id; None when the message is not its answer.

    Raises:
        RpcError: the answer is an error. Its id may be null, for a server that could not read the request.
    """
    error = rpc_error(message.get("error"))
    answered = same_id(message.get("id"), request_id)
    if error is not None and (answered or message.get("id") is None):
        raise error
    result = message.get("result")
    return result if answered and isinstance(result, dict) else None


def rpc_error(error: Any) -> RpcError | None:
    """A JSON-RPC error object as an exception; None when it is none."""
    if not isinstance(error, dict) or not isinstance(code := error.get("code"), int) or isinstance(code, bool):
        return None
    message = error.get("message")
    return RpcError(code, message if isinstance(message, str) else "", error.get("data"))


def same_id(found: Any, ours: int | None) -> bool:
    """Whether an id a server sent back is ours; some turn numbers into strings."""
    return ours is not None and not isinstance(found, bool) and found in (ours, str(ours))


def snippet(data: bytes | str, secrets: Sequence[str] = ()) -> str:
    """The beginning of something unexpected, on one line and without secrets, fit for an error message."""
    text = data[: 4 * SNIPPET].decode("utf-8", "replace") if isinstance(data, bytes) else data[: 4 * SNIPPET]
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", redact(text, secrets)).strip()
    return line if len(line) <= SNIPPET else line[: SNIPPET - 1] + "…"


def redact(text: str, secrets: Sequence[str]) -> str:
    """`text` with every configured secret in it blotted out."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


def redact_value(value: Any, secrets: Sequence[str], depth: int = MAX_DEPTH) -> Any:
    """The same for every string of a JSON value, names of members included; what is nested too deep is left out."""
    if isinstance(value, str):
        return redact(value, secrets)
    if not isinstance(value, list | dict):
        return value
    if not depth:
        return None
    if isinstance(value, list):
        return [redact_value(item, secrets, depth - 1) for item in value]
    return {redact(name, secrets): redact_value(item, secrets, depth - 1) for name, item in value.items()}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _without_surrogates(text: bytes) -> bytes:
    """JSON with its lone surrogates replaced: a parsed value is not walked through, which takes far longer."""
    # With every escaped backslash written otherwise, what still looks like an escape is one.
    text = text.replace(rb"\\", rb"\u005c")
    return _LONE_LOW.sub(rb"\\ufffd", _LONE_HIGH.sub(rb"\\ufffd", text))
