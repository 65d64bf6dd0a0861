"""What operations answer: media types to ask for, and the type of the value."""

from __future__ import annotations

from typing import Any

import pytest

from tests.portal.openapi.writing import answering, api, operation

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def answers(responses: Any) -> Any:
    return operation({"responses": responses}, method="get")


def json_of(schema: Any) -> Any:
    return {"description": "", "content": {"application/json": {"schema": schema}}}


def test_the_type_is_that_of_the_successful_json_answer() -> None:
    found = answers({"200": json_of(NUMBER), "404": json_of(TEXT), "default": json_of(TEXT)})
    assert found.output_schema == NUMBER
    assert (found.result.kinds, found.result.statuses) == (("json",), ("200",))
    assert found.result.accept == "application/json, */*;q=0.1"


def test_several_successful_answers_are_alternatives_and_one_without_a_body_is_null() -> None:
    found = answers({"200": json_of(NUMBER), "201": json_of(TEXT), "202": json_of(NUMBER), "204": {}})
    assert found.output_schema == {"anyOf": [NUMBER, TEXT, {"type": "null"}]}
    assert found.result.kinds == ("json", "nothing")


@pytest.mark.parametrize("status", ["2XX", "2xx", 200, "default"])
def test_a_status_may_be_a_range_or_a_number_or_the_default(status: Any) -> None:
    found = answers({status: json_of(NUMBER)})
    assert found.output_schema == NUMBER
    assert found.result.statuses == (str(status),)


@pytest.mark.parametrize(
    ("responses", "kinds", "accept"),
    [
        ({}, (), "*/*"),
        (None, (), "*/*"),
        ({"204": {}}, ("nothing",), "*/*"),
        ({"302": {}}, (), "*/*"),
        ({"200": {"content": {"image/png": {}}}}, ("binary",), "image/png, */*;q=0.1"),
        ({"200": {"content": {"*/*": {}}}}, ("binary",), "*/*"),
    ],
)
def test_nothing_is_said_of_an_answer_that_is_not_json_or_text(responses: Any, kinds: Any, accept: str) -> None:
    found = answers(responses)
    assert found.output_schema is None
    assert (found.result.kinds, found.result.accept) == (kinds, accept)


def test_an_answer_of_text_is_text() -> None:
    found = operation(answering({}, "text/csv"), method="get")
    assert found.output_schema == TEXT
    assert found.result.kinds == ("text",)


def test_an_answer_of_any_media_type_is_json_if_its_schema_is_of_objects() -> None:
    schema = {"type": "object", "properties": {"a": NUMBER}}
    found = operation(answering(schema, "*/*"), method="get")
    assert found.output_schema == schema
    assert (found.result.kinds, found.result.accept) == (("json",), "*/*")


def test_the_media_type_is_asked_for_of_which_the_type_is() -> None:
    content = {name: {"schema": NUMBER} for name in ("application/xml", "application/hal+json", "application/json")}
    found = answers({"200": {"content": content}})
    assert found.result.accept == "application/json, */*;q=0.1"
    found = answers({"200": json_of(NUMBER), "202": {"content": {"text/plain": {}}}})
    assert found.result.accept == "application/json, text/plain;q=0.9, */*;q=0.1"


def test_an_answer_that_cannot_be_read_leaves_the_type_open() -> None:
    paths = {"/a": {"get": {"responses": {"200": json_of(NUMBER), "201": {"$ref": "#/components/responses/Gone"}}}}}
    found = api(paths)
    assert found.operations[0].output_schema is None
    assert found.gaps[0].where == "/paths/~1a/get/responses/201"
