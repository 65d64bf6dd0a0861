"""Search finds the tools of tasks that nobody here wrote, at least as well as plain BM25 does in the same run.

The data are not part of the project (`tests/corpus/retrieval.py`). All thresholds are for the half of the queries that
judges: no weight of the ranking was chosen by one of them.
"""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest

from codemode import Catalog, Meanings
from codemode.words import words
from stubs import Server, Tool, ToolKey
from tests.corpus import bm25
from tests.corpus.retrieval import VARIABLE, AbsentSet, ForeignSet, Measures, Query, by_search, foreign_set, measured

MOST = 250  # queries of a set
STEPS = ("livemcpbench", "step")
LARGEST = "stabletoolbench"
FLOORS = {
    ("stabletoolbench", None): Measures(0.57, 0.82, 0.63, 0.58),
    ("livemcpbench", "task"): Measures(0.35, 0.64, 0.38, 0.25),
    STEPS: Measures(0.43, 0.66, 0.58, 0.70),
    ("metatool", None): Measures(0.39, 0.58, 0.51, 0.64),
}
"""A little below what was measured: by 0.02 or 0.03 where there are hundreds of queries, by one query where there are
28 (tasks) or 30 (steps)."""

BY_MEANING = {
    ("stabletoolbench", None): Measures(0.64, 0.88, 0.70, 0.66),
    ("livemcpbench", "task"): Measures(0.39, 0.75, 0.42, 0.25),
    STEPS: Measures(0.43, 0.70, 0.59, 0.73),
    ("metatool", None): Measures(0.51, 0.69, 0.63, 0.74),
}
"""The same for search by meaning too."""

CASES = [
    *((name, part, MOST) for name, part in FLOORS),
    pytest.param("metatool", None, None, marks=pytest.mark.deep),  # the only set whose half has more
]


def present(name: str) -> ForeignSet:
    """The set; the test is skipped where it is absent, because the data are not part of the project."""
    try:
        return foreign_set(name)
    except AbsentSet as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("name", "part", "most"), CASES)
def test_tasks_of_others_find_their_tools_as_well_as_they_did_and_as_by_bm25(
    name: str, part: str | None, most: int | None
) -> None:
    """On the steps of LiveMCPBench BM25 was ahead, by two queries of 30 within five and by one with all within ten.

    That is within chance: the standard error of a share of 30 queries is up to 0.09, and so much is allowed there. The
    first place was equal, and nothing is allowed for it.
    """
    tools = present(name)
    asked = tools.of("judging", part)[:most]
    ours = measured(by_search(Catalog.build(tools.servers)), asked)
    assert all(our >= floor for our, floor in zip(ours, FLOORS[name, part], strict=True)), ours
    theirs = bm25.bar(tools.servers, asked)
    allowed = 0.5 / math.sqrt(len(asked)) if (name, part) == STEPS else 0.0
    assert ours.hit_at_1 >= theirs.hit_at_1, (ours, theirs)
    assert all(our >= their - allowed for our, their in zip(ours, theirs, strict=True)), (ours, theirs)


@pytest.mark.timeout(900)  # the vectors of the largest take half a minute of one core, unless they are kept
@pytest.mark.parametrize(
    ("name", "part"), [pytest.param(*one, marks=pytest.mark.deep) if one[0] == LARGEST else one for one in FLOORS]
)
def test_tasks_of_others_find_their_tools_by_meaning_at_least_as_well_as_by_words(name: str, part: str | None) -> None:
    tools = present(name)
    asked = tools.of("judging", part)[:MOST]
    catalog = Catalog.build(tools.servers)
    by_words = measured(by_search(catalog), asked)
    meanings = Meanings.installed(environment={})
    assert meanings is not None
    with meanings:
        meanings.prepared(catalog.parts)
        found = measured(by_search(catalog, meanings), asked)
    assert all(one >= other for one, other in zip(found, by_words, strict=True)), (found, by_words)
    assert all(one >= floor for one, floor in zip(found, BY_MEANING[name, part], strict=True)), found


@pytest.mark.parametrize(
    ("name", "tools", "judging"), [("stabletoolbench", 2_479, 201), ("livemcpbench", 527, 58), ("metatool", 199, 349)]
)
def test_the_sets_are_whole(name: str, tools: int, judging: int) -> None:
    found = present(name)
    known = {ToolKey(server.id, tool.name) for server in found.servers for tool in server.tools}
    assert len(known) == tools and len(found.of("judging")) == judging
    assert all(query.wanted and query.wanted <= known for query in found.queries)


def test_a_set_is_read_from_the_folder_that_the_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = {"name": "forecast", "description": "The weather of tomorrow.", "inputSchema": {"type": "object"}}
    texts = [f"Does it rain in {number} days?" for number in range(20)]
    asked = [{"query": text, "wanted": [["sky", "forecast"]], "part": text[-6:]} for text in texts]
    written = {"servers": [{"id": "sky", "tools": [tool]}], "queries": asked}
    (tmp_path / "weather.json.gz").write_bytes(gzip.compress(json.dumps(written).encode()))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    found = foreign_set("weather")
    assert found.servers == (Server("sky", tools=(Tool("forecast", description="The weather of tomorrow."),)),)
    assert {query.wanted for query in found.queries} == {frozenset({ToolKey("sky", "forecast")})}
    assert {len(found.of("tuned")), len(found.of("judging"))} != {20, 0}
    assert found.of("judging", " days?") == found.of("judging") and found.of("judging", "task") == []


def test_a_query_with_an_even_hash_judges_and_one_with_an_odd_hash_was_tuned_on() -> None:
    """The SHA-256 of the first text begins with 0x58, that of the second with 0x31."""
    even, odd = (Query(text, frozenset(), "") for text in ("Find a doctor.", "Send a mail."))
    assert (even.half, odd.half) == ("judging", "tuned")


def test_the_measures_are_those_of_the_books() -> None:
    wanted = frozenset({ToolKey("s", "a"), ToolKey("s", "b")})
    second_and_sixth = [ToolKey("s", name) for name in "xavwyb"]
    gain = (1 / math.log2(3) + 1 / math.log2(7)) / (1 + 1 / math.log2(3))
    found = measured(lambda query: second_and_sixth, [Query("", wanted, "")])
    assert found == pytest.approx(Measures(0, 1, gain, 1))
    nothing = measured(lambda query: [], [Query("", wanted, "")])
    assert nothing == Measures(0, 0, 0, 0)


def test_a_query_is_cut_for_every_ranking_and_ten_tools_count() -> None:
    last = ToolKey("s", "last")
    ranked = [*(ToolKey("s", str(number)) for number in range(10)), last]
    seen: list[str] = []

    def ranking(query: str) -> list[ToolKey]:
        seen.append(query)
        return ranked

    assert measured(ranking, [Query("a" * 301, frozenset({last}), "")]) == Measures(0, 0, 0, 0)
    assert seen == ["a" * 300]


def test_the_bar_is_that_of_the_better_tokeniser() -> None:
    servers = (
        Server("dogs", tools=(Tool("walks"),)),
        Server("cats", tools=(Tool("feeding"), Tool("walking"), Tool("brushing"))),
    )
    by_stem = Query("feeds", frozenset({ToolKey("cats", "feeding")}), "")
    by_word = Query("walking", frozenset({ToolKey("cats", "walking")}), "")
    assert bm25.Bm25(servers, words).find("feeds")[0] != ToolKey("cats", "feeding")
    assert bm25.Bm25(servers, bm25.stems).find("walking")[0] != ToolKey("cats", "walking")
    for tokens in (words, bm25.stems):
        ranking = bm25.Bm25(servers, tokens)
        assert ranking.find("feeds walking feeds") == ranking.find_sooner("feeds walking feeds")
    assert bm25.bar(servers, [by_stem]).hit_at_1 == bm25.bar(servers, [by_word]).hit_at_1 == 1


def test_where_a_set_is_absent_the_reason_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(AbsentSet, match=VARIABLE):
        foreign_set("metatool")
