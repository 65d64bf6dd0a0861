"""The home page: the address to give to an agent, how to set up each client, and where the page leads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import CodeTool
from portal.app import Parts, serving
from portal.config import CodeModePolicy
from portal.home import CODE_MODE, offered
from portal.home.moments import ago, ahead
from portal.oauth.settings import OAuthSettings, Registration
from portal.state import plain
from tests.portal.app.many_portals import browser_of, many_portals, sign_in_at
from tests.portal.credentials.authority import login_authority, protected
from tests.portal.elicitation.people import connected, people, signed_in
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, guarded_portal, sign_in
from tests.portal.portals import opened

pytestmark = [pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
URL = "https://mcp.example.com/mcp"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("policy", "address", "other"),
    [("opt_in", CODE_MODE, ""), ("default_on", "", "?codemode=off"), ("enforced", "", None), ("off", "", None)],
)
async def test_the_address_with_code_mode_is_offered_where_the_owner_allows_it(
    tmp_path: Path, code_tool: CodeTool, policy: str, address: str, other: str | None
) -> None:
    portals = guarded_portal(tmp_path, code=code_tool, code_mode=policy)
    async with portals as portal, browser_at(portal.url) as browser:
        page = await browser.open("/")
        assert f'<code id="address">{portal.mcp}{address}</code>' in page.html
        assert ("The agent sees one tool" in page.text) is (policy != "off")
        assert ("To have them listed instead" in page.text) is (other is not None)
        if other is not None:
            assert f'<code class="plain">{portal.mcp}{other}</code>' in page.html


@pytest.mark.anyio
async def test_without_anything_that_runs_programs_the_plain_address_is_offered(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        assert f'<code id="address">{portal.mcp}</code>' in (await browser.open("/")).html


def test_an_offer_is_made_for_every_decision_about_code_mode() -> None:
    for policy in CodeModePolicy:
        offer = offered(URL, policy)
        assert offer.url.startswith(URL) and offer.other != offer.url
        assert offer.code_mode is (policy is not CodeModePolicy.OFF)


@pytest.mark.anyio
async def test_the_page_says_who_is_signed_in_and_leads_to_signing_in_and_out(tmp_path: Path) -> None:
    design = {"header_text": "Sign in with your staff account.", "footer_text": "help@acme.example"}
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        await portal.store.create(plain("settings"), "login", {"name": "Acme tools", "login_design": design}, by="test")
        page = await browser.open("/")
        assert page.link("Sign in") == "/login?return=/" and "Your agents" not in page.text
        assert "Acme tools" in page.text and design["header_text"] in page.text and design["footer_text"] in page.text
        assert "claude mcp add --transport http acme-tools" in page.text
        page = await sign_in(browser, await browser.open(page.link("Sign in")))
        assert f"You are signed in as {EMAIL}" in page.text and page.link("Sign out") == "/logout"
        assert design["header_text"] not in page.text


@pytest.mark.anyio
async def test_the_page_of_a_persons_servers_is_named_to_whoever_is_signed_in(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        assert "Your servers" not in (await browser.open("/")).text
        assert (await sign_in(browser, await browser.open("/login"))).link("Manage your servers") == "/servers"


@pytest.mark.anyio
async def test_a_persons_servers_are_listed_with_their_states_those_that_need_a_login_first(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        servers = {"fixed": {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer x"}}}
        async with people(tmp_path, {**servers, "files": {"url": host.url}}) as portal:
            async with signed_in(portal, issuing.url) as browser:
                page = await browser.open("/")
                assert "files Absent: no login yet Connect fixed Needs no login." in page.text
                assert page.link("Connect") == "/servers"
                await connected(browser, await browser.open("/servers"))
                page = await browser.open("/")
                assert "files Ready: logged in" in page.text and "no login yet" not in page.text


@pytest.mark.anyio
async def test_of_many_servers_the_page_lists_some_and_says_how_many_more_there_are(tmp_path: Path) -> None:
    fixed = {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer x"}}
    servers = {f"server-{number}": fixed for number in range(23)}
    async with people(tmp_path, servers) as portal, signed_in(portal) as browser:
        page = await browser.open("/")
        assert page.text.count("Needs no login.") == 20 and "And 3 more." in page.text


@pytest.mark.anyio
async def test_a_client_that_may_not_register_is_shown_with_what_an_administrator_must_write(tmp_path: Path) -> None:
    async def notes(*allowed: str) -> str:
        oauth = OAuthSettings(registration=Registration(allowed_uris=allowed))
        async with guarded_portal(tmp_path, oauth=oauth) as portal, browser_at(portal.url) as browser:
            return (await browser.open("/")).text

    assert "add cursor://anysphere.cursor-mcp/oauth/callback to allowed_uris" in await notes()
    assert "to allowed_uris" not in await notes("cursor://*")


@pytest.mark.anyio
async def test_every_portal_has_a_home_page_with_its_own_address(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        await many.account()
        for place in many.places:
            page = await sign_in_at(browser, place)
            assert page.url == f"{place.url}/"
            assert f'<code id="address">{place.mcp}</code>' in page.html
            assert page.link("Sign out") == f"{place.prefix}/logout"


@pytest.mark.anyio
async def test_where_nobody_signs_in_the_page_says_how_to_connect_and_nothing_of_signing_in() -> None:
    document = {
        "mcpServers": {},
        "portal": {"name": "Acme tools"},
        "portals": {"docs": {"name": "Documentation", "servers": [], "codeMode": "off"}},
    }
    async with (
        opened(document, parts=Parts(code=None)) as instance,
        serving(instance) as url,
        browser_at(url) as browser,
    ):
        for path, name in (("/", "Acme tools"), ("/docs", "Documentation")):
            page = await browser.open(path)
            assert page.status == 200 and name in page.text
            assert f'<code id="address">{url}{path.removesuffix("/")}/mcp</code>' in page.html
            assert "Sign in" not in page.text and page.forms == [] and "set-cookie" not in page.headers
        assert (await browser.client.head(f"{url}/")).status_code == 200


@pytest.mark.anyio
async def test_one_script_of_ours_may_run_on_the_page_and_no_other(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        for path, scripts in (("/", 1), ("/login", 0), ("/logout", 0)):
            page = await browser.open(path)
            policy = page.headers["content-security-policy"]
            assert page.html.count("<script>") == scripts and policy.count("script-src 'sha256-") == scripts
            assert "unsafe" not in policy and policy.startswith("default-src 'none'")


NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "words", "left"),
    [
        (timedelta(seconds=-5), "just now", "in a moment"),
        (timedelta(seconds=59), "just now", "in a moment"),
        (timedelta(minutes=1), "1 minute ago", "in 1 minute"),
        (timedelta(minutes=119), "1 hour ago", "in 1 hour"),
        (timedelta(hours=47), "1 day ago", "in 1 day"),
        (timedelta(days=13, hours=23), "13 days ago", "in 13 days"),
    ],
)
def test_a_moment_in_words(passed: timedelta, words: str, left: str) -> None:
    assert ago(NOW - passed, NOW) == words
    assert ahead(NOW + passed, NOW) == left


def test_what_was_long_ago_is_a_date() -> None:
    assert ago(NOW - timedelta(days=14), NOW) == "on 15 November 2026"
    assert ahead(NOW + timedelta(days=40), NOW) == "on 8 January 2027"


@pytest.mark.parametrize("say", [ago, ahead])
@given(seconds=st.integers(-(10**8), 10**8))
def test_every_moment_has_words(say: Callable[[datetime, datetime], str], seconds: int) -> None:
    assert say(NOW + timedelta(seconds=seconds), NOW)
