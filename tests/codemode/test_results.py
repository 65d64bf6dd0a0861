"""What a server meant by a result whose members have another form than the protocol gives them."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import ToolReturned, content_blocks, well_formed
from codemode.outcome import ToolError, Value, settle
from codemode.results import means_true
from tests.strategies import json_values

JSON = json_values()
TEXT = {"type": "text", "text": "hello"}
IMAGE = {"type": "image", "data": "AA==", "mimeType": "image/png"}
MEANT = [
    ("hello", [TEXT]),
    (["hello", "you"], [TEXT, {"type": "text", "text": "you"}]),
    (["hello", IMAGE], [TEXT, IMAGE]),
    (TEXT, [TEXT]),
    (IMAGE, [IMAGE]),
    ([TEXT, None], [TEXT]),
    ({"rows": [1, 2]}, [{"type": "text", "text": '{"rows": [1, 2]}'}]),
    ({"type": "text", "text": 5}, [{"type": "text", "text": "5"}]),
    ([["a"], 5, True], [{"type": "text", "text": text} for text in ('["a"]', "5", "true")]),
    (None, []),
    ([], []),
]


def for_program(result: dict[str, Any]) -> Any:
    """The value of the program, or its `ToolError`."""
    outcome = settle(ToolReturned(result), limit=10_000)
    return orjson.loads(outcome.encoded) if isinstance(outcome, Value) else outcome


@pytest.mark.parametrize(("content", "blocks"), MEANT)
def test_content_of_any_form_is_a_list_of_blocks(content: Any, blocks: list[Any]) -> None:
    assert content_blocks(content) == blocks


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("hello", "hello"),
        (["hello", "you"], "hello\nyou"),
        (TEXT, "hello"),
        (IMAGE, [IMAGE]),
        ("[1, 2]", [1, 2]),
        ({"rows": [1, 2]}, {"rows": [1, 2]}),
        ([TEXT, None], "hello"),
        (["see", IMAGE], [{"type": "text", "text": "see"}, IMAGE]),
        (5, 5),
    ],
)
def test_a_program_gets_content_of_any_form(content: Any, value: Any) -> None:
    assert for_program({"content": content}) == value
    failed = for_program({"content": content, "isError": True})
    assert isinstance(failed, ToolError)


def test_an_error_with_a_plain_text_says_it() -> None:
    for content in ("no such file", ["no such file"], {"type": "text", "text": "no such file"}):
        failed = for_program({"content": content, "isError": True})
        assert isinstance(failed, ToolError) and failed.message == "no such file"


@pytest.mark.parametrize("value", [False, None, 0, 0.0, "false", "False", " FALSE ", "0", "no", "", [], {}])
def test_an_error_flag_that_means_false_is_no_error(value: Any) -> None:
    assert well_formed({"content": [TEXT], "isError": value}) == {"content": [TEXT], "isError": False}
    assert for_program({"content": [TEXT], "isError": value}) == "hello"


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "True", "1", "yes", "no such file", {"code": 1}])
def test_an_error_flag_that_means_true_is_an_error(value: Any) -> None:
    assert well_formed({"content": [TEXT], "isError": value}) == {"content": [TEXT], "isError": True}
    failed = for_program({"content": [TEXT], "isError": value})
    assert isinstance(failed, ToolError) and failed.message == "hello"


@pytest.mark.parametrize(
    ("value", "shaped", "program"),
    [
        ("hello", {"content": [TEXT]}, "hello"),
        ([TEXT], {"content": [TEXT]}, "hello"),
        ({"a": 1}, {"content": [{"type": "text", "text": '{"a": 1}'}], "structuredContent": {"a": 1}}, {"a": 1}),
        ([1, 2], {"content": [{"type": "text", "text": "[1, 2]"}]}, [1, 2]),
        (5, {"content": [{"type": "text", "text": "5"}]}, 5),
        (None, {"content": []}, None),
    ],
)
def test_the_result_of_the_first_protocol_is_one(value: Any, shaped: dict[str, Any], program: Any) -> None:
    assert well_formed({"toolResult": value}) == shaped
    assert for_program({"toolResult": value}) == program
    failed = for_program({"toolResult": value, "isError": True})
    assert isinstance(failed, ToolError)


@pytest.mark.parametrize(
    ("bare", "shaped", "program"),
    [
        (
            {"celsius": 5},
            {"content": [{"type": "text", "text": '{"celsius": 5}'}], "structuredContent": {"celsius": 5}},
            {"celsius": 5},
        ),
        (TEXT, {"content": [TEXT]}, "hello"),
        (
            {"content": None, "rows": []},
            {"content": [{"type": "text", "text": '{"rows": []}'}], "structuredContent": {"rows": []}},
            {"rows": []},
        ),
    ],
)
def test_a_value_that_is_the_result_itself_is_not_lost(bare: dict[str, Any], shaped: Any, program: Any) -> None:
    """Plain clients got an empty content, and programs null."""
    assert well_formed(bare) == shaped
    assert well_formed({**bare, "_meta": {"a": 1}}) == {"_meta": {"a": 1}, **shaped}
    assert for_program(bare) == program
    assert isinstance(for_program({**bare, "isError": True}), ToolError)


def test_content_comes_before_the_result_of_the_first_protocol() -> None:
    result = {"content": [TEXT], "toolResult": "older"}
    assert well_formed(result) is result


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"content": []},
        {"content": [TEXT, IMAGE, {"type": "chart", "spec": {}}], "isError": True},
        {"content": [{**TEXT, "annotations": {"priority": 1}}], "structuredContent": {"a": 1}, "isError": False},
        {"structuredContent": [1]},
        {"resultType": "input_required", "inputRequests": {}},
    ],
)
def test_a_result_in_the_right_form_is_the_same_object(result: dict[str, Any]) -> None:
    assert well_formed(result) is result


def test_what_is_nested_too_deep_to_be_written_is_said_to_be() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deep" in content_blocks([deep])[0]["text"]


@given(
    st.dictionaries(st.sampled_from(["content", "structuredContent", "isError", "toolResult", "_meta", "rows"]), JSON)
)
def test_any_result_gets_the_form_of_the_protocol_and_keeps_it(result: dict[str, Any]) -> None:
    shaped = well_formed(result)
    assert isinstance(shaped.get("isError", False), bool)
    content = shaped.get("content") or []
    assert isinstance(content, list)
    assert all(isinstance(block, dict) and isinstance(block["type"], str) for block in content)
    assert well_formed(shaped) is shaped
    assert well_formed(json.loads(json.dumps(shaped))) == shaped


MARK = "MARK"
# Not next to a text that is there: a program gets the text of a text block and nothing else of it.
MARKED = st.recursive(
    st.just(MARK),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "data", "a"]), inner | st.sampled_from(["text", "image"]), min_size=1
        )
        | st.builds(
            lambda value, kind: {"type": kind, "text": value}, inner, st.sampled_from(["text", "image", 5, None])
        )
    ),
    max_leaves=5,
)


@given(MARKED, st.sampled_from(["content", "toolResult"]), st.sampled_from([True, "true", False, "false", None]))
def test_nothing_that_a_server_says_is_lost(value: Any, member: str, failed: Any) -> None:
    found = for_program({member: value, "isError": failed})
    said = f"{found.message} {found.data}" if isinstance(found, ToolError) else json.dumps(found)
    assert MARK in said or MARK not in json.dumps(value)


def test_the_blocks_of_an_error_are_its_data() -> None:
    failed = for_program({"content": ["no", IMAGE], "isError": True})
    assert (failed.message, failed.data) == ("no", [{"type": "text", "text": "no"}, IMAGE])


@given(JSON)
def test_any_value_means_true_or_false(value: Any) -> None:
    assert means_true(value) in (True, False)
    assert means_true(str(bool(value))) == bool(value)
