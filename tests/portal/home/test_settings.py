"""Everything that a page shows is set where the chapter says: in the document, and over it in the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from portal.app import Instance, Parts
from portal.config import parse_config
from portal.errors import StartError
from portal.home import routes
from portal.logs import Discard
from portal.pages import over
from portal.state import plain
from tests.portal.app.many_portals import Many, Place, browser_of, many_portals
from tests.portal.login.browser import Browser
from tests.portal.login.guarded import EMAIL, PASSWORD
from tests.portal.oauth.agent import Agent
from tests.portal.state.databases import new_state

pytestmark = [pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
DESIGN = {
    "background_color": "#102030",
    "text_color": "#fefefe",
    "logo_path": "https://acme.example/logo.svg",
    "header_text": "Sign in with your staff account.",
    "footer_text": "help@acme.example",
}


async def signed_in(browser: Browser, place: Place) -> str:
    """Sign in; the header that sets the session."""
    page = await browser.open(f"{place.url}/login")
    data = page.form(f"{place.prefix}/login/password").fields | {"email": EMAIL, "password": PASSWORD}
    answer = await browser.client.post(f"{place.url}/login/password", data=data, headers={"Origin": origin_of(place)})
    return answer.headers["set-cookie"]


def origin_of(place: Place) -> str:
    return place.url.removesuffix(place.prefix)


async def looks(browser: Browser, place: Place) -> dict[str, bool]:
    """Which parts of the design a portal shows where they belong."""
    home, login = await browser.open(f"{place.url}/"), await browser.open(f"{place.url}/login")
    sheet = (await browser.open(f"{place.url}/login/style.css")).html
    nothing = await browser.client.get(f"{place.url}/nothing", headers={"Accept": "text/html"})
    pages = [home.html, login.html]
    return {
        "header_text": all(DESIGN["header_text"] in page for page in pages),
        "footer_text": all(DESIGN["footer_text"] in page for page in [*pages, nothing.text]),
        "logo_path": all(f'src="{DESIGN["logo_path"]}"' in page for page in [*pages, nothing.text])
        and "img-src 'self' https://acme.example;" in home.headers["content-security-policy"],
        "background_color": "--background: #102030" in sheet and "--background: #102030" in nothing.text,
        "text_color": "--text: #fefefe" in sheet,
    }


@pytest.mark.anyio
async def test_the_design_of_the_document_shows_at_every_portal(tmp_path: Path) -> None:
    async with many_portals(tmp_path, organization={"login_design": DESIGN}) as many, browser_of(many) as browser:
        await many.account()
        for place in many.places:
            assert await looks(browser, place) == dict.fromkeys(DESIGN, True), place


@pytest.mark.anyio
async def test_sessions_last_as_long_as_the_document_says_and_the_store_over_it(tmp_path: Path) -> None:
    async with many_portals(tmp_path, organization={"session_duration": "30m"}) as many, browser_of(many) as browser:
        await many.account()
        assert "Max-Age=1800" in await signed_in(browser, many.docs)
        await stored(many, {"session_duration": "45m"})
        assert "Max-Age=2700" in await signed_in(browser, many.ops)


@pytest.mark.anyio
async def test_what_is_stored_wins_setting_by_setting(tmp_path: Path) -> None:
    organization = {"login_design": DESIGN, "custom_deny_message": "Ask Grace first"}
    async with many_portals(tmp_path, organization=organization) as many, browser_of(many) as browser:
        await many.account()
        await stored(many, {"login_design": {"header_text": "Welcome"}, "custom_deny_message": ""})
        page = await browser.open(f"{many.docs.url}/login")
        assert "Welcome" in page.text and DESIGN["footer_text"] not in page.text
        await signed_in(browser, many.docs)
        rules = await many.identity(many.docs).login.directory.rules()
        assert rules.block.message == "Ask Grace first"


@pytest.mark.anyio
async def test_the_refused_are_shown_what_the_document_says(tmp_path: Path) -> None:
    async def refused(folder: str, **organization: Any) -> tuple[str, str]:
        (tmp_path / folder).mkdir()
        contact = {"contact": "it@acme.example"}
        # Nobody is let in who is not an administrator, and an administrator is refused by this policy.
        policy = {"id": "none", "decision": "deny", "include": [{"everyone": {}}]}
        portals = many_portals(tmp_path / folder, policies=[policy], organization=organization, **contact)
        async with portals as many, browser_of(many) as browser:
            await many.account()
            agent = Agent(many.own, browser.client)  # type: ignore[arg-type]
            await agent.register()
            await signed_in(browser, many.own)
            page = await browser.open(agent.authorize_url())
            return page.left_for, page.text

    assert (await refused("url", custom_deny_url="https://acme.example/no"))[0] == "https://acme.example/no"
    _, text = await refused("message", custom_deny_message="Ask Grace first")
    assert "Ask Grace first" in text and "it@acme.example" in text
    assert "Nothing for you" in (await refused("html", custom_deny_html="<h1>Nothing for you</h1>"))[1]


async def stored(many: Many, document: dict[str, Any]) -> None:
    await many.store.create(plain("settings"), "login", document, by="test")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("organization", "words"),
    [
        ({"login_design": {"text_color": "hush-7"}}, "text_color must be a colour such as #1c1c1a"),
        ({"login_design": {"logo_path": "http://hush.example/a.svg"}}, "logo_path must be an https:// URL"),
        ({"login_design": {"headline": "x"}}, "'headline' is no setting of the login; there are: "),
        ({"login_design": "hush"}, "login_design must be an object"),
        ({"session_duration": "hush"}, "session_duration must be a duration such as 24h"),
        ({"session_duration": "10s"}, "session_duration must be at least one minute"),
        ({"custom_deny_url": "javascript:hush"}, "custom_deny_url must be an https:// URL"),
        ({"auto_redirect_to_identity": "hush"}, "auto_redirect_to_identity must be true or false"),
        ({"name": "hush"}, "name is that of the portal"),
        ({"mfa_config": {}}, "'mfa_config' is no setting of the login"),
    ],
)
async def test_a_mistake_in_the_document_stops_the_start_with_its_name_and_not_its_value(
    tmp_path: Path, organization: dict[str, Any], words: str
) -> None:
    document = {
        "mcpServers": {},
        "portal": {"state": new_state(tmp_path), "identity": {"organization": organization}},
    }
    with pytest.raises(StartError) as caught:
        async with Instance.open(parse_config(document, env={}), Discard(), parts=Parts(code=None)):
            pass
    assert f"portal.identity: organization: {words}" in str(caught.value) and "hush" not in str(caught.value)


def test_an_empty_setting_says_nothing_and_false_says_no() -> None:
    defaults = {"custom_deny_message": "Ask", "auto_redirect_to_identity": True, "allowed_idps": ["okta"]}
    nothing = {"custom_deny_message": "", "login_design": {}, "allowed_idps": []}
    assert over(defaults, nothing) == defaults
    assert over(defaults, {"auto_redirect_to_identity": False})["auto_redirect_to_identity"] is False


def test_the_example_of_the_chapter_is_a_configuration(tmp_path: Path) -> None:
    chapter = (Path(routes.__file__).parent / "README.md").read_text(encoding="utf-8")
    document = json.loads(chapter.partition("```json\n")[2].partition("```")[0])
    section = parse_config(document, env={}).portal.identity
    assert section is not None and section.organization["session_duration"] == "12h"
