"""Changes upstream: each kind in words, with its level, and none when nothing changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.bench.changes import ToolChange, breaking, changes_between
from portal.bench.tool_lists import as_document, servers_of
from portal.errors import InputError
from portal.pins.schema_changes import schema_changes
from stubs import Server, Tool

TEXT: dict[str, Any] = {"type": "string"}


def obj(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


def told(old: Any, new: Any, side: Any = "input") -> list[tuple[str, str]]:
    return [(one.level, one.what) for one in schema_changes(old, new, side)]


@pytest.mark.parametrize(
    ("old", "new", "level", "what"),
    [
        (obj(), obj(a=TEXT), "safe", "parameter `a` was added"),
        (obj(), obj("a", a=TEXT), "breaking", "parameter `a` was added and is required"),
        (obj(a=TEXT), obj(), "breaking", "parameter `a` was removed"),
        (obj(a=TEXT), obj("a", a=TEXT), "breaking", "parameter `a` became required"),
        (obj("a", a=TEXT), obj(a=TEXT), "safe", "parameter `a` became optional"),
        (obj(a=TEXT), obj(a={"type": "integer"}), "breaking", "parameter `a` changed from string to integer"),
        (obj(a=TEXT), obj(a={"type": ["string", "null"]}), "safe",
         "parameter `a` changed from string to null or string"),
        (obj(a={"type": "number"}), obj(a={"type": "integer"}), "breaking",
         "parameter `a` changed from number to integer"),
        (obj(a={"type": "integer"}), obj(a={"type": "number"}), "safe", "parameter `a` changed from integer to number"),
        (obj(a={"enum": ["x", "y"]}), obj(a={"enum": ["y"]}), "breaking", 'parameter `a` no longer accepts "x"'),
        (obj(a={"enum": ["y"]}), obj(a={"enum": ["x", "y"]}), "safe", 'parameter `a` also accepts "x"'),
        (obj(a=TEXT), obj(a={"type": "string", "enum": ["x"]}), "breaking", 'parameter `a` is now only one of "x"'),
        (obj(a={"type": "integer", "maximum": 9}), obj(a={"type": "integer", "maximum": 5}), "breaking",
         "maximum of parameter `a` changed from 9 to 5"),
        (obj(a={"type": "integer", "minimum": 9}), obj(a={"type": "integer", "minimum": 5}), "safe",
         "minimum of parameter `a` changed from 9 to 5"),
        (obj(a=TEXT), obj(a={"type": "string", "pattern": "^x"}), "breaking",
         'pattern of parameter `a` changed from none to "^x"'),
        (obj(a={"type": "integer", "default": 1}), obj(a={"type": "integer", "default": 2}), "caution",
         "the default of parameter `a` changed from 1 to 2"),
        (obj(), {**obj(), "additionalProperties": False}, "breaking",
         "the input accepts no other members than those named"),
        (obj(a={"type": "array", "items": TEXT}), obj(a={"type": "array", "items": {"type": "integer"}}), "breaking",
         "parameter `a[]` changed from string to integer"),
        (obj(a=obj(b=TEXT)), obj(a=obj()), "breaking", "parameter `a.b` was removed"),
        (obj(a={"anyOf": [TEXT, {"type": "null"}]}), obj(a=TEXT), "breaking",
         "parameter `a` changed from null or string to string"),
        (obj(a={"oneOf": [obj(x=TEXT), obj(y=TEXT)]}), obj(a={"oneOf": [obj(x=TEXT), obj(z=TEXT)]}), "caution",
         "the alternatives of parameter `a` changed"),
    ],
)  # fmt: skip
def test_a_change_of_the_input(old: Any, new: Any, level: str, what: str) -> None:
    assert told(old, new) == [(level, what)]


@pytest.mark.parametrize(
    ("old", "new", "level", "what"),
    [
        (obj(a=TEXT), obj(), "breaking", "output `a` was removed"),
        (obj(), obj("a", a=TEXT), "safe", "output `a` was added"),
        (obj("a", a=TEXT), obj(a=TEXT), "breaking", "output `a` is no longer always there"),
        (obj(a=TEXT), obj("a", a=TEXT), "safe", "output `a` is now always there"),
        (obj(a=TEXT), obj(a={"type": ["string", "null"]}), "breaking",
         "output `a` changed from string to null or string"),
        (obj(a={"type": ["string", "null"]}), obj(a=TEXT), "safe", "output `a` changed from null or string to string"),
        (obj(a={"enum": ["x"]}), obj(a={"enum": ["x", "y"]}), "caution", 'output `a` may also be "y"'),
        (obj(a={"enum": ["x", "y"]}), obj(a={"enum": ["x"]}), "caution", 'output `a` is no longer "y"'),
    ],
)  # fmt: skip
def test_a_change_of_the_output(old: Any, new: Any, level: str, what: str) -> None:
    assert told(old, new, "output") == [(level, what)]


def test_what_a_reference_points_to_is_compared_and_a_circle_ends() -> None:
    def tree(leaf: Any) -> dict[str, Any]:
        node = {"type": "object", "properties": {"leaf": leaf, "next": {"$ref": "#/$defs/node"}}}
        return {"$ref": "#/$defs/node", "$defs": {"node": node}}

    assert told(tree(TEXT), tree({"type": "integer"})) == [
        ("breaking", "parameter `leaf` changed from string to integer")
    ]


FIND = Tool(
    "find", description="Find orders by what they are.", input_schema=obj("q", q=TEXT), output_schema=obj(n=TEXT)
)
SHOP = Server("shop", tools=(FIND, Tool("ping")))


def shop(*tools: Tool) -> list[Server]:
    return [Server("shop", tools=tools)]


def summary(found: list[ToolChange]) -> list[tuple[str, str, str | None]]:
    return [(one.level, one.kind, one.tool) for one in found]


def test_a_tool_that_went_came_or_only_changed_its_name() -> None:
    search = replace(FIND, name="find_orders")
    assert summary(changes_between([SHOP], shop(search, Tool("ping")))) == [("breaking", "tool-renamed", "find")]
    assert summary(changes_between([SHOP], shop(FIND))) == [("breaking", "tool-removed", "ping")]
    assert summary(changes_between(shop(FIND), [SHOP])) == [("safe", "tool-added", "ping")]
    other = Tool("delete_everything", description="Quite another thing.", input_schema=obj("x", x={"type": "integer"}))
    assert summary(changes_between(shop(FIND), shop(other))) == [
        ("breaking", "tool-removed", "find"),
        ("safe", "tool-added", "delete_everything"),
    ]


def test_what_is_said_of_a_tool_is_told_too() -> None:
    assert summary(changes_between(shop(FIND), shop(replace(FIND, description="Other words.")))) == [
        ("safe", "description", "find")
    ]
    assert summary(changes_between(shop(FIND), shop(replace(FIND, output_schema=None)))) == [
        ("caution", "output-undeclared", "find")
    ]
    reading = replace(FIND, annotations={"readOnlyHint": True})
    assert summary(changes_between(shop(reading), shop(FIND))) == [("caution", "annotation", "find")]
    assert summary(changes_between(shop(FIND), shop(reading))) == [("safe", "annotation", "find")]


def test_an_output_that_was_only_learned_is_no_promise() -> None:
    learned = replace(FIND, output_inferred=True)
    assert changes_between(shop(learned), shop(replace(learned, output_schema=obj(m=TEXT)))) == []
    assert summary(changes_between(shop(FIND), shop(learned))) == [("caution", "output-undeclared", "find")]
    assert servers_of(as_document(shop(learned)), "x") == tuple(shop(learned))


def test_servers_come_and_go() -> None:
    found = changes_between([SHOP], [Server("news", tools=(Tool("x"),))])
    assert summary(found) == [("breaking", "server-removed", None), ("safe", "server-added", None)]
    assert breaking(found) == 1


any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["a", "object", "string", "#", "#/$defs/a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "items", "enum", "anyOf", "allOf", "$ref", "$defs", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(any_json, any_json, st.sampled_from(["input", "output"]))
def test_whatever_servers_send_is_compared_and_equal_things_are_equal(old: Any, new: Any, side: Any) -> None:
    assert schema_changes(old, old, side) == []
    for one in schema_changes(old, new, side):
        assert one.what and (one.breaks is not None) == (one.level == "breaking")


leaves = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", "boolean", ["string", "null"]])},
    optional={"enum": st.lists(st.sampled_from(["a", "b", 1]), min_size=1, max_size=2, unique_by=repr)},
)


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    properties = draw(st.dictionaries(st.sampled_from("abc"), leaves, max_size=3))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    return {**schema, **({"additionalProperties": False} if draw(st.booleans()) else {})}


@given(
    inputs(),
    inputs(),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["a", "b", "x", 1, 2, 1.5, True, None]), max_size=3),
)
def test_arguments_that_were_accepted_still_are_when_nothing_is_breaking(old: Any, new: Any, arguments: Any) -> None:
    safe = not any(one.level == "breaking" for one in schema_changes(old, new, "input"))
    known = {key: value for key, value in arguments.items() if key in old["properties"]}
    if safe and jsonschema_rs.is_valid(old, known):
        assert jsonschema_rs.is_valid(new, known)


# Saved tools


@given(st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=3), any_json)
def test_saved_tools_read_back_as_they_were(names: list[str], schema: Any) -> None:
    given_schema = schema if isinstance(schema, dict) else {"type": "object"}
    servers = (Server("s-1", "S", "About", tuple(Tool(name, input_schema=given_schema) for name in names)),)
    assert servers_of(as_document(servers), "x") == servers


def test_the_forms_in_which_tools_are_saved() -> None:
    listed = [{"name": "a", "inputSchema": {"type": "object"}}]
    for document in (listed, {"tools": listed}, {"jsonrpc": "2.0", "id": 1, "result": {"tools": listed}}):
        assert servers_of(document, "my_server.tools.json") == (Server("my-server", tools=(Tool("a"),)),)


@pytest.mark.parametrize(
    "document", [None, 7, {}, {"tools": 1}, [{}], {"servers": [{}]}, {"servers": [{"id": "a"}, {"id": "a"}]}]
)
def test_what_holds_no_tools_is_refused(document: Any) -> None:
    with pytest.raises(InputError):
        servers_of(document, "x.json")
