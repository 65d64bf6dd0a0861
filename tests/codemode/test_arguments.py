"""Arguments are checked before a call leaves; the schemas come from hostile servers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode.arguments import ArgumentCheck
from codemode.schema_cost import MAX_COST, cost, nodes

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "minLength": 2},
        "limit": {"type": "integer", "minimum": 1},
        "sort": {"enum": ["asc", "desc"]},
        "filter": {"type": "object", "properties": {"a-b": {"type": "array", "items": {"type": "string"}}}},
        "id": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    },
    "required": ["query"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ({}, ["input.query is missing"]),
        ({"query": 5}, ["input.query: expected string, got 5"]),
        ({"query": "ab", "limit": 0}, ["input.limit: 0 is less than the minimum of 1"]),
        ({"query": "ab", "sort": "up"}, ['input.sort: expected "asc" | "desc", got "up"']),
        ({"query": "ab", "filter": {"a-b": ["x", 1]}}, ['input.filter["a-b"][1]: expected string, got 1']),
        ({"query": "ab", "id": []}, ["input.id: got [], which matches none of string | integer"]),
        ({"query": "ab", "querry": "x"}, ["input.querry: no such property, nearest: input.query"]),
        ({"query": "ab"}, []),
    ],
)
def test_a_mismatch_names_path_expected_and_got(arguments: dict[str, Any], lines: list[str]) -> None:
    assert ArgumentCheck(SCHEMA).mismatches(arguments) == lines


def test_a_few_mismatches_are_shown_and_each_is_short() -> None:
    lines = ArgumentCheck(SCHEMA).mismatches({"limit": "x" * 5_000, "sort": 1, "id": None, "filter": 3})
    assert len(lines) == 3
    assert all(len(line) <= 200 for line in lines)


def test_all_that_is_missing_is_one_line_and_the_rest_follows() -> None:
    names = [f"member_{n}" for n in range(100)]
    schema = {"required": names, "properties": {name: {"type": "string"} for name in names}}
    missing, wrong = ArgumentCheck(schema).mismatches({"member_0": 5})
    assert missing.startswith("input.member_1, input.member_2, ") and missing.endswith("more are missing")
    assert len(missing) <= 200
    assert wrong == "input.member_0: expected string, got 5"


def test_of_many_values_those_like_the_given_one_are_shown() -> None:
    schema = {"properties": {"country": {"enum": [f"country_{n}" for n in range(300)]}}}
    (line,) = ArgumentCheck(schema).mismatches({"country": "contry_277"})
    assert '"country_277"' in line and "294 more" in line


LONG = [f"https://schemas.example.com/a/very/long/value/number/{n}" for n in range(80)]
MANY = [f"v{n}" for n in range(80)]


@pytest.mark.parametrize(
    ("schema", "value", "line"),
    [
        ({"enum": LONG}, 5, f'input.x: expected "{LONG[0]}" | "{LONG[1]}" | … 78 more, got 5'),
        ({"anyOf": [{"const": one} for one in LONG]}, 5,
         f'input.x: got 5, which matches none of "{LONG[0]}" | "{LONG[1]}" | … 78 more'),
        ({"anyOf": [{"const": one} for one in MANY]}, "v799",
         'input.x: got "v799", which matches none of "v79" | "v9" | "v7" | "v0" | "v1" | "v2" | … 74 more'),
        ({"enum": ["x" * 100 + str(n) for n in range(9)]}, 5,
         f'input.x: expected "{"x" * 57}…" | "{"x" * 57}…" | … 7 more, got 5'),
        ({"propertyNames": {"enum": ["a", "b"]}}, {"zz": 1}, 'input.x.zz: no such property, expected "a" | "b"'),
        ({"propertyNames": {"enum": MANY}}, {"v799": 1},
         'input.x.v799: no such property, expected "v79" | "v9" | "v7" | "v0" | "v1" | "v2" | … 74 more'),
        ({"propertyNames": {"anyOf": [{"const": "a"}, {"enum": ["b", "c"]}]}}, {"zz": 1},
         'input.x.zz: no such property, expected "a" | "b" | "c"'),
    ],
)  # fmt: skip
def test_what_is_allowed_is_named_in_whole_values(schema: dict[str, Any], value: Any, line: str) -> None:
    assert ArgumentCheck({"properties": {"x": schema}}).mismatches({"x": value}) == [line]


@pytest.mark.parametrize(
    ("schema", "value", "line"),
    [
        (False, 2, "input.x: no value is allowed here, leave it out, got 2"),
        ({"items": False}, [2], "input.x[0]: no value is allowed here, leave it out, got 2"),
        ({"enum": []}, 2, "input.x: no value is allowed here, leave it out, got 2"),
        ({"propertyNames": False}, {"y": 1}, 'input.x: expected an object without properties, got {"y":1}'),
        ({"propertyNames": {"maxLength": 2}}, {"abc": 1},
         'input.x.abc: no such property, "abc" is longer than 2 characters'),
        ({"type": "object", "additionalProperties": False}, {"y": 1}, "input.x.y: no such property"),
        ({"not": {"type": ["string", "null"]}}, "a", 'input.x: expected anything but string | null, got "a"'),
        ({"not": {"enum": ["a", "b"]}}, "a", 'input.x: expected anything but "a" | "b", got "a"'),
        ({"not": {"const": "a"}}, "a", 'input.x: expected anything but "a", got "a"'),
        ({"not": {"pattern": "^a"}}, "a", 'input.x: expected a text that does not match "^a", got "a"'),
        ({"not": {"required": ["a"]}}, {"a": 1}, 'input.x: expected an object without a, got {"a":1}'),
        ({"not": {"required": ["a", "b"]}}, {"a": 1, "b": 2},
         'input.x: expected an object without a, b together, got {"a":1,"b":2}'),
        ({"not": {}}, 1, "input.x: expected no value, got 1"),
        ({"not": {"minimum": 1, "maximum": 3}}, 2,
         "input.x: expected another value, which its schema does not exclude (`not`), got 2"),
        ({"uniqueItems": True}, [1, 1], "input.x: expected items that all differ, got [1,1]"),
        ({"contains": {"const": 2}}, [1], "input.x: expected an item that its schema wants (`contains`), got [1]"),
        ({"contains": {"const": 2}, "maxContains": 1}, [2, 2],
         "input.x: expected fewer items of those that its schema counts (`contains`), got [2,2]"),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}]}, {},
         "input.x.a or input.x.b and input.x.c is missing"),
        ({"anyOf": [{"type": "string"}, False]}, 1, "input.x: got 1, which matches none of string"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_member_and_what_would_be_right(schema: Any, value: Any, line: str) -> None:
    assert ArgumentCheck({"properties": {"x": schema}}).mismatches({"x": value}) == [line]


@pytest.mark.parametrize(
    ("reference", "where"),
    [
        ({"$ref": "#/$defs/nowhere"}, "properties.a.$ref"),
        ({"$ref": "#nowhere"}, "properties.a.$ref"),
        ({"$ref": "https://example.com/schema.json"}, "properties.a.$ref"),
        ({"$ref": "#/required"}, "properties.a.$ref"),
        ({"$dynamicRef": "#nowhere"}, "properties.a.$dynamicRef"),
        ({"items": {"anyOf": [{"$ref": "#/no"}, {"type": "null"}]}}, "properties.a.items.anyOf.0.$ref"),
        ({"not": {"$ref": "#/no"}}, "properties.a.not"),
        ({"oneOf": [{"$ref": "#/no"}, {"type": "null"}]}, "properties.a.oneOf"),
    ],
)
def test_a_reference_that_leads_nowhere_costs_only_its_own_part_of_the_check(
    reference: dict[str, Any], where: str
) -> None:
    properties = {"a": reference, "b": {"type": "string"}, "c": {"$ref": "#/$defs/C"}}
    schema = {"properties": properties, "required": ["b"], "$defs": {"C": {"type": "array", "items": {"$ref": "#"}}}}
    check = ArgumentCheck(schema)
    assert check.mismatches({"a": {"any": 1}, "b": "x"}) == []
    assert check.mismatches({"a": 1, "b": 2}) == ["input.b: expected string, got 2"]
    assert check.mismatches({"b": "x", "c": [{"c": 1}]}) == [
        "input.c[0].b is missing",
        "input.c[0].c: expected array, got 1",
    ]
    assert check.note is not None and check.note.startswith(f"inputSchema is checked without {where} (")


def test_many_lost_references_are_left_out_up_to_a_bound() -> None:
    lost = {f"p{n}": {"$ref": f"#/no/{n}"} for n in range(90)}
    assert ArgumentCheck({"properties": {**lost, "b": {"type": "string"}}}).mismatches({"b": 1}) != []
    lost |= {f"q{n}": {"$ref": f"#/no/{n}"} for n in range(5_000)}
    check = ArgumentCheck({"properties": {**lost, "b": {"type": "string"}}})
    assert check.mismatches({"b": 1}) == []
    assert check.note is not None and "not checked" in check.note


def test_many_mismatches_in_large_arguments_cost_no_more_than_the_first() -> None:
    lines = ArgumentCheck({"properties": {"a": {"items": {"type": "string"}}}}).mismatches({"a": [1] * 100_000})
    assert lines == ["input.a[0]: expected string, got 1"]


@pytest.mark.parametrize("reference", ["http://127.0.0.1:1/x", "file:///etc/passwd", "other.json#/a"])
def test_references_outside_the_schema_are_never_followed(reference: str) -> None:
    check = ArgumentCheck({"properties": {"a": {"$ref": reference}}})
    assert check.mismatches({"a": 1}) == []
    assert check.note is not None


def test_patterns_run_in_linear_time() -> None:
    check = ArgumentCheck({"properties": {"a": {"pattern": "^(a+)+$"}}})
    assert check.mismatches({"a": "a" * 50_000 + "b"}) != []


def test_a_pattern_that_cannot_be_compiled_leaves_the_rest_of_the_schema_in_force() -> None:
    check = ArgumentCheck({"properties": {"a": {"type": "string", "pattern": "^(?!x)"}}, "required": ["a"]})
    assert check.mismatches({}) == ["input.a is missing"]
    assert check.mismatches({"a": "x"}) == []
    assert check.note is not None and "checked without properties.a.pattern (" in check.note


@pytest.mark.parametrize("schema", [{"type": "nope"}, {"$ref": "#/nope"}, {"minLength": "x"}, {"required": 5}])
def test_a_broken_schema_never_blocks_a_call(schema: dict[str, Any]) -> None:
    check = ArgumentCheck(schema)
    assert check.mismatches({"a": 1}) == []
    assert check.note is not None and ("not checked" in check.note or "checked without" in check.note)


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"type": "any"}, "type"),
        ({"type": ["string", "file"]}, "type"),
        ({"type": "integer", "exclusiveMinimum": True, "minimum": 1}, "exclusiveMinimum"),
        ({"type": "string", "required": True}, "required"),
        ({"minimum": None}, "minimum"),
        ({"enum": "a|b"}, "enum"),
        ({"properties": None, "additionalProperties": False}, "properties"),
        ({"properties": {"a": None}, "additionalProperties": False}, "properties.a"),
        ({"patternProperties": {"(?!x)": {"type": "null"}}, "additionalProperties": False}, "patternProperties"),
        ({"anyOf": [{"type": "null"}, {"type": "str"}]}, "anyOf.1.type"),
        ({"anyOf": [{"type": "null"}, "string"]}, "anyOf.1"),
        ({"items": {"type": "int"}}, "items.type"),
        ({"not": {"type": "int"}}, "not"),
        ({"if": {"type": "int"}, "then": False}, "if"),
        ({"prefixItems": [{"type": "int"}]}, "prefixItems.0.type"),
        ({"prefixItems": None, "items": False}, "prefixItems"),
        ({"$defs": {"a": {"type": "int"}}, "$ref": "#/properties/x/$defs/a"}, "$defs.a.type"),
        ({"default": 1, "deprecated": "yes"}, "deprecated"),
    ],
)
def test_a_keyword_that_does_not_compile_costs_nothing_but_itself(broken: dict[str, Any], where: str) -> None:
    schema = {"properties": {"x": broken, "y": {"type": "string"}}, "required": ["y"]}
    check = ArgumentCheck(schema)
    for value in (5, "a", {"a": 1}, [1, 2], [None]):
        lines = check.mismatches({"x": value, "y": 1})
        assert "input.y: expected string, got 1" in lines, lines
        if not (isinstance(broken.get("type"), str) and where != "type"):
            assert check.mismatches({"x": value, "y": "b"}) == []
    assert check.note is not None and f"checked without properties.x.{where} (" in check.note


def test_a_list_of_items_is_a_tuple_whatever_the_draft() -> None:
    check = ArgumentCheck({"properties": {"x": {"items": [{"type": "string"}, {"type": "number"}]}}})
    assert check.mismatches({"x": ["a", 1]}) == []
    assert check.mismatches({"x": [1, 1]}) == ["input.x[0]: expected string, got 1"]


def test_more_broken_keywords_than_are_repaired_leave_the_arguments_unchecked() -> None:
    check = ArgumentCheck({"properties": {f"p{n}": {"type": "int"} for n in range(50)}, "required": ["a"]})
    assert check.mismatches({}) == []
    assert check.note is not None and "not checked" in check.note


def test_an_unknown_dialect_is_read_as_the_newest() -> None:
    check = ArgumentCheck({"$schema": "http://example.com/mine", "required": ["a"]})
    assert check.mismatches({}) == ["input.a is missing"]


def test_boolean_and_recursive_schemas_are_checked() -> None:
    assert ArgumentCheck(True).mismatches({"a": 1}) == []
    assert ArgumentCheck(False).mismatches({"a": 1}) != []
    tree = {"properties": {"children": {"items": {"$ref": "#"}}, "name": {"type": "string"}}}
    lines = ArgumentCheck(tree).mismatches({"children": [{"children": [{"name": 1}]}]})
    assert lines == ["input.children[0].children[0].name: expected string, got 1"]


def doubling(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(levels)
    }
    return {"$defs": {**definitions, f"d{levels}": {"type": "object"}}, "$ref": "#/$defs/d0"}


def test_a_schema_that_doubles_itself_is_not_run() -> None:
    assert cost(doubling(5)) == pytest.approx(2**7, rel=0.5)
    assert cost(doubling(40)) == MAX_COST
    check = ArgumentCheck(doubling(40))
    assert check.mismatches({}) == []
    assert check.note is not None and "too complex" in check.note


def test_the_cost_of_a_check_grows_with_its_arguments() -> None:
    check = ArgumentCheck({"additionalProperties": {"anyOf": [{"const": n} for n in range(5_000)]}})
    assert check.mismatches({"a": -1}) != []
    assert check.mismatches({str(n): -1 for n in range(100_000)}) == []


def test_values_are_counted_up_to_a_limit() -> None:
    assert nodes({"a": [1, 2], "b": "x"}, 100) == 5
    assert nodes([0] * 10_000, 100) == 100
    assert nodes("x" * 6_400, 1_000) == 101


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.booleans()
    | st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "object", "nope", 5])})
    | st.builds(lambda ref: {"$ref": ref}, st.sampled_from(["#", "#/a", "#/allOf/0", "#x", "http://x", "#/%zz", 5])),
    lambda inner: st.dictionaries(
        st.sampled_from(["allOf", "anyOf", "items", "not", "properties", "$defs", "pattern", "required", "if", "$id"]),
        inner | st.lists(inner, max_size=3) | st.text(max_size=5),
        max_size=4,
    ),
    max_leaves=12,
)


@given(SCHEMAS, st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3))
def test_no_schema_makes_a_check_raise(schema: Any, arguments: dict[str, Any]) -> None:
    assert isinstance(ArgumentCheck(schema).mismatches(arguments), list)
