"""What each role sees and may do in the console, in a browser; and that a change of a role holds at the next click."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from portal.login import People, Role
from portal.objects import SERVER
from tests.portal.browser import chromium
from tests.portal.console.browsing import Administered, administrator
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded, guarded_portal
from tests.portal.login.test_pins import offer_pins, pin_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
GRACE = "grace@example.com"


@asynccontextmanager
async def as_role(portal: Guarded, browser: Browser, role: Role) -> AsyncIterator[Administered]:
    """Grace at the console, with this role; Ada is an owner."""
    await portal.account()
    await portal.identity.administrators.create(GRACE, "Grace", PASSWORD, by="test", role=role)
    async with administrator(portal, browser, scripts=False, email=GRACE) as admin:
        yield admin


async def post(admin: Administered, path: str, **fields: str) -> tuple[int, str]:
    """Send a form by hand, with the token of this browser's session; status and text of the answer."""
    page = await admin.page.context.request.get(f"{admin.url}/logout")
    token = (await page.text()).partition('name="form_token" value="')[2].partition('"')[0]
    assert token
    answer = await admin.page.context.request.post(
        f"{admin.url}/admin{path}", form={"form_token": token, **fields}, headers={"Origin": admin.url}, max_redirects=0
    )
    return answer.status, await answer.text()


async def paths_of(page: Page) -> list[str]:
    """The parts that the navigation has, by the path of each."""
    links = page.locator("nav[aria-label=Console] a")
    return [str(await link.get_attribute("href")) for link in await links.all()]


async def ids_of(portal: Guarded, email: str) -> tuple[str, str]:
    """The ids of somebody as an administrator and as a person."""
    account = await portal.identity.administrators.find(email)
    assert account is not None
    people = await People(portal.store, portal.clock).list()
    return account.id, next(one.id for one in people if one.identity.email == email)


async def test_an_auditor_sees_every_part_and_changes_nothing(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser, as_role(portal, browser, "auditor") as admin:
        account, person = await ids_of(portal, EMAIL)
        parts = await paths_of(admin.page)
        assert {"/admin/servers", "/admin/people", "/admin/administrators"} <= set(parts)
        items = (f"/admin/people/{person}", f"/admin/administrators/{account}", "/admin/administrators/by-rules")
        for path in (*parts, *items):
            answer = await admin.page.goto(admin.url + path)
            assert answer is not None and answer.status == 200, path
            assert await admin.page.locator("main form[method=post]").count() == 0, path
        for path in (
            f"/people/{person}/offboard",
            "/administrators/new",
            f"/administrators/{account}/remove",
            f"/administrators/{account}/reset",
            f"/administrators/{account}/lower/auditor",
            "/administrators/by-rules/owner",
        ):
            answer = await admin.page.goto(f"{admin.url}/admin{path}")
            assert answer is not None and answer.status == 403, path
            assert "Your role, auditor, does not allow this." in await admin.page.inner_text("main")
        for path, fields in (
            (f"/people/{person}/offboard", {"name": EMAIL}),
            (f"/people/{person}/sessions/x/end", {}),
            ("/administrators/new", {"email": "eve@example.com", "role": "owner"}),
            (f"/administrators/{account}/role", {"role": "auditor"}),
            (f"/administrators/{account}/lower/auditor", {"name": EMAIL}),
            (f"/administrators/{account}/link", {}),
            (f"/administrators/{account}/reset", {"name": EMAIL}),
            (f"/administrators/{account}/remove", {"name": EMAIL}),
            ("/administrators/by-rules/auditor", {"include_emails": GRACE}),
            ("/new-server", {"hostname": "https://mcp.example.com/mcp", "id": "a", "auth_type": "unauthenticated"}),
            ("/start/name", {"name": "Mine"}),
        ):
            status, text = await post(admin, path, **fields)
            assert status == 403 and "Your role, auditor, does not allow this." in text, (path, status)
        ada = await portal.identity.administrators.find(EMAIL)
        assert ada is not None and ada.role == "owner" and ada.has_password


async def test_an_admin_changes_servers_and_people_and_no_administrators(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser, as_role(portal, browser, "admin") as admin:
        account, person = await ids_of(portal, EMAIL)
        await admin.open("/administrators")
        assert await admin.page.locator("main form[method=post]").count() == 0
        assert await admin.page.get_by_role("link", name="Invite an administrator").count() == 0
        for path in ("/administrators/new", f"/administrators/{account}/remove", "/administrators/by-rules/admin"):
            answer = await admin.page.goto(f"{admin.url}/admin{path}")
            assert answer is not None and answer.status == 403, path
        own, _ = await ids_of(portal, GRACE)
        for path, fields in (
            ("/administrators/new", {"email": "eve@example.com", "role": "auditor"}),
            (f"/administrators/{own}/role", {"role": "owner"}),
            ("/administrators/by-rules/admin", {"include_everyone": "on"}),
        ):
            assert (await post(admin, path, **fields))[0] == 403, path
        status, _ = await post(admin, f"/administrators/{own}/lower/owner", name=GRACE)
        assert status == 403
        grace = await portal.identity.administrators.find(GRACE)
        assert grace is not None and grace.role == "admin"
        await admin.open(f"/people/{person}/offboard")
        await admin.confirm(EMAIL, "End everything")
        await admin.page.get_by_role("heading", name="What has ended").wait_for()


async def test_a_role_that_changes_holds_at_the_next_click(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser, as_role(portal, browser, "admin") as admin:
        page, (own, _) = admin.page, await ids_of(portal, GRACE)
        await admin.open("/servers/new")
        await page.get_by_label("HTTP URL").fill("https://mcp.example.com/mcp")
        await page.get_by_label("Server ID").fill("notes")
        await portal.identity.administrators.change_role(own, "auditor", by="test")
        await admin.press("Add the server")
        await page.get_by_text("Your role, auditor, does not allow this.").wait_for()
        assert await portal.store.list(SERVER) == []
        await portal.identity.administrators.change_role(own, "owner", by="test")
        await page.get_by_role("link", name="Administrators").first.click()
        await page.get_by_role("link", name="Invite an administrator").wait_for()
        assert "· owner ·" in await page.locator("header").inner_text()


async def test_who_has_a_role_by_a_rule_has_it_as_long_as_the_rule_and_is_asked_before_they_change_it(
    tmp_path: Path,
) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        await portal.account()
        await offer_pins(portal)
        page = await (await browser.new_context(java_script_enabled=False)).new_page()
        await page.goto(f"{portal.url}/admin")
        await page.locator("#pin-email").fill(GRACE)
        await page.get_by_role("button", name="Send me a PIN").click()
        await page.get_by_label("PIN").fill(pin_in(portal.letters.sent[-1].text))
        await page.get_by_role("button").first.click()
        # Signed in, and nobody here.
        await page.get_by_text(
            f"You are signed in as {GRACE}, and as such you are no administrator of this portal"
        ).wait_for()
        async with administrator(portal, browser, scripts=False) as ada:
            await ada.open("/administrators/by-rules/owner")
            await ada.page.get_by_label("Emails", exact=False).first.fill(GRACE)
            await ada.press("Save")
            await ada.page.get_by_text("Saved. It is in force.").wait_for()
        await page.goto(f"{portal.url}/admin/administrators")
        await page.get_by_text("without an account here").wait_for()
        await page.goto(f"{portal.url}/admin/administrators/by-rules/owner")
        await page.get_by_text("You have this role by these rules yourself.").wait_for()
        await page.get_by_label("Emails", exact=False).first.fill("somebody@example.com")
        await page.get_by_label(f"To go on, type {GRACE}").fill("yes")
        await page.get_by_role("button", name="Save").click()
        await page.get_by_text("this is not its name", exact=False).wait_for()
        await page.get_by_label(f"To go on, type {GRACE}").fill(GRACE)
        await page.get_by_role("button", name="Save").click()
        await page.get_by_text("you are no administrator of this portal", exact=False).wait_for()


async def test_a_session_that_is_ended_elsewhere_is_sent_to_sign_in_by_the_next_click(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser, as_role(portal, browser, "admin") as admin:
        await admin.open("/servers/new")
        async with administrator(portal, browser, scripts=False) as ada:
            await ada.open("/people")
            await ada.page.get_by_role("link", name=GRACE).click()
            await ada.page.get_by_role("button", name="Sign out").click()
            await ada.page.get_by_text("The browser is refused").wait_for()
        await admin.page.get_by_role("link", name="MCP servers").first.click()
        await admin.page.get_by_label("Password").wait_for()
        assert "/login" in admin.page.url
