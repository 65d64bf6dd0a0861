"""References within a schema document."""

from typing import Any

import pytest

from stubs import Server, Tool, assign_names, declarations, type_of
from tests.stubs import typescript

TREE = {"type": "object", "properties": {"next": {"$ref": "#"}, "value": {"type": "string"}}}


def declared(output: Any) -> str:
    server = Server("s", tools=(Tool("t", output_schema=output),))
    text = declarations([server], assign_names([server]))
    typescript.parse(text)
    return text


@pytest.mark.parametrize(
    "reference",
    [
        "#/$defs/a",
        "#/definitions/b",
        "#/$defs/a%25b~1c~0d",
        "#/$defs/with%20space",
        "#named",
        "#legacy",
        "other.json",
        "other.json#/$defs/inner",
        "https://example.com/schemas/other.json",
        "root.json#/$defs/a",
        "#/$defs/list/1",
    ],
)
def test_what_is_in_the_document_is_found(reference: str) -> None:
    schema = {
        "$id": "https://example.com/schemas/root.json",
        "type": "object",
        "properties": {"x": {"$ref": reference}},
        "definitions": {"b": {"type": "boolean"}},
        "$defs": {
            "a": {"type": "boolean"},
            "a%b/c~d": {"type": "boolean"},
            "with space": {"type": "boolean"},
            "n": {"$anchor": "named", "type": "boolean"},
            "l": {"$id": "#legacy", "type": "boolean"},
            "other": {"$id": "other.json", "type": "boolean", "$defs": {"inner": {"type": "boolean"}}},
            "list": [{"type": "string"}, {"type": "boolean"}],
        },
    }
    assert type_of(schema) == "{ x?: boolean }"


@pytest.mark.parametrize(
    "reference", ["https://elsewhere.example/x", "#/no/where", "file:///etc/passwd", "http://[", "#x"]
)
def test_what_is_not_in_the_document_is_unknown_and_says_so(reference: str) -> None:
    assert type_of({"$ref": reference}) == "unknown"
    text = declared({"type": "object", "properties": {"x": {"$ref": reference}}})
    assert f"/** not in this schema: {reference} */ x?: unknown;" in text


def test_siblings_of_a_reference_count_except_in_the_drafts_that_ignore_them() -> None:
    schema = {"$ref": "#/$defs/a", "required": ["y"], "$defs": {"a": {"type": "object", "properties": {"x": True}}}}
    assert type_of(schema) == "{ y: unknown } & { x?: unknown }"
    assert type_of({"$schema": "http://json-schema.org/draft-07/schema#", **schema}) == "{ x?: unknown }"


def test_a_reference_to_false_is_never_and_to_true_unknown() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/f"}, "b": {"$ref": "#/$defs/t"}}}
    assert type_of({**schema, "$defs": {"f": False, "t": True}}) == "{ a?: never; b?: unknown }"


def test_a_type_that_contains_itself_is_named() -> None:
    text = declared({"$ref": "#/$defs/tree_node", "$defs": {"tree_node": {**TREE, "properties": {
        "children": {"type": "array", "items": {"$ref": "#/$defs/tree_node"}}}}}})  # fmt: skip
    assert "type s_TreeNode = { children?: s_TreeNode[] };" in text
    assert "Promise<s_TreeNode>" in text


def test_a_document_that_contains_itself_is_named_after_its_tool() -> None:
    text = declared(TREE)
    assert "type s_TOutput = { next?: s_TOutput; value?: string };" in text
    assert "Promise<s_TOutput>" in text


def test_types_that_contain_each_other_are_named() -> None:
    text = declared({"$ref": "#/$defs/a", "$defs": {
        "a": {"type": "object", "properties": {"b": {"$ref": "#/$defs/b"}}},
        "b": {"type": "object", "additionalProperties": {"$ref": "#/$defs/a"}}}})  # fmt: skip
    assert "type s_A = { b?: s_B };" in text
    assert "type s_B = { [key: string]: s_A };" in text


@pytest.mark.parametrize(
    ("definitions", "expected"),
    [
        ({"a": {"$ref": "#/$defs/a"}}, "unknown"),
        ({"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "string"}]}}, "string"),
        ({"a": {"allOf": [{"$ref": "#/$defs/a"}, {"type": "string"}]}}, "string"),
        ({"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "string"}]}}, "unknown"),
    ],
)
def test_a_type_defined_as_itself_is_as_wide_as_need_be(definitions: Any, expected: str) -> None:
    schema = {"$ref": "#/$defs/a", "$defs": definitions}
    assert type_of(schema) == expected
    assert typescript.check({"a.ts": declared(schema)}) == []


def test_dynamic_references_lead_to_the_outermost_anchor_that_is_known() -> None:
    node = {"$id": "node", "$dynamicAnchor": "n", "type": "object", "properties": {"c": {"$dynamicRef": "#n"}}}
    inner = {"type": "array", "items": {"$ref": "node"}}
    assert type_of({**inner, "$defs": {"node": node}}).startswith("unknown[]")
    text = declared({**node, "$id": "https://example.com/node"})
    assert "type s_N = { c?: s_N };" in text


def test_equal_definitions_of_several_tools_are_declared_once() -> None:
    person = {"type": "object", "description": "A person", "properties": {
        "login": {"type": "string"}, "boss": {"$ref": "#/$defs/Person"}}}  # fmt: skip
    one = {"type": "object", "properties": {"author": {"$ref": "#/$defs/Person"}}, "$defs": {"Person": person}}
    two = {"type": "array", "items": {"$ref": "#/$defs/Person"}, "$defs": {"Person": person}}
    server = Server("s", tools=(Tool("one", output_schema=one), Tool("two", output_schema=two)))
    text = declarations([server], assign_names([server]))
    assert text.count("type s_Person") == 1
    assert text.count("A person") == 1


def test_different_definitions_of_one_name_are_told_apart() -> None:
    def holding(key: str) -> dict[str, Any]:
        node = {"type": "object", "properties": {key: {"$ref": "#/$defs/Node"}}}
        return {"$ref": "#/$defs/Node", "$defs": {"Node": node}}

    server = Server("s", tools=(Tool("one", output_schema=holding("a")), Tool("two", output_schema=holding("b"))))
    text = declarations([server], assign_names([server]))
    assert "type s_Node = { a?: s_Node };" in text
    assert "type s_Node2 = { b?: s_Node2 };" in text


def test_a_large_type_used_twice_is_named_even_when_it_was_written_out_each_time() -> None:
    address = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("street", "city", "zip", "country")},
    }
    schema = {"type": "object", "properties": {"from_address": address, "to_address": address}}
    text = declared(schema)
    assert "type s_FromAddress = { street?: string; city?: string; zip?: string; country?: string };" in text
    assert "to_address?: s_FromAddress" in text
