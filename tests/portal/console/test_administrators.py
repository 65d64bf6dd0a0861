"""The pages of administrators: invited, their role changed, a new password, removed; and roles by rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, administrator
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, guarded_portal, sign_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
GRACE = "grace@example.com"


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_an_administrator_is_invited_gets_another_role_and_another_password_and_is_removed(
    tmp_path: Path, scripts: bool
) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        browser_at(portal.url) as hers,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page, administrators = admin.page, portal.identity.administrators
        await admin.open("/administrators")
        await page.get_by_text("Your role is owner: everything.").wait_for()
        await page.get_by_text("(you)").wait_for()
        await page.get_by_role("link", name="Invite an administrator").click()
        await page.get_by_label("E-mail").fill(EMAIL)
        await admin.press("Invite")
        await page.get_by_text("there is an administrator with this address", exact=False).wait_for()
        await page.get_by_label("E-mail").fill(GRACE)
        await page.get_by_label("Role").select_option("auditor")
        await admin.press("Invite")
        await page.get_by_text("The link is shown only now. It was also sent to them by mail.").wait_for()
        first = await page.locator(".secret").inner_text()
        assert first in portal.letters.sent[-1].text
        await page.get_by_role("link", name="I have copied it").click()
        assert first not in await page.content()
        await admin.press("New link")
        link = await page.locator(".secret").inner_text()
        assert link != first
        # The person accepts, and the same page shows an administrator.
        accepted = await hers.submit(await hers.open(link), "/login/invitation", name="Grace", password=PASSWORD)
        assert accepted.status == 200
        grace = await administrators.find(GRACE)
        assert grace is not None and grace.role == "auditor"
        await page.get_by_role("link", name="I have copied it").click()
        await page.get_by_text("Accepted").wait_for()
        await page.get_by_label("Role").select_option("admin")
        await admin.press("Change the role")
        await page.get_by_text("It holds from their next click on.").wait_for()
        changed = await administrators.find(GRACE)
        assert changed is not None and changed.role == "admin"
        # A new password.
        await page.get_by_role("link", name="Reset the password").click()
        await admin.confirm(GRACE, "Reset it")
        await page.get_by_role("heading", name="is reset").wait_for()
        assert "/login/reset?token=" in await page.locator(".secret").inner_text()
        assert await administrators.sign_in(GRACE, PASSWORD) is None
        await page.get_by_role("link", name="I have copied it").click()
        await page.get_by_role("link", name="Remove").click()
        await admin.confirm("grace")
        await page.get_by_text("this is not its name", exact=False).wait_for()
        await admin.confirm(GRACE)
        await page.get_by_text("Removed.").wait_for()
        assert await administrators.find(GRACE) is None


async def test_nobody_locks_themselves_out_by_accident_and_the_last_owner_not_at_all(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page, administrators = admin.page, portal.identity.administrators
        await admin.open("/administrators")
        await page.get_by_role("link", name=EMAIL).click()
        await page.get_by_text("This is your own account.").wait_for()
        for deed, button in (("Remove", "Remove"), ("Reset the password", "Reset it")):
            await page.get_by_role("link", name=deed, exact=True).click()
            await page.get_by_text("This is your own account:").wait_for()
            await admin.confirm(EMAIL, button)
            await page.get_by_text("The last owner who can sign in stays one; make another owner first.").wait_for()
            await page.get_by_role("link", name="Cancel").click()
        await page.get_by_label("Role").select_option("auditor")
        await admin.press("Change the role")
        await page.get_by_role("heading", name="Become auditor yourself?").wait_for()
        await admin.confirm(EMAIL, "Change it")
        await page.get_by_text("The last owner who can sign in stays one; make another owner first.").wait_for()
        # With another owner they may, and only by their name.
        await administrators.create(GRACE, "Grace", PASSWORD, by="test")
        await admin.confirm("ada", "Change it")
        await page.get_by_text("this is not its name", exact=False).wait_for()
        ada = await administrators.find(EMAIL)
        assert ada is not None and ada.role == "owner"
        await admin.confirm(EMAIL, "Change it")
        await page.get_by_text("The role is changed.").wait_for()
        # It holds at once: this very page has no form any more.
        assert await page.locator("main form").count() == 0
        assert "· auditor ·" in await page.locator("header").inner_text()


async def test_a_role_is_given_by_rules_and_what_the_fields_do_not_show_stays(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page = admin.page
        await admin.open("/administrators/by-rules")
        await page.get_by_role("link", name="Change: Auditor").click()
        await page.get_by_label("Emails ending in").first.fill("acme.example")
        await page.get_by_text("Other rules, as JSON").first.click()
        await page.get_by_label("Include: other rules").fill('[{"auth_method": {"auth_method": "mfa"}}]')
        await admin.press("Save")
        await page.get_by_text("Saved. It is in force.").wait_for()
        await page.get_by_role("link", name="Change: Administrator").click()
        await page.get_by_label("Emails", exact=False).first.fill("grace@example.com")
        await admin.press("Save")
        await page.get_by_text("Emails ending in @acme.example").wait_for()
        await page.get_by_text("Email grace@example.com").wait_for()
        await page.get_by_text("Authentication method mfa").wait_for()
        await page.get_by_role("link", name="Change: Auditor").click()
        shown = await page.get_by_label("Include: other rules").input_value()
        assert '"mfa"' in shown
        await page.get_by_label("Include: other rules").fill('[{"email_domian": {"domain": "acme.example"}}]')
        await admin.press("Save")
        await page.get_by_text("must be an object with one member, a selector", exact=False).first.wait_for()
        assert await page.get_by_label("Emails ending in").first.input_value() == "acme.example"
        # Without any rule nobody has the role by one.
        await page.get_by_label("Include: other rules").fill("")
        await page.get_by_label("Emails ending in").first.fill("")
        await admin.press("Save")
        await page.get_by_text("Saved. It is in force.").wait_for()
        assert await page.get_by_text("acme.example").count() == 0
        assert await page.get_by_text("Email grace@example.com").count() == 1


async def test_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        guarded_portal(tmp_path) as portal,
        browser_at(portal.url) as other,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await portal.identity.administrators.create(GRACE, "Grace Hopper", PASSWORD, by="test", role="admin")
        await sign_in(other, await other.open("/login"), GRACE)
        await admin.open("/administrators/new")
        await admin.check(axe, PICTURES, "administrator-new")
        await page.get_by_label("E-mail").fill("an-address-that-is-rather-long@a-domain-that-is-rather-long.example")
        await admin.press("Invite")
        await admin.check(axe, PICTURES, "administrator-link")
        await page.get_by_role("link", name="I have copied it").click()
        await admin.check(axe, PICTURES, "administrator-invited")
        await admin.open("/administrators")
        await admin.check(axe, PICTURES, "administrators")
        await page.get_by_role("link", name=GRACE).click()
        await admin.check(axe, PICTURES, "administrator")
        await page.get_by_role("link", name="Remove").click()
        await admin.check(axe, PICTURES, "administrator-remove")
        await admin.open("/administrators/by-rules")
        await admin.check(axe, PICTURES, "administrator-rules")
        await admin.open("/administrators/by-rules/owner")
        await admin.check(axe, PICTURES, "administrator-rule")
