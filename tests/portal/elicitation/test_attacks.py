"""A login to a server that somebody tampers with: other sites, other people, other browsers, other answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.responses import Response

from portal.credentials import stored_logins
from tests.portal.credentials.authority import LoginAuthority, login_authority, protected
from tests.portal.elicitation.people import (
    GRACE,
    People,
    begun,
    connected,
    form_of,
    leaves_for,
    people,
    sign_in,
    signed_in,
)
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import EVERYONE

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
ENDED = "This login has expired, was used already, or was begun in another browser."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Scene:
    """A portal with a server behind an authorization server."""

    portal: People
    issuing: LoginAuthority

    async def way_back(self, browser: Browser) -> str:
        """Where the authorization server sends the browser back to: a login is begun, and not finished."""
        before = await begun(browser, await browser.open("/servers"))
        sites, browser.sites = browser.sites, [self.issuing.url]
        try:
            return (await browser.open(leaves_for(before))).left_for
        finally:
            browser.sites = sites


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with login_authority() as issuing, protected(issuing, needed="files:read") as (_, host):
        async with people(folder, {"files": {"url": host.url}}) as portal:
            yield Scene(portal, issuing)


@pytest.mark.parametrize("action", ["connect", "log-out", "choose"])
async def test_no_form_does_anything_without_the_token_of_its_browser(tmp_path: Path, action: str) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal, here.issuing.url) as browser:
        page = await connected(browser, await browser.open("/servers"))
        async with signed_in(here.portal, email=GRACE) as other:
            foreign = (await other.open("/servers")).forms[0].fields["form_token"]
        form = form_of(page, "files", action)
        for token in ("", "x", foreign):
            refused = await browser.send(page, form, form_token=token)
            assert refused.status == 403 and "Open the page again" in refused.text
        assert len(here.issuing.authorizations) == len(await here.portal.logins()) == 1
        opened = await browser.open(f"/servers/{action}?server=files")
        assert opened.status == 405


async def test_an_answer_is_nothing_in_another_browser(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        async with signed_in(here.portal, email=GRACE) as attacker, signed_in(here.portal) as victim:
            planted = await here.way_back(attacker)
            page = await victim.open(planted)
            assert page.status == 400 and ENDED in page.text
            assert await here.portal.logins() == [] and here.issuing.requests == []
            # It is still good where it was begun.
            assert "Ready : logged in" in (await attacker.open(planted)).text
            assert len(await here.portal.logins(GRACE)) == 1


async def test_an_answer_is_nothing_for_another_person_in_the_same_browser(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal) as browser:
        await here.portal.account(GRACE)
        back = await here.way_back(browser)
        await browser.submit(await browser.open("/logout"), "/logout", "here")
        page = await browser.open(back)
        assert any(form.action == "/login/password" for form in page.forms)
        await sign_in(browser, page, GRACE)
        page = await browser.open(back)
        assert page.status == 403 and "Somebody else began this login in this browser." in page.text
        assert here.issuing.requests == []
        assert await here.portal.logins(GRACE) == [] == await here.portal.logins()


async def test_an_answer_is_good_once_and_for_ten_minutes(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal) as browser:
        back = await here.way_back(browser)
        assert (await browser.open(back)).status == 200
        again = await browser.open(back)
        assert again.status == 400 and ENDED in again.text
        late = await here.way_back(browser)
        here.portal.clock.ahead = timedelta(minutes=11)
        assert ENDED in (await browser.open(late)).text
        assert len(here.issuing.requests) == 1


@pytest.mark.parametrize("answer", ["", "?state=x&code=y", "?state=&code=y", "?state=" + "x" * 5000])
async def test_an_answer_that_nobody_asked_for_is_nothing(tmp_path: Path, answer: str) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal) as browser:
        assert ENDED in (await browser.open(f"/servers-callback{answer}")).text


async def test_a_parameter_that_comes_twice_makes_the_answer_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal) as browser:
        back = await here.way_back(browser)
        assert ENDED in (await browser.open(f"{back}&iss=https%3A%2F%2Fevil.example")).text
        assert here.issuing.requests == []


@pytest.mark.parametrize("error", [None, "access_denied"])
async def test_the_answer_of_another_authorization_server_is_not_looked_at(tmp_path: Path, error: str | None) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal, here.issuing.url) as browser:
        here.issuing.answer_with = {"iss": "https://evil.example", "error": error, "error_description": "Click here"}
        page = await connected(browser, await browser.open("/servers"))
        assert page.status == 502
        assert "files: The answer is not from the authorization server that the login was begun at." in page.text
        assert "Click here" not in page.text
        assert here.issuing.requests == [] and await here.portal.logins() == []


@pytest.mark.parametrize("code", ["access_denied", "<b>bold</b>", "x" * 2000])
async def test_an_error_is_said_in_the_portals_own_words(tmp_path: Path, code: str) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal, here.issuing.url) as browser:
        hostile = "<img src=x onerror=alert(1)> Call 0900 to unlock your account"
        here.issuing.answer_with = {"error": code, "error_description": hostile, "error_uri": hostile, "code": None}
        page = await connected(browser, await browser.open("/servers"))
        assert page.status == 502 and "refused" in page.text
        assert "0900" not in page.text and "<b>" not in page.html and "x" * 200 not in page.text


async def test_nothing_in_the_database_finishes_a_login(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal) as browser:
        link = await here.portal.link()
        await browser.open(link)
        back = await here.way_back(browser)
        stored = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith("state.db"))
        await browser.open(back)
        (asked,), (exchanged,) = here.issuing.authorizations, here.issuing.requests
        for secret in (asked["state"], exchanged["code_verifier"], link.partition("=")[2]):
            assert len(secret) >= 43 and secret.encode() not in stored
        assert here.issuing.issuer.encode() in stored


async def test_who_is_removed_while_they_log_in_leaves_no_login_behind(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal, here.issuing.url) as browser:
        ada = await here.portal.account()
        await here.portal.account(GRACE)
        usual = here.issuing.answer
        assert usual is not None

        async def removing(form: dict[str, str]) -> Response:
            await here.portal.identity.administrators.remove(ada.id.partition(":")[2], by="test")
            return await usual(form)

        here.issuing.answer = removing
        page = await connected(browser, await browser.open("/servers"))
        assert any(form.action == "/login/password" for form in page.forms)
        assert here.issuing.tokens == {}
        assert await stored_logins(here.portal.store) == []


async def test_nothing_of_one_portal_finishes_at_another_and_a_login_belongs_to_the_person_at_all(
    tmp_path: Path,
) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        docs = {"docs": {"servers": ["files"], "policies": [EVERYONE]}}
        async with people(tmp_path, {"files": {"url": host.url}}, docs) as portal:
            here = Scene(portal, issuing)
            async with signed_in(portal, issuing.url) as browser:
                await sign_in(browser, await browser.open("/docs/login"))
                link = await portal.link()
                assert "Your agent asks for it" in (await browser.open(link)).text
                elsewhere = await browser.open(link.replace("/authorize", "/docs/authorize"))
                assert "/docs/servers" in elsewhere.url and "This link has ended" in elsewhere.text
                back = await here.way_back(browser)
                assert ENDED in (await browser.open(back.replace("/servers-callback", "/docs/servers-callback"))).text
                assert issuing.requests == []
                page = await browser.open("/docs/servers")
                assert all(form.action.startswith("/docs/servers/") for form in page.forms)
                page = await browser.open(leaves_for(await begun(browser, page)))
                assert page.url == f"{portal.url}/docs/servers"
                assert issuing.authorizations[-1]["redirect_uri"] == f"{portal.url}/docs/servers-callback"
                assert "Ready : logged in" in (await browser.open("/servers")).text


async def test_another_person_does_not_see_or_end_a_login(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, signed_in(here.portal, here.issuing.url) as browser:
        page = await connected(browser, await browser.open("/servers"))
        form = form_of(page, "files", "log-out")
        async with signed_in(here.portal, email=GRACE) as other:
            theirs = await other.open("/servers")
            assert "Absent : no login yet" in theirs.text
            form.fields["form_token"] = theirs.forms[0].fields["form_token"]
            assert (await other.send(theirs, form)).status == 404
        assert len(await here.portal.logins()) == 1


async def test_without_a_session_the_link_leads_through_the_login_and_nowhere_else(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, browser_at(here.portal.url) as browser:
        await here.portal.account()
        page = await browser.open("/authorize?elicitationId=https://evil.example/%0d%0aX:%20y")
        assert any(form.action == "/login/password" for form in page.forms)
        page = await sign_in(browser, page)
        assert (page.url, page.status) == (f"{here.portal.url}/servers", 200)
