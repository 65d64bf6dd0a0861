"""Schemas of OpenAPI 3.0 and 3.1 as JSON Schema 2020-12, each with the definitions it needs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.portal.openapi.writing import accepts, answering, api, field_of, operation, with_body

OLD = {"openapi": "3.0.3"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        (
            {"allOf": [{"type": "string"}, {"minLength": 1}], "nullable": True, "description": "d"},
            {"description": "d", "anyOf": [{"allOf": [{"type": "string"}, {"minLength": 1}]}, {"type": "null"}]},
        ),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 1}),
        ({"type": "integer", "maximum": 1, "exclusiveMaximum": False}, {"type": "integer", "maximum": 1}),
        ({"type": "string", "format": "byte"}, {"type": "string", "contentEncoding": "base64"}),
        ({"type": "string", "example": "Rex", "xml": {"name": "n"}}, {"type": "string", "examples": ["Rex"]}),
    ],
    ids=str,
)
def test_a_schema_of_3_0_becomes_json_schema(schema: Any, expected: Any) -> None:
    assert field_of(schema, **OLD) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": ["string"]}, {"type": "string"}),
        ({"const": 5}, {"const": 5}),
        ({"type": "number", "exclusiveMinimum": 0}, {"type": "number", "exclusiveMinimum": 0}),
        ({"prefixItems": [{"type": "string"}], "items": False}, {"prefixItems": [{"type": "string"}], "items": False}),
        ({"examples": ["a", "b"]}, {"examples": ["a"]}),
        ({"contentMediaType": "image/png"}, {"contentMediaType": "image/png"}),
        ({"not": {"type": "string"}}, {"not": {"type": "string"}}),
        ({"type": "object", "unevaluatedProperties": False}, {"type": "object", "additionalProperties": False}),
        (
            {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
            {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
        ),
        (True, {}),
    ],
    ids=str,
)
def test_a_schema_of_3_1_stays_as_it_is(schema: Any, expected: Any) -> None:
    assert field_of(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "strnig"}, {}),
        ({"type": {"a": 1}}, {}),
        ({"type": ["string", 5]}, {}),
        ({"type": "string", "minLength": "3", "maxLength": -1, "pattern": 5, "format": []}, {"type": "string"}),
        ({"type": "integer", "multipleOf": 0, "minimum": True}, {"type": "integer"}),
        ({"type": "object", "properties": ["a"]}, {"type": "object"}),
        ({"type": "object", "properties": {"a": 5}}, {"type": "object", "properties": {"a": {}}}),
        ({"type": "object", "required": True}, {"type": "object"}),
        ({"type": "object", "required": ["a", 1, "a"]}, {"type": "object", "required": ["a"]}),
        ({"type": "array", "items": "string"}, {"type": "array"}),
        ({"enum": []}, {}),
        ({"anyOf": []}, {}),
        ({"anyOf": {}}, {}),
        ({"anyOf": [{"type": "string"}, 7]}, {}),
        ({"$ref": "#/components/schemas/Nowhere"}, {}),
        ({"$ref": "other.yaml#/Pet"}, {}),
        ({"$ref": 5, "type": "string"}, {"type": "string"}),
        ({"not": {"$ref": "#/nowhere"}, "type": "string"}, {"type": "string"}),
        (5, {}),
    ],
    ids=str,
)
def test_what_is_malformed_in_a_schema_allows_more_and_the_rest_stays(schema: Any, expected: Any) -> None:
    assert field_of(schema) == expected


def test_a_reference_that_leads_nowhere_is_said_with_its_place() -> None:
    schemas = {"Pet": {"properties": {"a": {"$ref": "#/components/schemas/Gone"}, "b": {"$ref": "./b.yaml"}}}}
    found = api({"/pets": {"get": answering({"$ref": "#/components/schemas/Pet"})}}, schemas=schemas)
    assert [(gap.where, gap.why) for gap in found.gaps] == [
        ("/components/schemas/Pet", "refers to #/components/schemas/Gone, which is not in this document"),
        (
            "/components/schemas/Pet",
            "refers to ./b.yaml, which is outside this document and is not fetched; bundle the document first",
        ),
    ]


def test_a_schema_that_contains_itself_is_a_definition() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}, "value": {}}}
    found = operation(answering({"$ref": "#/components/schemas/Node"}), method="get", schemas={"Node": node})
    assert found.output_schema == {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "value": {}}}},
    }


def test_a_tool_has_only_the_definitions_it_needs() -> None:
    schemas = {
        "A": {"properties": {"b": {"$ref": "#/components/schemas/B"}}},
        "B": {"type": "object", "properties": {"x": {"type": "string"}}},
        "C": {"type": "object"},
    }
    found = operation(answering({"$ref": "#/components/schemas/A"}), method="get", schemas=schemas)
    assert list(found.output_schema["$defs"]) == ["A", "B"]  # type: ignore[index, arg-type]


def test_a_reference_may_lead_anywhere_in_the_document() -> None:
    paths = {
        "/a": {"get": answering({"type": "object", "properties": {"id": {"type": "integer"}}})},
        "/b": {
            "get": answering({"$ref": "#/paths/~1a/get/responses/200/content/application~1json/schema/properties/id"})
        },
    }
    found = api(paths)
    assert found.operations[1].output_schema == {"$ref": "#/$defs/id", "$defs": {"id": {"type": "integer"}}}


def test_a_schema_with_definitions_of_its_own_finds_them() -> None:
    schemas = {"Pasted": {"$id": "x", "$ref": "#/$defs/Inner", "$defs": {"Inner": {"type": "integer"}}}}
    found = operation(answering({"$ref": "#/components/schemas/Pasted"}), method="get", schemas=schemas)
    assert accepts(found.output_schema, 1)  # type: ignore[arg-type]
    assert not accepts(found.output_schema, "a")  # type: ignore[arg-type]


def test_references_that_lead_to_references_end() -> None:
    schemas = {
        "A": {"$ref": "#/components/schemas/B"},
        "B": {"$ref": "#/components/schemas/C"},
        "C": {"type": "integer"},
        "X": {"$ref": "#/components/schemas/Y"},
        "Y": {"$ref": "#/components/schemas/X"},
    }
    assert field_of({"$ref": "#/components/schemas/A"}, schemas=schemas) == {"$ref": "#/$defs/C"}
    assert field_of({"$ref": "#/components/schemas/X"}, schemas=schemas) == {}


def test_what_stands_beside_a_reference_counts_since_3_1() -> None:
    schemas = {"Name": {"type": "string"}}
    schema = {"$ref": "#/components/schemas/Name", "description": "Who.", "maxLength": 3}
    assert field_of(schema, schemas=schemas) == {"$ref": "#/$defs/Name", "description": "Who.", "maxLength": 3}
    assert field_of(schema, schemas=schemas, **OLD) == {"$ref": "#/$defs/Name", "description": "Who."}
    nullable = {"$ref": "#/components/schemas/Name", "nullable": True}
    assert field_of(nullable, schemas=schemas, **OLD) == {"anyOf": [{"$ref": "#/$defs/Name"}, {"type": "null"}]}


def test_read_only_fields_are_in_answers_and_write_only_fields_in_inputs() -> None:
    pet = {
        "type": "object",
        "required": ["id", "password"],
        "properties": {"id": {"readOnly": True}, "password": {"writeOnly": True}, "name": {}},
    }
    schema = {"type": "array", "items": pet}
    sent = operation(with_body(schema)).input_schema["properties"]["body"]["items"]  # type: ignore[index]
    answered = field_of(schema, direction="output")["items"]
    assert (list(sent["properties"]), sent["required"]) == (["password", "name"], ["password"])
    assert (list(answered["properties"]), answered["required"]) == (["id", "name"], ["id"])


def test_a_field_is_not_required_that_another_part_of_the_schema_hides() -> None:
    parts = [{"properties": {"id": {"readOnly": True}}}, {"required": ["id", "name"], "properties": {"name": {}}}]
    found = operation(with_body({"type": "array", "items": {"allOf": parts, "required": ["id"]}}))
    assert accepts(found.input_schema, {"body": [{"name": 1}]})
    assert not accepts(found.input_schema, {"body": [{}]})


def test_a_family_of_schemas_that_refers_in_circles_keeps_the_fields_of_its_base() -> None:
    schemas = {
        "Pet": {
            "type": "object",
            "required": ["kind"],
            "properties": {"kind": {"type": "string"}},
            "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
            "discriminator": {"propertyName": "kind"},
        },
        "Cat": {"allOf": [{"$ref": "#/components/schemas/Pet"}, {"properties": {"purrs": {"type": "boolean"}}}]},
        "Dog": {"allOf": [{"$ref": "#/components/schemas/Pet"}, {"properties": {"barks": {"type": "boolean"}}}]},
    }
    schema: Any = field_of({"$ref": "#/components/schemas/Pet"}, direction="output", schemas=schemas)
    assert accepts(schema, {"kind": "cat", "purrs": True})
    assert not accepts(schema, {"kind": "cat", "purrs": 1, "barks": 1})
    assert not accepts(schema, {"purrs": True})


def test_a_discriminator_with_a_mapping_says_which_alternative_a_value_is() -> None:
    kind = {"type": "object", "properties": {"kind": {"type": "string"}, "legs": {"type": "integer"}}}
    schemas = {"Cat": kind, "Dog": {**kind, "title": "D"}, "Fish": {"properties": {"kind": {"enum": ["fish"]}}}}
    schema = {
        "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in schemas],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {"cat": "Cat", "tom": "#/components/schemas/Cat", "fish": "Fish", "odd": 5},
        },
    }
    assert field_of(schema, schemas=schemas)["anyOf"] == [
        {"$ref": "#/$defs/Cat", "properties": {"kind": {"enum": ["cat", "tom"]}}, "required": ["kind"]},
        {"$ref": "#/$defs/Dog"},
        {"$ref": "#/$defs/Fish"},
    ]


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_schema_that_is_a_part_of_itself_says_nothing_by_that(keyword: str) -> None:
    schemas = {"A": {"type": "object", keyword: [{"$ref": "#/components/schemas/A"}]}}
    schema: Any = field_of({"$ref": "#/components/schemas/A"}, direction="output", schemas=schemas)
    assert accepts(schema, {"a": 1})
    assert not accepts(schema, 1)


def test_titles_that_repeat_a_name_are_left_out() -> None:
    schema = {"type": "object", "properties": {"pet_id": {"title": "Pet Id"}, "b": {"title": "Something"}}}
    assert field_of(schema)["properties"] == {"pet_id": {}, "b": {"title": "Something"}}


def test_what_is_larger_than_a_tool_may_be_is_an_outline() -> None:
    wide = {
        f"W{n}": {"type": "object", "properties": {f"p{k}": {"type": "string"} for k in range(200)}} for n in range(50)
    }
    root = {"type": "object", "properties": {name: {"$ref": f"#/components/schemas/{name}"} for name in wide}}
    found = operation(answering({"$ref": "#/components/schemas/Root"}), method="get", schemas={**wide, "Root": root})
    definitions: Any = found.output_schema["$defs"]  # type: ignore[index]
    assert len(definitions) == 51
    assert definitions["W49"] == {"type": "object"}
    assert definitions["W0"]["properties"]["p0"] == {"type": "string"}
