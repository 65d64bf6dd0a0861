"""The whole path, of real parts: `codemode serve`, a certified OpenID provider, the SDKs of Cloudflare and of MCP.

A portal is claimed, and told by its admin API alone where people come from, which servers it has, and who may what.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from cloudflare import AsyncCloudflare
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata
from mcp.shared.exceptions import MCPError
from pydantic import AnyUrl

from portal.errors import DENIED
from tests.clients.first_connection import Memory
from tests.clients.serving import Served, serving
from tests.patience import PATIENCE
from tests.portal.admin.test_served import codemode, eventually
from tests.portal.login.browser import Browser, Page, browser_at
from tests.portal.login.test_providers import certified_provider, log_in_there
from tests.portal.oauth.agent import REDIRECT, Agent, answer_in
from tests.portal.oauth.test_served import Address, claim
from tests.portal.portals import MODERN
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.clients,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
NO_ACCESS = "That account does not have access"
NO_SERVERS = "No allowed servers available, check your Zero Trust Policies"
CODE, FEWER = "?codemode=search_and_execute", "?optimize_context=minimize_tools"
SETTINGS = {
    "server_id": "crm",
    "updated_tools": [{"name": "fail", "enabled": False}, {"name": "echo", "alias": "say"}],
    "updated_prompts": [{"name": "greet", "alias": "welcome"}],
}


@dataclass
class Place:
    """A served portal whose policies let the engineers of an identity provider use the server `crm`, not `docs`."""

    served: Served
    issuer: str
    sdk: AsyncCloudflare
    account: str
    crm: Hosted
    crm_policy: str
    docs_policy: str
    robots: Any

    @property
    def mcp(self) -> str:
        return self.served.url

    @property
    def url(self) -> str:
        return self.mcp.removesuffix("/mcp")

    @property
    def policies(self) -> Any:
        return self.sdk.zero_trust.access.policies

    async def decide(self, decision: str, name: str) -> None:
        """Make the policy of the server `crm` another one."""
        await self.policies.update(
            self.crm_policy, account_id=self.account, name=name, decision=decision, include=[{"everyone": {}}]
        )


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("portal")
    async with hosted() as crm, hosted() as docs:
        state = new_state(folder)
        with serving({"mcpServers": {}, "portal": {"state": state, "identity": {}}}, folder) as served:
            address = Address(served.url)
            async with browser_at(address.url) as browser:
                await claim(served, browser)
            made = await asyncio.to_thread(codemode, "api-token", "terraform", "--state", state)
            account = made.stderr.split("account ")[1].split(";")[0].strip()
            async with (
                certified_provider(f"{address.url}/login/callback") as issuer,
                AsyncCloudflare(api_token=made.stdout.strip(), base_url=f"{address.url}/client/v4") as sdk,
            ):
                yield await set_up(served, issuer, sdk, account, crm, docs)


async def set_up(served: Served, issuer: str, sdk: AsyncCloudflare, account: str, crm: Hosted, docs: Hosted) -> Place:
    """All that an administrator does, by the SDK."""
    trust: Any = sdk.zero_trust
    access, mcp = trust.access, trust.access.ai_controls.mcp
    config = {"client_id": "portal", "client_secret": "the secret of the portal", "issuer": issuer}
    company = await trust.identity_providers.create(account_id=account, name="Company", type="oidc", config=config)
    claim = {"claim_name": "groups", "claim_value": "engineers", "identity_provider_id": company.id}
    engineers = await access.groups.create(account_id=account, name="Engineers", include=[{"oidc": claim}])
    robot = await access.service_tokens.create(account_id=account, name="Nightly", duration="60m")

    async def policy(name: str, decision: str, rule: Mapping[str, Any]) -> str:
        made = await access.policies.create(account_id=account, name=name, decision=decision, include=[rule])
        return str(made.id)

    async def attach(name: str, *policies: str, **to: Any) -> None:
        links = [{"id": id, "precedence": place} for place, id in enumerate(policies, 1)]
        await access.applications.create(account_id=account, name=name, policies=links, **to)

    may = await policy("Engineers may", "allow", {"group": {"id": engineers.id}})
    crm_policy = await policy("CRM is open", "allow", {"group": {"id": engineers.id}})
    docs_policy = await policy("Docs are closed to engineers", "deny", {"group": {"id": engineers.id}})
    robots = await policy("Robots", "non_identity", {"service_token": {"token_id": robot.id}})
    for id, upstream in (("crm", crm), ("docs", docs)):
        await mcp.servers.create(account_id=account, id=id, name=id, hostname=upstream.url, auth_type="unauthenticated")
    await mcp.portals.create(
        account_id=account, id="team", name="Team", hostname="localhost", servers=[SETTINGS, {"server_id": "docs"}]
    )
    await attach("Team", may, robots, type="mcp_portal", domain="localhost")
    for id, policies in (("crm", [crm_policy]), ("docs", [docs_policy, robots])):
        via = [{"type": "via_mcp_server_portal", "mcp_server_id": id}]
        await attach(id, *policies, type="mcp", destinations=via)

    async def ready() -> bool:
        return all(server.status == "ready" for server in [s async for s in mcp.servers.list(account_id=account)])

    await eventually(ready)
    return Place(served, issuer, sdk, account, crm, crm_policy, docs_policy, robot)


async def at_the_company(place: Place, browser: Browser, url: str, who: str) -> Page:
    """Open a URL of the portal and sign in at the identity provider; what the portal shows then."""
    page = await browser.open(url)
    page = await browser.open(page.link("Sign in with Company"))
    return await log_in_there(browser, page, who)


class Person:
    """Somebody with a browser, who has an agent with the MCP SDK's client."""

    def __init__(self, place: Place, browser: Browser, who: str) -> None:
        self.place, self.browser, self.who = place, browser, who
        self.memory = Memory()
        self._answer: dict[str, str] = {}

    @asynccontextmanager
    async def agent(self, mode: str = "") -> AsyncIterator[Client]:
        metadata = OAuthClientMetadata(client_name="Agent", redirect_uris=[AnyUrl(REDIRECT)])
        auth = OAuthClientProvider(self.place.mcp, metadata, self.memory, self._redirect, self._callback)
        async with (
            httpx2.AsyncClient(auth=auth, timeout=PATIENCE, trust_env=False) as http,
            Client(streamable_http_client(self.place.mcp + mode, http_client=http), mode=MODERN, cache=None) as client,
        ):
            yield client

    async def _redirect(self, url: str) -> None:
        page = await at_the_company(self.place, self.browser, url, self.who)
        done = await self.browser.submit(page, "/authorize/consent", "allow")
        assert done.left_for, done.text
        self._answer = answer_in(done.left_for)

    async def _callback(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**{name: self._answer[name] for name in ("code", "state", "iss")})


@asynccontextmanager
async def person(place: Place, who: str) -> AsyncIterator[Person]:
    async with browser_at(place.url, place.issuer) as browser:
        yield Person(place, browser, who)


async def ran(client: Client, program: str) -> dict[str, Any]:
    answer = await client.call_tool("code", {"code": program})
    assert answer.structured_content is not None
    return dict(answer.structured_content)


async def test_somebody_unknown_is_shown_the_block_page_and_his_agent_gets_nothing(place: Place) -> None:
    async with (
        browser_at(place.url, place.issuer) as browser,
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        agent = Agent(place, http)  # type: ignore[arg-type]
        await agent.register()
        page = await at_the_company(place, browser, agent.authorize_url(), "eve")
        assert (page.status, page.left_for) == (403, "")
        assert f"<h1>{NO_ACCESS}</h1>" in page.html
        assert not any(form.action == "/authorize/consent" for form in page.forms)
        refused = await agent.use()
        assert (refused.status_code, "resource_metadata=" in refused.headers["www-authenticate"]) == (401, True)


async def test_a_member_of_a_group_sees_in_every_mode_what_the_policies_give_and_no_more(place: Place) -> None:
    async with person(place, "ada") as ada:
        async with ada.agent() as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert {name.partition("_")[0] for name in tools} == {"crm", "portal"}
            assert "crm_say" in tools and not tools & {"crm_echo", "crm_fail"}
            assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["crm_welcome"]
            assert (await client.call_tool("crm_say", {"text": "hello"})).content[0].text == "hello"  # type: ignore[union-attr]
            for attempt in (client.call_tool("docs_echo", {"text": "x"}), client.get_prompt("docs_greet")):
                with pytest.raises(MCPError, match="Docs are closed to engineers") as caught:
                    await attempt
                assert (caught.value.error.code, caught.value.error.data) == (DENIED, {"policy": place.docs_policy})
            with pytest.raises(MCPError) as caught:
                await client.call_tool("crm_fail", {"text": "x"})
            assert caught.value.error.data == {"policy": "tool-settings"}
        async with ada.agent(FEWER) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} - {"query"} == tools
            found = await client.call_tool("query", {"query": "echo hang fail"})
            assert {tool["name"] for tool in (found.structured_content or {})["tools"]} <= tools
            assert (await client.call_tool("query", {"names": ["docs_echo"]})).is_error
        async with ada.agent(CODE) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["code"]
            seen = await ran(client, "(await codemode.tools()).map(tool => tool.path ?? tool.name)")
            assert seen["result"] and all("docs" not in path and "fail" not in path for path in seen["result"])
            assert (await ran(client, "codemode.crm.say({text: 'hello'})"))["result"] == "hello"
            refused = await ran(client, "codemode.docs.echo({text: 'x'})")
            assert refused["status"] == "failed"


async def test_a_program_loses_a_server_in_the_middle_and_the_client_is_told(place: Place) -> None:
    program = """
      const before = await codemode.crm.say({text: "before"});
      await codemode.crm.hang({text: ""});
      try { await codemode.crm.say({text: "after"}); return "still there"; }
      catch (error) { return {before, kind: error.kind, message: error.message, data: error.data}; }
    """
    hangs = place.crm.upstream.journal.entries.count("call hang")
    async with person(place, "ada") as ada, ada.agent() as client, ada.agent(CODE) as coding:
        assert "crm_say" in {tool.name for tool in (await client.list_tools()).tools}
        await coding.list_tools()  # The SDK's client would ask for it after the call.
        running = asyncio.create_task(ran(coding, program))
        await place.crm.upstream.journal.wait("call hang", hangs + 1)
        async with client.listen(tools_list_changed=True) as listening, asyncio.timeout(PATIENCE):
            await place.decide("deny", "CRM is closed")
            assert await anext(aiter(listening))
        place.crm.upstream.release.set()
        answer = await running
        place.crm.upstream.release.clear()
        assert answer["result"]["before"] == "before"
        assert (answer["result"]["kind"], answer["result"]["data"]) == ("denied", {"policy": place.crm_policy})
        assert "CRM is closed" in answer["result"]["message"]
        assert [call["status"] for call in answer["calls"]] == ["ok", "ok", "denied"]
        for attempt in (client.list_tools(), client.list_prompts(), coding.list_tools()):
            with pytest.raises(MCPError) as caught:
                await attempt
            assert caught.value.error.message == NO_SERVERS
            # Two servers, each denied by a policy of its own: what is left is that none allows any.
            assert caught.value.error.data == {"policy": "default-deny"}
        async with client.listen(tools_list_changed=True) as listening, asyncio.timeout(PATIENCE):
            await place.decide("allow", "CRM is open")
            assert await anext(aiter(listening))
        assert "crm_say" in {tool.name for tool in (await client.list_tools()).tools}


async def test_a_service_token_comes_in_by_the_policy_for_it_until_it_is_deleted(place: Place) -> None:
    credentials = {
        "CF-Access-Client-Id": place.robots.client_id,
        "CF-Access-Client-Secret": place.robots.client_secret,
    }
    async with httpx2.AsyncClient(headers=credentials, timeout=PATIENCE, trust_env=False) as http:
        async with Client(streamable_http_client(place.mcp, http_client=http), mode=MODERN, cache=None) as client:
            assert {tool.name.partition("_")[0] for tool in (await client.list_tools()).tools} == {"docs", "portal"}
            with pytest.raises(MCPError) as caught:
                await client.call_tool("crm_hang", {"text": "x"})
            assert caught.value.error.code == DENIED
            assert set(caught.value.error.data) == {"policy"}
        agent = Agent(place, http)  # type: ignore[arg-type]
        await place.sdk.zero_trust.access.service_tokens.delete(place.robots.id, account_id=place.account)

        async def refused() -> bool:
            return (await agent.use()).status_code in {401, 403}

        await eventually(refused)


async def test_signing_out_everywhere_ends_the_agent_and_the_program_it_has_running(place: Place) -> None:
    program = """
      await codemode.crm.hang({text: ""});
      return await codemode.crm.say({text: "after"}).catch(error => ({kind: error.kind, data: error.data}));
    """
    hangs = place.crm.upstream.journal.entries.count("call hang")
    async with (
        person(place, "ada") as ada,
        ada.agent(CODE) as coding,
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        await coding.list_tools()
        assert ada.memory.tokens is not None and ada.memory.client is not None
        client = ada.memory.client
        agent = Agent(place, http, str(client.client_id), client.client_secret or "")  # type: ignore[arg-type]
        agent.tokens = ada.memory.tokens.model_dump()
        assert (await agent.use()).status_code == 200
        running = asyncio.create_task(ran(coding, program))
        await place.crm.upstream.journal.wait("call hang", hangs + 1)
        page = await ada.browser.open("/logout")
        await ada.browser.submit(page, "/logout", "everywhere")

        async def ended() -> bool:
            return (await agent.use()).status_code == 401

        await eventually(ended)
        place.crm.upstream.release.set()
        assert (await running)["error"]["name"] == "LoginEnded"
        place.crm.upstream.release.clear()
        renewed = await agent.refresh()
        assert (renewed.status_code, renewed.json()["error"]) == (400, "invalid_grant")
