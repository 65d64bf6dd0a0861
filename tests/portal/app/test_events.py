"""What is no call is a row too: requests, refusals, sign-ins, consents, changes; each once, and without a secret."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from portal.admin import PREFIX
from portal.app import Parts, serving
from portal.logs import CallLog, Filters, LogRow, after
from tests.patience import PATIENCE
from tests.portal.app.test_log import document, place_of, stored
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, guarded_portal, sign_in
from tests.portal.login.test_pins import ask, offer_pins, pin_in
from tests.portal.oauth.agent import Agent
from tests.portal.portals import GENERATIONS, LEGACY, client_of, opened
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def rows_of(log: CallLog | None, **filters: Any) -> list[LogRow]:
    """The rows that are stored by now."""
    assert log is not None
    await log.stored()
    return [one.row for one in await log.database.read(partial(after, filters=Filters(**filters), id=0))]


def said(rows: Sequence[LogRow]) -> list[tuple[str, str, str, str]]:
    return [(row.kind, row.method, row.name, row.outcome) for row in rows]


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_each_request_that_the_portal_answers_itself_is_one_row(
    tmp_path: Path, mode: str, code_tool: Any
) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream)
        async with opened(config, parts=Parts(code=code_tool)) as instance:
            await instance.servers.settled()
            async with serving(instance) as url:
                async with client_of(f"{url}/mcp", mode) as client:
                    await client.list_tools()
                    await client.list_prompts()
                    await client.list_resources()
                    if mode == LEGACY:
                        await client.send_ping()
                    await client.call_tool("up_echo", {"text": "x"})
                async with client_of(f"{url}/mcp?optimize_context=search_and_execute", mode) as client:
                    await client.call_tool("query", {"query": "echo"})
                    await client.call_tool("execute", {"name": "up_echo", "arguments": {"text": "x"}})
                    await client.call_tool("execute", {"code": "return await codemode.search('echo')"})
    rows = await stored(place_of(config))
    begins = [("request", "initialize", "", "ok")] if mode == LEGACY else []
    assert said(rows) == [
        *begins,
        ("request", "tools/list", "", "ok"),
        ("request", "prompts/list", "", "ok"),
        ("request", "resources/list", "", "ok"),
        ("tool", "tools/call", "echo", "ok"),
        *begins,
        ("request", "tools/call", "query", "ok"),
        # The SDK's client asks for the output schema of what it has called.
        ("request", "tools/list", "", "ok"),
        ("tool", "tools/call", "echo", "ok"),
        ("run", "tools/call", "code", "ok"),
    ]
    for row in rows:
        assert row.client == "mcp" and row.protocol and (row.session != "") == (mode == LEGACY), row
        assert row.us > 0 and (row.kind != "request" or row.name or row.bytes_out > 20)


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_each_request_that_is_refused_before_a_call_is_one_row(tmp_path: Path, mode: str) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream)
        async with opened(config, parts=Parts(code=None)) as instance:
            await instance.servers.settled()
            async with serving(instance) as url:
                async with client_of(f"{url}/mcp", mode) as client:
                    for call in (
                        client.call_tool("up_nothing", {}),
                        client.get_prompt("up_nothing"),
                        client.read_resource("nothing://there"),
                        client.list_tools(cursor="somewhere"),
                    ):
                        with pytest.raises(MCPError):
                            await call
                async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
                    await http.post(f"{url}/mcp?codemode=perhaps", json={})
                    await http.put(f"{url}/mcp", json={})
                    headers = {"Accept": "application/json, text/event-stream"}
                    await http.post(f"{url}/mcp", json={"jsonrpc": "2.0", "method": 5}, headers=headers)
    rows = await stored(place_of(config), Filters(kind="refusal"))
    assert [(row.method, row.name, row.reason) for row in rows] == [
        ("tools/call", "up_nothing", "unknown tool"),
        ("prompts/get", "up_nothing", "unknown prompt"),
        ("resources/read", "nothing://there", "unknown resource"),
        ("tools/list", "", "invalid params"),
        ("POST", "", "mode"),
        ("PUT", "", "http"),
        ("POST", "", "message"),
    ]


async def test_sign_ins_consents_and_their_ends_are_rows(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, has_log=True) as portal, browser_at(portal.url) as browser:
        ada = await portal.account()
        await offer_pins(portal)
        page = await browser.open("/login?return=/logout")
        await sign_in(browser, page, password="not the password 91")
        await sign_in(browser, page, email="nobody@example.com", password="not the password 92")
        signed_in = await sign_in(browser, page)
        await browser.submit(signed_in, "/logout", "here")
        async with browser_at(portal.url) as other:
            page = await ask(other)
            pin = pin_in(portal.letters.sent[-1].text)
            page = await other.submit(page, "/login/pin/check", pin="000000" if pin != "000000" else "111111")
            page = await other.submit(page, "/login/pin/check", pin=pin)
        rows = await rows_of(portal.instance.shared.log, kind="sign_in")
        assert [(row.method, row.name, row.outcome, row.identity, row.email, row.reason) for row in rows] == [
            ("sign_in", "local", "denied", "", EMAIL, "wrong e-mail or password"),
            ("sign_in", "local", "denied", "", "", "wrong e-mail or password"),
            ("sign_in", "local", "ok", ada.key, EMAIL, ""),
            ("sign_out", "local", "ok", ada.key, EMAIL, ""),
            ("pin", "pin", "ok", "", "grace@example.com", ""),
            ("sign_in", "pin", "denied", "", "grace@example.com", "wrong PIN"),
            ("sign_in", "pin", "ok", "pin:grace@example.com", "grace@example.com", ""),
        ]
        assert {row.ip for row in rows} == {"127.0.0.1"}
        secrets = [PASSWORD, "not the password 91", "not the password 92", pin]
    nothing_of(secrets, tmp_path)


def nothing_of(secrets: Sequence[str], folder: Path) -> None:
    """No file of the log has one of these texts."""
    files = [file for file in folder.rglob("*logs*") if file.is_file()]
    assert any(file.suffix == ".db" for file in files) and any(file.suffix == ".journal" for file in files)
    for file in files:
        content = file.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, (file, secret)


async def test_consents_and_grants_that_end_are_rows(tmp_path: Path) -> None:
    secrets: list[str] = []
    async with guarded_portal(tmp_path, has_log=True) as portal, browser_at(portal.url) as browser:
        ada = await portal.account()
        async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
            agent = Agent(portal, http)
            await agent.register()
            page = await agent.ask(browser)
            await browser.submit(page, "/authorize/consent", "deny")
            answer = await agent.allowed(browser)
            await agent.exchange(answer["code"])
            secrets += [answer["code"], agent.tokens["access_token"], agent.tokens["refresh_token"], agent.verifier]
            # The code once more: somebody may have copied it.
            assert (await agent.exchange(answer["code"])).status_code == 400
            answer = await agent.allowed(browser)
            await agent.exchange(answer["code"])
            secrets += [answer["code"], agent.tokens["access_token"]]
            await http.post(
                f"{portal.url}/revoke", data={"client_id": agent.client_id, "token": agent.tokens["access_token"]}
            )
            rows = await rows_of(portal.instance.shared.log, kind="consent")
            assert {row.identity for row in rows} == {ada.key} and {row.name for row in rows} == {agent.client_id}
            assert {row.client for row in rows} == {"Agent"}
            assert [(row.method, row.outcome, row.reason) for row in rows] == [
                ("consent", "denied", "the person did not allow it"),
                ("consent", "ok", ""),
                ("revoke", "ok", "a code or token of it was used twice: somebody may have copied it"),
                ("consent", "ok", ""),
                ("revoke", "ok", "its client has given it back"),
            ]
    nothing_of(secrets, tmp_path)


async def test_an_account_that_is_claimed_and_what_its_person_ends_are_rows(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, has_log=True) as portal, browser_at(portal.url) as browser:
        path = await portal.identity.claim_path()
        assert path is not None
        link = path.partition("token=")[2]
        page = await browser.open(path)
        await browser.submit(page, "/login/claim", name="Ada", email=EMAIL, password=PASSWORD)
        async with browser_at(portal.url) as late:
            await late.open(path)
            await late.open("/login/callback?state=a-state-of-somebody&code=a-code-of-somebody")
        async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
            agent = Agent(portal, http)
            await agent.log_in(browser)
            await browser.submit(await browser.open("/"), "/logout/agent")
        await browser.submit(await browser.open("/logout"), "/logout", "everywhere")
        signed = await rows_of(portal.instance.shared.log, kind="sign_in")
        consents = await rows_of(portal.instance.shared.log, kind="consent")
    assert [(row.method, row.name, row.outcome, row.email) for row in signed] == [
        ("claim", "local", "ok", EMAIL),
        ("claim", "local", "denied", ""),
        ("sign_in", "", "denied", ""),
        ("sign_out_everywhere", "local", "ok", EMAIL),
    ]
    assert [(row.method, row.name, row.reason) for row in consents] == [
        ("consent", agent.client_id, ""),
        ("revoke", agent.client_id, "its person has ended it"),
    ]
    nothing_of([PASSWORD, link, "a-state-of-somebody", "a-code-of-somebody"], tmp_path)


async def test_whoever_comes_without_a_good_token_or_is_refused_by_a_policy_is_a_row(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, has_log=True) as portal, browser_at(portal.url) as browser:
        ada = await portal.account()
        async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
            portal.rules.allowed = lambda identity: bool(identity.key)
            agent = Agent(portal, http)
            await agent.log_in(browser)
            await agent.use(agent.tokens["access_token"])
            await http.post(portal.mcp, json={})
            await http.post(portal.mcp, json={}, headers={"Authorization": "Bearer cmp_at_made_up_by_me"})
            await http.post(portal.mcp, json={}, headers={"Authorization": "Basic dXNlcjpwYXNz"})
            portal.rules.allowed = lambda identity: False
            portal.rules.access.changed()
            await agent.use(agent.tokens["access_token"])
            refused = await rows_of(portal.instance.shared.log, kind="refusal")
            requests = await rows_of(portal.instance.shared.log, kind="request")
    assert [(row.method, row.identity, row.outcome, row.policy, row.reason) for row in refused] == [
        ("POST", "", "denied", "", "authentication"),
        ("POST", "", "denied", "", "invalid_token"),
        ("POST", "", "denied", "", "invalid_request"),
        ("POST", ada.key, "denied", "p1", "Denied by the policy 'Staff'."),
    ]
    assert {row.ip for row in refused} == {"127.0.0.1"}
    assert [(row.method, row.identity, row.client) for row in requests] == [("initialize", ada.key, "agent")]
    nothing_of(["cmp_at_made_up_by_me", "dXNlcjpwYXNz", agent.tokens["access_token"]], tmp_path)


async def test_each_change_of_an_administrator_is_a_row_whether_it_was_made_or_refused(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, has_log=True) as portal:
        made = await portal.admin.tokens.create_with_all("deploy", "test")
        base = f"{portal.url}{PREFIX}/accounts/{portal.admin.account_id}"
        async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
            http.headers["Authorization"] = f"Bearer {made.value}"
            group = {"name": "Staff", "include": [{"email": {"email": "a-value@example.com"}}]}
            created = (await http.post(f"{base}/access/groups", json=group)).json()["result"]
            await http.get(f"{base}/access/groups")
            await http.put(f"{base}/access/groups/{created['id']}", json=group)
            await http.put(f"{base}/access/groups/{created['id']}", json={"name": 5})
            await http.delete(f"{base}/access/groups/{created['id']}")
            await http.delete(f"{base}/access/groups/not-there")
            http.headers["Authorization"] = "Bearer guessed-a-token"
            await http.delete(f"{base}/access/groups/x")
            await http.get(f"{base}/access/groups")
        rows = await rows_of(portal.instance.shared.log)
    path = f"/access/groups/{created['id']}"
    who = f"api-token:{made.id}"
    assert [(row.kind, row.method, row.name, row.outcome, row.identity, row.client) for row in rows] == [
        ("change", "POST", path, "ok", who, "deploy"),
        ("change", "PUT", path, "ok", who, "deploy"),
        ("change", "PUT", path, "error", who, "deploy"),
        ("change", "DELETE", path, "ok", who, "deploy"),
        ("change", "DELETE", "/access/groups/not-there", "error", who, "deploy"),
        ("refusal", "DELETE", "/access/groups/{id}", "denied", "", ""),
        ("refusal", "GET", "/access/groups", "denied", "", ""),
    ]
    nothing_of([made.value, "guessed-a-token", "a-value@example.com"], tmp_path)
