"""The pages in a real browser: they work without scripts, can be read by everybody, and nothing in them is blocked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx2
import pytest
from playwright.async_api import Page

from portal.login import Invitations, Passwords
from portal.pages import Design
from portal.pages.pages import style_sheet
from portal.state import plain
from tests.patience import PATIENCE
from tests.portal.axe import RUN, RUN_COLOURS, axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import keep_pictures
from tests.portal.login.guarded import EMAIL, PASSWORD, QUICK, guarded_portal
from tests.portal.oauth.agent import Agent, answer_in

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# What a screen reader needs: a name for each control, one heading of the first level, a language, a title.
UNNAMED = """() => [...document.querySelectorAll('input:not([type=hidden]), button, a, img')]
  .filter(one => !(one.labels?.length || one.textContent.trim() || one.getAttribute('alt')))
  .map(one => one.outerHTML)"""
CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number)
      .map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (color !== 'rgba(0, 0, 0, 0)') return color;
    }
    return 'rgb(255, 255, 255)';
  };
  return [...document.querySelectorAll('h1, h2, p, label, button, a, dt, dd')].map(one => {
    const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort((x, y) => y - x);
    return [one.textContent.trim(), (a + 0.05) / (b + 0.05)];
  }).filter(([, ratio]) => ratio < 4.5);
}"""


@asynccontextmanager
async def page_without_scripts() -> AsyncIterator[tuple[Page, list[str]]]:
    """A narrow page with scripts switched off, and what the browser complained about."""
    complaints: list[str] = []
    async with chromium() as browser:
        page = await browser.new_page(java_script_enabled=False, viewport={"width": 360, "height": 740})
        page.on("console", lambda message: complaints.append(message.text))
        yield page, complaints


async def readable(page: Page) -> None:
    # A click returns when the next page begins to arrive: its style sheet may still be on its way.
    await page.wait_for_load_state("load")
    assert await page.locator("h1").count() == 1
    assert await page.locator("html").get_attribute("lang") == "en"
    assert await page.title()
    assert await page.evaluate(UNNAMED) == []
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


async def in_both_schemes(page: Page, axe: str, name: str) -> None:
    """A page can be read, and is as axe wants it, in the light and in the dark. Its pictures get this name."""
    # A click returns when the next page begins to arrive.
    await page.wait_for_load_state("load")
    await page.evaluate(axe)
    for scheme, run in zip(SCHEMES, (RUN, RUN_COLOURS), strict=True):
        await page.emulate_media(color_scheme=scheme)
        await readable(page)
        assert await page.evaluate(run) == [], (page.url, scheme)
        lightness = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(lightness.removeprefix("rgb(").partition(",")[0]) < 128) is (scheme == "dark")
    await keep_pictures(page, name)


async def test_a_person_signs_in_and_allows_an_agent_in_a_real_browser_without_scripts(tmp_path: Path) -> None:
    arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode().split(" ")[1]
        if "code=" in line and not arrived.done():
            arrived.set_result(line)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(callback, "127.0.0.1", 0)
    async with listening, guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        await portal.account()
        await portal.store.create(plain("identity_provider"), "pin", {"name": "PIN", "type": "onetimepin"}, by="test")
        port = listening.sockets[0].getsockname()[1]
        agent = Agent(portal, http, redirect=f"http://127.0.0.1:{port}/callback")
        await agent.register()
        async with page_without_scripts() as (page, complaints):
            await page.goto(agent.authorize_url())
            await readable(page)
            await page.get_by_label("E-mail").last.fill(EMAIL)
            await page.get_by_label("Password").fill("wrong wrong wrong")
            await page.get_by_role("button", name="Sign in").click()
            await page.get_by_role("alert").wait_for()
            await readable(page)
            await page.get_by_label("E-mail").last.fill(EMAIL)
            await page.get_by_label("Password").fill(PASSWORD)
            await page.get_by_role("button", name="Sign in").click()
            await page.get_by_role("button", name="Allow").wait_for()
            await readable(page)
            await page.get_by_role("button", name="Allow").click()
            async with asyncio.timeout(PATIENCE):
                code = answer_in(await arrived)["code"]
            assert (await agent.exchange(code)).status_code == 200
            for path in ("/", "/logout"):
                await page.goto(portal.url + path)
                await readable(page)
            portal.rules.allowed = lambda identity: False
            await page.goto(agent.authorize_url())
            assert await page.locator("h1").text_content() == "That account does not have access"
            await readable(page)
            # A refusal's status, and the icon that browsers ask for unasked, are no fault of a page.
            assert [text for text in complaints if "responded with a status of 40" not in text] == []


async def test_every_page_is_as_axe_wants_it_in_the_light_and_in_the_dark(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        guarded_portal(tmp_path, contact="it@acme.example") as portal,
        httpx2.AsyncClient(trust_env=False) as http,
        chromium() as browser,
    ):
        claim = await portal.identity.administrators.offer_claim()
        await portal.store.create(plain("identity_provider"), "pin", {"name": "PIN", "type": "onetimepin"}, by="test")
        github = {"name": "GitHub", "type": "github", "config": {"client_id": "x"}}
        await portal.store.create(plain("identity_provider"), "github", github, by="test", secret=b"x")
        agent = Agent(portal, http)
        await agent.register()
        page = await browser.new_page(viewport={"width": 375, "height": 740})

        async def check(name: str) -> None:
            await in_both_schemes(page, axe, f"sign-in-{name}")

        async def look(path: str, name: str) -> None:
            await page.goto(portal.url + path)
            await check(name)

        await look(f"/login/claim?token={claim}", "claim")
        reset = await portal.identity.administrators.offer_reset((await portal.account()).id.partition(":")[2], by="t")
        invited = await Invitations(portal.store, Passwords(QUICK)).invite("eve@example.com", by="test")
        for path, name in (
            ("/", "stranger"),
            ("/nothing", "nothing-there"),
            ("/mcp", "address-of-agents"),
            ("/token", "address-of-programs"),
            ("/login/claim?token=x", "claimed-before"),
            ("/login/reset?token=x", "link-ended"),
            ("/authorize?client_id=x", "unknown-agent"),
            (f"/login/reset?token={reset.token}", "password"),
            (f"/login/invitation?token={invited.token}", "invitation"),
        ):
            await look(path, name)
        await portal.account("grace@example.com")
        await page.goto(agent.authorize_url())
        await check("methods")
        await page.get_by_label("E-mail").first.fill("ada@example.com")
        await page.get_by_role("button", name="Send me a PIN").click()
        await page.get_by_label("PIN").wait_for()
        await check("pin")
        await page.get_by_label("PIN").fill("000000x")
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("alert").wait_for()
        await check("pin-wrong")
        await page.goto(agent.authorize_url())
        await page.get_by_label("E-mail").last.fill("grace@example.com")
        await page.get_by_label("Password").fill("a wrong password")
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("alert").wait_for()
        await check("wrong")
        await page.get_by_label("E-mail").last.fill("grace@example.com")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("button", name="Allow").wait_for()
        await check("consent")
        await look("/logout", "out")
        portal.rules.allowed = lambda identity: False
        await page.goto(agent.authorize_url())
        await page.get_by_role("link", name="it@acme.example").wait_for()
        await check("refused")


def test_colours_that_somebody_chose_stay_in_the_dark() -> None:
    chosen = style_sheet(Design(background="#102030", text="#ffffff"))
    assert chosen.count("--background: #102030; --text: #ffffff") == 2
    assert style_sheet(Design()).count(f"--background: {Design().background}") == 1
