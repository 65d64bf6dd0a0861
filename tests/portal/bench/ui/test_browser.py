"""The page in a real browser, opened from the URL that `codemode bench-ui` prints."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from portal.bench.ui import MONACO, EditorUnavailable, editor_cache, install
from tests.deep import deep
from tests.portal.axe import RUN, axe_source
from tests.portal.browser import browser
from tests.zygote import quick

pytestmark = pytest.mark.timeout(180)
PATIENCE = 20_000

MOCKED = """{"mocks": {"shop.list_orders": {"result": {"total": 1, "orders": [{"id": "MOCKED-1"}]}, "delay": 500}}}"""
PROGRAM = 'const { orders } = await codemode.shop.list_orders({ status: "shipped", limit: 2 });\n'
CLIPBOARD = ["clipboard-read", "clipboard-write"]
WRITE_CLIPBOARD = """async (text) => {
  await navigator.clipboard.writeText(text);
  const once = { once: true, capture: true };
  window.pasted = new Promise((done) => addEventListener("paste", () => setTimeout(done), once));
}"""


@contextmanager
def bench_ui(*options: str) -> Iterator[str]:
    """The command in a process of its own, and the URL it prints."""
    with subprocess.Popen(
        quick("portal.cli", "bench-ui", *options), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        try:
            printed = ""
            for line in process.stderr:
                printed += line
                if found := re.search(r"http://127\.0\.0\.1:\d+/#\S+", line):
                    yield found[0]
                    break
            else:
                pytest.fail(f"the bench ended: {printed}")
        finally:
            process.terminate()
            said = process.stderr.read()
            assert process.wait(240) == 0, said


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def url(chromium: Browser) -> Iterator[str]:
    try:
        install(MONACO, editor_cache())
    except EditorUnavailable as error:
        if os.environ.get("CODEMODE_REQUIRE_NODE") == "1":
            raise
        pytest.skip(str(error))
    with bench_ui("--demo") as url:
        yield url


class OpenPage:
    """An open page, and every error that the browser reported."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str, *, checked: bool = True) -> None:
        """Open the page, and wait for the servers and the first check of the program: then the workers have started."""
        self.page.goto(url)
        self.page.wait_for_selector("body[data-servers=settled]")
        if checked:
            self.page.wait_for_selector("body[data-problems]")

    def write(self, text: str) -> None:
        """Replace the text in the editor by pasting, which takes effect some time after the keys."""
        lines = self.page.locator("#editor .view-lines")
        # Not by a click: what the lines are at a point may be outside of what is shown of them.
        self.page.locator("#editor .native-edit-context, #editor textarea").first.focus()
        self.page.evaluate(WRITE_CLIPBOARD, text)
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.press("ControlOrMeta+v")
        self.page.evaluate("window.pasted")
        expect(lines.locator(".view-line")).to_have_count(text.count("\n") + 1, timeout=PATIENCE)
        for line in text.split("\n"):
            expect(lines).to_contain_text(line, timeout=PATIENCE)

    def run(self) -> None:
        """Run the program, after the last run has ended."""
        expect(self.page.locator("#run")).to_be_visible(timeout=PATIENCE)
        self.page.keyboard.press("ControlOrMeta+Enter")

    def verdict(self, word: str) -> None:
        expect(self.page.locator("#verdict b")).to_have_text(word, timeout=PATIENCE)


@pytest.fixture
def opened(chromium: Browser) -> Iterator[OpenPage]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, permissions=CLIPBOARD)
    page = OpenPage(context.new_page())
    yield page
    context.close()
    assert page.complaints == []


def test_the_page_from_the_first_letter_to_a_cancelled_run(url: str, opened: OpenPage) -> None:
    """One page in one process, because starting both takes the time."""
    opened.open(url)
    assert opened.page.url == url.partition("#")[0], "the key leaves the address bar"
    completes_from_the_stubs(opened)
    checks_against_them(opened)
    runs_live(opened)
    runs_mocked(opened)
    shows_where_a_program_fails(opened)
    shows_text_and_never_markup(opened)
    cancels(opened)
    has_room_for_all_in_a_narrow_window(opened)


def completes_from_the_stubs(opened: OpenPage) -> None:
    page = opened.page
    opened.write(PROGRAM + "const other = await codemode.")
    page.keyboard.type("shop")
    suggestions = page.locator(".suggest-widget.visible .monaco-list-row")
    suggestions.filter(has_text="shop").first.wait_for()
    page.keyboard.press("Enter")
    page.keyboard.type(".revenue")
    suggestions.filter(has_text="revenue_by_month").first.wait_for()
    page.keyboard.press("Escape")


def checks_against_them(opened: OpenPage) -> None:
    """A page has a `document`, an isolate has none; a program may `return`."""
    problems = opened.page.locator("#problems")
    opened.write(
        PROGRAM + "const n: number = orders[0].status;\ndocument.title;\nreturn orders.map((order) => order.id);"
    )
    expect(problems).to_have_text(re.compile("2 problems: Type .* is not assignable"), timeout=PATIENCE)
    opened.write(
        PROGRAM + 'console.log("found", orders.length);\nreturn orders.map(({ id, status }) => ({ id, status }));'
    )
    expect(problems).to_be_hidden(timeout=PATIENCE)


def runs_live(opened: OpenPage) -> None:
    page = opened.page
    opened.run()
    opened.verdict("Completed")
    expect(page.locator(".rows tbody tr")).to_have_count(2)
    expect(page.locator(".logs li")).to_have_text(re.compile("found 2"))
    call = page.locator(".call")
    expect(call).to_have_count(1)
    expect(call).to_have_attribute("data-status", "ok")
    expect(call.locator(".time")).to_have_text(re.compile(r"\d m?s$"))
    assert call.locator(".lane i").evaluate("bar => parseFloat(bar.style.width)") > 0
    call.locator("summary").click()
    expect(call.locator(".detail")).to_contain_text('"shipped"')
    expect(page.locator(".cost-row")).to_have_count(2)


def runs_mocked(opened: OpenPage) -> None:
    page = opened.page
    page.get_by_role("tab", name="Mocks").click()
    opened.write(MOCKED)
    page.get_by_text("Mocked", exact=True).click()
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#report .result")).to_contain_text("MOCKED-1", timeout=PATIENCE)
    expect(page.locator(".call .time")).to_have_text("500 ms")
    page.get_by_text("Live", exact=True).click()
    page.get_by_role("tab", name="Program").click()


def shows_where_a_program_fails(opened: OpenPage) -> None:
    page = opened.page
    opened.write("const order = await codemode.shop.get_order({ order_id: 'none' });\nreturn order;")
    opened.run()
    opened.verdict("Failed")
    expect(page.locator("#report .error")).to_contain_text("line 1")
    expect(page.locator(".failing-line")).to_have_count(1)
    page.locator("#report .error button").click()
    page.keyboard.type(" ")
    expect(page.locator(".failing-line")).to_have_count(0)


def shows_text_and_never_markup(opened: OpenPage) -> None:
    opened.write('console.log("<img src=x onerror=alert(1)>"); throw new Error("<script>alert(2)</script>")')
    opened.run()
    expect(opened.page.locator("#report")).to_contain_text("<script>alert(2)</script>", timeout=PATIENCE)
    expect(opened.page.locator("#report .logs")).to_contain_text("<img src=x")
    expect(opened.page.locator("#report img, #report script")).to_have_count(0)


def cancels(opened: OpenPage) -> None:
    page = opened.page
    opened.write(
        "const some = await codemode.shop.list_orders({ limit: 1 });\n"
        "await new Promise((wake) => setTimeout(wake, 50000));"
    )
    opened.run()
    expect(page.locator(".call[data-status=ok]")).to_have_count(1, timeout=PATIENCE)
    page.keyboard.press("Escape")
    opened.verdict("Cancelled")
    expect(page.locator("#run")).to_be_visible()


def has_room_for_all_in_a_narrow_window(opened: OpenPage) -> None:
    page = opened.page
    page.set_viewport_size({"width": 800, "height": 900})
    opened.write("")
    expect(page.locator("#tools")).to_be_hidden()
    page.get_by_role("button", name="Tools").click()
    page.keyboard.type("parcels that are late")
    page.locator("#servers code").filter(has_text="shipping.list_shipments").click()
    expect(page.locator("#editor .view-lines")).to_contain_text("codemode.shipping.list_shipments(")
    assert page.evaluate("document.documentElement.scrollWidth") <= 800


@pytest.mark.parametrize(("scheme", "width"), deep(product(["light", "dark"], [320, 375, 1280])))
def test_every_view_fits_a_phone_and_is_as_axe_wants_it(
    url: str, chromium: Browser, scheme: Literal["light", "dark"], width: int
) -> None:
    axe = axe_source()
    context = chromium.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 740}, bypass_csp=True, permissions=CLIPBOARD
    )
    opened = OpenPage(context.new_page())
    page = opened.page

    def check() -> None:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
        if not page.evaluate("'axe' in window"):
            page.add_script_tag(content=axe)
        assert page.evaluate(RUN) == []

    opened.open(url)
    check()
    opened.run()
    opened.verdict("Completed")
    check()
    for view in ("Mocks", "Types"):
        page.get_by_role("tab", name=view).click()
        check()
    page.get_by_role("tab", name="Program").click()
    opened.write("throw new Error('no');\n")
    opened.run()
    opened.verdict("Failed")
    check()
    if width < 1000:
        page.get_by_role("button", name="Tools").click()
        expect(page.locator("#tools")).to_be_visible()
        check()
    context.close()


def test_an_address_of_the_bench_that_is_not_there_is_a_page_for_a_person(url: str, chromium: Browser) -> None:
    page = chromium.new_page()
    base = url.partition("#")[0]
    for path in ("no-such-page", "api/state", "api/run", "editor/none/x.js"):
        answer = page.goto(base + path)
        assert answer is not None and answer.status >= 400
        assert answer.headers["content-type"].startswith("text/html")
        expect(page.locator("h1")).to_have_count(1)
    page.close()


def test_without_the_editor_a_text_field_does_and_without_the_key_nothing_does(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "codemode.json").write_text('{"mcpServers": {}}')
    with bench_ui("--plain", "--config", str(tmp_path / "codemode.json")) as url:
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        opened = OpenPage(context.new_page())
        opened.open(url, checked=False)
        page = opened.page
        expect(page.locator("#notice")).to_contain_text("--plain")
        field = page.get_by_role("textbox", name="Program")
        field.fill("const all = {};\nreturn all.no.such;")
        page.keyboard.press("ControlOrMeta+Enter")
        opened.verdict("Failed")
        page.locator("#report .error button").click()
        assert field.evaluate("field => field.value.slice(0, field.selectionStart).split('\\n').length") == 2
        assert opened.complaints == []
        context.close()
        stranger = chromium.new_context().new_page()
        stranger.goto(url.partition("#")[0])
        expect(stranger.locator("#closed")).to_contain_text("Open the URL")
        expect(stranger.locator("main")).to_have_attribute("inert", "")
