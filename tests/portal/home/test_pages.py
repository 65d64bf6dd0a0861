"""The pages of a person in a real browser: with scripts and without, light and dark, on a narrow screen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Page

from codemode import CodeTool
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.home.test_signing_out import log_in_at
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded, guarded_portal
from tests.portal.login.test_pages import in_both_schemes
from tests.portal.oauth.agent import Agent

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
NARROW = {"width": 375, "height": 740}
NAMES = ("Cursor", "סוכן בעברית של מחלקת הכספים", "An agent whose name is too long " + "x" * 150, "\u202eevil\u202c")


@asynccontextmanager
async def with_agents(folder: Path, code_tool: CodeTool, *names: str, **settings: Any) -> AsyncIterator[Guarded]:
    """A portal with agents of these names, which one person has let in."""
    async with (
        guarded_portal(folder, code=code_tool, **settings) as portal,
        browser_at(portal.url) as browser,
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        await portal.account()
        for name in names:
            await Agent(portal, http).log_in(browser, client_name=name)
        yield portal


async def sign_in(page: Page, portal: Guarded) -> None:
    await page.goto(f"{portal.url}/login?return=/")
    await page.get_by_label("E-mail").last.fill(EMAIL)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Your agents").wait_for()


async def test_every_page_is_as_axe_wants_it_and_fits_a_narrow_screen(tmp_path: Path, code_tool: CodeTool) -> None:
    axe = axe_source()
    name = "כלי החברה של " + "Acme" * 20
    portals = with_agents(tmp_path, code_tool, *NAMES, name=name)
    async with portals as portal, chromium() as browser:
        page = await browser.new_page(viewport=NARROW)  # type: ignore[arg-type]

        async def check(name: str) -> None:
            await in_both_schemes(page, axe, f"own-long-{name}")

        for path, kept in (("/", "stranger"), ("/mcp?codemode=nonsense", "nonsense"), ("/nothing", "nothing-there")):
            await page.goto(portal.url + path)
            await check(kept)
        await sign_in(page, portal)
        for summary in await page.locator("summary").all():
            await summary.click()
        await check("home")
        await page.get_by_role("button", name="End access of Cursor").click()
        await page.get_by_role("heading", name="Cursor is signed out").wait_for()
        await check("agent-out")
        for server in ("tickets", "wiki"):
            await log_in_at(portal.store, (await portal.account()).key, server, "http://127.0.0.1:9", "")
        await page.goto(f"{portal.url}/logout")
        await check("out")
        await page.get_by_role("button", name="Sign out everywhere").click()
        await page.get_by_role("heading", name="You are signed out").wait_for()
        assert await page.get_by_text("tickets").count() == 1
        await check("signed-out")


async def test_without_scripts_the_page_does_everything_but_copy_and_shows_no_dead_button(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with with_agents(tmp_path, code_tool, "Cursor") as portal, chromium() as browser:
        page = await browser.new_page(java_script_enabled=False, viewport=NARROW)  # type: ignore[arg-type]
        await sign_in(page, portal)
        assert await page.get_by_role("button", name="Copy").count() == 0
        assert await page.locator("#address").inner_text() == f"{portal.mcp}?codemode=search_and_execute"
        await page.get_by_text("VS Code", exact=True).click()
        await page.get_by_text('"type": "http"').wait_for()
        await page.get_by_role("button", name="End access of Cursor").click()
        await page.get_by_role("heading", name="Cursor is signed out").wait_for()
        await page.get_by_role("link", name="Back").click()
        await page.get_by_text("None yet. An agent").wait_for()
        await page.get_by_role("link", name="Sign out").click()
        await page.get_by_role("button", name="Sign out everywhere").click()
        await page.get_by_role("heading", name="You are signed out").wait_for()


async def test_a_button_copies_the_text_beside_it_and_the_policy_blocks_nothing_of_ours(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with with_agents(tmp_path, code_tool) as portal, chromium() as browser:
        context = await browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        await page.goto(portal.url)
        read = "navigator.clipboard.readText()"
        await page.get_by_role("button", name="Copy the address").click()
        await page.get_by_text("Copied", exact=True).first.wait_for()
        assert await page.evaluate(read) == f"{portal.mcp}?codemode=search_and_execute"
        await page.get_by_role("button", name="Copy the text for Claude Code").click()
        await page.wait_for_function(f"async () => (await {read}).startsWith('claude mcp add')")
        assert [text for text in complaints if "favicon" not in text and "404" not in text] == []


async def test_a_script_of_somebody_else_does_not_run_on_the_page(tmp_path: Path, code_tool: CodeTool) -> None:
    async with with_agents(tmp_path, code_tool, "<script>document.title = 'hers'</script>") as portal:
        async with chromium() as browser:
            page = await browser.new_page()
            await sign_in(page, portal)
            title = await page.title()
            blocked: list[str] = []
            page.on("console", lambda message: blocked.append(message.text))
            await page.evaluate(
                "() => { const one = document.createElement('script'); one.textContent = 'document.title = `hers`';"
                " document.body.append(one); }"
            )
            assert await page.title() == title != "hers"
            assert any("Content Security Policy" in text for text in blocked)
