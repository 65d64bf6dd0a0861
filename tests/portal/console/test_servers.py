"""The pages of MCP servers: added, looked at, a tool disabled and enabled, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.portal.axe import axe_source
from tests.portal.console.browsing import PICTURES, administrator, chromium
from tests.portal.login.guarded import guarded_portal
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_server_is_added_a_tool_of_it_disabled_and_enabled_and_it_is_removed(
    tmp_path: Path, scripts: bool
) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await admin.open("/servers")
        await page.get_by_text("No MCP servers yet").wait_for()
        await page.get_by_role("link", name="Add a server").first.click()
        await page.get_by_label("HTTP URL").fill(upstream.url)
        await page.get_by_label("Server ID").fill("not an id")
        await admin.press("Add the server")
        await page.get_by_text("Nothing was changed.").wait_for()
        assert await page.get_by_label("HTTP URL").input_value() == upstream.url
        assert await page.locator("#id-wrong").inner_text() != ""
        await page.get_by_label("Server ID").fill("notes")
        await admin.press("Add the server")
        await page.get_by_text("The server is added.").wait_for()
        await admin.press("Sync capabilities")
        row = page.get_by_role("row").filter(has=page.get_by_text("echo", exact=True))
        await row.get_by_text("Enabled").wait_for()
        await row.get_by_role("button", name="Disable").click()
        await page.get_by_text("No agent sees it any more.").wait_for()
        await row.get_by_role("button", name="Enable").click()
        await row.get_by_text("Enabled").wait_for()
        # Who has changed it is named, and has a page.
        await page.get_by_role("main").get_by_role("link", name="ada@example.com").wait_for()
        await page.get_by_role("link", name="Remove").click()
        await page.get_by_label("To go on, type").fill("something else")
        await admin.press("Remove")
        await page.get_by_text("this is not its name", exact=False).wait_for()
        await page.get_by_label("To go on, type").fill("notes")
        await admin.press("Remove")
        await page.get_by_text("Removed.").wait_for()


async def test_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        await admin.open("/servers")
        await admin.check(axe, PICTURES, "servers-empty")
        await admin.open("/servers/new")
        await admin.check(axe, PICTURES, "server-new")
        await admin.page.get_by_label("HTTP URL").fill(upstream.url)
        await admin.page.get_by_label("Server ID").fill("notes")
        await admin.press("Add the server")
        await admin.press("Sync capabilities")
        await admin.check(axe, PICTURES, "server")
        await admin.open("/servers")
        await admin.check(axe, PICTURES, "servers")
        await admin.open("/servers/notes/remove")
        await admin.check(axe, PICTURES, "server-remove")
