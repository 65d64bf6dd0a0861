"""The pages of policies, Access groups, lists and applications."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, Administered, administrator
from tests.portal.login.guarded import guarded_portal

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


async def add_list(admin: Administered, name: str, items: str) -> None:
    await admin.open("/policies/lists/new")
    await admin.page.get_by_label("Name").fill(name)
    await admin.page.get_by_label("Items").fill(items)
    await admin.press("Add the list")


async def add_group(admin: Administered, name: str, domains: str) -> None:
    await admin.open("/policies/groups/new")
    await admin.page.get_by_label("Group name").fill(name)
    await admin.page.get_by_label("Emails ending in").first.fill(domains)
    await admin.press("Add the group")


async def add_policy(admin: Administered, name: str, decision: str = "allow") -> None:
    await admin.open("/policies/reusable/new")
    await admin.page.get_by_label("Policy name").fill(name)
    await admin.page.get_by_label("Action").select_option(decision)
    await admin.page.get_by_label("Everyone").first.check()
    await admin.press("Add the policy")


async def add_server(admin: Administered, id: str) -> None:
    """A server that does not answer: what is looked at is who may use it."""
    await admin.open("/servers/new")
    await admin.page.get_by_label("HTTP URL").fill("http://127.0.0.1:9/mcp")
    await admin.page.get_by_label("Server ID").fill(id)
    await admin.press("Add the server")


async def remove(admin: Administered, path: str, name: str) -> None:
    await admin.open(f"{path}/remove")
    await admin.confirm(name)


@WITH_AND_WITHOUT_SCRIPTS
async def test_a_policy_is_written_attached_to_a_server_put_in_order_and_removed_when_nothing_uses_it(
    tmp_path: Path, scripts: bool
) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await add_server(admin, "notes")
        await add_list(admin, "Guests", "eve@partner.example\nno address")
        await page.get_by_text("Nothing was changed.").wait_for()
        await page.get_by_label("Items").fill("eve@partner.example")
        await admin.press("Add the list")
        await page.get_by_label("Add items").fill("mallory@partner.example")
        await admin.press("Add")
        await page.get_by_role("button", name="Remove: eve@partner.example").click()
        await page.get_by_text("1 item", exact=True).wait_for()
        await add_group(admin, "Engineers", "acme.example")

        await admin.open("/policies/reusable/new")
        await page.get_by_label("Policy name").fill("Staff")
        await page.get_by_label("Engineers").first.check()
        await page.get_by_text("IP ranges, countries").first.click()
        await page.get_by_label("IP ranges").first.fill("203.0.113.0/24\nnowhere")
        await page.get_by_text("Other rules, as JSON").first.click()
        await page.get_by_label("Include: other rules").fill('[{"auth_method": {"auth_method": "mfa"}}]')
        await admin.press("Add the policy")
        assert "Entry 2: must be an IPv4 or IPv6 address" in await page.locator("#include_ips-wrong").inner_text()
        assert await page.get_by_label("Engineers").first.is_checked()
        await page.get_by_label("IP ranges").first.fill("203.0.113.0/24")
        await page.get_by_label("Include: other rules").fill("[{")
        await admin.press("Add the policy")
        assert "This is no JSON" in await page.locator("#include_json-wrong").inner_text()
        await page.get_by_label("Include: other rules").fill('[{"auth_method": {"auth_method": "mfa"}}]')
        await admin.press("Add the policy")
        await page.get_by_text("Created.").wait_for()
        for words in ("Access group Engineers", "IP range 203.0.113.0/24", "Authentication method mfa"):
            await page.get_by_text(words).wait_for()
        staff = page.url.split("/admin")[1].split("?")[0]

        await admin.press("Save")
        await page.get_by_text("Saved.").wait_for()
        await page.get_by_text("Authentication method mfa").wait_for()

        await admin.open("/policies")
        await page.get_by_role("row").filter(has_text="notes").get_by_role("link", name="Attach policies").click()
        await admin.press("Attach")
        await page.get_by_text("Tick at least one policy.").wait_for()
        await page.get_by_label("Staff: Allow").check()
        await admin.press("Attach")
        await add_policy(admin, "No contractors", "deny")
        await admin.open("/policies")
        await page.get_by_role("main").get_by_role("link", name="notes", exact=True).click()
        await page.get_by_label("Attach a policy").select_option(label="No contractors: Block")
        await admin.press("Attach")
        await page.get_by_role("button", name="Up: No contractors").click()
        first = page.get_by_role("row").nth(1)
        await first.filter(has_text="No contractors").wait_for()

        await remove(admin, staff, "Staff")
        await page.get_by_text("The application 'notes' uses this policy; detach it there first.").wait_for()
        await admin.open("/policies")
        await page.get_by_role("main").get_by_role("link", name="notes", exact=True).click()
        await page.locator("main").get_by_role("link", name="Settings").click()
        await page.get_by_label("Session duration").fill("8h")
        await admin.press("Save")
        await page.get_by_text("8h").wait_for()
        await page.get_by_role("button", name="Detach: Staff").click()
        await page.get_by_text("Detached.").wait_for()
        await remove(admin, staff, "Staff")
        await page.get_by_text("Removed.").wait_for()


async def test_an_application_keeps_what_its_forms_do_not_show_and_an_own_policy_goes_only_by_its_name(
    tmp_path: Path,
) -> None:
    own: dict[str, Any] = {
        "name": "Guests",
        "decision": "allow",
        "include": [{"email": {"email": "eve@partner.example"}}],
        "exclude": [{"geo": {"country_code": "XX"}}],
        "approval_required": True,
    }
    body = {
        "type": "mcp",
        "name": "Docs",
        "destinations": [
            {"type": "via_mcp_server_portal", "mcp_server_id": "docs"},
            {"type": "public", "uri": "docs.example.com"},
        ],
        "policies": [own],
        "tags": ["kept"],
    }
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        token = await portal.admin.tokens.create_with_all("test", by="test")
        apps = f"{portal.url}/client/v4/accounts/{portal.admin.account_id}/access/apps"
        headers = {"Authorization": f"Bearer {token.value}"}
        async with aiohttp.ClientSession(headers=headers) as api:
            async with api.post(apps, json=body) as answer:
                made = (await answer.json())["result"]
            await add_policy(admin, "Staff")
            await admin.open("/policies")
            await page.locator("main").get_by_role("link", name="Docs").click()
            await admin.press("Attach")
            await page.get_by_role("button", name="Up: Staff").click()
            await page.locator("main").get_by_role("link", name="Settings").click()
            assert await page.get_by_label("IDs of other servers").input_value() == "docs"
            await page.get_by_label("Application name").fill("Documents")
            await admin.press("Save")
            await page.get_by_text("Saved.").wait_for()
            async with api.get(f"{apps}/{made['id']}") as answer:
                now = (await answer.json())["result"]
            staff, guests = now["policies"]
            assert (staff["precedence"], guests["precedence"], staff["reusable"]) == (1, 2, True)
            assert guests | {"precedence": 1} == made["policies"][0]
            assert sorted(map(str, now["destinations"])) == sorted(map(str, made["destinations"]))
            rest = {"name": "", "policies": [], "destinations": [], "updated_at": ""}
            assert now | rest == made | rest

            await page.locator("main").get_by_role("link", name="Guests", exact=True).click()
            await page.get_by_text("IP ranges, countries").first.click()
            await page.get_by_label("IP ranges").first.fill("nowhere")
            await admin.press("Save")
            assert "Entry 1: must be an IPv4" in await page.locator("#include_ips-wrong").inner_text()
            await page.get_by_label("IP ranges").first.fill("10.0.0.0/8")
            await admin.press("Save")
            await page.get_by_text("Saved.").wait_for()
            async with api.get(f"{apps}/{made['id']}") as answer:
                changed = (await answer.json())["result"]["policies"][1]
            assert changed | {"include": []} == guests | {"include": []}
            assert changed["include"] == [*own["include"], {"ip": {"ip": "10.0.0.0/8"}}]

            await admin.open(f"/policies/apps/{made['id']}")
            await page.get_by_role("link", name="Remove: Guests").click()
            await admin.confirm("Staff")
            await page.get_by_text("Nothing was changed.").wait_for()
            await admin.confirm("Guests")
            await page.get_by_text("Removed.").wait_for()
            async with api.get(f"{apps}/{made['id']}") as answer:
                assert [one["id"] for one in (await answer.json())["result"]["policies"]] == [staff["id"]]


async def test_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        for path in ("reusable", "groups", "lists"):
            await admin.open(f"/policies/{path}")
            await admin.check(axe, PICTURES, f"{path}-empty")
        await add_server(admin, "notes")
        await admin.open("/policies/lists/new")
        await admin.check(axe, PICTURES, "list-new")
        await add_list(admin, "Guests", "eve@partner.example\nmallory@partner.example")
        await admin.check(axe, PICTURES, "list")
        await add_group(admin, "Engineers", "acme.example\nacme.test")
        # A group is no rule of itself.
        assert not await page.get_by_label("Engineers").count()
        await admin.check(axe, PICTURES, "group")
        await admin.open("/policies/reusable/new")
        await admin.check(axe, PICTURES, "policy-new")
        await add_policy(admin, "Staff")
        await page.get_by_text("Exclude").first.click()
        await page.get_by_label("Emails ending in").last.fill("no domain at all")
        await page.get_by_label("Other rules").last.evaluate("field => field.closest('details').open = true")
        await page.get_by_label("Exclude: other rules").fill("[{}]")
        await admin.press("Save")
        await admin.check(axe, PICTURES, "policy-refused")
        await admin.open("/policies")
        await admin.check(axe, PICTURES, "applications")
        await page.get_by_role("row").filter(has_text="notes").get_by_role("link", name="Attach policies").click()
        await admin.check(axe, PICTURES, "application-new")
        await page.get_by_label("Staff: Allow").check()
        await admin.press("Attach")
        await admin.check(axe, PICTURES, "application")
        await page.locator("main").get_by_role("link", name="Settings").click()
        await admin.check(axe, PICTURES, "application-settings")
        for path in ("reusable", "groups", "lists"):
            await admin.open(f"/policies/{path}")
            await admin.check(axe, PICTURES, path)
