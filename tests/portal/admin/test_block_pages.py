"""What somebody without access meets is what Cloudflare's SDK wrote into the application, in a browser or an agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.access import Access, Sources, read_document, refused_for_identity
from portal.identity import Identity
from portal.objects import AppDocument
from portal.pages.blocks import block_of
from portal.pages.rules import DENIED, Block
from tests.portal.admin.ruled import Ruled, ruled_portal
from tests.portal.login.browser import Browser, Page, browser_at
from tests.portal.oauth.agent import Agent

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
STAFF = {"name": "Staff", "decision": "allow", "include": [{"email_domain": {"domain": "staff.example"}}]}
OFFICE = {
    "name": "From the office",
    "decision": "allow",
    "include": [{"everyone": {}}],
    "require": [{"ip": {"ip": "192.0.2.0/24"}}],
}
HTML = "<h1>Ask Grace</h1><script>document.title = 'ran'</script>"
PERSON = Identity(id="local:1", email="ada@example.com", idp_id="local", login_method="local", ip="127.0.0.1")


async def ask(portal: Ruled, browser: Browser) -> Page:
    """Sign in for an agent; the page in the place of consent."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        agent = Agent(portal, http)  # type: ignore[arg-type]
        await agent.register()
        return await agent.ask(browser)


async def test_somebody_refused_for_who_he_is_is_shown_what_the_application_says(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.person()
        apps, account = portal.access.applications, portal.account
        here = {"account_id": account, "type": "mcp_portal", "name": "Here", "domain": "localhost"}
        app = await apps.create(**here, policies=[STAFF], custom_deny_message="Only staff. Ask Grace.")
        page = await ask(portal, browser)
        assert (page.status, "Only staff. Ask Grace." in page.text, DENIED in page.text) == (403, True, False)
        shown = await portal.access.custom_pages.create(
            account_id=account, name="No", type="identity_denied", custom_html=HTML
        )
        other = await portal.access.custom_pages.create(
            account_id=account, name="Not from there", type="forbidden", custom_html="<h1>Not from there</h1>"
        )
        pages = [other.uid, shown.uid]
        await apps.update(app.id, **here, policies=[STAFF], custom_pages=pages)
        page = await ask(portal, browser)
        assert (page.status, page.html) == (403, HTML)
        # Nothing in it runs, loads, is framed or sent anywhere.
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src" not in policy and "form-action 'none'" in policy
        assert (page.headers["x-frame-options"], page.headers["x-content-type-options"]) == ("DENY", "nosniff")
        # Whoever would come in from elsewhere is told so, not that it is not for them.
        await apps.update(app.id, **here, policies=[OFFICE], custom_pages=pages)
        assert (await ask(portal, browser)).html == "<h1>Not from there</h1>"
        urls = {"custom_deny_url": "https://a.example/who", "custom_non_identity_deny_url": "https://a.example/where"}
        await apps.update(app.id, **here, policies=[OFFICE], **urls)
        assert (await ask(portal, browser)).left_for == "https://a.example/where"
        await apps.update(app.id, **here, policies=[STAFF], **urls)
        assert (await ask(portal, browser)).left_for == "https://a.example/who"
        await apps.update(app.id, **here, policies=[STAFF])
        assert DENIED in (await ask(portal, browser)).text


async def test_a_change_decides_when_it_is_answered(tmp_path: Path) -> None:
    anybody = {"name": "All", "decision": "allow", "include": [{"everyone": {}}]}
    async with ruled_portal(tmp_path) as portal:
        app = await portal.portal_app(policies=[STAFF])
        here = {"account_id": portal.account, "type": "mcp_portal", "name": "Here", "domain": "localhost"}
        decided = []
        for policy in (anybody, STAFF) * 5:
            await portal.access.applications.update(app.id, **here, policies=[policy])
            decided.append(portal.access_now.portal(PERSON).allowed)
        assert decided == [True, False] * 5


async def test_a_program_that_is_refused_is_told_and_its_browser_shown_the_same(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        robot = await portal.access.service_tokens.create(account_id=portal.account, name="Nightly")
        said = {
            "custom_deny_message": "Robots ask at the gate.",
            "custom_non_identity_deny_url": "https://a.example/robots",
        }
        await portal.portal_app(policies=[STAFF], **said)
        credentials = {"CF-Access-Client-Id": robot.client_id, "CF-Access-Client-Secret": robot.client_secret}
        headers = {**credentials, "Accept": "application/json, text/event-stream"}
        refused = await http.post(portal.mcp, json={}, headers=headers)
        error = refused.json()["error"]
        assert (refused.status_code, error["message"][:9], error["data"]) == (
            403,
            "No policy",
            {
                "reason": "denied",
                "policy": "default-deny",
                "url": said["custom_non_identity_deny_url"],
                "message": said["custom_deny_message"],
            },
        )
        page = await http.get(portal.mcp, headers={**credentials, "Accept": "text/html,application/xhtml+xml"})
        assert (page.status_code, page.headers["location"]) == (302, said["custom_non_identity_deny_url"])


async def test_an_application_that_signs_people_in_shows_its_own_page(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.person()
        redirect = "https://tickets.example.com/callback"
        app = await portal.access.applications.create(
            account_id=portal.account,
            type="saas",
            name="Tickets",
            saas_app={"auth_type": "oidc", "redirect_uris": [redirect]},
            policies=[STAFF],
            custom_deny_message="Tickets are for staff.",
        )
        client = app.saas_app.client_id
        asked = f"response_type=code&scope=openid&client_id={client}&redirect_uri={redirect}"
        page = await browser.open(f"/cdn-cgi/access/sso/oidc/{client}/authorization?{asked}")
        page = await browser.submit(page, "/login/password", email="ada@example.com", password="correct horse battery")
        assert (page.status, "Tickets are for staff." in page.text) == (403, True)


async def test_a_page_an_application_uses_stays(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, httpx2.AsyncClient(headers=portal.headers(), trust_env=False) as http:
        page = {"name": "No", "type": "forbidden", "custom_html": "<h1>No</h1>"}
        uid = (await http.post(portal.at("/access/custom_pages"), json=page)).json()["result"]["uid"]
        app = {"name": "Here", "type": "mcp_portal", "domain": "localhost", "custom_pages": ["unknown"]}
        unknown = await http.post(portal.at("/access/apps"), json=app)
        assert (unknown.status_code, "does not exist" in unknown.text) == (409, True)
        assert (await http.post(portal.at("/access/apps"), json={**app, "custom_pages": [uid]})).status_code == 201
        assert (await http.delete(portal.at(f"/access/custom_pages/{uid}"))).status_code == 409
        bent = {**app, "custom_pages": [], "custom_deny_url": "https://a.example/\r\nX: y"}
        assert (await http.post(portal.at("/access/apps"), json=bent)).status_code == 400


@pytest.mark.parametrize(
    ("policy", "who"),
    [
        ({"include": [{"email": {"email": "eve@example.com"}}]}, True),
        ({"include": [{"okta": {"name": "staff", "identity_provider_id": "okta"}}]}, True),
        ({"include": [{"everyone": {}}], "require": [{"device_posture": {"integration_uid": "disk"}}]}, False),
        ({"include": [{"email": {"email": "ada@example.com"}}], "exclude": [{"ip": {"ip": "127.0.0.1"}}]}, False),
        ({"include": [{"email": {"email": "eve@example.com"}}], "require": [{"geo": {"country_code": "SE"}}]}, True),
        ({"include": [{"group": {"id": "near"}}]}, False),
        ({"include": [{"group": {"id": "friends"}}]}, True),
        ({"decision": "bypass", "include": [{"ip": {"ip": "192.0.2.0/24"}}]}, True),
        ({"decision": "non_identity", "include": [{"any_valid_service_token": {}}]}, True),
    ],
)
async def test_somebody_is_refused_for_who_he_is_when_nothing_else_would_have_helped(
    policy: dict[str, Any], who: bool
) -> None:
    groups = [
        {"id": "near", "include": [{"ip": {"ip": "192.0.2.0/24"}}]},
        {"id": "friends", "include": [{"email": {"email": "eve@example.com"}}]},
    ]
    given = {"id": "p", "decision": "allow", **policy}
    sources = Sources(identity_providers={"okta": "okta", "local": "local"})
    access = Access(read_document({"portal": {"policies": [given]}, "groups": groups}), sources)
    assert not access.portal(PERSON).allowed
    assert refused_for_identity(access, PERSON) is who
    assert not refused_for_identity(access, Identity(service_token_id="robot"))


async def test_a_deny_by_name_is_for_who_somebody_is_and_one_by_place_is_not() -> None:
    allow = {"id": "all", "decision": "allow", "include": [{"everyone": {}}], "precedence": 2}
    for rule, who in (({"email": {"email": PERSON.email}}, True), ({"ip": {"ip": "127.0.0.1"}}, False)):
        deny = {"id": "no", "decision": "deny", "include": [rule], "precedence": 1}
        access = Access(read_document({"portal": {"policies": [allow, deny]}}))
        assert (access.portal(PERSON).policy, refused_for_identity(access, PERSON)) == ("no", who)


def app(**members: Any) -> AppDocument:
    return AppDocument.model_validate({"type": "mcp_portal", **members})


async def test_what_an_application_does_not_say_is_as_the_login_settings_say() -> None:
    settings = Block(message="Ask the desk", html="<p>desk</p>")
    assert block_of(app(), {}, settings, person=True) is settings
    assert block_of(app(custom_pages=["gone"]), {}, settings, person=True) is settings
    assert block_of(app(custom_deny_url="https://a.example"), {}, settings, person=False) is settings
    assert block_of(app(custom_deny_message="Own"), {}, settings, person=False) == Block(message="Own")
    assert block_of(app(custom_deny_url="javascript:alert(1)"), {}, settings, person=True) == Block(
        message="Ask the desk"
    )
