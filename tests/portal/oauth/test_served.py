"""A portal with identity as its operator starts it: claimed, signed in to, used by an agent, kept by policies."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clients.serving import Served, serving
from tests.patience import PATIENCE
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, sign_in
from tests.portal.oauth.agent import Agent, answer_in
from tests.portal.state.databases import new_state
from tests.zygote import quick_entry

pytestmark = pytest.mark.anyio


class Address:
    """What an agent needs to know of a portal."""

    def __init__(self, url: str) -> None:
        self.mcp = url
        self.url = url.removesuffix("/mcp")


def document(folder: Path, **identity: Any) -> dict[str, Any]:
    return {
        "mcpServers": {"shop": quick_entry("portal.demo.shop")},
        "portal": {"state": new_state(folder), "identity": identity},
    }


async def claim(portal: Served, browser: Browser) -> None:
    text = str(portal.event("for the operator")["text"])
    found = re.search(r"/login/claim\?token=\S+", text)
    assert found is not None, text
    page = await browser.open(found[0])
    await browser.submit(page, "/login/claim", name="Ada", email=EMAIL, password=PASSWORD)


async def tools(agent: Agent) -> tuple[int, str]:
    answer = await agent.http.post(
        agent.portal.mcp,
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}},
        headers={
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {agent.tokens['access_token']}",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/list",
        },
    )
    return answer.status_code, answer.text


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "agent", "version": "1"},
}


async def test_a_served_portal_is_claimed_signed_in_to_and_used(tmp_path: Path) -> None:
    with serving(document(tmp_path), tmp_path) as served:
        address = Address(served.url)
        async with browser_at(address.url) as browser, httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(address, http)  # type: ignore[arg-type]
            assert (await http.get(f"{address.url}/healthz")).json() == {"status": "ok"}
            assert (await agent.use()).status_code == 401
            await claim(served, browser)
            await agent.log_in(browser)
            status, listed = await tools(agent)
            assert (status, "shop_list_orders" in listed) == (200, True)
    assert (tmp_path / "state.key").stat().st_mode & 0o777 == 0o600
    # The same store again: the administrator is known, the agent still signed in, and other policies hold.
    nobody = {"decision": "allow", "name": "Grace only", "include": [{"email": {"email": "grace@example.com"}}]}
    with serving(document(tmp_path, policies=[{"id": "p1", **nobody}], pin=True), tmp_path) as served:
        again = Address(served.url)
        async with browser_at(again.url) as browser, httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(again, http)  # type: ignore[arg-type]
            await agent.register()
            page = await sign_in(browser, await browser.open(agent.authorize_url()))
            assert (page.status, "That account does not have access" in page.text) == (403, True)
            assert "for the operator" not in [event.get("event") for event in served.events]
            async with browser_at(again.url) as other:
                page = await other.submit(
                    await other.open(agent.authorize_url()), "/login/pin", email="grace@example.com"
                )
                pin = re.search(r"is (\d{6})", str(served.event("for the operator")["text"]))
                assert pin is not None
                page = await other.submit(page, "/login/pin/check", pin=pin[1])
                done = await other.submit(page, "/authorize/consent", "allow")
                assert (await agent.exchange(answer_in(done.left_for)["code"])).status_code == 200
                assert (await tools(agent))[0] == 200
            changed = document(tmp_path, policies=[{"id": "p2", **nobody, "decision": "deny", "name": "Nobody"}])
            (tmp_path / "codemode.json").write_text(json.dumps(changed))
            served.event("configuration changed")
            async with asyncio.timeout(PATIENCE):
                while (refused := await tools(agent))[0] == 200:
                    pass
            assert "'Nobody'" in refused[1] or "Nobody" in refused[1]
            assert refused[0] == 403
