"""Documents that are no OpenAPI, and documents of which a part cannot be read."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import InputError
from portal.openapi import parse_document, read_api
from tests.deep import examples
from tests.portal.openapi.generated import documents
from tests.portal.openapi.writing import accepts, answering, api, document, with_body
from tests.strategies import json_values

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 2.5, "", "x", "#/", "#", [], {}, [None], [[]], {"$ref": "#/paths"}, {"": {}}]
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be an object, found null"),
        ("[]", "must be an object, found a list"),
        ("just words", "must be an object, found text"),
        ("<!DOCTYPE html><html>", "HTML or XML"),
        ("type Query { a: Int }", "no member `openapi`"),
        ('{"swagger": "2.0", "paths": {}}', "Swagger 2.0; OpenAPI 3.0 or 3.1 is needed. Convert it first"),
        ('{"openapi": "2.0"}', "Swagger 2.0"),
        ('{"openapi": "4.0.0"}', "This is OpenAPI 4.0.0; 3.0 or 3.1 is needed"),
        ('{"openapi": 3}', "no member `openapi`"),
        ('{"asyncapi": "3.0.0"}', "an AsyncAPI document"),
        ('{"data": {"__schema": {}}}', "a GraphQL schema"),
        ('{"info": {}, "item": []}', "a Postman collection"),
        ('{"a": 1', "is not JSON"),
        ("a: [1", "is not YAML"),
        ("a: *b", "an alias to what is not there"),
        ("--- 1\n--- 2", "more than one document"),
        ("a: !!python/object:os.system {}", "has the tag"),
        ("[" * 5000, "nested too deeply|is not JSON"),
        ("a: " * 5000, "is not YAML"),
        ("- " * 5000 + "x", "nested too deeply"),
    ],
)
def test_what_is_no_openapi_document_is_refused_in_a_sentence(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as refused:
        read_api(parse_document(text.encode()))
    assert len(str(refused.value)) < 300


def test_bytes_that_are_no_text_or_too_many_are_refused() -> None:
    with pytest.raises(InputError, match="not UTF-8"):
        parse_document(b"\xff\xfe{}")
    with pytest.raises(InputError, match="larger than 10 bytes"):
        parse_document(b'{"openapi": "3.1.0"}', largest=10)


@pytest.mark.parametrize("version", ["3.0", "3.0.3", "3.1.0", "3.1.0-rc1", "3.2.0", 3.0, 3.1])
def test_a_version_of_openapi_3_is_read(version: Any) -> None:
    assert read_api({"openapi": version, "paths": {}}).openapi == str(version)


@pytest.mark.parametrize(
    ("paths", "where", "operation"),
    [
        ([], "/paths", False),
        ({"pets": {"get": {}}}, "/paths/pets", True),
        ({"/pets": 5}, "/paths/~1pets", True),
        ({"/pets": {"get": []}}, "/paths/~1pets/get", True),
        ({"/pets": {"$ref": "pets.yaml"}}, "/paths/~1pets", False),
        ({"/pets": {"parameters": 1, "get": {}}}, "/paths/~1pets/parameters", False),
        ({"/pets": {"get": {"parameters": [{"$ref": "#/gone"}]}}}, "/paths/~1pets/get/parameters/0", False),
        ({"/pets": {"get": {"parameters": [{"in": "query"}]}}}, "/paths/~1pets/get/parameters/0", False),
        ({"/pets": {"get": {"parameters": [{"name": "a", "in": "body"}]}}}, "/paths/~1pets/get/parameters/0", False),
        ({"/pets": {"get": {"responses": []}}}, "/paths/~1pets/get/responses", False),
        ({"/pets": {"post": {"requestBody": {"$ref": "#/gone"}}}}, "/paths/~1pets/post/requestBody", False),
        ({"/pets": {"post": {"requestBody": {"required": True}}}}, "/paths/~1pets/post", True),
    ],
)
def test_a_part_that_cannot_be_read_is_said_and_the_rest_works(paths: Any, where: str, operation: bool) -> None:
    whole = api({"/fine": {"get": {"operationId": "fine"}}, **paths} if isinstance(paths, dict) else paths)
    assert [one.name for one in whole.operations][:1] == (["fine"] if isinstance(paths, dict) else [])
    assert any(gap.where == where and gap.operation == operation for gap in whole.gaps)


def test_an_operation_whose_body_cannot_be_read_is_left_out() -> None:
    found = api({"/a": {"post": {"requestBody": {"$ref": "#/gone"}}, "get": {}}})
    assert [one.method for one in found.operations] == ["GET"]
    assert [gap for gap in found.gaps if gap.operation][0].where == "/paths/~1a/post"


def test_a_path_that_refers_to_another_is_that_one_with_its_own_members() -> None:
    paths = {"/a": {"get": {"operationId": "a"}}, "/b": {"$ref": "#/paths/~1a", "delete": {"operationId": "c"}}}
    assert [(one.path, one.method) for one in api(paths).operations] == [
        ("/a", "GET"),
        ("/b", "GET"),
        ("/b", "DELETE"),
    ]


def test_webhooks_and_callbacks_are_no_tools() -> None:
    found = read_api({"openapi": "3.1.0", "webhooks": {"a": {"post": {}}}})
    assert (found.operations, found.gaps) == ((), ())


def test_no_error_and_no_gap_quotes_what_a_document_has_in_full() -> None:
    secret = "s3cr3t" * 50
    found = api({"/a": {"get": {"parameters": [{"name": "q", "in": secret}]}}, secret: {}})
    assert all(len(gap.why) < 200 for gap in found.gaps)


@examples(400)
@given(documents(), st.data())
def test_a_wrong_value_anywhere_leaves_the_rest_readable(whole: Any, drawn: st.DataObject) -> None:
    whole = copy.deepcopy(whole)
    holder: Any = whole
    while True:
        keys = [key for key in (holder if isinstance(holder, dict) else range(len(holder))) if key != "openapi"]
        if not keys:
            return
        key = drawn.draw(st.sampled_from(keys))
        if not isinstance(holder[key], dict | list) or not holder[key] or drawn.draw(st.integers(0, 4)) == 0:
            holder[key] = drawn.draw(ODD)
            break
        holder = holder[key]
    json.dumps([(one.input_schema, one.output_schema) for one in read_api(whole).operations])
    for one in read_api(whole).operations:
        assert one.input_schema["type"] == "object"


@examples(200)
@given(
    json_values(
        st.sampled_from(["get", "/a", "string", "object", "#/paths", "x"]),
        keys=st.sampled_from(
            [
                "paths",
                "/a",
                "get",
                "post",
                "parameters",
                "schema",
                "properties",
                "requestBody",
                "content",
                "application/json",
                "responses",
                "200",
                "allOf",
                "$ref",
                "type",
                "name",
                "in",
                "required",
                "security",
                "servers",
                "url",
                "components",
            ]
        ),
        leaves=40,
    )
)
def test_anything_at_all_is_read_or_refused(found: Any) -> None:
    root = {**found, "openapi": "3.1.0"} if isinstance(found, dict) else found
    try:
        read_api(root)
    except InputError:
        assert not isinstance(found, dict)


def test_a_value_that_a_schema_allows_is_allowed_whatever_of_it_was_left_out() -> None:
    schema = {"oneOf": [{"type": "object", "properties": {"a": {"$ref": "other.json"}}}, {"type": "strnig"}]}
    (found,) = api({"/a": {"post": with_body(schema)}}).operations
    assert accepts(found.input_schema, {"body": {"a": 5}})
    assert accepts(found.input_schema, {"body": 7})


def test_the_document_that_was_read_is_not_changed() -> None:
    whole = document({"/a": {"post": {**with_body({"title": "A", "type": "object"}), **answering({"title": "B"})}}})
    before = copy.deepcopy(whole)
    read_api(whole)
    assert whole == before
