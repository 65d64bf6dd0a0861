"""Clients compile the output schemas of all tools: what they could not compile is left out, and nothing else."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from portal.endpoint.generations import NEWER, OLDER, TOOL, Generation, definition_for
from portal.endpoint.output_schemas import compilable
from tests.strategies import json_values

# A keyword that clients cannot compile, and what is left of the schema.
BROKEN: list[tuple[Any, Any]] = [
    ({"$ref": "#/definitions/None"}, {}),
    ({"$ref": "https://schemas.example/y.json"}, {}),
    ({"type": "str"}, {}),
    ({"type": "string", "pattern": "(?i)abc"}, {"type": "string"}),
    ({"type": "string", "pattern": r"^a\Z"}, {"type": "string"}),
    ({"type": "string", "pattern": r"^[\w-.]+$"}, {"type": "string"}),
    ({"type": "string", "pattern": "(?P<x>a)"}, {"type": "string"}),
    ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, {"type": "number", "minimum": 0}),
    ({"type": "string", "minLength": "5"}, {"type": "string"}),
    ({"type": "string", "required": True}, {"type": "string"}),
    ({"enum": None}, {}),
    ({"enum": []}, {}),
    ({"nullable": True}, {}),
    ({"enum": ["a"], "nullable": True}, {"enum": ["a", None]}),
    ("string", {}),
    (None, {}),
    ({"items": "string"}, {}),
    ({"not": {"type": "str"}}, {}),
    ({"oneOf": [{"type": "str"}, {"type": "number"}]}, {}),
    ({"anyOf": [{"type": "str"}, {"type": "number"}]}, {"anyOf": [{}, {"type": "number"}]}),
    ({"if": {"type": "str"}, "then": {"minLength": 3}}, {}),
    ({"patternProperties": {"(?i)x": {}}, "additionalProperties": False}, {"patternProperties": {}}),
]
WHOLE = [
    {"$ref": "#/$defs/A"},
    {"$ref": "#"},
    {"type": "string", "pattern": r"^[a-z0-9_-]+(?:\.[A-Z]{2,3})?$", "format": "anything"},
    {"type": ["string", "null"], "enum": ["a", None]},
    {"type": "string", "nullable": True},
    {"type": "array", "prefixItems": [{"type": "number"}], "items": False},
    {"allOf": [{"minimum": 3}], "not": {"const": 5}},
]


def output(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "$defs": {"A": {"type": "number"}}}


@pytest.mark.parametrize(("schema", "left"), BROKEN)
@pytest.mark.parametrize("generation", [OLDER, NEWER])
def test_what_no_client_compiles_is_left_out_of_an_output_schema(
    schema: Any, left: Any, generation: Generation
) -> None:
    tool = {"name": "t", "inputSchema": {"type": "object"}, "outputSchema": output(schema)}
    assert definition_for(generation, TOOL, tool) == {**tool, "outputSchema": output(left)}


@pytest.mark.parametrize("schema", WHOLE)
def test_what_clients_compile_stays(schema: Any) -> None:
    whole = output(schema)
    assert compilable(whole) is whole


def test_two_tools_whose_schemas_have_one_id_keep_their_own() -> None:
    """Clients would check the results of both by the first."""
    first = compilable({"$id": "https://a.example/out", **output({"type": "string"})})
    assert first == output({"type": "string"})


JSON = json_values(st.integers(-3, 3), st.sampled_from(["", "x", "abc"]), keys=st.sampled_from(["a", "b"]), size=2)
KEYWORDS = st.sampled_from(
    [
        "type",
        "enum",
        "pattern",
        "minimum",
        "minLength",
        "required",
        "nullable",
        "$ref",
        "uniqueItems",
        "exclusiveMinimum",
    ]
)
VALUES = st.sampled_from(
    [
        "string",
        "number",
        "str",
        "(?i)a",
        "^a$",
        "#",
        "#/$defs/A",
        "#/x",
        0,
        3,
        True,
        None,
        [],
        ["a"],
        ["string", "null"],
    ]
)
SCHEMAS = st.recursive(
    st.booleans() | st.dictionaries(KEYWORDS, VALUES, max_size=3),
    lambda inner: (
        st.dictionaries(st.sampled_from(["not", "items", "additionalProperties", "if", "then"]), inner, max_size=3)
        | st.dictionaries(st.sampled_from(["anyOf", "oneOf", "allOf"]), st.lists(inner, max_size=2), max_size=2)
        | st.dictionaries(
            st.sampled_from(["properties", "patternProperties"]),
            st.dictionaries(st.sampled_from(["a", "(?i)b"]), inner, max_size=2),
            max_size=2,
        )
    ),
    max_leaves=8,
)


@given(SCHEMAS, JSON)
def test_nothing_is_refused_that_was_allowed(schema: Any, value: Any) -> None:
    whole = output(schema)
    kept = dict(compilable(whole))
    assert compilable(kept) is kept
    try:
        allowed = jsonschema_rs.validator_for(whole).is_valid({"a": value})
    except (jsonschema_rs.ValidationError, ValueError):
        assume(False)
    assert not allowed or jsonschema_rs.validator_for(kept).is_valid({"a": value})
