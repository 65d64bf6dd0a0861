"""The first steps: from the claim of a portal to an agent that is connected, in a browser and without scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from portal.app import Instance, Parts, serving
from portal.config import parse_config
from portal.logs import Discard
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, administrator
from tests.portal.login.guarded import EMAIL, PASSWORD, guarded_portal
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@asynccontextmanager
async def unclaimed(folder: Path) -> AsyncIterator[tuple[Instance, str]]:
    """An instance as `codemode serve` starts it the first time, and its URL."""
    document = {
        "mcpServers": {},
        "portal": {"state": f"sqlite:///{folder}/state.db", "identity": {}},
    }
    config = parse_config(document, env={})
    async with Instance.open(config, Discard(), lambda line: None, Parts(code=None)) as instance:
        async with serving(instance) as url:
            yield instance, url


async def test_who_claims_a_portal_is_led_to_an_agent_and_can_undo_each_step(tmp_path: Path) -> None:
    async with hosted() as upstream, unclaimed(tmp_path) as (instance, url), chromium() as browser:
        identity = instance.own.identity
        assert identity is not None
        page = await (await browser.new_context(java_script_enabled=False)).new_page()
        await page.goto(url + str(await identity.claim_path()))
        await page.get_by_label("Name").fill("Ada")
        await page.get_by_label("E-mail").fill("ada@example.com")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button").click()
        await page.get_by_role("heading", name="First steps").wait_for()
        await page.get_by_role("link", name="Begin: Name and address").click()
        await page.get_by_label("Name").fill("Acme tools")
        await page.get_by_role("button", name="Save and go on").click()
        # How people sign in is left out.
        await page.get_by_role("heading", name="How people sign in").wait_for()
        assert await page.locator("header .brand").inner_text() == "Acme tools"
        await page.get_by_role("link", name="Skip", exact=True).click()
        await page.get_by_label("HTTP URL").fill(upstream.url)
        await page.get_by_label("Server ID").fill("notes")
        await page.get_by_role("button", name="Save and go on").click()
        await page.get_by_role("heading", name="The first policy").wait_for()
        await page.get_by_label("E-mail addresses").fill("ada@example.com\ngrace@example.com")
        await page.get_by_role("button", name="Save and go on").click()
        await page.get_by_role("heading", name="Connect an agent").wait_for()
        assert f"{url}/mcp" in await page.locator(".paste").first.inner_text()
        # Each step is undone.
        await page.goto(f"{url}/admin/start")
        assert await page.get_by_text("Done", exact=True).count() == 3
        for step, undo in (("policy", "Undo"), ("server", "Undo"), ("name", "Undo")):
            await page.goto(f"{url}/admin/start/{step}")
            await page.get_by_role("button", name=undo).click()
            await page.get_by_text("Undone.").wait_for()
        await page.goto(f"{url}/admin/start")
        assert await page.get_by_text("Done", exact=True).count() == 0


async def test_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with guarded_portal(tmp_path) as portal, chromium() as browser, administrator(portal, browser) as admin:
        for step in ("", "/name", "/sign-in", "/server", "/policy", "/agent"):
            await admin.open(f"/start{step}")
            await admin.check(axe, PICTURES, f"start{step.replace('/', '-')}")


async def test_a_first_server_that_does_not_answer_is_said_with_its_reason_before_anything_else(tmp_path: Path) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page = admin.page
        for url, id in (("http://127.0.0.1:9/mcp", "wrong"), (upstream.url, "notes")):
            await admin.open("/start/server")
            await page.get_by_label("HTTP URL").fill(url)
            await page.get_by_label("Server ID").fill(id)
            await admin.press("Save and go on")
            if id == "wrong":
                await page.get_by_text("it does not work yet").wait_for()
                await page.get_by_text("cannot be reached").wait_for()
                await admin.press("Undo: remove: wrong")
                await page.get_by_text("Undone.").wait_for()
        await page.get_by_role("heading", name="The first policy").wait_for()
        await page.get_by_text("its tools are read").wait_for()


async def test_the_first_policy_says_what_it_lacks_beside_the_field_and_made_again_replaces_itself(
    tmp_path: Path,
) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page, what_there_is = admin.page, admin.page.locator("main .rows li")
        await admin.open("/start/policy")
        # Who forgets themselves could not try it: their own address is there.
        assert await page.get_by_label("E-mail addresses").input_value() == EMAIL
        for who, field in (("These people", "emails"), ("Everybody with an e-mail address", "domain")):
            await page.get_by_label("E-mail addresses").fill("")
            await page.locator("#who").select_option(label=await page.locator(f"option:has-text('{who}')").inner_text())
            await admin.press("Save and go on")
            await page.locator(f"#{field}-wrong").wait_for()
            assert await page.locator(".wrong").count() == 1
        for domain in ("example.com", "acme.example"):
            await admin.open("/start/policy")
            await page.locator("#who").select_option("domain")
            await page.get_by_label("Domain").fill(domain)
            await admin.press("Save and go on")
            await page.get_by_role("heading", name="Connect an agent").wait_for()
        await admin.open("/start/policy")
        assert await what_there_is.count() == 1
        await what_there_is.get_by_role("link").click()
        await page.get_by_text("acme.example").first.wait_for()
        assert await page.get_by_text("example.com", exact=True).count() == 0


async def test_a_first_login_method_has_the_name_of_what_it_is_and_says_which_field_is_missing(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page = admin.page
        await admin.open("/start/sign-in")
        await page.get_by_label("Issuer").fill("https://login.example.com")
        await admin.press("Save and go on")
        await page.locator("#client_id-wrong").wait_for()
        await page.get_by_label("Method").select_option("onetimepin")
        await admin.press("Save and go on")
        await page.get_by_role("heading", name="The first MCP server").wait_for()
        await admin.open("/start/sign-in")
        assert await page.locator("main .rows strong").all_inner_texts() == ["PIN by e-mail"]


async def test_servers_of_the_configuration_count_as_the_first(tmp_path: Path) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        await admin.open("/start")
        step = admin.page.locator(".steps li").nth(2)
        assert "Done" in await step.inner_text() and "fix" in await step.inner_text()
        await step.get_by_role("link").click()
        await admin.page.get_by_text("Ready, in the configuration").wait_for()
