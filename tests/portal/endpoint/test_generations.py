"""What a generation cannot read is shaped for it: it costs no other item, and never the text of a call that ran."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import methods
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from portal.calls import Call
from portal.endpoint.generations import (
    NEWER,
    OLDER,
    PROMPT,
    RESOURCE,
    TEMPLATE,
    TOOL,
    Generation,
    ItemKind,
    definition_for,
    media_type,
    result_for,
)
from portal.errors import RESPONSE_INVALID, ResponseInvalid
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Portal, client_of, portal_over
from tests.portal.upstreams.raw import Exchange, raw_upstream
from tests.strategies import json_values

BOTH: tuple[Generation, ...] = (OLDER, NEWER)
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
VERSIONS = {OLDER: LATEST_HANDSHAKE_VERSION, NEWER: LATEST_MODERN_VERSION}
ENVELOPE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
JSON = json_values()
OBJECT = {"type": "object"}
ESSENTIAL = {
    "tools/call": ("content",),
    "prompts/get": ("messages",),
    "resources/read": ("contents",),
    "completion/complete": ("completion",),
}
TEXT = {"type": "text", "text": "[1,2]"}
ODD_TOOLS: list[dict[str, Any]] = [
    {"name": "plain", "inputSchema": OBJECT},
    {"name": "either", "inputSchema": {"anyOf": [OBJECT]}},
    {"name": "rows", "inputSchema": OBJECT, "outputSchema": {"type": "array", "items": {"type": "number"}}},
    {"name": "blank", "inputSchema": OBJECT, "description": None, "annotations": None, "outputSchema": None},
    {
        "name": "old_required",
        "inputSchema": {"type": "object", "properties": {"a": {"required": True}}, "required": True},
    },
    {"name": "no_properties", "inputSchema": {"type": "object", "properties": None}},
    {"name": "maybe", "inputSchema": {"type": ["object", "null"]}},
    {"name": "nulls", "inputSchema": {**OBJECT, "$schema": None}, "annotations": {"title": None, "readOnlyHint": True}},
    {"name": "anything", "inputSchema": {"type": "object", "properties": {"a": True, "b": False}}},
    {"name": "themed", "inputSchema": OBJECT, "icons": [{"src": "https://x.example/i.png", "theme": "sepia"}]},
    {"name": "hinted", "inputSchema": OBJECT, "annotations": {"title": "T", "readOnlyHint": "perhaps"}},
]


def is_accepted(method: str, generation: Generation, result: Mapping[str, Any]) -> bool:
    """Whether the official models take it. They raise if not."""
    read = methods.serialize_server_result(method, VERSIONS[generation], {**ENVELOPE, **result})
    # A result of 2026-07-28 that is not right is read as a question, without what it should have.
    return all(member in read for member in ESSENTIAL.get(method, ()))


# Definitions


@pytest.mark.parametrize("generation", BOTH)
@pytest.mark.parametrize("tool", ODD_TOOLS, ids=lambda tool: tool["name"])
def test_a_tool_is_listed_in_every_generation(tool: dict[str, Any], generation: Generation) -> None:
    shaped = definition_for(generation, TOOL, tool)
    assert is_accepted("tools/list", generation, {"tools": [shaped]})
    assert shaped["name"] == tool["name"] and None not in shaped.values()


def test_only_what_does_not_fit_is_changed() -> None:
    by_name = {tool["name"]: definition_for(OLDER, TOOL, tool) for tool in ODD_TOOLS}
    assert by_name["plain"] is ODD_TOOLS[0]
    assert by_name["either"]["inputSchema"] == {"type": "object", "anyOf": [OBJECT]}
    assert "outputSchema" not in by_name["rows"]
    assert definition_for(NEWER, TOOL, ODD_TOOLS[2]) is ODD_TOOLS[2]
    assert by_name["blank"] == {"name": "blank", "inputSchema": OBJECT}
    assert by_name["old_required"]["inputSchema"]["properties"] == {"a": {"required": True}}
    assert by_name["anything"]["inputSchema"]["properties"] == {"a": {}, "b": {"not": {}}}
    assert definition_for(NEWER, TOOL, ODD_TOOLS[8]) is ODD_TOOLS[8]
    assert by_name["maybe"]["inputSchema"] == OBJECT
    assert by_name["themed"] == {"name": "themed", "inputSchema": OBJECT}
    assert by_name["hinted"]["annotations"] == {"title": "T"}
    assert by_name["nulls"] == {"name": "nulls", "inputSchema": OBJECT, "annotations": {"readOnlyHint": True}}
    for generation in BOTH:
        loose = {"name": "loose", "inputSchema": OBJECT, "annotations": {"readOnlyHint": "yes", "title": "T"}}
        assert definition_for(generation, TOOL, loose)["annotations"] == {"title": "T"}
        icons = [{"src": "https://x.example/i.png", "mimeType": None}]
        shaped = definition_for(generation, TOOL, {"name": "icons", "inputSchema": OBJECT, "icons": icons})
        assert shaped["icons"] == [{"src": "https://x.example/i.png"}]


KINDS: list[tuple[ItemKind, dict[str, Any]]] = [
    (TOOL, {"name": "t", "inputSchema": OBJECT}),
    (PROMPT, {"name": "p"}),
    (RESOURCE, {"name": "r", "uri": "file:///r"}),
    (TEMPLATE, {"name": "r", "uriTemplate": "file:///{r}"}),
]
MEMBERS = st.sampled_from(
    [
        "title",
        "description",
        "annotations",
        "icons",
        "_meta",
        "mimeType",
        "size",
        "arguments",
        "execution",
        "outputSchema",
    ]
)


@given(st.sampled_from(KINDS), st.dictionaries(MEMBERS, JSON, max_size=4), JSON, st.sampled_from(BOTH))
def test_any_members_beside_the_required_ones_are_shaped(
    kind_and_item: tuple[ItemKind, dict[str, Any]], members: dict[str, Any], schema: Any, generation: Generation
) -> None:
    kind, required = kind_and_item
    item = {**members, **required}
    if kind is TOOL and isinstance(schema, dict):
        item["inputSchema"] = schema
    shaped = definition_for(generation, kind, item)
    assert is_accepted(kind.method, generation, {kind.member: [shaped]})
    assert shaped[kind.identity] == item[kind.identity]


# Results


def result(method: str, value: dict[str, Any], generation: Generation = OLDER) -> dict[str, Any]:
    return result_for(generation, Call(server="s", method=method, name="file:///r"), value)


def tool_result(value: dict[str, Any], generation: Generation = OLDER) -> dict[str, Any]:
    return result("tools/call", value, generation)


@pytest.mark.parametrize("generation", BOTH)
def test_a_result_that_fits_is_the_same_object(generation: Generation) -> None:
    value = {"content": [TEXT, {"type": "image", "data": "aGk=", "mimeType": "image/png"}], "structuredContent": {}}
    assert tool_result(value, generation) is value


def test_structured_content_that_is_no_object_is_for_newer_clients_only() -> None:
    for structured in ([1, 2], "x", 5, True):
        value = {"content": [TEXT], "structuredContent": structured}
        assert tool_result(value) == {"content": [TEXT]}
        assert tool_result(value, NEWER) is value


@pytest.mark.parametrize(
    ("content", "delivered"),
    [
        (None, []),
        ("hello", [{"type": "text", "text": "hello"}]),
        (TEXT, [TEXT]),
        (["hello", 5], [{"type": "text", "text": "hello"}, {"type": "text", "text": "5"}]),
        ([{"type": "chart", "spec": {}}, TEXT], [{"type": "text", "text": '{"type": "chart", "spec": {}}'}, TEXT]),
        ([{"text": "no type"}], [{"type": "text", "text": '{"text": "no type"}'}]),
        ([{**TEXT, "annotations": {"priority": 5}}], [TEXT]),
        (
            [{**TEXT, "annotations": {"priority": 5, "audience": ["user"]}}],
            [{**TEXT, "annotations": {"audience": ["user"]}}],
        ),
        ([{"type": "text", "text": None}], [{"type": "text", "text": '{"type": "text", "text": null}'}]),
        (
            [{"type": "image", "data": "aGk="}],
            [{"type": "image", "data": "aGk=", "mimeType": "application/octet-stream"}],
        ),
        (
            [{"type": "image", "data": "iVBORw0KGgoAAAANSUhEUg==", "mimeType": None}],
            [{"type": "image", "data": "iVBORw0KGgoAAAANSUhEUg==", "mimeType": "image/png"}],
        ),
        (
            [{"type": "image", "data": "a-_b", "mimeType": "image/png"}],
            [{"type": "image", "data": "a+/b", "mimeType": "image/png"}],
        ),
        (
            [{"type": "image", "data": "data:image/png;base64,aGk="}],
            [{"type": "image", "data": "aGk=", "mimeType": "image/png"}],
        ),
        (
            [{"type": "audio", "data": "no base64!", "mimeType": "audio/wav"}],
            [{"type": "text", "text": '{"type": "audio", "data": "no base64!", "mimeType": "audio/wav"}'}],
        ),
        (
            [{**TEXT, "annotations": {"lastModified": "yesterday", "priority": 1}}],
            [{**TEXT, "annotations": {"priority": 1}}],
        ),
        (
            [{"type": "resource_link", "uri": "file:///r"}],
            [{"type": "resource_link", "uri": "file:///r", "name": "file:///r"}],
        ),
        (
            [{"type": "resource", "resource": {"uri": "file:///r", "text": {"a": 1}}}],
            [{"type": "resource", "resource": {"uri": "file:///r", "text": '{"a": 1}'}}],
        ),
    ],
)
def test_blocks_are_delivered_or_become_text(content: Any, delivered: list[Any]) -> None:
    for generation in BOTH:
        shaped = tool_result({"content": content}, generation)
        assert shaped["content"] == delivered
        assert is_accepted("tools/call", generation, shaped)


def test_a_result_without_content_keeps_what_it_has() -> None:
    assert tool_result({"structuredContent": {"a": 1}}) == {"structuredContent": {"a": 1}, "content": []}
    assert tool_result({"isError": True, "_meta": 5}) == {"isError": True, "content": []}


def test_structured_content_that_is_all_of_a_result_is_text_for_older_clients() -> None:
    assert tool_result({"structuredContent": [1, 2]}) == {"content": [{"type": "text", "text": "[1, 2]"}]}
    assert tool_result({"content": [], "structuredContent": "x"}) == {"content": [{"type": "text", "text": "x"}]}
    assert tool_result({"structuredContent": [1]}, NEWER) == {"content": [], "structuredContent": [1]}


def test_a_value_that_is_the_result_itself_is_delivered() -> None:
    for generation in BOTH:
        delivered = tool_result({"celsius": 5}, generation)
        assert delivered == {
            "content": [{"type": "text", "text": '{"celsius": 5}'}],
            "structuredContent": {"celsius": 5},
        }


@pytest.mark.parametrize("kind", ["rows", None, 5])
def test_a_result_of_an_unknown_type_keeps_its_text(kind: object) -> None:
    for generation in BOTH:
        assert tool_result({"content": [TEXT], "resultType": kind}, generation) == {"content": [TEXT]}
        chart = tool_result({"content": [{"type": "chart"}], "resultType": kind}, generation)
        assert chart == {"content": [{"type": "text", "text": '{"type": "chart"}'}]}
    assert tool_result({"structuredContent": {"a": 1}, "resultType": "ok"}) == {
        "structuredContent": {"a": 1},
        "content": [],
    }
    task = {"resultType": "task", "taskId": "1"}
    assert tool_result(task, NEWER) is task


def test_questions_of_an_upstream_are_passed_on() -> None:
    asked = {"resultType": "input_required", "inputRequests": {}}
    assert tool_result(asked, NEWER) is asked


def test_a_prompt_has_one_block_a_message() -> None:
    value = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": [TEXT, {"type": "text", "text": "b"}]},
            "And now?",
        ]
    }
    roles_and_texts = [(one["role"], one["content"]["text"]) for one in result("prompts/get", value)["messages"]]
    assert roles_and_texts == [("user", "Be brief."), ("assistant", "[1,2]"), ("assistant", "b"), ("user", "And now?")]


def test_a_message_without_content_says_what_it_has() -> None:
    messages = result("prompts/get", {"messages": [{"role": "user", "text": "a"}, {"content": None}]})["messages"]
    assert messages == [{"role": "user", "content": {"type": "text", "text": '{"role": "user", "text": "a"}'}}]
    assert result("prompts/get", {"messages": "Hello"})["messages"] == [
        {"role": "user", "content": {"type": "text", "text": "Hello"}}
    ]


MARK = "MARK"
MARKED = st.recursive(
    st.just(MARK),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "uri", "a"]), inner, min_size=1, max_size=3)
    ),
    max_leaves=5,
)
ESSENTIALS = [("tools/call", "content"), ("prompts/get", "messages"), ("resources/read", "contents")]


@given(MARKED, st.sampled_from(ESSENTIALS), st.sampled_from(BOTH))
def test_nothing_that_a_server_says_is_lost(value: Any, essential: tuple[str, str], generation: Generation) -> None:
    method, member = essential
    shaped = result(method, {member: value}, generation)
    assert is_accepted(method, generation, shaped)
    assert MARK in json.dumps(shaped)


def test_the_contents_of_a_resource_may_be_a_text() -> None:
    assert result("resources/read", {"contents": "a"})["contents"] == [{"uri": "file:///r", "text": "a"}]


@pytest.mark.parametrize("completion", [["a", None, 1], {"values": ["a", None, 1]}])
def test_a_completion_may_be_a_list(completion: Any) -> None:
    assert result("completion/complete", {"completion": completion})["completion"] == {"values": ["a", "1"]}
    assert result("completion/complete", {"completion": {"values": "a"}})["completion"] == {"values": ["a"]}


@pytest.mark.parametrize("generation", BOTH)
def test_the_flag_of_an_error_keeps_its_meaning(generation: Generation) -> None:
    for flag, meant in [("true", True), (1, True), ("false", False), (0, False), (None, False)]:
        assert tool_result({"content": [TEXT], "isError": flag}, generation) == {"content": [TEXT], "isError": meant}
    assert tool_result({"toolResult": "a"}, generation) == {"content": [{"type": "text", "text": "a"}]}


def test_the_contents_of_a_resource_have_a_uri_and_a_body() -> None:
    value = {
        "contents": [{"text": "a"}, {"uri": "file:///b", "text": {"b": 1}}, {"uri": "file:///c", "blob": "aGk="}, "d"]
    }
    assert result("resources/read", value)["contents"] == [
        {"text": "a", "uri": "file:///r"},
        {"uri": "file:///b", "text": '{"b": 1}'},
        {"uri": "file:///c", "blob": "aGk="},
        {"uri": "file:///r", "text": "d"},
    ]
    assert result("resources/read", {"contents": {"uri": "file:///r", "text": "a"}})["contents"][0]["text"] == "a"


def test_a_completion_has_a_hundred_texts_at_most() -> None:
    shaped = result("completion/complete", {"completion": {"values": list(range(150)), "total": "many"}})
    assert shaped["completion"] == {"values": [str(value) for value in range(100)], "hasMore": True}
    assert result("completion/complete", {"completion": {"values": [1], "total": "many"}})["completion"] == {
        "values": ["1"]
    }


@pytest.mark.parametrize("method", ["prompts/get", "resources/read", "completion/complete"])
def test_a_result_without_anything_to_deliver_is_the_fault_of_its_server(method: str) -> None:
    with pytest.raises(ResponseInvalid, match=r"The server 's' answered .* The call ran\.") as caught:
        result(method, {"hello": "world"})
    assert caught.value.code == RESPONSE_INVALID == -32012


RESULT_MEMBERS = st.sampled_from(
    ["content", "structuredContent", "isError", "_meta", "messages", "contents", "completion"]
)
BLOCKS = st.dictionaries(
    st.sampled_from(["type", "text", "data", "mimeType", "uri", "name", "resource", "annotations"]), JSON
)
TYPED = st.builds(lambda type_, block: {**block, "type": type_}, st.sampled_from(["text", "image", "resource"]), BLOCKS)


@given(
    st.sampled_from(["tools/call", "prompts/get", "resources/read", "completion/complete"]),
    st.dictionaries(RESULT_MEMBERS, JSON | st.lists(BLOCKS | TYPED, max_size=3), max_size=4),
    st.sampled_from(BOTH),
)
def test_any_result_is_delivered_or_refused_by_name(method: str, value: dict[str, Any], generation: Generation) -> None:
    try:
        shaped = result(method, value, generation)
    except ResponseInvalid:
        return
    assert is_accepted(method, generation, shaped)


@pytest.mark.parametrize(
    ("head", "named"),
    [
        ("iVBORw0KGgo", "image/png"),
        ("/9j/4AAQSkZJRg", "image/jpeg"),
        ("R0lGODlh", "image/gif"),
        ("UklGRiQAAABXRUJQVlA4", "image/webp"),
        ("UklGRiQAAABXQVZFZm10", "audio/wav"),
        ("T2dnUwAC", "audio/ogg"),
        ("", "application/octet-stream"),
        ("!", "application/octet-stream"),
    ],
)
def test_a_media_type_is_known_from_the_first_bytes(head: str, named: str) -> None:
    assert media_type(head) == named


# Through a portal

RESULTS: dict[str, dict[str, Any]] = {
    "array": {"content": [TEXT], "structuredContent": [1, 2]},
    "string": {"content": [TEXT], "structuredContent": "x"},
    "structured_only": {"structuredContent": {"a": 1}},
    "new_block": {"content": [{"type": "chart", "spec": {}}, TEXT]},
    "loud": {"content": [{**TEXT, "annotations": {"priority": 5}}]},
    "no_mime": {"content": [{"type": "image", "data": "aGk="}]},
    "long": {"content": [{**TEXT, "annotations": {"priority": 5}}] * 300},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def odd_portal() -> AsyncIterator[Portal]:
    """A portal over a healthy server and one that lists and answers oddly."""

    async def answer(exchange: Exchange) -> None:
        await exchange.result(RESULTS.get(exchange.message["params"].get("name", ""), {"hello": "world"}))

    async with raw_upstream(answer, legacy=True) as odd, raw_upstream(answer, legacy=True) as healthy:
        odd.tools = ODD_TOOLS + [{"name": name, "inputSchema": OBJECT} for name in RESULTS]
        async with portal_over({"ok": {"url": healthy.url}, "odd": {"url": odd.url}}) as portal:
            yield portal


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_tool_of_one_server_costs_no_tool_of_another(mode: str) -> None:
    async with odd_portal() as portal, client_of(portal.mcp, mode) as client:
        plain = await client.list_tools()
        with_token = await client.session.send_request(
            types.ListToolsRequest(params=types.PaginatedRequestParams.model_validate({"_meta": {"progressToken": 1}})),
            types.ListToolsResult,
        )
        names = ["ok_echo", *(f"odd_{tool['name']}" for tool in ODD_TOOLS), *(f"odd_{name}" for name in RESULTS)]
        assert [tool.name for tool in plain.tools] == [tool.name for tool in with_token.tools] == names


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_call_that_ran_gives_its_text(mode: str) -> None:
    async with odd_portal() as portal, client_of(portal.mcp, mode) as client:
        for name, expected in RESULTS.items():
            called = await client.call_tool(f"odd_{name}", {})
            texts = [block.text for block in called.content if isinstance(block, types.TextContent)]
            wanted = [
                block.get("text", json.dumps(block)) for block in expected.get("content", []) if "data" not in block
            ]
            assert (name, texts) == (name, wanted)


async def test_an_empty_cursor_asks_for_the_first_page() -> None:
    async with odd_portal() as portal, client_of(portal.mcp, LEGACY) as old, client_of(portal.mcp, MODERN) as new:
        for client in (old, new):
            assert len((await client.list_tools(cursor="")).tools) == 1 + len(ODD_TOOLS) + len(RESULTS)
            with pytest.raises(Exception, match="Unknown cursor"):
                await client.list_tools(cursor="x")
