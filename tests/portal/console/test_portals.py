"""The pages of MCP portals: added, given servers, their tools shown in another way there, removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.objects import PORTAL
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.adding import add
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, Administered, administrator
from tests.portal.login.guarded import EMAIL, Guarded, guarded_portal
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
HOSTILE = ("page=x", "page=-1", "search=" + "a" * 3000, "name=%00%0a", "name=")


async def entry(portal: Guarded, server: str) -> Any:
    """The stored entry of a server of the portal `team`."""
    found = await portal.store.get(PORTAL, "team")
    assert found is not None
    return next(one for one in found.document.servers if one.server_id == server)


async def add_portal(admin: Administered) -> None:
    page = admin.page
    await admin.open("/new-portal")
    await page.get_by_label("Portal ID").fill("team")
    await page.get_by_label("Hostname").fill("team.example.com")
    await page.locator("#name").fill("The team")
    await page.locator("#code_mode").select_option("default_on")
    await admin.press("Add the portal")
    await page.get_by_text("The portal is added.").wait_for()


async def attach(admin: Administered, server: str) -> None:
    await admin.page.locator("#server_id").select_option(server)
    await admin.press("Add to the portal")
    await admin.page.get_by_text("The server is added to the portal.").wait_for()


@WITH_AND_WITHOUT_SCRIPTS
async def test_a_portal_shows_servers_in_its_own_way_and_keeps_what_a_form_does_not_show(
    tmp_path: Path, scripts: bool
) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await add(admin, upstream.url)
        await add(admin, upstream.url, "other")
        await admin.open("/portals")
        await page.get_by_text("No portals were added").wait_for()
        await admin.open("/new-portal")
        await page.get_by_label("Portal ID").fill("team")
        await page.get_by_label("Hostname").fill("https://not a host")
        await admin.press("Add the portal")
        assert await page.locator("#hostname-wrong").inner_text() != ""
        await add_portal(admin)
        await (
            page.get_by_text(f"{portal.url}/team/mcp?codemode=off")
            .or_(page.get_by_text("https://team.example.com/mcp?codemode=off"))
            .wait_for()
        )
        # Who changed it is named by their address.
        await page.get_by_role("main").get_by_role("link", name=EMAIL).wait_for()
        await attach(admin, "notes")
        await attach(admin, "other")
        await page.get_by_role("link", name="notes", exact=True).click()
        # One tool at this portal; what the server itself says of it stays.
        await page.get_by_label("Search tools").fill("echo")
        await admin.press("Search")
        row = page.get_by_role("row").filter(has=page.get_by_text("echo", exact=True))
        await row.get_by_role("link", name="Edit").click()
        await page.get_by_label("Alias").fill("not an alias")
        await admin.press("Save")
        assert await page.locator("#alias-wrong").inner_text() != ""
        await page.get_by_label("Alias").fill("say")
        await admin.press("Save")
        await row.get_by_text("say", exact=True).wait_for()
        await row.get_by_role("button", name="Disable").click()
        await row.get_by_text("Disabled", exact=True).wait_for()
        echo = {"name": "echo", "enabled": False, "alias": "say"}
        assert [one.model_dump(exclude_none=True) for one in (await entry(portal, "notes")).updated_tools] == [echo]
        # Everything else of the portal is as it was after each of these.
        await admin.open("/portals/team/servers/other")
        await page.get_by_label("Require user auth").uncheck()
        await page.get_by_label("Disabled by default").check()
        await admin.press("Save")
        assert not (await entry(portal, "other")).on_behalf
        await page.get_by_label("Search tools").fill("echo")
        await admin.press("Search")
        await row.get_by_text("Disabled", exact=True).wait_for()
        await row.get_by_role("button", name="Enable").click()
        await row.get_by_text("Enabled", exact=True).wait_for()
        assert [one.model_dump(exclude_none=True) for one in (await entry(portal, "notes")).updated_tools] == [echo]
        await admin.open("/portals/team/edit")
        await page.locator("#code_mode").select_option("enforced")
        await page.get_by_label("Description").fill("Tools of the team")
        await admin.press("Save")
        stored = await portal.store.get(PORTAL, "team")
        assert stored is not None and stored.document.code_mode == "enforced" and len(stored.document.servers) == 2
        assert stored.document.servers[1].default_disabled and stored.document.description == "Tools of the team"
        await page.get_by_role("button", name="Take out: other").click()
        await page.get_by_text("no longer in the portal").wait_for()
        assert [one.model_dump(exclude_none=True) for one in (await entry(portal, "notes")).updated_tools] == [echo]
        await page.get_by_role("link", name="Remove").click()
        await admin.confirm("team")
        await page.get_by_text("No portals were added").wait_for()


async def test_hostile_addresses_get_a_page_and_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        hosted(Behaviour(tools=5)) as upstream,
        guarded_portal(tmp_path, servers={"documented": upstream.url}) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        await admin.open("/portals")
        await admin.check(axe, PICTURES, "portals-empty")
        await add(admin, upstream.url)
        await add_portal(admin)
        await attach(admin, "notes")
        for path in ("/portals", "/portals/team", "/portals/team/servers/notes", "/portals/team/servers/notes/tool"):
            for query in HOSTILE:
                answer = await admin.page.goto(f"{admin.url}/admin{path}?{query}")
                assert answer is not None and answer.status < 500, (path, query)
        for path in ("/portals/none", "/portals/team/servers/none", "/configured/portals/none"):
            answer = await admin.page.goto(f"{admin.url}/admin{path}")
            assert answer is not None and answer.status == 404, path
        for name, path in {
            "portals": "/portals",
            "portal-new": "/new-portal",
            "portal": "/portals/team",
            "portal-edit": "/portals/team/edit",
            "portal-server": "/portals/team/servers/notes",
            "portal-tool": "/portals/team/servers/notes/tool?name=echo",
            "portal-own": "/configured/portals/_",
        }.items():
            await admin.open(path)
            await admin.check(axe, PICTURES, name)
