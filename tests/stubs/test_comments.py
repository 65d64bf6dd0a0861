"""What the comments of declarations say, and that they can say nothing else."""

from typing import Any

import pytest

from stubs import Server, Tool, assign_names, declarations
from tests.stubs import typescript


def declared(tool: Tool, **server: str) -> str:
    one = Server("s", tools=(tool,), **server)
    text = declarations([one], assign_names([one]))
    typescript.parse(text)
    return text


def property_line(schema: dict[str, Any], name: str = "x") -> str:
    tool = Tool("t", input_schema={"type": "object", "properties": {name: schema}})
    lines = [line.strip() for line in declared(tool).splitlines() if f"{name}?" in line]
    assert len(lines) == 1
    # A short one stands in one line with the tool.
    return lines[0].removeprefix("t(input?: { ").replace(" }): Promise<unknown>;", ";")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 50, "default": 10}, "/** 1..50, default 10 */ x?: integer;"),
        ({"type": "number", "exclusiveMinimum": 0}, "/** > 0 */ x?: number;"),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, "/** > 0 */ x?: number;"),
        ({"type": "number", "maximum": 1.5, "multipleOf": 0.5}, "/** <= 1.5, multiple of 0.5 */ x?: number;"),
        ({"type": "string", "format": "date-time"}, "/** date-time */ x?: string;"),
        ({"type": "string", "minLength": 2, "maxLength": 5}, "/** 2..5 chars */ x?: string;"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "/** /^[a-z]+$/ */ x?: string;"),
        ({"type": "string", "contentEncoding": "base64"}, "/** base64 */ x?: string;"),
        ({"type": "string", "deprecated": True, "examples": ["a", "b", "c"]},
         '/** e.g. "a", "b", deprecated */ x?: string;'),
        ({"type": "array", "items": {"type": "string", "format": "uri"}, "minItems": 1, "uniqueItems": True},
         "/** >= 1 items, unique, each uri */ x?: string[];"),
        ({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}], "default": None},
         "/** uuid */ x?: string | null;"),
        ({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "number"}]}, "x?: /** uuid */ string | number;"),
        ({"type": "boolean", "default": False}, "/** default false */ x?: boolean;"),
        ({"type": "string", "description": "A name.", "maxLength": 9}, "/** A name. (<= 9 chars) */ x?: string;"),
        ({"type": "string", "not": {"const": "root"}}, '/** not "root" */ x?: string;'),
        ({"type": "object", "dependentRequired": {"a": ["b", "c"]}},
         "/** a requires b, c */ x?: Record<string, unknown>;"),
    ],
)  # fmt: skip
def test_what_typescript_cannot_say_is_said_in_a_few_words(schema: dict[str, Any], expected: str) -> None:
    assert property_line(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "title": "X"},
        {"type": "string", "default": ""},
        {"type": "number", "minimum": -(2**53 - 1), "maximum": 2**53 - 1},
        {"type": "string", "minLength": 0},
        {"type": "string", "description": "  ", "pattern": "", "format": 5, "default": "x" * 500},
    ],
)
def test_what_says_nothing_is_left_out(schema: dict[str, Any]) -> None:
    assert "/**" not in property_line(schema)


def test_a_title_that_is_no_mere_repetition_stands_in_for_a_description() -> None:
    assert property_line({"type": "string", "title": "Account holder"}) == "/** Account holder */ x?: string;"


def test_alternatives_with_descriptions_carry_them() -> None:
    line = property_line({"oneOf": [{"const": "a", "description": "First"}, {"const": "b", "description": "Second"}]})
    assert line == 'x?: /** First */ "a" | /** Second */ "b";'


def test_a_description_is_said_once() -> None:
    node = {"type": "object", "description": "A node.", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"type": "object", "description": "Walks.", "properties": {"from": {"$ref": "#/$defs/Node"}}}
    text = declared(Tool("t", description="Walks.", input_schema={**schema, "$defs": {"Node": node}}))
    assert text.count("A node.") == 1
    assert text.count("Walks.") == 1


def test_what_the_schemas_say_as_wholes_stands_with_the_tool() -> None:
    schema = {"type": "object", "description": "All about it.", "dependentRequired": {"a": ["b"]}}
    text = declared(Tool("t", description="Does it.", input_schema=schema, output_schema={"description": "A list"}))
    assert "* @param input All about it. (a requires b)\n" in text
    assert "* @returns A list\n" in text


def test_hints_of_the_tool_are_said() -> None:
    tool = Tool("t", description="Reads.", annotations={"readOnlyHint": True, "idempotentHint": True})
    assert "/** Reads. (read-only) */" in declared(tool)
    assert "/** destructive */" in declared(Tool("t", annotations={"destructiveHint": True}))


def test_the_title_speaks_for_a_tool_without_description() -> None:
    assert "/** Read it */" in declared(Tool("t", title="Read it"))


def test_lines_wrapped_by_hand_are_joined_and_lists_are_kept() -> None:
    text = declared(Tool("t", description="One\ntwo.\n\nThree:\n- a\n  b\n- c\n\n```\n  code\n```\nEnd"))
    body = [line.strip() for line in text.splitlines()[3:11]]
    assert body == ["* One two.", "* Three:", "* - a b", "* - c", "* ```", "*   code", "* ```", "* End"]


def test_long_descriptions_are_cut_with_a_marker_that_says_how_much() -> None:
    line = property_line({"type": "string", "description": "word " * 1_000})
    assert len(line) < 450
    assert " … (+4,600 chars) */" in line
    text = declared(Tool("t", description="word " * 100_000))
    assert len(text) < 1_500 and " chars)" in text


@pytest.mark.parametrize(
    "text",
    [
        "*/ declare const x: 1; /*",
        "a\n*/\nb",
        "@ts-ignore",
        "@ts-expect-error",
        "line\u2028line\u2029line\rline",
        "\x00\x1b[31m\ud800",
        "/// <reference path='x' />",
        "$& $1 ${x} `",
    ],
)
def test_a_hostile_text_stays_within_its_comment(text: str) -> None:
    schema = {"type": "object", "description": text, "properties": {
        "x": {"description": text, "type": "string", "pattern": text, "format": text, "default": text},
        "y": {"anyOf": [{"const": text, "description": text}, {"type": "number", "title": text}]},
        "z": {"$ref": text}, text: {"enum": [text]},
    }}  # fmt: skip
    tool = Tool("t", title=text, description=text, input_schema=schema, output_schema={"description": text})
    source = declared(tool, name=text, description=text)
    source.encode()
    assert typescript.check({"a.ts": source}) == []


def test_marks_that_reorder_text_for_the_eye_are_taken_out() -> None:
    text = declared(Tool("t", description="safe\u202e\u2066 rm\u200b", input_schema={"properties": {"a\u202eb": True}}))
    assert "safe rm" in text
    assert '"a\\u202eb"?: unknown' in text
