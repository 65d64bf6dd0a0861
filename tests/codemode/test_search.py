"""Search finds what a person means, in bounded time, in a stable order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode.postings import MAX_TEXT_CHARS, Entry, Part, ServerIndex
from codemode.search import Search
from codemode.words import words


class SearchIndex:
    """An index over tools in any order; results are their positions."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        servers = dict.fromkeys(entry.server for entry in entries)
        self._servers = list(servers)
        self._positions = [[n for n, one in enumerate(entries) if one.server == server] for server in servers]
        indexes = [ServerIndex([entries[n] for n in positions]) for positions in self._positions]
        self._search = Search([Part(index) for index in indexes])

    def find(self, query: str, *, limit: int, server: str | None = None, read_only: bool | None = None) -> list[int]:
        if server is not None and server not in self._servers:
            return []
        part = None if server is None else self._servers.index(server)
        found = self._search.find(query, limit=limit, part=part, read_only=read_only)
        return [self._positions[number][position] for number, position in found]


INTENTS = json.loads(Path(__file__).with_name("intents.json").read_text(encoding="utf-8"))

ENTRIES = [Entry(server, name, "", text, parameters) for server, name, text, parameters in INTENTS["tools"]]
INDEX = SearchIndex(ENTRIES)


def names(found: Sequence[int]) -> list[str]:
    return [ENTRIES[position].name for position in found]


def hit_rate(
    index: SearchIndex, entries: Sequence[Entry], intents: Sequence[tuple[str, Sequence[str]]], k: int
) -> float:
    hits = [any(entries[n].name in wanted for n in index.find(intent, limit=k)) for intent, wanted in intents]
    return sum(hits) / len(hits)


def test_people_find_the_tools_of_common_servers() -> None:
    intents = [(intent, wanted) for intent, wanted in INTENTS["intents"]]
    assert hit_rate(INDEX, ENTRIES, intents, 5) >= 0.92
    assert hit_rate(INDEX, ENTRIES, intents, 1) >= 0.7


def test_names_are_split_at_case_underscores_and_digits() -> None:
    assert words("listDNSRecords2 get_2nd-item HTTPServer") == [
        *("list", "dns", "records", "2", "get", "2", "nd", "item", "http", "server"),
    ]
    assert words("café_über 日本") == ["café", "über", "日", "本"]


def test_misspelt_words_find_the_words_nearby() -> None:
    assert names(INDEX.find("tke screenshoot", limit=1)) == ["take_screenshot"]


def test_other_verbs_for_the_same_deed_are_found() -> None:
    assert "delete_entities" in names(INDEX.find("remove entities", limit=2))


def test_people_s_words_find_what_apis_call_otherwise() -> None:
    index = SearchIndex(
        [
            Entry("s", "zones_list", "", "Lists the zones."),
            Entry("s", "billing_history_list", "", "Past invoices."),
            Entry("s", "firewall_access_rules_create", "", "Creates an IP access rule."),
            Entry("s", "sessions_revoke", "", "Revokes all sessions."),
            Entry("s", "widgets_list", "", "Lists the widgets."),
        ]
    )
    for words_said, found in (
        ("which sites do we have", 0),
        ("what did we pay last month", 1),
        ("ban an address", 2),
        ("sign out everywhere", 3),
    ):
        assert index.find(words_said, limit=1) == [found]


def test_of_tools_for_the_same_thing_the_one_that_does_what_was_asked_comes_first() -> None:
    deeds = ["delete", "update", "get", "list", "create"]
    index = SearchIndex([Entry("s", f"pools_{deed}", "", "One pool or all pools.") for deed in deeds])
    for words_said, deed in (
        ("remove a pool", "delete"),
        ("change a pool", "update"),
        ("make a new pool", "create"),
    ):
        assert deeds[index.find(words_said, limit=1)[0]] == deed
    assert {deeds[n] for n in index.find("which pools are there", limit=2)} == {"get", "list"}


def test_read_only_keeps_the_tools_that_say_so_or_all_others() -> None:
    hints: tuple[dict[str, object], ...] = (
        {"readOnlyHint": True},
        {"readOnlyHint": False},
        {},
        {"readOnlyHint": "yes"},
    )
    index = SearchIndex([Entry("s", f"pool_{n}", "", "A pool", annotations=hint) for n, hint in enumerate(hints)])
    assert index.find("pool", limit=9, read_only=True) == [0]
    assert index.find("pool", limit=9, read_only=False) == [1, 2, 3]
    assert len(index.find("pool", limit=9)) == 4


def test_what_schemas_say_is_found_after_what_names_say() -> None:
    index = SearchIndex(
        [Entry("s", "report", "", "A report.", details=["Choose a city"]), Entry("s", "city", "", "A city.")]
    )
    assert index.find("city", limit=2) == [1, 0]


def test_a_server_filter_leaves_only_its_tools() -> None:
    found = INDEX.find("list files", limit=50, server="files")
    assert found and all(ENTRIES[position].server == "files" for position in found)
    assert INDEX.find("list files", limit=50, server="nope") == []


def test_equal_scores_keep_the_order_of_the_catalog() -> None:
    index = SearchIndex([Entry("s", f"same_{letter}", "", "equal words") for letter in "abcdefgh"])
    assert index.find("equal", limit=8) == list(range(8))
    assert index.find("equal", limit=3) == [0, 1, 2]


def test_an_index_of_nothing_finds_nothing() -> None:
    assert SearchIndex([]).find("anything", limit=5) == []


@pytest.mark.parametrize("query", ["", "   ", "!!! ???", "\x00"])
def test_a_query_without_words_finds_nothing(query: str) -> None:
    assert INDEX.find(query, limit=5) == []


@pytest.mark.parametrize(
    "query", ["name:create AND", '"open phrase', "text:[a TO b]", "a~2 ^5", "*", "create^9999", "OR"]
)
def test_query_syntax_is_only_words(query: str) -> None:
    assert len(INDEX.find(query, limit=50)) <= 50


def test_a_query_of_stop_words_alone_is_taken_as_it_is() -> None:
    assert SearchIndex([Entry("s", "what_is_it")]).find("what is it", limit=1) == [0]


def test_a_giant_query_is_cut() -> None:
    assert INDEX.find("create issue " + "filler " * 100_000, limit=1) == INDEX.find("create issue filler", limit=1)


@given(st.text(max_size=400), st.integers(1, 50))
def test_any_query_gives_at_most_the_limit_and_no_tool_twice(query: str, limit: int) -> None:
    found = INDEX.find(query, limit=limit)
    assert len(found) == len(set(found)) <= limit


def test_for_a_request_names_and_texts_of_parameters_count_up_to_one_length_together() -> None:
    def found(parameter: str) -> bool:
        entry = Entry("s", "tool", parameters=[parameter], details=["zebra"])
        return bool(Search([Part(ServerIndex([entry]))]).find("zebra", limit=1))

    assert found("x" * (MAX_TEXT_CHARS - len(" zebra")))
    assert not found("x" * MAX_TEXT_CHARS)


def test_a_query_of_stop_words_only_is_ranked_by_its_meaning_where_no_tool_has_them() -> None:
    search = Search([Part(ServerIndex([Entry("s", "alpha"), Entry("s", "beta"), Entry("s", "gamma")]))])
    assert search.find("what can you do", limit=3, similarity=[0.3, 0.5, 0.1]) == [(0, 1), (0, 0)]
