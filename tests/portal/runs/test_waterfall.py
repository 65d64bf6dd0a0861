"""A run as people look at it: how wide it was, and what is made of its rows."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import Outcome
from portal.logs import LogRow
from portal.runs import parallel_width
from portal.runs.waterfall import call_of, ended_facts, facts_of_calls, story_of
from tests.deep import examples

SPANS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 6)).map(lambda one: (one[0], one[0] + one[1])), max_size=12
)


def call(number: int, at: int, us: int, outcome: Outcome = "ok", **more: Any) -> LogRow:
    made = LogRow(at, us, "tool", "tools/call", outcome, server="s", name="t", run="exec_1", call=number)
    return made._replace(**more)


@examples(300)
@given(SPANS)
def test_the_width_is_the_most_that_were_open_at_one_moment(spans: list[tuple[int, int]]) -> None:
    # Halves, so that there is a moment between any two.
    moments = {half / 2 for start, end in spans for half in range(2 * start, 2 * end + 1)}
    open_at = (sum(s <= at < e or (s == e == at) for s, e in spans) for at in moments)
    assert parallel_width(spans) == max(open_at, default=0)


@given(SPANS, st.randoms(use_true_random=False))
def test_the_width_does_not_depend_on_the_order(spans: list[tuple[int, int]], random: Random) -> None:
    shuffled = [*spans]
    random.shuffle(shuffled)
    assert parallel_width(shuffled) == parallel_width(spans) <= len(spans)


@pytest.mark.parametrize(
    ("spans", "width"),
    [
        ([], 0),
        ([(0, 1), (1, 2), (2, 3)], 1),
        ([(0, 10), (1, 2), (3, 4)], 2),
        ([(5, 5), (5, 5), (5, 6)], 3),
        ([(0, 5), (5, 5)], 1),
    ],
)
def test_calls_one_after_the_other_are_not_beside_each_other(spans: list[tuple[float, float]], width: int) -> None:
    assert parallel_width(spans) == width


def test_bytes_that_the_model_never_saw_are_those_of_the_calls_without_those_of_the_answer() -> None:
    run = LogRow(1_000, 9_000, "run", "tools/call", "ok", run="exec_1", bytes_out=300)
    rows = [call(2, 3_000, 4_000, bytes_out=700, line=4), call(1, 2_000, 5_000, bytes_out=900, labels="a,b")]
    story = story_of(ended_facts(run, 7), [call_of(row, run.at) for row in rows])
    assert [(one.number, one.start_ms, one.ms, one.line, one.labels) for one in story.calls] == [
        (1, 1.0, 5.0, 0, ("a", "b")),
        (2, 2.0, 4.0, 4, ()),
    ]
    assert (story.bytes_unseen, story.width) == (1300, 2)
    much = run._replace(bytes_out=5_000)
    assert story_of(ended_facts(much, 7), [call_of(row, run.at) for row in rows]).bytes_unseen == 0


def test_a_run_whose_end_is_not_in_the_log_is_told_from_its_calls() -> None:
    rows = [call(1, 5_000, 1_000, identity="ada", portal="team"), call(2, 2_000, 9_000, identity="ada", portal="team")]
    facts = facts_of_calls(rows)
    assert (facts.outcome, facts.row.at, facts.us, facts.made) == ("unknown", 2_000, 9_000, 2)
    assert (facts.row.run, facts.row.identity, facts.row.portal, facts.log_id) == ("exec_1", "ada", "team", None)
    assert story_of(facts, [call_of(row, facts.row.at) for row in rows]).bytes_unseen is None


@pytest.mark.parametrize("text", ["", "no json", "{}", "[1]", "null"])
def test_findings_that_cannot_be_read_are_none(text: str) -> None:
    assert call_of(call(1, 1, 1, findings=text), 0).findings == ()
