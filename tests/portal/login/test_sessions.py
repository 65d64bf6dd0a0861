"""Signing in with a local account, staying signed in, and signing out."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from portal.state import plain
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, guarded_portal, sign_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


async def test_the_first_administrator_claims_the_portal_with_a_link_that_works_once(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        path = await portal.identity.claim_path()
        assert path is not None
        page = await browser.open(path)
        short = await browser.submit(page, "/login/claim", name="Ada", email=EMAIL, password="short")
        assert (short.status, "at least 12" in short.text) == (400, True)
        done = await browser.submit(short, "/login/claim", name="Ada", email=EMAIL, password=PASSWORD)
        assert done.status != 400
        assert EMAIL in (await browser.open("/logout")).text
        async with browser_at(portal.url) as other:
            late = await other.open(path)
            assert (late.status, late.forms) == (400, [])
        assert await portal.identity.claim_path() is None
        assert portal.console == []


async def test_a_wrong_password_and_an_unknown_account_read_the_same(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        login = await browser.open("/login")
        wrong = await sign_in(browser, login, password="not the password at all")
        unknown = await sign_in(browser, login, email="eve@example.com")
        assert wrong.status == unknown.status == 403
        assert wrong.text == unknown.text
        assert "E-mail or password is wrong" in wrong.text


@pytest.mark.usefixtures("no_time_for_rates")
async def test_passwords_are_tried_a_few_times_only(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        login = await browser.open("/login")
        statuses = [(await sign_in(browser, login, password=f"wrong {n}")).status for n in range(8)]
        assert statuses == [403] * 6 + [429] * 2
        assert (await sign_in(browser, login)).status == 429


async def test_a_session_ends_after_its_duration(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        await portal.store.create(plain("settings"), "login", {"session_duration": "30m"}, by="test")
        await sign_in(browser, await browser.open("/login"))
        portal.clock.ahead = timedelta(minutes=29)
        assert EMAIL in (await browser.open("/logout")).text
        portal.clock.ahead = timedelta(minutes=31)
        assert "You are signed out" in (await browser.open("/logout")).text


async def test_signing_in_gives_a_new_session_and_ends_the_one_that_was_there(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        login = await browser.open("/login")
        browser.client.cookies.set("portal_session", "planted-by-somebody-else", domain="127.0.0.1")
        await sign_in(browser, login)
        first = browser.client.cookies["portal_session"]
        assert first != "planted-by-somebody-else"
        await sign_in(browser, login)
        assert browser.client.cookies["portal_session"] != first
        async with browser_at(portal.url) as other:
            other.client.cookies.set("portal_session", first, domain="127.0.0.1")
            assert "You are signed out" in (await other.open("/logout")).text


async def test_signing_out_ends_the_session_also_for_who_copied_the_cookie(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        await sign_in(browser, await browser.open("/login"))
        cookie = browser.client.cookies["portal_session"]
        page = await browser.open("/logout")
        await browser.submit(page, "/logout", "here")
        assert "portal_session" not in browser.client.cookies
        async with browser_at(portal.url) as other:
            other.client.cookies.set("portal_session", cookie, domain="127.0.0.1")
            assert "You are signed out" in (await other.open("/logout")).text


async def test_signing_out_everywhere_ends_the_sessions_of_all_browsers(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as one, browser_at(portal.url) as other:
        await portal.account()
        for browser in (one, other):
            await sign_in(browser, await browser.open("/login"))
        await one.submit(await one.open("/logout"), "/logout", "everywhere")
        assert "You are signed out" in (await other.open("/logout")).text


async def test_a_form_sent_by_another_site_changes_nothing(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        await sign_in(browser, await browser.open("/login"))
        for token in ("", "0" * 64):
            sent = await browser.client.post(f"{portal.url}/logout", data={"where": "everywhere", "form_token": token})
            assert sent.status_code == 403
        foreign = await browser.client.post(
            f"{portal.url}/logout", data={"where": "everywhere"}, headers={"Origin": "https://evil.example"}
        )
        assert foreign.status_code == 403
        assert EMAIL in (await browser.open("/logout")).text


async def test_a_form_token_is_good_for_the_browser_it_was_made_for_only(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as one, browser_at(portal.url) as other:
        await portal.account()
        stolen = (await one.open("/login")).form("/login/password").fields["form_token"]
        page = await other.open("/login")
        refused = await other.submit(page, "/login/password", email=EMAIL, password=PASSWORD, form_token=stolen)
        assert refused.status == 403
        assert "portal_session" not in other.client.cookies


ELSEWHERE = ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example"]


async def test_a_login_leads_to_no_other_site(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        for target in ELSEWHERE:
            page = await browser.open("/login")
            token = page.form("/login/password").fields["form_token"]
            fields = {"form_token": token, "return": target, "email": EMAIL, "password": PASSWORD}
            done = await browser.client.post(f"{portal.url}/login/password", data=fields)
            assert (done.status_code, done.headers["location"]) == (303, "/")
            browser.client.cookies.delete("portal_session")


async def test_no_secret_of_a_login_reaches_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        claim = await portal.identity.claim_path()
        assert claim is None
        login = await browser.open("/login")
        await sign_in(browser, login, password="a wrong password to look for")
        await sign_in(browser, login)
        secrets = [PASSWORD, "a wrong password to look for", *browser.client.cookies.values()]
        logged = "".join(capsys.readouterr())
        assert "signed in" in logged
        assert [secret for secret in secrets if secret in logged] == []


async def test_pages_cannot_be_framed_run_no_script_and_are_not_kept(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        page = await browser.open("/login")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script" not in policy + page.html.lower().replace("description", "")
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["cache-control"] == "no-store"


async def test_behind_a_public_url_every_cookie_is_host_only_secure_and_closed_to_scripts(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, public_url="https://portal.example.com") as portal:
        async with browser_at(portal.url) as browser:
            await portal.account()
            headers = {"Host": "portal.example.com", "Origin": "https://portal.example.com"}
            login = await browser.client.get(f"{portal.url}/login", headers=headers)
            (seen,) = login.headers.get_list("set-cookie")
            token = re.search(r'name="form_token" value="(\w+)"', login.text)
            assert token is not None
            cookie = {"Cookie": seen.partition(";")[0]}
            fields = {"form_token": token[1], "email": EMAIL, "password": PASSWORD}
            done = await browser.client.post(f"{portal.url}/login/password", data=fields, headers={**headers, **cookie})
            assert done.status_code == 303
            for line in (seen, *done.headers.get_list("set-cookie")):
                assert line.startswith("__Host-")
                attributes = {part.strip().lower() for part in line.split(";")[1:]}
                assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
                assert not any(part.startswith("domain") for part in attributes)


async def test_what_an_administrator_writes_is_shown_as_text(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        design = {"header_text": "<script>alert(1)</script>", "background_color": "#102030"}
        await portal.store.create(
            plain("settings"), "login", {"name": "<b>Acme</b>", "login_design": design}, by="test"
        )
        page = await browser.open("/login")
        assert "<script>" not in page.html
        assert "<b>Acme" not in page.html
        assert "&lt;b&gt;Acme" in page.html
        assert "#102030" in (await browser.open("/login/style.css")).html
