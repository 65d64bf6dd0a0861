"""The authorization server, from an agent's first 401 to its last refresh; and what it refuses."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.oauth.grants import REUSE_SECONDS
from portal.oauth.settings import OAuthSettings, Registration
from portal.state import plain
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.oauth.agent import REDIRECT, Agent, answer_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@asynccontextmanager
async def met(folder: Path, **settings: Any) -> AsyncIterator[tuple[Guarded, Agent, Browser]]:
    """A portal with one account, an agent, and that person's browser."""
    async with guarded_portal(folder, **settings) as portal, browser_at(portal.url) as browser:
        await portal.account()
        async with httpx2.AsyncClient(trust_env=False) as http:
            yield portal, Agent(portal, http), browser


async def test_who_brings_nothing_is_shown_the_way_to_the_authorization_server(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, _):
        refused = await agent.use()
        assert refused.status_code == 401
        resource_metadata = f"{portal.url}/.well-known/oauth-protected-resource/mcp"
        header = refused.headers["www-authenticate"]
        assert header == f'Bearer resource_metadata="{resource_metadata}", scope="mcp"'
        resource = (await agent.http.get(resource_metadata)).json()
        root = (await agent.http.get(f"{portal.url}/.well-known/oauth-protected-resource")).json()
        assert resource == root
        assert (resource["resource"], resource["authorization_servers"]) == (portal.mcp, [portal.url])
        server = (await agent.http.get(f"{portal.url}/.well-known/oauth-authorization-server")).json()
        alias = (await agent.http.get(f"{portal.url}/.well-known/openid-configuration")).json()
        assert server == alias
        assert server["issuer"] == portal.url
        assert server["code_challenge_methods_supported"] == ["S256"]
        assert "none" in server["token_endpoint_auth_methods_supported"]
        assert server["authorization_response_iss_parameter_supported"] is True
        assert server["client_id_metadata_document_supported"] is True
        assert (await agent.http.get(f"{portal.url}/healthz")).status_code == 200


async def test_an_agent_logs_in_and_its_token_opens_the_endpoint_and_nothing_else(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        await agent.register()
        answer = await agent.allowed(browser)
        assert (answer["state"], answer["iss"]) == ("the state", portal.url)
        tokens = (await agent.exchange(answer["code"])).json()
        assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 900, "mcp")
        assert (await agent.use()).status_code == 200
        assert (await agent.use(url=f"{portal.url}/other/mcp")).status_code == 401
        assert (await agent.use(url=f"{portal.url.replace('127.0.0.1', 'localhost')}/mcp")).status_code == 401
        wrong = await agent.use("cmp_at_nothing")
        assert 'error="invalid_token"' in wrong.headers["www-authenticate"]


async def test_a_token_in_the_query_string_is_none(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        token = (await agent.log_in(browser))["access_token"]
        agent.tokens = {}
        assert (await agent.use(url=f"{portal.mcp}?access_token={token}")).status_code == 401


async def test_no_token_or_code_is_stored_or_logged_readably(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        await agent.register(token_endpoint_auth_method="client_secret_post")
        code = (await agent.allowed(browser))["code"]
        await agent.exchange(code)
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        secrets = [code, agent.client_secret, *(agent.tokens[name] for name in ("access_token", "refresh_token"))]
        secrets.append(browser.client.cookies["portal_session"])
        assert all(secrets)
        assert [secret for secret in secrets if secret.encode() in kept] == []
        logged = "".join(capsys.readouterr())
        assert [secret for secret in secrets if secret in logged] == []


WRONG_REQUESTS: list[tuple[dict[str, str | None], str]] = [
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge": "short"}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"resource": "https://elsewhere.example/mcp"}, "invalid_target"),
]


async def test_a_wrong_request_goes_back_to_the_client_with_its_state_and_the_issuer(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        await agent.register()
        for changes, error in WRONG_REQUESTS:
            page = await browser.open(agent.authorize_url(**changes))
            assert page.left_for.startswith(REDIRECT)
            answer = answer_in(page.left_for)
            assert (answer["error"], answer["state"], answer["iss"]) == (error, "the state", portal.url)


FOREIGN_REDIRECTS = [
    REDIRECT + "/",
    REDIRECT + "?more=1",
    "http://127.0.0.1.evil.example:3333/callback",
    "http://user@127.0.0.1:3333/callback",
    "https://evil.example/callback",
    "javascript:alert(1)",
    "http://127.0.0.1:3333/callback#fragment",
]


async def test_a_redirect_that_is_not_registered_ends_on_a_page(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, agent, browser):
        await agent.register()
        for redirect in FOREIGN_REDIRECTS:
            page = await browser.open(agent.authorize_url(redirect_uri=redirect))
            assert (page.status, page.left_for) == (400, ""), redirect
            assert "does not work" in page.text


async def test_an_unknown_client_or_a_parameter_twice_ends_on_a_page(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, agent, browser):
        unknown = await browser.open(agent.authorize_url(client_id="nobody"))
        assert (unknown.status, unknown.left_for) == (400, "")
        await agent.register()
        twice = await browser.open(agent.authorize_url() + "&redirect_uri=https://evil.example/")
        assert (twice.status, twice.left_for) == (400, "")


async def test_loopback_redirects_may_have_any_port(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, agent, browser):
        await agent.register()
        agent.redirect = "http://127.0.0.1:50123/callback"
        answer = await agent.allowed(browser)
        assert (await agent.exchange(answer["code"])).status_code == 200


# What is registered, what is asked for, and whether that is the same text but for the port on loopback.
SPELLINGS = [
    ("http://127.0.0.1:33418", "http://127.0.0.1:33418", True),
    ("http://127.0.0.1", "http://127.0.0.1:5555", True),
    ("http://localhost:8080", "http://localhost", True),
    ("http://127.0.0.1:3333?a=b", "http://127.0.0.1:4444?a=b", True),
    ("http://LocalHost:8080/callback", "http://LocalHost:8080/callback", True),
    ("http://127.0.0.1:3333/%7eagent", "http://127.0.0.1:4444/%7eagent", True),
    ("http://127.0.0.1:33418", "http://127.0.0.1:33418/", False),
    ("http://127.0.0.1:33418/", "http://127.0.0.1:33418", False),
    ("http://localhost:8080/callback", "http://LocalHost:8080/callback", False),
    ("http://localhost:8080/callback", "HTTP://localhost:8080/callback", False),
    ("http://localhost:8080/callback", " http://localhost:8080/callback", False),
    ("http://localhost:8080/callback", "http://localhost:8080/callback ", False),
    ("http://localhost:8080/callback", "http://localhost:8080/x/%2e%2e/callback", False),
    ("http://localhost:8080/callback", "http://localhost:8080/./callback", False),
    ("http://localhost:8080/callback", "http://localhost:8080/call%62ack", False),
    ("http://localhost:8080/callback", "http://localhost:/callback", False),
    ("http://localhost:8080/callback", "http://localhost:080808/callback", False),
    ("http://localhost:8080/callback", "http://localhost:8080\t/callback", False),
    ("http://localhost:8080/callback", "http://localhost:8080\\callback", False),
    ("http://localhost:8080/a%2fb", "http://localhost:8080/a%2Fb", False),
    ("https://app.example/callback", "https://app.example/callback", True),
    ("https://app.example", "https://app.example", True),
    ("https://app.example", "https://app.example/", False),
    ("https://app.example/callback", "https://app.example:443/callback", False),
    ("https://app.example/callback", "https://APP.example/callback", False),
    ("https://app.example/callback", "https://app.example//callback", False),
    ("https://app.example/callback", "https://app.example./callback", False),
]


async def test_a_redirect_is_the_text_that_was_registered_but_for_the_port_on_loopback(tmp_path: Path) -> None:
    rules = Registration(allowed_uris=("https://app.example", "https://app.example/*"))
    async with met(tmp_path, oauth=OAuthSettings(registration=rules)) as (_, agent, browser):
        clients: dict[str, str] = {}
        for registered in dict.fromkeys(registered for registered, _, _ in SPELLINGS):
            answer = await agent.register(redirect_uris=[registered])
            assert answer.status_code == 201 and answer.json()["redirect_uris"] == [registered]
            clients[registered] = agent.client_id
        for registered, requested, same in SPELLINGS:
            agent.client_id = clients[registered]
            page = await agent.ask(browser, redirect_uri=requested)
            if not same:
                assert (page.status, page.left_for) == (400, ""), (registered, requested)
                continue
            done = await browser.submit(page, "/authorize/consent", "allow")
            assert done.left_for.startswith(f"{requested}{'&' if '?' in requested else '?'}code="), requested
            code = answer_in(done.left_for)["code"]
            # The exchange repeats the text of the request.
            agent.redirect = requested.replace("http", "HTTP", 1)
            assert (await agent.exchange(code)).json()["error"] == "invalid_grant"
            agent.redirect = requested
            assert (await agent.exchange(code)).status_code == 200, requested


KEPT_BEFORE = {
    "redirect_uris": ["http://127.0.0.1:33418/", "https://app.example/", "https://app.example/callback"],
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "client_name": None,
    "client_uri": "https://app.example/",
    "client_id": "before",
    "client_secret_expires_at": None,
    "registered": "dynamic",
}


@pytest.mark.parametrize(
    ("requested", "same"),
    [
        ("http://127.0.0.1:33418", True),
        ("http://127.0.0.1:5555", True),
        ("http://127.0.0.1:33418/", True),
        ("https://app.example", True),
        ("https://app.example/", True),
        ("https://app.example/callback", True),
        ("https://app.example/callback/", False),
        ("https://App.example", False),
    ],
)
async def test_a_client_whose_redirect_was_kept_with_a_slash_that_it_never_sent_goes_on_to_sign_in(
    tmp_path: Path, requested: str, same: bool
) -> None:
    rules = Registration(allowed_uris=("https://app.example", "https://app.example/callback"))
    async with met(tmp_path, oauth=OAuthSettings(registration=rules)) as (portal, agent, browser):
        await portal.store.create(plain("oauth_client"), "before", KEPT_BEFORE, by="registration")
        agent.client_id, agent.redirect = "before", requested
        page = await agent.ask(browser)
        assert (page.status == 200) == same
        if same:
            code = answer_in((await browser.submit(page, "/authorize/consent", "allow")).left_for)["code"]
            assert (await agent.exchange(code)).status_code == 200


SPELLED_RESOURCES = [
    ("{origin}/mcp", True),
    ("{origin}/mcp/", True),
    ("{origin}", True),
    ("{origin}/", True),
    ("{upper}/mcp", True),
    (" {origin}/mcp", False),
    ("{origin}/%6dcp", False),
    ("{origin}/x/../mcp", False),
    ("{origin}/x/%2e%2e/mcp", False),
    ("{origin}/mcp//", False),
    ("{origin}/mcp#x", False),
    ("{origin}/MCP", False),
    ("{origin}\\mcp", False),
]


async def test_a_resource_is_the_endpoint_as_it_is_spelled_but_for_the_case_of_its_origin(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        await agent.register()
        for resource, known in SPELLED_RESOURCES:
            named = resource.format(origin=portal.url, upper=portal.url.upper())
            page = await browser.open(agent.authorize_url(resource=named))
            error = answer_in(page.left_for)["error"] if page.left_for else ""
            assert error == ("" if known else "invalid_target"), named


@pytest.mark.parametrize("mode", ["?codemode=search_and_execute", "?codemode=off", "?optimize_context=minimize_tools"])
async def test_the_url_that_clients_are_configured_with_is_a_resource_everywhere(tmp_path: Path, mode: str) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        url = portal.mcp + mode
        header = (await agent.use(url=url)).headers["www-authenticate"]
        metadata = f"{portal.url}/.well-known/oauth-protected-resource/mcp{mode}"
        assert f'resource_metadata="{metadata}"' in header
        assert (await agent.http.get(metadata)).json()["resource"] == url
        await agent.register()
        code = (await agent.allowed(browser, resource=url))["code"]
        assert (await agent.exchange(code, resource=url)).status_code == 200
        assert (await agent.refresh(resource=url)).status_code == 200
        assert (await agent.refresh(resource=portal.mcp)).status_code == 200
        for endpoint in (url, portal.mcp):
            assert (await agent.use(url=endpoint)).status_code == 200


async def test_a_url_with_other_parameters_is_challenged_without_them(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, _):
        for query in ('?a="', "?codemode=yes", "?codemode=off&a=b"):
            header = (await agent.use(url=portal.mcp + query)).headers["www-authenticate"]
            assert f'resource_metadata="{portal.url}/.well-known/oauth-protected-resource/mcp"' in header


WRONG_EXCHANGES: list[dict[str, str | None]] = [
    {"code_verifier": "x" * 64},
    {"code_verifier": None},
    {"redirect_uri": "http://127.0.0.1:1/callback"},
    {"resource": "https://elsewhere.example/mcp"},
    {"client_id": "nobody"},
    {"code": "another"},
]


async def test_a_code_is_exchanged_for_what_it_was_given_for_only(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, agent, browser):
        await agent.register()
        code = (await agent.allowed(browser))["code"]
        for changes in WRONG_EXCHANGES:
            refused = await agent.exchange(code, **changes)
            assert refused.status_code in (400, 401)
            assert "access_token" not in refused.text
        assert (await agent.exchange(code)).status_code == 200


async def test_a_code_used_twice_ends_what_came_of_it(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, agent, browser):
        await agent.register()
        code = (await agent.allowed(browser))["code"]
        assert (await agent.exchange(code)).status_code == 200
        assert (await agent.use()).status_code == 200
        assert (await agent.exchange(code)).json()["error"] == "invalid_grant"
        assert (await agent.use()).status_code == 401
        assert (await agent.refresh()).json()["error"] == "invalid_grant"


async def test_of_many_exchanges_at_once_at_most_one_succeeds(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, agent, browser):
        await agent.register()
        code = (await agent.allowed(browser))["code"]
        answers = await asyncio.gather(*(agent.exchange(code) for _ in range(8)))
        assert sum(answer.status_code == 200 for answer in answers) <= 1


async def test_a_refresh_token_is_good_once_and_its_copy_ends_the_family(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        first = await agent.log_in(browser)
        second = (await agent.refresh()).json()
        assert second["refresh_token"] != first["refresh_token"]
        assert (await agent.use(second["access_token"])).status_code == 200
        portal.clock.ahead += timedelta(seconds=REUSE_SECONDS + 1)
        assert (await agent.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
        assert (await agent.use(second["access_token"])).status_code == 401
        assert (await agent.refresh(second["refresh_token"])).json()["error"] == "invalid_grant"


async def test_another_client_cannot_use_a_refresh_token_nor_end_its_family(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        await agent.log_in(browser)
        other = Agent(portal, agent.http)
        await other.register()
        assert (await other.refresh(agent.tokens["refresh_token"])).json()["error"] == "invalid_grant"
        assert (await agent.refresh()).status_code == 200


async def test_access_ends_after_its_lifetime_and_the_grant_after_its_own(tmp_path: Path) -> None:
    lifetimes = OAuthSettings(access_lifetime=timedelta(minutes=5), grant_duration=timedelta(hours=2))
    async with met(tmp_path, oauth=lifetimes) as (portal, agent, browser):
        await agent.log_in(browser)
        portal.clock.ahead = timedelta(minutes=6)
        assert (await agent.use()).status_code == 401
        assert (await agent.refresh()).status_code == 200
        portal.clock.ahead = timedelta(hours=1, minutes=58)
        assert (await agent.refresh()).json()["expires_in"] <= 120
        portal.clock.ahead = timedelta(hours=2, minutes=1)
        assert (await agent.refresh()).json()["error"] == "invalid_grant"


async def test_policies_are_asked_again_at_each_refresh(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        await agent.log_in(browser)
        portal.rules.allowed = lambda identity: False
        refused = (await agent.refresh()).json()
        assert refused == {"error": "invalid_grant", "error_description": "Denied by the policy 'Staff'."}
        portal.rules.allowed = lambda identity: True
        assert (await agent.use()).status_code == 401


async def test_policies_are_asked_on_each_request(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        await agent.log_in(browser)
        portal.rules.allowed = lambda identity: identity.email == "grace@example.com"
        refused = await agent.use()
        assert (refused.status_code, refused.json()["error"]["message"]) == (403, "Denied by the policy 'Staff'.")
        portal.rules.allowed = lambda identity: identity.ip == "127.0.0.1"
        assert (await agent.use()).status_code == 200


async def test_who_may_not_use_the_portal_is_shown_the_block_page_instead_of_consent(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        portal.rules.allowed = lambda identity: False
        await agent.register()
        page = await agent.ask(browser)
        assert (page.status, page.left_for) == (403, "")
        assert "That account does not have access" in page.text
        await portal.store.create(plain("settings"), "login", {"custom_deny_html": "<h1>Ask Grace</h1>"}, by="test")
        assert (await agent.ask(browser)).html == "<h1>Ask Grace</h1>"
        url = {"custom_deny_url": "https://intranet.example/access"}
        await portal.store.replace(plain("settings"), "login", url, by="test")
        assert (await agent.ask(browser)).left_for == "https://intranet.example/access"


async def test_each_client_is_consented_to_by_name_and_destination(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        await agent.log_in(browser, client_name="First <b>agent</b>")
        second = Agent(portal, agent.http)
        await second.register(client_name="Second agent")
        page = await second.ask(browser)
        assert (page.status, page.left_for) == (200, "")
        assert "Allow Second agent to use" in page.text
        assert REDIRECT in page.text
        assert "form-action 'self' http://127.0.0.1:3333;" in page.headers["content-security-policy"]
        denied = await browser.submit(page, "/authorize/consent", "deny")
        answer = answer_in(denied.left_for)
        assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "the state", portal.url)


async def test_consent_belongs_to_the_browser_in_which_it_was_asked_for(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser), browser_at(portal.url) as victim:
        await agent.register()
        page = await agent.ask(browser)
        await agent.ask(victim)
        captured = await victim.open(page.form("/authorize/consent").action)
        assert (captured.status, captured.forms) == (400, [])


async def test_consent_is_given_once_and_by_our_own_form_only(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, agent, browser):
        await agent.register()
        page = await agent.ask(browser)
        forged = await browser.submit(page, "/authorize/consent", "allow", form_token="0" * 64)
        assert (forged.status, forged.left_for) == (403, "")
        assert (await browser.submit(page, "/authorize/consent", "allow")).left_for
        again = await browser.submit(page, "/authorize/consent", "allow")
        assert (again.status, again.left_for) == (400, "")


@pytest.mark.parametrize(
    ("method", "kind"),
    [("none", "access_token"), ("client_secret_post", "refresh_token"), ("client_secret_basic", "refresh_token")],
)
async def test_a_client_of_any_kind_can_revoke_its_grant(tmp_path: Path, method: str, kind: str) -> None:
    async with met(tmp_path) as (portal, agent, browser):
        await agent.register(token_endpoint_auth_method=method)
        code = (await agent.allowed(browser))["code"]
        basic = base64.b64encode(f"{agent.client_id}:{agent.client_secret}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"} if method == "client_secret_basic" else {}
        sent = {} if headers else {"client_id": agent.client_id}
        sent |= {"client_secret": agent.client_secret} if method == "client_secret_post" else {}
        exchange = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        exchange |= {"code_verifier": agent.verifier}
        tokens = await agent.http.post(f"{portal.url}/token", data={**exchange, **sent}, headers=headers)
        agent.tokens = tokens.json()
        assert (await agent.use()).status_code == 200
        revoked = await agent.http.post(
            f"{portal.url}/revoke", data={"token": agent.tokens[kind], **sent}, headers=headers
        )
        assert revoked.status_code == 200
        assert (await agent.use()).status_code == 401


async def test_signing_out_everywhere_ends_what_agents_hold(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, agent, browser):
        await agent.log_in(browser)
        assert (await agent.use()).status_code == 200
        await browser.submit(await browser.open("/logout"), "/logout", "everywhere")
        assert (await agent.use()).status_code == 401
        assert (await agent.refresh()).status_code == 400


REGISTERED_REDIRECTS = [
    ("http://localhost:8080/cb", 201),
    ("http://[::1]/cb", 201),
    ("https://claude.ai/api/mcp/auth_callback", 201),
    ("cursor://anysphere.cursor-retrieval/oauth", 201),
    ("https://claude.ai.evil.example/api/mcp", 400),
    ("https://elsewhere.example/cb", 400),
    ("http://10.0.0.1/cb", 400),
    ("data:text/html,x", 400),
    ("vscode://other", 400),
]


async def test_clients_register_themselves_where_the_rules_allow_their_redirects(tmp_path: Path) -> None:
    rules = Registration(allowed_uris=("https://claude.ai/api/*", "cursor://*"))
    async with met(tmp_path, oauth=OAuthSettings(registration=rules)) as (_, agent, _browser):
        for redirect, status in REGISTERED_REDIRECTS:
            answer = await agent.register(redirect_uris=[redirect], scope="openid mcp")
            assert answer.status_code == status, redirect
            if status == 201:
                assert answer.json()["scope"] == "mcp"
            else:
                assert answer.json()["error"] == "invalid_redirect_uri"


async def test_a_redirect_that_is_not_allowed_costs_a_client_no_other(tmp_path: Path) -> None:
    """VS Code registers those of its website next to those on the person's computer."""
    website = ["https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect"]
    local = ["http://localhost/", "http://127.0.0.1/", "http://localhost:33418/", "http://127.0.0.1:33418/"]
    async with met(tmp_path) as (_, agent, browser):
        answer = await agent.register(redirect_uris=[*website, *local], application_type="native")
        assert answer.status_code == 201 and answer.json()["redirect_uris"] == local
        agent.redirect = "http://127.0.0.1:33418/"
        code = (await agent.allowed(browser))["code"]
        assert (await agent.exchange(code)).status_code == 200
        agent.redirect = website[1]
        page = await browser.open(agent.authorize_url())
        assert page.status == 400 and not page.left_for
        refused = await agent.register(redirect_uris=website)
        assert refused.status_code == 400 and "allowed_uris" in refused.json()["error_description"]


async def test_a_member_of_a_registration_that_is_null_or_empty_was_not_sent(tmp_path: Path) -> None:
    names = ("grant_types", "response_types", "scope", "client_uri", "logo_uri", "contacts", "jwks", "application_type")
    async with met(tmp_path) as (_, agent, browser):
        for empty in (None, ""):
            answer = await agent.register(token_endpoint_auth_method=empty, **dict.fromkeys(names, empty))
            assert answer.status_code == 201, answer.text
            assert answer.json()["token_endpoint_auth_method"] == "client_secret_post"
            assert answer.json()["grant_types"] == ["authorization_code", "refresh_token"]
        code = (await agent.allowed(browser))["code"]
        assert (await agent.exchange(code)).status_code == 200


UNFIT_METADATA: dict[str, object] = {
    "client_uri": "claude.ai",
    "logo_uri": "/logo.png",
    "tos_uri": "none",
    "policy_uri": 7,
    "contacts": "somebody@example.com",
    "jwks_uri": "no keys",
    "scope": ["mcp"],
    "application_type": "desktop",
    "software_id": 1,
    "software_version": 2.5,
}


@pytest.mark.parametrize("name", [*UNFIT_METADATA, "all"])
async def test_metadata_on_which_nothing_depends_is_left_out_of_a_registration_that_it_does_not_fit(
    tmp_path: Path, name: str
) -> None:
    unfit = UNFIT_METADATA if name == "all" else {name: UNFIT_METADATA[name]}
    async with met(tmp_path) as (_, agent, _browser):
        answer = await agent.register(**unfit)
        assert answer.status_code == 201, answer.text
        registered = answer.json()
        assert not [name for name, value in unfit.items() if registered.get(name) == value]
        assert (registered["client_name"], registered["scope"]) == ("Agent", "mcp")


WRONG_REGISTRATIONS: list[tuple[object, str, str]] = [
    ([], "invalid_client_metadata", "the body must be a JSON object"),
    ({}, "invalid_redirect_uri", "redirect_uris must be a list of 1 to 20 URIs"),
    ({"redirect_uris": None}, "invalid_redirect_uri", "redirect_uris must be a list of 1 to 20 URIs"),
    ({"redirect_uris": [REDIRECT] * 21}, "invalid_redirect_uri", "redirect_uris must be a list of 1 to 20 URIs"),
    ({"redirect_uris": ["nowhere"]}, "invalid_redirect_uri", "redirect_uris[0] must be a URL"),
    ({"redirect_uris": [REDIRECT, 7]}, "invalid_redirect_uri", "redirect_uris[1] must be a URL"),
    (
        {"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt"},
        "invalid_client_metadata",
        "token_endpoint_auth_method must be none or client_secret_post or client_secret_basic",
    ),
    (
        {"redirect_uris": [REDIRECT], "grant_types": "authorization_code"},
        "invalid_client_metadata",
        "grant_types must be a list",
    ),
    (
        {"redirect_uris": [REDIRECT], "contacts": [None], "client_name": 3, "response_types": "code"},
        "invalid_client_metadata",
        "response_types must be a list; client_name must be text",
    ),
]


async def test_a_wrong_registration_gets_its_error_in_our_words(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, _):
        for body, error, description in WRONG_REGISTRATIONS:
            refused = await agent.http.post(f"{portal.url}/register", json=body)
            assert (refused.status_code, refused.json()) == (400, {"error": error, "error_description": description})
        form = {"Content-Type": "application/json"}
        refused = await agent.http.post(f"{portal.url}/register", content=b"{", headers=form)
        assert refused.json()["error_description"] == "the body must be a JSON object"
        large = await agent.http.post(f"{portal.url}/register", json={"redirect_uris": [REDIRECT], "x": "x" * 70_000})
        assert (large.status_code, large.json()["error"]) == (413, "invalid_request")


@pytest.mark.parametrize(
    ("requested", "granted"),
    [("claudeai", "mcp"), ("claudeai mcp", "mcp"), ("everything offline_access", "mcp"), ("", "mcp"), (None, "mcp")],
)
async def test_scopes_that_there_are_not_are_ignored_and_the_answer_names_those_granted(
    tmp_path: Path, requested: str | None, granted: str
) -> None:
    async with met(tmp_path) as (_, agent, browser):
        await agent.register(scope=requested)
        code = (await agent.allowed(browser, scope=requested))["code"]
        answer = await agent.exchange(code, scope=requested)
        assert answer.status_code == 200 and answer.json()["scope"] == granted
        answer = await agent.refresh(scope=requested)
        assert answer.status_code == 200 and answer.json()["scope"] == granted
        assert (await agent.use()).status_code == 200


@pytest.mark.usefixtures("no_time_for_rates")
async def test_registration_is_slowed_down(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, agent, _browser):
        answers = [await agent.register() for _ in range(22)]
        assert [answer.status_code for answer in answers] == [201] * 20 + [429] * 2
        assert answers[-1].json()["error"] == "temporarily_unavailable"
        assert int(answers[-1].headers["retry-after"]) > 0


async def test_registration_can_be_switched_off(tmp_path: Path) -> None:
    async with met(tmp_path, oauth=OAuthSettings(registration=Registration(enabled=False))) as (
        portal,
        agent,
        _browser,
    ):
        assert (await agent.register()).status_code == 404
        metadata = await agent.http.get(f"{portal.url}/.well-known/oauth-authorization-server")
        assert "registration_endpoint" not in metadata.json()


async def test_a_session_of_one_person_is_unknown_to_another(tmp_path: Path) -> None:
    async with met(tmp_path) as (portal, agent, browser), browser_at(portal.url) as other_browser:
        await agent.log_in(browser)
        session = (await agent.use()).headers["mcp-session-id"]
        await portal.account("eve@example.com", "another good password")
        eve = Agent(portal, agent.http)
        await eve.register()
        login = await other_browser.open(eve.authorize_url())
        page = await other_browser.submit(
            login, "/login/password", email="eve@example.com", password="another good password"
        )
        done = await other_browser.submit(page, "/authorize/consent", "allow")
        await eve.exchange(answer_in(done.left_for)["code"])
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        for token, status in ((agent.tokens, 200), (eve.tokens, 404)):
            answer = await agent.http.post(
                portal.mcp,
                json=listing,
                headers={
                    "Accept": "application/json, text/event-stream",
                    "Authorization": f"Bearer {token['access_token']}",
                    "Mcp-Session-Id": session,
                    "MCP-Protocol-Version": "2025-11-25",
                },
            )
            assert answer.status_code == status
