"""The pages of MCP servers: added, looked at, changed, their tools and definitions, what is to be done, removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.objects import SERVER
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.adding import add
from tests.portal.console.browsing import PICTURES, administrator
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.upstreams.api import sample_api, sample_document
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
READ_ONLY = (
    "/servers",
    "/servers/notes",
    "/servers/notes/tools",
    "/servers/notes/tool?name=echo",
    "/servers/notes/edit",
    "/servers/notes/approvals",
    "/servers/notes/remove",
    "/new-server",
    "/portals",
    "/configured/portals/_",
    "/new-portal",
)
HOSTILE = ("page=x", "page=-1", "page=999999999999", "search=" + "a" * 3000, "name=%00%0a", "like=../../x", "name=")


async def stored(portal: Guarded, id: str = "notes") -> Any:
    """The server as the API's own document has it."""
    found = await portal.store.get(SERVER, id)
    assert found is not None
    return found.document


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_server_is_added_its_tools_and_settings_changed_and_it_is_removed(
    tmp_path: Path, scripts: bool
) -> None:
    async with (
        hosted(Behaviour(tools=120)) as upstream,
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
        await add(admin, upstream.url)
        await page.get_by_text("were read again").wait_for()
        # Who has changed it is named, and has a page.
        await page.get_by_role("main").get_by_role("link", name="ada@example.com").wait_for()
        # One tool of many, found by its text; what else there is stays.
        await page.get_by_role("link", name="Tools (").click()
        await page.get_by_role("link", name="Next").click()
        await page.get_by_text("Page 2 of 3").wait_for()
        await page.get_by_label("Search tools").fill("echo")
        await admin.press("Search")
        row = page.get_by_role("row").filter(has=page.get_by_text("echo", exact=True))
        await row.get_by_role("link", name="Edit").click()
        await page.get_by_label("Alias").fill("not an alias")
        await admin.press("Save")
        assert await page.locator("#alias-wrong").inner_text() != ""
        await page.get_by_label("Alias").fill("say")
        await page.locator("#description").fill("Says it again")
        await page.get_by_label("Labels").fill("+external")
        await admin.press("Save")
        await row.get_by_text("say", exact=True).wait_for()
        await row.get_by_role("button", name="Disable").click()
        await page.get_by_text("No agent sees it any more.").wait_for()
        assert [one.model_dump(exclude_none=True) for one in (await stored(portal)).updated_tools] == [
            {
                "name": "echo",
                "enabled": False,
                "alias": "say",
                "description": "Says it again",
                "labels": ("+external",),
            }
        ]
        await row.get_by_role("button", name="Enable").click()
        await row.get_by_text("Enabled").wait_for()
        await page.get_by_label("Search tools").fill("numbered-1")
        await admin.press("Search")
        await admin.press("Disable all")
        disabled = [one.name for one in (await stored(portal)).updated_tools if one.enabled is False]
        assert len(disabled) > 10 and all("numbered-1" in name for name in disabled)
        await admin.press("Enable all")
        assert [one.name for one in (await stored(portal)).updated_tools] == ["echo"]
        await page.locator("main").get_by_role("link", name="Settings").click()
        await page.get_by_label("Name").fill("Notes of all")
        await page.get_by_label("Labels").fill("confidential, internal")
        await page.get_by_label("Pin its definitions").check()
        await admin.press("Save")
        await page.get_by_role("heading", name="Notes of all").wait_for()
        document = await stored(portal)
        assert document.labels == ("confidential", "internal") and document.pin and len(document.updated_tools) == 1
        await page.get_by_role("link", name="Remove").click()
        await admin.confirm("something else")
        await page.get_by_text("this is not its name", exact=False).wait_for()
        await admin.confirm("notes")
        await page.get_by_text("Removed.").wait_for()


async def test_what_is_wrong_has_a_button_and_what_waits_is_approved(tmp_path: Path) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page = admin.page
        # Definitions of a pinned server.
        await add(admin, upstream.url)
        await admin.open("/servers/notes/edit")
        await page.get_by_label("Pin its definitions").check()
        await admin.press("Save")
        await admin.press("Sync capabilities")
        upstream.behaviour.more = [{"name": "fresh", "description": "New here", "inputSchema": {"type": "object"}}]
        upstream.behaviour.said["echo"] = {"description": "Says something else now"}
        await admin.press("Sync capabilities")
        await page.get_by_role("link", name="Look at what waits").click()
        await page.get_by_role("heading", name="fresh").wait_for()
        await page.get_by_role("button", name="Approve: fresh").click()
        await page.get_by_text("Approved.").wait_for()
        assert await page.get_by_role("heading", name="fresh").count() == 0
        await page.get_by_role("button", name="Approve: echo").click()
        await page.get_by_text("Nothing waits").wait_for()
        await page.get_by_role("link", name="Changes (").click()
        await page.get_by_text("fresh", exact=True).first.wait_for()
        # Credentials that are refused, and a login that is begun.
        await add(admin, upstream.url, "closed", auth_type="bearer")
        await page.get_by_role("link", name="Credentials").first.click()
        await page.get_by_label("New token or headers").fill("hunter2hunter2")
        await admin.press("Replace")
        await page.get_by_text("Saved.").wait_for()
        await add(admin, upstream.url, "company", auth_type="oauth")
        await page.get_by_role("button", name="Log the portal in").first.click()
        await page.wait_for_url("**/servers/portal-login**")
        await admin.open("/servers/company/credentials")
        await page.get_by_label("The portal's client").select_option("manual")
        await page.get_by_label("Issuer").fill("https://login.example.com")
        await admin.press("Replace")
        assert "client_id" in await page.locator("#client_id-wrong").inner_text()
        await page.get_by_label("Client ID").fill("codemode-portal")
        await page.get_by_label("New client secret").fill("correct horse battery")
        await admin.press("Replace")
        await page.get_by_text("Saved.").wait_for()
        oauth = (await stored(portal, "company")).oauth
        assert oauth["registration_info"] == {"client_id": "codemode-portal"}
        # The secret stays where nothing is said of it.
        await admin.open("/servers/company/credentials")
        await admin.press("Replace")
        assert (await stored(portal, "company")).has_client_secret
        assert "correct horse" not in await page.content()


async def test_who_may_only_read_has_no_buttons_and_hostile_addresses_get_a_page(tmp_path: Path) -> None:
    async with hosted() as upstream, guarded_portal(tmp_path) as portal, chromium() as browser:
        async with administrator(portal, browser, scripts=False) as admin:
            await add(admin, upstream.url)
            for path in ("/servers", "/new-server", "/servers/notes/tools", "/servers/notes/tool", "/servers/notes"):
                for query in HOSTILE:
                    answer = await admin.page.goto(f"{admin.url}/admin{path}?{query}")
                    assert answer is not None and answer.status < 500, (path, query)
            await admin.open("/servers/notes/edit")
            token = await admin.page.locator("main input[type=hidden]").first.get_attribute("value")
            name = await admin.page.locator("main input[type=hidden]").first.get_attribute("name")
            await portal.change_role("auditor")
            await admin.open("/servers")
            await admin.page.get_by_text("auditor").first.wait_for()
            for path in READ_ONLY:
                await admin.open(path)
                assert await admin.page.locator("main form[method=post]").count() == 0, path
            posted = await admin.page.request.post(
                f"{admin.url}/admin/servers/notes/edit",
                form={str(name): str(token), "name": "Mine"},
                headers={"Origin": admin.url},
            )
            assert posted.status == 403
            assert (await stored(portal)).name == "notes"


async def test_an_api_is_added_by_the_url_of_its_document_and_shows_what_is_left_out(tmp_path: Path) -> None:
    document = sample_document()
    document["paths"]["/odd"] = {"get": {"operationId": "odd", "parameters": [{"$ref": "#/nowhere"}]}}
    async with sample_api(document) as api, guarded_portal(tmp_path) as portal, chromium() as browser:
        async with administrator(portal, browser, scripts=False) as admin:
            await admin.open("/new-server")
            await admin.page.get_by_label("HTTP URL").fill(f"{api.url}/v1")
            await admin.page.get_by_label("OpenAPI document").fill(api.document_url)
            await admin.page.get_by_label("Server ID").fill("notes")
            await admin.press("Add the server")
            await admin.press("Sync capabilities")
            await admin.page.get_by_text(api.document_url).first.wait_for()
            await admin.page.get_by_text("/paths/~1odd").first.wait_for()
            assert (await stored(portal)).openapi_url == api.document_url


async def test_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        hosted(Behaviour(tools=60)) as upstream,
        guarded_portal(tmp_path, servers={"documented": upstream.url}) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("/new-server")
        await admin.check(axe, PICTURES, "server-new")
        await add(admin, upstream.url)
        await admin.check(axe, PICTURES, "server")
        await admin.open("/servers/notes/edit")
        await page.get_by_label("Pin its definitions").check()
        await page.get_by_label("Labels").fill("confidential")
        await admin.press("Save")
        upstream.behaviour.said["echo"] = {"description": "Says something else now"}
        upstream.behaviour.more = [{"name": "fresh", "description": "New here", "inputSchema": {"type": "object"}}]
        await admin.press("Sync capabilities")
        await admin.check(axe, PICTURES, "server-waits")
        await add(admin, "http://127.0.0.1:9/mcp", "company", auth_type="oauth")
        await admin.check(axe, PICTURES, "server-oauth")
        for name, path in {
            "servers": "",
            "server-tools": "/notes/tools",
            "server-tool": "/notes/tool?name=numbered-1",
            "server-approvals": "/notes/approvals",
            "server-changes": "/notes/changes",
            "server-edit": "/notes/edit",
            "server-credentials": "/company/credentials",
            "server-remove": "/notes/remove",
        }.items():
            await admin.open(f"/servers{path}")
            # What removes the whole server is not on the page of one of its tools.
            removes = await admin.page.get_by_role("link", name="Remove", exact=True).count()
            assert removes == (name not in ("servers", "server-tool", "server-remove"))
            await admin.check(axe, PICTURES, name)
        await admin.open("/configured/servers/documented")
        await admin.check(axe, PICTURES, "server-configured")
