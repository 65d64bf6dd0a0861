"""Large and hostile documents: bounded tools, and time that grows with the document."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import process_time
from typing import Any

import pytest

from portal.errors import InputError
from portal.openapi import Api, parse_document, read_api
from tests.portal.openapi.writing import Json, answering, api, document, query, with_body

LARGEST_TOOL = 256 * 1024


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def ordinary(count: int) -> Json:
    pet = {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "words"} for n in range(10)}}
    paths = {
        f"/pets{n}": {"post": {**with_body(ref("Pet")), **answering(ref("Pet")), "operationId": f"op{n}"}}
        for n in range(count)
    }
    return document(paths, schemas={"Pet": pet})


def same_names(count: int) -> Json:
    return document({f"/a{n}": {"get": {"operationId": "list"}} for n in range(count)})


def chain(count: int) -> Json:
    schemas = {f"S{n}": {"allOf": [ref(f"S{n + 1}"), {"required": [f"p{n}"]}]} for n in range(count)}
    return document({"/a": {"post": with_body(ref("S0"))}}, schemas={**schemas, f"S{count}": {"type": "object"}})


def references_only(count: int) -> Json:
    schemas = {f"S{n}": ref(f"S{n + 1}") for n in range(count)}
    return document({f"/a{n}": {"get": answering(ref(f"S{n}"))} for n in range(count)}, schemas=schemas)


def doubling(count: int) -> Json:
    """Each schema is the next one twice: two to the power of their number when written out."""
    schemas = {f"S{n}": {keyword: [ref(f"S{n + 1}")] * 2} for n in range(count) for keyword in ("allOf",)}
    return document({"/a": {"post": with_body(ref("S0"))}}, schemas={**schemas, f"S{count}": {"type": "object"}})


def everything_refers_to_everything(count: int) -> Json:
    width = max(2, int(count**0.5))
    schemas = {
        f"S{n}": {"type": "object", "properties": {f"p{k}": ref(f"S{k}") for k in range(width)}} for n in range(width)
    }
    return document({f"/a{n}": {"get": answering(ref(f"S{n % width}"))} for n in range(width)}, schemas=schemas)


def circles(count: int) -> Json:
    schemas = {f"S{n}": {"anyOf": [ref(f"S{(n + 1) % count}"), ref(f"S{(n * 7) % count}")]} for n in range(count)}
    return document({"/a": {"get": answering(ref("S0"))}}, schemas=schemas)


def wide_base(count: int) -> Json:
    base = {"properties": {f"p{n}": {"type": "string"} for n in range(count)}}
    schemas = {f"S{n}": {"allOf": [ref("Base")], "required": ["p0"]} for n in range(count)}
    paths = {f"/a{n}": {"post": with_body({"type": "array", "items": ref(f"S{n}")})} for n in range(count)}
    return document(paths, schemas={**schemas, "Base": base})


def wide_body(count: int) -> Json:
    """Many operations share a body of as many parts as there may be."""
    parts: Json = {"allOf": [{"properties": {f"p{n}": {}}} for n in range(90)]}
    return document({f"/a{n}": {"post": with_body(ref("Parts"))} for n in range(count // 10)}, schemas={"Parts": parts})


def one_large_operation(count: int) -> Json:
    return document({"/a": {"get": {"parameters": [query(f"q{n}", {"type": "string"}) for n in range(count)]}}})


def long_path(count: int) -> Json:
    return document({"/" + "{a}" * count: {"get": {}}, "/" + "{" * count: {"get": {}}})


def gaps(count: int) -> Json:
    return document({f"/a{n}": {"get": {"parameters": [ref(f"G{n}")] * 3}} for n in range(count)})


HOSTILE: list[Callable[[int], Json]] = [
    *(ordinary, same_names, chain, references_only, doubling, everything_refers_to_everything, circles, wide_base),
    *(wide_body, one_large_operation, long_path, gaps),
]


@pytest.mark.parametrize("write", HOSTILE, ids=lambda write: write.__name__)
def test_time_grows_with_the_document(write: Callable[[int], Json]) -> None:
    def seconds(size: int) -> float:
        whole = write(size)
        began = process_time()
        read_api(whole)
        return process_time() - began

    small = min(seconds(150) for _ in range(3))
    assert min(seconds(1_200) for _ in range(2)) < 8 * 4 * small + 0.02


@pytest.mark.parametrize("write", HOSTILE, ids=lambda write: write.__name__)
def test_a_tool_is_no_larger_than_servers_may_list(write: Callable[[int], Json]) -> None:
    for one in read_api(write(1_000)).operations:
        assert len(json.dumps([one.input_schema, one.output_schema])) < LARGEST_TOOL


def nested(keyword: str, depth: int) -> Json:
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"properties": {"a": schema}} if keyword == "properties" else {keyword: [schema, schema]}
    return schema  # type: ignore[no-any-return]


@pytest.mark.parametrize("keyword", ["properties", "allOf", "anyOf", "oneOf", "prefixItems"])
def test_schemas_that_share_parts_or_are_nested_deeply_end(keyword: str) -> None:
    # In memory this is small; written out it has two to the power of 400 parts.
    found = api({"/a": {"post": {**with_body(nested(keyword, 400)), **answering(nested(keyword, 400))}}})
    (one,) = found.operations
    assert len(json.dumps([one.input_schema, one.output_schema])) < LARGEST_TOOL


def test_only_so_many_operations_are_read_and_the_rest_is_counted() -> None:
    found = read_api(ordinary(30), most_operations=10)
    assert len(found.operations) == 10
    assert [gap.why for gap in found.gaps] == ["has 20 operations more than the 10 that are read"]


def test_only_so_many_gaps_are_kept_and_the_rest_is_counted() -> None:
    found: Api = read_api(gaps(1_000))
    assert len(found.gaps) == 200
    assert found.gaps_not_kept > 700
    assert len(found.operations) == 1_000


def test_long_texts_are_cut() -> None:
    raw = {"description": "word " * 10_000, "parameters": [query("q", {"description": "word " * 10_000})]}
    (one,) = api({"/a": {"get": raw}}).operations
    assert len(one.description) < 4_100
    assert len(json.dumps(one.input_schema)) < 1_200


def shared(component: str, value: Json, raw: Json, count: int) -> Json:
    """Operations that all refer to one large part of the document."""
    paths = {f"/a{n}": {"post": raw} for n in range(count)}
    return document(paths, components={component: {"It": value}})


@pytest.mark.parametrize("keyword", ["enum", "const"])
def test_values_that_many_operations_share_are_weighed_once_and_do_not_fill_their_tools(keyword: str) -> None:
    values = [f"value {n}" * 10 for n in range(20_000)]
    value = query("q", {keyword: values if keyword == "enum" else {"it": values}, "description": "Which."})
    whole = shared("parameters", value, {"parameters": [{"$ref": "#/components/parameters/It"}]}, 300)
    began = process_time()
    found = read_api(whole).operations
    assert process_time() - began < 2
    assert all(one.input_schema["properties"] == {"q": {"description": "Which."}} for one in found)


def test_schemas_that_build_on_many_are_looked_through_once() -> None:
    schemas: Json = {f"S{n}": {"allOf": [ref(f"S{n + k}") for k in range(1, 17)]} for n in range(200)}
    schemas |= {f"S{n}": {"type": "object"} for n in range(200, 220)}
    began = process_time()
    read_api(document({"/a": {"post": with_body(ref("S0"))}}, schemas=schemas))
    assert process_time() - began < 2


def test_a_large_body_that_many_operations_share_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.openapi.schemas.MOST_WRITTEN", 500_000)
    fields = {f"p{n}": {"properties": {f"q{k}": {"type": "string"} for k in range(50)}} for n in range(50)}
    body = with_body({"type": "object", "properties": fields})["requestBody"]
    whole = shared("requestBodies", body, {"requestBody": {"$ref": "#/components/requestBodies/It"}}, 200)
    sizes = [len(json.dumps(one.input_schema)) for one in read_api(whole).operations]
    assert len(sizes) == 200
    assert sizes[0] > 50_000
    assert sum(sizes) < 2_000_000


def test_after_so_many_parameters_operations_are_left_out_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.openapi.reading.MOST_INPUTS", 100)
    paths = {f"/a{n}": {"get": {"parameters": [query(f"q{k}", {}) for k in range(30)]}} for n in range(6)}
    found = read_api(document(paths))
    assert len(found.operations) == 4
    assert [(gap.where, gap.operation) for gap in found.gaps] == [("/paths/~1a4/get", True), ("/paths/~1a5/get", True)]


def test_of_an_operation_with_very_many_answers_nothing_is_said_of_its_answer() -> None:
    answers = {f"2{n:02}": answering({"type": "string"})["responses"]["200"] for n in range(99)}
    (one,) = api({"/a": {"get": {"responses": answers}}}).operations
    assert one.output_schema is None
    assert len(one.result.statuses) == 20


def test_json_of_more_lists_than_a_document_has_is_not_parsed() -> None:
    with pytest.raises(InputError, match="more than 1,000,000 lists and objects"):
        parse_document(b'{"openapi": "3.1.0", "x": [' + b"[]," * 1_000_001 + b"0]}")
