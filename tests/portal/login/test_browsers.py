"""What a person sees whose browser opens any address of a portal: a page and never JSON. Programs get JSON."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.config import say_duration
from portal.http.browsers import is_shown_to_person
from portal.identity import Identity
from portal.pages import Surroundings, notice
from portal.pages.notices import reason_of
from portal.pages.pages import link_of
from portal.state import plain
from tests.portal.login.browser import Page, browser_at
from tests.portal.login.guarded import EMAIL, Guarded, Rules, guarded_portal
from tests.portal.oauth.agent import Agent
from tests.portal.portals import Portal, portal_over

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
NAVIGATION = {"Accept": CHROME, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
OLDER = {"Accept": CHROME}
# What Java's own HTTP client accepts if nobody says anything else.
LIBRARY = {"Accept": "text/html, image/gif, image/jpeg, */*; q=0.2"}
PATHS = [
    "/no/such/page",
    "/docs/mcp",
    "/mcp",
    "/mcp?codemode=nonsense",
    "/token",
    "/revoke",
    "/register",
    "/authorize",
    "/authorize?client_id=unknown",
    "/authorize?client_id=a&client_id=b",
    "/authorize/consent",
    "/authorize/consent?request=expired",
    "/login/callback?state=expired&code=x",
    "/login/with/nobody",
    "/login/claim?token=expired",
    "/login/invitation?token=expired",
    "/login/reset?token=expired",
    "/login/password",
    "/login/pin",
    "/.well-known/nothing",
    "/.well-known/oauth-protected-resource/other",
    "/client/v4/accounts/none/tokens",
    "/client/v4/nothing",
    "/cdn-cgi/access/sso/oidc/none/authorization",
    "/cdn-cgi/access/sso/oidc/none/token",
    "/robots.txt",
]


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded_portal(tmp_path) as portal:
        await portal.account()
        yield portal


@pytest.fixture
async def bare() -> AsyncIterator[Portal]:
    async with portal_over({}) as portal:
        yield portal


def is_page(answer: httpx2.Response) -> bool:
    return answer.headers["content-type"].startswith("text/html") and "<h1>" in answer.text


async def test_no_address_of_a_portal_shows_json_to_a_person(guarded: Guarded) -> None:
    async with httpx2.AsyncClient(base_url=guarded.url, trust_env=False) as http:
        for path in PATHS:
            for headers in (NAVIGATION, OLDER):
                answer = await http.get(path, headers=headers)
                assert is_page(answer), (path, answer.text[:200])
                assert answer.status_code >= 400
                assert answer.headers["x-frame-options"] == "DENY"
                assert "script-src" not in answer.headers["content-security-policy"]


async def test_nor_does_one_where_nobody_signs_in_and_it_says_what_the_address_is_for(bare: Portal) -> None:
    async with httpx2.AsyncClient(base_url=bare.url, trust_env=False) as http:
        for path in ("/", "/mcp", "/no/such/page", "/login"):
            answer = await http.get(path, headers=NAVIGATION)
            assert is_page(answer), path
            assert (f"{bare.url}/mcp" in answer.text) is (path in ("/", "/mcp"))


async def test_a_refusal_at_the_edge_is_a_page_without_anything_of_the_portal(guarded: Guarded) -> None:
    async with httpx2.AsyncClient(base_url=guarded.url, trust_env=False) as http:
        answer = await http.get("/login", headers={**NAVIGATION, "Host": "evil.example"})
        assert answer.status_code == 421 and is_page(answer)
        assert "codemode-portal" not in answer.text and "/mcp" not in answer.text
        foreign = {**NAVIGATION, "Origin": "https://evil.example"}
        assert is_page(await http.post("/login/password", data={"email": "a"}, headers=foreign))
        large = await http.post("/login/password", content=b"x" * 2_000_000, headers=NAVIGATION)
        assert large.status_code in (413, 415) and is_page(large)
        wrong = await http.post("/login/pin", json={}, headers=OLDER)
        assert wrong.status_code == 415 and is_page(wrong)


async def test_the_icon_that_browsers_ask_for_unasked_is_there_also_where_nobody_signs_in(
    guarded: Guarded, bare: Portal
) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        for url in (guarded.url, bare.url):
            answer = await http.get(f"{url}/favicon.ico", headers={"Accept": "image/*", "Sec-Fetch-Dest": "image"})
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml"), url
            assert answer.text.startswith("<svg") and "max-age" in answer.headers["cache-control"]
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        named = await http.get(f"{guarded.url}/login/icon.svg")
        assert named.content == answer.content


async def test_programs_get_the_json_that_they_got_before(guarded: Guarded) -> None:
    async with httpx2.AsyncClient(base_url=guarded.url, trust_env=False) as http:
        for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json, text/event-stream"}):
            for path in ("/mcp", "/no/such/page", "/client/v4/nothing", "/token"):
                answer = await http.get(path, headers=headers)
                assert answer.headers["content-type"] == "application/json", path
        challenged = await http.get("/mcp", headers=NAVIGATION)
        assert challenged.status_code == 401 and "resource_metadata" in challenged.headers["www-authenticate"]
        fetched = {"Accept": CHROME, "Sec-Fetch-Mode": "cors"}
        assert (await http.get("/mcp", headers=fetched)).headers["content-type"] == "application/json"
        for path in ("/token", "/revoke"):
            answer = await http.post(path, data={"grant_type": "nonsense"}, headers=LIBRARY)
            assert answer.json()["error"], path
        assert (await http.get("/healthz", headers=NAVIGATION)).json() == {"status": "ok"}


@asynccontextmanager
async def refused_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, person: bool = True, **settings: Any
) -> AsyncIterator[Page]:
    """The page for somebody who signed in and is refused, for who they are or for how they come."""

    async def about_person(rules: Rules, identity: Identity, place: str) -> bool:
        return person

    monkeypatch.setattr(Rules, "refused_for_identity", about_person)
    async with (
        guarded_portal(folder, **settings) as portal,
        browser_at(portal.url) as browser,
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        await portal.account()
        portal.rules.allowed = lambda identity: False
        agent = Agent(portal, http)
        await agent.register()
        yield await agent.ask(browser)


async def test_whoever_is_refused_learns_who_they_are_why_and_whom_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with refused_page(tmp_path, monkeypatch, contact="it@acme.example") as page:
        assert page.status == 403
        assert f"You are signed in as {EMAIL}" in page.text and "No policy lets this account in." in page.text
        assert page.link("it@acme.example") == "mailto:it@acme.example"
        assert page.link("sign in as somebody else") == "/logout"


async def test_without_a_contact_the_administrators_are_to_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with refused_page(tmp_path, monkeypatch, name="Acme tools", person=False) as page:
        assert "Ask the administrators of Acme tools" in page.text
        assert "the network, the country, the device" in page.text


async def test_the_way_to_sign_in_that_people_use_is_the_primary_one(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:

        async def primary() -> list[str]:
            page = (await browser.open("/login?choose")).html
            return re.findall(r'class="action first"[^>]*>([^<]+)<', page)

        await portal.account()
        assert await primary() == ["Sign in"]
        await portal.store.create(plain("identity_provider"), "pin", {"name": "P", "type": "onetimepin"}, by="test")
        assert await primary() == ["Send me a PIN"]
        for id in ("one", "two"):
            github = {"name": id, "type": "github", "config": {"client_id": "x"}}
            await portal.store.create(plain("identity_provider"), id, github, by="test", secret=b"x")
        assert await primary() == ["Sign in with one"]


async def test_consent_says_for_how_long_in_words(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        browser_at(portal.url) as browser,
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        await portal.account()
        agent = Agent(portal, http)
        await agent.register()
        page = await agent.ask(browser)
        assert "24 hours, or until you sign out everywhere" in page.text and "24h" not in page.text


@pytest.mark.parametrize(
    ("lasts", "words"),
    [
        (timedelta(hours=24), "24 hours"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(minutes=90), "1 hour and 30 minutes"),
        (timedelta(days=30), "30 days"),
        (timedelta(hours=49, minutes=1, seconds=1), "2 days, 1 hour, 1 minute and 1 second"),
        (timedelta(seconds=30), "30 seconds"),
        (timedelta(), "0 seconds"),
    ],
)
def test_a_duration_in_words(lasts: timedelta, words: str) -> None:
    assert say_duration(lasts) == words


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("it@acme.example", "mailto:it@acme.example"),
        ("https://help.acme.example/access", "https://help.acme.example/access"),
        ("the service desk, room 7", ""),
        ("javascript:alert(1)", ""),
        ("a@b.c?bcc=x@y.z", ""),
        ("a?b@c.d", "mailto:a%3Fb@c.d"),
        ("", ""),
    ],
)
def test_a_contact_is_a_link_where_it_is_an_address(contact: str, link: str) -> None:
    assert link_of(contact) == link


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"jsonrpc":"2.0","error":{"message":"too many"}}', "Too many."),
        (b'{"error":"invalid_request","error_description":"code is missing"}', "Code is missing."),
        (b'{"success":false,"errors":[{"code":1,"message":"No route"}]}', "No route."),
        (b'{"error":"invalid_request"}', ""),
        (b"[1]", ""),
        (b"not json", ""),
        (b'{"errors":[7],"error":{"message":9}}', ""),
        (b"", ""),
    ],
)
def test_the_sentence_of_every_kind_of_error_is_found(body: bytes, text: str) -> None:
    assert reason_of(body) == text


def test_what_an_error_says_is_text_and_never_markup() -> None:
    page = notice(403, b'{"error":{"message":"<script>alert(1)</script>"}}', Surroundings()).body
    assert b"<script>" not in bytes(page) and b"&lt;script&gt;" in bytes(page)


def test_a_page_is_for_navigation_and_for_forms_of_our_own_pages() -> None:
    def shown(method: str, path: str, **headers: str) -> bool:
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return is_shown_to_person({"type": "http", "method": method, "path": path, "headers": raw})

    assert shown("GET", "/x", accept=CHROME) and shown("POST", "/login/pin", accept=CHROME)
    assert shown("POST", "/docs/logout", accept=CHROME)
    assert shown("POST", "/token", sec_fetch_mode="navigate")
    assert not shown("POST", "/token", accept=CHROME)
    assert not shown("GET", "/x", accept="*/*") and not shown("GET", "/x")
    assert not shown("GET", "/x", accept=CHROME, sec_fetch_mode="no-cors")
    assert not shown("POST", "/loginx", accept=CHROME)
