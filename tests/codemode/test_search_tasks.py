"""A whole task, pasted as a query, finds the tools that it needs, whatever else its sentences say."""

from __future__ import annotations

import time
from itertools import groupby

import orjson
from hypothesis import given
from hypothesis import strategies as st

from codemode import Catalog, CatalogServer
from codemode.cost import about_tokens
from codemode.found import SEARCH_TOKENS
from codemode.postings import Entry, Part, ServerIndex, Unit
from codemode.search import MAX_QUERY_CHARS
from codemode.tasks import FEW, MANY, TaskRanking, share_of_task
from codemode.words import stem, words
from stubs import Server, Tool

TASK = (
    "I'm planning a weekend in Lisbon with my family and I want to know what the weather is going to be. Please give "
    "me the forecast for the next few days. Additionally, could you help me find trains from Porto?"
)


def server(name: str, **tools: str) -> Server:
    return Server(name, tools=tuple(Tool(tool, description=text) for tool, text in tools.items()))


def found(catalog: Catalog, query: str, limit: int = 10) -> list[str]:
    return [result["path"] for result in catalog.search(query, limit)]


SERVERS = (
    server("family", create_plan="Creates a plan for the family.", list_members="Lists the members of a family."),
    server("weather", forecast="The forecast of the next days for a place.", history="The weather of past days."),
    server("rail", search_trains="Finds trains between two stations.", get_delays="The delays of a train."),
    server("mail", send="Sends a message.", find="Finds messages in which a word occurs."),
)


def test_the_rare_words_of_a_task_find_its_tools() -> None:
    assert set(found(Catalog.build(SERVERS), TASK, 2)) == {"weather.forecast", "rail.search_trains"}


def test_of_equal_tools_those_of_the_server_that_has_the_rest_of_a_task_come_first() -> None:
    catalog = Catalog.build(
        [
            server("alpha", stations="Lists stations."),
            server("rail", stations="Lists stations.", timetable="The timetable between two towns."),
            server("zebra", stations="Lists stations."),
        ]
    )
    asked = (
        "We travel from one town to another on Sunday morning, show the timetable of that journey, then show all "
        "stations along it, so that our guests know where they can leave"
    )
    assert found(catalog, asked, 2) == ["rail.timetable", "rail.stations"]


def test_a_short_request_is_no_task_and_a_long_one_is_nothing_else() -> None:
    shares = [share_of_task(telling) for telling in range(MANY + 5)]
    assert shares == sorted(shares)
    assert set(shares[: FEW + 1]) == {0.0} and set(shares[MANY:]) == {1.0}
    assert 0 < shares[FEW + 1] < shares[MANY - 1] < 1


def test_a_task_is_read_to_its_end_within_the_limit() -> None:
    padding = "so that everybody may see it " * 12
    asked = f"{padding} and the forecast"
    assert 300 < len(asked) < MAX_QUERY_CHARS
    assert found(Catalog.build(SERVERS), asked, 1) == ["weather.forecast"]


def test_only_so_many_unknown_words_are_searched_for_words_spelled_alike() -> None:
    unknown = [first + second + third + "qx" for first in "bcdf" for second in "ghjk" for third in "lmnp"]
    assert found(Catalog.build(SERVERS), " ".join([*unknown[:31], "forecasst"]), 1) == ["weather.forecast"]
    assert found(Catalog.build(SERVERS), " ".join([*unknown[:32], "forecasst"])) == []


def test_a_task_in_which_no_word_is_known_is_searched_for_words_spelled_alike() -> None:
    unknown = "qwxz plmk vbnh tgyr fdsw cvbx njkm ruio hgty wesd zxcr bnml"
    assert found(Catalog.build(SERVERS), unknown) == []
    assert found(Catalog.build(SERVERS), f"{unknown} forecasst", 1) == ["weather.forecast"]


def test_a_part_of_a_server_ranks_tasks_as_if_the_other_tools_did_not_exist() -> None:
    whole = CatalogServer(
        server("rail", search_trains="Finds trains.", trains="All trains, trains, trains.", log="Log.")
    )
    part = Catalog.of([(whole, whole.visible(["search_trains", "log"]))])
    alone = Catalog.build([server("rail", search_trains="Finds trains.", log="Log.")])
    assert found(part, TASK) == found(alone, TASK) == ["rail.search_trains"]


def test_the_commonest_words_are_left_out_where_a_task_would_take_long() -> None:
    tools = tuple(Tool(f"report_{number}", description="common words " * 20) for number in range(3_000))
    catalog = Catalog.build([Server("reports", tools=tools), *SERVERS])
    asked = " ".join(f"common{letter} words report {letter}x" for letter in "abcdefghijklmnopqrs") + " forecast"
    catalog.search(asked)
    started = time.thread_time()
    assert found(catalog, asked, 1) == ["weather.forecast"]
    assert time.thread_time() - started < 0.5


@given(st.lists(st.tuples(st.text("abc ", max_size=12), st.text("abc .", max_size=40)), max_size=8), st.text("abc"))
def test_a_tool_has_a_score_exactly_if_it_has_a_word_of_the_task(tools: list[tuple[str, str]], word: str) -> None:
    index = ServerIndex([Entry("s", name, "", text) for name, text in tools])
    scores = TaskRanking([Part(index)], (0, len(tools)), len(tools), cached=False).scores([Unit(stem(word), ())])
    having = [any(stem(one) == stem(word) for one in words(f"{name} {text} s")) for name, text in tools]
    assert [score > 0 for score in scores] == having


def test_the_answer_to_a_task_says_the_servers_and_keeps_the_tools_of_each_together() -> None:
    results = Catalog.build(SERVERS).search(TASK)
    servers = [result["server"] for result in results]
    assert {server: result["path"].split(".")[0] for server, result in zip(servers, results, strict=True)} == {
        one: one for one in servers
    }
    for half in (servers[:5], servers[5:]):
        assert len(list(groupby(half))) == len(set(half))


def test_the_answer_to_a_task_stays_within_its_tokens() -> None:
    of_many = [
        server(f"servers-of-a-long-name-{number}", **{f"forecast_{tool}": "The forecast. " * 30 for tool in range(5)})
        for number in range(12)
    ]
    results = Catalog.build(of_many).search(TASK)
    assert len(results) == 10 and all(result["server"].startswith("servers-of") for result in results)
    assert about_tokens(orjson.dumps(results).decode()) <= SEARCH_TOKENS * 1.1


def test_a_short_request_and_a_catalog_of_one_server_name_no_server() -> None:
    assert all("server" not in result for result in Catalog.build(SERVERS).search("find trains"))
    assert all("server" not in result for result in Catalog.build(SERVERS[:1]).search(TASK))
