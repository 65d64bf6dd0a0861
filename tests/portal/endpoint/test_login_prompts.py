"""A call that needs a login of the person behind it, from clients of both generations and of every ability."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from portal.credentials import CredentialDocument, save_login
from portal.credentials.grants import SealedGrant
from portal.credentials.metadata import ServerMetadata
from portal.endpoint.login_prompts import ANSWER
from portal.state import CredentialKey
from tests.patience import PATIENCE
from tests.portal.credentials.authority import Authority, Protected, authority, protected
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded, guarded_portal, sign_in
from tests.portal.oauth.agent import Agent, answer_in
from tests.portal.portals import GENERATIONS, LEGACY, MODERN
from tests.portal.upstreams.hosting import Hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
BOB = "bob@example.com"
ECHO = {"text": "hello"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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
        await self.portal.account(email)
        async with browser_at(self.portal.url) as browser, self.http() as http:
            agent = Agent(self.portal, http)
            assert (await agent.register()).status_code == 201
            page = await browser.open(agent.authorize_url())
            page = await sign_in(browser, page, email, PASSWORD)
            done = await browser.submit(page, "/authorize/consent", "allow")
            assert done.left_for
            await agent.exchange(answer_in(done.left_for)["code"])
            return str(agent.tokens["access_token"])

    def http(self, token: str = "") -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.AsyncClient(trust_env=False, timeout=PATIENCE, headers=headers)

    async def log_in(self, email: str) -> str:
        """The access token at the server of a new login of this person."""
        subject, now, access = (await self.portal.account(email)).key, datetime.now(UTC), secrets.token_urlsafe(16)
        self.issuing.tokens[access] = ""
        key = CredentialKey(subject, "fix", self.issuing.issuer, self.host.url, "client")
        document = CredentialDocument(state="ready", granted_at=now, issued_at=now, expires_at=now + timedelta(hours=1))
        metadata = ServerMetadata(issuer=self.issuing.issuer, token_endpoint=f"{self.issuing.url}/token")
        await save_login(self.portal.store, key, document, SealedGrant(access=access, server=metadata))
        return access

    @asynccontextmanager
    async def client(self, token: str, mode: str, **options: Any) -> AsyncIterator[Client]:
        async with self.http(token) as http:
            transport = streamable_http_client(self.portal.mcp, http_client=http)
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
            "Mcp-Name": "fix_echo",
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": sent}
        async with self.http(token) as http:
            answer = await http.post(self.portal.mcp, json=message, headers=headers)
        assert answer.headers["content-type"].startswith("application/json"), answer.text
        result: dict[str, Any] = answer.json()["result"]
        return result


@asynccontextmanager
async def place_in(folder: Path, *, legacy: bool = False) -> AsyncIterator[Place]:
    async with (
        authority() as issuing,
        protected(issuing, legacy=legacy) as (guard, host),
        guarded_portal(folder, upstream=host.url) as portal,
    ):
        yield Place(portal, issuing, guard, host)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with place_in(tmp_path) as made:
        yield made


async def listed(place: Place, token: str) -> None:
    """Return when the tools of the server are listed for whoever has this token."""
    async with place.client(token, MODERN) as client:
        while "fix_echo" not in {tool.name for tool in (await client.list_tools()).tools}:
            pass


def text_of(result: Any) -> str:
    return str(result.content[0].text)


class Person:
    """Answers what a client is asked, after having logged in if the answer is "accept"."""

    def __init__(self, place: Place, email: str, action: str = "accept") -> None:
        self.place, self.email, self.action = place, email, action
        self.asked: list[Any] = []

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(params)
        if self.action == "accept":
            await self.place.log_in(self.email)
        return types.ElicitResult.model_validate({"action": self.action})


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_client_is_sent_to_the_page_and_the_call_goes_on_after_the_login(
    tmp_path: Path, mode: str, legacy: bool
) -> None:
    async with place_in(tmp_path, legacy=legacy) as place:
        first = await place.log_in(EMAIL)
        token = await place.agent_of(EMAIL)
        await listed(place, token)
        place.issuing.tokens.pop(first)
        person = Person(place, EMAIL)
        async with place.client(token, mode, elicitation_callback=person) as client:
            result = await client.call_tool("fix_echo", ECHO)
        assert (text_of(result), bool(result.is_error)) == ("hello", False)
        (asked,) = person.asked
        assert asked.url == f"{place.portal.url}/servers" and asked.url in asked.message
        assert "The server 'fix' needs a new login of yours: there is no access token for it" in asked.message


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_whoever_declines_gets_the_link_and_the_call_does_not_run(place: Place, mode: str) -> None:
    first = await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    place.issuing.tokens.pop(first)
    async with place.client(token, mode, elicitation_callback=Person(place, EMAIL, "decline")) as client:
        result = await client.call_tool("fix_echo", ECHO)
    assert result.is_error and text_of(result).startswith("The person has declined to log in. The server 'fix' needs")
    assert f"{place.portal.url}/servers" in text_of(result)
    assert place.host.upstream.seen_headers == []


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_client_that_can_ask_nobody_gets_a_result_with_the_link(place: Place, mode: str) -> None:
    first = await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    place.issuing.tokens.pop(first)
    async with place.client(token, mode) as client:
        result = await client.call_tool("fix_echo", ECHO)
        assert result.is_error and f"Log in here: {place.portal.url}/servers" in text_of(result)
        assert text_of(result).endswith("Then make the call again: it did not run.")
        with pytest.raises(MCPError, match="Log in here: "):
            await client.read_resource("test://one")
        await place.log_in(EMAIL)
        assert text_of(await client.call_tool("fix_echo", ECHO)) == "hello"


@pytest.mark.parametrize(
    ("elicitation", "members"),
    [({}, {"mode", "message", "requestedSchema"}), ({"form": {}}, {"mode", "message", "requestedSchema"}),
     ({"url": {}}, {"mode", "message", "url"}), ({"form": {}, "url": {}}, {"mode", "message", "url"})],
)  # fmt: skip
async def test_a_client_of_2026_is_asked_as_it_can_show_it_and_calls_again(
    place: Place, elicitation: dict[str, Any], members: set[str]
) -> None:
    first = await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    place.issuing.tokens.pop(first)
    asked = await place.raw(token, {"elicitation": elicitation})
    assert asked["resultType"] == "input_required" and "requestState" not in asked
    question = asked["inputRequests"][ANSWER]
    assert question["method"] == "elicitation/create" and question["params"].keys() == members
    assert f"{place.portal.url}/servers" in question["params"]["message"]
    await place.log_in(EMAIL)
    responses = {ANSWER: {"action": "accept", "content": {}}}
    done = await place.raw(token, {"elicitation": elicitation}, inputResponses=responses)
    assert done["content"][0]["text"] == "hello"


async def test_a_client_that_comes_back_too_early_waits_and_is_asked_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.login_prompts.PATIENCE", 0.1)
    first = await place.log_in(EMAIL)
    token = await place.agent_of(EMAIL)
    await listed(place, token)
    place.issuing.tokens.pop(first)
    responses = {ANSWER: {"action": "accept"}}
    again = await place.raw(token, {"elicitation": {"url": {}}}, inputResponses=responses)
    assert again["resultType"] == "input_required" and ANSWER in again["inputRequests"]


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_of_two_people_each_uses_their_own_login_and_sees_what_is_theirs(place: Place, mode: str) -> None:
    shown = {EMAIL: await place.log_in(EMAIL)}
    tokens = {email: await place.agent_of(email) for email in (EMAIL, BOB)}
    await listed(place, tokens[EMAIL])
    async with place.client(tokens[EMAIL], mode) as ada, place.client(tokens[BOB], mode) as bob:
        assert text_of(await ada.call_tool("fix_echo", ECHO)) == "hello"
        assert (await bob.list_tools()).tools == []
        with pytest.raises(MCPError, match=r"'fix' is not available: you have not logged in to it; log in at http"):
            await bob.call_tool("fix_echo", ECHO)
        shown[BOB] = await place.log_in(BOB)
        await listed(place, tokens[BOB])
        for client, email in ((bob, BOB), (ada, EMAIL)):
            assert text_of(await client.call_tool("fix_echo", ECHO)) == "hello"
            sent = place.host.upstream.seen_headers[-1]["authorization"]
            assert sent == f"Bearer {shown[email]}"


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_login_changes_the_lists_of_that_person_at_once(place: Place, mode: str) -> None:
    tokens = {email: await place.agent_of(email) for email in (EMAIL, BOB)}
    heard: dict[str, list[str]] = {EMAIL: [], BOB: []}

    def hearing(email: str) -> Any:
        async def handler(message: Any) -> None:
            heard[email].append(getattr(message, "method", ""))

        return handler

    async with (
        place.client(tokens[EMAIL], mode, message_handler=hearing(EMAIL)) as ada,
        place.client(tokens[BOB], mode, message_handler=hearing(BOB)) as bob,
    ):
        assert (await ada.list_tools()).tools == (await bob.list_tools()).tools == []
        if mode == LEGACY:
            await place.log_in(EMAIL)
            while "notifications/tools/list_changed" not in heard[EMAIL]:
                await ada.send_ping()
            assert heard[BOB] == []
        else:
            async with ada.listen(tools_list_changed=True) as changes:
                await place.log_in(EMAIL)
                await anext(aiter(changes))
        await listed(place, tokens[EMAIL])
        assert (await bob.list_tools()).tools == []
