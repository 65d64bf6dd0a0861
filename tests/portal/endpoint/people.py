"""A portal where people sign in, over a server that wants a login of each of them, and clients of these people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.patience import PATIENCE
from tests.portal.credentials.authority import Authority, Protected, authority, protected, saved_login
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import PASSWORD, Guarded, guarded_portal, sign_in
from tests.portal.oauth.agent import Agent, answer_in
from tests.portal.portals import MODERN
from tests.portal.upstreams.hosting import Hosted

ECHO = {"text": "hello"}


@dataclass
class Place:
    """A portal where people sign in, over a server that wants a login of each of them."""

    portal: Guarded
    issuing: Authority
    guard: Protected
    host: Hosted
    tokens: dict[str, str] = field(default_factory=dict)

    async def agent_of(self, email: str) -> str:
        """The access token of an agent of this person."""
        return await token_of(self.portal, email)

    def http(self, token: str = "") -> httpx2.AsyncClient:
        return client_with(token)

    async def log_in(self, email: str) -> str:
        """The access token at the server of a new login of this person."""
        subject = (await self.portal.account(email)).key
        return await saved_login(self.portal.store, self.issuing, self.host, subject, "fix")

    @asynccontextmanager
    async def client(self, token: str, mode: str, *, code: bool = False, **options: Any) -> AsyncIterator[Client]:
        async with self.http(token) as http:
            url = self.portal.mcp + ("?codemode=search_and_execute" if code else "")
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, mode=mode, cache=None, **options) as client:
                yield client

    async def raw(self, token: str, capabilities: Mapping[str, Any], **params: Any) -> dict[str, Any]:
        """The result of a call of a 2026-07-28 client with these capabilities."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": dict(capabilities),
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        }
        sent = {"name": "fix_echo", "arguments": ECHO, **params, "_meta": meta}
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": MODERN,
            "Mcp-Method": "tools/call",
            "Mcp-Name": str(sent["name"]),
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": sent}
        async with self.http(token) as http:
            mode = "?codemode=search_and_execute" if sent["name"] == "code" else ""
            answer = await http.post(self.portal.mcp + mode, json=message, headers=headers)
        assert answer.headers["content-type"].startswith("application/json"), answer.text
        result: dict[str, Any] = answer.json()["result"]
        return result


def client_with(token: str = "") -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # As many connections as a test wants: what is tested is not the client's own limit.
    limits = httpx2.Limits(max_connections=None)
    return httpx2.AsyncClient(trust_env=False, timeout=PATIENCE, headers=headers, limits=limits)


async def token_of(portal: Guarded, email: str) -> str:
    """The access token of an agent of this person."""
    await portal.account(email)
    async with browser_at(portal.url) as browser, client_with() as http:
        agent = Agent(portal, http)
        assert (await agent.register()).status_code == 201
        page = await browser.open(agent.authorize_url())
        page = await sign_in(browser, page, email, PASSWORD)
        done = await browser.submit(page, "/authorize/consent", "allow")
        assert done.left_for
        await agent.exchange(answer_in(done.left_for)["code"])
        return str(agent.tokens["access_token"])


@asynccontextmanager
async def place_in(folder: Path, *, legacy: bool = False, **options: Any) -> AsyncIterator[Place]:
    """`options` are those of `guarded_portal`."""
    async with (
        authority() as issuing,
        protected(issuing, legacy=legacy) as (guard, host),
        guarded_portal(folder, upstream=host.url, **options) as portal,
    ):
        yield Place(portal, issuing, guard, host)


async def listed(place: Place, token: str) -> None:
    """Return when the tools of the server are listed for whoever has this token."""
    async with place.client(token, MODERN) as client:
        while "fix_echo" not in {tool.name for tool in (await client.list_tools()).tools}:
            pass


def text_of(result: Any) -> str:
    return str(result.content[0].text)
