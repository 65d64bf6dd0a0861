"""The pages of people: found, looked at, a browser and an agent ended, everything ended."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from playwright.async_api import expect

from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, administrator
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal, sign_in
from tests.portal.oauth.agent import Agent

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
GRACE, EVE = "grace@example.com", "eve@example.com"


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_person_is_found_a_browser_and_an_agent_of_theirs_end_and_then_everything(
    tmp_path: Path, scripts: bool
) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        browser_at(portal.url) as hers,
        browser_at(portal.url) as other,
        httpx2.AsyncClient(trust_env=False) as http,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        grace = await portal.account(GRACE)
        cursor, claude = Agent(portal, http), Agent(portal, http)
        await sign_in(hers, await hers.open("/login"), GRACE)
        await cursor.log_in(hers, client_name="Cursor")
        await claude.log_in(hers, client_name="Claude Code")
        other.client.headers["User-Agent"] = "Other browser"
        await sign_in(other, await other.open("/login"), GRACE)
        await page.get_by_role("link", name="People").first.click()
        await page.get_by_label("Search people").fill("GRACE@")
        await admin.press("Search")
        await page.get_by_role("link", name=GRACE).click()
        await page.get_by_text("Local account").wait_for()
        log = page.get_by_role("link", name="Calls in the log")
        assert await log.get_attribute("href") == f"/admin/logs?identity=local%3A{grace.id.removeprefix('local:')}"
        tester = page.get_by_role("link", name="What policies let them do")
        assert await tester.get_attribute("href") == "/admin/policy-tester?email=grace%40example.com"
        # One browser, without a question.
        row = page.get_by_role("row").filter(has=page.get_by_text("Other browser"))
        await row.get_by_role("button").click()
        await page.get_by_text("The browser is refused").wait_for()
        assert "You are signed out" in (await other.open("/logout")).text
        assert "You are signed in as" in (await hers.open("/logout")).text
        # One agent, by its name.
        await page.get_by_role("link", name="End: Cursor").click()
        await admin.confirm("Cursor", "End it")
        await page.get_by_text("Its tokens are good no longer").wait_for()
        assert ((await cursor.use()).status_code, (await claude.use()).status_code) == (401, 200)
        # Everything, by the address.
        await page.get_by_role("link", name="End everything").click()
        await admin.confirm("Grace", "End everything")
        await page.get_by_text("this is not its name", exact=False).wait_for()
        assert (await claude.use()).status_code == 200
        await admin.confirm(GRACE, "End everything")
        await page.get_by_role("heading", name="What has ended").wait_for()
        facts = (await page.locator("dl.facts").inner_text()).split()
        assert facts[facts.index("Browsers") + 1] == "1" and facts[facts.index("Agents") + 1] == "1"
        assert (await claude.use()).status_code == 401
        assert "You are signed out" in (await hers.open("/logout")).text
        await page.get_by_role("link", name="Back to the person").click()
        await page.get_by_text("Signed in nowhere").wait_for()


async def test_whoever_ends_all_of_their_own_is_told_before_and_signed_out_after(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page = admin.page
        await admin.open("/people")
        await page.get_by_role("link", name="ada@example.com").click()
        await page.get_by_role("link", name="End everything").click()
        await page.get_by_text("This is you: you are signed out.").wait_for()
        await admin.confirm("ada@example.com", "End everything")
        await page.get_by_role("heading", name="What has ended").wait_for()
        await page.get_by_role("link", name="Back to the person").click()
        await page.get_by_label("Password").wait_for()


async def test_what_nobody_asks_for_by_a_link_is_a_page_with_a_sentence(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        for path, status in (
            ("/people/nobody", 404),
            ("/people/nobody/offboard", 404),
            ("/people/nobody/agents/none/end", 404),
            ("/people?page=0", 400),
            ("/people?page=x&search=%00%f0", 400),
            ("/people?search=" + "x" * 300, 400),
            ("/people?page=99", 200),
        ):
            answer = await admin.page.goto(f"{admin.url}/admin{path}")
            assert answer is not None and answer.status == status, path
            await expect(admin.page.get_by_role("heading", level=1)).to_be_visible()


async def test_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        guarded_portal(tmp_path) as portal,
        browser_at(portal.url) as hers,
        httpx2.AsyncClient(trust_env=False) as http,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        await portal.account(GRACE)
        await portal.account(EVE)
        hers.client.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
        await sign_in(hers, await hers.open("/login"), GRACE)
        await Agent(portal, http).log_in(hers, client_name="Cursor")
        await admin.open("/people")
        await admin.check(axe, PICTURES, "people")
        await admin.page.get_by_role("link", name=GRACE).click()
        await admin.check(axe, PICTURES, "person")
        await admin.page.get_by_role("link", name="End everything").click()
        await admin.check(axe, PICTURES, "person-offboard")
        await admin.confirm(GRACE, "End everything")
        await admin.check(axe, PICTURES, "person-ended")
        await admin.open("/people?search=nobody")
        assert await admin.page.get_by_text("Nothing fits this search.").is_visible()
        await admin.check(axe, PICTURES, "people-none")
        await admin.open("/people")
        await admin.page.get_by_role("link", name=EVE).click()
        await admin.check(axe, PICTURES, "person-empty")
