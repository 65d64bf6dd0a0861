"""JSON with its whole numbers as they were written.

orjson reads an integer beyond 64 bits as a float, which is another number, and writes an infinity as null. The JSON of
clients and upstreams is passed on, so it is read and written here with Python's own `json` where that could happen.

Numbers with a fraction or an exponent are IEEE 754 doubles on their way through the portal, as in every official client
(RFC 8259, section 6); one that no double can hold is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isinf
from typing import NoReturn, TypeVar, cast

import orjson

# Digits and the minus sign become 0. The shortest integers that do not fit into 64 bits have 20 of these characters:
# 18446744073709551616 and -9223372036854775809.
_DIGITS = bytes(0x30 if byte in b"0123456789-" else 0x20 for byte in range(256))
_LONG = b"0" * 20
MAX_DIGITS = 400
_LONGEST = b"0" * (MAX_DIGITS + 1)
# 20 characters in a row have five at places that are multiples of four. Most texts have no such five.
_STRIDE, _SAMPLE = 4, b"0" * 5

Value = TypeVar("Value")


class NumberError(ValueError):
    """A number that JSON does not have, or that no double can hold. `str()` is the number."""


def beyond_64_bits(data: bytes | bytearray) -> bool:
    """Whether there may be an integer in this JSON that orjson changes. Quick, and never wrong about a no."""
    sampled = _SAMPLE in data[::_STRIDE].translate(_DIGITS)
    return sampled and _LONG in data.translate(_DIGITS)


def long_number(data: bytes) -> str | None:
    """The beginning of an integer with more digits than any double has, None if there is none in this JSON. Reading or
    writing one takes time by the square of its digits.

    Raises:
        ValueError: as `parse`.
    """
    if _LONGEST not in data.translate(_DIGITS):
        return None
    try:
        json.loads(data, parse_int=_short, parse_float=_short, parse_constant=_short)
    except NumberError as error:
        return str(error)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return None


def parse(text: bytes | str) -> object:
    """The value of a JSON text, with every integer exact. Some three times slower than orjson.

    Raises:
        NumberError: NaN, an infinity, or a number beyond the range of a double.
        ValueError: this is no JSON, has an integer of more than 4,300 digits, or is nested too deeply.
    """
    try:
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def end_of_value(text: str, start: int) -> int:
    """The place behind the JSON value that begins at `start`. What follows it may be anything.

    Raises:
        ValueError: no JSON value begins there, or it is nested too deeply.
    """
    try:
        return _DECODER.raw_decode(text, start)[1]
    except RecursionError:
        raise ValueError("nested too deeply") from None


def encode(value: object, option: int = 0, default: Callable[[object], object] | None = None) -> bytes:
    """JSON by orjson, whose `option` and `default` these are, with every integer exact."""
    try:
        return orjson.dumps(value, default, option)
    except TypeError:  # an integer beyond 64 bits, or a lone surrogate
        pass
    try:
        return orjson.dumps(_written_out(value), default, option)
    except (TypeError, RecursionError):
        text = json.dumps(value, separators=(",", ":"), default=default, sort_keys=bool(option & orjson.OPT_SORT_KEYS))
        return text.encode() + (b"\n" if option & orjson.OPT_APPEND_NEWLINE else b"")


def _written_out(value: object) -> object:
    """A JSON value with its integers beyond 64 bits written already, which orjson takes over."""
    if isinstance(value, dict):
        return {name: _written_out(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_written_out(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value).encode())
    return value


def within_64_bits(value: Value) -> Value:
    """The value, with integers beyond 64 bits as floats. For what only programs and people read."""
    try:
        orjson.dumps(value)
        return value
    except TypeError:
        return cast("Value", _rounded(value))


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 2**1023 else None
    return value


def _short(digits: str) -> int:
    """Nothing of the number, unless it is an integer that is too long."""
    whole = digits.removeprefix("-")
    if len(whole) > MAX_DIGITS and whole.isdigit():
        raise NumberError(f"{digits[:20]}...")
    return 0


def _finite(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise NumberError(digits[:40])
    return value


def _whole(digits: str) -> int:
    # In a function of ours, between whose calls other threads get the interpreter: 4,000 digits take long, and there
    # may be a thousand such numbers.
    return int(digits)


def _refuse(constant: str) -> NoReturn:
    raise NumberError(constant)


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)
