"""A portal whose store is in trouble: each kind of client is told in its own way, what needs no store goes on, and
everything works again afterwards without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from portal.admin import PREFIX
from tests.patience import PATIENCE
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded, guarded_portal
from tests.portal.oauth.agent import Agent
from tests.portal.state import troubles
from tests.portal.state.conftest import new_postgres_database, postgres, short_folder
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted

__all__ = ["postgres", "short_folder"]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

# What is promised. The waits are shorter here, so that a machine that does much else keeps it.
SOON = 5.0
HTML = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.state.database.PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr("portal.state.database.CARE_SECONDS", 0.1)
    monkeypatch.setattr("portal.state.database.MOST_CARE_SECONDS", 0.2)
    monkeypatch.setattr("portal.state.trouble.QUIET_SECONDS", 0.5)


@dataclass
class Place:
    """A portal with a person who is signed in, an agent that has just been used, and one that has not been yet."""

    portal: Guarded
    http: httpx2.AsyncClient
    browser: Browser
    used: Agent
    fresh: Agent
    unexchanged: Agent
    code: str
    api_token: str
    service: dict[str, str]

    async def call(self, agent: Agent, tool: str = "fix_echo", **arguments: Any) -> httpx2.Response:
        return await self.mcp(agent.tokens["access_token"], tool, **arguments)

    async def mcp(self, token: str, tool: str = "fix_echo", **arguments: Any) -> httpx2.Response:
        return await self.http.post(self.portal.mcp, **call_of(tool, arguments or {"text": "hello"}, token))

    def admin(self, method: str, path: str, **json: Any) -> Awaitable[httpx2.Response]:
        url = f"{self.portal.url}{PREFIX}/accounts/{self.portal.admin.account_id}{path}"
        headers = {"Authorization": f"Bearer {self.api_token}"}
        return self.http.request(method, url, headers=headers, json=json or None)

    async def health(self) -> Any:
        answer = await self.http.get(f"{self.portal.url}/healthz")
        assert answer.status_code == 200
        return answer.json()

    async def well(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.health() != {"status": "ok"}:
                await asyncio.sleep(0.05)


def call_of(tool: str, arguments: dict[str, Any], token: str) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "agent", "version": "1"},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    return {"json": {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}, "headers": headers}


@asynccontextmanager
async def place_with(folder: Path, state: str) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(hosted())
        portal = await stack.enter_async_context(guarded_portal(folder, upstream=host.url, state=state))
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False, timeout=PATIENCE))
        browser = await stack.enter_async_context(browser_at(portal.url))
        await portal.account()
        used, fresh, unexchanged = (Agent(portal, http) for _ in range(3))
        await fresh.log_in(browser)
        assert (await unexchanged.register()).status_code == 201
        code = (await unexchanged.allowed(browser))["code"]
        await used.log_in(browser)
        made = await portal.admin.tokens.create_with_all("test", "test")
        place = Place(portal, http, browser, used, fresh, unexchanged, code, made.value, {})
        assert (await place.admin("GET", "/access/ai-controls/mcp/portals")).status_code == 200
        answer = await place.admin("POST", "/access/service_tokens", name="ci", duration="24h")
        result = answer.json()["result"]
        place.service = {
            "CF-Access-Client-Id": result["client_id"],
            "CF-Access-Client-Secret": result["client_secret"],
        }
        assert (await place.call(used)).status_code == 200
        yield place


async def timed(work: Awaitable[httpx2.Response]) -> tuple[httpx2.Response, float]:
    began = monotonic()
    return await work, monotonic() - began


async def all_at_once(**asked: Awaitable[httpx2.Response]) -> dict[str, httpx2.Response]:
    """The answers by name, each of which came soon."""
    answers = await asyncio.gather(*map(timed, asked.values()))
    late = {name: seconds for name, (_, seconds) in zip(asked, answers, strict=True) if seconds > SOON}
    assert not late
    return {name: answer for name, (answer, _) in zip(asked, answers, strict=True)}


def assert_says_when(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "5"
    assert "state" not in answer.text and "sqlite" not in answer.text and "postgresql" not in answer.text


def assert_oauth(answer: httpx2.Response) -> None:
    assert_says_when(answer)
    assert answer.json()["error"] == "temporarily_unavailable"
    assert "was not done" in answer.json()["error_description"]


def assert_rpc(answer: httpx2.Response) -> None:
    assert_says_when(answer)
    error = answer.json()["error"]
    assert (error["code"], error["data"]) == (-32010, {"reason": "store", "ran": "no", "retryAfter": 5})


def assert_envelope(answer: httpx2.Response) -> None:
    assert_says_when(answer)
    body = answer.json()
    assert body["success"] is False and "was not done" in body["errors"][0]["message"]


def assert_page(answer: httpx2.Response) -> None:
    assert_says_when(answer)
    assert answer.headers["content-type"].startswith("text/html")
    assert "The portal cannot answer now" in answer.text and "was not done" in answer.text


@contextmanager
def one_line_for_the_trouble() -> Any:
    with capture_logs() as logs:
        yield
    told = [log for log in logs if log["log_level"] in ("warning", "error", "critical")]
    assert [log["event"].partition(":")[0] for log in told] == [
        "the database is in trouble",
        "the database is well again",
    ], told
    assert "exc_info" not in str(told)


async def during(place: Place, *, reads: bool) -> None:
    """Every kind of request at once, while nothing can be written, and nothing read either unless it `reads`."""
    portal, http = place.portal, place.http
    login = await http.get(f"{portal.url}/login", headers=HTML) if reads else None
    answers = await all_at_once(
        call=place.call(place.used),
        fresh=place.call(place.fresh),
        service=http.post(
            portal.mcp, **{**(one := call_of("fix_echo", {"text": "a"}, "")), "headers": one["headers"] | place.service}
        ),
        anonymous=place.mcp(""),
        register=Agent(portal, http).register(),
        refresh=place.fresh.refresh(),
        exchange=place.unexchanged.exchange(place.code),
        revoke=http.post(
            f"{portal.url}/revoke",
            data={"token": place.used.tokens["refresh_token"], "client_id": place.used.client_id},
        ),
        authorize=place.browser.client.get(place.used.authorize_url(), headers=HTML),
        home=place.browser.client.get(f"{portal.url}/", headers=HTML),
        servers=place.browser.client.get(f"{portal.url}/servers", headers=HTML),
        list=place.admin("GET", "/access/ai-controls/mcp/portals"),
        create=place.admin("POST", "/access/service_tokens", name="later", duration="24h"),
        metadata=http.get(f"{portal.url}/.well-known/oauth-authorization-server"),
        health=http.get(f"{portal.url}/healthz"),
    )
    assert answers["call"].status_code == answers["metadata"].status_code == answers["health"].status_code == 200
    assert "hello" in answers["call"].text
    assert answers["anonymous"].status_code == 401
    for name in ("register", "refresh", "exchange", "revoke"):
        assert_oauth(answers[name])
    assert_envelope(answers["create"])
    assert_page(answers["authorize"])
    assert answers["service"].status_code == (200 if reads else answers["service"].status_code)
    if reads:
        assert {answers[name].status_code for name in ("fresh", "home", "servers", "list")} == {200}
    else:
        assert_rpc(answers["fresh"])
        assert_page(answers["home"])
        assert_page(answers["servers"])
        assert_envelope(answers["list"])
    assert await place.health() == {"status": "degraded"}
    if login is not None:
        async with browser_at(portal.url) as stranger:
            page = await stranger.open("/login")
            form = page.form("/login/password")
            sent = await stranger.client.post(
                f"{portal.url}/login/password",
                data={**form.fields, "email": EMAIL, "password": PASSWORD},
                headers={**HTML, "Origin": portal.url},
            )
            assert_page(sent)
    # Whoever comes now does not wait for what others have waited for in vain.
    again = await all_at_once(**{f"{n}": Agent(portal, http).register() for n in range(5)}, call=place.call(place.used))
    assert {answer.status_code for answer in again.values()} == {200, 503}


async def afterwards(place: Place) -> None:
    """What was refused works, with the same codes and tokens, and what was not done was not done by half."""
    await place.well()
    assert (await place.fresh.refresh()).status_code == 200
    assert (await place.unexchanged.exchange(place.code)).status_code == 200
    for agent in (place.used, place.fresh, place.unexchanged):
        assert (await place.call(agent)).status_code == 200
    names = [one["name"] for one in (await place.admin("GET", "/access/service_tokens")).json()["result"]]
    assert names == ["ci"]


async def test_with_a_locked_file_everybody_is_answered_soon_and_nothing_is_lost(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    async with place_with(tmp_path, state) as place:
        with one_line_for_the_trouble():
            with troubles.locked(state):
                await during(place, reads=True)
            await afterwards(place)


async def test_with_a_file_that_is_gone_what_is_known_goes_on(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    async with place_with(tmp_path, state) as place:
        with one_line_for_the_trouble():
            with troubles.moved_away(state):
                await during(place, reads=False)
            await afterwards(place)


async def test_with_damaged_pages_everybody_is_told_so_and_what_is_known_goes_on(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    async with place_with(tmp_path, state) as place:
        with one_line_for_the_trouble():
            with troubles.flipped(state, "objects", "objects_by_age", "tokens"):
                await during(place, reads=False)
            await afterwards(place)


async def test_an_agent_goes_on_for_65_seconds_while_its_token_cannot_be_read(tmp_path: Path) -> None:
    state, seconds = new_state(tmp_path), [0.0]
    async with place_with(tmp_path, state) as place:
        place.portal.identity.verifier._clock = lambda: seconds[0]
        assert (await place.call(place.fresh)).status_code == 200
        with troubles.moved_away(state):
            seconds[0] = 64.9
            assert (await place.call(place.fresh)).status_code == 200
            seconds[0] = 65.0
            assert_rpc(await place.call(place.fresh))
        await place.well()
        assert (await place.call(place.fresh)).status_code == 200


async def test_with_a_server_that_is_silent_what_is_known_goes_on(
    tmp_path: Path, postgres: Path, short_folder: Path
) -> None:
    state = (await asyncio.to_thread(new_postgres_database, postgres)).replace(str(postgres), str(short_folder))
    async with troubles.Proxy(postgres, short_folder).running() as proxy, place_with(tmp_path, state) as place:
        with one_line_for_the_trouble():
            async with proxy.silent():
                await during(place, reads=False)
            await afterwards(place)


async def test_a_portal_starts_on_a_locked_file_serves_what_it_reads_and_recovers(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    async with place_with(tmp_path, state) as before:
        token = before.used.tokens["access_token"]
        url = before.portal.url
    with troubles.locked(state):
        opening = AsyncExitStack()
        host = await opening.enter_async_context(hosted())
        portal = await opening.enter_async_context(guarded_portal(tmp_path, upstream=host.url, state=state))
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            # It is another address, which the token of the former one is not for: it was read, and refused.
            assert portal.url != url
            answer = await http.post(portal.mcp, **call_of("fix_echo", {"text": "hello"}, token))
            assert answer.status_code == 401
            assert_oauth(await Agent(portal, http).register())
            assert (await http.get(f"{portal.url}/healthz")).json() == {"status": "degraded"}
            assert (await http.get(f"{portal.url}/login", headers=HTML)).status_code == 200
    async with opening, httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http, asyncio.timeout(PATIENCE):
        while (await http.get(f"{portal.url}/healthz")).json() != {"status": "ok"}:
            await asyncio.sleep(0.05)
        assert (await Agent(portal, http).register()).status_code == 201
