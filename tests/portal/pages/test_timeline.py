"""The waterfall of a run and the listing of its program: for one call and for many, ended or not, whatever they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portal.pages.timeline import (
    MAX_CALLS,
    MAX_LINES,
    CallOutcome,
    ProgramTimeline,
    TimelineCall,
    call_places,
    length_of,
    listing,
    listing_lines,
    own_stretches,
    stretches_of,
    waterfall,
)
from tests.portal.pages.demo import CALLS, HOSTILE, RUN, SOURCE
from tests.portal.pages.test_charts import EDGE, NAMES, NUMBERS, Markup, tame

CALL = st.builds(
    TimelineCall,
    st.integers(-5, 300),
    NAMES,
    NUMBERS,
    st.none() | NUMBERS,
    st.sampled_from(CallOutcome),
    st.integers(-1, 20),
    st.lists(NAMES, max_size=12).map(tuple),
    NAMES,
)
RUNS = st.builds(ProgramTimeline, st.lists(CALL, max_size=30).map(tuple), NUMBERS, st.booleans())


@given(RUNS)
def test_bars_stay_in_the_box_and_rows_in_order(run: ProgramTimeline) -> None:
    places = call_places(run)
    assert [place.call for place in places] == list(run.calls)
    for place in places:
        assert place.at >= 0 and place.length >= 0 and place.at + place.length <= 100 + EDGE
    ids = [place.id for place in places if place.id]
    assert len(ids) == len(set(ids))
    tame(waterfall(run))


@given(RUNS)
def test_the_lanes_stay_in_the_box_and_do_not_overlap(run: ProgramTimeline) -> None:
    for lane in (stretches_of(run), own_stretches(run)):
        end = 0.0
        for stretch in lane:
            assert stretch.at >= end - EDGE and stretch.length >= 0
            end = stretch.at + stretch.length
        assert end <= 100 + EDGE
    assert all(0 < stretch.calls <= len(run.calls) and stretch.height <= 100 for stretch in stretches_of(run))


@given(st.text(), st.lists(CALL, max_size=5))
def test_a_listing_takes_any_program(source: str, calls: list[TimelineCall]) -> None:
    lines, left_out = listing_lines(source, calls)
    assert len(lines) + left_out == source.count("\n") + 1
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    tame(listing(source, calls))


def test_a_call_that_has_not_ended_goes_on_until_now() -> None:
    (place,) = [place for place in call_places(RUN) if place.call.outcome is CallOutcome.RUNNING]
    assert round(place.at + place.length, 2) == 100 and place.took == "540 ms so far"
    assert "10 calls in 1.24 s, 3 not ok, 1 still under way. At most 6 at once." in waterfall(RUN).replace(
        "</span>", ""
    )


def test_how_many_were_under_way_is_counted_where_they_were() -> None:
    calls = (
        TimelineCall(1, "a", 0, 50, CallOutcome.OK),
        TimelineCall(2, "b", 25, 50, CallOutcome.OK),
        TimelineCall(3, "c", 30, 0, CallOutcome.OK),
    )
    run = ProgramTimeline(calls, 100)
    assert [(one.at, one.length, one.calls) for one in stretches_of(run)] == [(0, 25, 1), (25, 25, 2), (50, 25, 1)]
    assert [(one.at, one.length) for one in own_stretches(run)] == [(75, 25)]


def test_a_run_of_no_time_and_one_without_calls_are_drawn() -> None:
    instant = ProgramTimeline((TimelineCall(1, "a", 0, 0, CallOutcome.OK),), 0)
    assert length_of(instant) == 0 and own_stretches(instant) == []
    assert "1 call in 0 ms." in waterfall(instant) and 'id="call-1"' in waterfall(instant)
    assert "No calls in 2 s." in waterfall(ProgramTimeline((), 2000))


def test_two_hundred_calls_have_a_row_each_and_the_rest_are_counted() -> None:
    calls = tuple(TimelineCall(number, "a", number, 5, CallOutcome.OK, 1) for number in range(MAX_CALLS + 3))
    drawing = waterfall(ProgramTimeline(calls, 300))
    assert sum(tag == "li" for tag, _ in Markup(drawing).elements) == MAX_CALLS
    assert "And 3 more calls." in drawing
    assert "And 1 more lines." in listing("\n" * MAX_LINES, calls)


def test_rows_and_lines_lead_to_each_other() -> None:
    rows, lines = Markup(waterfall(RUN)).elements, Markup(listing(SOURCE, CALLS)).elements
    ids = {attributes.get("id") for _, attributes in (*rows, *lines)}
    links = {(attributes.get("href") or "") for tag, attributes in (*rows, *lines) if tag == "a"}
    inner = {link.removeprefix("#") for link in links if link.startswith("#")}
    assert {"L1", "L3", "call-1", "call-10"} <= inner <= ids


def test_an_outcome_is_a_word_a_mark_and_a_pattern() -> None:
    drawing = waterfall(RUN)
    for outcome, mark in (("error", "✕"), ("denied", "⊘"), ("cancelled", "–")):
        assert f"url(#waterfall-{outcome})" in drawing and f'<span class="outcome">{outcome}</span>' in drawing
        assert mark in drawing


def test_nothing_hides_in_a_program() -> None:
    (line,), _ = listing_lines("a\u202eb\u200bc\x00\r", ())
    assert line.text == "a\\u{202e}b\\u{200b}c\\u{0}"
    assert "\u202e" not in listing(HOSTILE, ()) and "\u202e" not in waterfall(RUN)
