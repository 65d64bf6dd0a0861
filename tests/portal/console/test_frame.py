"""What every page of the console has: its title, the way by keyboard, its icon, how it looks, what a refusal says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Route

from portal.admin import AdminError, invalid
from portal.console.visit import NO_PROBLEMS, Problems
from portal.objects import IDENTITY_PROVIDER, LIST, ProviderDocument
from portal.pages import FORM_FIELD
from portal.pages.contrast import ENOUGH, contrast
from portal.pages.pages import templates
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, Administered, administrator
from tests.portal.login.browser import Browser, Page, browser_at
from tests.portal.login.guarded import Guarded, guarded_portal, sign_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
LOGO = "https://logo.example.com/logo.svg"
DRAWN = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="24"><rect width="90" height="24" fill="#0a5"/></svg>'
)


@asynccontextmanager
async def signed_in(folder: Path) -> AsyncIterator[tuple[Guarded, Browser]]:
    """An administrator in a browser without scripts and pictures."""
    async with guarded_portal(folder) as portal, browser_at(portal.url) as browser:
        await portal.account()
        await sign_in(browser, await browser.open("/login"))
        yield portal, browser


async def pages_of(portal: Guarded, browser: Browser) -> dict[str, Page]:
    """Every page of the console that links lead to, by its path."""
    await portal.store.create(IDENTITY_PROVIDER, "p1", ProviderDocument(name="Okta", type="okta"), by="test")
    found: dict[str, Page] = {}
    waiting, known = ["/admin"], set[str]()
    while waiting:
        page = await browser.open(waiting.pop())
        assert page.status == 200, page.url
        found[urlsplit(page.url).path] = page
        for _, href in page.links:
            path = urlsplit(href).path
            if path.startswith("/admin/") and path not in known:
                known.add(path)
                waiting.append(href)
    assert len(found) > 25
    return found


async def test_every_page_has_a_title_of_its_own_and_one_place_in_the_navigation(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (portal, browser):
        by_title: dict[str, list[str]] = {}
        for path, page in (await pages_of(portal, browser)).items():
            title = re.search(r"<title>(.*?)</title>", page.html)
            assert title is not None and page.html.count("<h1") == 1, path
            by_title.setdefault(title.group(1), []).append(path)
            long_menu = page.html.partition('aria-label="Console">')[2].partition("</nav>")[0]
            assert long_menu.count('aria-current="page"') == 1, path
        assert {title: paths for title, paths in by_title.items() if len(paths) > 1} == {}


async def test_no_page_can_be_framed_kept_or_run_what_is_not_a_file_of_ours(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (portal, browser):
        for path, page in (await pages_of(portal, browser)).items():
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy and "unsafe" not in policy, path
            assert "frame-ancestors 'none'" in policy and page.headers["x-frame-options"] == "DENY", path
            assert page.headers["cache-control"] == "no-store", path
            assert re.findall(r"<script(?! src=)|<style|<[^>]+ (?:style|on\w+)=", page.html) == [], path


async def test_no_form_does_anything_without_the_token_of_its_page_or_from_another_site(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (portal, browser):
        pages = (await pages_of(portal, browser)).values()
        forms = {form.action: form.fields for page in pages for form in page.forms if form.method == "post"}
        before = await portal.store.audit(limit=1)
        for action, fields in forms.items():
            url, own = f"{portal.url}{action}", {"Origin": portal.url}
            forged = await browser.client.post(url, data={**fields, FORM_FIELD: "0" * 64}, headers=own)
            foreign = await browser.client.post(url, data=fields, headers={"Origin": "https://evil.example"})
            plain = await browser.client.post(url, content=b"{}", headers={**own, "Content-Type": "text/plain"})
            assert (forged.status_code, foreign.status_code, plain.status_code) == (403, 403, 415), action
        assert len(forms) > 15 and await portal.store.audit(limit=1) == before


async def test_the_first_key_leads_past_the_navigation_and_the_next_into_the_page(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser, administrator(portal, browser) as admin:
        page = admin.page
        await admin.open("/login-methods")
        await page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        box = await skip.bounding_box()
        assert await skip.evaluate("one => one === document.activeElement") and box is not None and box["x"] >= 0
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        seen = "one => [!!one.closest('main'), getComputedStyle(one).outlineStyle]"
        assert await page.evaluate(f"({seen})(document.activeElement)") == [True, "solid"]
        # From the beginning again: the name, one's page, signing out, then the parts of the console.
        await admin.open("/login-methods")
        for _ in range(5):
            await page.keyboard.press("Tab")
        assert await page.evaluate(
            "[document.activeElement.closest('nav').ariaLabel, getComputedStyle(document.activeElement).outlineStyle]"
        ) == ["Console", "solid"]


async def test_every_page_has_our_icon_under_its_policy(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (_, browser):
        for path in ("/admin/servers", "/", "/servers", "/logout"):
            page = await browser.open(path)
            icon = re.search(r'<link rel="icon" href="([^"]+)" type="image/svg\+xml">', page.html)
            assert icon is not None and "img-src 'self'" in page.headers["content-security-policy"], path
            drawn = await browser.client.get(f"{browser.home}{icon.group(1)}")
            assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/svg+xml")
            assert "default-src 'none'" in drawn.headers["content-security-policy"]


async def test_a_person_is_told_what_their_role_may_not_and_nothing_of_tokens(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (portal, browser):
        page = await browser.open("/admin/new-server")
        await portal.change_role("auditor")
        refused = await browser.submit(page, "/admin/new-server", id="a", hostname="https://a.example/mcp")
        assert refused.status == 403
        assert "Your role, auditor, does not allow this." in refused.text and "the token" not in refused.text


async def test_a_form_that_is_too_large_comes_back_as_a_page_that_says_what_to_do(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser, administrator(portal, browser) as admin:
        page = admin.page
        await admin.open("/policies/lists/new")
        await page.get_by_label("Name", exact=True).fill("Guests")
        await page.locator("textarea").evaluate("one => { one.value = 'somebody@example.com\\n'.repeat(5000) }")
        async with page.expect_response(lambda answer: answer.request.method == "POST") as sent:
            await page.locator("main form button").first.click()
        assert (await sent.value).status == 413
        await page.get_by_role("heading", name="That is too much").wait_for()
        assert "larger than 65536 bytes. The portal has read none of it, and nothing was changed." in (
            await page.inner_text("body")
        )
        await admin.check(axe_source(), PICTURES, "form-too-large")
        assert await portal.store.list(LIST) == []


async def test_an_older_browser_reads_the_same_page_of_a_form_that_is_too_large(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (portal, browser):
        page = await browser.open("/admin/policies/lists/new")
        headers = {"Origin": portal.url, "Accept": "text/html"}
        fields = {**page.form("/admin/policies/lists/new").fields, "items": "x" * 70_000}
        answer = await browser.client.post(f"{portal.url}/admin/policies/lists/new", data=fields, headers=headers)
        assert answer.status_code == 413 and "text/html" in answer.headers["content-type"]
        assert "nothing was changed" in answer.text


def rendered(source: str, sent: dict[str, str], problems: Problems = NO_PROBLEMS) -> str:
    """A page of forms, as it is after `sent` was refused."""
    page = templates("portal.console").from_string('{% import "parts.html" as parts with context %}' + source)
    values = {"form_field": "t", "form_token": "x", "marks": "", "editable": True, "path": str}
    return page.render(sent=sent, problems=problems, **values)


FORMS = """
{{ parts.button("/off", "Off", {"name": "of the button"}) }}
<form>{{ parts.token() }}{{ parts.field("name", "Name", "stored") }}{{ parts.check("on", "On", true) }}</form>
<form>{{ parts.token("second") }}{{ parts.field("name", "Name", "theirs") }}{{ parts.check("all", "All", true) }}</form>
"""


@pytest.mark.parametrize(
    ("sent", "names", "ticked"),
    [
        ({}, ["stored", "theirs"], ["on", "all"]),
        ({"name": "typed"}, ["typed", "theirs"], ["all"]),
        ({"name": "typed", "on": "on"}, ["typed", "theirs"], ["on", "all"]),
        ({"of_form": "second", "name": "typed"}, ["stored", "typed"], ["on"]),
        ({"of_form": "button", "name": "of the button"}, ["stored", "theirs"], ["on", "all"]),
    ],
)
def test_a_form_that_is_refused_leaves_the_others_of_its_page_as_they_are(
    sent: dict[str, str], names: list[str], ticked: list[str]
) -> None:
    html = rendered(FORMS, sent)
    assert re.findall(r'id="name" name="name" type="text" value="([^"]*)"', html) == names
    assert re.findall(r'name="(\w+)" type="checkbox" value="on" checked', html) == ticked


def test_a_problem_stands_in_the_form_that_has_it() -> None:
    html = rendered(FORMS, {"of_form": "second", "name": ""}, Problems({"name": "Must be said."}))
    first, _, second = html.partition('value="second"')
    assert "Must be said." not in first and "aria-invalid" not in first
    assert "Must be said." in second and second.count('aria-invalid="true"') == 1


def test_one_sentence_is_said_once_of_a_field_and_the_others_of_the_field_stand_above() -> None:
    said = (
        ("/target/0", "must be a label"),
        ("/target/1", "must be a label"),
        ("/target/1", "is there twice"),
        ("/exempt/0", "must be a label"),
        ("", "is too much"),
        ("", "is too much"),
    )
    problems = [one for pointer, message in said for one in invalid(message, pointer).problems]
    found = Problems.of(AdminError(400, problems))
    assert found.fields == {"target": "Must be a label.", "exempt": "Must be a label."}
    assert found.loose == ["Is there twice.", "Is too much."]


async def readability(admin: Administered, where: str) -> float:
    """The contrast of the text of an element on its own background."""
    shown = await admin.page.locator(where).first.evaluate(
        "one => [getComputedStyle(one).color, getComputedStyle(one.closest('.top, body')).backgroundColor]"
    )
    colours = ["#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", one)[:3]) for one in shown]
    return contrast(*colours)


async def test_a_logo_and_colours_that_cannot_be_read_leave_every_page_readable(tmp_path: Path) -> None:
    axe = axe_source()
    looks = {"logo_path": LOGO, "background_color": "#777777", "text_color": "#787878"}

    async def draw(route: Route) -> None:
        await route.fulfill(body=DRAWN, content_type="image/svg+xml")

    async with (
        guarded_portal(tmp_path, organization={"login_design": looks}) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await page.route("https://logo.example.com/**", draw)
        # Before that the browser found no such host.
        admin.complaints.clear()
        answer = await page.goto(f"{portal.url}/admin/servers")
        assert answer is not None
        assert "img-src 'self' https://logo.example.com data:;" in answer.headers["content-security-policy"]
        logo = page.locator("header img")
        assert await logo.evaluate("one => one.naturalWidth") == 90
        assert await page.locator("header").evaluate("one => getComputedStyle(one).backgroundColor") == (
            "rgb(119, 119, 119)"
        )
        for words in (".top .who", ".top .who a"):
            assert await readability(admin, words) >= ENOUGH, words
        await admin.check(axe, PICTURES, "design-console")
        await page.context.clear_cookies()
        await page.goto(f"{portal.url}/login")
        assert await page.locator("img.logo").evaluate("one => one.naturalWidth") == 90
        assert await page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor") == (
            "rgb(119, 119, 119)"
        )
        assert await readability(admin, "body") >= ENOUGH
        await admin.check(axe, PICTURES, "design-sign-in")
