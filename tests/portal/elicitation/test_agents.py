"""An agent and the logins of its person: the page on its first sign-in, and the link of a call that needs a login."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.portal.credentials.authority import LoginAuthority, login_authority, protected
from tests.portal.elicitation.people import GRACE, People, connected, people, sign_in, signed_in
from tests.portal.login.browser import Browser, Page
from tests.portal.login.guarded import Guarded
from tests.portal.oauth.agent import Agent, answer_in
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
FORMS_OF_A_PERSON = {
    "/authorize/consent",
    "/authorize/continue",
    "/logout",
    "/logout/agent",
    "/servers/choose",
    "/servers/connect",
}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "agent", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[People, LoginAuthority]]:
    async with login_authority() as issuing, protected(issuing, needed="files:read") as (_, host):
        async with people(folder, {"files": {"url": host.url}}) as portal:
            yield portal, issuing


@asynccontextmanager
async def agent_at(portal: People) -> AsyncIterator[Agent]:
    async with httpx2.AsyncClient(trust_env=False) as http:
        agent = Agent(cast(Guarded, portal), http)
        assert (await agent.register()).status_code == 201
        yield agent


async def allowed(browser: Browser, agent: Agent) -> Page:
    """What the browser shows after the person has allowed the agent."""
    return await browser.submit(await browser.open(agent.authorize_url()), "/authorize/consent", "allow")


async def called(portal: People, agent: Agent, tool: str, **arguments: str) -> Any:
    """The result of a call."""
    params = {"name": tool, "arguments": arguments, "_meta": META}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {agent.tokens['access_token']}",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answer = await agent.http.post(portal.mcp, json=body, headers=headers, timeout=60)
    document = answer.json()
    assert "result" in document, document
    return document["result"]


async def test_the_first_sign_in_of_an_agent_passes_the_page_and_goes_on(tmp_path: Path) -> None:
    async with served(tmp_path) as (portal, issuing), signed_in(portal, issuing.url) as browser:
        async with agent_at(portal) as agent:
            page = await allowed(browser, agent)
            assert page.url.startswith(f"{portal.url}/servers?agent=") and "You have allowed Agent" in page.text
            assert "form-action 'self' http://127.0.0.1:3333;" in page.headers["content-security-policy"]
            page = await connected(browser, page)
            assert "Ready : logged in" in page.text
            assert "You have allowed Agent . You are logged in to every server that wants a login." in page.text
            done = await browser.submit(page, "/authorize/continue")
            answer = answer_in(done.left_for)
            assert (answer["state"], answer["iss"]) == ("the state", portal.url)
            assert (await agent.exchange(answer["code"])).status_code == 200
            # The person has a login now: the next agent is not kept waiting.
            assert "code" in answer_in((await allowed(browser, agent)).left_for)


async def test_the_page_is_skipped_with_one_button_and_comes_once_for_a_grant(tmp_path: Path) -> None:
    async with served(tmp_path) as (portal, _), signed_in(portal) as browser, agent_at(portal) as agent:
        page = await allowed(browser, agent)
        done = await browser.submit(page, "/authorize/continue")
        assert (await agent.exchange(answer_in(done.left_for)["code"])).status_code == 200
        assert (await agent.refresh()).status_code == 200
        again = await browser.submit(page, "/authorize/continue")
        assert again.status == 400 and "This request has ended" in again.text
        assert "The request of your agent has ended." in (await browser.open(page.url)).text


async def test_where_no_server_is_known_to_want_a_login_there_is_no_page_in_between(tmp_path: Path) -> None:
    async with hosted() as plain:
        # One lets everybody in, one is away, one has a login for everybody.
        servers = {
            "plain": {"url": plain.url},
            "away": {"url": "http://127.0.0.1:9/mcp"},
            "shared": {"url": "http://127.0.0.1:9/mcp", "onBehalf": False},
        }
        async with people(tmp_path, servers) as portal, signed_in(portal) as browser, agent_at(portal) as agent:
            assert "code" in answer_in((await allowed(browser, agent)).left_for)


async def test_a_program_that_fills_in_the_consent_itself_gets_its_code_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as (portal, _), signed_in(portal) as browser, agent_at(portal) as agent:
        del browser.client.headers["Sec-Fetch-Mode"]
        assert "code" in answer_in((await allowed(browser, agent)).left_for)


async def test_nobody_else_goes_on_for_a_person(tmp_path: Path) -> None:
    async with served(tmp_path) as (portal, _), signed_in(portal) as browser, agent_at(portal) as agent:
        page = await allowed(browser, agent)
        form = next(form for form in page.forms if form.action == "/authorize/continue")
        async with signed_in(portal, email=GRACE) as other:
            theirs = await other.open(page.url)
            assert "You have allowed" not in theirs.text
            form.fields["form_token"] = theirs.forms[0].fields["form_token"]
            assert (await other.send(theirs, form)).status == 400
        assert (await browser.send(page, form)).status == 403
        # Another person in the same browser.
        await browser.submit(await browser.open("/logout"), "/logout", "here")
        theirs = await sign_in(browser, await browser.open(page.url), GRACE)
        assert "You have allowed" not in theirs.text
        form.fields["form_token"] = theirs.forms[0].fields["form_token"]
        refused = await browser.send(theirs, form)
        assert refused.status == 400 and not refused.left_for


async def test_a_request_that_waits_ends_after_a_quarter_of_an_hour(tmp_path: Path) -> None:
    async with served(tmp_path) as (portal, _), signed_in(portal) as browser, agent_at(portal) as agent:
        page = await allowed(browser, agent)
        portal.clock.ahead = timedelta(minutes=16)
        assert (await browser.submit(page, "/authorize/continue")).status == 400


async def test_a_call_whose_login_has_ended_gives_the_link_and_works_after_a_new_one(tmp_path: Path) -> None:
    async with served(tmp_path) as (portal, issuing), signed_in(portal, issuing.url) as browser:
        async with agent_at(portal) as agent:
            done = await browser.submit(await connected(browser, await allowed(browser, agent)), "/authorize/continue")
            await agent.exchange(answer_in(done.left_for)["code"])
            answer = await called(portal, agent, "files_echo", text="hello")
            assert answer["content"][0]["text"] == "hello", answer
            # The authorization server forgets the login.
            issuing.forget()
            links = set[str]()
            for _ in range(2):
                told = await called(portal, agent, "files_echo", text="hello")
                (text,) = [block["text"] for block in told["content"]]
                assert told["isError"] and f"Log in here: {portal.url}/authorize?elicitationId=" in text
                links.add(text.partition("Log in here: ")[2].split()[0])
            (link,) = links
            page = await browser.open(link)
            assert "Your agent asks for it. There is no access token" in page.text
            assert "Needs reauth : a new login is needed" in page.text
            page = await connected(browser, page)
            assert "You are connected" in page.text and len(await portal.logins()) == 1
            answer = await called(portal, agent, "files_echo", text="again")
            assert answer["content"][0]["text"] == "again", answer


async def test_a_form_of_a_page_that_named_one_person_does_nothing_once_another_is_signed_in(tmp_path: Path) -> None:
    async with served(tmp_path) as (portal, _), signed_in(portal) as browser, agent_at(portal) as agent:
        await portal.account(GRACE)
        page = await browser.submit(await allowed(browser, agent), "/authorize/continue")
        assert (await agent.exchange(answer_in(page.left_for)["code"], resource=portal.mcp)).status_code == 200
        login = await hers(portal, browser)
        # Two requests of the agent: one waits for an answer, the other one for the person to go on.
        consent, waiting = await browser.open(agent.authorize_url()), await allowed(browser, agent)
        pages = [consent, waiting, *[await browser.open(path) for path in ("/", "/logout", "/servers")]]
        forms = [(page, form) for page in pages for form in page.forms]
        assert {urlsplit(form.action).path for _, form in forms} == FORMS_OF_A_PERSON
        await sign_in(browser, login, GRACE)
        for page, form in forms:
            refused = await browser.send(page, form, form.buttons[0][1] if form.buttons else "")
            assert (refused.status, refused.left_for) == (403, ""), form.action
            assert f"You are signed in as {GRACE} now." in refused.text
            shown = await browser.open(refused.link(f"Go on as {GRACE}"))
            assert shown.status == 200 and GRACE in shown.text, form.action
        assert (await agent.use()).status_code == 200
        assert await portal.identity.login.sessions.count(await portal.account(GRACE)) == 1
        # A page that names the person who is there now works for them.
        page = await browser.submit(await browser.open(consent.url), "/authorize/consent", "allow")
        assert "code" in answer_in((await browser.submit(page, "/authorize/continue")).left_for)


async def test_nor_does_it_for_the_same_person_after_they_signed_in_again(tmp_path: Path) -> None:
    async with served(tmp_path) as (portal, _), signed_in(portal) as browser, agent_at(portal) as agent:
        login = await hers(portal, browser)
        page = await browser.open(agent.authorize_url())
        await sign_in(browser, login)
        refused = await browser.submit(page, "/authorize/consent", "allow")
        assert (refused.status, refused.left_for) == (403, "")
        page = await browser.open(refused.link("Go on as"))
        assert (await browser.submit(page, "/authorize/consent", "allow")).status == 200


async def hers(portal: People, browser: Browser) -> Page:
    """The login page in this browser, as a window shows it that was opened before anybody signed in."""
    session = browser.client.cookies["portal_session"]
    browser.client.cookies.delete("portal_session")
    page = await browser.open("/login")
    browser.client.cookies.set("portal_session", session, domain=urlsplit(portal.url).hostname or "")
    return page
