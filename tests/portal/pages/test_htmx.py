"""htmx in a real browser under the policy of the console: what it does there, and what nothing can make it do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Browser, Page, expect

from portal.pages.assets import CONSOLE_POLICY, HTMX_SCRIPTS
from tests.patience import PATIENCE
from tests.portal.browser import browser
from tests.portal.pages.site import EVENT_STREAM, VIOLATIONS, Site, document, needs_scripts, served, violations

HTML = "text/html; charset=utf-8"
BODY = """
<div id="poll" hx-get="/tick" hx-trigger="every 50ms">0</div>
<ol id="tail" hx-sse:connect="/events" hx-swap="beforeend"></ol>
<form action="/save" method="post" hx-post="/save" hx-target="#saved">
<input name="word" value="a <b> &amp;"><button>Save</button></form>
<p id="saved"></p>
<div hx-boost:inherited="true"><a href="/second">Second</a>
<form action="/third" method="post"><input type="hidden" name="x" value="1"><button>Third</button></form></div>
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # A machine with much to do takes longer than playwright waits.
    expect.set_options(timeout=1000 * PATIENCE)
    with browser() as opened:
        yield opened


def site_of(
    body: str, *, policy: str = CONSOLE_POLICY, scripts: tuple[str, ...] = HTMX_SCRIPTS, said: str = ""
) -> Site:
    """`said` is what the server answers to a click."""
    assets, ticks = needs_scripts(), count(1)
    paths = assets.paths(*scripts)
    assert paths

    def page(inner: str) -> tuple[str, str]:
        return HTML, document(assets, inner, scripts=paths)

    return Site(
        {
            "/": lambda sent: page(body),
            "/tick": lambda sent: (HTML, f"<b>{next(ticks)}</b>"),
            "/events": lambda sent: (EVENT_STREAM, "id: 1\ndata: <li>one</li>\n\nid: 2\ndata: <li>two</li>\n\n"),
            "/save": lambda sent: (HTML, f"<em>{sent}</em>"),
            "/second": lambda sent: page("<h1>Second</h1><a href='/' hx-boost='true'>Back</a>"),
            "/third": lambda sent: page(f"<h1>Third {sent}</h1>"),
            "/said": lambda sent: (HTML, said),
        },
        policy=policy,
        assets=assets,
    )


def opened(chromium: Browser, site: Site) -> Page:
    page = chromium.new_page()
    page.add_init_script(VIOLATIONS)
    page.goto(site.url)
    return page


def test_polling_forms_streams_and_boosted_links_work_under_the_policy(chromium: Browser) -> None:
    with served(site_of(BODY)) as site:
        page = opened(chromium, site)
        complaints = list[str]()
        page.on("console", lambda message: complaints.append(message.text))
        page.evaluate("window.same = true")
        expect(page.locator("#poll b")).to_have_text(re.compile("[3-9]|.."))
        expect(page.locator("#tail li")).to_have_text(["one", "two"])
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#saved em")).to_have_text("word=a+%3Cb%3E+%26")
        page.get_by_role("link", name="Second").click()
        expect(page.get_by_role("heading")).to_have_text("Second")
        assert page.url == f"{site.url}/second" and page.evaluate("window.same") is True
        page.go_back()
        page.get_by_role("button", name="Third").click()
        expect(page.get_by_role("heading")).to_have_text("Third x=1")
        assert page.evaluate("window.same") is True
        assert (violations(page), complaints) == ([], [])
        page.close()


def test_without_its_guard_htmx_swaps_nothing_where_trusted_types_are_required(chromium: Browser) -> None:
    with served(site_of('<div id="poll" hx-get="/tick" hx-trigger="load">0</div>', scripts=HTMX_SCRIPTS[:2])) as site:
        page = opened(chromium, site)
        page.locator("html[data-violated]").wait_for()
        assert page.locator("#poll").text_content() == "0"
        assert "require-trusted-types-for" in violations(page)[0]
        page.close()


HOSTILE = (
    "<script>document.title = 'ran'</script>",
    "<script src='/ran.js'></script>",
    "<img src=x onerror=\"document.title = 'ran'\">",
    "<a href=\"javascript:document.title = 'ran'\" id=ran>x</a>",
    "<i hx-on:click=\"document.title = 'ran'\" id=ran>x</i>",
    "<i hx-get=/tick hx-trigger=\"click[document.title = 'ran']\" id=ran>x</i>",
    "<i hx-get=/tick hx-vals=\"js:{a: (document.title = 'ran')}\" id=ran>x</i>",
    "<i hx-get=/tick hx-confirm=\"js:document.title = 'ran'\" id=ran>x</i>",
    "<i hx-get=\"javascript:document.title = 'ran'\" id=ran>x</i>",
    "<iframe srcdoc=\"<script>parent.document.title = 'ran'</script>\"></iframe>",
)


@pytest.mark.parametrize("said", HOSTILE)
def test_whatever_an_answer_says_nothing_of_it_runs(chromium: Browser, said: str) -> None:
    # As if a template had not escaped it.
    body = '<button hx-get="/said" hx-target="#there">Go</button><div id="there"></div>'
    with served(site_of(body, said=f"{said}<u id=came>came</u>")) as site:
        page = opened(chromium, site)
        page.get_by_role("button").click()
        # One with a script from elsewhere is not swapped at all.
        page.locator("#came, html[data-violated]").first.wait_for(state="attached")
        if page.locator("#ran").count():
            page.locator("#ran").click()
        # A turn later, after whatever the click began.
        page.evaluate("new Promise((done) => setTimeout(done, 0))")
        assert page.title() == "A page"
        page.close()


def test_no_other_script_can_make_a_policy_or_markup(chromium: Browser) -> None:
    with served(site_of("<p>x</p>")) as site:
        page = opened(chromium, site)
        for attempt in (
            "trustedTypes.createPolicy('htmx-guard', {createHTML: (text) => text})",
            "trustedTypes.createPolicy('default', {createHTML: (text) => text})",
            "document.body.innerHTML = '<b>x</b>'",
        ):
            assert page.evaluate(
                f"(() => {{ try {{ {attempt}; return 'did'; }} catch {{ return 'refused'; }} }})()"
            ) == ("refused")
        page.close()
