"""A portal as its operator runs it: an agent's call arrives at a collector, where the document allows it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cloudflare import AsyncCloudflare

from tests.clients.serving import serving
from tests.forked import finished
from tests.patience import PATIENCE
from tests.portal.export.receivers import receiver
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL
from tests.portal.oauth.agent import Agent
from tests.portal.oauth.test_served import META, Address, claim
from tests.portal.state.databases import new_state
from tests.zygote import quick_entry

pytestmark = pytest.mark.anyio

HUSH = "hush-7f3a-5f0c"


def document(folder: Path, exports: dict[str, Any]) -> dict[str, Any]:
    return {
        "mcpServers": {"shop": quick_entry("portal.demo.shop")},
        "portal": {"state": new_state(folder), "identity": {}, "exports": exports},
    }


def api_token(state: str) -> Any:
    return finished("api-token", "ci", "--state", state, environment={"COLUMNS": "200"})


async def call(agent: Agent, tool: str) -> int:
    params = {"name": tool, "arguments": {}, "_meta": META}
    answer = await agent.http.post(
        agent.portal.mcp,
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        headers={
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {agent.tokens['access_token']}",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        },
    )
    return answer.status_code


async def test_a_call_arrives_at_a_collector_once_the_document_allows_it(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    async with receiver() as sink:
        with serving(document(tmp_path, {}), tmp_path) as served:
            address = Address(served.url)
            async with browser_at(address.url) as browser, httpx2.AsyncClient(trust_env=False) as http:
                agent = Agent(address, http)  # type: ignore[arg-type]
                await claim(served, browser)
                await agent.log_in(browser)
                made = await asyncio.to_thread(api_token, state)
                account = made.stderr.split("account ")[1].split(";")[0].strip()
                sdk = AsyncCloudflare(api_token=made.stdout.strip(), base_url=f"{address.url}/client/v4", max_retries=0)
                conf = f"{sink.url.replace('http:', 'https:')}/in?header_Authorization=Bearer%20{HUSH}"
                job = await sdk.logpush.jobs.create(account_id=account, destination_conf=conf, enabled=True)
                assert job is not None and job.id is not None
                assert await call(agent, "shop_list_orders") == 200

                async def until(said: str) -> None:
                    async with asyncio.timeout(PATIENCE):
                        while True:
                            found = await sdk.logpush.jobs.get(job.id or 0, account_id=account)
                            if found is not None and said in (found.error_message or ""):
                                return
                            await asyncio.sleep(0.05)

                await until("its address is not a public one")
                allowed = document(tmp_path, {"allowPrivate": True})
                (tmp_path / "codemode.json").write_text(json.dumps(allowed))
                served.event("configuration changed")
                conf = conf.replace("https:", "http:", 1)
                await sdk.logpush.jobs.update(job.id, account_id=account, destination_conf=conf)
                await sink.until(lambda: bool(sink.stored))
                await sdk.close()
    [record] = [one for each in sink.stored for one in each.records if one["ToolCallName"] == "list_orders"]
    assert (record["UserEmail"], record["ServerID"], record["Success"]) == (EMAIL, "shop", True)
    assert sink.stored[0].headers["authorization"] == f"Bearer {HUSH}"
    assert HUSH not in str(served.events)
    for file in (one for one in tmp_path.rglob("*") if one.is_file()):
        assert HUSH.encode() not in file.read_bytes(), file
