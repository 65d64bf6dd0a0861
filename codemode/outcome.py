"""Turns a tool's answer into what the program gets: a value for its promise, or a `ToolError`.

The value is `structuredContent` when there is some; else the text, parsed when it is JSON and parsing loses nothing;
else the MCP content blocks; `null` for no content. A `ToolError` has `message`, `code`, `data` and `tool`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import orjson

from codemode.caller import CallOutcome, ToolDenied, ToolReturned
from codemode.results import well_formed
from codemode.text import encodable
from codemode.volume import excess

MAX_MESSAGE_CHARS = 16_000
MAX_READ = 16 * 1024 * 1024
"""Bytes of a result that are read where no limit of a run is at hand."""
NO_MESSAGE = "the tool reported an error without a message"
_MAX_SAFE_INTEGER = 2**53 - 1
# Maps digits and the point to 0, e and E to e, everything else to a space. Two byte searches in the result find the
# numbers that a double may not hold (many digits, an exponent), far faster than a pattern. A match inside a string only
# costs time.
_CLASSES = bytes(0x30 if byte in b"0123456789." else 0x65 if byte in b"eE" else 0x20 for byte in range(256))
_JSON_START = re.compile(r"\s*[\[{\"\dtfn-]")


@dataclass(frozen=True, slots=True)
class Value:
    """`encoded` is the JSON of the value, ready to be sent into the isolate."""

    encoded: bytes


@dataclass(frozen=True, slots=True)
class ToolError:
    """How a call failed, as the program's `ToolError` shows it.

    `denied`: the caller refused it. `kind`: what else it is, in a word. `about_arguments`: its arguments do not match
    the schema; it never left.
    """

    message: str
    code: int | None = None
    data: Any = None
    denied: bool = False
    about_arguments: bool = False
    kind: str = ""


def settle(outcome: CallOutcome, *, limit: int, tool: str = "the tool") -> Value | ToolError:
    """What the program gets. A result over `limit` bytes of JSON is a ToolError that states its size and the `tool`."""
    if isinstance(outcome, ToolReturned):
        return _returned(outcome.result, limit, tool)
    if isinstance(outcome, ToolDenied):
        policy = {"policy": _clean(outcome.policy)} if outcome.policy else {}
        data = _data({**policy, **(outcome.data or {})} or None, limit)
        return ToolError(_clean(outcome.reason) or "the call was denied", None, data, denied=True)
    return ToolError(_clean(outcome.message) or NO_MESSAGE, outcome.code, _data(outcome.data, limit), kind=outcome.kind)


def returned(result: Mapping[str, Any], limit: int) -> bytes | None:
    """The JSON that a program gets for a tool's result; None when it gets an error."""
    value = _returned(result, limit, "the tool")
    return value.encoded if isinstance(value, Value) else None


def over_limit(what: str, size: int, limit: int) -> str:
    """The message for a result of `size` bytes; `what` returned it."""
    return (
        f"the result of {what} has {size:,} bytes, over the limit of {limit:,} (tool_result): ask for less, with a "
        "filter or a page"
    )


def _returned(result: Mapping[str, Any], limit: int, tool: str) -> Value | ToolError:
    result = well_formed(result)
    blocks = result.get("content") or []
    structured = result.get("structuredContent")
    texts = [block["text"] for block in blocks if block.get("type") == "text" and isinstance(block.get("text"), str)]
    if result.get("isError"):
        others = blocks if structured is None and len(texts) < len(blocks) else structured
        return ToolError(_clean("\n".join(texts)) or NO_MESSAGE, None, _data(others, limit))
    if structured is not None:
        encoded = encode(structured)
    elif not blocks:
        encoded = b"null"
    elif len(texts) == len(blocks):
        encoded = from_text("\n".join(texts))
    else:
        encoded = encode(blocks)
    if encoded is None:
        return ToolError(f"the result of {tool} cannot be read: it is nested too deep or is not JSON")
    if len(encoded) > limit:
        return ToolError(over_limit(tool, len(encoded), limit))
    return Value(encoded)


def encode(value: Any) -> bytes | None:
    """A JSON value as bytes, lone surrogates replaced and integers past 64 bits as floats; None for other values."""
    try:
        return orjson.dumps(value)
    except TypeError:
        pass
    try:
        return orjson.dumps(_repaired(value, 0))
    except (TypeError, RecursionError):
        return None


def from_text(text: str) -> bytes:
    """The JSON in a text when JavaScript can hold all its values, and there are not too many; else the text as a JSON
    string."""
    if _JSON_START.match(text) and excess(text.encode("utf-8", "replace")) is None:
        parsed = parse_exactly(text)
        if parsed is not None:
            return parsed
    return encode(text) or b'""'


def parse_exactly(text: str) -> bytes | None:
    """Compact JSON with the values of `text`; None when it is not JSON or JavaScript would lose one of them.

    JavaScript loses digits past those of a double, integers past 2^53, numbers past a double's range, and all but the
    last of equal keys.
    """
    try:
        value = orjson.loads(text)
        compact = orjson.dumps(value)
    except (ValueError, TypeError):
        return None
    # A second parse that watches every value is slow. Most texts do not need it: their numbers are short, and no member
    # is gone, which would have taken its quotes along.
    encoded = text.encode()
    if _may_lose_digits(encoded) or _quotes(encoded) != _quotes(compact):
        return compact if _is_lossless(text) else None
    return compact


def _may_lose_digits(encoded: bytes) -> bool:
    classes = encoded.translate(_CLASSES)
    return b"0" * 16 in classes or b"0e" in classes


def _quotes(encoded: bytes) -> int:
    return encoded.count(b'"') - encoded.count(b'\\"')


class _LossError(ValueError):
    pass


def _is_lossless(text: str) -> bool:
    try:
        json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_safe_integer,
            parse_float=_safe_float,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError):
        return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _LossError


def _safe_integer(digits: str) -> None:
    if len(digits) > 17 or abs(int(digits)) > _MAX_SAFE_INTEGER:
        raise _LossError


def _safe_float(digits: str) -> None:
    if len(digits) > 400:
        raise _LossError
    value = float(digits)
    try:
        exact = math.isfinite(value) and Decimal(repr(value)) == Decimal(digits)
    except InvalidOperation:
        exact = False
    if not exact:
        raise _LossError


def _no_constant(name: str) -> NoReturn:
    raise _LossError(name)


def _repaired(value: Any, depth: int) -> Any:
    if depth > 200:
        raise RecursionError
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, Mapping):
        return {_repaired(str(key), depth): _repaired(part, depth + 1) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_repaired(part, depth + 1) for part in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 2**1023 else None
    return value


def _clean(message: str) -> str:
    text = encodable(message).strip() if isinstance(message, str) else ""
    return text if len(text) <= MAX_MESSAGE_CHARS else text[:MAX_MESSAGE_CHARS] + "…"


def _data(value: Any, limit: int) -> Any:
    """The `data` of an error; None when it is too large or not JSON."""
    if value is None:
        return None
    encoded = encode(value)
    return orjson.loads(encoded) if encoded is not None and len(encoded) <= limit else None
