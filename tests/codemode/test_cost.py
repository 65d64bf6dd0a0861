"""What an agent pays to find and learn two tools: description, one search, one describe; for any number of tools."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import Catalog
from codemode.about import summary
from codemode.catalog import MAX_SHORTENED_TOOLS, TOOL_TOKENS
from codemode.cost import about_tokens, clipped, most_tokens
from codemode.description import description
from codemode.found import SEARCH_TOKENS
from codemode.truncation import text_of
from stubs import Server, Tool
from tests.codemode.counting import counted
from tests.corpus import cloudflare
from tests.corpus.intents import LARGE, intents
from tests.stubs import typescript

pytest.importorskip("splintr")
ALL_STEPS = 1_500
ASKED = [intent.words for part in (intents(LARGE, "tuned"), intents(LARGE, "held_out")) for intent in part]


def three_steps(catalog: Catalog, words: str) -> int:
    """What the agent reads for a task that needs two tools."""
    found = catalog.search(words)
    shown = catalog.describe([result["path"] for result in found[:2]]) if found else ""
    return counted(description(catalog)) + counted(text_of(found)) + counted(shown)


def spread(count: int, servers: int) -> Catalog:
    """`count` real tools over some servers, under names of their own where there are more than there are tools."""
    tools = list(itertools.islice(itertools.cycle(cloudflare.server().tools), count))
    named = [
        tool
        if n < len(cloudflare.server().tools)
        else Tool(f"{tool.name}_{n}", None, tool.description, tool.input_schema)
        for n, tool in enumerate(tools)
    ]
    about = "Everything about the domains, networks, storage and people of account number {n}, and its invoices"
    return Catalog.build(
        Server(f"account{n}", None, about.format(n=n), tuple(named[n::servers])) for n in range(servers)
    )


@pytest.fixture(scope="module")
def large() -> Catalog:
    return Catalog.build([cloudflare.server()])


def test_every_task_over_2747_tools_costs_less_than_1500_tokens(large: Catalog) -> None:
    costs = {words: three_steps(large, words) for words in ASKED}
    worst = max(costs, key=costs.__getitem__)
    assert costs[worst] < ALL_STEPS, worst


@pytest.mark.parametrize(("count", "servers"), [(10, 1), (1_000, 20), (10_000, 60)])
def test_the_number_of_tools_does_not_matter(count: int, servers: int) -> None:
    catalog = spread(count, servers)
    assert len(catalog) == count
    assert max(three_steps(catalog, words) for words in ASKED[::8]) < ALL_STEPS


def test_a_result_further_down_says_less_but_all_have_a_path_and_words(large: Catalog) -> None:
    found = large.search("create a dns record")
    assert len(found) == 10 and all(result["path"] and result["description"] for result in found)
    signed = ["signature" in result for result in found]
    assert signed == sorted(signed, reverse=True) and signed[0]
    assert all("signature" in result for result in large.search("create a dns record", full=True))


def test_more_results_have_more_room(large: Catalog) -> None:
    assert counted(text_of(large.search("list", limit=50))) <= 5 * SEARCH_TOKENS


def heavy(name: str, properties: int, text: str = "What this property is for, at some length. " * 9) -> Tool:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            f"{name}_property_number_{n}": {
                "description": text,
                "anyOf": [
                    {"enum": [f"value_{n}_{v}" for v in range(60)]},
                    {"type": "array", "items": {"type": "number"}},
                ],
            }
            for n in range(properties)
        },
        "required": [f"{name}_property_number_0"],
    }
    return Tool(name, None, text * 20, schema, schema)


def test_describing_two_huge_tools_stays_within_their_room_and_says_what_is_missing() -> None:
    catalog = Catalog.build([Server("s", tools=(heavy("one", 300), heavy("two", 300)))])
    text = catalog.describe(["s.one", "s.two"])
    assert counted(text) <= 2 * TOOL_TOKENS
    assert "more optional properties" in text and "one_property_number_0:" in text
    assert "{full: true}" in text
    whole = catalog.describe(["s.one", "s.two"], full=True)
    assert "one_property_number_200" in whole and "{full: true}" not in whole


def test_a_small_tool_stays_whole_next_to_a_huge_one() -> None:
    small = Tool("small", None, "Small. With a second sentence.", {"type": "object", "properties": {"x": {}}})
    catalog = Catalog.build([Server("s", tools=(small, heavy("huge", 200)))])
    assert "Small. With a second sentence." in catalog.describe(["s.small", "s.huge"])


def test_many_tools_are_declared_whole() -> None:
    tools = tuple(heavy(f"t{n}", 2) for n in range(MAX_SHORTENED_TOOLS + 1))
    catalog = Catalog.build([Server("s", tools=tools)])
    assert catalog.describe("s") == catalog.describe("s", full=True)


def test_shortened_declarations_compile_and_take_whatever_the_whole_ones_take(large: Catalog) -> None:
    paths = [tool["path"] for tool in large.tools()]
    pairs = [paths[n : n + 2] for n in range(0, len(paths), 90)]
    files = {f"d{n}.d.ts": f"export {{}};\n{large.describe(pair)}" for n, pair in enumerate(pairs)}
    assert any("{full: true}" in text for text in files.values())
    assert typescript.check(files) == []


def test_the_estimate_is_at_least_what_the_tokenizer_counts(large: Catalog) -> None:
    texts: Sequence[str] = [large.describe(tool["path"], full=True) for tool in large.tools()[::50]]
    texts = [*texts, *(text_of(large.search(words, full=True)) for words in ASKED[::5])]
    assert all(counted(text) <= about_tokens(text) <= 2 * counted(text) for text in texts)


def test_the_error_of_the_estimate_is_the_documented_one(large: Catalog) -> None:
    tools = large.tools()[::20]
    code = [large.describe(tool["path"]) for tool in tools] + [text_of(large.search(words)) for words in ASKED[::5]]
    assert all(1.0 <= about_tokens(text) / counted(text) <= 1.5 for text in code)
    assert all(1.0 <= most_tokens(text) / counted(text) <= 3.5 for text in code)
    sentences = [summary(tool["description"]) for tool in tools if len(tool["description"] or "") > 40]
    assert all(0.8 <= about_tokens(text) / counted(text) <= 1.6 for text in sentences)


@pytest.mark.parametrize("alphabet", ["abcdefghijklmnopqrstuvwxyz", "qxzjvkw", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "aZbYcX"])
def test_letters_at_random_are_underestimated_by_no_more_than_the_documented_factor(alphabet: str) -> None:
    chance = random.Random(11)
    for _ in range(200):
        text = "".join(chance.choice(alphabet) for _ in range(chance.randint(1, 60)))
        assert counted(text) <= 6 * about_tokens(text), text


@given(st.text(), st.integers(2, 40))
def test_a_clipped_text_is_its_start_and_about_as_long_as_asked(text: str, tokens: int) -> None:
    short = clipped(text, tokens)
    assert about_tokens(short) <= max(tokens, about_tokens(text) if short == text else 0)
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))
