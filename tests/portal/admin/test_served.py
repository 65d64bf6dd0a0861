"""A served portal, run by its admin API: a server is added, allowed, used by an agent, and denied again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cloudflare import AsyncCloudflare

from tests.clients.serving import serving
from tests.forked import finished
from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.oauth.agent import Agent
from tests.portal.oauth.test_served import Address, claim, document, tools
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


def codemode(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = finished(*arguments, environment={"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return done


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.02)


async def test_a_server_added_and_allowed_through_the_api_is_used_by_an_agent_until_it_is_denied(
    tmp_path: Path,
) -> None:
    state = new_state(tmp_path)
    async with hosted() as upstream:
        with serving(document(tmp_path), tmp_path) as served:
            address = Address(served.url)
            async with browser_at(address.url) as browser, httpx2.AsyncClient(trust_env=False) as http:
                agent = Agent(address, http)  # type: ignore[arg-type]
                await claim(served, browser)
                await agent.log_in(browser)
                # Made by another process, over the same database.
                made = await asyncio.to_thread(codemode, "api-token", "ci", "--state", state)
                account = made.stderr.split("account ")[1].split(";")[0].strip()
                sdk = AsyncCloudflare(api_token=made.stdout.strip(), base_url=f"{address.url}/client/v4", max_retries=0)
                access: Any = sdk.zero_trust.access
                servers = access.ai_controls.mcp.servers
                await servers.create(
                    account_id=account, id="crm", auth_type="unauthenticated", hostname=upstream.url, name="CRM"
                )

                async def ready() -> bool:
                    read = await servers.read("crm", account_id=account)
                    return bool(read.status == "ready")

                await eventually(ready)
                # It is there, and nobody may use it: no policy says so.
                assert "crm_echo" not in (await tools(agent))[1]
                policy = await access.policies.create(
                    account_id=account, name="All", decision="allow", include=[{"everyone": {}}]
                )
                await access.applications.create(
                    account_id=account,
                    type="mcp",
                    name="CRM",
                    destinations=[{"type": "via_mcp_server_portal", "mcp_server_id": "crm"}],
                    policies=[{"id": policy.id}],
                )

                async def shown() -> bool:
                    return "crm_echo" in (await tools(agent))[1]

                async def hidden() -> bool:
                    return not await shown()

                await eventually(shown)
                await access.policies.update(
                    policy.id, account_id=account, name="None", decision="deny", include=[{"everyone": {}}]
                )
                await eventually(hidden)
                assert "shop_list_orders" in (await tools(agent))[1]
                # What the stored portal of this hostname says of code mode holds as well.
                portals = access.ai_controls.mcp.portals
                there = {"account_id": account, "hostname": "localhost", "name": "Here"}
                await portals.create(**there, id="here", code_mode="enforced")

                async def only_code() -> bool:
                    listed = (await tools(agent))[1]
                    return '"name":"code"' in listed and "shop_list_orders" not in listed

                async def plain() -> bool:
                    return "shop_list_orders" in (await tools(agent))[1]

                await eventually(only_code)
                await portals.update("here", account_id=account, allow_code_mode=False)
                await eventually(plain)
                await sdk.close()
    rotated = await asyncio.to_thread(codemode, "keys", "rotate", "--state", state)
    assert "under key" in rotated.stdout
