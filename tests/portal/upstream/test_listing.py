"""The pages of a server's lists: every cursor that real servers write, and lists that no capability names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import RpcError
from portal.upstream.listing import Listing, fetch
from portal.upstream.transports.protocol import Agreement
from tests.portal.upstreams.verbatim import TRANSPORTS, UNKNOWN, verbatim
from tests.portal.upstreams.watching import ready
from tests.strategies import json_values

pytestmark = pytest.mark.anyio
MISSING: Any = object()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}}


async def listed(pages: Mapping[Any, tuple[list[str], Any]], asked: list[Any] | None = None) -> Listing:
    """The listing of a server whose pages are these: by cursor, the names on it and the next cursor."""

    async def request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        cursor = params.get("cursor", MISSING)
        if asked is not None:
            asked.append(cursor)
        names, following = pages[cursor]
        return {"tools": [tool(name) for name in names], **({} if following is MISSING else {"nextCursor": following})}

    return await fetch(request, Agreement(version="2025-06-18", capabilities={"tools": {}}), max_items=1000)


async def test_a_list_that_is_null_is_empty() -> None:
    """As servers in Go write it. It made a server with nothing but prompts unusable."""

    async def request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"prompts": [{"name": "p"}]} if method == "prompts/list" else {"tools": None, "resources": None}

    everything: dict[str, dict[str, object]] = {"tools": {}, "prompts": {}, "resources": {}}
    listing = await fetch(request, Agreement(version="2025-06-18", capabilities=everything), max_items=1000)
    assert (listing.tools, listing.resources, listing.skipped) == ((), (), ())
    assert [prompt["name"] for prompt in listing.prompts] == ["p"]


@pytest.mark.parametrize("end", [MISSING, None, ""], ids=["absent", "null", "empty"])
async def test_a_list_ends_where_no_next_page_is_named(end: Any) -> None:
    asked: list[Any] = []
    listing = await listed({MISSING: (["a"], "2"), "2": (["b"], end)}, asked)
    assert list(listing.by_name) == ["a", "b"]
    assert asked == [MISSING, "2"], "the first page is asked for without a cursor, and no page with an empty one"
    assert listing.skipped == ()


async def test_a_cursor_that_is_a_number_goes_back_as_it_came() -> None:
    listing = await listed({MISSING: (["a"], 2), 2: (["b"], 0), 0: (["c"], None)})
    assert list(listing.by_name) == ["a", "b", "c"]
    assert listing.skipped == ()


@pytest.mark.parametrize("cursor", [True, {"page": 2}, [2], 1.5])
async def test_a_cursor_that_is_none_ends_the_list_and_is_noted(cursor: Any) -> None:
    listing = await listed({MISSING: (["a"], cursor)})
    assert list(listing.by_name) == ["a"]
    assert "the next page is named by what is no cursor" in listing.skipped[0]


async def test_a_server_that_ignores_cursors_is_not_asked_a_thousand_times() -> None:
    asked: list[Any] = []

    class Always(dict[Any, tuple[list[str], Any]]):
        def __missing__(self, cursor: Any) -> tuple[list[str], Any]:
            return ["a", "b"], f"page after {cursor}"

    listing = await listed(Always(), asked)
    assert list(listing.by_name) == ["a", "b"]
    assert len(asked) == 2
    assert listing.skipped == ("tools/list: the next page has nothing but what was listed before; stopped there",)


async def test_a_server_that_ignores_cursors_is_known_also_by_items_that_are_malformed() -> None:
    asked: list[Any] = []
    items = [{**tool("a"), "title": 5}, {"name": "no_schema", "inputSchema": "none"}, tool("b")]

    async def request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(params.get("cursor"))
        return {"tools": items, "nextCursor": f"after {params.get('cursor')}"}

    listing = await fetch(request, Agreement(version="2025-06-18", capabilities={"tools": {}}), max_items=1000)
    assert listing.tools == (tool("a"), tool("b")) and len(asked) == 2
    assert listing.skipped_count == 3


async def test_empty_pages_have_an_end() -> None:
    few = {MISSING: ([], "1"), "1": ([], "2"), "2": (["a"], None)}
    assert list((await listed(few)).by_name) == ["a"]
    asked: list[Any] = []

    class Never(dict[Any, tuple[list[str], Any]]):
        def __missing__(self, cursor: Any) -> tuple[list[str], Any]:
            return [], f"after {cursor}"

    listing = await listed(Never(), asked)
    assert len(asked) == 10
    assert listing.skipped == ("tools/list: stopped after 10 empty pages",)


async def test_a_page_that_repeats_some_and_adds_some_is_read() -> None:
    listing = await listed({MISSING: (["a", "b"], "2"), "2": (["b", "c"], None)})
    assert list(listing.by_name) == ["a", "b", "c"]


# Members that do not fit

OBJECT = {"type": "object"}
ICON = {"src": "https://x.example/i.png"}
ODD_MEMBERS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("tools", {"icons": [{**ICON, "sizes": "48x48"}]}, {"icons": [ICON]}, "icons.0.sizes"),
    ("tools", {"icons": [{"sizes": ["any"]}, ICON]}, {"icons": [ICON]}, "icons.0.src"),
    ("tools", {"icons": ICON}, {}, "icons"),
    ("tools", {"icons": [{**ICON, "theme": "sepia"}]}, {"icons": [ICON]}, "icons.0.theme"),
    ("tools", {"execution": {"taskSupport": "sometimes"}}, {}, "execution.taskSupport"),
    ("tools", {"execution": "inline"}, {}, "execution"),
    ("tools", {"annotations": "read only"}, {}, "annotations"),
    (
        "tools",
        {"annotations": {"title": 5, "readOnlyHint": True}},
        {"annotations": {"readOnlyHint": True}},
        "annotations.title",
    ),
    ("tools", {"title": ["T"]}, {}, "title"),
    ("tools", {"_meta": "x", "title": "T"}, {"title": "T"}, "_meta"),
    ("tools", {"outputSchema": "any"}, {}, "outputSchema"),
    ("tools", {"outputSchema": [OBJECT]}, {}, "outputSchema"),
    ("prompts", {"icons": [{**ICON, "sizes": "48x48"}]}, {"icons": [ICON]}, "icons.0.sizes"),
    (
        "prompts",
        {"arguments": [{"name": "a", "required": "maybe"}, {"description": "no name"}, {"name": "b"}]},
        {"arguments": [{"name": "a"}, {"name": "b"}]},
        "arguments.0.required, arguments.1.name",
    ),
    ("prompts", {"arguments": {"a": {}}}, {}, "arguments"),
    ("prompts", {"title": 5, "_meta": []}, {}, "title, _meta"),
    (
        "prompts",
        {"arguments": [{"name": "a", "description": 5}]},
        {"arguments": [{"name": "a"}]},
        "arguments.0.description",
    ),
    ("resources", {"size": "large", "mimeType": 5}, {}, "mimeType, size"),
    (
        "resources",
        {"annotations": {"priority": 7, "audience": ["user"]}},
        {"annotations": {"audience": ["user"]}},
        "annotations.priority",
    ),
    ("resources", {"annotations": {"audience": ["nobody"]}}, {}, "annotations.audience.0"),
    ("resourceTemplates", {"mimeType": 5, "title": "T"}, {"title": "T"}, "mimeType"),
    ("resourceTemplates", {"icons": [5]}, {}, "icons.0"),
]
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "tools": ("tools/list", {"name": "odd", "inputSchema": OBJECT}),
    "prompts": ("prompts/list", {"name": "odd"}),
    "resources": ("resources/list", {"name": "odd", "uri": "odd"}),
    "resourceTemplates": ("resources/templates/list", {"name": "odd", "uriTemplate": "odd"}),
}


async def listing_of(kind: str, items: list[Any]) -> tuple[tuple[Mapping[str, Any], ...], Listing]:
    """The items of one list that are used, and the whole listing."""

    async def request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {key: items if key == kind else [] for key, (name, _) in METHODS.items() if name == method}

    capabilities: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}}
    listing = await fetch(request, Agreement(version="2025-06-18", capabilities=capabilities), max_items=100)
    lists = {"tools": listing.tools, "prompts": listing.prompts, "resources": listing.resources}
    return lists.get(kind, listing.resource_templates), listing


@pytest.mark.parametrize(("kind", "odd", "kept", "place"), ODD_MEMBERS)
async def test_an_optional_member_that_does_not_fit_costs_itself_alone(
    kind: str, odd: dict[str, Any], kept: dict[str, Any], place: str
) -> None:
    method, item = METHODS[kind]
    used, listing = await listing_of(kind, [{**item, "description": "D", **odd}])
    assert used == ({**item, "description": "D", **kept},)
    assert listing.skipped == (f"{method}: `odd` is used without what is malformed (`{place}`)",)
    assert listing.skipped_count == 1


@pytest.mark.parametrize("missing", [{}, {"name": None, "inputSchema": None}], ids=["absent", "null"])
async def test_a_tool_without_a_schema_takes_anything_and_a_resource_without_a_name_has_its_uri(
    missing: dict[str, Any],
) -> None:
    used, listing = await listing_of("tools", [{**missing, "name": "odd", "description": "D"}])
    assert used == ({"name": "odd", "description": "D", "inputSchema": OBJECT},)
    assert listing.skipped == ("tools/list: `odd` has no `inputSchema`; it takes any arguments",)
    for kind, identity in (("resources", "uri"), ("resourceTemplates", "uriTemplate")):
        used, listing = await listing_of(kind, [{identity: "a://b", **({"name": None} if missing else {})}])
        assert used == ({identity: "a://b", "name": "a://b"},)
        assert listing.skipped == (f"{METHODS[kind][0]}: `a://b` has no `name`; its URI is in its place",)


@pytest.mark.parametrize("kind", sorted(METHODS))
async def test_a_description_that_is_no_text_costs_a_tool_and_nothing_else(kind: str) -> None:
    _, item = METHODS[kind]
    used, listing = await listing_of(kind, [{**item, "description": 5}])
    assert used == (() if kind == "tools" else (item,))
    assert listing.skipped_count == 1 and "`description`" in listing.skipped[0]


@pytest.mark.parametrize("hint", ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"])
@pytest.mark.parametrize("value", ["yes", "true", "false", "perhaps", 1, 0, [], {}])
async def test_a_hint_that_is_no_boolean_is_left_to_the_default_of_mcp(hint: str, value: Any) -> None:
    _, item = METHODS["tools"]
    (tool,), listing = await listing_of("tools", [{**item, "annotations": {hint: value, "title": "T"}}])
    assert tool == {**item, "annotations": {"title": "T"}}
    assert listing.skipped == (f"tools/list: `odd` is used without what is malformed (`annotations.{hint}`)",)


async def test_an_item_with_many_faults_is_used_or_left_out_in_bounded_time() -> None:
    _, item = METHODS["prompts"]
    used, listing = await listing_of("prompts", [{**item, "arguments": [{"name": n} for n in range(1000)]}])
    assert used == (item,)
    assert listing.skipped == ("prompts/list: `odd` is used without what is malformed (`arguments`)",)
    some = [{"name": n} for n in range(10)]
    used, listing = await listing_of("prompts", [{**item, "arguments": [*some, {"name": "a"}]}])
    assert used == ({**item, "arguments": [{"name": "a"}]},)


MEMBERS = ["title", "icons", "annotations", "execution", "_meta", "outputSchema", "arguments", "size", "mimeType"]


@given(st.sampled_from(sorted(METHODS)), st.dictionaries(st.sampled_from(MEMBERS), json_values(), max_size=5))
async def test_no_optional_member_costs_an_item(kind: str, odd: dict[str, Any]) -> None:
    _, item = METHODS[kind]
    (used,), listing = await listing_of(kind, [{**odd, **item}])
    assert used.items() >= item.items()
    assert listing.skipped_count == (used != {**odd, **item})


# Lists that no capability names


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("capabilities", ["{}", "null", '{"logging": {}}', '{"prompts": {}}'])
async def test_tools_that_no_capability_names_are_listed_all_the_same(transport: str, capabilities: str) -> None:
    server = f'"protocolVersion": "2025-06-18", "capabilities": {capabilities}, "serverInfo": {{"name": "n"}}'
    answer = f'{{"jsonrpc": "2.0", "id": ID, "result": {{{server}}}}}'
    async with verbatim(transport, {}, {"initialize": answer}) as entry, ready(entry) as up:
        assert list(up.connection.listing.by_name) == ["fine"]
        assert await up.text("fine") == "fine"


async def test_a_server_that_declares_nothing_is_asked_for_everything() -> None:
    async def request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if method == "tools/list":
            raise RpcError(-32601, "Method not found")
        if method == "prompts/list":
            return {"prompts": [{"name": "greet"}]}
        return {"resources": [{"name": "one", "uri": "test://one"}]}

    listing = await fetch(request, Agreement(version="2025-06-18"), max_items=10)
    assert (len(listing.tools), len(listing.prompts), len(listing.resources)) == (0, 1, 1)
    assert listing.skipped == ()
    declared = await fetch(request, Agreement(version="2025-06-18", capabilities={"resources": {}}), max_items=10)
    assert (len(declared.prompts), len(declared.resources)) == (0, 1)


@pytest.mark.parametrize("answer", [UNKNOWN, '{"jsonrpc": "2.0", "id": ID, "result": {}}', ""])
async def test_a_server_without_tools_is_ready(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.upstream.listing._UNDECLARED_SECONDS", 0.1)
    server = '"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "n"}'
    methods = {"initialize": f'{{"jsonrpc": "2.0", "id": ID, "result": {{{server}}}}}', "tools/list": answer}
    async with verbatim("stdio", {}, methods) as entry, ready(entry) as up:
        assert up.connection.listing.tools == ()
        assert await up.text("fine") == "fine"


ENDS_AT_TOOLS = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["method"] == "tools/list":
        sys.exit(1)
    results = {
        "initialize": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"prompts": {}},
            "serverInfo": {"name": "p", "version": "1"},
        },
        "prompts/list": {"prompts": [{"name": "greet"}]},
    }
    result = results.get(request["method"])
    answer = {"result": result} if result else {"error": {"code": -32601, "message": "Method not found"}}
    if "id" in request:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer}), flush=True)
"""


async def test_a_server_that_ends_at_a_list_it_does_not_declare_is_not_asked_for_it_again() -> None:
    async with ready({"command": sys.executable, "args": ["-c", ENDS_AT_TOOLS]}) as up:
        assert [prompt["name"] for prompt in up.connection.listing.prompts] == ["greet"]
