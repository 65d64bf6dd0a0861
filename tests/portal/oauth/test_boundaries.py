"""What is good for one thing is good for nothing else: credentials, forms, pages, and answers that leave the portal."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from portal.oauth.assertions import claims_of
from portal.oauth.settings import OAuthSettings
from portal.pages.pages import script_text, source_of
from portal.state import plain
from tests.hostile.client import Attacker, RawRequest
from tests.portal.login.browser import Page, browser_at
from tests.portal.login.guarded import EMAIL, Guarded, guarded_portal, sign_in
from tests.portal.oauth.agent import REDIRECT, Agent, answer_in
from tests.portal.oauth.test_assertions import ADA, AUDIENCE
from tests.portal.oauth.test_client_documents import CLIENT, document
from tests.portal.oauth.test_saas import REDIRECT as APP_REDIRECT
from tests.portal.oauth.test_saas import Connected

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


async def credentials(portal: Guarded, app: Connected, agent: Agent) -> dict[str, str]:
    """One of each kind the portal gives out, all of them valid."""
    async with browser_at(portal.url) as browser:
        tokens = dict(await agent.log_in(browser))
        code = (await agent.allowed(browser))["code"]
        query = f"response_type=code&scope=openid&client_id={app.client_id}&redirect_uri={APP_REDIRECT}"
        answered = answer_in((await browser.open(f"{app.base}/authorization?{query}")).left_for)
        exchange = {"grant_type": "authorization_code", "code": answered["code"], "redirect_uri": APP_REDIRECT}
        secret = {"client_id": app.client_id, "client_secret": app.secret}
        theirs = (await agent.http.post(f"{app.base}/token", data=exchange | secret)).json()
        service = await portal.identity.shared.service_tokens.create("ci", by="test")
        return {
            "access": tokens["access_token"],
            "refresh": tokens["refresh_token"],
            "code": code,
            "app's access": theirs["access_token"],
            "app's refresh": theirs["refresh_token"],
            "app's id token": theirs["id_token"],
            "session": browser.client.cookies["portal_session"],
            "browser": browser.client.cookies["portal_browser"],
            "API": (await portal.admin.tokens.create_with_all("t", "test")).value,
            "service": service.client_secret,
            "assertion": await portal.identity.shared.keys.sign(claims_of(ADA, portal.url, AUDIENCE, int(time.time()))),
        }


async def test_every_credential_opens_its_own_door_and_no_other(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, audiences={"tickets": AUDIENCE}) as portal:
        async with httpx2.AsyncClient(trust_env=False) as http:
            portal.identity.assertions.issuer = portal.url
            portal.rules.allowed = lambda identity: bool(identity.key or identity.linked_apps)
            app, agent = await Connected(portal).store(), Agent(portal, http)
            held = await credentials(portal, app, agent)
            agent.tokens = {}
            admin = f"{portal.url}/client/v4/accounts/{portal.admin.account_id}/tokens"

            async def doors(value: str) -> dict[str, int]:
                bearer, cookie = {"Authorization": f"Bearer {value}"}, {"Cookie": f"portal_session={value}"}
                basic = {"client_id": app.client_id, "client_secret": app.secret, "grant_type": "refresh_token"}
                answers = {
                    "endpoint": await agent.use(value),
                    "endpoint, as an assertion": await agent.use(**{"Cf-Access-Token": value}),
                    "endpoint, as a cookie": await agent.use(**cookie),
                    "endpoint, in the address": await agent.use(url=f"{portal.mcp}?access_token={value}"),
                    "admin API": await http.get(admin, headers=bearer),
                    "admin API, as a cookie": await http.get(admin, headers=cookie),
                    "userinfo": await http.get(f"{app.base}/userinfo", headers=bearer),
                    "refresh": await agent.refresh(value),
                    "app's refresh": await http.post(f"{app.base}/token", data={**basic, "refresh_token": value}),
                    "account": await http.get(f"{portal.url}/logout", headers=cookie),
                }
                agent.tokens = {}
                signed_in = EMAIL in answers.pop("account").text
                return {
                    **{door: answer.status_code for door, answer in answers.items()},
                    "account": 200 if signed_in else 401,
                }

            opened = {
                (name, door)
                for name, value in held.items()
                for door, status in (await doors(value)).items()
                if status not in (400, 401)
            }
            assert opened == {
                ("access", "endpoint"),
                ("assertion", "endpoint, as an assertion"),
                ("API", "admin API"),
                ("app's access", "userinfo"),
                ("refresh", "refresh"),
                ("app's refresh", "app's refresh"),
                ("session", "account"),
            }


async def test_no_administrator_is_one_at_the_api_by_being_signed_in(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        await sign_in(browser, await browser.open("/login"))
        for operation in portal.admin.operations:
            path = re.sub(r"\{\w+\}", "x", operation.path)
            url = f"{portal.url}/client/v4/accounts/{portal.admin.account_id}{path}"
            answer = await browser.client.request(operation.method, url, json={})
            assert answer.status_code == 401, (operation.method, operation.path)


async def test_no_form_does_anything_without_the_token_of_its_page(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        agent = Agent(portal, browser.client)
        await agent.register()
        page = await agent.ask(browser)
        consent = page.form("/authorize/consent").action
        forms = {route.path for route in portal.identity.routes if route.methods and "POST" in route.methods}
        forms = {consent if path == "/authorize/consent" else path for path in forms if "/cdn-cgi/" not in path}
        for path in forms - {"/token", "/revoke", "/register"}:
            fields = {"answer": "allow", "where": "everywhere", "email": EMAIL, "form_token": "0" * 64}
            own = {"Origin": portal.url}
            forged = await browser.client.post(f"{portal.url}{path}", data=fields, headers=own)
            foreign = await browser.client.post(
                f"{portal.url}{path}", data=fields, headers={"Origin": "https://evil.example"}
            )
            plain = await browser.client.post(
                f"{portal.url}{path}", content=b"{}", headers={**own, "Content-Type": "text/plain"}
            )
            assert (forged.status_code, foreign.status_code, plain.status_code) == (403, 403, 415), path
            assert (await browser.client.get(f"{portal.url}{path}")).headers.get("location", "") == "", path
        assert len(forms) >= 9
        done = await browser.submit(page, "/authorize/consent", "allow")
        assert done.left_for.startswith(REDIRECT)


def framed(page: Page) -> bool:
    """Whether another site could show the page inside its own, run something in it, or read where it leads."""
    policy, html = page.headers.get("content-security-policy", ""), page.html
    ours = script_text("copy.js")
    if f"<script>{ours}</script>" in html:
        # The home page has this script, which its policy names by its hash.
        policy = policy.replace(f" script-src {source_of(ours)};", "")
        html = html.replace(f"<script>{ours}</script>", "")
    if "require-trusted-types-for 'script'" in policy:
        # Pages of runs have scripts of ours that are files, and no text becomes one.
        policy = policy.replace(" script-src 'self';", "")
        html = re.sub(r'<script src="/admin/assets/[0-9a-f]{32}/[a-z.-]+"></script>', "", html)
    strict = {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy.split("; "))
    return not (
        strict
        and page.headers.get("x-frame-options") == "DENY"
        and page.headers.get("x-content-type-options") == "nosniff"
        and page.headers.get("cache-control") == "no-store"
        and "script-src" not in policy
        and "<script" not in html
    )


async def test_every_page_forbids_frames_scripts_and_keeping(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        pages = [await browser.open(str(await portal.identity.claim_path()))]
        await portal.account()
        await portal.store.create(plain("identity_provider"), "pin", {"name": "PIN", "type": "onetimepin"}, by="test")
        pages.append(await browser.open("/login"))
        pages.append(await browser.submit(pages[-1], "/login/pin", email="grace@example.com"))
        agent = Agent(portal, browser.client)
        await agent.register(client_name='<b>"Agent</b><script>')
        pages.append(await agent.ask(browser))
        assert "Agent" in pages[-1].text and "<b>" not in pages[-1].html
        pages.append(await browser.open(agent.authorize_url(redirect_uri="https://evil.example/")))
        portal.rules.allowed = lambda identity: False
        pages.append(await agent.ask(browser))
        html = {"custom_deny_html": "<h1>No</h1><script>alert(1)</script>"}  # Blocked by the policy of its page.
        await portal.store.create(plain("settings"), "login", html, by="test")
        blocked = await agent.ask(browser)
        pages.append(blocked)
        for route in portal.identity.routes:
            page = await browser.open(route.path.replace("{provider}", "x").replace("{client_id}", "x"))
            if "text/html" in page.headers.get("content-type", ""):
                # Of what an administrator wrote, the policy of the page keeps scripts from running.
                page.html = page.html.replace("<script>alert(1)</script>", "")
                pages.append(page)
        for page in pages:
            page.html = page.html.replace("<h1>No</h1><script>", "")
        assert len(pages) >= 14
        assert [page.url for page in pages if framed(page)] == []


async def test_a_code_is_its_clients_and_a_client_with_a_secret_must_show_it(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        async with httpx2.AsyncClient(trust_env=False) as http:
            await portal.account()
            agent, other = Agent(portal, http), Agent(portal, http)
            await agent.register(token_endpoint_auth_method="client_secret_post")
            await other.register()
            code = (await agent.allowed(browser))["code"]
            other.verifier = agent.verifier
            assert (await other.exchange(code)).json()["error"] == "invalid_grant"
            for wrong in (None, "", "x"):
                refused = await agent.exchange(code, client_secret=wrong)
                assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
            assert (await agent.exchange(code)).status_code == 200


FORWARDED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "203.0.113.9",
    "X-Real-Ip": "203.0.113.9",
    "Forwarded": "for=203.0.113.9;host=evil.example;proto=https",
    "Cf-Connecting-Ip": "203.0.113.9",
    "Cf-Access-Authenticated-User-Email": EMAIL,
    "Cf-Access-Jwt-Assertion": "x",
    "X-Authenticated-User": EMAIL,
}


async def test_what_a_proxy_would_say_is_not_believed_of_a_stranger(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        agent = Agent(portal, browser.client)
        metadata = f"{portal.url}/.well-known/oauth-authorization-server"
        told = (await browser.client.get(metadata, headers=FORWARDED)).text
        assert portal.url in told and "evil.example" not in told
        unknown = await agent.use(**FORWARDED)
        assert unknown.status_code == 401
        assert "evil.example" not in unknown.headers["www-authenticate"]
        await agent.log_in(browser)
        assert (await agent.use(**FORWARDED)).status_code == 200
        assert portal.rules.asked[-1].ip == "127.0.0.1"
    assert all(identity.email != EMAIL or identity.id for identity in portal.rules.asked)


async def test_a_mistake_sends_nobody_where_only_the_client_itself_vouches_for(tmp_path: Path) -> None:
    async def fetch(url: str) -> bytes:
        return document()

    async with guarded_portal(tmp_path, fetch=fetch) as portal, browser_at(portal.url) as browser:
        await portal.account()
        agent = Agent(portal, browser.client, client_id=CLIENT)
        away = "https://agents.example.com/callback"
        for changes in ({"response_type": "token"}, {"code_challenge_method": "plain"}, {"code_challenge": "short"}):
            page = await browser.open(agent.authorize_url(redirect_uri=away, **changes))
            assert (page.status, page.left_for) == (400, ""), changes
            assert "does not work" in page.text
            assert answer_in((await browser.open(agent.authorize_url(**changes))).left_for)["error"]
        # What a person has allowed goes there.
        agent.redirect = away
        assert "code" in await agent.allowed(browser)


async def test_nobody_has_the_portal_fetch_documents_without_something_to_exchange(tmp_path: Path) -> None:
    fetched: list[str] = []

    async def fetch(url: str) -> bytes:
        fetched.append(urlsplit(url).path)
        return document()

    async with guarded_portal(tmp_path, fetch=fetch, oauth=OAuthSettings()) as portal:
        async with browser_at(portal.url) as browser:
            await portal.account()
            agent = Agent(portal, browser.client, client_id=CLIENT)
            assert (await agent.exchange("unknown")).json()["error"] == "invalid_grant"
            assert (await agent.refresh("unknown")).json()["error"] == "invalid_grant"
            assert (await agent.token(grant_type="password")).status_code == 400
            revoke = {"token": "unknown", "client_id": CLIENT}
            assert (await browser.client.post(f"{portal.url}/revoke", data=revoke)).status_code == 200
            assert fetched == []
            code = (await agent.allowed(browser))["code"]
            assert (await agent.exchange(code)).status_code == 200
            token = agent.tokens["access_token"]
            assert (
                await browser.client.post(f"{portal.url}/revoke", data={**revoke, "token": token})
            ).status_code == 200
            assert (await agent.use()).status_code == 401
            assert len(fetched) == 1


@pytest.mark.parametrize("name", ["%E2%82%AC", "%0d%0aX-Evil:%201", "a%22b", "%ED%A0%80", "%00", "%0A", "a%2520b"])
async def test_whatever_portal_is_named_whoever_has_not_signed_in_is_told_to(tmp_path: Path, name: str) -> None:
    async with guarded_portal(tmp_path) as portal:
        portal.rules.allowed = lambda identity: False
        answer = Attacker(portal.url)
        told = await asyncio.to_thread(answer.send, RawRequest(b"GET", f"/{name}/mcp".encode()))
    assert told is not None and told.status == 401
    (challenge,) = re.findall(r'resource_metadata="([^"]*)", scope=', told.header("www-authenticate"))
    assert challenge.isascii() and challenge.isprintable() and challenge.endswith("/mcp")
    assert not told.header("x-evil")
