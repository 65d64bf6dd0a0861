"""What a tool's declaration allows, the check of its arguments lets through: `nullable` and `oneOf` in every place."""

from __future__ import annotations

import random
import re
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import Catalog
from codemode.arguments import ArgumentCheck
from codemode.brevity import LEVELS, shortened
from codemode.check.declared import declarations_for
from codemode.dialect import in_own_words
from stubs import Server, Tool, assign_names, declarations, type_of
from tests.stubs.schemas import Case, anything, cases, exact_schemas, honest_schemas
from tests.stubs.test_truth import mismatches, thorough

A = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
DEFINITIONS = {"A": A, "B": {"type": "string", "nullable": True}}
DRAFT_07 = "http://json-schema.org/draft-07/schema#"


def lines(schema: dict[str, Any], value: Any, **more: Any) -> list[str]:
    """The mistakes in `{v: value}`, where `schema` is that of `v`."""
    return ArgumentCheck({"type": "object", "properties": {"v": schema}, "$defs": DEFINITIONS, **more}).mismatches(
        {"v": value}
    )


NULLABLE: list[tuple[dict[str, Any], Any, Any]] = [
    # a schema beside `nullable`, a value that it allows, and one that it refuses
    ({"type": "string"}, "a", 5),
    ({"type": ["string", "number"]}, 5, True),
    ({"type": "string", "enum": ["open", "done"]}, "open", "x"),
    ({"enum": ["open", "done"]}, "open", "x"),
    ({"const": "a"}, "a", "b"),
    ({"const": "a", "enum": ["a", "b"]}, "a", "b"),
    ({"type": "string", "format": "date", "minLength": 2}, "2026-01-01", 1),
    ({"$ref": "#/$defs/A"}, {"x": "s"}, {"x": 1}),
    ({"allOf": [{"$ref": "#/$defs/A"}]}, {"x": "s"}, {"x": 1}),
    ({"allOf": [{"type": "string"}, {"minLength": 2}]}, "ab", "a"),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 5, 1.5),
    ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, 5, 1.5),
    ({"not": {"type": "null"}}, 5, ...),
    ({"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"type": "number"}}, "ab", "a"),
    ({"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}, {"x": "s"}, {}),
    ({"type": "array", "items": {"type": "string"}}, ["a"], [1]),
    ({"type": "array", "prefixItems": [{"type": "string"}]}, ["a"], [1]),
]
PLACES: list[tuple[Any, Any]] = [
    (lambda schema: schema, lambda value: value),
    (lambda schema: {"type": "array", "items": schema}, lambda value: [value]),
    (lambda schema: {"type": "array", "prefixItems": [schema]}, lambda value: [value]),
    (lambda schema: {"type": "object", "properties": {"n": schema}, "required": ["n"]}, lambda value: {"n": value}),
    (lambda schema: {"type": "object", "additionalProperties": schema}, lambda value: {"n": value}),
    (lambda schema: {"type": "object", "patternProperties": {"^n": schema}}, lambda value: {"n": value}),
    (lambda schema: {"anyOf": [{"type": "array"}, schema]}, lambda value: value),
    (lambda schema: {"oneOf": [{"type": "array"}, schema]}, lambda value: value),
    (lambda schema: {"allOf": [schema, {}]}, lambda value: value),
    (lambda schema: {"allOf": [{"properties": {"n": schema}}]}, lambda value: {"n": value}),
]


@pytest.mark.parametrize(("schema", "right", "wrong"), NULLABLE, ids=lambda one: str(one)[:40])
def test_null_is_let_through_wherever_nullable_stands(schema: dict[str, Any], right: Any, wrong: Any) -> None:
    nullable = {**schema, "nullable": True}
    assert type_of({**nullable, "$defs": DEFINITIONS}).endswith(("| null", "unknown"))
    for place, within in PLACES:
        assert lines(place(nullable), within(None)) == []
        assert lines(place(nullable), within(right)) == []
        if wrong is not ... and not (isinstance(wrong, list) and within(0) == 0):
            assert lines(place(nullable), within(wrong)) != []


@pytest.mark.parametrize(("schema", "right", "wrong"), NULLABLE, ids=lambda one: str(one)[:40])
def test_null_is_refused_without_nullable(schema: dict[str, Any], right: Any, wrong: Any) -> None:
    assert lines(schema, None) != []
    assert lines({**schema, "nullable": False}, None) != []


def test_nullable_beside_a_reference_counts_in_older_drafts_too() -> None:
    schema = {"$schema": DRAFT_07, "definitions": {"A": A}, "$ref": "#/definitions/A", "nullable": True}
    assert type_of(schema) == "{ x: string } | null"
    reference = {"$ref": "#/definitions/A", "nullable": True}
    assert lines(reference, None, **{"$schema": DRAFT_07, "definitions": {"A": A}}) == []
    assert lines(reference, {}, **{"$schema": DRAFT_07, "definitions": {"A": A}}) == ["input.v.x is missing"]


def test_a_property_named_nullable_is_a_property() -> None:
    schema = {"type": "object", "properties": {"nullable": {"type": "string"}, "oneOf": {"type": "string"}}}
    assert lines(schema, {"nullable": None}) == ["input.v.nullable: expected string, got null"]
    assert lines(schema, {"oneOf": 5}) == ["input.v.oneOf: expected string, got 5"]
    assert lines({"enum": [{"nullable": True, "type": "string"}]}, {"nullable": True, "type": "string"}) == []


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, 5),
        ({"oneOf": [{"type": "string"}, {"type": "string", "format": "date"}]}, "2026-01-01"),
        ({"oneOf": [{"type": "string"}, {"enum": ["a", "b"]}]}, "a"),
        ({"oneOf": [A, {"type": "object"}]}, {"x": "s"}),
        ({"oneOf": [{"type": "string", "nullable": True}, {"type": "number", "nullable": True}]}, None),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}], "anyOf": [{"minimum": 1}, {"type": "string"}]}, 5),
        ({"oneOf": [{}, {"type": "integer"}], "anyOf": [{"type": "integer"}], "allOf": [{"minimum": 1}]}, 5),
    ],
)
def test_alternatives_may_overlap(schema: dict[str, Any], value: Any) -> None:
    assert lines(schema, value) == []
    assert lines({**schema, "nullable": True}, value) == []


def test_alternatives_of_two_kinds_both_hold() -> None:
    schema = {"anyOf": [{"minimum": 1}], "oneOf": [{"type": "integer"}], "allOf": [{"maximum": 9}]}
    assert [bool(lines(schema, value)) for value in (5, 0, 1.5, 10)] == [False, True, True, True]


def test_references_into_what_is_written_otherwise_lead_to_the_same_part() -> None:
    either = {"oneOf": [{"type": "string"}, {"type": "object", "properties": {"q/~ ": {"type": "integer"}}}]}
    schema = {
        "type": "object",
        "properties": {
            "p": either,
            "r": {"$ref": "#/properties/p/oneOf/1"},
            "s": {"$ref": "#/properties/p/oneOf/1/properties/q~1~0%20"},
            "t": {"allOf": [{"type": "string"}], "nullable": True},
            "u": {"$ref": "#/properties/t/allOf/0"},
        },
    }
    check = ArgumentCheck(schema)
    assert check.note is None
    assert check.mismatches({"p": "x", "r": {"q/~ ": 1}, "s": 2, "t": None, "u": "x"}) == []
    assert check.mismatches({"r": "x"}) == ['input.r: expected object, got "x"']
    assert check.mismatches({"s": "x"}) == ['input.s: expected integer, got "x"']
    assert check.mismatches({"u": None}) == ["input.u: expected string, got null"]


@pytest.mark.parametrize(
    ("schema", "value", "line"),
    [
        ({"type": "string", "nullable": True}, 5, "input.v: expected string | null, got 5"),
        ({"enum": ["a", "b"], "nullable": True}, "c", 'input.v: expected "a" | "b" | null, got "c"'),
        ({"anyOf": [{"const": "a"}, {"const": "b"}, {"type": "number"}]}, "c",
         'input.v: got "c", which matches none of "a" | "b" | number'),
        ({"$ref": "#/$defs/A", "nullable": True}, {}, "input.v.x is missing"),
        ({"oneOf": [{"type": "string"}, A]}, {"x": 1}, "input.v.x: expected string, got 1"),
        ({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}, "required": ["kind"]},
            {"type": "object", "properties": {"kind": {"const": "b"}, "s": {"type": "string"}}, "required": ["kind"]},
        ]}, {"kind": "b", "s": 1}, "input.v.s: expected string, got 1"),
        ({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]},
            {"type": "object", "properties": {"kind": {"enum": ["b", "c"]}}, "required": ["kind"]},
        ]}, {"kind": "d"}, 'input.v.kind: expected "a" | "b" | "c", got "d"'),
    ],
)  # fmt: skip
def test_a_mistake_in_one_of_several_alternatives_says_what_is_allowed(
    schema: dict[str, Any], value: Any, line: str
) -> None:
    assert lines(schema, value) == [line]


# --- the check and the declaration, held against each other ---------------------------------------------------------


def sprinkled(schema: Any, chance: random.Random) -> Any:
    """The schema with `nullable` in some of its places."""
    if isinstance(schema, list):
        return [sprinkled(item, chance) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tables = ("properties", "patternProperties", "$defs")
    changed = {
        key: {name: sprinkled(part, chance) for name, part in value.items()}
        if key in tables
        else value
        if key in ("enum", "const", "default", "required", "propertyNames", "not", "if")
        else sprinkled(value, chance)
        for key, value in schema.items()
    }
    return changed if chance.random() < 0.6 else {**changed, "nullable": True}


@st.composite
def nullable_cases(draw: st.DrawFn, schemas: st.SearchStrategy[dict[str, Any]]) -> Case:
    case = draw(cases(schemas))
    chance = random.Random(draw(st.integers(0, 1_000_000)))
    return Case(sprinkled(case.schema, chance), [*case.values, None, *(_with_null(one, chance) for one in case.values)])


def _with_null(value: Any, chance: random.Random) -> Any:
    """The value with null in one of its places."""
    if isinstance(value, dict) and value:
        return {**value, chance.choice(sorted(value)): None}
    return [*value[:-1], None] if isinstance(value, list) and value else None


def checked(case: Case) -> list[bool] | None:
    try:
        validator = jsonschema_rs.validator_for(in_own_words(case.schema), retriever=lambda uri: True)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return None
    return [validator.is_valid(value) for value in case.values]


@thorough
@given(st.lists(nullable_cases(honest_schemas()), min_size=8, max_size=16))
def test_what_the_check_lets_through_belongs_to_the_declared_type(drawn: list[Case]) -> None:
    assert mismatches(drawn, exact=False, validity=checked) == []


@thorough
@given(st.lists(nullable_cases(exact_schemas), min_size=8, max_size=16))
def test_what_the_check_refuses_does_not_belong_to_an_exact_type(drawn: list[Case]) -> None:
    assert mismatches(drawn, exact=True, validity=checked) == []


@given(cases(honest_schemas()))
def test_without_these_keywords_the_check_is_json_schema_s(case: Case) -> None:
    written = in_own_words(case.schema)
    if "oneOf" not in str(case.schema):
        assert written == case.schema
    assert in_own_words(written) == written


@given(anything)
def test_any_value_is_read_as_a_schema(schema: Any) -> None:
    in_own_words(schema)


# --- long enumerations -----------------------------------------------------------------------------------------------

MODES = [f"mode_{n}" for n in range(300)]
CUT = re.compile(r'"mode_0" \| "mode_1" \| (?:"mode_\d+" \| )*/\* \d+ more \*/ "mode_299"(?! \| string)')


def tool_with(schema: dict[str, Any]) -> Catalog:
    input_schema = {"type": "object", "properties": {"m": schema}, "required": ["m"]}
    return Catalog.build([Server("s", tools=(Tool("t", None, None, input_schema),))])


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": MODES},
        {"type": "string", "enum": MODES, "description": "The way."},
        {"type": "string", "enum": MODES, "nullable": True},
        {"type": "array", "items": {"enum": MODES}},
        {"anyOf": [{"const": mode} for mode in MODES]},
        {"oneOf": [{"const": mode, "description": f"The {mode}"} for mode in MODES]},
        {"$ref": "#/properties/other", "$comment": ""},
    ],
)
def test_a_closed_enumeration_stays_closed_when_it_is_shortened(schema: dict[str, Any]) -> None:
    input_schema = {"type": "object", "properties": {"m": schema, "other": {"enum": MODES}}, "required": ["m"]}
    tool = Tool("t", None, None, input_schema)
    catalog = Catalog.build([Server("s", tools=(tool,))])
    for level in range(1, LEVELS + 1):
        server = Server("s", tools=(shortened(tool, level),))
        assert CUT.search(declarations([server], assign_names([server])))
    for text in (catalog.describe("s.t"), catalog.describe("s.t", full=True), catalog.signature("s.t")):
        assert CUT.search(text)
    value = ["mode_150"] if schema.get("type") == "array" else "mode_150"
    assert ArgumentCheck(input_schema).mismatches({"m": value}) == []


def test_an_editor_and_the_check_of_types_know_all_values() -> None:
    catalog = tool_with({"enum": MODES})
    for text in (catalog.declarations(), declarations_for("codemode.s.t({m: 'mode_150'})", catalog)):
        assert '"mode_149" | "mode_150" | "mode_151"' in text and "more */" not in text


def test_an_enumeration_with_other_values_than_plain_ones_is_open_when_it_is_shortened() -> None:
    assert "more values */" in tool_with({"enum": [*MODES, {"a": 1}]}).describe("s.t", full=True)


def test_an_enumeration_of_texts_and_numbers_stays_closed_when_it_is_shortened() -> None:
    tool = tool_with({"enum": [*MODES, 7]})
    for text in (tool.describe("s.t"), tool.describe("s.t", full=True), tool.signature("s.t")):
        assert "more */ 7" in text


def test_a_mistake_in_a_long_enumeration_names_the_values_like_it() -> None:
    [line] = ArgumentCheck({"properties": {"m": {"enum": MODES}}}).mismatches({"m": "mod_277"})
    assert line.startswith('input.m: expected "mode_277" | ') and "294 more" in line and line.endswith('got "mod_277"')
