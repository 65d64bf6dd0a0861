"""Clients whose id is the URL of their document: what is fetched, from where, and which documents are believed."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from portal.egress import AddressRule, FetchFailed
from portal.oauth.clients import Client, Clients, fetch_document, read_document
from portal.oauth.redirects import is_registered, may_have, split_redirect
from portal.oauth.settings import OAuthSettings, Registration
from portal.shares import Full, Shares
from portal.state import KeyRing, Store
from tests.certificates import server_named
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal
from tests.portal.oauth.agent import Agent
from tests.portal.state.databases import new_state

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
CLIENT = "https://agents.example.com/oauth/client.json"


def document(**changes: Any) -> bytes:
    redirects = ["http://127.0.0.1:3333/callback", "https://agents.example.com/callback"]
    return json.dumps({"client_id": CLIENT, "client_name": "Agents", "redirect_uris": redirects, **changes}).encode()


async def test_a_client_with_a_document_signs_in_without_registering(tmp_path: Path) -> None:
    fetched: list[str] = []

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        return document()

    async with guarded_portal(tmp_path, fetch=fetch) as portal, browser_at(portal.url) as browser:
        await portal.account()
        async with httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(portal, http, client_id=CLIENT)
            page = await agent.ask(browser)
            assert "published by agents.example.com" in page.text
            answer = await agent.allowed(browser)
            assert (await agent.exchange(answer["code"])).status_code == 200
            assert (await agent.refresh()).status_code == 200
            assert (await agent.use()).status_code == 200
            assert fetched == [CLIENT]


BAD_IDS = [
    "https://agents.example.com",
    "https://agents.example.com/",
    "https://agents.example.com/a/../b",
    "https://user@agents.example.com/c",
    "https://agents.example.com/c#f",
    "https://agents.example.com/" + "x" * 600,
    "http://agents.example.com/c",
]


async def test_an_id_that_cannot_be_a_document_is_not_fetched(tmp_path: Path) -> None:
    async def fetch(url: str) -> bytes:
        raise AssertionError(url)

    async with guarded_portal(tmp_path, fetch=fetch) as portal, browser_at(portal.url) as browser:
        async with httpx2.AsyncClient(trust_env=False) as http:
            for bad in BAD_IDS:
                page = await browser.open(Agent(portal, http, client_id=bad).authorize_url())
                assert (page.status, page.left_for) == (400, ""), bad


async def test_that_one_may_have_no_more_fetched_is_no_matter_of_whoever_names_the_same_client(tmp_path: Path) -> None:
    async def fetch(url: str) -> bytes:
        return document()

    fetches = Shares(8, 1)
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        clients = Clients(store, OAuthSettings(), fetch, fetches)
        with fetches.held("attacker"):
            # At the same moment, so that the second one waits for what the first one began.
            first, allowed, neighbour = await asyncio.gather(
                *(clients.get(CLIENT, stranger) for stranger in ("attacker", "", "neighbour")), return_exceptions=True
            )
    assert isinstance(first, Full)
    assert isinstance(allowed, Client) and allowed == neighbour


async def test_a_grant_type_is_refused_before_a_document_is_looked_for(tmp_path: Path) -> None:
    async def fetch(url: str) -> bytes:
        raise AssertionError(url)

    async with guarded_portal(tmp_path, fetch=fetch) as portal, httpx2.AsyncClient(trust_env=False) as http:
        agent = Agent(portal, http, client_id=CLIENT)
        for fields, error in (
            ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
            ({"grant_type": "refresh_token"}, "invalid_request"),
            ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ):
            refused = await agent.token(**fields)
            assert (refused.status_code, refused.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "https://agents.example.com/other.json"},
        {"redirect_uris": ["https://elsewhere.example/callback"]},
        {"redirect_uris": []},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"client_secret": "secret"},
    ],
)
def test_a_document_that_is_not_its_clients_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="document"):
        read_document(CLIENT, document(**changes), OAuthSettings())


def test_metadata_on_which_nothing_depends_costs_no_document() -> None:
    client = read_document(CLIENT, document(logo_uri="/logo.png", contacts="us", scope=["mcp"]), OAuthSettings())
    assert client.name == "Agents" and client.redirect_uris


def test_what_is_no_json_object_is_refused() -> None:
    for content in (b"", b"[]", b"null", b"\xff", b"{" * 100):
        with pytest.raises(ValueError, match="metadata"):
            read_document(CLIENT, content, OAuthSettings())


class Names(AbstractResolver):
    """A name server that says what it is told, one answer after the other."""

    def __init__(self, *answers: list[str], port: int = 0) -> None:
        self.answers = list(answers)
        self.port = port
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=address, port=self.port or port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        return None


@dataclass
class Sink:
    """A TLS server inside, with the answer it gives; it counts who comes."""

    port: int
    tls: ssl.SSLContext
    answer: bytes = b""
    hits: int = 0
    heads: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def sink(folder: Path) -> AsyncIterator[Sink]:
    pem = folder / "server.pem"
    serving = server_named("agents.example.com", pem)
    trusting = ssl.create_default_context(cafile=str(pem))
    found = Sink(0, trusting)

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.hits += 1
        try:
            found.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(found.answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=serving)
    async with server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


def answered(body: bytes, status: str = "200 OK", kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def fetch_from(inside: Sink) -> bytes:
    """The document, from a name that leads to the sink. The sink is on this machine, so the rule is another here."""
    names = Names(["127.0.0.1"], port=inside.port)
    return await fetch_document(CLIENT, addresses=AddressRule.NOT_LINK_LOCAL, resolver=names, tls=inside.tls)


async def test_a_document_is_fetched_over_tls_from_the_address_that_was_checked(tmp_path: Path) -> None:
    async with sink(tmp_path) as inside:
        inside.answer = answered(b"{}")
        assert await fetch_from(inside) == b"{}"
        assert b"host: agents.example.com" in inside.heads[0].lower()


@pytest.mark.parametrize(
    "answer",
    [
        answered(b"{}", "302 Found", more="Location: https://agents.example.com/other\r\n"),
        answered(b"{}", "500 Oh"),
        answered(b"<html>", kind="text/html"),
        answered(b'"' + b"x" * 100_000 + b'"'),
        b"nothing like http",
    ],
)
async def test_an_answer_that_is_no_small_json_is_refused(tmp_path: Path, answer: bytes) -> None:
    async with sink(tmp_path) as inside:
        inside.answer = answer
        with pytest.raises(FetchFailed):
            await fetch_from(inside)
        assert inside.hits == 1


async def test_a_name_that_leads_inside_is_not_connected_to(tmp_path: Path) -> None:
    async with sink(tmp_path) as inside:
        for addresses in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["10.0.0.1"]):
            with pytest.raises(FetchFailed):
                await fetch_document(CLIENT, resolver=Names(addresses, port=inside.port), tls=inside.tls)
        assert inside.hits == 0


async def test_a_name_is_asked_once_so_a_second_answer_changes_nothing() -> None:
    names = Names(["127.0.0.1"], ["127.0.0.1"])
    with pytest.raises(FetchFailed):
        await fetch_document(CLIENT, resolver=names)
    assert names.asked == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://agents.example.com/c",
        "https://127.0.0.1/c",
        "https://2130706433/c",
        "https://0x7f.1/c",
        "https://[::1]/c",
        "https://169.254.169.254/latest",
        "file:///etc/passwd",
    ],
)
async def test_addresses_and_other_schemes_are_not_fetched(url: str) -> None:
    names = Names(["127.0.0.1"])
    with pytest.raises(FetchFailed):
        await fetch_document(url, addresses=AddressRule.NOT_LINK_LOCAL, resolver=names)
    assert names.asked == 0


@given(st.text(max_size=60))
def test_no_text_makes_a_redirect_out_of_what_runs_in_a_browser(text: str) -> None:
    for scheme in ("javascript:", "JavaScript:", "data:", "file://", "vbscript:", "http://evil.example/"):
        assert not may_have(scheme + text, Registration())
        assert not is_registered(scheme + text, ["http://127.0.0.1/callback"])


@given(st.integers(min_value=1, max_value=65535), st.sampled_from(["127.0.0.1", "localhost", "[::1]"]))
def test_only_the_port_of_a_loopback_redirect_may_differ(port: int, host: str) -> None:
    registered = [f"http://{host}:1234/callback?a=b"]
    assert is_registered(f"http://{host}:{port}/callback?a=b", registered)
    for other in (
        f"http://{host}:{port}/callback",
        f"http://{host}:{port}/callback/?a=b",
        f"https://{host}:{port}/callback?a=b",
    ):
        assert not is_registered(other, registered)


def test_the_port_of_any_other_redirect_may_not_differ() -> None:
    assert not is_registered("https://agents.example.com:8443/c", ["https://agents.example.com/c"])
    assert split_redirect("https://agents.example.com:port/c") is None


def test_a_prefix_reaches_past_the_host_or_matches_nothing() -> None:
    for entry in ("https://example.com*", "https://*", "http*", "*"):
        assert not may_have("https://example.com.evil.example/x", Registration(allowed_uris=(entry,)))
    assert may_have("https://example.com/x", Registration(allowed_uris=("https://example.com/*",)))


SAME_TEXT = [
    ("https://claude.ai", "https://claude.ai", True),
    ("https://claude.ai", "https://claude.ai/", False),
    ("https://claude.ai/cb", "https://claude.ai/cb", True),
    ("https://claude.ai/cb", "https://claude.ai:443/cb", False),
    ("https://claude.ai/cb", "https://Claude.ai/cb", False),
    ("https://claude.ai/cb", "https://claude.ai/%63b", False),
    ("https://claude.ai/api/*", "https://claude.ai/api/cb?a=/../b", True),
    ("https://claude.ai/api/*", "https://claude.ai/%61pi/cb", False),
    ("https://claude.ai/api/*", "https://claude.ai/API/cb", False),
    ("https://claude.ai/api/*", "https://claude.ai:8443/api/cb", False),
    ("https://claude.ai/api/*", "https://claude.ai/api/../evil", False),
    ("https://claude.ai/api/*", "https://claude.ai/api/.%2e/evil", False),
    ("https://claude.ai/api/*", "https://claude.ai/api/%252e%252e/evil", False),
    ("https://claude.ai/api/*", "https://claude.ai/api/..%2fevil", False),
    ("https://claude.ai/api/*", "https://claude.ai/api/..;/evil", False),
    ("https://claude.ai/api/*", "https://claude.ai/api/..%5cevil", False),
    ("cursor://*", "cursor://anysphere.retrieval/cb", True),
    ("Cursor://*", "cursor://anysphere.retrieval/cb", False),
]


@pytest.mark.parametrize(("entry", "redirect", "same"), SAME_TEXT)
def test_rules_and_redirects_are_compared_as_they_are_written(entry: str, redirect: str, same: bool) -> None:
    assert may_have(redirect, Registration(allowed_uris=(entry,))) == same


def test_a_publisher_has_redirects_at_its_own_origin_as_its_client_id_spells_it() -> None:
    publisher = "https://agents.example.com"
    for redirect in (publisher, f"{publisher}/cb", f"{publisher}?a=b"):
        assert may_have(redirect, Registration(), publisher=publisher), redirect
    for redirect in (f"{publisher}.evil.example/cb", f"{publisher}:8443/cb", "https://AGENTS.example.com/cb"):
        assert not may_have(redirect, Registration(), publisher=publisher), redirect
    content = document(redirect_uris=["https://Agents.example.com/cb", "https://agents.example.com"])
    assert read_document(CLIENT, content, OAuthSettings()).redirect_uris == ("https://agents.example.com",)


@given(st.text(max_size=80))
def test_a_text_is_the_redirect_that_was_registered_or_differs_from_it_in_a_port(text: str) -> None:
    for registered in ("https://app.example/cb", "http://127.0.0.1/cb"):
        for requested in (registered + text, text + registered, registered.replace("/cb", f":{text}/cb")):
            if is_registered(requested, [registered]) and requested != registered:
                port = requested.removeprefix("http://127.0.0.1:").removesuffix("/cb")
                assert port.isascii() and port.isdigit()
