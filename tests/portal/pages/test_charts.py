"""Charts: whatever the numbers and names are, they stand in the box, in order, escaped, and are said in words too."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.pages.charts import (
    MAX_POINTS,
    PLOT_HEIGHT,
    ChartBar,
    ChartSlot,
    Drawing,
    LatencyPoint,
    bar_places,
    bars,
    columns,
    lines,
    safe_link,
    slot_places,
    sparkline,
)
from portal.pages.pages import templates
from portal.pages.scales import (
    duration_ticks,
    duration_words,
    finite,
    nice_top,
    number_ticks,
    number_words,
    percent,
    time_ticks,
)
from tests.portal.pages.demo import HOSTILE, NOON

NUMBERS = st.floats() | st.floats(0, 1e4) | st.integers(-(10**30), 10**30).map(float)
NAMES = st.text(max_size=30) | st.sampled_from((HOSTILE, "</svg><script>", '" onload="x', "{{ 1 }}"))
BARS = st.lists(st.builds(ChartBar, NAMES, NUMBERS, NAMES), max_size=20)
SLOTS = st.lists(st.builds(ChartSlot, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NAMES), max_size=20)
POINTS = st.lists(st.builds(LatencyPoint, NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS), max_size=20)
EDGE = 0.01
"""What rounding may add."""


class Markup(HTMLParser):
    """The elements of a text, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def tame(text: str) -> None:
    """No element or attribute comes from a value, no number is none, and nothing is styled in an attribute."""
    for tag, attributes in Markup(text).elements:
        assert tag not in {"script", "style", "img", "iframe", "foreignobject"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert safe_link(attributes.get("href") or "#x")
        for name in ("x", "y", "width", "height", "x1", "y1", "d"):
            assert not re.search("nan|inf|None|-[0-9]", attributes.get(name) or "")


@given(BARS)
def test_bars_keep_their_order_and_stay_in_the_box(rows: list[ChartBar]) -> None:
    places = bar_places(rows)
    assert len(places) == len(rows)
    assert all(0 <= place.length <= 100 for place in places)
    by_value = sorted(zip((finite(row.value) for row in rows), (place.length for place in places), strict=True))
    assert [length for _, length in by_value] == sorted(length for _, length in by_value)
    tame(bars(rows, label="Bars"))
    tame(bars(rows, label=HOSTILE, unit="ms"))


@given(SLOTS)
def test_columns_stand_in_the_order_of_their_times_and_in_the_box(slots: list[ChartSlot]) -> None:
    places = slot_places(slots)
    assert [place.slot.start for place in places] == sorted(place.slot.start for place in places)
    for place in places:
        assert 0 <= place.at <= 100 + EDGE and place.width > 0
        assert 0 <= place.ok_top <= place.error_top + EDGE
        assert place.ok_top + place.ok_height <= place.error_top + EDGE
        assert place.error_top + place.error_height <= PLOT_HEIGHT + EDGE
    tame(columns(slots, id="a", label=HOSTILE, zoom="/x"))


@given(POINTS)
def test_lines_take_any_point(points: list[LatencyPoint]) -> None:
    drawing = lines(points, id="a", label=HOSTILE)
    tame(drawing)
    for tag, attributes in Markup(drawing).elements:
        if tag == "path":
            heights = [float(y) for y in re.findall(r"[ML][\d.e-]+ ([\d.e-]+)", attributes["d"] or "")]
            assert all(0 <= y <= PLOT_HEIGHT for y in heights)


@given(st.lists(NUMBERS, max_size=20))
def test_sparklines_take_any_number(values: list[float]) -> None:
    tame(sparkline(values, label=HOSTILE))


@given(NUMBERS, st.integers(1, 10))
def test_ticks_of_numbers_ascend_to_a_top_that_has_room(value: float, most: int) -> None:
    ticks = number_ticks(value, most)
    assert 2 <= len(ticks) <= most + 1
    assert [tick.value for tick in ticks] == sorted({tick.value for tick in ticks})
    assert (ticks[0].at, ticks[-1].at) == (0, 100)
    assert ticks[-1].value >= finite(value) * (1 - 1e-6) and ticks[-1].value == nice_top(value, most)[0]
    assert len({tick.words for tick in number_ticks(abs(value) % 1e6, most)}) >= 2


@given(NUMBERS, st.integers(1, 10))
def test_ticks_of_a_duration_ascend_and_end_with_it(value: float, most: int) -> None:
    ticks = duration_ticks(value, most)
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)
    assert len(ticks) <= most + 1 and all(0 <= tick.at <= 100 for tick in ticks)


@given(NUMBERS | st.floats(NOON, NOON + 1e9), NUMBERS | st.floats(NOON, NOON + 1e9), st.integers(2, 8))
def test_ticks_of_time_ascend_within_the_axis_and_are_few(first: float, last: float, most: int) -> None:
    ticks = time_ticks(first, last, most)
    assert 1 <= len(ticks) <= most
    assert [tick.value for tick in ticks] == sorted({tick.value for tick in ticks})
    assert all(0 <= tick.at <= 100 for tick in ticks)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_place_is_always_on_the_axis(value: float, first: float, last: float) -> None:
    assert 0 <= percent(finite(value), finite(first), finite(last)) <= 100


def test_ticks_of_time_stand_at_whole_steps_of_utc() -> None:
    assert [tick.words for tick in time_ticks(NOON, NOON + 4 * 3600)] == ["12:00", "13:00", "14:00", "15:00", "16:00"]
    assert [tick.words for tick in time_ticks(NOON, NOON + 2 * 86400)] == ["12:00", "1 Dec", "12:00", "2 Dec", "12:00"]
    assert [tick.words for tick in time_ticks(NOON + 1, NOON + 3)] == ["12:00:01", "12:00:02", "12:00:03"]
    assert [tick.words for tick in time_ticks(0, NOON)][0] == "1970"


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0, "0 ms"), (0.42, "0.42 ms"), (340, "340 ms"), (1234, "1.23 s"), (90_000, "1.5 min"), (math.nan, "0 ms"),
     (999.9, "1 s"), (7_200_000, "2 h"), (-3, "0 ms")],
)  # fmt: skip
def test_durations_are_said_shortly(ms: float, words: str) -> None:
    assert duration_words(ms) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (12.5, "12.5"), (1200, "1,200"), (35_000, "35k"), (1.2e6, "1.2M"), (math.inf, "1,000T")],
)
def test_numbers_are_said_shortly(value: float, words: str) -> None:
    assert number_words(value) == words


@pytest.mark.parametrize(
    "href",
    ["javascript:x", "//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "data:,x", "x"],
)
def test_a_link_leads_nowhere_else(href: str) -> None:
    assert safe_link(href) == ""
    assert "href" not in bars([ChartBar("a", 1, href)], label="Bars")


def test_the_numbers_are_in_a_table_and_whoever_does_not_see_hears_a_sentence() -> None:
    slots = [ChartSlot(NOON, NOON + 300, 1200, 3, "/console/calls?x=1"), ChartSlot(NOON + 300, NOON + 600, 1, 0)]
    drawing = columns(slots, id="calls", label="Calls")
    assert "From 2026-11-30 12:00:00 to 2026-11-30 12:10:00 UTC: 1,204 in all, 3 failed." in drawing
    assert '<a href="/console/calls?x=1">2026-11-30 12:00:00</a></th><td class="number">1,200</td>' in drawing
    assert 'aria-label="2026-11-30 12:00:00 UTC: 1,203, 3 failed"' in drawing
    assert 'role="img" aria-label="Calls: last 8, highest 12"' in sparkline([3, 12, 8], label="Calls")


def test_a_template_takes_a_drawing_as_it_is_and_nothing_else() -> None:
    page = templates().from_string("{{ drawing }}{{ text }}")
    assert page.render(drawing=Drawing("<b>"), text="<b>") == "<b>&lt;b&gt;"


def test_a_chart_of_nothing_says_so() -> None:
    for drawing in (bars([], label="x"), columns([], id="x", label="x"), lines([], id="x", label="x")):
        assert "Nothing in this time." in drawing and "<svg class" not in drawing


def test_one_failure_among_thousands_is_seen() -> None:
    (place,) = slot_places([ChartSlot(NOON, NOON + 60, 100_000, 1)])
    assert place.error_height >= 2


def test_the_script_gets_the_numbers_as_data() -> None:
    slots = [ChartSlot(NOON + index, NOON + index + 1, index, math.nan) for index in range(MAX_POINTS + 10)]
    (figure,) = [
        attributes for tag, attributes in Markup(columns(slots, id="a", label="A")).elements if tag == "figure"
    ]
    series = json.loads(figure["data-series"] or "")
    assert len(series["at"]) == MAX_POINTS and series["at"][-1] == NOON + MAX_POINTS + 9
    assert series["series"][1]["values"] == [0] * MAX_POINTS
