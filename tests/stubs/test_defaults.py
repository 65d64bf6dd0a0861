"""A required property of an input that has a default may be left out; whatever else a schema says stays."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from codemode.arguments import ArgumentCheck
from stubs import Server, Tool, assign_names, signature, without_defaulted
from tests.strategies import json_values

LIMIT: dict[str, Any] = {"type": "integer", "default": 10}
INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string"}, "limit": LIMIT, "page": {"$ref": "#/$defs/page"}},
    "required": ["query", "limit", "page"],
    "$defs": {"page": {"type": "object", "properties": {"size": LIMIT}, "required": ["size"]}},
}


def test_a_property_with_a_default_is_optional_in_the_declaration_and_in_the_check() -> None:
    server = Server("s", tools=(Tool(name="list", input_schema=INPUT, output_schema=INPUT),))
    declared = signature(server, server.tools[0], assign_names([server]))
    assert declared.startswith("codemode.s.list(input: { query: string; page: { size?: number }; limit?: number })")
    assert "limit: number" in declared.partition("Promise")[2]
    check = ArgumentCheck(INPUT)
    assert check.mismatches({"query": "x", "page": {}}) == []
    assert check.mismatches({"page": {}}) == ["input.query is missing"]
    assert check.mismatches({"query": "x", "page": {}, "limit": "ten"}) != []


def test_a_property_called_default_and_data_are_no_defaults() -> None:
    schema = {"properties": {"default": {"type": "string"}}, "required": ["default"]}
    assert without_defaulted(schema) is schema
    schema = {"const": {"properties": {"a": LIMIT}, "required": ["a"]}}
    assert without_defaulted(schema) is schema


@given(json_values(keys=st.sampled_from(["properties", "required", "default", "type", "a"])))
def test_any_value_is_taken_and_nothing_but_required_changes(schema: Any) -> None:
    def rest(value: Any) -> Any:
        if isinstance(value, list):
            return [rest(item) for item in value]
        return (
            {key: rest(item) for key, item in value.items() if key != "required"} if isinstance(value, dict) else value
        )

    assert rest(without_defaulted(schema)) == rest(schema)
