"""Inputs: one flat object of parameters and fields of the body, and where each goes in the request."""

from __future__ import annotations

from typing import Any

import pytest

from portal.openapi import FILE, ApiOperation, Parameter
from tests.portal.openapi.writing import accepts, api, operation, query, with_body

PET = {
    "type": "object",
    "required": ["name"],
    "properties": {"id": {"type": "integer", "readOnly": True}, "name": {"type": "string"}, "tag": {"type": "string"}},
}


def parameter(found: ApiOperation, name: str) -> Parameter:
    return next(one for one in found.parameters if one.property == name)


def properties(found: ApiOperation) -> dict[str, Any]:
    own: Any = found.input_schema["properties"]
    return {**own}


def test_parameters_and_the_fields_of_a_json_body_are_one_flat_object() -> None:
    raw = {"parameters": [query("dry_run", {"type": "boolean"}, description="Do nothing.")], **with_body(PET)}
    found = operation(raw, path="/owners/{owner}/pets")
    assert found.input_schema == {
        "type": "object",
        "properties": {
            "owner": {"type": "string"},
            "dry_run": {"type": "boolean", "description": "Do nothing."},
            "name": {"type": "string"},
            "tag": {"type": "string"},
        },
        "required": ["owner", "name"],
        "additionalProperties": False,
    }
    assert [(one.property, one.location) for one in found.parameters] == [("owner", "path"), ("dry_run", "query")]
    assert found.body is not None
    assert found.body.property is None
    assert found.body.fields == {"name": "name", "tag": "tag"}
    assert (found.body.kind, found.body.media_type, found.body.required) == ("json", "application/json", True)


def test_a_name_in_the_path_and_in_the_body_is_two_properties() -> None:
    found = operation(with_body({"type": "object", "properties": {"id": {"type": "string"}}}), path="/pets/{id}")
    assert list(properties(found)) == ["id", "body_id"]
    assert found.body is not None
    assert found.body.fields == {"body_id": "id"}
    assert properties(found)["body_id"]["description"] == "`id`"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"oneOf": [{"type": "object"}, {"type": "array"}]},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object"},
        {"type": ["object", "null"], "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {}}, "patternProperties": {"^x": {}}},
        {},
    ],
    ids=str,
)
def test_a_body_that_is_not_a_list_of_fields_is_one_property(schema: Any) -> None:
    found = operation(with_body(schema))
    assert found.body is not None
    assert found.body.property == "body"
    assert list(properties(found)) == ["body"]
    assert found.input_schema["required"] == ["body"]


def test_fields_of_all_parts_of_a_body_are_properties() -> None:
    base = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    schema = {"allOf": [{"$ref": "#/components/schemas/Base"}, {"properties": {"age": {"type": "integer"}}}]}
    found = operation(with_body(schema), schemas={"Base": base})
    assert list(properties(found)) == ["name", "age"]
    assert found.input_schema["required"] == ["name"]


def test_a_body_that_others_build_on_is_one_property_and_one_that_builds_on_it_is_fields() -> None:
    schemas = {
        "Pet": {"type": "object", "properties": {"kind": {}}, "discriminator": {"propertyName": "kind"}},
        "Dog": {"allOf": [{"$ref": "#/components/schemas/Pet"}, {"properties": {"barks": {"type": "boolean"}}}]},
    }
    pet = operation(with_body({"$ref": "#/components/schemas/Pet"}), schemas=schemas)
    assert accepts(pet.input_schema, {"body": {"kind": "dog", "barks": True}})
    dog = operation(with_body({"$ref": "#/components/schemas/Dog"}), schemas=schemas)
    assert list(properties(dog)) == ["kind", "barks"]


def test_fields_without_a_name_go_into_the_body_where_the_document_says_there_are_any() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}}
    found = operation(with_body(schema))
    assert found.body is not None
    assert found.body.rest
    assert found.input_schema["additionalProperties"] == {"type": "integer"}


def test_a_body_may_be_left_out_where_none_of_its_fields_is_needed() -> None:
    found = operation(with_body({"type": "object", "properties": {"a": {}}}, required=False))
    assert found.body is not None
    assert (found.body.required, found.body.property) == (False, None)
    assert "required" not in found.input_schema


def test_an_optional_body_with_required_fields_is_one_optional_property() -> None:
    found = operation(with_body(PET, required=False))
    assert found.body is not None
    assert (found.body.required, found.body.property) == (False, "body")
    assert accepts(found.input_schema, {})
    assert not accepts(found.input_schema, {"body": {}})
    assert accepts(found.input_schema, {"body": {"name": "Rex"}})


def test_a_body_of_which_the_document_does_not_say_whether_it_is_required_is_by_its_fields() -> None:
    raw = with_body(PET)
    del raw["requestBody"]["required"]
    found = operation(raw)
    assert found.body is not None
    assert found.body.required
    assert found.input_schema["required"] == ["name"]


def test_alternatives_of_required_fields_are_said_in_words() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}},
        "anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}],
    }
    found = operation({"summary": "Make", **with_body(schema)})
    assert list(properties(found)) == ["a", "b", "c"]
    assert found.description.endswith("Needs at least one of: a; b and c.")


def test_parameters_of_a_path_are_replaced_by_those_of_its_operation() -> None:
    item = {
        "parameters": [query("limit", {"type": "string"}), query("page", {"type": "integer"})],
        "get": {"parameters": [query("limit", {"type": "integer"})]},
    }
    (found,) = api({"/pets": item}).operations
    assert {name: schema["type"] for name, schema in properties(found).items()} == {
        "limit": "integer",
        "page": "integer",
    }


def test_headers_that_the_specification_ignores_and_those_of_the_connection_are_no_properties() -> None:
    names = ["Accept", "content-type", "Authorization", "Host", "Transfer-Encoding", "X-Trace", "bad name"]
    found = operation({"parameters": [{"name": name, "in": "header", "schema": {}} for name in names]})
    assert [one.name for one in found.parameters] == ["X-Trace"]


@pytest.mark.parametrize(
    ("raw", "style", "explode"),
    [
        ({"in": "query"}, "form", True),
        ({"in": "query", "explode": False}, "form", False),
        ({"in": "query", "style": "spaceDelimited"}, "spaceDelimited", False),
        ({"in": "query", "style": "pipeDelimited"}, "pipeDelimited", False),
        ({"in": "query", "style": "deepObject", "explode": True}, "deepObject", True),
        ({"in": "path"}, "simple", False),
        ({"in": "path", "style": "label"}, "label", False),
        ({"in": "path", "style": "matrix", "explode": True}, "matrix", True),
        ({"in": "header"}, "simple", False),
        ({"in": "cookie"}, "form", True),
        ({"in": "header", "style": "deepObject"}, "simple", False),
    ],
)
def test_the_style_of_a_parameter_is_as_the_specification_says(raw: Any, style: str, explode: bool) -> None:
    found = operation(
        {"parameters": [{"name": "x", "schema": {}, **raw}]}, path="/pets/{x}" if raw["in"] == "path" else "/p"
    )
    assert (found.parameters[0].style, found.parameters[0].explode) == (style, explode)


def test_a_parameter_with_a_content_is_written_in_its_media_type() -> None:
    raw = {"name": "filter", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}}
    found = operation({"parameters": [raw]})
    assert found.parameters[0].media_type == "application/json"
    assert properties(found)["filter"] == {"type": "object"}


def test_a_required_parameter_with_one_possible_value_need_not_be_given() -> None:
    version = {
        "name": "Api-Version",
        "in": "header",
        "required": True,
        "schema": {"type": "string", "enum": ["2026-01"]},
    }
    page = query("page", {"type": "integer", "default": 1}, required=True)
    found = operation({"parameters": [version, page, query("size", {"default": 5})]})
    assert parameter(found, "Api-Version").default == "2026-01"
    assert parameter(found, "page").default == 1
    assert parameter(found, "size").default is None
    assert "required" not in found.input_schema


def test_a_variable_of_the_path_that_is_not_described_is_text() -> None:
    found = api({"/pets/{id}": {"get": {"parameters": [{"name": "other", "in": "path", "schema": {}}]}}})
    assert [one.name for one in found.operations[0].parameters] == ["id"]
    assert found.operations[0].input_schema["required"] == ["id"]
    assert len(found.gaps) == 2


def test_files_of_a_form_are_files_of_the_input() -> None:
    schema = {
        "type": "object",
        "required": ["photo"],
        "properties": {
            "photo": {"type": "string", "format": "binary", "description": "The picture."},
            "more": {"type": "array", "items": {"type": "string", "contentMediaType": "image/png"}},
            "name": {"type": "string"},
            "meta": {"type": "object"},
        },
    }
    raw = with_body(schema, media_type="multipart/form-data", encoding={"photo": {"contentType": "image/png, image/*"}})
    found = operation(raw)
    assert found.body is not None
    assert found.body.kind == "multipart"
    assert found.body.encoding("photo").file
    assert found.body.encoding("photo").content_type == "image/png"
    assert found.body.encoding("more").files
    assert not found.body.encoding("name").file
    assert properties(found)["photo"]["description"].startswith("The picture. A file")
    assert properties(found)["more"]["items"] == FILE
    assert accepts(found.input_schema, {"photo": {"base64": "AAEC", "filename": "a.png"}})
    assert not accepts(found.input_schema, {"photo": "AAEC"})


def test_a_form_has_the_encodings_of_its_fields() -> None:
    schema = {"type": "object", "properties": {"items": {"type": "object"}, "name": {"type": "string"}}}
    encoding = {"items": {"style": "deepObject", "explode": True}}
    found = operation(with_body(schema, media_type="application/x-www-form-urlencoded", encoding=encoding))
    assert found.body is not None
    assert found.body.kind == "form"
    assert (found.body.encoding("items").style, found.body.encoding("items").explode) == ("deepObject", True)
    assert found.body.encoding("name").style == "form"


@pytest.mark.parametrize(
    ("media_type", "kind", "sent"),
    [
        ("text/plain", "text", "text/plain"),
        ("application/xml", "text", "application/xml"),
        ("application/octet-stream", "binary", "application/octet-stream"),
        ("image/*", "binary", "application/octet-stream"),
        ("image/png", "binary", "image/png"),
        ("application/vnd.api+json; charset=utf-8", "json", "application/vnd.api+json; charset=utf-8"),
    ],
)
def test_a_body_that_is_not_json_is_one_text_or_one_file(media_type: str, kind: str, sent: str) -> None:
    found = operation(with_body({"type": "string"}, media_type=media_type))
    assert found.body is not None
    assert (found.body.kind, found.body.media_type, found.body.property) == (kind, sent, "body")
    value = {"text": {"type": "string"}, "binary": FILE, "json": {"type": "string"}}[kind]
    assert properties(found)["body"] == value


def test_json_is_the_body_of_several_and_its_plain_kind_before_others() -> None:
    content: Any = {name: {"schema": {}} for name in ("text/xml", "application/hal+json", "application/json")}
    found = operation({"requestBody": {"content": content}})
    assert found.body is not None
    assert found.body.media_type == "application/json"
    assert found.body.media_types == ("application/json", "application/hal+json")


def test_what_only_answers_have_is_not_in_an_input() -> None:
    found = operation(with_body({"$ref": "#/components/schemas/Pet"}), schemas={"Pet": PET})
    assert "id" not in properties(found)
    nested = operation(
        with_body({"type": "array", "items": {"$ref": "#/components/schemas/Pet"}}), schemas={"Pet": PET}
    )
    assert "id" not in nested.input_schema["$defs"]["Pet"]["properties"]  # type: ignore[index]


def test_the_root_of_an_input_has_no_alternatives() -> None:
    for keyword in ("anyOf", "oneOf", "allOf"):
        found = operation(with_body({keyword: [{"type": "object", "properties": {"a": {}}}, {"type": "object"}]}))
        assert not {"anyOf", "oneOf", "allOf", "not", "if"} & found.input_schema.keys()


def test_a_deprecated_operation_says_so() -> None:
    found = operation({"summary": "Old", "deprecated": True})
    assert found.deprecated
    assert found.description == "Deprecated.\n\nOld"


@pytest.mark.parametrize(
    ("method", "hints"),
    [
        ("get", {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": True}),
        ("put", {"readOnlyHint": False, "idempotentHint": True, "openWorldHint": True}),
        ("post", {"readOnlyHint": False, "idempotentHint": False, "openWorldHint": True}),
        (
            "delete",
            {"readOnlyHint": False, "idempotentHint": True, "openWorldHint": True, "destructiveHint": True},
        ),
    ],
)
def test_the_hints_of_a_tool_are_what_http_says_of_its_method(method: str, hints: Any) -> None:
    assert operation({}, method=method).annotations == hints
