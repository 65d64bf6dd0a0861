"""Schemas made to break a generator: deep, wide, exploding, cyclic. Text comes out, of bounded size, and compiles."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stubs import Server, Tool, assign_names, declarations, signature, type_of
from tests.deep import deep, examples
from tests.stubs import typescript
from tests.stubs.schemas import garbage, honest_schemas

MANY = 100_000


def nested(wrap: Callable[[Any], Any], levels: int = 10_000) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = wrap(schema)
    return schema


def objects(alternatives: int) -> dict[str, Any]:
    return {"anyOf": [{"type": "object", "required": [f"p{number}"]} for number in range(alternatives)]}


def chained(link: Callable[[str, int], Any], length: int = 2_000) -> dict[str, Any]:
    links = {f"d{number}": link(f"#/$defs/d{number + 1}", number) for number in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**links, f"d{length}": {"type": "string"}}}


HOSTILE: dict[str, Callable[[], Any]] = {
    "deep properties": lambda: nested(lambda inner: {"type": "object", "properties": {"a": inner}}),
    "deep items": lambda: nested(lambda inner: {"type": "array", "items": inner}),
    "deep tuples": lambda: nested(lambda inner: {"type": "array", "prefixItems": [inner]}),
    "deep maps": lambda: nested(lambda inner: {"additionalProperties": inner}),
    "deep alternatives": lambda: nested(lambda inner: {"anyOf": [inner, {"type": "null"}]}),
    "deep not": lambda: nested(lambda inner: {"not": inner}),
    "deep values": lambda: {"enum": [nested(lambda inner: [inner])], "default": nested(lambda inner: {"a": inner})},
    "deep keywords": lambda: {key: nested(lambda inner: {"a": inner}) for key in ("type", "$ref", "format")},
    "many properties": lambda: {"type": "object", "properties": {f"p{number}": True for number in range(MANY)}},
    "many required": lambda: {"type": "object", "required": [f"p{number}" for number in range(MANY)]},
    "many values": lambda: {"enum": [*range(MANY)], "not": {"enum": [str(number) for number in range(MANY)]}},
    "many alternatives": lambda: objects(MANY),
    "many conjuncts": lambda: {"allOf": [{"required": [f"p{number}"]} for number in range(MANY)]},
    "many patterns": lambda: {"patternProperties": {f"^p{number}": {"type": "string"} for number in range(MANY)}},
    "many elements": lambda: {"type": "array", "prefixItems": [{"type": "string"}] * MANY, "minItems": 10**30},
    "many anchors": lambda: {"properties": {
        f"p{number}": {"$id": f"x:{number}", "$ref": f"x:{number + 1}#a", "$anchor": "a"} for number in range(2_000)}},
    "product of unions": lambda: {"allOf": [objects(60) for _ in range(8)]},
    "product of named unions": lambda: {"allOf": [{"$ref": f"#/$defs/{number}"} for number in range(8)],
                                        "$defs": {str(number): objects(60) for number in range(8)}},
    "doubling": lambda: chained(lambda next_, _: {"properties": {"a": {"$ref": next_}, "b": {"$ref": next_}}}),
    "doubling alternatives": lambda: chained(lambda next_, _: {"anyOf": [{"$ref": next_}, {"items": {"$ref": next_}}]}),
    "long chain": lambda: chained(lambda next_, number: {"$ref": next_, "description": f"step {number}"}),
    "long chain of objects": lambda: chained(lambda next_, _: {"title": "t", "properties": {"a": {"$ref": next_}}}),
    "long cycle": lambda: {"$ref": "#/$defs/0", "$defs": {
        str(number): {"$ref": f"#/$defs/{(number + 1) % 500}"} for number in range(500)}},
    "tangle": lambda: {"$ref": "#/$defs/0", "$defs": {str(number): {"type": "object", "properties": {
        f"p{other}": {"$ref": f"#/$defs/{other}"} for other in range(40)}} for number in range(40)}},
    "tangle of alternatives": lambda: {"$ref": "#/$defs/0", "$defs": {str(number): {"anyOf": [
        {"$ref": f"#/$defs/{number * 7 % 300}"}, {"$ref": f"#/$defs/{(number * 3 + 1) % 300}"}, objects(2)]}
        for number in range(300)}},
    "long texts": lambda: {"description": "x " * 10**6, "properties": {
        "k" * 10**6: {}, "a": {"pattern": "(" * 10**6, "default": "d" * 10**6}}},
}  # fmt: skip


@pytest.mark.parametrize("name", deep(HOSTILE, kind=lambda name: name.split()[0]))
def test_a_hostile_schema_gives_compiling_text_of_bounded_size(name: str) -> None:
    schema = HOSTILE[name]()
    server = Server("s", tools=(Tool("t", input_schema=schema, output_schema=schema),))
    names = assign_names([server])
    text = declarations([server], names)
    assert len(text) < 250_000
    short = signature(server, server.tools[0], names)
    assert len(short) < 500
    typescript.parse_signature(short)
    typescript.parse_type(type_of(schema))
    assert typescript.check({"stubs.ts": text}) == []


def checked(schema: Any) -> str:
    server = Server("s", "n", "d", (Tool("t", "title", "text", schema, schema),))
    names = assign_names([server])
    text = declarations([server], names)
    text.encode()
    typescript.parse(text)
    typescript.parse_signature(signature(server, server.tools[0], names))
    typescript.parse_type(type_of(schema))
    return text


# Shrinking such schemas takes minutes; the first one that fails is told as it is.
many = examples(
    200,
    settings(
        phases=[Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    ),
)
few = settings(many, max_examples=10)


@many
@given(garbage)
def test_whatever_the_schema_the_text_is_typescript(schema: Any) -> None:
    checked(schema)


@many
@given(honest_schemas())
def test_whatever_a_server_sends_the_text_is_typescript(schema: Any) -> None:
    checked(schema)


@few
@given(st.lists(garbage | honest_schemas(), min_size=15, max_size=30))
def test_whatever_the_schemas_the_text_compiles(schemas: list[Any]) -> None:
    tools = tuple(
        Tool(f"t{number}", input_schema=schema, output_schema=schema) for number, schema in enumerate(schemas)
    )
    server = Server("s", tools=tools)
    assert typescript.check({"stubs.ts": declarations([server], assign_names([server]))}) == []


@pytest.mark.parametrize("text", [None, 5, ["x"], {"a": 1}, True])
def test_descriptions_that_are_no_text_are_left_out(text: Any) -> None:
    server = Server(
        "s", tools=(Tool("t", text, text, {"title": text, "description": text}, annotations={"readOnlyHint": text}),)
    )
    typescript.parse(declarations([server], assign_names([server])))
