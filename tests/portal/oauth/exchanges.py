"""A client of each authorization server that exchanges codes and refresh tokens: the same questions to both."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2

from tests.portal.login.browser import Browser
from tests.portal.login.guarded import Guarded, sign_in
from tests.portal.oauth.agent import REDIRECT, Agent, answer_in
from tests.portal.oauth.test_saas import REDIRECT as APP_REDIRECT
from tests.portal.oauth.test_saas import Connected

VERIFIER = "a-verifier-that-is-long-enough-for-the-specification"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
SERVERS = ["for MCP clients", "for applications"]


@dataclass
class Exchanges:
    """One client at one authorization server. `door` is what its access tokens open."""

    http: httpx2.AsyncClient
    browser: Browser
    authorize_url: str
    token_url: str
    redirect: str
    credentials: dict[str, str]
    door: Any = field(repr=False)

    async def code(self) -> str:
        """A new code, of a new grant."""
        page = await self.browser.open(self.authorize_url)
        if any(form.action == "/login/password" for form in page.forms):
            page = await sign_in(self.browser, page)
        if not page.left_for:
            page = await self.browser.submit(page, "/authorize/consent", "allow")
        assert page.left_for, page.text
        return answer_in(page.left_for)["code"]

    async def refresh_token(self) -> str:
        """The refresh token of a new grant."""
        return str((await self.exchange("code", await self.code())).json()["refresh_token"])

    async def new(self, kind: str) -> str:
        return await self.code() if kind == "code" else await self.refresh_token()

    async def exchange(self, kind: str, token: str, **changes: str) -> httpx2.Response:
        fields = {"grant_type": "refresh_token", "refresh_token": token}
        if kind == "code":
            fields = {"grant_type": "authorization_code", "code": token, "code_verifier": VERIFIER}
            fields |= {"redirect_uri": self.redirect}
        return await self.http.post(self.token_url, data={**fields, **self.credentials, **changes})

    async def opens(self, access_token: str) -> bool:
        status = await self.door(access_token)
        assert status in (200, 401)
        return bool(status == 200)


async def client_of(server: str, portal: Guarded, browser: Browser, http: httpx2.AsyncClient) -> Exchanges:
    query = {"response_type": "code", "state": "s", "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    if server == "for applications":
        app = await Connected(portal).store()

        async def userinfo(token: str) -> int:
            answer = await http.get(f"{app.base}/userinfo", headers={"Authorization": f"Bearer {token}"})
            return answer.status_code

        query |= {"client_id": app.client_id, "redirect_uri": APP_REDIRECT, "scope": "openid"}
        return Exchanges(
            http,
            browser,
            f"{app.base}/authorization?{urlencode(query)}",
            f"{app.base}/token",
            APP_REDIRECT,
            {"client_id": app.client_id, "client_secret": app.secret},
            userinfo,
        )
    await portal.account()
    agent = Agent(portal, http)
    await agent.register()

    async def endpoint(token: str) -> int:
        return (await agent.use(token)).status_code

    query |= {"client_id": agent.client_id, "redirect_uri": REDIRECT}
    return Exchanges(
        http,
        browser,
        f"{portal.url}/authorize?{urlencode(query)}",
        f"{portal.url}/token",
        REDIRECT,
        {"client_id": agent.client_id},
        endpoint,
    )
