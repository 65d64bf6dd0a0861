"""How requests are read and decided on, at both authorization servers: the same mistakes, the same errors."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.oauth.clients import Client, hash_secret
from portal.oauth.credentials import Credentials, authenticate, read_credentials
from portal.oauth.messages import MAX_PARAMETER, MAX_PARAMETERS, OAuthError, read_form, with_parameters
from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal
from tests.portal.oauth.agent import answer_in
from tests.portal.oauth.exchanges import CHALLENGE, SERVERS, Exchanges, client_of

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@asynccontextmanager
async def client_at(folder: Path, server: str) -> AsyncIterator[Exchanges]:
    async with guarded_portal(folder) as portal, browser_at(portal.url) as browser:
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            yield await client_of(server, portal, browser, http)


LONG = "x" * (MAX_PARAMETER + 1)
WRONG_TOKEN_REQUESTS: list[tuple[dict[str, str], str]] = [
    ({"grant_type": "password"}, "unsupported_grant_type"),
    ({"grant_type": "client_credentials", "code": ""}, "unsupported_grant_type"),
    ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, "unsupported_grant_type"),
    ({"grant_type": ""}, "invalid_request"),
    ({"code": ""}, "invalid_request"),
    ({"code": "unknown"}, "invalid_grant"),
    ({"code_verifier": ""}, "invalid_request"),
    ({"code_verifier": "x" * 43}, "invalid_grant"),
    ({"redirect_uri": ""}, "invalid_grant"),
    ({"redirect_uri": "http://127.0.0.1:3333/another"}, "invalid_grant"),
    ({"code_verifier": LONG}, "invalid_request"),
    ({f"p{number}": "" for number in range(MAX_PARAMETERS)}, "invalid_request"),
    ({"client_id": ""}, "invalid_client"),
    ({"client_id": "unknown"}, "invalid_client"),
]


@pytest.mark.parametrize("server", SERVERS)
async def test_a_wrong_token_request_gets_its_error_and_leaves_the_code_good(tmp_path: Path, server: str) -> None:
    async with client_at(tmp_path, server) as client:
        code = await client.code()
        for changes, error in WRONG_TOKEN_REQUESTS:
            refused = await client.exchange("code", code, **changes)
            assert refused.json()["error"] == error, changes
            assert refused.status_code == (401 if error == "invalid_client" else 400)
            assert ("www-authenticate" in refused.headers) == (error == "invalid_client")
            assert (refused.headers["cache-control"], refused.headers["pragma"]) == ("no-store", "no-cache")
        fields = urlencode({"code": code, **client.credentials})
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        twice = await client.http.post(client.token_url, content=f"{fields}&code=x", headers=form)
        assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
        assert (await client.exchange("code", code)).status_code == 200


@pytest.mark.parametrize("server", SERVERS)
async def test_a_request_that_is_refused_before_it_is_read_gets_an_error_of_oauth(tmp_path: Path, server: str) -> None:
    async with client_at(tmp_path, server) as client:
        base = client.token_url.removesuffix("/token")
        urls = [client.token_url]
        urls += [f"{base}/revoke", f"{base}/docs/token", f"{base}/docs/revoke"] if server != "for applications" else []
        for url in urls:
            for body, kind in (
                (b"{}", "application/json"),
                (b"x", "text/plain"),
                (b"a=b", ""),
                (b"", "application/json"),
            ):
                headers = {"Content-Type": kind} if kind else {}
                refused = await client.http.post(url, content=body, headers=headers)
                check_refusal(refused, 400)
                assert "application/x-www-form-urlencoded" in refused.json()["error_description"]
            large = await client.http.post(url, data={"code": "x" * 70_000})
            check_refusal(large, 413)
            foreign = await client.http.post(url, data={"code": "x"}, headers={"Origin": 'https://"evil".example'})
            check_refusal(foreign, 403)
        for method in ("GET", "PUT", "DELETE"):
            other = await client.http.request(method, client.token_url)
            check_refusal(other, 405)
            assert other.headers["allow"] == "POST"


async def test_so_does_a_registration(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        check_refusal(await http.post(f"{portal.url}/register", data={"client_name": "x"}), 400)
        deep = b"[" * 200 + b"]" * 200
        json = {"Content-Type": "application/json"}
        check_refusal(await http.post(f"{portal.url}/register", content=deep, headers=json), 400)
        check_refusal(await http.get(f"{portal.url}/register"), 405)
        at_endpoint = await http.post(portal.url + "/mcp", content=b"x", headers={"Content-Type": "text/plain"})
        assert (at_endpoint.status_code, at_endpoint.json()["jsonrpc"]) == (415, "2.0")


def check_refusal(answer: httpx2.Response, status: int) -> None:
    """RFC 6749 section 5.2: the error and a description in its characters, which nobody keeps."""
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")
    assert set(answer.json()) == {"error", "error_description"}
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", answer.json()["error_description"])
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("server", SERVERS)
async def test_a_grant_type_that_the_portal_does_not_have_is_named_as_such(tmp_path: Path, server: str) -> None:
    async with client_at(tmp_path, server) as client:
        for grant_type in ("client_credentials", "urn:ietf:params:oauth:grant-type:device_code"):
            form = {"grant_type": grant_type, **client.credentials}
            refused = await client.http.post(client.token_url, data=form)
            assert (refused.status_code, refused.json()) == (
                400,
                {
                    "error": "unsupported_grant_type",
                    "error_description": "grant_type must be authorization_code or refresh_token",
                },
            )


WRONG_AUTHORIZATION_REQUESTS: list[tuple[dict[str, str], str]] = [
    ({"response_type": ""}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": ""}, "invalid_request"),
    ({"code_challenge": CHALLENGE[:-1]}, "invalid_request"),
    ({"code_challenge": CHALLENGE[:-1] + "="}, "invalid_request"),
    ({"nonce": LONG}, "invalid_request"),
]


@pytest.mark.parametrize("server", SERVERS)
async def test_a_wrong_authorization_request_gets_its_error_at_the_clients_redirect(
    tmp_path: Path, server: str
) -> None:
    async with client_at(tmp_path, server) as client:
        url, _, query = client.authorize_url.partition("?")
        # For MCP clients the portal ignores scopes that it does not have.
        scopes = [({"scope": "unknown"}, "invalid_scope")] if server == "for applications" else []
        for changes, error in (*WRONG_AUTHORIZATION_REQUESTS, *scopes):
            page = await client.browser.open(f"{url}?{urlencode({**dict(parse_qsl(query)), **changes})}")
            answer = answer_in(page.left_for)
            assert page.left_for.startswith(client.redirect)
            assert (answer["error"], answer["state"]) == (error, "s"), changes
            assert url.startswith(answer["iss"])


@pytest.mark.parametrize("server", SERVERS)
async def test_a_request_of_an_unknown_client_or_with_a_parameter_twice_is_answered_to_the_person(
    tmp_path: Path, server: str
) -> None:
    async with client_at(tmp_path, server) as client:
        url = client.authorize_url
        wrong = [url.replace("client_id=", "client_id=x"), url + "&state=2", url.replace("client_id=", "x=")]
        for wrong_url in wrong:
            page = await client.browser.open(wrong_url)
            assert (page.status, page.left_for) == (400, "")
            assert "does not work" in page.text


@given(st.binary(max_size=300))
def test_any_form_is_read_or_refused(body: bytes) -> None:
    read = read_form(body)
    assert isinstance(read, OAuthError) or all(read.values())


@given(st.dictionaries(names, names, max_size=MAX_PARAMETERS))
def test_a_form_is_read_as_it_was_sent(parameters: dict[str, str]) -> None:
    assert read_form(urlencode(parameters).encode()) == parameters


@given(names, st.lists(st.tuples(names, names), max_size=3))
def test_a_parameter_twice_is_an_error_wherever_it_is(name: str, others: list[tuple[str, str]]) -> None:
    read = read_form(urlencode([(name, "1"), *others, (name, "")]).encode())
    assert isinstance(read, OAuthError) and read.code == "invalid_request"


REDIRECTS = [
    "https://tickets.example.com/callback",
    "http://127.0.0.1:3333/?",
    "http://127.0.0.1:3333/callback?a=b&c=",
    "cursor://anysphere/callback",
    "com.example.app:/callback",
    "app:///callback?x",
]


@given(st.sampled_from(REDIRECTS), st.dictionaries(names, names, min_size=1, max_size=4))
def test_an_answer_adds_to_a_redirect_and_keeps_its_query(redirect: str, answer: dict[str, str]) -> None:
    url = with_parameters(redirect, answer)
    before = parse_qsl(urlsplit(redirect).query, keep_blank_values=True)
    assert url.startswith(redirect)
    assert parse_qsl(urlsplit(url).query, keep_blank_values=True) == [*before, *answer.items()]


def test_a_redirect_without_an_answer_stays_as_it_is() -> None:
    assert [with_parameters(redirect, {}) for redirect in REDIRECTS] == REDIRECTS


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@given(st.text(max_size=60), st.dictionaries(st.sampled_from(["client_id", "client_secret"]), names))
def test_any_credentials_are_read_or_refused(header: str, parameters: dict[str, str]) -> None:
    for authorization in (header, f"Basic {header}", basic(header.encode("utf-8", "replace").decode())):
        read = read_credentials(authorization, parameters)
        assert read.code == "invalid_client" if isinstance(read, OAuthError) else read.client_id


@given(names, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_basic_credentials_are_read_as_they_were_sent(client_id: str, secret: str) -> None:
    header = basic(f"{quote(client_id, safe='')}:{quote(secret, safe='')}")
    assert read_credentials(header, {}) == Credentials(client_id, secret)
    assert read_credentials(header, {"client_id": client_id}) == Credentials(client_id, secret)
    assert isinstance(read_credentials(header, {"client_id": client_id + "x"}), OAuthError)


METHODS = ["client_secret_basic", "client_secret_post", "none"]


@pytest.mark.parametrize("method", METHODS)
def test_a_client_authenticates_by_the_method_it_registered_only(method: str) -> None:
    secret = "" if method == "none" else hash_secret("secret")
    methods = frozenset({method})
    client = Client(id="c", holder="c", redirect_uris=(), scopes=(), auth_methods=methods, secret_sha256=secret)
    shown = {
        "client_secret_basic": Credentials("c", basic="secret"),
        "client_secret_post": Credentials("c", post="secret"),
        "none": Credentials("c"),
    }
    accepted = {name for name, credentials in shown.items() if authenticate(credentials, client, NOW) is client}
    # A client that has no secret is not asked for one, and one too many does no harm.
    assert accepted == (set(METHODS) if method == "none" else {method})
    for wrong in (Credentials("d", "secret", "secret"), Credentials("c", "x", "x")):
        assert (authenticate(wrong, client, NOW) is client) == (method == "none" and wrong.client_id == "c")


def test_a_client_whose_secret_is_lost_or_expired_does_not_authenticate() -> None:
    methods = frozenset({"client_secret_post"})
    client = Client(id="c", holder="c", redirect_uris=(), scopes=(), auth_methods=methods)
    for secret in ("", "secret"):
        assert isinstance(authenticate(Credentials("c", post=secret), client, NOW), OAuthError)
    expired = Client(
        id="c",
        holder="c",
        redirect_uris=(),
        scopes=(),
        auth_methods=methods,
        secret_sha256=hash_secret("secret"),
        secret_expires_at=int(NOW.timestamp()),
    )
    assert isinstance(authenticate(Credentials("c", post="secret"), expired, NOW), OAuthError)
