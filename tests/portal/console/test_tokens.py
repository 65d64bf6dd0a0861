"""The pages of service tokens and of API tokens; and what an auditor sees of all pages about access."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from portal.oauth import SERVICE_TOKEN
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, administrator
from tests.portal.login.guarded import Guarded, guarded_portal

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
PAGES = (
    *("/policies", "/policies/reusable", "/policies/groups", "/policies/lists", "/login-methods"),
    *("/service-tokens", "/api-tokens", "/settings", "/settings/pages", "/settings/keys"),
)


async def status_of(portal: Guarded, value: str) -> int:
    """What the admin API answers to a list of policies with this token."""
    url = f"{portal.url}/client/v4/accounts/{portal.admin.account_id}/access/policies"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Authorization": f"Bearer {value}"}) as answer,
    ):
        return answer.status


@WITH_AND_WITHOUT_SCRIPTS
async def test_a_service_token_shows_its_secret_once_is_rotated_and_revoked(tmp_path: Path, scripts: bool) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await admin.open("/service-tokens")
        await page.get_by_text("No service tokens yet").wait_for()
        await page.get_by_role("main").get_by_role("link", name="Make a service token").first.click()
        await page.get_by_label("Name").fill("Nightly report")
        await admin.press("Make it")
        first = await page.locator(".secret").nth(1).inner_text()
        await page.get_by_role("link", name="I have copied it").click()
        await page.get_by_text("Valid for 36").wait_for()
        assert first not in await page.content()
        await admin.press("Refresh")
        await page.get_by_text("Refreshed.").wait_for()
        await page.get_by_label("The former secret").select_option("0")
        await admin.press("Make a new secret")
        second = await page.locator(".secret").nth(1).inner_text()
        assert second and second != first
        await page.get_by_role("link", name="I have copied it").click()
        await page.get_by_label("Duration").select_option("forever")
        await admin.press("Save")
        await page.get_by_text("Valid, non-expiring").wait_for()
        await page.get_by_role("link", name="Revoke").click()
        await admin.confirm("Nightly report", "Revoke")
        await page.get_by_text("No service tokens yet").wait_for()
        assert await portal.store.list(SERVICE_TOKEN) == []


@WITH_AND_WITHOUT_SCRIPTS
async def test_an_api_token_is_made_narrowed_given_a_new_value_and_deleted(tmp_path: Path, scripts: bool) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await admin.open("/api-tokens/new")
        await page.get_by_label("Token name").fill("Terraform")
        await admin.press("Create the token")
        assert "Choose at least one permission" in await page.locator("#permissions-wrong").inner_text()
        await page.get_by_label("Access: Apps and Policies").select_option("Write")
        await page.get_by_label("Is in").fill("somewhere")
        await admin.press("Create the token")
        assert await page.locator("#ip_in-wrong").inner_text() != ""
        await page.get_by_label("Is in").fill("127.0.0.0/8")
        await page.get_by_label("Expires on").fill("2099-01-01")
        await admin.press("Create the token")
        value = await page.locator(".secret").first.inner_text()
        assert await status_of(portal, value) == 200
        await page.get_by_role("link", name="I have copied it").click()
        assert value not in await page.content()
        await page.get_by_text("2099-01-01").wait_for()

        await page.get_by_role("link", name="Roll the value").click()
        await admin.confirm("Terraform", "Roll the value")
        rolled = await page.locator(".secret").first.inner_text()
        assert (await status_of(portal, value), await status_of(portal, rolled)) == (401, 200)
        await page.get_by_role("link", name="I have copied it").click()
        await page.get_by_label("Is not in").fill("127.0.0.1")
        await admin.press("Save")
        await page.get_by_text("Saved.").wait_for()
        assert await status_of(portal, rolled) == 401
        await page.get_by_label("Is not in").fill("")
        await page.get_by_label("Status").select_option("disabled")
        await admin.press("Save")
        assert await status_of(portal, rolled) == 401
        await page.get_by_label("Status").select_option("active")
        await admin.press("Save")
        assert await status_of(portal, rolled) == 200
        await page.get_by_role("link", name="Delete").click()
        await admin.confirm("Terraform", "Delete")
        await page.get_by_text("No API tokens yet").wait_for()
        assert await status_of(portal, rolled) == 401


async def test_an_auditor_reads_every_page_about_access_sees_no_button_and_changes_nothing(
    tmp_path: Path,
) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("/policies/lists/new")
        await page.get_by_label("Name").fill("Guests")
        await admin.press("Add the list")
        listed = page.url.split("/admin")[1].split("?")[0]
        await admin.open("/policies/groups/new")
        forged = await page.locator("form").last.evaluate(
            "form => new URLSearchParams([...new FormData(form), ['name', 'Forged'], ['include_everyone', 'on']]) + ''"
        )
        await portal.change_role("auditor")
        for path in (*PAGES, listed):
            await admin.open(path)
            assert page.url.endswith(path)
            assert await page.locator("main form[method=post]").count() == 0, path
            assert await page.locator("main").get_by_role("link", name="Add").count() == 0, path
        for path in ("/policies/groups/new", "/policies/reusable/new", "/settings/keys/rotate", "/api-tokens/new"):
            answer = await page.request.post(
                f"{portal.url}/admin{path}",
                data=forged,
                headers={"Content-Type": "application/x-www-form-urlencoded", "Origin": portal.url},
            )
            assert answer.status in (400, 403), path
        await portal.change_role("owner")
        await admin.open("/policies/groups")
        await page.get_by_text("No access groups yet").wait_for()


async def test_no_query_makes_a_page_fail(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        hostile = ("page=0", "page=x", "page=99999999999999999999", f"search={'a' * 5000}", "search=%00%FF", "type=%00")
        for one in (*PAGES, "/login-methods/new", "/policies/apps/new", "/policies/apps/%00", "/api-tokens/nothing"):
            for query in hostile:
                answer = await admin.page.request.get(f"{portal.url}/admin{one}?{query}")
                assert answer.status < 500, (one, query)


async def test_their_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("/service-tokens")
        await admin.check(axe, PICTURES, "service-tokens-empty")
        await admin.open("/service-tokens/new")
        await page.get_by_label("Name").fill("Nightly report")
        await admin.press("Make it")
        await admin.check(axe, PICTURES, "service-token-made")
        await page.get_by_role("link", name="I have copied it").click()
        await admin.check(axe, PICTURES, "service-token")
        await admin.open("/service-tokens")
        await admin.check(axe, PICTURES, "service-tokens")
        await admin.open("/api-tokens")
        await admin.check(axe, PICTURES, "api-tokens-empty")
        await admin.open("/api-tokens/new")
        await admin.check(axe, PICTURES, "api-token-new")
        await page.get_by_label("Token name").fill("Terraform")
        await page.get_by_label("Access: Apps and Policies").select_option("Write")
        await admin.press("Create the token")
        await admin.check(axe, PICTURES, "api-token-made")
        await page.get_by_role("link", name="I have copied it").click()
        await admin.check(axe, PICTURES, "api-token")
        await admin.open("/api-tokens")
        await admin.check(axe, PICTURES, "api-tokens")
