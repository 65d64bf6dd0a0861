"""A server of the admin API that asks who calls is told, by what its own setting says, from one call to the next."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from portal.config.config import parse_config
from tests.portal.admin.ruled import Ruled, ruled_portal
from tests.portal.admin.test_served import eventually
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL
from tests.portal.oauth.agent import Agent
from tests.portal.oauth.test_served import META, tools
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
HEADER = "cf-access-jwt-assertion"


async def told(agent: Agent, upstream: Hosted) -> str:
    """The assertion that came with a call, "" without one."""
    answer = await agent.http.post(
        agent.portal.mcp,
        json={
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "crm_echo", "arguments": {"text": "x"}, "_meta": META},
        },
        headers={
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {agent.tokens['access_token']}",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": "crm_echo",
        },
    )
    assert '"isError":true' not in answer.text and answer.status_code == 200, answer.text
    return upstream.upstream.seen_headers[-1].get(HEADER, "")


def claims(token: str, portal: Ruled, audience: str) -> dict[str, Any]:
    key = jwt.PyJWKClient(f"{portal.url}/cdn-cgi/access/certs").get_signing_key_from_jwt(token)
    read: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=portal.url)
    return read


async def test_a_stored_server_is_told_who_calls_while_its_setting_says_so(tmp_path: Path) -> None:
    async with (
        hosted() as upstream,
        ruled_portal(tmp_path) as portal,
        browser_at(portal.url) as browser,
        httpx2.AsyncClient(trust_env=False) as http,
        httpx2.AsyncClient(headers=portal.headers(), trust_env=False) as admin,
    ):
        await portal.person()
        agent = Agent(portal, http)  # type: ignore[arg-type]
        await agent.log_in(browser)
        server = {"account_id": portal.account, "id": "crm", "name": "CRM", "hostname": upstream.url}
        servers = portal.access.ai_controls.mcp.servers
        extra = {"assertion_audience": "the-crm"}
        await servers.create(**server, auth_type="unauthenticated", extra_body=extra)
        everyone = {"name": "All", "decision": "allow", "include": [{"everyone": {}}]}
        via = [{"type": "via_mcp_server_portal", "mcp_server_id": "crm"}]
        await portal.access.applications.create(
            account_id=portal.account, type="mcp", name="CRM", destinations=via, policies=[everyone]
        )

        async def shown() -> bool:
            return "crm_echo" in (await tools(agent))[1]

        await eventually(shown)
        read = await asyncio.to_thread(claims, await told(agent, upstream), portal, "the-crm")
        assert (read["email"], read["aud"]) == (EMAIL, ["the-crm"])

        async def becomes(audience: str) -> None:
            """Once the setting says so."""
            url = portal.at("/access/ai-controls/mcp/servers/crm")
            changed = await admin.put(url, json={"assertion_audience": audience})
            assert changed.json()["result"]["assertion_audience"] == audience

            async def taken_up() -> bool:
                return portal.identity.assertions.audiences == ({"crm": audience} if audience else {})

            await eventually(taken_up)

        await becomes("another")
        read = await asyncio.to_thread(claims, await told(agent, upstream), portal, "another")
        assert read["aud"] == ["another"]
        await becomes("")
        assert await told(agent, upstream) == ""
        # A setting that is not sent stays.
        kept = await servers.update("crm", account_id=portal.account, name="Customers")
        assert kept.model_extra["assertion_audience"] == ""
        bent = await admin.put(portal.at("/access/ai-controls/mcp/servers/crm"), json={"assertion_audience": "a\r\nb"})
        assert bent.status_code == 400
        # What is written in the operator's document stands before it, from when the document says so.
        written = {"crm": {"url": upstream.url, "assertionAudience": "written"}}
        document = {"mcpServers": written, "portal": {"state": new_state(tmp_path), "identity": {}}}
        assert await portal.instance.apply(parse_config(document)) == ()

        async def as_written() -> bool:
            return portal.identity.assertions.audiences == {"crm": "written"}

        await eventually(as_written)
