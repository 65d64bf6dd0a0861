"""The description of `code` stays within 600 tokens, whatever servers and tools there are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import Catalog
from codemode import description as module
from codemode.cost import COMMON, most_tokens
from codemode.description import MAX_TOKENS, description
from stubs import Server, Tool
from tests.codemode.bench import CATALOG
from tests.codemode.counting import counted
from tests.deep import examples

pytest.importorskip("splintr")


def many(servers: int, tools: int, about: str = "Reads and writes {n} things for the {n} team") -> Catalog:
    return Catalog.build(
        Server(f"server{n}", None, about.replace("{n}", str(n)), tuple(Tool(f"tool_{t}") for t in range(tools)))
        for n in range(servers)
    )


@pytest.mark.parametrize(("servers", "tools"), [(0, 0), (1, 1), (1, 3_000), (5, 10), (80, 40), (400, 1)])
def test_any_number_of_tools_fits_into_600_tokens(servers: int, tools: int) -> None:
    assert counted(description(many(servers, tools))) <= MAX_TOKENS


@pytest.mark.parametrize(
    "text", ["日本語の説明" * 30, "qxzjvk" * 50, "😀" * 200, "-_-" * 100, "\ud800" * 50, "$&" * 99]
)
def test_hostile_texts_fit_too(text: str) -> None:
    catalog = Catalog.build(
        [Server(f"s{n}", text, text, (Tool("t", text, text),)) for n in range(50)], {f"down {text}": text}
    )
    assert counted(description(catalog)) <= MAX_TOKENS


def test_it_says_how_to_call_find_and_return_and_names_every_global_it_promises() -> None:
    text = description(CATALOG)
    for word in ("await", "codemode.search", "codemode.describe", "codemode.tools", "codemode.emit", "ToolError"):
        assert word in text


def test_servers_are_listed_with_what_they_do_and_how_many_tools_they_have() -> None:
    text = description(many(3, 40))
    assert "- server2 (40 tools): Reads and writes 2 things for the 2 team" in text


def test_servers_that_are_down_are_named_with_the_reason() -> None:
    assert "broken is not available: connection refused" in description(CATALOG)
    assert "billing is not available: 401" in description(Catalog.build([], {"billing": "401 from upstream"}))


def test_servers_that_do_not_fit_are_counted() -> None:
    text = description(many(80, 40, "A description that goes on for quite a while about server number {n}"))
    assert "more: codemode.search" in text


def test_a_few_small_tools_are_simply_declared() -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    text = description(Catalog.build([Server("notes", tools=(Tool("add", None, "Add a note", schema),))]))
    assert "declare const codemode" in text and "add(input: { text: string" in " ".join(text.split())
    assert counted(text) <= MAX_TOKENS


def test_the_parts_that_never_change_cost_what_the_budget_says() -> None:
    fixed = "\n".join((module._HEAD, "Servers:", module._DISCOVER, module._EXAMPLE))
    assert counted(fixed) <= module._FIXED_TOKENS
    assert module._FIXED_TOKENS <= MAX_TOKENS // 2


def test_every_word_that_counts_as_one_token_is_one() -> None:
    for word in COMMON:
        assert {counted(one) for one in (word, word.capitalize(), f" {word}", f" {word.capitalize()}")} == {1}, word


PIECES = st.sampled_from([*sorted(COMMON), "qxz", "ABC", "GitHub", "é", "日本", "😀", "123", "'s", "://"])
TEXTS = st.lists(PIECES | st.sampled_from([" ", "  ", "-", "_", ".", "(", ")", "\n"]), max_size=60).map("".join)


@examples(300)
@given(TEXTS | st.text(st.characters(exclude_categories=["Cs"])))
def test_the_bound_is_never_below_the_true_count(text: str) -> None:
    assert counted(text) <= most_tokens(text)


def test_the_bound_holds_for_letters_at_random() -> None:
    chance = random.Random(7)
    for alphabet in ("abcdefghijklmnopqrstuvwxyz", "qxzjvkw", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "aZbYcX", "0123456789"):
        for _ in range(300):
            text = "".join(chance.choice(alphabet) for _ in range(chance.randint(1, 60)))
            assert counted(text) <= most_tokens(text), text
