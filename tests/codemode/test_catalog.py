"""The snapshot of tools: lookups, listings, and errors that repair."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codemode import Catalog, CatalogError
from codemode.about import summary
from stubs import Server, Tool
from tests.codemode.bench import CATALOG, CLOCK, FIX


def test_equal_content_has_an_equal_id_and_other_content_another() -> None:
    again = Catalog.build([FIX, CLOCK], {"broken": "connection refused"})
    assert again.id == CATALOG.id
    changed = replace(CLOCK.tools[0], description="Other.")
    for other in (
        Catalog.build([FIX, CLOCK]),
        Catalog.build([CLOCK]),
        Catalog.build([FIX, replace(CLOCK, tools=(changed, *CLOCK.tools[1:]))], {"broken": "connection refused"}),
    ):
        assert other.id != CATALOG.id


def test_tools_are_found_by_the_path_a_call_names() -> None:
    entry = CATALOG.get("fix.my_tool")
    assert entry is not None
    assert (entry.server.id, entry.tool.name) == ("fix", "my-tool")
    assert CATALOG.get("fix.my-tool") is None
    assert len(CATALOG) == 10


def test_search_gives_path_signature_and_one_sentence() -> None:
    found = CATALOG.search("search things")
    assert found[0] == {
        "path": "fix.search",
        "signature": CATALOG.signature("fix.search"),
        "description": "Search the things.",
    }
    assert "query: string" in found[0]["signature"]


def test_search_is_restricted_to_a_server_by_id_or_identifier() -> None:
    for server in ("time-zone", "time_zone"):
        assert [found["path"] for found in CATALOG.search("search", server=server)] == ["time_zone.search"]


def test_search_keeps_only_tools_that_read_when_asked_to() -> None:
    tools = (
        Tool("list_pools", None, "Pools.", annotations={"readOnlyHint": True}),
        Tool("drop_pools", None, "Pools.", annotations={"destructiveHint": True}),
    )
    catalog = Catalog.build([Server("s", tools=tools)])
    assert [found["path"] for found in catalog.search("pools", read_only=True)] == ["s.list_pools"]
    assert [found["path"] for found in catalog.search("pools", read_only=False)] == ["s.drop_pools"]
    with pytest.raises(CatalogError, match="readOnly is true or false"):
        catalog.search("pools", read_only="yes")  # type: ignore[arg-type]


def test_an_empty_query_lists_the_servers_with_counts_and_those_that_are_down() -> None:
    assert CATALOG.search("  ") == [
        {"path": "fix", "server": "fix", "tools": 7, "description": "Things to test with"},
        {"path": "time_zone", "server": "time-zone", "tools": 3, "description": "Clocks"},
        {"server": "broken", "tools": 0, "unavailable": "connection refused"},
    ]


@pytest.mark.parametrize("limit", [0, 51, -1, True, "5", None, float("nan")])
def test_a_limit_outside_1_to_50_is_an_error_that_says_so(limit: object) -> None:
    with pytest.raises(CatalogError, match="1 to 50"):
        CATALOG.search("search", limit=limit)  # type: ignore[arg-type]


def test_a_query_that_is_no_text_is_an_error_with_an_example() -> None:
    with pytest.raises(CatalogError, match="codemode.search"):
        CATALOG.search(5)  # type: ignore[arg-type]


def test_an_unknown_server_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(CatalogError, match="fix, time-zone"):
        CATALOG.search("x", server="nope")
    with pytest.raises(CatalogError, match="not available: connection refused"):
        CATALOG.tools("broken")


def test_describe_declares_a_tool_a_server_or_a_list() -> None:
    one = CATALOG.describe("fix.search")
    assert "declare const codemode: {" in one
    assert "search(input: {" in one and "my_tool" not in one
    assert "my_tool(" in CATALOG.describe("fix")
    both = CATALOG.describe(["fix.search", "codemode.time_zone", "fix.search"])
    assert "Search the things" in both and "now(" in both and "my_tool" not in both
    assert both.count("Search the things") == 1


@pytest.mark.parametrize("spelling", ["fix.my-tool", "fix_my_tool", "codemode.fix.my_tool", "my-tool", "fix_my-tool"])
def test_describe_knows_every_spelling_of_a_tool(spelling: str) -> None:
    assert CATALOG.describe(spelling) == CATALOG.describe("fix.my_tool")


def test_describe_of_an_unknown_path_suggests_the_nearest_with_signatures() -> None:
    with pytest.raises(CatalogError, match="fix.serach") as raised:
        CATALOG.describe("fix.serach")
    assert CATALOG.signature("fix.search") in str(raised.value)
    with pytest.raises(CatalogError, match="several tools: fix.echo, time_zone.echo"):
        CATALOG.describe("echo")
    with pytest.raises(CatalogError, match="connection refused"):
        CATALOG.describe("broken")


@pytest.mark.parametrize("target", [None, 5, [], [5], {}, ["fix.search"] * 2_000])
def test_describe_takes_a_path_a_server_or_a_list(target: object) -> None:
    with pytest.raises(CatalogError):
        CATALOG.describe(target)  # type: ignore[arg-type]


def test_tools_are_listed_with_identifier_raw_name_and_schemas() -> None:
    listed = CATALOG.tools("fix")
    assert [tool["name"] for tool in listed[:3]] == ["search", "my_tool", "delete_"]
    assert listed[1]["rawName"] == "my-tool" and listed[1]["path"] == "fix.my_tool"
    assert listed[0]["inputSchema"] == FIX.tools[0].input_schema
    assert listed[0]["outputSchema"] == {"type": "object"} and "outputSchema" not in listed[1]
    assert len(CATALOG.tools()) == 10


def test_a_tool_listed_twice_is_one_tool() -> None:
    catalog = Catalog.build([Server("a", tools=(Tool("x", None, "first"), Tool("x", None, "second")))])
    assert [tool["description"] for tool in catalog.tools()] == ["first"]
    assert catalog.search("")[0]["tools"] == 1


def test_a_catalog_without_tools_answers_everything() -> None:
    empty = Catalog.build([])
    assert empty.search("anything") == [] and empty.search("") == [] and empty.tools() == []
    with pytest.raises(CatalogError, match="none"):
        empty.describe("x")


def test_declarations_for_an_editor_have_the_functions_of_codemode_too() -> None:
    text = CATALOG.declarations()
    assert "search(query: string" in text and "time_zone: {" in text


def test_a_summary_is_the_first_sentence_on_one_line() -> None:
    assert summary("  Finds\n things. And more.") == "Finds things."
    assert summary("Uses e.g. this, v1.5 too. Yes.") == "Uses e.g. this, v1.5 too."
    assert len(summary("word " * 100)) <= 140
