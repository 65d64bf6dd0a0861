"""Whole numbers pass through as they were written, whatever their size."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.exact import NumberError, beyond_64_bits, encode, long_number, parse, within_64_bits
from tests.strategies import json_values

EDGES = [2**53 + 1, 2**63, 2**64 - 1, 2**64, 2**64 + 1, -(2**63), -(2**63) - 1, 10**30 + 1, -(10**30) - 1]
INTEGERS = st.integers() | st.integers(-(2**70), 2**70) | st.sampled_from(EDGES)


@given(st.text("0123456789-, a", max_size=40), INTEGERS)
def test_an_integer_that_would_be_changed_is_always_found(before: str, number: int) -> None:
    text = json.dumps([before, number]).encode()
    assert beyond_64_bits(text) or orjson.loads(text) == [before, number]
    assert beyond_64_bits(bytearray(text)) == beyond_64_bits(text)


@given(st.binary())
def test_any_bytes_are_looked_at(data: bytes) -> None:
    assert beyond_64_bits(data) in (True, False)


def test_ordinary_texts_are_left_to_the_quick_parser() -> None:
    numbers = [2**63, 0.1, 12345678901234567, -(2**59), 1e300]
    assert not beyond_64_bits(json.dumps([numbers, "2026-11-29T02:00:00", "1" * 19]).encode())


@given(json_values(INTEGERS, st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_what_is_read_is_written_as_it_was(value: object) -> None:
    text = json.dumps(value)
    assert parse(text) == value
    assert json.loads(encode(value)) == value
    assert json.loads(encode(parse(text))) == value
    orjson.dumps(within_64_bits(value))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity"])
def test_a_number_that_no_double_holds_is_named(number: str) -> None:
    with pytest.raises(NumberError) as caught:
        parse(f'{{"a": [{number}]}}')
    assert str(caught.value) == number


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5_000, "{", ""])
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_keys_are_sorted_and_other_values_written_where_that_was_asked() -> None:
    value = {"b": 2**64, "a": 1j}
    with pytest.raises(TypeError):
        encode(value)
    written = encode(value, orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE, str)
    assert written == b'{"a":"1j","b":18446744073709551616}\n'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"[" + b"1" * 401 + b"]", True),
        (b"[-" + b"1" * 401 + b"]", True),
        (b'{"a":[1,' + b"9" * 5000 + b"]}", True),
        (b"[" + b"1" * 400 + b"]", False),
        (b'["' + b"1" * 5000 + b'"]', False),
        (b"[1." + b"1" * 5000 + b"]", False),
        (b"[1e" + b"1" * 500 + b"]", False),
    ],
)
def test_an_integer_longer_than_any_double_is_found_without_being_read(text: bytes, found: bool) -> None:
    assert (long_number(text) is not None) == found
