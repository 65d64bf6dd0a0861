"""The log of a served portal: an agent's calls are read and followed over the API, and its end ends the stream."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from cloudflare import AsyncCloudflare

from tests.clients.serving import serving
from tests.patience import PATIENCE
from tests.portal.admin.test_logs import MCP
from tests.portal.admin.test_served import codemode, eventually
from tests.portal.login.browser import browser_at
from tests.portal.oauth.agent import Agent
from tests.portal.oauth.test_served import META, Address, claim, document

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

PROGRAM = "const a = await codemode.shop.list_orders({}); const b = await codemode.shop.list_orders({}); return 1"


async def call(agent: Agent, name: str, arguments: dict[str, Any], query: str = "") -> str:
    answer = await agent.http.post(
        agent.portal.mcp + query,
        json={
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": arguments, "_meta": META},
        },
        headers={
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {agent.tokens['access_token']}",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": name,
        },
        timeout=PATIENCE,
    )
    return answer.text


async def test_what_an_agent_does_is_read_and_followed_over_the_api(tmp_path: Path) -> None:
    served_document = document(tmp_path)
    with serving(served_document, tmp_path) as served:
        address = Address(served.url)
        async with browser_at(address.url) as browser, httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(address, http)  # type: ignore[arg-type]
            await claim(served, browser)
            await agent.log_in(browser)
            made = await asyncio.to_thread(codemode, "api-token", "ci", "--state", served_document["portal"]["state"])
            account, token = made.stderr.split("account ")[1].split(";")[0].strip(), made.stdout.strip()
            sdk = AsyncCloudflare(api_token=token, base_url=f"{address.url}/client/v4", max_retries=0)

            async def read(path: str, **query: Any) -> Any:
                asked = f"/accounts/{account}{MCP}{path}"
                return await sdk.get(asked, cast_to=object, options={"params": query})

            stream = http.stream(
                "GET",
                f"{address.url}/client/v4/accounts/{account}{MCP}/logs/tail",
                params={"kind": "tool"},
                headers={"Authorization": f"Bearer {token}"},
                timeout=PATIENCE,
            )
            async with stream as response:
                lines = response.aiter_lines()
                assert await anext(lines) == "retry: 2000"
                await call(agent, "shop_list_orders", {})
                ran = await call(agent, "code", {"code": PROGRAM}, "?codemode=search_and_execute")
                assert "exec_" in ran
                seen: list[Any] = []
                async with asyncio.timeout(PATIENCE):
                    while len(seen) < 3:
                        line = await anext(lines)
                        seen += [orjson.loads(line[6:])] if line.startswith("data: ") else []
                assert [(one["server"], one["capability"], one["status"]) for one in seen] == [
                    ("shop", "list_orders", "success")
                ] * 3
                assert [one["call"] for one in seen] == [0, 1, 2] and seen[0]["client"] == "agent"
                assert seen[0]["email"] and seen[0]["protocol"] == "2026-07-28"

                async def has_run() -> bool:
                    return bool((await read("/logs", kind="run"))["result"])

                await eventually(has_run)
                detail = (await read(f"/logs/{seen[2]['id']}"))["result"]
                assert detail["run"]["kind"] == "run" and detail["calls"] == seen[1:]
                (run,) = (await read("/runs"))["result"]
                assert run["email"] == seen[0]["email"] and run["client"] == "agent" and run["log_id"]
                shown = (await read(f"/runs/{run['id']}"))["result"]
                assert [(one["log_id"], one["line"]) for one in shown["calls"]] == [
                    (seen[1]["id"], 1),
                    (seen[2]["id"], 1),
                ]
                assert shown["width"] == 1 and (await read("/runs", identity="nobody"))["result"] == []
                assert (await read("/servers/shop/logs", count=True))["result_info"]["total"] == "3"
                of_portal = (await read("/portals/_/logs"))["result"]
                assert sorted(one["kind"] for one in of_portal if one["kind"] in ("run", "tool")) == [
                    "run",
                    *["tool"] * 3,
                ]
                series = (await read("/analytics/tool-calls/timeseries"))["result"]
                assert series["total"] == series["series"][-1]["count"] + series["series"][-2]["count"] == 3
                sums = (await read("/analytics/sums", by="tool"))["result"]
                assert [(one["tool"], one["now"]["calls"]) for one in sums["groups"]] == [("list_orders", 3)]
                assert await asyncio.to_thread(served.stop) == 0
                rest = [line async for line in lines]
                assert "event: end" in rest and any("is being stopped" in line for line in rest)
            await sdk.close()
