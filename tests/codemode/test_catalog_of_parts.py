"""A catalog of parts of servers is like a catalog of servers that have only those tools, and costs next to nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import CallOutcome, Catalog, CatalogServer, CodeTool, ToolCall, ToolReturned
from codemode.preload import _by_rule
from sandbox import Engine, Executor, Image, InProcessExecutor
from stubs import Server, Tool
from tests.corpus import cloudflare
from tests.corpus.intents import LARGE, intents
from tests.stubs.test_identifiers import raw_names


def parts_of(servers: Mapping[str, CatalogServer], chosen: Mapping[str, set[str]]) -> Catalog:
    return Catalog.of([(servers[server_id], servers[server_id].visible(tools)) for server_id, tools in chosen.items()])


def alone(servers: Mapping[str, CatalogServer], chosen: Mapping[str, set[str]]) -> Catalog:
    return Catalog.build(
        Server(
            one.id, one.name, one.description, tools=tuple(tool for tool in one.tools if tool.name in chosen[one.id])
        )
        for one in (servers[server_id].server for server_id in chosen)
    )


@pytest.fixture(scope="module")
def operations() -> dict[str, CatalogServer]:
    """2,747 real operations, on twenty servers."""
    tools = cloudflare.server().tools
    servers = (Server(f"s{n}", f"Server {n}", f"Part {n}", tools[n::20]) for n in range(20))
    return {server.id: CatalogServer(server) for server in servers}


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05, 0.002])
def test_its_search_ranks_as_if_the_other_tools_did_not_exist(
    operations: dict[str, CatalogServer], share: float
) -> None:
    pick = random.Random(share)
    chosen = {
        server_id: {tool.name for tool in one.tools if pick.random() < share} for server_id, one in operations.items()
    }
    part, own = parts_of(operations, chosen), alone(operations, chosen)
    assert len(part) == len(own) > 0
    for query in (*(one.words for one in intents(LARGE, "tuned")[::7]), "misspeled zonnes", "x", "list", "the"):
        assert part.search(query, 10) == own.search(query, 10), query
        assert part.search(query, 3, server="s7") == own.search(query, 3, server="s7")
        assert part.search(query, 3, read_only=True) == own.search(query, 3, read_only=True)


names = st.sampled_from("a b a_b a-b c a_b_c search then x b_c 3d 3d_x the-end delete my_server my-server".split())
catalogues = st.dictionaries(names | raw_names, st.lists(names | raw_names, max_size=6), max_size=5)


@given(catalogues, st.randoms(use_true_random=False))
def test_a_tool_that_is_left_out_is_unknown_in_every_spelling(tools: dict[str, list[str]], pick: random.Random) -> None:
    servers = {one: CatalogServer(Server(one, tools=tuple(map(Tool, listed)))) for one, listed in tools.items()}
    chosen = {one: {name for name in listed if pick.random() < 0.5} for one, listed in tools.items()}
    part, whole = parts_of(servers, chosen), parts_of(servers, {one: set(listed) for one, listed in tools.items()})
    shown = {(server_id, name) for server_id, listed in chosen.items() for name in listed}
    assert set(part.names.paths.values()) == shown
    for path, key in whole.names.paths.items():
        assert (part.get(path) is not None) == (key in shown)
        assert part.get(path) is None or part.names.path(*key) == path
    for spelling in (*whole.names.shortcuts, *whole.names.ambiguous, *whole.names.paths):
        assert set(part.names.resolve(spelling)) <= shown
    assert {name: set(members.values()) for name, members in part.names.tools.items()} == chosen


@given(catalogues)
def test_the_script_in_an_isolate_needs_to_be_told_of_no_other_spelling(tools: dict[str, list[str]]) -> None:
    catalog = Catalog.build(Server(one, tools=tuple(map(Tool, listed))) for one, listed in tools.items())
    catalog_names = catalog.names
    for spelling in {*catalog_names.shortcuts, *catalog_names.ambiguous} - catalog_names.uncertain:
        paths = sorted(catalog_names.path(*key) for key in catalog_names.shortcut(spelling))
        assert sorted(_by_rule(catalog_names, spelling)) == paths, spelling


def test_equal_content_has_one_id_whether_it_is_a_part_or_not(operations: dict[str, CatalogServer]) -> None:
    chosen = {"s1": {tool.name for tool in operations["s1"].tools[:5]}, "s2": set[str]()}
    part, own = parts_of(operations, chosen), alone(operations, chosen)
    assert part.id == own.id
    assert part.table == own.table
    assert part.describe("s1") == own.describe("s1")
    assert part.tools() == own.tools()
    assert part.search("") == own.search("")


class Counting:
    """An executor that counts the images it makes."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.images = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._executor, name)

    async def image(self, preload: str) -> Image:
        self.images += 1
        return await self._executor.image(preload)


class Echo:
    async def call_tool(self, call: ToolCall) -> CallOutcome:
        text = {"type": "text", "text": f"{call.server}.{call.tool}"}
        return ToolReturned({"content": [text]})


@pytest.mark.anyio
async def test_programs_over_parts_share_an_image_and_see_only_their_own_part() -> None:
    server = CatalogServer(Server("fix", tools=tuple(map(Tool, ("open", "get-it", "then", "close")))))
    with Engine() as engine:
        async with InProcessExecutor(engine) as executor:
            counting = Counting(executor)
            tool = CodeTool(cast(Executor, counting))
            for shown in (["open"], ["get-it", "then"], ["close", "open"]):
                part = Catalog.of([(server, server.visible(shown))])
                program = """
                    const seen = Object.keys(codemode.fix);
                    const values = await Promise.all(seen.map(name => codemode.fix[name]({})));
                    let wrong; try { codemode.fix.clsoe } catch (error) { wrong = error.message }
                    return {seen, values, wrong, close: "close" in codemode.fix, flat: "fix_open" in codemode};
                """
                answer = await tool.run({"code": program}, part, Echo())
                value = answer["structuredContent"]["result"]
                assert value["seen"] == sorted(part.names.tool("fix", name) for name in shown)
                assert sorted(value["values"]) == sorted(f"fix.{name}" for name in shown)
                assert (value["close"], value["flat"]) == ("close" in shown, "open" in shown)
                assert ("fix.close" in value["wrong"]) == ("close" in shown)
            assert counting.images == 1
