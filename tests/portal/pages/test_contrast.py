"""The colours of charts stand out from the card they are drawn on (WCAG 2.2, 1.4.11: 3 to 1), in both themes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.pages.contrast import ENOUGH, readable
from portal.pages.contrast import contrast as ratio_of
from portal.pages.pages import script_text

SERIES = [f"--series-{number}" for number in range(1, 7)]


def variables(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """The variables of a style sheet in the light, and in the dark."""
    light, _, dark = text.partition("@media (prefers-color-scheme: dark)")
    found = [dict(re.findall(r"(--[\w-]+): (#\w+)", part.partition("}")[0])) for part in (light, dark)]
    return found[0], {**found[0], **found[1]}


def luminance(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2)."""
    digits = colour.removeprefix("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_a_series_has_a_contrast_of_three_to_its_card(dark: bool) -> None:
    pages, charts = (variables(text)[dark] for text in (script_text("style.css"), script_text("charts.css")))
    assert set(SERIES) <= charts.keys()
    low = {name: contrast(charts[name], pages["--card"]) for name in SERIES}
    assert {name: ratio for name, ratio in low.items() if ratio < 3} == {}
    # Words of these two colours are small.
    assert all(low[name] >= 4.5 for name in ("--series-2", "--series-3"))


COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(COLOURS, COLOURS)
def test_text_on_a_background_that_somebody_chose_can_be_read(background: str, text: str) -> None:
    shown = readable(background, text)
    assert ratio_of(background, shown) >= ENOUGH
    assert shown == text or ratio_of(background, text) < ENOUGH


@given(COLOURS, COLOURS)
def test_contrast_is_the_same_both_ways_and_that_of_the_formula(one: str, other: str) -> None:
    assert ratio_of(one, other) == ratio_of(other, one) == pytest.approx(contrast(one, other))
