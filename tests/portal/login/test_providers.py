"""Signing in at an OpenID provider (a certified one, in Node) and at one of GitHub's shape; reading their settings."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
from aiohttp.abc import AbstractResolver, ResolveResult
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from portal.egress import FetchFailed, FetchProblem
from portal.identity import Group, Identity, identity_from
from portal.login.id_tokens import half_hash, read_id_token
from portal.login.oauth2 import identity_of as github_identity
from portal.login.oidc import Oidc, identity_of, read_endpoints, require_issuer
from portal.login.providers import OAuthProvider, OidcProvider, ProviderInvalid, read_provider
from portal.login.remote import MAX_BYTES, LoginFailed, authorization_url, token_problem
from portal.objects import ProviderDocument
from portal.state import plain
from tests.node_tools import listening_script
from tests.portal.login.browser import Browser, Page, browser_at
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.upstreams.server import listen

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

OIDC_PROVIDER = "oidc-provider@9.13.3"


async def offer(portal: Guarded, kind: str, config: dict[str, Any], secret: str = "the secret of the portal") -> None:
    document = {"name": kind.title(), "type": kind, "config": config}
    await portal.store.create(plain("identity_provider"), kind, document, by="test", secret=secret.encode())


async def seen(portal: Guarded, browser: Browser) -> Identity | None:
    """Who the portal thinks is signed in, in this browser."""
    token = await portal.store.tokens.find(plain("session"), browser.client.cookies.get("portal_session") or "none")
    if token is None:
        return None
    return identity_from(token.document["identity"])


def certified_provider(redirect: str, secret: str = "the secret of the portal") -> AbstractAsyncContextManager[str]:
    """The npm package `oidc-provider`, running, with this secret for its client `portal`; its issuer."""
    script = Path(__file__).with_name("oidc_provider.mjs")
    return listening_script(OIDC_PROVIDER, script, {"redirect": redirect, "secret": secret})


async def log_in_there(browser: Browser, page: Page, who: str) -> Page:
    """The provider's own pages: who it is, and that the portal may know."""
    (login,) = page.forms
    page = await browser.submit(page, urlsplit(login.action).path, login=who, password="any")
    (consent,) = page.forms
    return await browser.submit(page, urlsplit(consent.action).path)


@pytest.mark.clients
async def test_a_person_signs_in_at_a_certified_openid_provider(tmp_path: Path) -> None:
    # The characters that basic authorization cannot carry as they are (RFC 6749 2.3.1).
    secret = "100% of a secret: + & more"
    async with guarded_portal(tmp_path) as portal:
        async with certified_provider(f"{portal.url}/login/callback", secret) as issuer:
            config = {"client_id": "portal", "issuer": issuer, "scopes": ["email", "profile"]}
            await offer(portal, "oidc", config, secret)
            async with browser_at(portal.url, issuer) as browser:
                page = await browser.open((await browser.open("/login?return=/logout")).link("Sign in with Oidc"))
                page = await log_in_there(browser, page, "ada")
                assert "signed in as ada@example.com" in page.text
                identity = await seen(portal, browser)
                assert identity is not None
                assert (identity.id, identity.name) == ("oidc:ada", "Ada Lovelace")
                assert [group.name for group in identity.groups] == ["engineers", "staff"]
                assert (identity.idp_type, identity.login_method) == ("oidc", "oidc")
            async with browser_at(portal.url, issuer) as browser:
                await portal.store.create(plain("settings"), "login", {"auto_redirect_to_identity": True}, by="test")
                page = await browser.open("/login?return=/logout")
                assert page.url.startswith(issuer)
                await log_in_there(browser, page, "eve")
                identity = await seen(portal, browser)
                assert identity is not None
                assert (identity.id, identity.email) == ("oidc:eve", "")


class Issuer:
    """A provider whose answers a test can bend. `claims` go into the ID token, signed by `key`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key: Any = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
        self.signing_key: Any = self.key
        self.algorithm = "ES256"
        self.claims: dict[str, Any] = {}
        self.extra: dict[str, str] = {}
        self.metadata: dict[str, Any] = {}
        self.asked: dict[str, str] = {}
        self.exchanged: dict[str, str] = {}
        self.padding, self.coding = b"", "identity"
        self.moved = ""
        self.visited: list[str] = []
        self.forge: Callable[[dict[str, Any], Any], str] | None = None

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/elsewhere/{path:path}", self._elsewhere, methods=["GET", "POST"]),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/jwks", self._jwks),
            ]
        )

    async def _elsewhere(self, request: Request) -> Response:
        self.visited.append(request.path_params["path"])
        return Response(status_code=500)

    async def _metadata(self, request: Request) -> Response:
        if "metadata" in self.moved:
            return RedirectResponse("/elsewhere/metadata")
        if self.padding:
            headers = {"Content-Encoding": self.coding, "Content-Type": "application/json"}
            return Response(self.padding, headers=headers)
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
                **self.metadata,
            }
        )

    async def _authorize(self, request: Request) -> Response:
        self.asked = dict(request.query_params)
        answer = {"code": "the code", "state": self.asked["state"], **self.extra}
        query = "&".join(f"{name}={value}" for name, value in answer.items())
        return RedirectResponse(f"{self.asked['redirect_uri']}?{query}")

    async def _token(self, request: Request) -> Response:
        if "token" in self.moved:
            return RedirectResponse("/elsewhere/token")
        self.exchanged = {name: str(value) for name, value in (await request.form()).items()}
        now = int(time.time())
        claims = {"iss": self.url, "aud": "portal", "sub": "ada", "iat": now, "exp": now + 60}
        claims |= {"nonce": self.asked.get("nonce"), "email": "ada@example.com", **self.claims}
        header = {"alg": self.algorithm, "kid": "one"}
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.forge is not None:
            token = self.forge(claims, self.key)
        else:
            token = jwt.encode(header, claims, self.signing_key, algorithms=[self.algorithm])
        return JSONResponse({"access_token": "access", "token_type": "Bearer", "id_token": token})

    async def _jwks(self, request: Request) -> Response:
        if "jwks" in self.moved:
            return RedirectResponse("/elsewhere/jwks")
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})


@asynccontextmanager
async def served(app: Starlette, port: int, sockets: Any) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=0))
    task = asyncio.create_task(server.serve(sockets=[sockets]))
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def bendable(portal: Guarded, *, endpoints_only: bool = False, **config: Any) -> AsyncIterator[Issuer]:
    listening = listen(0)
    issuer = Issuer(f"http://127.0.0.1:{listening.getsockname()[1]}")
    endpoints = {"auth_url": "authorize", "token_url": "token", "certs_url": "jwks"}
    where = {name: f"{issuer.url}/{path}" for name, path in endpoints.items()}
    place = where if endpoints_only else {"issuer": issuer.url}
    await offer(portal, "oidc", {"client_id": "portal", **place, **config})
    async with served(issuer.app(), 0, listening):
        yield issuer


async def test_the_request_to_a_provider_carries_state_nonce_and_pkce_and_comes_back_once(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        async with browser_at(portal.url, issuer.url) as browser:
            await browser.open("/login/with/oidc?return=/logout")
            asked = issuer.asked
            assert asked["code_challenge_method"] == "S256"
            assert asked["redirect_uri"] == f"{portal.url}/login/callback"
            assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
            assert len(issuer.exchanged["code_verifier"]) >= 43
            assert (await seen(portal, browser)) is not None
            again = await browser.open(f"/login/callback?code=the+code&state={asked['state']}")
            assert again.status == 400


async def test_an_answer_for_another_browser_or_an_unknown_state_signs_nobody_in(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        async with browser_at(portal.url) as attacker, browser_at(portal.url) as victim:
            begun = await attacker.open("/login/with/oidc")
            state = parse_qs(urlsplit(begun.left_for).query)["state"][0]
            for query in (f"code=x&state={state}", f"code=x&state={secrets.token_urlsafe(48)}", "code=x"):
                page = await victim.open(f"/login/callback?{query}")
                assert page.status == 400
            assert await seen(portal, victim) is None
            assert issuer.exchanged == {}


BENT: list[dict[str, Any]] = [
    {"claims": {"nonce": "another"}},
    {"claims": {"nonce": None}},
    {"claims": {"aud": "another"}},
    {"claims": {"aud": ["another", "third"]}},
    {"claims": {"iss": "https://evil.example"}},
    {"claims": {"exp": int(time.time()) - 3600}},
    {"claims": {"exp": "9999999999"}},
    {"claims": {"exp": None}},
    {"claims": {"sub": None}},
    {"claims": {"sub": ""}},
    {"signing_key": ECKey.generate_key("P-256", {"kid": "one"})},
    {"algorithm": "HS256", "signing_key": OctKey.import_key(b"the secret of the portal, longer")},
    {"extra": {"iss": "https://evil.example"}},
    {"extra": {"error": "access_denied", "code": ""}},
]


async def test_a_token_that_does_not_hold_signs_nobody_in(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        straight = dict(vars(issuer))
        async with browser_at(portal.url, issuer.url) as browser:
            for bent in BENT:
                vars(issuer).update({**straight, **bent})
                page = await browser.open("/login/with/oidc?return=/logout")
                assert page.status == 403, bent
                # Where a claim does not hold, the page names it.
                named = re.search(r"'(\w+)' (is|does)", page.text)
                assert (named is not None and named[1] in ({*bent["claims"], "azp"})) == ("claims" in bent), page.text
                assert await seen(portal, browser) is None
            vars(issuer).update(straight)
            assert (await browser.open("/login/with/oidc?return=/logout")).status == 200


def id_token(key: Any, **changes: Any) -> dict[str, Any]:
    """A token response whose ID token has these claims changed, or left out where they are None."""
    now = int(time.time())
    claims = {
        "iss": "https://idp.example.com",
        "aud": "portal",
        "sub": "ada",
        "nonce": "n",
        "iat": now,
        "exp": now + 60,
    }
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return {"access_token": "access", "id_token": jwt.encode({"alg": "ES256", "kid": "one"}, claims, key)}


def read(token: dict[str, Any], key: Any, issuer: str = "https://idp.example.com") -> dict[str, Any]:
    return read_id_token("portal", issuer, token, {"keys": [key.as_dict(private=False)]}, "n")


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": ""},
        {"sub": 7},
        {"iat": None},
        {"iat": int(time.time()) + 3600},
        {"iss": None},
        {"aud": []},
        {"nonce": ["n"]},
        {"auth_time": "noon"},
        {"amr": "pwd"},
        {"aud": ["portal", "another"]},
        {"aud": ["portal", "another"], "azp": "another"},
        {"azp": "another"},
        {"at_hash": half_hash("another token", "ES256")},
        {"at_hash": 7},
    ],
)
def test_a_claim_of_an_id_token_that_does_not_hold_makes_it_invalid(changes: dict[str, Any]) -> None:
    key = ECKey.generate_key("P-256", {"kid": "one"})
    with pytest.raises(LoginFailed):
        read(id_token(key, **changes), key)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["portal"]},
        {"aud": ["portal", "another"], "azp": "portal", "amr": ["pwd"], "auth_time": int(time.time())},
        {"at_hash": half_hash("access", "ES256")},
        {"iat": int(time.time()) + 30},
    ],
)
def test_claims_that_an_id_token_may_have_are_allowed(changes: dict[str, Any]) -> None:
    key = ECKey.generate_key("P-256", {"kid": "one"})
    assert read(id_token(key, **changes), key)["sub"] == "ada"
    # Where only endpoints are configured nobody knows the issuer, but there must be one.
    assert read(id_token(key, **changes, iss="https://other.example"), key, "")["sub"] == "ada"
    with pytest.raises(LoginFailed):
        read(id_token(key, **changes, iss="https://other.example"), key)


def test_half_hashes_are_as_long_as_the_algorithm_says() -> None:
    # The example of OIDC Core A.3.
    assert half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "RS256") == "77QmUPtjPfzWtF2AnpK9RQ"
    lengths = {"ES256": 22, "PS384": 32, "RS512": 43, "EdDSA": 43, "Ed25519": 43}
    assert {algorithm: len(half_hash("a", algorithm)) for algorithm in lengths} == lengths


def written(claims: dict[str, Any], header: dict[str, Any], secret: str = "") -> str:
    """A token put together by hand: unsigned, or HS256 with this text as its secret."""
    parts = [json.dumps(part).encode() for part in (header, claims)]
    head = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    mac = hmac.new(secret.encode(), head.encode(), hashlib.sha256).digest() if secret else b""
    return f"{head}." + base64.urlsafe_b64encode(mac).decode().rstrip("=")


def signed(claims: dict[str, Any], key: Any, **header: Any) -> str:
    return jwt.encode({"alg": "ES256", "kid": "one", **header}, claims, key, algorithms=["ES256"])


FORGED: dict[str, Callable[[dict[str, Any], Any], str]] = {
    "unsigned": lambda claims, key: written(claims, {"alg": "none", "kid": "one"}),
    "unsigned, spelt otherwise": lambda claims, key: written(claims, {"alg": "NoNe"}),
    "signed with the public key as text": lambda claims, key: written(
        claims, {"alg": "HS256", "kid": "one"}, key.as_pem(private=False).decode()
    ),
    "signed with the public key as JSON": lambda claims, key: written(
        claims, {"alg": "HS256", "kid": "one"}, json.dumps(key.as_dict(private=False))
    ),
    "by a key that is not listed": lambda claims, key: signed(
        claims, ECKey.generate_key("P-256", {"kid": "two"}), kid="two"
    ),
    "by a key it brings itself": lambda claims, key: signed(
        claims, (own := ECKey.generate_key("P-256", {"kid": "one"})), jwk=own.as_dict(private=False)
    ),
    "with a demand nobody knows": lambda claims, key: written(
        claims, {"alg": "ES256", "kid": "one", "crit": ["bork"], "bork": True}, "x"
    ),
    "from the future": lambda claims, key: signed({**claims, "nbf": int(time.time()) + 600}, key),
    "changed afterwards": lambda claims, key: signed(claims, key)[:-6] + "AAAAAA",
    "no token": lambda claims, key: "x",
}


async def test_a_forged_token_signs_nobody_in(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        async with browser_at(portal.url, issuer.url) as browser:
            for name, issuer.forge in FORGED.items():
                assert (await browser.open("/login/with/oidc?return=/logout")).status == 403, name
                assert await seen(portal, browser) is None
            issuer.forge = signed
            assert (await browser.open("/login/with/oidc?return=/logout")).status == 200


async def test_a_sign_in_at_a_provider_ends_after_ten_minutes(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer, browser_at(portal.url) as browser:
        begun = await browser.open("/login/with/oidc")
        state = parse_qs(urlsplit(begun.left_for).query)["state"][0]
        portal.clock.ahead = timedelta(minutes=11)
        assert (await browser.open(f"/login/callback?code=x&state={state}")).status == 400
        assert issuer.exchanged == {}


@pytest.mark.parametrize("endpoints_only", [True, False])
async def test_an_issuer_in_the_callback_is_the_one_that_signs(tmp_path: Path, endpoints_only: bool) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal, endpoints_only=endpoints_only) as issuer:
        for sent, status in (
            (issuer.url, 200),
            (f"{issuer.url}/", 403),
            (issuer.url.upper(), 403),
            ("", 200),
            ("https://evil.example", 403),
        ):
            issuer.extra = {"iss": sent}
            async with browser_at(portal.url, issuer.url) as browser:
                assert (await browser.open("/login/with/oidc?return=/logout")).status == status, sent
                assert (await seen(portal, browser) is not None) == (status == 200)


async def test_a_provider_that_announces_its_issuer_must_send_it(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        issuer.metadata = {"authorization_response_iss_parameter_supported": True}
        async with browser_at(portal.url, issuer.url) as browser:
            assert (await browser.open("/login/with/oidc?return=/logout")).status == 403
            issuer.extra = {"iss": issuer.url, "error": ""}
            assert (await browser.open("/login/with/oidc?return=/logout")).status == 200


def test_google_may_name_itself_by_its_bare_host() -> None:
    key = ECKey.generate_key("P-256", {"kid": "one"})
    google = "https://accounts.google.com"
    assert read(id_token(key, iss="accounts.google.com"), key, google)["sub"] == "ada"
    with pytest.raises(LoginFailed):
        read(id_token(key, iss="idp.example.com"), key)
    require_issuer("https://accounts.google.com", "accounts.google.com")
    for sent in ("https://accounts.google.com.evil.example", "http://accounts.google.com", "accounts.google.com/x"):
        with pytest.raises(LoginFailed):
            require_issuer(sent, google)


@pytest.mark.parametrize("moved", ["metadata", "token", "jwks"])
async def test_a_provider_cannot_have_the_portal_go_elsewhere(tmp_path: Path, moved: str) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        issuer.moved = moved
        async with browser_at(portal.url, issuer.url) as browser:
            assert (await browser.open("/login/with/oidc")).status == 502
            assert (issuer.visited, await seen(portal, browser)) == ([], None)


async def test_a_provider_cannot_fill_the_portals_memory(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer, browser_at(portal.url) as browser:
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        good = {"issuer": issuer.url} | {name: f"{issuer.url}/{path}" for name, path in names.items()}
        large = json.dumps(good).encode() + b" " * (2 * MAX_BYTES)
        for padding, coding in ((large, "identity"), (gzip.compress(large), "gzip")):
            issuer.padding, issuer.coding = padding, coding
            page = await browser.open("/login/with/oidc")
            assert (page.status, page.left_for) == (502, ""), coding
        issuer.padding, issuer.coding = large[: MAX_BYTES // 2], "identity"
        assert (await browser.open("/login/with/oidc")).left_for


@pytest.mark.parametrize(
    "elsewhere",
    [
        "http://127.0.0.1:6379/",
        "http://localhost/",
        "http://[::1]/",
        "https://127.0.0.1/",
        "https://169.254.169.254/",
        "https://2130706433/",
        "https://[::ffff:7f00:1]/",
    ],
)
@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"])
def test_a_provider_out_there_cannot_send_the_portal_to_itself_or_to_its_cloud(elsewhere: str, name: str) -> None:
    config = {"client_id": "c", "issuer": "https://idp.example.com"}
    provider = read_provider("p", ProviderDocument(type="oidc", config=config))
    assert isinstance(provider, OidcProvider)
    told = {"issuer": provider.issuer}
    told |= {known: f"{provider.issuer}/{known}" for known in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    assert read_endpoints(provider, told).token == f"{provider.issuer}/token_endpoint"
    with pytest.raises(LoginFailed, match=name):
        read_endpoints(provider, {**told, name: elsewhere})


class Names(AbstractResolver):
    """A name server that leads every name to the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        return None


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254"])
async def test_a_provider_whose_name_leads_to_a_cloud_s_own_service_is_not_asked(address: str) -> None:
    document = ProviderDocument(type="oidc", config={"client_id": "c", "issuer": "https://idp.example.com"})
    provider = read_provider("p", document)
    assert isinstance(provider, OidcProvider)
    with pytest.raises(LoginFailed, match="an address that this portal does not connect to") as caught:
        await Oidc(provider, Names(address)).begin("https://portal.example/login/callback", "s", "n", "v")
    assert isinstance(caught.value.__cause__, FetchFailed)
    assert caught.value.__cause__.problem == FetchProblem.ADDRESS


def test_an_authorization_request_keeps_the_parameters_of_its_endpoint() -> None:
    url = authorization_url(
        "https://idp.example.com/authorize?tenant=a%26b&empty=",
        client_id="c",
        redirect_uri="https://portal.example/cb",
        scope="openid email",
        state="s",
        verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        prompt="login",
    )
    assert parse_qs(urlsplit(url).query, keep_blank_values=True) == {
        "tenant": ["a&b"],
        "empty": [""],
        "response_type": ["code"],
        "client_id": ["c"],
        "redirect_uri": ["https://portal.example/cb"],
        "scope": ["openid email"],
        "state": ["s"],
        # The example of RFC 7636, appendix B.
        "code_challenge": ["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"],
        "code_challenge_method": ["S256"],
        "prompt": ["login"],
    }


@pytest.mark.parametrize(
    ("status", "token", "problem"),
    [
        (200, {"access_token": "a"}, ""),
        (200, {"access_token": "a", "error": None}, ""),
        (200, {"error": "bad_verification_code"}, "status 200 and the error 'bad_verification_code'"),
        (400, {"error": "invalid_grant"}, "status 400 and the error 'invalid_grant'"),
        (401, {"access_token": "a"}, "status 401 and no token"),
        (200, ["a"], "status 200 and no token"),
        (400, None, "status 400 and no token"),
    ],
)
def test_a_token_endpoint_that_refuses_is_told_from_one_that_answers(status: int, token: object, problem: str) -> None:
    assert token_problem(status, token).endswith(problem)
    assert bool(token_problem(status, token)) == bool(problem)


@pytest.mark.parametrize("said", [False, "false", "no", None, 0, "", []])
def test_an_address_that_is_not_said_to_be_verified_is_nobodys(said: object) -> None:
    provider = OidcProvider(id="p", name="P", type="oidc", client_id="c", client_secret="")
    claims = {"sub": "ada", "email": "ada@example.com"}
    assert identity_of(provider, {**claims, "email_verified": said}).email == ""
    # Providers of one organisation do not say it at all.
    assert identity_of(provider, claims).email == identity_of(provider, {**claims, "email_verified": True}).email != ""


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://169.254.169.254/token"},
        {"jwks_uri": "file:///etc/passwd"},
    ],
)
async def test_a_discovery_document_cannot_send_anybody_elsewhere(tmp_path: Path, metadata: dict[str, str]) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        issuer.metadata = metadata
        async with browser_at(portal.url, issuer.url) as browser:
            page = await browser.open("/login/with/oidc")
            assert (page.status, page.left_for, issuer.asked) == (502, "", {})


def test_null_is_no_text_of_a_person() -> None:
    provider = read_provider("hub", ProviderDocument(type="github", config={"client_id": "c"}))
    assert isinstance(provider, OAuthProvider)
    user = {"id": 7, "login": "ada", "name": None, "email": None}
    organizations: list[dict[str, object]] = [{"login": None}, {"login": "acme"}]
    teams: list[dict[str, object]] = [{"slug": None, "organization": None}, {"slug": "t", "organization": None}]
    emails: list[dict[str, object]] = [{"email": None, "primary": True, "verified": True}]
    person = github_identity(provider, user, emails, organizations, teams)
    assert (person.email, person.name, [group.id for group in person.groups]) == ("", "ada", ["acme"])
    read = identity_from(
        {"id": "x:1", "email": None, "name": None, "groups": [{"id": "a", "email": None}], "claims": None}
    )
    assert (read.email, read.name, read.groups, dict(read.claims)) == ("", "", (Group(id="a"),), {})


async def test_a_person_signs_in_where_plain_oauth_is_spoken_as_at_github(tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    async def authorize(request: Request) -> Response:
        asked.update(request.query_params)
        return RedirectResponse(f"{asked['redirect_uri']}?code=abc&state={asked['state']}")

    async def token(request: Request) -> Response:
        form = dict(await request.form())
        asked.update(form)
        good = form["client_secret"] == "the secret of the portal" and form["code"] == "abc"
        return JSONResponse({"access_token": "t0ken", "token_type": "bearer"} if good else {"error": "bad"})

    async def api(request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer t0ken"
        answers: dict[str, Any] = {
            "user": {"id": 7, "login": "ada", "name": "Ada"},
            "user/emails": [
                {"email": "old@example.com", "primary": False, "verified": True},
                {"email": "Ada@Example.com", "primary": True, "verified": True},
            ],
            "user/orgs": [{"login": "acme"}],
            "user/teams": [{"slug": "platform", "organization": {"login": "acme"}}],
        }
        return JSONResponse(answers[request.path_params["path"]])

    listening = listen(0)
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    routes = [Route("/auth", authorize), Route("/token", token, methods=["POST"]), Route("/api/{path:path}", api)]
    async with guarded_portal(tmp_path) as portal, served(Starlette(routes=routes), 0, listening):
        config = {"client_id": "portal", "auth_url": f"{base}/auth", "token_url": f"{base}/token"}
        await offer(portal, "github", {**config, "api_url": f"{base}/api"})
        async with browser_at(portal.url, base) as browser:
            await browser.open("/login/with/github?return=/logout")
            identity = await seen(portal, browser)
            assert identity is not None
            assert (identity.id, identity.email, identity.name) == ("github:7", "ada@example.com", "Ada")
            assert [group.name for group in identity.groups] == ["acme", "acme/platform"]
            assert asked["code_challenge_method"] == "S256"
            assert asked["code_verifier"]


def test_documents_of_providers_are_read_as_cloudflare_writes_them() -> None:
    google = read_provider("g", ProviderDocument(type="google", name="Google", config={"client_id": "c"}), "s")
    assert isinstance(google, OidcProvider)
    assert google.issuer == "https://accounts.google.com"
    okta = ProviderDocument(type="okta", config={"client_id": "c", "okta_account": "https://acme.okta.com"})
    found = read_provider("o", okta)
    assert isinstance(found, OidcProvider)
    assert found.issuer == "https://acme.okta.com"
    assert "s3cret" not in repr(read_provider("o", okta, "s3cret"))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": "oidc", "config": {}},
        {"type": "oidc", "config": {"client_id": "c"}},
        {"type": "oidc", "config": {"client_id": "c", "issuer": "http://idp.example.com"}},
        {"type": "oidc", "config": {"client_id": "c", "issuer": "https://user:pw@idp.example.com"}},
        {"type": "oidc", "config": {"client_id": ["c"], "issuer": "https://idp.example.com"}},
        {"type": "github", "config": {"client_id": "c", "auth_url": "javascript:x"}},
    ],
)
def test_a_provider_that_cannot_be_used_is_refused_with_the_field(document: dict[str, Any]) -> None:
    with pytest.raises(ProviderInvalid, match=r"type|config"):
        read_provider("p", ProviderDocument.model_validate(document))


def test_groups_come_as_names_or_as_objects() -> None:
    provider = OidcProvider(id="p", name="P", type="okta", client_id="c", client_secret="", groups_claim="roles")
    groups = ["staff", {"id": 42, "name": "engineers", "email": "eng@example.com"}]
    identity = identity_of(provider, {"sub": "ada", "roles": groups, "aud": "c", "department": "analysis"})
    assert identity.groups == (Group("staff", "staff"), Group("42", "engineers", "eng@example.com"))
    assert identity.claims == {"sub": "ada", "roles": groups, "department": "analysis"}
