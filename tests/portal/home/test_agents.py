"""A person's agents: each with its name, since when it is there, when it was last used, and a button that ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.oauth.settings import OAuthSettings
from tests.portal.app.many_portals import browser_of, http_client, many_portals, sign_in_at
from tests.portal.login.browser import Browser, Page, browser_at
from tests.portal.login.guarded import EVERYONE, Guarded, guarded_portal, sign_in
from tests.portal.oauth.agent import Agent, answer_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
END = "/logout/agent"


@asynccontextmanager
async def with_agents(
    folder: Path, *names: str, **settings: Any
) -> AsyncIterator[tuple[Guarded, Browser, list[Agent]]]:
    """A portal, the browser of a person, and the agents of these names that they let in."""
    async with (
        guarded_portal(folder, **settings) as portal,
        browser_at(portal.url) as browser,
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        await portal.account()
        agents = [Agent(portal, http) for _ in names]
        for agent, name in zip(agents, names, strict=True):
            await agent.log_in(browser, client_name=name)
        yield portal, browser, agents


async def end(browser: Browser, page: Page, name: str) -> Page:
    """Press the button beside the agent of this name."""
    _, _, after = page.html.partition(f"<bdi>{name}</bdi>")
    family = after.partition('name="agent" value="')[2].partition('"')[0]
    return await browser.submit(page, END, agent=family)


async def test_an_agent_is_shown_and_ends_with_its_button_and_the_others_go_on(tmp_path: Path) -> None:
    async with with_agents(tmp_path, "Cursor", "Claude Code") as (_, browser, (cursor, claude)):
        assert (await cursor.use()).status_code == (await claude.use()).status_code == 200
        page = await browser.open("/")
        assert "It chose this name itself. Allowed just now, last used just now. Ends in 23 hours." in page.text
        done = await end(browser, page, "Cursor")
        assert done.status == 200 and "Cursor is signed out" in done.text and done.link("Back") == "/"
        assert (await cursor.use()).status_code == 401
        assert (await cursor.refresh()).json()["error"] == "invalid_grant"
        assert (await claude.use()).status_code == 200
        page = await browser.open("/")
        assert "<bdi>Cursor</bdi>" not in page.html and "<bdi>Claude Code</bdi>" in page.html


async def test_without_agents_the_page_says_how_one_comes_there(tmp_path: Path) -> None:
    async with with_agents(tmp_path) as (_, browser, _):
        assert "None yet." in (await sign_in(browser, await browser.open("/login"))).text


async def test_a_button_works_once(tmp_path: Path) -> None:
    async with with_agents(tmp_path, "Cursor") as (_, browser, _):
        page = await browser.open("/")
        assert (await end(browser, page, "Cursor")).status == 200
        assert (await end(browser, page, "Cursor")).status == 404


async def test_nobody_ends_the_agent_of_somebody_else_or_without_a_form_of_ours(tmp_path: Path) -> None:
    async with with_agents(tmp_path, "Cursor") as (portal, browser, (cursor,)):
        page = await browser.open("/")
        family = page.form(END).fields["agent"]
        await portal.account("eve@example.com")
        async with browser_at(portal.url) as other, httpx2.AsyncClient(trust_env=False) as http:
            hers = Agent(portal, http)
            await hers.register(client_name="Hers")
            await sign_in(other, await other.open("/login"), email="eve@example.com")
            assert (await hers.exchange((await hers.allowed(other))["code"])).status_code == 200
            assert "<bdi>Cursor</bdi>" not in (await other.open("/")).html
            refused = await other.submit(await other.open("/"), END, agent=family)
            assert refused.status == 404
        sent = await browser.client.post(f"{portal.url}{END}", data={"agent": family, "form_token": "0" * 64})
        assert sent.status_code == 403
        async with browser_at(portal.url) as stranger:
            # A form of a browser in which nobody is signed in leads to signing in.
            token = (await stranger.open("/login")).form("/login/password").fields["form_token"]
            data = {"agent": family, "form_token": token}
            assert (
                (await stranger.client.post(f"{portal.url}{END}", data=data)).headers["location"].startswith("/login")
            )
        assert (await cursor.use()).status_code == 200


async def test_a_refresh_counts_as_a_use_and_since_when_it_is_there_stays(tmp_path: Path) -> None:
    oauth = OAuthSettings(grant_duration=timedelta(days=10))
    async with with_agents(tmp_path, "Cursor", oauth=oauth) as (portal, browser, (cursor,)):
        for _ in range(3):
            portal.clock.ahead += timedelta(hours=2, minutes=1)
            assert (await cursor.refresh()).status_code == 200
        portal.clock.ahead += timedelta(minutes=20, seconds=1)
        assert "Allowed 6 hours ago, last used 20 minutes ago. Ends in 9 days." in (await browser.open("/")).text


async def test_an_access_token_that_lives_long_has_its_uses_noted_once_an_hour(tmp_path: Path) -> None:
    oauth = OAuthSettings(access_lifetime=timedelta(days=2), grant_duration=timedelta(days=3))
    async with with_agents(tmp_path, "Cursor", oauth=oauth) as (portal, browser, (cursor,)):

        async def shown_after(later: timedelta) -> str:
            portal.clock.ahead += later
            assert (await cursor.use()).status_code == 200
            await portal.identity.uses.settled()
            return (await browser.open("/")).text.partition("last used ")[2].partition(".")[0]

        # The verifier asks the database again after seconds of the machine's clock: here, of the portal's.
        portal.identity.verifier._clock = lambda: portal.clock.ahead.total_seconds()
        assert await shown_after(timedelta(minutes=50)) == "50 minutes ago"
        assert await shown_after(timedelta(hours=5)) == "just now"
        assert await shown_after(timedelta(minutes=30)) == "30 minutes ago"
        assert await shown_after(timedelta(minutes=31)) == "just now"


async def test_a_portal_shows_the_agents_that_were_let_in_there(tmp_path: Path) -> None:
    async with many_portals(tmp_path, policies=[EVERYONE]) as many, browser_of(many) as browser, http_client() as http:
        await many.account()
        await sign_in_at(browser, many.own)
        for place in (many.docs, many.hosted):
            agent = Agent(place, http)  # type: ignore[arg-type]
            await sign_in_at(browser, place)
            await agent.register(client_name=f"Agent of {place.id}")
            page = await browser.open(agent.authorize_url())
            done = await browser.submit(page, f"{place.prefix}/authorize/consent", "allow")
            assert (await agent.exchange(answer_in(done.left_for)["code"])).status_code == 200
        for place, known in ((many.docs, ["docs"]), (many.hosted, ["hosted"]), (many.own, list[str]())):
            page = await browser.open(f"{place.url}/")
            assert [id for id in ("docs", "hosted") if f"<bdi>Agent of {id}</bdi>" in page.html] == known
        assert "Agent of docs" in (await browser.open(f"{many.own.url}/logout")).text
