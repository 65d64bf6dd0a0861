"""An application signs people in at the portal: a real OpenID client (Authlib), and what the endpoints refuse."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.jwk import KeySet

from portal.oauth.clients import hash_secret
from portal.state import plain
from tests.portal.login.browser import Page, browser_at
from tests.portal.login.guarded import EMAIL, Guarded, guarded_portal, sign_in
from tests.portal.oauth.agent import answer_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
REDIRECT = "https://tickets.example.com/callback"


class Connected:
    """An application that the administrator connected, with a session of somebody in a browser."""

    def __init__(self, portal: Guarded) -> None:
        self.portal = portal
        self.client_id, self.secret = secrets.token_hex(32), secrets.token_hex(32)
        self.base = f"{portal.url}/cdn-cgi/access/sso/oidc/{self.client_id}"

    async def store(self, **changes: Any) -> Connected:
        saas = {
            "auth_type": "oidc",
            "client_id": self.client_id,
            "client_secret_sha256": hash_secret(self.secret),
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_tokens"],
            "scopes": ["openid", "email", "profile", "groups"],
            **changes,
        }
        document = {"name": "Tickets", "type": "saas", "saas_app": saas}
        await self.portal.store.create(plain("app"), "tickets", document, by="test")
        await self.portal.account()
        return self

    def client(self, method: str = "client_secret_basic") -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            self.client_id,
            self.secret if method != "none" else None,
            token_endpoint_auth_method=method,
            scope="openid email profile groups",
            redirect_uri=REDIRECT,
            code_challenge_method="S256",
        )

    async def answer(self, url: str) -> dict[str, str]:
        async with browser_at(self.portal.url) as browser:
            page = await sign_in(browser, await browser.open(url))
            assert page.left_for.startswith(REDIRECT), page.text
            return answer_in(page.left_for)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
async def test_a_real_openid_client_signs_people_in(tmp_path: Path, method: str) -> None:
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        app = await Connected(portal).store(allow_pkce_without_client_secret=method == "none")
        metadata = (await http.get(f"{app.base}/.well-known/openid-configuration")).json()
        assert metadata["issuer"] == app.base
        nonce, verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(48)
        async with app.client(method) as client:
            url, state = client.create_authorization_url(
                metadata["authorization_endpoint"], nonce=nonce, code_verifier=verifier
            )
            answer = await app.answer(url)
            assert (answer["state"], answer["iss"]) == (state, app.base)
            token = await client.fetch_token(metadata["token_endpoint"], code=answer["code"], code_verifier=verifier)
            keys = KeySet.import_key_set((await http.get(metadata["jwks_uri"])).json())
            decoded = jwt.decode(token["id_token"], keys, algorithms=["ES256"])
            options = {
                "iss": {"essential": True, "value": app.base},
                "aud": {"essential": True, "value": app.client_id},
            }
            params = {"nonce": nonce, "client_id": app.client_id, "access_token": token["access_token"]}
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate()
            assert claims["email"] == EMAIL
            info = (await client.get(metadata["userinfo_endpoint"])).json()
            assert (info["sub"], info["email"]) == (claims["sub"], EMAIL)
            renewed = await client.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])
            assert renewed["refresh_token"] != token["refresh_token"]
        assert (await http.get(f"{portal.url}/mcp")).status_code == 401
        knock = {"Authorization": f"Bearer {renewed['access_token']}"}
        assert (await http.post(portal.mcp, json={}, headers=knock)).status_code == 401


async def test_a_wrong_secret_verifier_redirect_or_second_use_gets_no_token(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        app = await Connected(portal).store()
        verifier = secrets.token_urlsafe(48)
        async with app.client() as client:
            url, _ = client.create_authorization_url(f"{app.base}/authorization", code_verifier=verifier)
        code = (await app.answer(url))["code"]
        good = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": verifier,
            "client_id": app.client_id,
            "client_secret": app.secret,
        }
        bent = [
            {"client_secret": "x"},
            {"client_secret": ""},
            {"client_id": "x"},
            {"code_verifier": "x"},
            {"code": "x"},
        ]
        for change in [*bent, {"redirect_uri": REDIRECT + "/"}, {"grant_type": "password"}]:
            refused = await http.post(f"{app.base}/token", data={**good, **change})
            assert refused.status_code in (400, 401), change
        first = await http.post(f"{app.base}/token", data=good)
        assert first.status_code == 200
        assert (await http.post(f"{app.base}/token", data=good)).json()["error"] == "invalid_grant"
        knock = {"Authorization": f"Bearer {first.json()['access_token']}"}
        assert (await http.get(f"{app.base}/userinfo", headers=knock)).status_code == 401


async def test_who_the_applications_policies_refuse_is_shown_the_block_page(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        app = await Connected(portal).store()
        portal.rules.allowed = lambda identity: False
        async with app.client() as client:
            url, _ = client.create_authorization_url(f"{app.base}/authorization", code_verifier="v" * 43)
        page = await sign_in(browser, await browser.open(url))
        assert (page.status, page.left_for) == (403, "")
        assert "That account does not have access" in page.text


async def test_an_application_spells_its_redirect_as_it_is_registered(tmp_path: Path) -> None:
    registered = "https://tickets.example.com"
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        app = await Connected(portal).store(redirect_uris=[registered])

        async def asked(redirect: str) -> Page:
            query = f"response_type=code&scope=openid&client_id={app.client_id}&redirect_uri={redirect}"
            return await browser.open(f"{app.base}/authorization?{query}")

        for other in (f"{registered}/", "HTTPS://tickets.example.com", f"{registered}:443", f"%20{registered}"):
            page = await asked(other)
            assert (page.status, page.left_for) == (400, ""), other
        page = await sign_in(browser, await asked(registered))
        assert page.left_for.startswith(f"{registered}?code=")
        form = {"grant_type": "authorization_code", "code": answer_in(page.left_for)["code"]}
        form |= {"client_id": app.client_id, "client_secret": app.secret}
        async with httpx2.AsyncClient(trust_env=False) as http:
            for redirect, status in ((f"{registered}/", 400), (registered, 200)):
                answer = await http.post(f"{app.base}/token", data={**form, "redirect_uri": redirect})
                assert answer.status_code == status


async def test_a_redirect_that_is_not_the_applications_leads_nowhere(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        app = await Connected(portal).store()
        for redirect in (REDIRECT + "/", "https://evil.example/", REDIRECT + "?x=1"):
            query = f"response_type=code&scope=openid&client_id={app.client_id}&redirect_uri={redirect}"
            page = await browser.open(f"{app.base}/authorization?{query}")
            assert (page.status, page.left_for) == (400, "")


async def test_an_application_without_refresh_tokens_may_not_refresh(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        app = await Connected(portal).store(grant_types=["authorization_code"])
        form = {"grant_type": "refresh_token", "refresh_token": "x"}
        form |= {"client_id": app.client_id, "client_secret": app.secret}
        refused = await http.post(f"{app.base}/token", data=form)
        assert (refused.status_code, refused.json()["error"]) == (400, "unauthorized_client")


async def test_refresh_tokens_are_good_once_and_policies_are_asked_again(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        app = await Connected(portal).store(access_token_lifetime="1m")
        verifier = secrets.token_urlsafe(48)
        async with app.client() as client:
            url, _ = client.create_authorization_url(f"{app.base}/authorization", code_verifier=verifier)
            code = (await app.answer(url))["code"]
            token = await client.fetch_token(f"{app.base}/token", code=code, code_verifier=verifier)
        basic = base64.b64encode(f"{app.client_id}:{app.secret}".encode()).decode()

        async def refresh(refresh_token: str) -> httpx2.Response:
            data = {"grant_type": "refresh_token", "refresh_token": refresh_token}
            return await http.post(f"{app.base}/token", data=data, headers={"Authorization": f"Basic {basic}"})

        portal.clock.ahead = timedelta(minutes=2)
        knock = {"Authorization": f"Bearer {token['access_token']}"}
        assert (await http.get(f"{app.base}/userinfo", headers=knock)).status_code == 401
        second = (await refresh(token["refresh_token"])).json()["refresh_token"]
        portal.rules.allowed = lambda identity: False
        refused = (await refresh(second)).json()
        assert refused["error_description"] == "Denied by the policy 'Staff'."
        portal.rules.allowed = lambda identity: True
        assert (await refresh(second)).json()["error"] == "invalid_grant"
