"""The first page of the console: figures beside the time before, charts, filters, and what needs somebody now."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, administrator
from tests.portal.console.history import day, write_before
from tests.portal.login.guarded import guarded_portal

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

NOWHERE = {"notes": "http://127.0.0.1:9/mcp", "mail": "http://127.0.0.1:9/mcp"}


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_what_was_called_is_shown_beside_the_time_before_and_filtered_by_a_click(
    tmp_path: Path, scripts: bool
) -> None:
    await write_before(tmp_path, day())
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await page.get_by_role("heading", name="First steps").wait_for()
        errors = page.locator(".tiles > div").filter(has_text="Errors")
        await errors.get_by_text("none before").wait_for()
        await page.locator(".tiles > div").filter(has_text="Calls").get_by_text("% from 50").wait_for()
        tokens = page.locator(".tiles > div").filter(has_text="Tokens saved")
        await tokens.get_by_text("36k").wait_for()
        assert await page.locator(".zoomable").count() == (2 if scripts else 0)
        await page.get_by_role("link", name="notes", exact=True).click()
        await page.wait_for_url("**/admin?server=notes")
        calls_tile = page.locator(".tiles > div").filter(has_text="Calls")
        await calls_tile.get_by_text("46", exact=True).wait_for()
        await page.get_by_role("link", name="editor 2.1").click()
        await page.wait_for_url(lambda url: "client=editor" in url and "server=notes" in url)
        await page.get_by_role("link", name="Take off: Server notes").click()
        await page.wait_for_url(lambda url: "server" not in url)
        await page.get_by_role("link", name="Take off: Client editor").click()
        await page.get_by_role("link", name="bob@example.com").click()
        await page.get_by_role("link", name="Take off: Person bob@example.com").wait_for()
        await page.get_by_role("link", name="7 days").click()
        await page.wait_for_url(lambda url: "window=7d" in url and "person=bob" in url)
        await page.get_by_role("link", name="send · mail").click()
        await page.wait_for_url("**/admin/logs?*")
        await page.get_by_role("link", name="Take off: Capability send").wait_for()
        await page.wait_for_load_state("load")
        assert await page.get_by_role("row").count() > 10


async def test_dragging_over_a_chart_leads_to_the_page_of_that_time(tmp_path: Path) -> None:
    await write_before(tmp_path, day())
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("?server=mail")
        plot = page.locator(".zoomable .u-over").first
        await plot.scroll_into_view_if_needed()
        box = await plot.bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 50)
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 60, steps=5)
        await page.mouse.up()
        await page.wait_for_url("**from=*")
        assert "server=mail" in page.url and "to=" in page.url
        chip = page.get_by_role("link", name="Take off: Time")
        assert "UTC to" in await chip.inner_text()
        await chip.click()
        await page.wait_for_url(lambda url: "from=" not in url)


async def test_each_part_of_the_page_fails_alone(tmp_path: Path) -> None:
    hostile = ("window=year", "from=yesterday", "from=9999-12-31T23:59:59Z", "to=2026-01-01T00:00:00Z",
               urlencode({"server": "x" * 2000}), "portal=%00", urlencode({"person": "<script>alert(1)</script>"}),
               "from=0001-01-01T00:00:00Z&to=0001-01-02T00:00:00Z")  # fmt: skip
    async with (
        guarded_portal(tmp_path, has_log=True, servers=NOWHERE) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        for query in hostile:
            answer = await admin.page.goto(f"{portal.url}/admin?{query}")
            assert answer is not None and answer.status == 200, query
            await admin.page.get_by_role("heading", name="Now").wait_for()
            said = await admin.page.locator(".warned").all_inner_texts()
            assert said or "person" in query or "server" in query and not said, query


async def test_without_a_log_the_page_says_how_to_have_one_and_shows_the_servers(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        await admin.page.get_by_text("This portal writes no log", exact=False).first.wait_for()
        assert await admin.page.locator(".warned").count() == 1
        await admin.page.get_by_role("heading", name="Now").wait_for()
        await admin.page.get_by_role("link", name="MCP servers").first.wait_for()
        await admin.open("/logs")
        await admin.page.get_by_text("This portal writes no log", exact=False).first.wait_for()


async def test_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    (tmp_path / "empty").mkdir()
    async with (
        guarded_portal(tmp_path / "empty", has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        await admin.page.get_by_text("Nothing was called yet").wait_for()
        await admin.check(axe, PICTURES, "overview-empty")
    await write_before(tmp_path, day())
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        for id, url in NOWHERE.items():
            body = {"id": id, "name": id, "hostname": url, "auth_type": "unauthenticated"}
            await admin.open("/servers/new")
            for label, value in (("HTTP URL", body["hostname"]), ("Server ID", body["id"])):
                await admin.page.get_by_label(label).fill(value)
            await admin.press("Add the server")
        await admin.open("?window=24h&client=assistant")
        await admin.check(axe, PICTURES, "overview-filtered")
        await admin.open("")
        await admin.check(axe, PICTURES, "overview")
