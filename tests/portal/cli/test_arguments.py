"""Arguments on a command line become the object the tool expects, or one clear sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.cli.arguments import parse_arguments
from portal.cli.exits import CommandError, Exit
from tests.strategies import json_values

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "zip": {"type": "string"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "kind": {"enum": ["1", "2"]},
        "limit": {"type": "integer"},
        "either": {"type": ["string", "integer"]},
    },
}


def test_no_words_are_no_arguments() -> None:
    assert parse_arguments([]) == {}


def test_one_json_object_is_taken_as_it_is() -> None:
    assert parse_arguments(['{"a": [1, null], "zip": 7}'], SCHEMA) == {"a": [1, None], "zip": 7}


def test_words_are_json_unless_the_schema_says_text() -> None:
    words = ["zip=04103", "note=null", "kind=1", "limit=3", "either=5", "free=true", "text=a b", "empty="]
    assert parse_arguments(words, SCHEMA) == {
        "zip": "04103",
        "note": "null",
        "kind": "1",
        "limit": 3,
        "either": 5,
        "free": True,
        "text": "a b",
        "empty": "",
    }


def test_a_colon_forces_json() -> None:
    assert parse_arguments(["zip:=null", 'tags:=["a=b"]'], SCHEMA) == {"zip": None, "tags": ["a=b"]}


def test_a_value_may_hold_equals_signs() -> None:
    assert parse_arguments(["query=a=b=c"]) == {"query": "a=b=c"}


@pytest.mark.parametrize(
    "words",
    [["limit"], ["=3"], [":=3"], ["{"], ["[1]"], ["{}", "a=1"], ["a=1", "a=2"], ["a:=x"], ['"text"']],
)
def test_what_cannot_be_read_is_a_usage_error_in_one_sentence(words: list[str]) -> None:
    with pytest.raises(CommandError) as raised:
        parse_arguments(words)
    assert raised.value.code is Exit.USAGE
    assert "\n" not in raised.value.message


keys = st.text(st.characters(codec="utf-8", exclude_characters="="), min_size=1).filter(
    lambda key: not key.endswith(":") and not key.lstrip().startswith(("{", "[", '"'))
)
values = json_values(st.integers(), st.text(), keys=st.text(), leaves=20)


@given(st.dictionaries(keys, values))
def test_every_json_value_can_be_given(arguments: dict[str, Any]) -> None:
    assert parse_arguments([f"{key}:={json.dumps(value)}" for key, value in arguments.items()]) == arguments


@given(st.lists(st.text()), st.booleans() | st.dictionaries(st.text(), values))
def test_any_words_are_an_object_or_a_command_error(words: list[str], schema: bool | dict[str, Any]) -> None:
    try:
        assert isinstance(parse_arguments(words, schema), dict)
    except CommandError as error:
        assert error.code is Exit.USAGE


def test_a_number_is_given_as_it_was_written_or_not_at_all() -> None:
    assert parse_arguments([f"n={2**64 + 1}"]) == {"n": 2**64 + 1}
    assert parse_arguments(["n=NaN"]) == {"n": "NaN"}
    for words in (['{"n": 1e400}'], ["n:=NaN"], ["n:=1e400"]):
        with pytest.raises(CommandError, match="not JSON"):
            parse_arguments(words)
