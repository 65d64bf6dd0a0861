"""A tool on one line."""

from typing import Any

import pytest

from stubs import Server, Tool, assign_names, signature
from tests.stubs import corpus, typescript


def line(input_schema: Any, output_schema: Any = None) -> str:
    server = Server("fix", tools=(Tool("do-it", input_schema=input_schema, output_schema=output_schema),))
    text = signature(server, server.tools[0], assign_names([server]))
    typescript.parse_signature(text)
    assert "\n" not in text
    return text


def test_a_signature_is_the_call_with_its_types() -> None:
    schema = {
        "type": "object",
        "properties": {"q": {"type": "string", "description": "Words"}, "n": {"type": "integer"}},
    }
    assert line({**schema, "required": ["q"]}, {"type": "array", "items": {"type": "string"}}) == (
        "codemode.fix.do_it(input: { q: string; n?: number }): Promise<string[]>"
    )


def test_an_input_without_required_properties_can_be_left_out() -> None:
    assert line({"type": "object", "properties": {}}) == "codemode.fix.do_it(input?: {}): Promise<unknown>"


def test_required_properties_come_first() -> None:
    schema = {"type": "object", "properties": {"a": True, "b": True, "c": True}, "required": ["c"]}
    assert "{ c: unknown; a?: unknown; b?: unknown }" in line(schema)


def test_what_does_not_fit_is_counted() -> None:
    inner = {"type": "object", "properties": {f"inner_{number}": {"type": "string"} for number in range(9)}}
    wide = {
        "type": "object",
        "properties": {f"property_{number}": inner for number in range(40)},
        "required": ["property_7"],
    }
    text = line(wide)
    assert text.startswith("codemode.fix.do_it(input: { property_7: { /* 9 properties */ }; property_0?")
    assert "/* 36 more */ })" in text
    assert len(text) < 450


def test_a_long_union_is_cut() -> None:
    text = line({"type": "object", "properties": {"zone": {"enum": [f"zone-{number:03}" for number in range(50)]}}})
    assert '"zone-000" | ' in text and '/* 37 more */ "zone-049" })' in text and len(text) < 320


def test_a_recursive_type_is_called_by_its_name() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    assert line({"type": "object"}, {"$ref": "#/$defs/Node", "$defs": {"Node": node}}).endswith("Promise<fix_Node>")


@pytest.mark.parametrize("name", corpus.NAMES)
def test_signatures_of_real_tools_are_typescript_of_bounded_length(name: str) -> None:
    server = corpus.server(name)
    names = assign_names([server])
    for tool in server.tools:
        text = signature(server, tool, names)
        typescript.parse_signature(text)
        assert len(text) < 500
