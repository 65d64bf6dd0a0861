"""The whole way of a new administrator: from the first start of a portal to an agent that has worked and is ended.

`codemode serve`, the MCP server, the agent and the browser are real, and everything between them is clicked and typed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation
from playwright.async_api import Locator, Page, Response, expect

from portal.home import CODE_MODE
from tests.clients.first_connection import Memory, signing_in
from tests.clients.serving import Served, serving
from tests.patience import PATIENCE
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, Administered, opened
from tests.portal.login.guarded import EMAIL, PASSWORD
from tests.portal.portals import MODERN
from tests.portal.upstreams.hosting import served_process

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
DOCUMENT = {
    "mcpServers": {},
    "portal": {"state": "sqlite:///state.db", "identity": {}, "logs": {"contents": {"programs": True}}},
}
AGENT = "Research agent"
FIRST_GATE, SECOND_GATE = "structured", "pid"
"""Tools of the server: the program waits until somebody has called them."""
PROGRAM = f"""const first = await codemode.notes.echo({{text: "a"}})
await codemode.notes.journal({{text: "call {FIRST_GATE}"}})
const more = await Promise.all([
  codemode.notes.echo({{text: "b"}}),
  codemode.notes.echo({{text: "c"}}),
])
await codemode.notes.journal({{text: "call {SECOND_GATE}"}})
return [first, ...more]"""
EXPECTED_WARNINGS = {"no servers", "for the operator", "the portal was claimed by its first administrator"}


@dataclass
class Newcomer:
    """Ada, who has never seen the portal. `axe` looks at every page on her way, "" where no script runs. `refused` are
    the addresses that her browser asked for in vain."""

    admin: Administered
    axe: str
    refused: list[str] = field(default_factory=list)

    @property
    def page(self) -> Page:
        return self.admin.page

    def begins(self) -> None:
        self.page.set_default_timeout(1000 * PATIENCE)
        self.page.on("response", self._note)

    def _note(self, response: Response) -> None:
        if response.status >= 400:
            self.refused.append(f"{response.status} {response.url}")

    async def reads(self, heading: str, picture: str) -> None:
        """The page with this heading, which everybody can read."""
        await self.page.get_by_role("heading", name=heading, exact=True, level=1).wait_for()
        if self.axe:
            await self.admin.check(self.axe, PICTURES, f"walk-{picture}")

    async def goes_to(self, part: str) -> None:
        """Follow the navigation of the console."""
        navigation = self.page.get_by_role("navigation", name="Console", exact=True)
        await navigation.get_by_role("link", name=part, exact=True).click()

    async def fills_in(self, **fields: str) -> None:
        for label, text in fields.items():
            await self.page.get_by_label(label.replace("_", " ")).last.fill(text)

    async def claims(self, link: str) -> None:
        await self.page.goto(link)
        await self.reads("Claim this portal", "claim")
        await self.fills_in(Name="Ada", **{"E-mail": EMAIL}, Password=PASSWORD)
        await self.admin.press("Claim")
        await self.reads("First steps", "first-steps")

    async def takes_the_first_steps(self, upstream: str) -> None:
        page = self.page
        await page.get_by_role("link", name="Begin: Name and address").click()
        await self.reads("Name and address", "name")
        await self.fills_in(Name="Acme tools")
        await self.admin.press("Save and go on")
        await self.reads("How people sign in", "sign-in")
        await page.get_by_label("Method").select_option(label="A PIN by e-mail")
        await self.admin.press("Save and go on")
        await self.reads("The first MCP server", "server")
        await self.fills_in(HTTP_URL=upstream, Server_ID="notes")
        await self.admin.press("Save and go on")
        await self.reads("The first policy", "policy")
        await self.fills_in(**{"E-mail addresses": EMAIL})
        await self.admin.press("Save and go on")
        await self.reads("Connect an agent", "agent")
        await expect(page.locator(".paste").first).to_have_text(f"{self.admin.url}/mcp{CODE_MODE}")

    async def signs_out(self) -> None:
        await self.page.get_by_role("link", name="Sign out").click()
        await self.reads("Sign out", "sign-out")
        await self.admin.press("Sign out of this browser")
        await self.page.get_by_role("heading", name="You are signed out").wait_for()

    async def lets_in(self, link: str) -> None:
        """What the browser shows when the agent opens it."""
        await self.page.goto(link)
        await self.reads("Sign in to Acme tools", "login")
        await self.fills_in(**{"E-mail": EMAIL}, Password=PASSWORD)
        await self.admin.press("Sign in")
        await self.reads(f"Allow {AGENT} to use Acme tools?", "consent")
        await self.page.get_by_role("button", name="Allow").click()
        await self.page.wait_for_url(re.compile("/callback"))

    async def is_asked_again(self, link: str) -> None:
        await self.page.goto(link)
        await self.reads(f"Allow {AGENT} to use Acme tools?", "consent-again")

    async def sees(self, what: Locator, count: int) -> None:
        """Until there are so many. Without scripts she loads the page again."""
        if self.axe:
            await expect(what).to_have_count(count)
            return
        async with asyncio.timeout(PATIENCE):
            while await what.count() != count:
                await self.page.reload()

    async def watches_the_run(self, upstream: str) -> None:
        """From the list of those under way to the page of one that goes on as it is looked at, and ends."""
        page, bars, waiting = self.page, self.page.locator("[id^='call-']"), self.page.locator(".mark.open")
        await page.goto(f"{self.admin.url}/admin")
        await self.reads("Overview", "overview")
        await self.goes_to("Runs")
        row = page.get_by_role("row").filter(has=page.get_by_role("button", name="End"))
        await expect(row).to_contain_text(EMAIL)
        await expect(row).to_contain_text(AGENT)
        await self.reads("Runs", "runs")
        await row.get_by_role("link").first.click()
        await self.sees(bars, 2)
        await self.sees(waiting, 1)
        if self.axe:
            await self.admin.check(self.axe, PICTURES, "walk-run-under-way")
            await page.evaluate("window.sameDocument = true")
        await calls(upstream, FIRST_GATE)
        await self.sees(bars, 5)
        await self.sees(waiting, 1)
        await calls(upstream, SECOND_GATE)
        await self.sees(waiting, 0)
        await expect(page.locator(".tiles")).to_contain_text("Ok")
        if self.axe:
            assert await page.evaluate("window.sameDocument"), "the page was loaded again"

    async def reads_the_program_beside_its_calls(self) -> None:
        page = self.page
        await page.get_by_role("link", name="Show the program").click()
        await expect(page.locator(".listing li")).to_have_count(len(PROGRAM.splitlines()))
        await expect(page.locator("#L4 .margin a")).to_have_count(1)
        if self.axe:
            await self.admin.check(self.axe, PICTURES, "walk-run-ended")
        program, picture = [await page.locator(one).bounding_box() for one in (".run-program", ".run-picture")]
        assert program is not None and picture is not None
        assert program["x"] >= picture["x"] + picture["width"] or picture["x"] >= program["x"] + program["width"]

    async def ends_the_agent(self) -> None:
        page = self.page
        await self.goes_to("People")
        await self.reads("People", "people")
        await page.get_by_role("main").get_by_role("link", name=EMAIL).click()
        await self.reads(EMAIL, "person")
        await page.get_by_role("link", name=f"End: {AGENT}").click()
        await self.reads(f"End {AGENT}?", "end-agent")
        await self.fills_in(**{"To go on, type": AGENT})
        await self.admin.press("End it")
        await page.get_by_text("Its tokens are good no longer").wait_for()
        await self.reads(EMAIL, "person-without-agent")


async def calls(upstream: str, tool: str) -> None:
    """Somebody else calls a tool of the server, past the portal."""
    async with Client(upstream, mode=MODERN, cache=None) as client:
        await client.call_tool(tool, {"text": "x"})


@dataclass
class Agent:
    """A client of the SDK. `statuses` are those of the answers that it got at the MCP endpoint. `asks_again` is set
    when it wants to be let in once more."""

    client: Client
    statuses: list[int]
    asks_again: asyncio.Event

    async def runs(self, program: str) -> Any:
        return (await self.client.call_tool("code", {"code": program})).structured_content


@asynccontextmanager
async def agent_of(ada: Newcomer) -> AsyncIterator[Agent]:
    """An agent that registers itself, and is let in by her in her browser, once. Later it gets no answer."""
    statuses: list[int] = []
    asks_again = asyncio.Event()
    info = Implementation(name=AGENT, version="1")
    url = f"{ada.admin.url}/mcp{CODE_MODE}"

    async def let_in(link: str) -> None:
        if 200 in statuses:
            await ada.is_asked_again(link)
            asks_again.set()
            await asyncio.Event().wait()
        await ada.lets_in(link)

    async def note(response: httpx2.Response) -> None:
        if response.url.path == "/mcp":
            statuses.append(response.status_code)

    async with (
        signing_in(url, Memory(), let_in, AGENT) as auth,
        httpx2.AsyncClient(auth=auth, timeout=PATIENCE, trust_env=False, event_hooks={"response": [note]}) as http,
        Client(streamable_http_client(url, http_client=http), mode=MODERN, cache=None, client_info=info) as client,
    ):
        yield Agent(client, statuses, asks_again)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_new_administrator_comes_from_the_first_start_to_a_run_that_is_watched_and_an_agent_that_is_ended(
    tmp_path: Path, scripts: bool
) -> None:
    axe = axe_source() if scripts else ""
    async with served_process("http") as (upstream, _), chromium() as browser:
        with serving(DOCUMENT, tmp_path) as served:
            url = served.url.removesuffix("/mcp")
            link = served.event("for the operator")["text"].split()[-1]
            async with opened(url, browser, scripts=scripts) as admin:
                ada = Newcomer(admin, axe)
                ada.begins()
                await ada.claims(link)
                await ada.takes_the_first_steps(upstream)
                await ada.signs_out()
                async with agent_of(ada) as agent:
                    assert [tool.name for tool in (await agent.client.list_tools()).tools] == ["code"]
                    running = asyncio.create_task(agent.runs(PROGRAM))
                    await ada.watches_the_run(upstream)
                    assert (await running)["result"] == ["a", "b", "c"]
                    await ada.reads_the_program_beside_its_calls()
                    await ada.ends_the_agent()
                    refused = asyncio.create_task(agent.runs("return 1"))
                    async with asyncio.timeout(PATIENCE):
                        await agent.asks_again.wait()
                    assert agent.statuses[-1] == 401 and not refused.done()
                    refused.cancel()
                    await asyncio.gather(refused, return_exceptions=True)
                assert ada.refused == []
            nothing_failed(served)


def nothing_failed(served: Served) -> None:
    """The portal ended well, and logged no trouble on the way."""
    assert served.stop() == 0
    served.rest()
    levels = {"error", "critical", "warning"}
    odd = [one for one in served.events if one.get("level") in levels and one["event"] not in EXPECTED_WARNINGS]
    assert odd == [] and not [one for one in served.events if one["event"] == "text"]
