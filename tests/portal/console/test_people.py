"""The pages of people: found, looked at, a browser and an agent ended, everything ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from playwright.async_api import Locator, expect

from portal.identity import Group, Identity
from portal.login import SESSION, People
from portal.login.sessions import SessionDocument
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, Administered, administrator
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal, sign_in
from tests.portal.oauth.agent import Agent

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
GRACE, EVE = "grace@example.com", "eve@example.com"


@WITH_AND_WITHOUT_SCRIPTS
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
        assert await log.get_attribute("href") == f"/admin/logs?person=local%3A{grace.id.removeprefix('local:')}"
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


async def test_who_ends_everything_reads_which_api_tokens_stay_and_ends_them_with_the_rest_where_the_box_is_ticked(
    tmp_path: Path,
) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page, tokens = admin.page, portal.admin.tokens
        grace = await portal.account(GRACE)
        for name in ("Terraform", "<b>Nightly</b>"):
            await tokens.create_with_all(name, grace.key)
        of_another = await tokens.create_with_all("Of another", "local:another")
        await admin.open("/people")
        await page.get_by_role("link", name=GRACE).click()
        await expect(page.locator("#api-tokens li")).to_have_count(2)
        person = page.url
        for ticked in (False, True):
            await page.goto(person)
            await page.get_by_role("link", name="End everything").click()
            await page.get_by_text("They know the value of 2 API tokens:").wait_for()
            assert await page.locator("main b").count() == 0
            box = page.get_by_label("Delete these API tokens, too")
            assert await box.is_checked()
            await box.set_checked(ticked)
            await page.get_by_label("To go on, type").fill(GRACE)
            await admin.press("End everything")
            await page.get_by_role("heading", name="What has ended").wait_for()
            words = await page.locator("main").inner_text()
            left = [one.id for one in await tokens.known_to(grace.key)]
            assert len(left) == (0 if ticked else 2)
            assert ("They know the value of 2 API tokens, which are still there." in words) is not ticked
            links = page.get_by_role("link", name="Delete the API token")
            assert await links.count() == len(left)
        assert [one.name for one in await tokens.known_to("local:another")] == [of_another.name]
        await page.goto(person)
        assert await page.locator("#api-tokens").count() == 0


async def test_an_administrator_who_may_change_no_tokens_is_told_to_ask_an_owner(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page, grace = admin.page, await portal.account(GRACE)
        await portal.admin.tokens.create_with_all("Terraform", grace.key)
        await portal.change_role("admin")
        await admin.open("/people")
        await page.get_by_role("link", name=GRACE).click()
        await page.get_by_role("link", name="End everything").click()
        await page.get_by_text("Ask an owner to delete them").wait_for()
        assert await page.get_by_label("Delete these API tokens, too").count() == 0
        await page.get_by_label("To go on, type").fill(GRACE)
        await admin.press("End everything")
        await page.get_by_text("They know the value of 1 API token, which is still there.").wait_for()
        assert len(await portal.admin.tokens.known_to(grace.key)) == 1


async def test_the_groups_of_a_person_are_those_of_their_last_sign_in_and_the_page_says_when_that_was(
    tmp_path: Path,
) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page, groups = admin.page, page_of_groups(admin)
        eve = Identity(id="okta:eve", email=EVE, idp_id="okta", idp_type="oidc", groups=(Group(id="1", name="Old"),))
        await People(portal.store, portal.clock).note(eve)
        await admin.open("/people")
        await page.get_by_role("link", name=EVE).click()
        person = page.url
        await expect(groups).to_contain_text("not kept: policies read them at each sign-in")
        for ahead, names in ((0, ("Old",)), (2, ("Finance", "<i>Staff</i>"))):
            portal.clock.ahead = timedelta(hours=ahead)
            signed_in = replace(eve, groups=tuple(Group(id=name, name=name) for name in names))
            document = SessionDocument(identity=signed_in)
            until = portal.clock() + timedelta(hours=9)
            await portal.store.tokens.issue(
                SESSION, f"t{ahead}", subject=eve.id, family=f"f{ahead}", document=document, expires_at=until
            )
        await page.goto(person)
        assert await groups.locator(".chip").all_inner_texts() == ["Finance", "<i>Staff</i>"]
        await expect(groups).to_contain_text("as of the sign-in of")
        await expect(groups.locator("time")).to_have_count(1)
        await admin.open("/people")
        await page.get_by_role("link", name="ada@example.com").click()
        await expect(groups).to_contain_text("none: an account of the portal's own has none")


def page_of_groups(admin: Administered) -> Locator:
    """What the page of a person says about groups."""
    return admin.page.locator("dt", has_text="Groups").locator("xpath=following-sibling::dd[1]")


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
        await portal.admin.tokens.create_with_all("Terraform", (await portal.account(GRACE)).key)
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
