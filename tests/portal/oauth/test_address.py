"""A portal that is mounted under a path: every URL it gives out has the prefix, and nobody else's resource is taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from portal.access import Decision
from portal.http import Origins, PortalAddress, running
from portal.identity import Identity
from portal.oauth.messages import OAuthError
from portal.oauth.metadata import WellKnown, challenge, well_known
from portal.oauth.resources import endpoint_path, read_resource
from portal.oauth.settings import OAuthSettings
from portal.state import plain
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded, Rules, guarded_portal
from tests.portal.oauth.agent import Agent, answer_in
from tests.portal.oauth.test_saas import REDIRECT as APP_REDIRECT
from tests.portal.oauth.test_saas import Connected

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
DOCS = PortalAddress("https://portal.example.com", "/docs")
prefixes = st.one_of(st.just(""), st.from_regex(r"/[a-z0-9-]{1,20}(/[a-z0-9-]{1,20})?", fullmatch=True))
paths = st.from_regex(r"/[a-z0-9/-]{0,20}", fullmatch=True)


@asynccontextmanager
async def under_docs(folder: Path) -> AsyncIterator[tuple[Guarded, Browser, httpx2.AsyncClient]]:
    """A portal mounted at `/docs`, and a browser that is signed in to it."""
    async with guarded_portal(folder) as portal:
        app = Starlette(routes=[Mount("/docs", routes=portal.identity.routes)])
        async with running(app) as origin, browser_at(portal.url, origin) as browser:
            await portal.account()
            login = await browser.open(f"{origin}/docs/login")
            await browser.submit(login, "/docs/login/password", email=EMAIL, password=PASSWORD)
            async with httpx2.AsyncClient(trust_env=False) as http:
                yield replace(portal, url=f"{origin}/docs"), browser, http


async def test_every_url_of_the_metadata_has_the_prefix(tmp_path: Path) -> None:
    async with under_docs(tmp_path) as (portal, _, http):
        for name in ("oauth-authorization-server", "openid-configuration"):
            metadata = (await http.get(f"{portal.url}/.well-known/{name}")).json()
            assert metadata["issuer"] == portal.url
            endpoints = {value for key, value in metadata.items() if key.endswith("_endpoint")}
            assert endpoints == {portal.url + path for path in ("/authorize", "/token", "/revoke", "/register")}
        for path in ("", "/mcp"):
            resource = (await http.get(f"{portal.url}/.well-known/oauth-protected-resource{path}")).json()
            assert (resource["resource"], resource["authorization_servers"]) == (portal.mcp, [portal.url])


async def test_metadata_names_the_url_that_was_asked_for_with_the_mode(tmp_path: Path) -> None:
    async with under_docs(tmp_path) as (portal, _, http):
        prefix = f"{portal.url}/.well-known/oauth-protected-resource"
        for mode in MODES:
            for path in ("", "/mcp"):
                document = (await http.get(f"{prefix}{path}{mode}")).json()
                assert document["resource"] == portal.mcp + mode
        for other in ("?x=1", "?codemode=yes", "?codemode=off&x=1", "?codemode=off&codemode=off"):
            assert (await http.get(f"{prefix}/mcp{other}")).json()["resource"] == portal.mcp


async def test_an_agent_gets_tokens_for_this_portal_and_for_no_other_of_its_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit, places = Rules.admit, set[str]()

    async def noting(rules: Rules, identity: Identity, path: str) -> Decision:
        places.add(path)
        return await admit(rules, identity, path)

    monkeypatch.setattr(Rules, "admit", noting)
    async with under_docs(tmp_path) as (portal, browser, http):
        agent = Agent(portal, http)
        await agent.register()
        page = await browser.open(agent.authorize_url())
        assert urlsplit(page.url).path == "/docs/authorize/consent"
        done = await browser.submit(page, "/docs/authorize/consent", "allow")
        answer = answer_in(done.left_for)
        assert answer["iss"] == portal.url
        origin = portal.url.removesuffix("/docs")
        for resource in (f"{origin}/mcp", f"{origin}/docsmcp", origin):
            refused = await agent.exchange(answer["code"], resource=resource)
            assert refused.json()["error"] == "invalid_target", resource
            page = await browser.open(agent.authorize_url(resource=resource))
            assert answer_in(page.left_for)["error"] == "invalid_target"
        assert (await agent.exchange(answer["code"])).status_code == 200
        assert (await agent.refresh()).status_code == 200
        assert places == {"/mcp"}
        found = await portal.store.tokens.find(plain("access"), agent.tokens["access_token"])
        assert found is not None and found.document["resource"] == portal.mcp


async def test_an_application_finds_its_issuer_under_the_prefix(tmp_path: Path) -> None:
    async with under_docs(tmp_path) as (portal, browser, http):
        app = await Connected(portal).store()
        issuer = (await http.get(f"{app.base}/.well-known/openid-configuration")).json()["issuer"]
        assert issuer == app.base == f"{portal.url}/cdn-cgi/access/sso/oidc/{app.client_id}"
        query = f"response_type=code&scope=openid&client_id={app.client_id}&redirect_uri={APP_REDIRECT}"
        page = await browser.open(f"{app.base}/authorization?{query}")
        assert answer_in(page.left_for)["iss"] == app.base


async def test_who_is_not_signed_in_comes_back_to_the_path_with_the_prefix(tmp_path: Path) -> None:
    async with under_docs(tmp_path) as (portal, _, http):
        agent = Agent(portal, http)
        await agent.register()
        consent = (await http.get(agent.authorize_url())).headers["location"]
        assert consent.startswith("/docs/authorize/consent?request=")
        login = (await http.get(portal.url.removesuffix("/docs") + consent)).headers["location"]
        assert answer_in(login)["return"] == consent


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("LocalHost:8787", "http://localhost:8787"),
        ("127.0.0.1:80", "http://127.0.0.1"),
        ("[0:0:0:0:0:0:0:1]:8787", "http://[::1]:8787"),
        ("[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_on_loopback_has_one_spelling(host: str, origin: str) -> None:
    assert Origins().of({"headers": [(b"host", host.encode())]}) == origin
    address = PortalAddress(origin)
    assert read_resource(f"http://{host}/mcp", address, "/mcp") == f"{origin}/mcp"


def test_well_known_paths_come_before_the_prefix() -> None:
    assert well_known("") == WellKnown(
        ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
        "/.well-known/oauth-protected-resource",
    )
    assert well_known("/docs") == WellKnown(
        (
            "/.well-known/oauth-authorization-server/docs",
            "/.well-known/openid-configuration/docs",
            "/docs/.well-known/openid-configuration",
        ),
        "/.well-known/oauth-protected-resource/docs",
    )


@given(prefixes)
def test_a_challenge_names_the_well_known_path_of_its_endpoint(prefix: str) -> None:
    address = PortalAddress("https://portal.example.com", prefix)
    header = challenge(address.origin, address.path("/mcp"), OAuthSettings())
    assert f'resource_metadata="{address.origin}{well_known(prefix).protected_resource}/mcp"' in header


@given(prefixes, paths)
def test_a_path_of_a_portal_is_found_again(prefix: str, path: str) -> None:
    address = PortalAddress("https://portal.example.com", prefix)
    assert address.within(address.path(path)) == path
    assert address.url(path) == f"https://portal.example.com{address.path(path)}"
    assert endpoint_path(address.url(path), address) == path


def test_a_path_beside_a_portal_is_not_its_own() -> None:
    for path in ("/", "/mcp", "/doc", "/docsmcp", "/documents/mcp", "/other/docs/mcp", "mcp"):
        assert DOCS.within(path) is None
    assert (DOCS.within("/docs"), DOCS.within("/docs/")) == ("", "/")


MODES = ["?codemode=search_and_execute", "?codemode=off", "?optimize_context=minimize_tools", "?codemode=o%66f"]


@pytest.mark.parametrize(
    "requested",
    [
        "",
        "https://portal.example.com/docs",
        "HTTPS://Portal.Example.com/docs/mcp/",
        "https://portal.example.com:443/docs/mcp",
        "https://portal.example.com./docs/mcp",
        "https://portal.example.com/docs/mcp?",
        *(f"https://portal.example.com/docs/mcp{mode}" for mode in MODES),
        f"https://portal.example.com:443/docs/mcp/{MODES[0]}",
        f"https://portal.example.com/docs{MODES[0]}",
    ],
)
def test_the_endpoint_of_a_portal_is_meant_by_its_own_url_too(requested: str) -> None:
    assert read_resource(requested, DOCS, "/mcp") == "https://portal.example.com/docs/mcp"


@pytest.mark.parametrize(
    "requested",
    [
        "https://portal.example.com",
        "https://portal.example.com/mcp",
        "https://portal.example.com/other/mcp",
        "https://evil.example/docs/mcp",
        "https://portal.example.com/docs/mcp?x",
        "https://portal.example.com/docs/mcp#x",
        "https://portal.example.com/docs/tickets",
        "https://portal.example.com/docs/mcp?codemode=yes",
        "https://portal.example.com/docs/mcp?codemode=off&codemode=off",
        "https://portal.example.com/docs/mcp?codemode=off&x=1",
        "https://portal.example.com/docs%2Fmcp",
        "https://portal.example.com/%64ocs/m%63p",
        "https://portal.example.com/other/../docs/mcp",
        " https://portal.example.com/docs/mcp",
        "https://portal.example.com:8443/docs/mcp",
        "http://portal.example.com/docs/mcp",
        "https://user@portal.example.com/docs/mcp",
        "https://[portal/docs/mcp",
        "/docs/mcp",
    ],
)
def test_any_other_resource_is_not_this_portals(requested: str) -> None:
    refused = read_resource(requested, DOCS, "/mcp")
    assert isinstance(refused, OAuthError) and refused.code == "invalid_target"
