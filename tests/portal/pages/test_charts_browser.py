"""The charts in a real browser: light and dark, narrow and wide, with their script and without."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from portal.pages.assets import CHART_SCRIPTS, HTMX_SCRIPTS
from portal.pages.charts import ChartSlot, columns
from tests.patience import PATIENCE
from tests.portal.axe import RUN, RUN_COLOURS, axe_source
from tests.portal.browser import browser
from tests.portal.pages.demo import NOON, site
from tests.portal.pages.site import VIOLATIONS, Site, document, needs_scripts, served, violations


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # A machine with much to do takes longer than playwright waits.
    expect.set_options(timeout=1000 * PATIENCE)
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("scripts", [False, True])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(chromium: Browser, scripts: bool) -> None:
    axe = axe_source()
    with served(site(scripts=scripts)) as demo:
        for width in (1280, 375):
            page = chromium.new_page(viewport={"width": width, "height": 740}, bypass_csp=True)
            page.goto(demo.url)
            for summary in page.locator("summary").all():
                summary.click()
            assert page.locator(".zoomable canvas").count() == (2 if scripts else 0)
            page.add_script_tag(content=axe)
            for scheme, run in (("light", RUN), ("dark", RUN_COLOURS)):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                assert page.evaluate(run) == [], (width, scheme)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.title() == "A page"
            page.close()


def test_a_chart_that_is_swapped_in_is_drawn_anew_and_the_one_before_ends(chromium: Browser) -> None:
    assets = needs_scripts()
    chart = columns([ChartSlot(NOON, NOON + 60, 3, 1), ChartSlot(NOON + 60, NOON + 120, 5, 0)], id="a", label="A")
    inner = f'<button hx-get="/part" hx-target="#there">Again</button><div id="there">{chart}</div>'
    sheets = [*assets.paths("uplot.min.css"), *assets.paths("charts.css")]
    whole = document(assets, inner, scripts=assets.paths(*HTMX_SCRIPTS, *CHART_SCRIPTS), sheets=sheets)
    answers = {"/": lambda sent: ("text/html", whole), "/part": lambda sent: ("text/html", f"<i>new</i>{chart}")}
    with served(Site(answers, assets=assets)) as demo:
        page = chromium.new_page()
        page.add_init_script(VIOLATIONS)
        page.goto(demo.url)
        expect(page.locator("canvas")).to_have_count(1)
        page.get_by_role("button").click()
        page.locator("#there i").wait_for()
        expect(page.locator("canvas")).to_have_count(1)
        page.emulate_media(color_scheme="dark")
        expect(page.locator("canvas")).to_have_count(1)
        assert violations(page) == []
        page.close()


def test_without_scripts_a_column_and_a_row_lead_on(chromium: Browser) -> None:
    with served(site(scripts=False)) as demo:
        page = chromium.new_page(java_script_enabled=False)
        page.goto(demo.url)
        page.locator(".calls .at-line").first.click()
        assert page.url.endswith("#L1")
        page.locator(".listing .margin a").first.click()
        assert page.url.endswith("#call-1")
        page.locator("a > .column").nth(5).click()
        page.wait_for_url("**/console/calls?from=5")
        page.close()


def test_dragging_leads_to_the_page_of_that_time_under_the_policy(chromium: Browser) -> None:
    with served(site(scripts=True)) as demo:
        page = chromium.new_page(viewport={"width": 1000, "height": 800})
        page.add_init_script(VIOLATIONS)
        page.goto(demo.url)
        over = page.locator(".zoomable .u-over").first
        over.scroll_into_view_if_needed()
        expect(page.locator("svg.plot").first).to_be_hidden()
        box = over.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40, steps=5)
        assert violations(page) == []
        page.mouse.up()
        page.wait_for_url("**/console/calls?*")
        query = parse_qs(urlsplit(page.url).query)
        assert query["tool"] == ["a&b"]
        assert query["from"][0].startswith("2026-11-30T13:0") or query["from"][0].startswith("2026-11-30T12:5")
        assert query["to"][0].startswith("2026-11-30T14:0") or query["to"][0].startswith("2026-11-30T13:5")
        page.close()
