"""JSON Schema keywords and the TypeScript they become, one by one."""

from itertools import product
from typing import Any

import pytest

from stubs import type_of
from tests.deep import deep
from tests.stubs import typescript

STRING = {"type": "string"}
NUMBER = {"type": "number"}
A = {"type": "object", "properties": {"a": STRING}, "required": ["a"]}
B = {"type": "object", "properties": {"b": NUMBER}, "required": ["b"]}


def check(schema: Any, expected: str) -> None:
    text = type_of(schema)
    typescript.parse_type(text)
    assert text == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, "unknown"),
        (False, "never"),
        ({}, "unknown"),
        ({"type": "string"}, "string"),
        ({"type": "integer"}, "number"),
        ({"type": "null"}, "null"),
        ({"type": ["null", "string", "integer"]}, "string | number | null"),
        ({"type": ["array", "object"]}, "unknown[] | Record<string, unknown>"),
        (
            {"type": ["string", "number", "boolean", "array", "object", "null"], "items": STRING},
            "string | number | boolean | string[] | Record<string, unknown> | null",
        ),
        ({"type": "string", "nullable": True}, "string | null"),
        ({"nullable": True, "allOf": [STRING]}, "string | null"),
        ({"type": "str"}, "unknown"),
        ({"type": []}, "unknown"),
        ({"type": "string", "minLength": 3, "pattern": "^a", "format": "uuid"}, "string"),
    ],
)
def test_simple_types(schema: Any, expected: str) -> None:
    check(schema, expected)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"enum": ["a", 1, True, None, 2.5, -3]}, '"a" | 1 | true | 2.5 | -3 | null'),
        ({"enum": [True, False]}, "boolean"),
        ({"enum": [{"k": [1, "x"]}, [], {}]}, '{ k: [1, "x"] } | [] | Record<string, never>'),
        ({"enum": ['qu"ote', "new\nline", "\u2028", "\ud800"]}, r'"qu\"ote" | "new\nline" | "\u2028" | "\ud800"'),
        ({"enum": []}, "never"),
        ({"enum": "a"}, "unknown"),
        ({"type": "string", "enum": ["a", 1, None]}, '"a"'),
        ({"type": ["string", "null"], "enum": ["a", None]}, '"a" | null'),
        ({"enum": ["a", "b"], "not": {"const": "b"}}, '"a"'),
        ({"allOf": [{"enum": ["a", "b"]}, {"enum": ["b", "c"]}]}, '"b"'),
        ({"const": None}, "null"),
        ({"const": {"a": 1}}, "{ a: 1 }"),
        ({"const": 10**400}, "number"),
        ({"const": float("nan")}, "number"),
        ({"const": 1e22}, "1e+22"),
        ({"const": "x" * 1000}, "string"),
    ],
)
def test_enumerations_and_constants(schema: Any, expected: str) -> None:
    check(schema, expected)


def test_a_long_enumeration_is_cut_with_a_marker_and_stays_true() -> None:
    text = type_of({"enum": [f"value-{number}" for number in range(500)] + [7]})
    typescript.parse_type(text)
    assert text.startswith('"value-0" | "value-1" | ')
    assert text.endswith('"value-23" | /* 476 more */ 7')
    assert len(text) < 600


@pytest.mark.parametrize(
    ("values", "ending"),
    [
        ([*range(100), *(f"v{n}" for n in range(100))], '| 23 | /* 175 more */ "v99"'),
        ([*(f"v{n}" for n in range(100)), 1, 2, True, None], '| "v23" | 2 | /* 77 more */ true | null'),
        ([*(f"v{n}" for n in range(100)), 5, *(f"w{n}" for n in range(9))], '| "v23" | 5 | /* 84 more */ "w8"'),
        ([*("x" * 300 + str(n) for n in range(99)), "short"], '| /* 97 more */ "short"'),
        ([*(f"v{n}" for n in range(100)), {"a": 1}], "| string | Record<string, unknown>"),
    ],
)
def test_a_long_enumeration_of_several_types_stays_closed(values: list[Any], ending: str) -> None:
    text = type_of({"enum": values})
    typescript.parse_type(text)
    assert text.endswith(ending)


def test_names_of_a_map_that_are_listed_are_its_keys() -> None:
    names = [f"name-{n}" for n in range(100)]
    listed = {"type": "object", "propertyNames": {"enum": names}, "additionalProperties": NUMBER}
    text = type_of(listed)
    typescript.parse_type(text)
    assert text.startswith('{ [key in "name-0" | "name-1" | ')
    assert text.endswith('/* 75 more */ "name-99"]?: number }')
    assert '/* 95 more */ "name-99"]?: number }' in type_of(listed, 100)
    constants = {"propertyNames": {"anyOf": [{"const": name} for name in names]}, "additionalProperties": NUMBER}
    assert type_of({"type": "object", **constants}) == text


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "array"}, "unknown[]"),
        ({"type": "array", "items": STRING}, "string[]"),
        ({"items": STRING}, "string[]"),
        ({"type": "array", "items": {"type": ["string", "number"]}}, "(string | number)[]"),
        ({"type": "array", "items": {"type": "array", "items": {"const": -1}}}, "-1[][]"),
        ({"type": "array", "items": {"allOf": [A, {"additionalProperties": NUMBER}]}},
         "({ a: string } & Record<string, number>)[]"),
        ({"type": "array", "items": False}, "[]"),
        ({"type": "array", "maxItems": 0}, "[]"),
        ({"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}, "[number, number]"),
        ({"type": "array", "items": NUMBER, "minItems": 1, "maxItems": 9}, "number[]"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "never"),
    ],
)  # fmt: skip
def test_arrays(schema: Any, expected: str) -> None:
    check(schema, expected)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"prefixItems": [STRING, NUMBER], "items": False, "minItems": 2}, "[string, number]"),
        ({"prefixItems": [STRING, NUMBER], "items": False, "minItems": 1}, "[string, number?]"),
        ({"prefixItems": [STRING, NUMBER]}, "[string?, number?, ...unknown[]]"),
        ({"prefixItems": [STRING], "items": {"type": ["null", "number"]}, "minItems": 1},
         "[string, ...(number | null)[]]"),
        ({"prefixItems": [STRING], "items": NUMBER, "minItems": 3}, "[string, number, number, ...number[]]"),
        ({"prefixItems": [STRING, NUMBER], "maxItems": 1}, "[string?]"),
        ({"prefixItems": [{"type": ["string", "null"]}], "items": False}, "[(string | null)?]"),
        ({"prefixItems": [STRING], "items": False, "minItems": 2}, "never"),
        ({"prefixItems": [STRING], "unevaluatedItems": False}, "[string?]"),
        ({"items": [STRING], "additionalItems": False, "minItems": 1}, "[string]"),
        ({"items": [STRING], "additionalItems": NUMBER}, "[string?, ...number[]]"),
        ({"items": [STRING, NUMBER]}, "[string?, number?, ...unknown[]]"),
    ],
)  # fmt: skip
def test_tuples(schema: dict[str, Any], expected: str) -> None:
    check({"type": "array", **schema}, expected)


def test_draft_07_has_no_prefix_items() -> None:
    check({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "prefixItems": [STRING]}, "unknown[]")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, "Record<string, unknown>"),
        ({"properties": {}}, "Record<string, unknown>"),
        ({"properties": {"a": STRING, "b": True, "c": False}, "required": ["b"]},
         "{ b: unknown; a?: string; c?: never }"),
        ({"properties": {"a-b": {}, "1": {}, "": {}, 'q"': {}, "$ok": {}, "délai": {}}},
         '{ "a-b"?: unknown; "1"?: unknown; ""?: unknown; "q\\""?: unknown; $ok?: unknown; "délai"?: unknown }'),
        ({"additionalProperties": False}, "Record<string, never>"),
        ({"additionalProperties": True}, "Record<string, unknown>"),
        ({"additionalProperties": STRING}, "Record<string, string>"),
        ({"properties": {"a": STRING}, "additionalProperties": False}, "{ a?: string }"),
        ({"properties": {"a": STRING}, "additionalProperties": True}, "{ a?: string; [key: string]: unknown }"),
        ({"properties": {"a": STRING}, "required": ["a"], "additionalProperties": STRING},
         "{ a: string; [key: string]: string }"),
        ({"properties": {"a": STRING}, "additionalProperties": NUMBER},
         "{ a?: string; [key: string]: number | string | undefined }"),
        ({"properties": {"a": A}, "additionalProperties": NUMBER}, "{ a?: { a: string }; [key: string]: unknown }"),
        ({"required": ["a"]}, "{ a: unknown }"),
        ({"required": ["a"], "additionalProperties": STRING}, "{ a: string; [key: string]: string }"),
        ({"required": ["a"], "additionalProperties": False}, "never"),
        ({"properties": {"a": False}, "required": ["a"]}, "never"),
        ({"patternProperties": {"^x-": STRING}}, "{ [key: `x-${string}`]: string }"),
        ({"patternProperties": {"_id$": STRING}, "additionalProperties": False}, "{ [key: `${string}_id`]: string }"),
        ({"patternProperties": {"^x-": STRING}, "properties": {"x-n": NUMBER, "n": NUMBER}},
         '{ "x-n"?: number; n?: number; [key: `x-${string}`]: string | number | undefined }'),
        ({"patternProperties": {"^x-": STRING, "^x-y": NUMBER}}, "Record<string, unknown>"),
        ({"patternProperties": {"^[a-z]+$": STRING}, "additionalProperties": False}, "Record<string, string>"),
        ({"patternProperties": {"^[a-z]+$": STRING}}, "Record<string, unknown>"),
        ({"patternProperties": {".*": STRING}}, "Record<string, string>"),
        ({"propertyNames": {"enum": ["a", "b"]}, "additionalProperties": NUMBER}, "{ a?: number; b?: number }"),
        ({"propertyNames": {"pattern": "^a"}}, "Record<string, unknown>"),
        ({"unevaluatedProperties": False, "properties": {}}, "Record<string, never>"),
        ({"unevaluatedProperties": NUMBER}, "Record<string, number>"),
        ({"not": {"required": ["old"]}, "properties": {"a": STRING}}, "{ a?: string; old?: never }"),
        ({"properties": {"constructor": STRING}}, "{ constructor?: string | Function }"),
    ],
)  # fmt: skip
def test_objects(schema: dict[str, Any], expected: str) -> None:
    check({"type": "object", **schema}, expected)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"anyOf": [STRING, NUMBER]}, "string | number"),
        ({"oneOf": [A, B]}, "{ a: string } | { b: number }"),
        ({"anyOf": []}, "unknown"),
        ({"anyOf": [STRING, {}]}, "unknown"),
        ({"anyOf": [STRING, False]}, "string"),
        ({"allOf": [A, B]}, "{ a: string; b: number }"),
        ({"allOf": [{"anyOf": [A, STRING]}, {"anyOf": [B, STRING]}]},
         "({ a: string } | string) & ({ b: number } | string)"),
        ({"allOf": [STRING, NUMBER]}, "never"),
        ({"type": "string", "anyOf": [{"enum": ["a"]}, {"pattern": "^b"}]}, '"a" | string'),
        ({"type": "object", "anyOf": [A, STRING]}, "{ a: string }"),
        ({**A, "anyOf": [B, {"required": ["c"]}]}, "{ a: string } & ({ b: number } | { c: unknown })"),
        ({**A, "allOf": [{"required": ["c"]}]}, "{ a: string; c: unknown }"),
        ({"properties": {"a": STRING}, "allOf": [B]}, "{ b: number; a?: string }"),
        ({"required": [], "anyOf": [STRING, {"type": "null"}]}, "string | null"),
        ({"type": "object", "if": A, "then": B, "else": {"required": ["c"]}},
         "{ a: string; b: number } | { c: unknown }"),
        ({"type": "object", "if": A, "then": B}, "Record<string, unknown>"),
        ({"not": {}}, "never"),
        ({"type": ["string", "null"], "not": {"type": "null"}}, "string"),
        ({"type": "number", "not": {"type": "integer"}}, "number"),
        ({"type": "string", "not": {"pattern": "^a"}}, "string"),
    ],
)  # fmt: skip
def test_combinators_hold_beside_their_siblings(schema: dict[str, Any], expected: str) -> None:
    check(schema, expected)


def test_alternatives_past_the_limit_widen_the_type() -> None:
    text = type_of({"anyOf": [{"type": "object", "properties": {f"p{number}": STRING}} for number in range(500)]})
    assert text.endswith("| Record<string, unknown>")


KEYWORDS = ("properties", "required", "items", "anyOf", "$ref", "enum", "type", "not", "$defs")
OF_ANY_TYPE: tuple[Any, ...] = (None, 5, "x", [], [5], {}, {"a": 5}, True)


@pytest.mark.parametrize(("keyword", "value"), deep(product(KEYWORDS, OF_ANY_TYPE)))
def test_a_keyword_of_the_wrong_type_counts_as_absent(keyword: str, value: Any) -> None:
    typescript.parse_type(type_of({keyword: value}))
