"""The page of a person's servers in a real browser: without scripts, readable, in the light and the dark."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import httpx2
import pytest

from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.credentials.authority import login_authority, protected
from tests.portal.elicitation.people import GRACE, people, signed_in
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded
from tests.portal.login.test_pages import in_both_schemes, page_without_scripts, readable
from tests.portal.oauth.agent import Agent
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
LONG = "a-server-with-a-very-long-name-" + "x" * 30


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_person_connects_and_logs_out_in_a_real_browser_without_scripts(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="files:read") as (_, host):
        async with (
            people(tmp_path, {"files": {"url": host.url}}) as portal,
            page_without_scripts() as (page, complaints),
        ):
            await page.goto(await portal.link())
            await page.get_by_label("E-mail").fill(EMAIL)
            await page.get_by_label("Password").fill(PASSWORD)
            await page.get_by_role("button", name="Sign in").click()
            await page.get_by_role("button", name="Connect: files").wait_for()
            await readable(page)
            await page.get_by_text("Log in with other permissions").click()
            await page.get_by_label("Permissions of files").fill("files:write")
            await page.get_by_role("button", name="Log in: files").click()
            await page.get_by_role("link", name=f"Go to {issuing.url}").wait_for()
            await readable(page)
            await page.get_by_role("link", name="Go to").click()
            await page.get_by_text("You can close this window").wait_for()
            await readable(page)
            assert "Permissions: files:read files:write" in await page.locator("main").inner_text()
            await page.get_by_role("button", name="Log out: files").click()
            await page.get_by_text("has taken its tokens back").wait_for()
            await readable(page)
            await page.get_by_role("link", name="Your servers").click()
            await page.get_by_role("button", name="Connect: files").wait_for()
            # Back at the page of the link.
            assert "elicitationId" in page.url
            assert [text for text in complaints if "responded with a status of 40" not in text] == []


async def test_every_page_is_as_axe_wants_it_in_the_light_and_in_the_dark(tmp_path: Path) -> None:
    axe = axe_source()
    async with login_authority() as issuing, protected(issuing) as (_, host), hosted() as plain:
        servers = {
            "files": {"url": host.url, "description": "Documents and reports. " * 10},
            LONG: {"url": host.url},
            "shared": {"url": host.url, "onBehalf": False},
            "plain": {"url": plain.url},
        }
        async with people(tmp_path, servers) as portal, chromium() as launched:
            link = await portal.link(files="Nobody has logged in to it.", shared="")
            async with signed_in(portal, issuing.url) as browser:
                cookies = [
                    {"name": name, "value": value, "url": portal.url} for name, value in browser.client.cookies.items()
                ]
            context = await launched.new_context(viewport={"width": 375, "height": 740})
            await context.add_cookies(cookies)  # type: ignore[arg-type]
            page = await context.new_page()

            async def check(name: str) -> None:
                await in_both_schemes(page, axe, f"own-servers-{name}")

            async with httpx2.AsyncClient(trust_env=False) as http:
                agent = Agent(cast(Guarded, portal), http)
                await agent.register(client_name="An agent with a name")
            await page.goto(agent.authorize_url())
            await page.get_by_role("button", name="Allow").click()
            await page.get_by_role("button", name="Continue to An agent with a name").wait_for()
            await check("agent")
            await page.goto(link)
            for summary in await page.locator("summary").all():
                await summary.click()
            await check("asked")
            await page.get_by_role("button", name="Connect: files").click()
            await page.get_by_role("link", name="Go to").wait_for()
            await check("leaving")
            await page.get_by_role("link", name="Go to").click()
            await page.get_by_role("button", name="Log out: files").wait_for()
            await check("connected")
            await page.goto(f"{portal.url}/servers?elicitationId=ended")
            await check("ended")
            await page.goto(f"{portal.url}/servers-callback")
            await check("no-login")
            async with signed_in(portal, email=GRACE):
                theirs = await portal.elicitations.open(await portal.account(GRACE), {"files": ""})
            await page.goto(f"{portal.url}/authorize?elicitationId={theirs}")
            await check("somebody-else")
