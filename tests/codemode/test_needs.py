"""A search for several needs at once: a list of results for each, which share the room of one search."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import Catalog, CatalogError
from codemode.found import DEFAULT_LIMIT, MAX_NEEDS, SEARCH_TOKENS
from codemode.truncation import text_of
from sandbox import Engine, Limits
from stubs import Server, Tool
from tests.codemode.bench import CATALOG, bench, run
from tests.codemode.counting import counted
from tests.corpus import cloudflare
from tests.corpus.intents import LARGE, intents
from tests.deep import examples
from tests.stubs import typescript

Engines = Callable[[Limits], Engine]
Found = list[dict[str, Any]]
ASKED = [intent.words for intent in intents(LARGE, "tuned")]


@pytest.fixture(scope="module")
def large() -> Catalog:
    return Catalog.build([cloudflare.server()])


def paths(found: Found) -> list[str]:
    return [one["path"] for one in found]


def whole(found: list[Found]) -> list[list[str]]:
    """The paths of the results that have a signature, for each need."""
    return [[one["path"] for one in of_need if "signature" in one] for of_need in found]


def of_equal_length(*words: str, count: int = 12, text: str = "") -> list[Tool]:
    return [Tool(f"{word}_{n:02}", None, f"Does one {word}. {text}") for word in words for n in range(count)]


# --- in a program --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_program_finds_all_its_tools_in_one_step(engines: Engines) -> None:
    code = """const [[things], [time], none] = await codemode.search(["search things", "the time now", "zzqqxx"]);
        return [await codemode[things]({query: "x"}), time.path, `${time}`, none]"""
    assert (await run(engines, code)).value == [{"query": "x"}, "time_zone.now", "time_zone.now", []]


class Watched(Catalog):
    """A catalog that knows in which threads it was searched, and how often at the same time."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.threads: set[int] = set()
        self.searching = self.most_searching = 0

    def search(self, *given: Any, **named: Any) -> Found:
        self.threads.add(threading.get_ident())
        self.searching += 1
        self.most_searching = max(self.most_searching, self.searching)
        found = super().search(*given, **named)
        self.searching -= 1
        return found


@pytest.mark.anyio
async def test_the_searches_of_a_program_take_turns_and_never_run_on_the_event_loop(engines: Engines) -> None:
    watched = Watched.build(CATALOG.servers)
    assert isinstance(watched, Watched)
    watched.prepare()
    code = """const found = [...Array(50).keys()].map((n) => codemode.search(`qwxz plmk vbnh ${n} search`));
        return (await Promise.all(found)).length"""
    async with bench(engines, catalog=watched) as b:
        assert (await b.run(code)).value == 50
    assert threading.get_ident() not in watched.threads
    assert watched.most_searching == 1


@pytest.mark.anyio
async def test_what_was_found_for_several_needs_is_described_at_once(engines: Engines) -> None:
    code = """const found = await codemode.search(["search things", "the time now"], {limit: 1});
        const nothing = await codemode.describe(await codemode.search(["zzqqxx", "qqxxzz"]));
        return [await codemode.describe(found), nothing, await codemode.describe(await codemode.search("zzqqxx"))]"""
    both, nothing, nothing_either = cast(list[str], (await run(engines, code)).value)
    assert "search(input" in both and "now(" in both
    assert nothing == nothing_either and nothing.startswith("// ") and "nothing was found" in nothing


@pytest.mark.anyio
async def test_the_options_hold_for_every_need_in_every_usual_form(engines: Engines) -> None:
    code = """const needs = ["echo", "search"], paths = (found) => found.map((of) => of.map((one) => one.path));
        return [paths(await codemode.search(needs, {server: "time-zone"})), paths(await codemode.search(needs, 1)),
          paths(await codemode.search({query: needs, limit: 1, server: "fix"})),
          paths(await codemode.search(new Set(needs), {limit: 1, readOnly: true}))]"""
    assert (await run(engines, code)).value == [
        [["time_zone.echo"], ["time_zone.search"]],
        [["fix.echo"], ["fix.search"]],
        [["fix.echo"], ["fix.search"]],
        [[], []],
    ]


@pytest.mark.anyio
async def test_the_first_search_of_a_catalog_may_be_for_several_needs(engines: Engines) -> None:
    catalog = Catalog.build([Server("s", tools=(Tool("list_orders"), Tool("send_mail")))])
    async with bench(engines, catalog=catalog) as b:
        found = await b.run("return (await codemode.search(['orders', 'mail'])).map(([best]) => best.path)")
    assert found.value == ["s.list_orders", "s.send_mail"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("search([])", "1 to 10 needs, each a text; got 0"),
        ("search(Array(11).fill('x'))", "1 to 10 needs, each a text; got 11"),
        ("search(['x', ' \\n'])", "need 2 of 2 is blank"),
        ("search([''])", "need 1 of 1 is blank"),
        ("search(['x', undefined, 'y'])", "need 2 of 3 is no text"),
        ("search([['x', 'y']])", "need 1 of 1 is no text"),
        ("search(['x', {query: 'y'}])", "need 2 of 2 is no text"),
        ("search(['x', 'y'], {limit: 0})", "limit is 1 to 50"),
        ("search(['x', 'y'], {readOnly: 1})", "readOnly is true or false"),
        ("search(['x', 'y'], {server: 'nope'})", "The servers are: fix, time-zone"),
        ("search(['x', 'y'], {most: 3})", "{limit, readOnly, server}"),
        ("search('x', 'y')", "Several needs are a list: codemode.search(["),
        ("search({needs: ['x', 'y']})", "a list of needs: codemode.search(["),
    ],
)
async def test_needs_that_cannot_be_searched_for_are_an_error_that_says_why(
    engines: Engines, code: str, said: str
) -> None:
    found = await run(engines, f"await codemode.{code}")
    assert said in found.error["message"] and found.error["name"] == "TypeError"


WORDS = st.sampled_from(["search things", "the time", "zzqqxx", "echo"]) | st.text(max_size=400)
LEAVES = st.none() | st.booleans() | st.integers(-5, 60) | st.floats(allow_nan=False, allow_infinity=False) | WORDS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=12) | st.dictionaries(WORDS, inner, max_size=3))
OPTIONS = VALUES | st.fixed_dictionaries(
    {}, optional={"limit": LEAVES, "server": WORDS | st.just("fix"), "readOnly": st.none() | st.booleans()}
)
ARGUMENTS = st.tuples(st.lists(WORDS, min_size=1, max_size=10) | VALUES, OPTIONS)


@examples(60)
@given(st.lists(ARGUMENTS, min_size=1, max_size=20))
def test_whatever_a_program_asks_for_it_gets_a_list_for_each_need_or_an_error_of_ours(
    engines: Engines, asked: list[tuple[Any, Any]]
) -> None:
    code = f"""const asked = JSON.parse({json.dumps(json.dumps(asked))});
        return JSON.stringify(await Promise.all(asked.map((one) => codemode.search(...one).then(
          (found) => found.map((of) => Array.isArray(of) ? of.map((tool) => tool.path) : null),
          (error) => [error.name, error.message]))))"""
    for (needs, _), got in zip(asked, json.loads(asyncio.run(run(engines, code)).value), strict=True):
        if got and got[0] == "TypeError":
            assert got[1].startswith("codemode.search: ") and len(got[1]) < 1_000
        elif isinstance(needs, list):
            assert len(got) == len(needs) <= MAX_NEEDS
            assert all(need.strip() and isinstance(of_need, list) for need, of_need in zip(needs, got, strict=True))
        else:
            assert all(one is None for one in got)


@given(VALUES)
def test_a_list_is_searched_for_exactly_where_it_has_one_to_ten_texts_with_words(needs: Any) -> None:
    right = isinstance(needs, list) and 1 <= len(needs) <= 10
    right = right and all(isinstance(need, str) and need.strip() for need in needs)
    try:
        found = CATALOG.search_all(needs)
    except CatalogError:
        assert not right
    else:
        assert right and len(found) == len(needs)


# --- what is found ---------------------------------------------------------------------------------------------------


def test_each_need_finds_what_a_search_for_it_alone_finds(large: Catalog) -> None:
    needs = ASKED[:7]
    assert [paths(found) for found in large.search_all(needs)] == [paths(large.search(need, 2)) for need in needs]
    assert large.search_all([ASKED[0]]) == [large.search(ASKED[0])]


@pytest.mark.parametrize(("needs", "each"), [(1, DEFAULT_LIMIT), (2, 5), (4, 5), (5, 4), (10, 2)])
def test_one_need_has_ten_results_by_default_each_of_several_five_and_all_twenty(
    large: Catalog, needs: int, each: int
) -> None:
    assert [len(found) for found in large.search_all(ASKED[:needs])] == [each] * needs
    assert [len(found) for found in large.search_all(ASKED[:needs], 7)] == [7] * needs


def test_a_need_that_finds_nothing_has_an_empty_list_in_its_place() -> None:
    assert [paths(found) for found in CATALOG.search_all(["zzqqxx", "the time now", "qqzzxx"], 1)] == [
        [],
        ["time_zone.now"],
        [],
    ]
    assert Catalog.build([]).search_all(["a", "b"]) == [[], []]


# --- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("needs", [2, 3, 5, 10])
@pytest.mark.parametrize("limit", [None, 1, 2, 20])
def test_the_results_for_all_needs_cost_no_more_than_one_search_with_as_many(
    large: Catalog, needs: int, limit: int | None
) -> None:
    for start in range(0, len(ASKED) - needs, 31):
        found = large.search_all(ASKED[start : start + needs], limit)
        room = SEARCH_TOKENS * max(10, sum(map(len, found))) // 10
        assert counted(text_of(found)) <= room
        assert all(one["path"] for of_need in found for one in of_need)


def test_the_best_result_of_each_need_is_whole_before_the_second_of_another() -> None:
    words = ("alpha", "bravo", "delta", "gamma", "kappa")
    tools = of_equal_length(*words, text="It goes on for a while, about what it does and what it does not.")
    catalog = Catalog.build([Server("s", tools=tuple(tools))])
    for count in range(2, 6):
        for limit in (1, 2, 5, 10):
            counts = [len(of_need) for of_need in whole(catalog.search_all(words[:count], limit))]
            assert max(counts) - min(counts) <= 1 and counts == sorted(counts, reverse=True) and counts[0] > 0


def test_a_long_result_of_one_need_leaves_room_for_shorter_ones_of_others() -> None:
    members = {f"number_of_{n}": {"type": "integer"} for n in range(9)}
    huge = {"type": "object", "properties": members, "required": list(members)}
    text = "Does one alpha, and says at some length what it does and what it does not do with each of them."
    long = [Tool(f"alpha_{n}", None, text, huge, huge) for n in range(5)]
    catalog = Catalog.build([Server("s", tools=(*long, *of_equal_length("bravo", count=5)))])
    alpha, bravo = whole(catalog.search_all(["alpha", "bravo"]))
    assert 0 < len(alpha) < len(bravo)


def test_a_tool_that_two_needs_find_is_whole_once() -> None:
    catalog = Catalog.build([Server("s", tools=(Tool("send_mail", None, "Sends."), Tool("read_mail", None, "Reads.")))])
    found = catalog.search_all(["send mail", "read mail", "send mail"])
    assert [set(paths(of_need)) for of_need in found] == [{"s.send_mail", "s.read_mail"}] * 3
    assert whole(found) == [["s.send_mail"], ["s.read_mail"], []]
    assert found[2][0] == {"path": "s.send_mail", "description": "Sends."}


def test_results_are_the_caller_s_own() -> None:
    first = CATALOG.search_all(["echo", "echo"])
    first[0][0]["path"] = first[1][0]["path"] = "changed"
    assert paths(CATALOG.search_all(["echo"])[0]) == ["fix.echo", "time_zone.echo"]


# --- its types -------------------------------------------------------------------------------------------------------


def test_the_declared_types_tell_one_text_from_several_needs() -> None:
    program = """export {};
const [[issue], [message]] = await codemode.search(["list issues", "post a message"] as const, { limit: 2 });
const words: string[] = [issue.path, message.signature ?? "", message.description ?? ""];
const one: string = (await codemode.search("list issues"))[0].path;
const each: string[] = (await codemode.search(words)).map(([best]) => best.path);
"""
    wrong = """export {};
const [issue] = await codemode.search(["list issues"]);
issue.path;
codemode.search([1]);
(await codemode.search("list issues"))[0][0];
codemode.search({});
"""
    files = {"codemode.d.ts": CATALOG.declarations(), "program.ts": program, "wrong.ts": wrong}
    found = typescript.check(files)
    assert [(one.file, one.line) for one in found] == [("wrong.ts", n) for n in (3, 4, 5, 6)]
