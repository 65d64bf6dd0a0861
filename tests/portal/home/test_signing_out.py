"""Signing out everywhere ends browsers, agents and logins at servers, and says of each what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.credentials import OWN, CredentialDocument, SealedGrant, save_login, stored_logins
from portal.credentials.metadata import ServerMetadata
from portal.http import HttpSettings, running
from portal.state import CredentialKey, StateUnavailable, Store
from portal.state.credentials import CredentialRows
from tests.portal.credentials.authority import LoginAuthority, login_authority
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import EMAIL, Guarded, guarded_portal, sign_in
from tests.portal.oauth.agent import Agent

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


async def log_in_at(store: Store, subject: str, server: str, issuer: str, revocation: str) -> None:
    """A login of `subject` at a server whose authorization server takes tokens back there."""
    now = datetime.now(UTC)
    metadata = ServerMetadata(issuer=issuer, token_endpoint=f"{issuer}/token", revocation_endpoint=revocation)
    grant = SealedGrant(access=f"access of {server}", refresh=f"refresh of {server}", server=metadata)
    key = CredentialKey(subject, server, issuer, "http://127.0.0.1:9/mcp", "client")
    await save_login(store, key, CredentialDocument(state="ready", granted_at=now, issued_at=now), grant)


@asynccontextmanager
async def signed_in(folder: Path) -> AsyncIterator[tuple[Guarded, Browser, LoginAuthority, str]]:
    """A portal, the browser of a person who is signed in, an authorization server, and the key of the person."""
    async with guarded_portal(folder) as portal, browser_at(portal.url) as browser, login_authority() as issuing:
        key = (await portal.account()).key
        await sign_in(browser, await browser.open("/login"))
        yield portal, browser, issuing, key


async def everywhere(browser: Browser) -> str:
    """Sign out everywhere; the text of the page."""
    page = await browser.submit(await browser.open("/logout"), "/logout", "everywhere")
    assert page.status == 200 and "You are signed out" in page.text
    return page.text


async def test_it_ends_browsers_agents_and_logins_and_takes_tokens_back(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (portal, browser, issuing, key), httpx2.AsyncClient(trust_env=False) as http:
        agent = Agent(portal, http)
        await agent.log_in(browser, client_name="Cursor")
        async with browser_at(portal.url) as other:
            await sign_in(other, await other.open("/login"))
            for server in ("tickets", "wiki"):
                await log_in_at(portal.store, key, server, issuing.issuer, f"{issuing.url}/revoke")
            await log_in_at(portal.store, OWN, "shared", issuing.issuer, f"{issuing.url}/revoke")
            await log_in_at(portal.store, "local:eve", "tickets", issuing.issuer, f"{issuing.url}/revoke")
            before = (await browser.open("/logout")).text
            assert "This one and 1 other" in before and "Cursor" in before and "tickets" in before
            text = await everywhere(browser)
            assert "2 browsers, 1 agent, 2 logins at servers" in text and "Cursor" in text
            assert text.count("Its tokens were taken back.") == 2
            assert "You are signed out" in (await other.open("/logout")).text
        assert (await agent.use()).status_code == 401
        assert (await agent.refresh()).status_code == 400
        taken = [f"{kind} of {server}" for server in ("tickets", "wiki") for kind in ("access", "refresh")]
        assert sorted(issuing.revoked) == sorted(taken)
        left = {(one.key.subject, one.key.server) for one in await stored_logins(portal.store)}
        assert left == {(OWN, "shared"), ("local:eve", "tickets")}


async def test_this_browser_alone_ends_nothing_else_and_the_page_says_what_goes_on(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (portal, browser, issuing, key), httpx2.AsyncClient(trust_env=False) as http:
        agent = Agent(portal, http)
        await agent.log_in(browser)
        await log_in_at(portal.store, key, "tickets", issuing.issuer, f"{issuing.url}/revoke")
        page = await browser.submit(await browser.open("/logout"), "/logout", "here")
        assert "You are signed out" in page.text and "An agent that you allowed goes on." in page.text
        assert EMAIL not in (await browser.open("/")).text
        assert (await agent.use()).status_code == 200
        assert len(await stored_logins(portal.store, subject=key)) == 1 and issuing.revoked == []


async def test_what_was_not_taken_back_is_forgotten_and_named(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (portal, browser, issuing, key):
        await log_in_at(portal.store, key, "offers-none", issuing.issuer, "")
        await log_in_at(portal.store, key, "refuses", issuing.issuer, f"{issuing.url}/nothing")
        await log_in_at(portal.store, key, "is-gone", "https://127.0.0.1:9", "https://127.0.0.1:9/revoke")
        text = await everywhere(browser)
        assert text.count("Logged out here. 127.0.0.1 has not taken its tokens back") == 3
        assert await stored_logins(portal.store, subject=key) == []


async def test_an_authorization_server_that_does_not_answer_keeps_neither_the_page_nor_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.home.upstream_logins.SHOWN_SECONDS", 0.2)
    asked, answers = asyncio.Semaphore(0), asyncio.Event()

    async def hang(request: Request) -> Response:
        asked.release()
        await answers.wait()
        return Response()

    app = Starlette(routes=[Route("/revoke", hang, methods=["POST"])])
    async with running(app, http=HttpSettings()) as silent, signed_in(tmp_path) as (portal, browser, issuing, key):
        # More than are asked at once: those that wait for their turn are forgotten too.
        for number in range(12):
            await log_in_at(portal.store, key, f"silent-{number}", silent, f"{silent}/revoke")
        text = await everywhere(browser)
        assert text.count("is being asked to take its tokens back, and has not answered yet") == 12
        assert await stored_logins(portal.store, subject=key) == []
        for _ in range(4):
            await asked.acquire()
        answers.set()
        # It goes on after the page: each is asked for both of its tokens.
        for _ in range(20):
            await asked.acquire()


async def test_an_authorization_server_that_does_not_answer_keeps_no_token_at_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.home.upstream_logins.SHOWN_SECONDS", 0.2)
    answers = asyncio.Event()

    async def hang(request: Request) -> Response:
        await answers.wait()
        return Response()

    app = Starlette(routes=[Route("/revoke", hang, methods=["POST"])])
    async with running(app, http=HttpSettings()) as silent, signed_in(tmp_path) as (portal, browser, issuing, key):
        for number in range(20):
            await log_in_at(portal.store, key, f"silent-{number}", silent, f"{silent}/revoke")
        await log_in_at(portal.store, key, "tickets", issuing.issuer, f"{issuing.url}/revoke")
        await everywhere(browser)
        while len(issuing.revoked) < 2:
            await asyncio.sleep(0)
        answers.set()


async def test_a_login_that_cannot_be_forgotten_is_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: CredentialRows, kind: object, key: object) -> bool:
        raise StateUnavailable("the database does not answer")

    async with signed_in(tmp_path) as (portal, browser, issuing, key):
        await log_in_at(portal.store, key, "tickets", issuing.issuer, f"{issuing.url}/revoke")
        with monkeypatch.context() as patch:
            patch.setattr(CredentialRows, "delete", fail)
            assert "Not logged out" in await everywhere(browser)
        assert len(await stored_logins(portal.store, subject=key)) == 1 and issuing.revoked == []


async def test_no_token_reaches_the_page_or_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with signed_in(tmp_path) as (portal, browser, issuing, key):
        await log_in_at(portal.store, key, "tickets", issuing.issuer, f"{issuing.url}/nothing")
        text = await everywhere(browser)
        said = text + "".join(capsys.readouterr())
        assert "signed out everywhere" in said
        assert "access of" not in said and "refresh of" not in said
