"""Documents that hypothesis writes: their inputs take what a naive reading of them takes, and make sound tools."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from portal.openapi import ApiOperation, read_api
from stubs import Server, Tool, assign_names, declarations
from tests.deep import examples
from tests.portal.openapi.generated import COMPONENTS, documents
from tests.portal.openapi.writing import accepts
from tests.stubs.typescript import parse

DEEPEST = 6


def value_for(schema: Any, draw: Any, depth: int = 0) -> Any:
    """A value that a client may send by this schema of the strategies, or a LookupError: deeper than it goes."""
    if "$ref" in schema:
        return value_for(COMPONENTS[schema["$ref"].rpartition("/")[2]], draw, depth + 1)
    if "oneOf" in schema:
        return value_for(draw(st.sampled_from(schema["oneOf"])), draw, depth + 1)
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in reversed(schema["allOf"]):
            merged |= value_for(part, draw, depth + 1)
        return merged
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    kind = schema["type"]
    if kind == "object":
        return {
            name: value_for(one, draw, depth + 1)
            for name, one in schema["properties"].items()
            if not one.get("readOnly")
            if name in schema.get("required", ()) or (depth < DEEPEST and draw(st.booleans()))
        }
    if kind == "array":
        return [value_for(schema["items"], draw, depth + 1)] if depth < DEEPEST and draw(st.booleans()) else []
    return {"string": "text", "integer": 3, "number": 4.5, "boolean": True}[kind]


def conflicting(schema: Any) -> bool:
    """Whether parts of the schema describe one field twice, where naive values fit one of them only."""
    if isinstance(schema, dict):
        parts = schema.get("allOf", [])
        names = [name for part in parts for name in part.get("properties", ())]
        return len(names) != len(set(names)) or any(conflicting(value) for value in schema.values())
    return isinstance(schema, list) and any(map(conflicting, schema))


def input_of(found: ApiOperation, raw: Any, draw: Any) -> dict[str, Any]:
    """An input by the operation as it is written, through the places that `found` gives for its properties."""
    given: dict[str, Any] = {}
    for one in raw["parameters"]:
        (place,) = [p for p in found.parameters if (p.name, p.location) == (one["name"], one["in"])]
        if one["required"] or draw(st.booleans()):
            given[place.property] = value_for(one["schema"], draw)
    body = raw.get("requestBody")
    if body is None:
        assert found.body is None
        return given
    assert found.body is not None
    (media,) = body["content"].values()
    if not body["required"] and draw(st.booleans()):
        return given
    value = value_for(media["schema"], draw)
    if found.body.property is not None:
        given[found.body.property] = value
    else:
        by_name = {wire: name for name, wire in found.body.fields.items()}
        given |= {by_name[name]: member for name, member in value.items()}
    return given


@examples(300)
@given(documents(), st.data())
def test_an_input_takes_what_the_parameters_and_the_body_say(whole: Any, drawn: st.DataObject) -> None:
    for found in read_api(whole).operations:
        raw = whole["paths"][found.path][found.method.lower()]
        if conflicting(raw):
            continue
        value = input_of(found, raw, drawn.draw)
        assert accepts(found.input_schema, value), (found.input_schema, value)
        assert not accepts(found.input_schema, {**value, "no such property": 1})


@examples(100)
@given(documents())
def test_a_tool_is_self_contained_and_its_typescript_is_sound(whole: Any) -> None:
    api = read_api(whole)
    assert api.gaps == () or all("operationId" in gap.why for gap in api.gaps)
    tools = []
    for one in api.operations:
        for schema in (one.input_schema, one.output_schema or {}):
            text = json.dumps(schema)
            used = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', text))
            assert used == set(schema.get("$defs", {}))  # type: ignore[call-overload]
            assert text.count('"$ref"') == len(re.findall(r'"\$ref": "#/\$defs/\w+"', text))
        tools.append(Tool(one.name, one.title, one.description, one.input_schema, one.output_schema))
    servers = [Server("api", tools=tuple(tools))]
    parse(declarations(servers, assign_names(servers)))


@examples(100)
@given(documents(), st.randoms())
def test_a_document_is_read_the_same_every_time_and_in_every_order(whole: Any, chance: Any) -> None:
    moved = {**whole, "paths": dict(chance.sample(sorted(whole["paths"].items()), len(whole["paths"])))}
    before = {(one.path, one.method): one for one in read_api(whole).operations}
    assert {(one.path, one.method): one for one in read_api(moved).operations} == before
