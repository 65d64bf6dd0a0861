"""Bytes to JSON values and back, for messages of servers that are not trusted.

It uses orjson, and the standard library for texts that orjson refuses and JavaScript servers do send: lone surrogates.
They become U+FFFD, because the client that reads them later might fail on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import orjson

from portal.errors import RpcError

SNIPPET = 200
MAX_DEPTH = 100
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE_HIGH = re.compile(_HIGH + rb"(?!" + _LOW + rb")")
_LONE_LOW = re.compile(rb"(?<!" + _HIGH + rb")" + _LOW)


def encode(message: object) -> bytes:
    """JSON bytes of one message."""
    try:
        return orjson.dumps(message)
    except orjson.JSONEncodeError:  # integers over 64 bits, lone surrogates
        return json.dumps(message, separators=(",", ":")).encode()


def decode(data: bytes | bytearray | memoryview | str) -> object:
    """The JSON value in `data`.

    Raises:
        ValueError: `data` is not JSON, or nested too deeply.
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


def message_in(data: bytes | bytearray) -> dict[str, object] | None:
    """The JSON-RPC message in `data`, or None if `data` is not a JSON object."""
    try:
        message = decode(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def params_of(message: Mapping[str, object]) -> dict[str, object]:
    """The params of a message, {} if it has none."""
    params = message.get("params")
    return params if isinstance(params, dict) else {}


def result_in(message: Mapping[str, object], request_id: int) -> dict[str, object] | None:
    """The result of the request with this id, or None if the message is not its answer.

    Raises:
        RpcError: the answer is an error. Its id may be null, from a server that could not read the request.
    """
    error = rpc_error(message.get("error"))
    answered = same_id(message.get("id"), request_id)
    if error is not None and (answered or message.get("id") is None):
        raise error
    result = message.get("result")
    return result if answered and isinstance(result, dict) else None


def rpc_error(error: object) -> RpcError | None:
    """The exception for a JSON-RPC error object, or None if `error` is not one."""
    if not isinstance(error, dict) or not isinstance(code := error.get("code"), int) or isinstance(code, bool):
        return None
    message = error.get("message")
    return RpcError(code, message if isinstance(message, str) else "", error.get("data"))


def same_id(received: object, sent: int | None) -> bool:
    """Whether the id in a server's message is the one we sent. Some servers turn numbers into strings."""
    return sent is not None and not isinstance(received, bool) and received in (sent, str(sent))


def snippet(data: bytes | str, secrets: Sequence[str] = ()) -> str:
    """The beginning of unexpected data on one line, without secrets, for an error message."""
    text = data[: 4 * SNIPPET].decode("utf-8", "replace") if isinstance(data, bytes) else data[: 4 * SNIPPET]
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", redact(text, secrets)).strip()
    return line if len(line) <= SNIPPET else line[: SNIPPET - 1] + "…"


def redact(text: str, secrets: Sequence[str]) -> str:
    """`text` with every configured secret replaced by "[redacted]"."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


def redact_value(value: object, secrets: Sequence[str], depth: int = MAX_DEPTH) -> object:
    """A JSON value with `redact` applied to all its strings and member names. Values nested too deeply become null."""
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
    """JSON text with its lone surrogates replaced. Replacing them in the parsed value would take far longer."""
    # First write escaped backslashes in another way. What still looks like an escape then is one.
    text = text.replace(rb"\\", rb"\u005c")
    return _LONE_LOW.sub(rb"\\ufffd", _LONE_HIGH.sub(rb"\\ufffd", text))
