"""The portal's own login at a server: begun through the admin API, made by an administrator in the browser."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.responses import Response

from portal.credentials import OWN, stored_logins
from tests.patience import PATIENCE
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.credentials.authority import login_authority, protected
from tests.portal.elicitation.people import GRACE, People, leaves_for, people, sign_in, signed_in
from tests.portal.login.browser import Browser, Page, browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD
from tests.portal.login.test_pages import in_both_schemes

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
SERVERS = "/access/ai-controls/mcp/servers"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Api:
    """The admin API of a running portal."""

    def __init__(self, portal: People, http: httpx2.AsyncClient, token: str) -> None:
        assert portal.instance.admin is not None
        self._base = f"{portal.url}/client/v4/accounts/{portal.instance.admin.account_id}"
        self._http, self._headers = http, {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        json = body if method in ("POST", "PUT") else None
        answer = await self._http.request(method, f"{self._base}{path}", headers=self._headers, json=json)
        return answer.json()["result"]


def http_client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(trust_env=False, timeout=PATIENCE)


async def api_of(portal: People, http: httpx2.AsyncClient) -> Api:
    assert portal.instance.admin is not None
    return Api(portal, http, (await portal.instance.admin.tokens.create_with_all("test", "test")).value)


async def link_of(api: Api, url: str, **body: Any) -> str:
    """The link of a login at a stored server."""
    await api.ask("POST", SERVERS, id="team", auth_type="oauth", hostname=url, name="Team files")
    return str((await api.ask("POST", f"{SERVERS}/team/login", **body))["url"])


async def there(portal: People) -> None:
    """Return when the stored server is among the servers."""
    changed = asyncio.Event()
    end = portal.instance.servers.subscribe(lambda old, new: changed.set())
    async with asyncio.timeout(PATIENCE):
        while "team" not in portal.instance.servers.snapshot.servers:
            await changed.wait()
            changed.clear()
    end()


async def pressed(browser: Browser, page: Page) -> Page:
    return await browser.submit(page, next(one.action for one in page.forms if one.action.endswith("/portal-login")))


async def test_an_administrator_logs_the_portal_in_and_everybody_is_served(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="read") as (_, host):
        async with people(tmp_path, {}) as portal, http_client() as http:
            api = await api_of(portal, http)
            link = await link_of(api, host.url, scope="write")
            await there(portal)
            await portal.account()
            async with browser_at(portal.url, issuing.url) as browser:
                # Who is not signed in signs in first, and comes back to the link.
                page = await sign_in(browser, await browser.open(link))
                assert "Log the portal in to Team files" in page.html and f"<strong>{EMAIL}</strong>" in page.html
                assert "Asked for by api-token:" in page.html
                leaving = await pressed(browser, page)
                assert "Do not log in" in leaving.html
                done = await browser.open(leaves_for(leaving))
                assert "The portal is logged in" in done.html
                again = await browser.open(link)
                assert again.status == 404 and "was used already" in again.html
            (login,) = await stored_logins(portal.store, subject=OWN)
            assert (login.key.server, login.document.granted_by) == ("team", EMAIL)
            assert set(login.document.scope.split()) == {"read", "write"} and await portal.logins() == []
            shown = await api.ask("GET", f"{SERVERS}/team")
            assert (shown["authentication_status"], shown["credential"]["granted_by"]) == ("connected", EMAIL)
            (client,) = issuing.registrations
            assert client["redirect_uris"] == [f"{portal.url}/servers-callback"]
            ended = await api.ask("DELETE", f"{SERVERS}/team/login")
            assert [one["revoked"] for one in ended["logins"]] == [True] and len(issuing.revoked) == 2


async def test_the_link_is_for_administrators_in_time_and_for_a_server_that_is_there(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {}) as portal, http_client() as http:
            api = await api_of(portal, http)
            link = await link_of(api, host.url)
            await there(portal)
            async with signed_in(portal, issuing.url) as browser:
                guessed = await browser.open(f"{portal.url}/servers/portal-login?request={'x' * 43}")
                assert guessed.status == 404 and "another" in guessed.html
                page = await browser.open(link)
                portal.clock.ahead += timedelta(minutes=16)
                late = await pressed(browser, page)
                assert late.status == 404 and issuing.authorizations == []
                link = str((await api.ask("POST", f"{SERVERS}/team/login"))["url"])
                page = await browser.open(link)
                await api.ask("DELETE", f"{SERVERS}/team")
                gone = await pressed(browser, page)
                assert gone.status == 404 and issuing.authorizations == []


async def test_a_login_that_one_administrator_began_is_not_finished_by_another(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {}) as portal, http_client() as http:
            link = await link_of(await api_of(portal, http), host.url)
            await there(portal)
            async with signed_in(portal) as browser, signed_in(portal, issuing.url, email=GRACE) as other:
                leaving = await pressed(browser, await browser.open(link))
                # The state is bound to the browser in which the login was begun.
                stolen = await other.open(leaves_for(leaving))
                assert stolen.status == 400 and "begun in another browser" in stolen.html
            assert await stored_logins(portal.store, subject=OWN) == [] and issuing.requests == []


async def test_an_administrator_who_is_removed_meanwhile_does_not_log_the_portal_in(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {}) as portal, http_client() as http:
            link = await link_of(await api_of(portal, http), host.url)
            await there(portal)
            ada = await portal.account()
            await portal.account(GRACE)
            usual = issuing.answer
            assert usual is not None

            async def removing(form: dict[str, str]) -> Response:
                await portal.identity.administrators.remove(ada.id.partition(":")[2], by="test")
                return await usual(form)

            async with browser_at(portal.url, issuing.url) as browser:
                leaving = await pressed(browser, await sign_in(browser, await browser.open(link)))
                issuing.answer = removing
                page = await browser.open(leaves_for(leaving))
            assert any(form.action == "/login/password" for form in page.forms)
            assert issuing.tokens == {} and len(issuing.requests) == 1
            assert await stored_logins(portal.store) == []


async def test_a_person_who_is_no_administrator_reads_that_the_link_is_not_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with (
            people(tmp_path, {}, pin=True) as portal,
            http_client() as http,
        ):
            link = await link_of(await api_of(portal, http), host.url)
            await there(portal)
            await portal.account()
            async with browser_at(portal.url) as browser:
                asked = await browser.submit(await browser.open(link), "/login/pin", email="guest@example.com")
                pin = re.findall(r"\b\d{3} ?\d{3}\b", capsys.readouterr().out)[-1]
                page = await browser.submit(asked, "/login/pin/check", pin=pin)
                assert page.status == 403 and "This link is not for you" in page.html
                assert "Team files" not in page.html


async def test_nor_is_it_for_an_administrator_who_only_reads(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {}) as portal, http_client() as http:
            link = await link_of(await api_of(portal, http), host.url)
            await there(portal)
            await portal.account()
            administrators = portal.identity.administrators
            made = administrators.create("eve@example.com", "Eve", PASSWORD, by="test", role="auditor")
            await made
            async with browser_at(portal.url) as browser:
                page = await sign_in(browser, await browser.open(link), "eve@example.com")
                assert page.status == 403 and "This link is not for you" in page.html
                assert "Team files" not in page.html


async def test_the_page_is_as_axe_wants_it_in_the_light_and_in_the_dark(tmp_path: Path) -> None:
    axe = axe_source()
    async with login_authority() as issuing, protected(issuing, needed="read") as (_, host):
        async with people(tmp_path, {}) as portal, http_client() as http:
            link = await link_of(await api_of(portal, http), host.url)
            await there(portal)
            await portal.account()
            async with chromium() as launched:
                context = await launched.new_context(viewport={"width": 375, "height": 740})
                page = await context.new_page()

                async def check(name: str) -> None:
                    await in_both_schemes(page, axe, f"portal-login-{name}")

                await page.goto(link)
                await page.get_by_label("E-mail").fill(EMAIL)
                await page.get_by_label("Password").fill(PASSWORD)
                await page.get_by_role("button", name="Sign in").click()
                await page.get_by_role("button", name="Connect").wait_for()
                await check("page")
                await page.get_by_role("button", name="Connect").click()
                await page.get_by_role("link", name="Go to").wait_for()
                await check("leaving")
                await page.get_by_role("link", name="Go to").click()
                await page.get_by_text("serves everybody").wait_for()
                await check("done")
                await page.goto(link)
                await check("ended")


async def test_an_administrator_does_not_log_the_portal_in_by_the_page_of_another_one(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="files:read") as (_, host):
        async with people(tmp_path, {}) as portal, http_client() as http, signed_in(portal) as browser:
            link = await link_of(await api_of(portal, http), host.url)
            await there(portal)
            page = await browser.open(link)
            assert EMAIL in page.text
            await portal.account(GRACE)
            await browser.submit(await browser.open("/logout"), "/logout", "here")
            await sign_in(browser, await browser.open("/login"), GRACE)
            refused = await pressed(browser, page)
            assert refused.status == 403 and f"You are signed in as {GRACE} now." in refused.text
            page = await browser.open(refused.link("Go on as"))
            assert GRACE in page.text and leaves_for(await pressed(browser, page)).startswith(issuing.url)
