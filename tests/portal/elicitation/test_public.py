"""A portal with a public URL: its client metadata document, and several processes on one database."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from portal.elicitation.client_document import client_document, portal_client
from portal.http import PortalAddress
from tests.portal.credentials.authority import login_authority, protected
from tests.portal.elicitation.people import Proxy, begun, browser_through, connected, leaves_for, people, sign_in
from tests.portal.login.guarded import EVERYONE

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
PUBLIC = "https://portal.example.com"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


async def test_a_login_that_one_process_began_is_finished_by_another(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        servers = {"files": {"url": host.url}}
        async with (
            people(tmp_path, servers, publicUrl=PUBLIC) as first,
            people(tmp_path, servers, publicUrl=PUBLIC) as second,
        ):
            await first.account()
            id = (await first.link()).partition("=")[2]
            proxy = Proxy("portal.example.com", port_of(first.url))
            async with browser_through(proxy, PUBLIC, issuing.url) as browser:
                await sign_in(browser, await browser.open("/login"))
                page = await begun(browser, await browser.open(f"/authorize?elicitationId={id}"))
                proxy.port = port_of(second.url)
                page = await browser.open(leaves_for(page))
                assert "You are connected" in page.text and page.url == f"{PUBLIC}/servers?elicitationId={id}"
            assert len(await second.logins()) == len(await first.logins()) == 1


async def test_the_portal_publishes_its_document_and_is_known_by_its_url(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        issuing.metadata["client_id_metadata_document_supported"] = True
        portals = {"docs": {"name": "Documentation", "servers": ["files"], "policies": [EVERYONE]}}
        async with people(tmp_path, {"files": {"url": host.url}}, portals, publicUrl=PUBLIC) as portal:
            proxy = Proxy("portal.example.com", port_of(portal.url))
            await portal.account()
            async with browser_through(proxy, PUBLIC, issuing.url) as browser:
                answer = await browser.client.get(f"{PUBLIC}/docs/oauth/client.json")
                assert answer.headers["cache-control"] == "public, max-age=3600"
                assert answer.headers["content-type"] == "application/json" and "set-cookie" not in answer.headers
                assert answer.json() == {
                    "client_id": f"{PUBLIC}/docs/oauth/client.json",
                    "client_name": "Documentation",
                    "redirect_uris": [f"{PUBLIC}/docs/servers-callback"],
                    "grant_types": ["authorization_code", "refresh_token"],
                    "response_types": ["code"],
                    "token_endpoint_auth_method": "none",
                    "application_type": "web",
                }
                await sign_in(browser, await browser.open("/docs/login"))
                page = await connected(browser, await browser.open("/docs/servers"))
                assert "Ready : logged in" in page.text
            assert issuing.registrations == []
            assert issuing.authorizations[0]["client_id"] == f"{PUBLIC}/docs/oauth/client.json"
            assert issuing.authorizations[0]["redirect_uri"] == f"{PUBLIC}/docs/servers-callback"
            assert issuing.requests[0]["client_id"] == f"{PUBLIC}/docs/oauth/client.json"


async def test_a_portal_on_this_machine_has_no_document(tmp_path: Path) -> None:
    async with people(tmp_path, {}) as portal, httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{portal.url}/oauth/client.json")
        assert answer.status_code == 404 and "no public https URL" in answer.text


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8787", "https://localhost", "https://docs.localhost:8443"])
def test_a_document_that_nobody_else_could_read_is_not_published(origin: str) -> None:
    assert portal_client(PortalAddress(origin), "Portal").document_url == ""


def test_the_redirect_uri_and_the_document_are_of_one_portal() -> None:
    client = portal_client(PortalAddress("https://portal.example.com", "/docs"), "Portal")
    document = client_document(client)
    assert document["client_id"] == client.document_url == "https://portal.example.com/docs/oauth/client.json"
    assert document["redirect_uris"] == ["https://portal.example.com/docs/servers-callback"]


async def test_without_registration_or_document_the_page_says_what_to_register(tmp_path: Path) -> None:
    async with login_authority(registers=False) as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {"files": {"url": host.url}}, publicUrl=PUBLIC) as portal:
            await portal.account()
            proxy = Proxy("portal.example.com", port_of(portal.url))
            async with browser_through(proxy, PUBLIC) as browser:
                await sign_in(browser, await browser.open("/login"))
                page = await begun(browser, await browser.open("/servers"))
                assert page.status == 502 and f"redirect URI {PUBLIC}/servers-callback" in page.text


async def test_the_secret_of_a_client_is_found_again_and_nowhere_kept(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        secret = "a secret of the configuration"
        entry = {"url": host.url, "oauth": {"clientId": "known", "clientSecret": secret, "issuer": issuing.issuer}}
        async with people(tmp_path, {"files": entry}, publicUrl=PUBLIC) as portal:
            await portal.account()
            proxy = Proxy("portal.example.com", port_of(portal.url))
            async with browser_through(proxy, PUBLIC, issuing.url) as browser:
                await sign_in(browser, await browser.open("/login"))
                page = await begun(browser, await browser.open("/servers"))
                files = [file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith("state.db")]
                assert not any(secret.encode() in file for file in files)
                assert "Ready : logged in" in (await browser.open(leaves_for(page))).text
            (exchanged,) = issuing.requests
            assert exchanged["authorization"].startswith("Basic ")
