"""Data flow where people sign in: their clients, and rules, labels and reads through the admin API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cloudflare import AsyncCloudflare

from portal.admin import PREFIX
from portal.config import parse_config
from portal.state import plain
from tests.patience import PATIENCE
from tests.portal.flows.reading import LABELS, RULE
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.oauth.agent import Agent
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
FLOW = "/access/ai-controls/mcp/data-flow"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Place:
    """A portal over `crm` and `mail`, and two agents of one person."""

    portal: Guarded
    http: httpx2.AsyncClient
    one: Agent
    other: Agent
    urls: dict[str, str]
    state: str
    sdk: AsyncCloudflare

    async def call(self, agent: Agent, tool: str, client: str = "agent") -> str:
        """ "" for a call that was made, else the reason why not."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": client, "version": "1"},
        }
        params = {"name": tool, "arguments": {"text": "x"}, "_meta": meta}
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
            "Authorization": f"Bearer {agent.tokens['access_token']}",
        }
        body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
        answer = (await self.http.post(self.portal.mcp, json=body, headers=headers)).json()
        return str(answer["error"]["message"]) if "error" in answer else ""

    async def configure(self, labels: Any = LABELS, **flow: Any) -> None:
        entries = {id: {"url": url, **labels.get(id, {})} for id, url in self.urls.items()}
        settings = {"state": self.state, "identity": {}, "dataFlow": flow}
        await self.portal.instance.apply(parse_config({"mcpServers": entries, "portal": settings}, env={}))

    def at(self, path: str) -> str:
        return f"/accounts/{self.portal.admin.account_id}{FLOW}{path}"


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    state = new_state(folder)
    async with hosted() as crm, hosted() as mail:
        urls = {"crm": crm.url, "mail": mail.url}
        async with (
            guarded_portal(folder, servers=urls, state=state) as portal,
            httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http,
            browser_at(portal.url) as browser,
        ):
            await portal.account()
            one, other = Agent(portal, http), Agent(portal, http)
            await one.log_in(browser)
            await other.log_in(browser)
            token = (await portal.admin.tokens.create_with_all("t", "t")).value
            base = f"{portal.url}{PREFIX}"
            async with AsyncCloudflare(api_token=token, base_url=base, max_retries=0) as sdk:
                yield Place(portal, http, one, other, urls, state, sdk)


async def test_all_clients_of_a_person_are_one_and_none_gets_around_by_another_name(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.configure(rules=[RULE])
        assert here.one.client_id != here.other.client_id
        assert await here.call(here.one, "crm_echo") == ""
        assert "no-leaks" in await here.call(here.one, "mail_echo", client="another name")
        assert "no-leaks" in await here.call(here.other, "mail_echo")
        # Each client by its own, where that is set: by its registration, and not by the name that it gives itself.
        await here.configure(rules=[RULE], per="client")
        assert "no-leaks" in await here.call(here.one, "mail_echo", client="another name")
        assert await here.call(here.other, "mail_echo", client="agent") == ""


async def test_signing_out_everywhere_and_in_again_does_not_end_it(tmp_path: Path) -> None:
    async with place(tmp_path) as here, browser_at(here.portal.url) as browser:
        await here.configure(rules=[RULE])
        assert await here.call(here.one, "crm_echo") == ""
        person = next(iter(await here.portal.store.labels.of(None, here.portal.clock()))).person
        await here.portal.store.tokens.revoke_subject(person)
        again = Agent(here.portal, here.http)
        await again.log_in(browser)
        assert "no-leaks" in await here.call(again, "mail_echo")


async def test_a_rule_that_is_made_changed_and_removed_through_the_api_holds_at_once(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.configure()
        body = {**RULE, "all": True, "exempt": ["mail.structured"]}
        made = await here.sdk.post(here.at("/rules"), body=body, cast_to=object)
        rule = made["result"]  # type: ignore[index]
        assert {name: rule[name] for name in body} == body and rule["then"] == "deny"
        assert await here.call(here.one, "mail_echo") == ""
        assert await here.call(here.one, "crm_echo") == ""
        assert "no-leaks" in await here.call(here.one, "mail_echo")
        assert await here.call(here.one, "mail_structured") == ""
        with pytest.raises(Exception, match="already"):
            await here.sdk.post(here.at("/rules"), body=RULE, cast_to=object)
        await here.sdk.put(here.at(f"/rules/{rule['id']}"), body={**RULE, "target": ["public"]}, cast_to=object)
        assert await here.call(here.one, "mail_echo") == ""
        await here.sdk.delete(here.at(f"/rules/{rule['id']}"), cast_to=object)
        listed: Any = await here.sdk.get(here.at("/rules"), cast_to=object)
        assert listed["result"] == []


async def test_labels_of_a_server_and_of_tools_are_set_with_the_sdk(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.configure(labels={}, rules=[RULE])
        servers = here.sdk.zero_trust.access.ai_controls.mcp.servers
        account = here.portal.admin.account_id
        for id, labels in (("crm", ["confidential"]), ("mail", ["external"])):
            await servers.create(
                account_id=account,
                id=id,
                auth_type="unauthenticated",
                hostname=here.urls[id],
                name=id,
                extra_body={"labels": labels},
            )
        assert await here.call(here.one, "crm_echo") == ""
        assert "no-leaks" in await here.call(here.one, "mail_echo")
        tools: Any = [{"name": "echo", "labels": ["-external"]}]
        changed = await servers.update("mail", account_id=account, updated_tools=tools)
        assert changed.to_dict()["labels"] == ["external"]
        assert await here.call(here.one, "mail_echo") == ""
        assert "no-leaks" in await here.call(here.one, "mail_structured")
        for wrong in ({"labels": ["Big"]}, {"updated_prompts": [{"name": "greet", "labels": ["a"]}]}):
            with pytest.raises(Exception, match="400"):
                await servers.update("mail", account_id=account, extra_body=wrong)


async def test_an_administrator_sees_what_somebody_has_read_and_ends_it(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.configure(rules=[RULE])
        assert await here.call(here.one, "crm_echo") == ""
        listed: Any = await here.sdk.get(here.at("/reads"), cast_to=object)
        [person] = listed["result"]
        [read] = person["reads"]
        assert person["labels"] == ["confidential"]
        shown: Any = await here.sdk.get(here.at(f"/reads/{person['id']}"), cast_to=object)
        assert shown["result"] == person
        assert (read["label"], read["server"], read["tool"], read["portal"]) == ("confidential", "crm", "echo", "")
        assert read["client"] == here.one.client_id and read["until"] > read["at"]
        nobody: Any = await here.sdk.get(here.at("/reads"), options={"params": {"search": "nobody"}}, cast_to=object)
        assert nobody["result"] == []
        assert "no-leaks" in await here.call(here.one, "mail_echo")
        await here.sdk.delete(here.at(f"/reads/{person['id']}"), cast_to=object)
        assert await here.call(here.one, "mail_echo") == ""
        with pytest.raises(Exception, match="404"):
            await here.sdk.delete(here.at(f"/reads/{person['id']}"), cast_to=object)


async def test_a_stored_rule_that_cannot_be_read_allows_no_more_than_it_did(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.configure()
        await here.sdk.post(here.at("/rules"), body=RULE, cast_to=object)
        store = here.portal.store
        [rule] = await store.list(plain("data_flow_rule"))
        await store.replace(plain("data_flow_rule"), rule.id, {"name": "no-leaks"}, by="a mistake")
        await here.portal.instance._in_force(PATIENCE)
        assert await here.call(here.one, "crm_echo") == ""
        assert rule.id in await here.call(here.one, "mail_echo")
        assert rule.id in await here.call(here.one, "crm_echo")
