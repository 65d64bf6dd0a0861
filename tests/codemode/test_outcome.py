"""What a tool's answer becomes for the program."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import ToolDenied, ToolFailed, ToolReturned
from codemode.outcome import NO_MESSAGE, ToolError, Value, encode, from_text, parse_exactly, settle
from tests.strategies import FINITE, json_values

LIMIT = 10_000


def value_of(**result: Any) -> Any:
    found = settle(ToolReturned(result), limit=LIMIT)
    assert isinstance(found, Value), found
    return orjson.loads(found.encoded)


def error_of(outcome: Any) -> ToolError:
    found = settle(outcome, limit=LIMIT)
    assert isinstance(found, ToolError), found
    return found


def text(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": one} for one in texts]


def test_structured_content_comes_before_text() -> None:
    assert value_of(content=text("ignored"), structuredContent={"a": 1}) == {"a": 1}
    assert value_of(content=text("ignored"), structuredContent={}) == {}


def test_text_is_joined_and_parsed_when_it_is_json() -> None:
    assert value_of(content=text('{"a":', " 1.50}")) == {"a": 1.5}
    assert value_of(content=text("one", "two")) == "one\ntwo"


def test_no_content_is_null() -> None:
    assert value_of() is None
    assert value_of(content=[]) is None


def test_mixed_content_stays_blocks() -> None:
    blocks = [*text("see"), {"type": "image", "data": "AA==", "mimeType": "image/png"}]
    assert value_of(content=blocks) == blocks


@pytest.mark.parametrize(
    "kept",
    [
        "12345678901234567890",
        "9007199254740993",
        "[0.1234567890123456789]",
        "1e400",
        '{"a":1,"a":2}',
        "NaN",
        "hello",
        "",
    ]
    + ['{"a": [1, {"b": -98765432109876543210}]}', '"\\ud800"', "{", '{"a":1}{"b":2}', "[1e-400]"],
)
def test_text_stays_text_when_parsing_would_lose_or_fail(kept: str) -> None:
    assert value_of(content=text(kept)) == kept


@pytest.mark.parametrize(
    ("written", "value"),
    [("1.50", 1.5), (" [1, 2]\n", [1, 2]), ("true", True), ("null", None), ('"x"', "x"), ("1E5", 100_000), ("-0", 0)]
    + [('{"id":"12345678901234567890"}', {"id": "12345678901234567890"}), ("9007199254740991", 9007199254740991)]
    + [('{"a\\u0022":"\\\\"}', {'a"': "\\"}), ("0.30000000000000004", 0.30000000000000004)],
)
def test_text_is_parsed_when_only_its_spelling_is_lost(written: str, value: object) -> None:
    assert value_of(content=text(written)) == value


JSON = json_values(st.integers(), FINITE, st.text(), keys=st.text(), size=10)


def as_javascript(value: Any) -> Any:
    """The value with its numbers as doubles, which is how a program reads them."""
    if isinstance(value, dict):
        return {key: as_javascript(part) for key, part in value.items()}
    if isinstance(value, list):
        return [as_javascript(part) for part in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 2**1000 else None
    return value


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_parsed_text_has_exactly_the_values_that_were_written(value: Any, indent: int | None, escaped: bool) -> None:
    found = parse_exactly(json.dumps(value, indent=indent, ensure_ascii=escaped))
    if found is not None:
        assert json.loads(found) == value
        assert as_javascript(json.loads(found)) == as_javascript(value)


@given(st.text())
def test_any_text_becomes_a_value(written: str) -> None:
    orjson.loads(from_text(written))


def test_an_error_result_rejects_with_its_text_and_structured_content() -> None:
    found = error_of(ToolReturned({"isError": True, "content": text("no", "way"), "structuredContent": {"why": 1}}))
    assert found == ToolError("no\nway", None, {"why": 1})


def test_an_error_result_without_a_message_gets_one() -> None:
    assert error_of(ToolReturned({"isError": True, "content": []})).message == NO_MESSAGE
    assert error_of(ToolReturned({"isError": True, "content": text("  ")})).message == NO_MESSAGE


def test_a_protocol_error_keeps_code_and_data() -> None:
    assert error_of(ToolFailed("bad", -32602, {"path": "a"})) == ToolError("bad", -32602, {"path": "a"})


def test_a_denial_says_why() -> None:
    assert error_of(ToolDenied("not for you")) == ToolError("not for you", denied=True)
    later = ToolDenied("not now", "calm", {"retryAfter": 7})
    assert error_of(later) == ToolError("not now", data={"policy": "calm", "retryAfter": 7}, denied=True)


def test_a_result_over_the_limit_is_an_error_that_tells_its_size() -> None:
    found = error_of(ToolReturned({"content": text("x" * LIMIT)}))
    assert "10,002 bytes" in found.message and "10,000" in found.message


def test_error_data_over_the_limit_is_dropped_and_long_messages_are_cut() -> None:
    found = error_of(ToolFailed("m" * 100_000, 1, "d" * 100_000))
    assert found.data is None
    assert len(found.message) < 20_000


def test_what_javascript_cannot_hold_is_repaired_or_refused() -> None:
    assert value_of(structuredContent={"a": "\ud800", "b": 2**70}) == {"a": "\ufffd", "b": float(2**70)}
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    assert "nested too deep" in error_of(ToolReturned({"structuredContent": deep})).message
    assert encode({1, 2}) is None


@given(st.dictionaries(st.sampled_from(["content", "structuredContent", "isError", "toolResult"]), JSON))
def test_any_result_of_a_hostile_upstream_becomes_a_value_or_an_error(result: dict[str, Any]) -> None:
    settle(ToolReturned(result), limit=LIMIT)
