"""Agents that run programs at a portal with a console, for pages on which runs are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded, sign_in
from tests.portal.oauth.agent import Agent
from tests.portal.portals import MODERN
from tests.portal.upstreams.hosting import Hosted

THREE = """const first = await codemode.fix.echo({text: "a"})
const all = await Promise.all([
  codemode.fix.hang({text: "1"}),
  codemode.fix.hang({text: "2"}),
  codemode.fix.hang({text: "3"}),
])
return [first, all.length]"""
"""Of its calls three hang at once, each at a line of its own, until the upstream releases them."""


@dataclass
class ProgramAgent:
    """An agent of a person, in code mode."""

    client: Client

    async def code(self, program: str) -> Any:
        return await self.client.call_tool("code", {"code": program})

    @asynccontextmanager
    async def running(self, program: str, upstream: Hosted) -> AsyncIterator[asyncio.Task[Any]]:
        """A block in which a program runs; it ends with the block at the latest."""
        task = asyncio.create_task(self.code(program))
        try:
            yield task
        finally:
            upstream.upstream.release.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def agent_of(portal: Guarded, email: str = EMAIL, name: str = "Agent") -> AsyncIterator[ProgramAgent]:
    """An agent that this person has let in."""
    await portal.account(email)
    async with browser_at(portal.url) as browser, httpx2.AsyncClient(trust_env=False) as http:
        await sign_in(browser, await browser.open(f"{portal.url}/login"), email, PASSWORD)
        agent = Agent(portal, http)
        await agent.log_in(browser, client_name=name)
    headers = {"Authorization": f"Bearer {agent.tokens['access_token']}"}
    url = f"{portal.mcp}?codemode=search_and_execute"
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE, trust_env=False) as bearer,
        Client(streamable_http_client(url, http_client=bearer), mode=MODERN, cache=None) as client,
    ):
        yield ProgramAgent(client)


async def stored(portal: Guarded) -> None:
    """Returns when everything is in the log that has ended by now."""
    shared = portal.instance.shared
    assert shared.log is not None
    await shared.log.stored()
    if shared.kept is not None:
        await shared.kept.stored()
