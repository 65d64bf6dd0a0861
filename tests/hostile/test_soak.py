"""A portal that has signed in thousands of people and served thousands of strangers holds no more than before."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import httpx2
import pytest

from tests.deep import times
from tests.end_to_end.holding import assert_no_more, settled, state
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.oauth.agent import Agent
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts in /proc"),
]


PEOPLE_OF_A_CLIENT = 10
"""So many sign in with one client, one after the other. Each with one of their own would soon have to wait: a portal
takes 60 registrations a minute."""


@dataclass
class Clients:
    """The clients that agents have registered: `known` is the one that is used now."""

    known: str = ""
    uses: int = 0

    async def of(self, agent: Agent) -> None:
        """Give an agent its client: the one that is known, or a new one."""
        if self.uses % PEOPLE_OF_A_CLIENT == 0:
            assert (await agent.register()).status_code == 201
            self.known = agent.client_id
        agent.client_id = self.known
        self.uses += 1


async def sign_in_and_leave(portal: Guarded, number: int, persons: Clients, strangers: Clients) -> None:
    """A person with an agent: everything from the first page to signing out, from an address of their own."""
    address = {"x-forwarded-for": f"2001:db8:{number:x}::1"}
    async with browser_at(portal.url) as browser, httpx2.AsyncClient(trust_env=False, headers=address) as http:
        browser.client.headers.update(address)
        agent = Agent(portal, http)
        await persons.of(agent)
        assert (await agent.exchange((await agent.allowed(browser))["code"])).status_code == 200
        session = (await agent.use()).headers["mcp-session-id"]
        refreshed = await agent.refresh()
        assert refreshed.status_code == 200, refreshed.text
        shown = {"authorization": f"Bearer {agent.tokens['access_token']}", "mcp-session-id": session}
        assert (await http.delete(portal.mcp, headers=shown)).status_code == 200
        page = await browser.open("/logout")
        assert (await browser.submit(page, "/logout", "everywhere")).status == 200
        assert (await agent.use()).status_code == 401
    await be_turned_away(portal, address, strangers)


async def be_turned_away(portal: Guarded, address: dict[str, str], strangers: Clients) -> None:
    """A stranger: requests without a credential, with wrong ones, and logins that are begun and left."""
    async with browser_at(portal.url) as browser, httpx2.AsyncClient(trust_env=False, headers=address) as http:
        browser.client.headers.update(address)
        agent = Agent(portal, http)
        assert (await agent.use()).status_code == 401
        assert (await agent.use("no token")).status_code == 401
        await strangers.of(agent)
        await browser.open(agent.authorize_url())
        assert (await agent.exchange("no code")).status_code == 400


@pytest.mark.parametrize("people", times(15, 2000))
async def test_people_who_came_and_went_leave_nothing_behind(tmp_path: Path, people: int) -> None:
    proxies = [ip_network("127.0.0.0/8")]
    async with hosted() as upstream, guarded_portal(tmp_path, upstream=upstream.url, proxies=proxies) as portal:
        await portal.account()
        persons, strangers = Clients(), Clients()
        for number in range(1, 6):
            await sign_in_and_leave(portal, number, persons, strangers)
        before = await state()
        for number in range(6, 6 + people):
            await sign_in_and_leave(portal, number, persons, strangers)
        after = await settled(before)
    # The database has a thread for each of its connections, ten at most.
    assert_no_more(before, after, threads=10)
