"""Each portal of an instance is signed in to on its own: by its path, by its host name, and at the document's own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest

from portal.login import RESET_PATH, Invitations, Passwords, link_path
from portal.state import plain
from tests.portal.app.many_portals import (
    Many,
    Place,
    browser_of,
    http_client,
    is_signed_in,
    many_portals,
    sign_in_at,
)
from tests.portal.login.browser import Browser, Page
from tests.portal.login.guarded import EMAIL, EVERYONE, PASSWORD, QUICK
from tests.portal.login.test_providers import Issuer, served
from tests.portal.oauth.agent import Agent
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import listen

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


def links_of(page: Page) -> list[str]:
    """Every path that a page leads to."""
    return [*(form.action for form in page.forms), *(href for _, href in page.links)]


# Where it leads


async def test_signing_in_leads_back_to_the_portal_that_asked(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many:
        await many.account()
        for place in many.places:
            async with browser_of(many) as browser:
                page = await sign_in_at(browser, place)
                assert page.url == f"{place.url}/"
                assert f"{place.url}/mcp" in page.text
                assert "You are signed in as" in page.text
                assert [other.id for other in many.places if await is_signed_in(browser, other)] == [place.id]


async def test_the_path_of_a_portal_alone_leads_to_its_home_page(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        page = await browser.open(many.docs.url)
        assert (page.url, page.link("Sign in")) == (f"{many.docs.url}/", "/docs/login?return=/docs/")


async def test_every_link_form_and_style_of_a_portal_is_below_its_prefix(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        claim = await many.identity(many.docs).claim_path()
        pages = [await browser.open(f"{many.docs.url}{path}") for path in ("/", "/login", claim, "/login/claim")]
        await many.account()
        login = await browser.open(f"{many.docs.url}/login")
        pages += [login, await browser.submit(login, "/docs/login/pin", email="grace@example.com")]
        pages += [await browser.submit(pages[-1], "/docs/login/pin/check", pin="000000x")]
        pages += [await sign_in_at(browser, many.docs), await browser.open(f"{many.docs.url}/logout")]
        pages += [await browser.submit(pages[-1], "/docs/logout", "here")]
        pages += [await browser.open(f"{many.docs.url}{path}") for path in ("/login/callback", "/login/with/none")]
        for page in pages:
            assert [link for link in links_of(page) if not link.startswith("/docs/")] == [], page.url
            assert 'href="/docs/login/style.css"' in page.html
        assert sum(len(links_of(page)) for page in pages) > 10
        assert (await browser.open(f"{many.docs.url}/login/style.css")).status == 200


OUTSIDE = [
    "/",
    "/ops/",
    "/logout",
    "/docs",
    "/docsx/login",
    "/docs/../ops/logout",
    "/docs/%2e%2E/ops/",
    "/docs/ops/mcp",
]


async def test_a_return_outside_the_portal_leads_to_its_home_page(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many:
        await many.account()
        for target in OUTSIDE:
            async with browser_of(many) as browser:
                assert (await sign_in_at(browser, many.docs, target)).url == f"{many.docs.url}/"
        async with browser_of(many) as browser:
            assert (await sign_in_at(browser, many.docs, "/docs/logout")).url == f"{many.docs.url}/logout"
        async with browser_of(many) as browser:
            assert (await sign_in_at(browser, many.own, "/docs/logout")).url == f"{many.own.url}/"


async def test_behind_a_public_url_the_cookies_of_a_portal_by_its_path_can_be_set_by_no_other_host(
    tmp_path: Path,
) -> None:
    async with many_portals(tmp_path, publicUrl="https://tools.example.com") as many, browser_of(many) as browser:
        await many.account()
        headers = {"Host": "tools.example.com", "Origin": "https://tools.example.com"}
        answer = await browser.client.get(f"{many.docs.url}/login", headers=headers)
        (seen,) = answer.headers.get_list("set-cookie")
        page = Page(many.docs.url, answer.status_code, answer.headers, answer.text)
        fields = page.form("/docs/login/password").fields | {"email": EMAIL, "password": PASSWORD}
        headers |= {"Cookie": seen.partition(";")[0]}
        done = await browser.client.post(f"{many.docs.url}/login/password", data=fields, headers=headers)
        assert (done.status_code, done.headers["location"]) == (303, "/docs/")
        (session,) = done.headers.get_list("set-cookie")
        assert [line.partition("=")[0] for line in (seen, session)] == [
            "__Host-portal_browser-docs",
            "__Host-portal_session-docs",
        ]
        for line in (seen, session):
            attributes = {part.strip().lower() for part in line.split(";")[1:]}
            assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
            assert not any(part.startswith("domain") for part in attributes)


# What is nothing elsewhere


async def test_a_session_of_one_portal_is_nothing_at_another(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many:
        await many.account()
        for place in many.places:
            async with browser_of(many) as browser:
                await sign_in_at(browser, place)
                session = browser.client.cookies[place.session_cookie]
            for other in many.others(place):
                async with browser_of(many) as thief:
                    thief.client.cookies.set(other.session_cookie, session, domain=other.host)
                    assert not await is_signed_in(thief, other), (place, other)


async def test_the_links_of_administrators_are_those_of_the_documents_own_portal(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        await many.account()
        administrators = many.identity(many.own).administrators
        (ada,) = await administrators.list()
        invited = await Invitations(many.store, Passwords(QUICK)).invite("grace@example.com", by="test")
        reset = link_path(RESET_PATH, (await administrators.offer_reset(ada.id, by="test")).token)
        for path in (invited.path, reset):
            opened = [(await browser.open(f"{place.url}{path}")).status for place in many.places]
            assert opened == [200, 400, 400, 400]


async def test_a_portal_has_sessions_by_its_path_and_by_its_name_apart(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        await many.account()
        await sign_in_at(browser, many.hosted)
        assert not await is_signed_in(browser, many.hosted_by_path)
        await sign_in_at(browser, many.hosted_by_path)
        assert await is_signed_in(browser, many.hosted)


async def test_a_form_of_one_portal_is_refused_by_another_even_with_the_same_browser_cookie(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many:
        await many.account()
        for place in many.places:
            async with browser_of(many) as browser:
                page = await browser.open(f"{place.url}/login")
                fields = page.form(f"{place.prefix}/login/password").fields | {"email": EMAIL, "password": PASSWORD}
                key = browser.client.cookies[place.browser_cookie]
            for other in many.others(place):
                async with browser_of(many) as browser:
                    browser.client.cookies.set(other.browser_cookie, key, domain=other.host)
                    answer = await browser.client.post(f"{other.url}/login/password", data=fields)
                    assert answer.status_code == 403, (place, other)


async def test_a_pin_is_good_at_the_portal_that_sent_it(tmp_path: Path) -> None:
    async with many_portals(tmp_path, policies=[EVERYONE]) as many, browser_of(many) as browser:
        page = await browser.open(f"{many.docs.url}/login?return=/docs/logout")
        page = await browser.submit(page, "/docs/login/pin", email="grace@example.com")
        assert many.letters.sent[-1].subject.endswith("is your PIN for Documentation")
        flow, pin = page.form("/docs/login/pin/check").fields["flow"], many.pin()
        for other in many.others(many.docs):
            there = await browser.open(f"{other.url}/login")
            there = await browser.submit(there, f"{other.prefix}/login/pin", email="eve@example.com")
            ended = await browser.submit(there, f"{other.prefix}/login/pin/check", flow=flow, pin=pin)
            assert (ended.status, "Sign-in ended" in ended.text) == (400, True)
            assert not await is_signed_in(browser, other)
        wrong = await browser.submit(page, "/docs/login/pin/check", pin="000000x")
        assert wrong.status == 403
        done = await browser.submit(wrong, "/docs/login/pin/check", pin=pin)
        assert (done.url, "grace@example.com" in done.text) == (f"{many.docs.url}/logout", True)


async def test_a_login_at_a_provider_comes_back_to_the_portal_that_began_it_and_to_no_other(tmp_path: Path) -> None:
    listening = listen(0)
    issuer = Issuer(f"http://127.0.0.1:{listening.getsockname()[1]}")
    provider = {"name": "Oidc", "type": "oidc", "config": {"client_id": "portal", "issuer": issuer.url}}
    async with many_portals(tmp_path) as many, served(issuer.app(), 0, listening):
        await many.store.create(
            plain("identity_provider"), "oidc", provider, by="test", secret=b"the secret of the portal"
        )
        for place in many.places:
            async with browser_of(many, issuer.url) as browser:
                page = await browser.open(f"{place.url}/login?return={place.prefix}/logout")
                page = await browser.open(urljoin(page.url, page.link("Sign in with Oidc")))
                assert (page.url, "ada@example.com" in page.text) == (f"{place.url}/logout", True)
                assert issuer.asked["redirect_uri"] == f"{place.url}/login/callback"
        issuer.exchanged = {}
        async with browser_of(many) as browser:
            begun = await browser.open(f"{many.docs.url}/login/with/oidc")
            state, key = parameters_in(begun.left_for)["state"], browser.client.cookies[many.docs.browser_cookie]
            for other in many.others(many.docs):
                browser.client.cookies.set(other.browser_cookie, key, domain=other.host)
                assert (await browser.open(f"{other.url}/login/callback?code=x&state={state}")).status == 400
            assert issuer.exchanged == {}


async def test_a_claim_link_is_good_at_the_portal_that_offered_it(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        claim = await many.identity(many.docs).claim_path()
        for other in many.others(many.docs):
            page = await browser.open(f"{other.url}{claim}")
            assert (page.status, page.forms) == (400, [])
        page = await browser.open(f"{many.docs.url}{claim}")
        done = await browser.submit(page, "/docs/login/claim", name="Ada", email=EMAIL, password=PASSWORD)
        assert done.url == f"{many.docs.url}/"
        assert [place.id for place in many.places if await is_signed_in(browser, place)] == ["docs"]
        # The account is the instance's: it signs in at the others as well.
        assert (await sign_in_at(browser, many.ops)).url == f"{many.ops.url}/"


# Signing out


async def test_signing_out_here_leaves_the_other_portals_and_everywhere_ends_all(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        await many.account()
        for place in many.places:
            await sign_in_at(browser, place)
        await browser.submit(await browser.open(f"{many.docs.url}/logout"), "/docs/logout", "here")
        signed_in = [place.id for place in many.places if await is_signed_in(browser, place)]
        assert signed_in == ["", "ops", "hosted"]
        await browser.submit(await browser.open(f"{many.ops.url}/logout"), "/ops/logout", "everywhere")
        assert [place.id for place in many.places if await is_signed_in(browser, place)] == []


# What agents are granted


@asynccontextmanager
async def agents(folder: Path) -> AsyncIterator[tuple[Many, httpx2.AsyncClient, Browser]]:
    """Portals over one server, a client for agents, and the browser of somebody with an account."""
    async with hosted() as upstream, many_portals(folder, upstream.url) as many, http_client() as http:
        await many.account()
        async with browser_of(many) as browser:
            yield many, http, browser


async def registered(http: httpx2.AsyncClient, place: Place) -> Agent:
    agent = Agent(place, http)  # type: ignore[arg-type]
    assert (await agent.register()).status_code == 201
    return agent


async def code_for(agent: Agent, browser: Browser, place: Place) -> str:
    """Sign in if need be, and allow it."""
    page = await browser.open(agent.authorize_url())
    if page.url.startswith(f"{place.url}/login"):
        page = await browser.submit(page, f"{place.prefix}/login/password", email=EMAIL, password=PASSWORD)
    done = await browser.submit(page, f"{place.prefix}/authorize/consent", "allow")
    assert parameters_in(done.left_for)["iss"] == place.url
    return parameters_in(done.left_for)["code"]


async def documents_of(http: httpx2.AsyncClient, refused: httpx2.Response) -> tuple[dict[str, Any], dict[str, Any]]:
    """The documents that a refused client finds: about the endpoint, and about its authorization server."""
    assert refused.status_code == 401
    found = re.search(r'resource_metadata="([^"]+)"', refused.headers["www-authenticate"])
    assert found is not None
    resource = (await http.get(found[1])).json()
    issuer = urlsplit(resource["authorization_servers"][0])
    path = f"/.well-known/oauth-authorization-server{issuer.path}"
    return resource, (await http.get(f"{issuer.scheme}://{issuer.netloc}{path}")).json()


async def test_an_access_token_opens_one_portal_and_every_other_leads_to_its_own_documents(tmp_path: Path) -> None:
    async with agents(tmp_path) as (many, http, browser):
        for place in many.places:
            agent = await registered(http, place)
            assert (await agent.exchange(await code_for(agent, browser, place))).status_code == 200
            assert (await agent.use()).status_code == 200
            for other in many.others(place):
                refused = await agent.use(url=other.mcp)
                assert 'error="invalid_token"' in refused.headers["www-authenticate"]
                resource, server = await documents_of(http, refused)
                assert (resource["resource"], resource["authorization_servers"]) == (other.mcp, [other.url])
                assert (server["issuer"], server["token_endpoint"]) == (other.url, f"{other.url}/token")


async def test_a_code_and_a_refresh_token_are_exchanged_where_they_were_granted_only(tmp_path: Path) -> None:
    async with agents(tmp_path) as (many, http, browser):
        agent = await registered(http, many.docs)
        code = await code_for(agent, browser, many.docs)
        for other in many.others(many.docs):
            stranger = replace(agent, portal=other)  # type: ignore[arg-type]
            assert (await stranger.exchange(code)).json()["error"] == "invalid_grant"
            assert (await stranger.exchange(code, resource=many.docs.mcp)).json()["error"] == "invalid_target"
        assert (await agent.exchange(code)).status_code == 200
        for other in many.others(many.docs):
            stranger = replace(agent, portal=other)  # type: ignore[arg-type]
            assert (await stranger.refresh()).json()["error"] == "invalid_grant"
            revoked = await http.post(
                f"{other.url}/revoke", data={"client_id": agent.client_id, "token": agent.tokens["refresh_token"]}
            )
            # RFC 7009 section 2.2: a token that is unknown there counts as revoked, and stays what it is here.
            assert revoked.status_code == 200
        assert (await agent.refresh()).status_code == 200


async def test_a_consent_is_given_at_the_portal_that_asks_for_it(tmp_path: Path) -> None:
    async with agents(tmp_path) as (many, http, browser):
        for place in many.places:
            await sign_in_at(browser, place)
        agent = await registered(http, many.docs)
        page = await browser.open(agent.authorize_url())
        key, fields = browser.client.cookies[many.docs.browser_cookie], page.forms[0].fields | {"answer": "allow"}
        request = urlsplit(page.forms[0].action).query
        for other in many.others(many.docs):
            refused = await browser.open(agent.authorize_url().replace(many.docs.url, other.url))
            assert parameters_in(refused.left_for)["error"] == "invalid_target"
            async with browser_of(many) as thief:
                thief.client.cookies.set(other.browser_cookie, key, domain=other.host)
                ended = await thief.open(f"{other.url}/authorize/consent?{request}")
                assert (ended.status, "This request has ended" in ended.text) == (400, True)
                sent = await thief.client.post(f"{other.url}/authorize/consent?{request}", data=fields)
                assert sent.status_code == 400
        done = await browser.submit(page, "/docs/authorize/consent", "allow")
        assert (await agent.exchange(parameters_in(done.left_for)["code"])).status_code == 200


async def test_signing_out_everywhere_at_one_portal_ends_the_agents_of_all(tmp_path: Path) -> None:
    async with agents(tmp_path) as (many, http, browser):
        signed_in = [await registered(http, place) for place in (many.docs, many.hosted)]
        for agent, place in zip(signed_in, (many.docs, many.hosted), strict=True):
            assert (await agent.exchange(await code_for(agent, browser, place))).status_code == 200
        await sign_in_at(browser, many.ops)
        await browser.submit(await browser.open(f"{many.ops.url}/logout"), "/ops/logout", "here")
        assert [(await agent.use()).status_code for agent in signed_in] == [200, 200]
        await sign_in_at(browser, many.ops)
        await browser.submit(await browser.open(f"{many.ops.url}/logout"), "/ops/logout", "everywhere")
        assert [(await agent.use()).status_code for agent in signed_in] == [401, 401]


# What is counted together


@pytest.mark.usefixtures("no_time_for_rates")
async def test_attempts_at_one_portal_count_at_the_others(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        await many.account()
        statuses = []
        for place in (many.docs, many.ops, many.own) * 2:
            page = await browser.open(f"{place.url}/login")
            wrong = await browser.submit(page, f"{place.prefix}/login/password", email=EMAIL, password="wrong")
            statuses.append(wrong.status)
        assert statuses == [403] * 6
        assert (await sign_in_at(browser, many.hosted)).status == 429


# How it looks and goes


async def test_each_portal_has_its_own_name_and_the_settings_rename_the_documents_own(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        assert await title_of(browser, many.own) == "Sign in · codemode-portal"
        await many.store.create(
            plain("settings"), "login", {"name": "Acme", "login_design": {"text_color": "#112233"}}, by="t"
        )
        titles = [await title_of(browser, place) for place in many.places]
        assert titles == [f"Sign in · {name}" for name in ("Acme", "Documentation", "Operations", "Under a name")]
        assert "#112233" in (await browser.open(f"{many.docs.url}/login/style.css")).html


async def test_a_stored_portal_that_is_renamed_says_so_on_its_pages(tmp_path: Path) -> None:
    document = {"name": "Team", "hostname": "team.localhost", "code_mode": "opt_in", "servers": []}
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        team = Place("team", f"{many.url}/team", "/team")
        await many.store.create(plain("portal"), "team", document, by="test")
        await many.until(lambda: "team" in many.instance.portals)
        assert await title_of(browser, team) == "Sign in · Team"
        await many.store.replace(plain("portal"), "team", {**document, "name": "Crew"}, by="test")
        await many.until(lambda: many.instance.portals["team"].definition.name == "Crew")
        assert await title_of(browser, team) == "Sign in · Crew"


async def test_the_application_of_a_portal_says_how_people_sign_in_there(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        await many.account()
        for id in ("github", "other"):
            provider = {"name": id.title(), "type": "github", "config": {"client_id": "portal"}}
            await many.store.create(plain("identity_provider"), id, provider, by="test", secret=b"secret")
        app: dict[str, Any] = {
            "type": "mcp_portal",
            "domain": "hosted.localhost",
            "logo_url": "https://acme.example/logo.svg",
            "allowed_idps": ["github"],
            "session_duration": "30m",
        }
        stored = await many.store.create(plain("app"), "hosted", app, by="test")
        page = await browser.open(f"{many.hosted.url}/login")
        assert ("Sign in with Github" in page.text, "Sign in with Other" in page.text) == (True, False)
        assert "With a PIN" not in page.text
        assert 'src="https://acme.example/logo.svg"' in page.html
        assert "img-src 'self' https://acme.example;" in page.headers["content-security-policy"]
        assert (await browser.open(f"{many.hosted.url}/login/with/other")).status == 404
        elsewhere = await browser.open(f"{many.docs.url}/login")
        assert ("Sign in with Other" in elsewhere.text, "<img" in elsewhere.html) == (True, False)
        answer = await browser.client.post(
            f"{many.hosted.url}/login/password",
            data=page.form("/login/password").fields | {"email": EMAIL, "password": PASSWORD},
        )
        assert "Max-Age=1800" in answer.headers["set-cookie"]
        await many.store.replace(plain("app"), stored.id, app | {"auto_redirect_to_identity": True}, by="test")
        async with browser_of(many) as other:
            straight = await other.open(f"{many.hosted.url}/login")
            assert straight.left_for.startswith("https://github.com/login/oauth/authorize?")
            assert parameters_in(straight.left_for)["redirect_uri"] == f"{many.hosted.url}/login/callback"


async def title_of(browser: Browser, place: Place) -> str:
    page = await browser.open(f"{place.url}/login")
    found = re.search(r"<title>(.*)</title>", page.html)
    assert found is not None
    return found[1]


def parameters_in(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
