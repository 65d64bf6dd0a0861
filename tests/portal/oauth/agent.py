"""An OAuth client for tests, written out so that each parameter can be wrong. Real clients are in `test_clients.py`."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from tests.portal.login.browser import Browser, Page
from tests.portal.login.guarded import Guarded, sign_in

REDIRECT = "http://127.0.0.1:3333/callback"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "agent", "version": "1"}},
}


@dataclass
class Agent:
    """Registers, asks for authorization, exchanges. `tokens` is the last answer of `/token`."""

    portal: Guarded
    http: httpx2.AsyncClient
    client_id: str = ""
    client_secret: str = ""
    redirect: str = REDIRECT
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    tokens: dict[str, Any] = field(default_factory=dict)

    async def register(self, **metadata: Any) -> httpx2.Response:
        asked = {"client_name": "Agent", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", **metadata}
        answer = await self.http.post(f"{self.portal.url}/register", json=asked)
        if answer.status_code == 201:
            self.client_id, self.client_secret = answer.json()["client_id"], answer.json().get("client_secret") or ""
        return answer

    def authorize_url(self, **changes: str | None) -> str:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect,
            "state": "the state",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": self.portal.mcp,
            **changes,
        }
        return f"{self.portal.url}/authorize?" + urlencode(
            {key: value for key, value in asked.items() if value is not None}
        )

    async def ask(self, browser: Browser, **changes: str | None) -> Page:
        """Open the authorize URL and sign in; the consent page, or the page in its place."""
        page = await browser.open(self.authorize_url(**changes))
        if any(form.action == "/login/password" for form in page.forms):
            page = await sign_in(browser, page)
        return page

    async def allowed(self, browser: Browser, **changes: str | None) -> dict[str, str]:
        """Ask, and let the person allow it; the answer at the redirect."""
        page = await self.ask(browser, **changes)
        done = await browser.submit(page, "/authorize/consent", "allow")
        assert done.left_for, done.text
        return answer_in(done.left_for)

    async def token(self, **fields: str | None) -> httpx2.Response:
        asked = {"client_id": self.client_id, "client_secret": self.client_secret or None, **fields}
        data = {key: value for key, value in asked.items() if value is not None}
        answer = await self.http.post(f"{self.portal.url}/token", data=data)
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    async def exchange(self, code: str, /, **changes: str | None) -> httpx2.Response:
        fields: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect,
            "code_verifier": self.verifier,
            "resource": self.portal.mcp,
            **changes,
        }
        return await self.token(**fields)

    async def refresh(self, token: str = "", **changes: str | None) -> httpx2.Response:
        return await self.token(
            grant_type="refresh_token", refresh_token=token or self.tokens["refresh_token"], **changes
        )

    async def log_in(self, browser: Browser, **metadata: Any) -> dict[str, Any]:
        """Register, ask, exchange; the tokens."""
        assert (await self.register(**metadata)).status_code == 201
        answer = await self.allowed(browser)
        exchanged = await self.exchange(answer["code"])
        assert exchanged.status_code == 200, exchanged.text
        return self.tokens

    async def use(self, token: str = "", url: str = "", **headers: str) -> httpx2.Response:
        """Initialize a session at the MCP endpoint."""
        sent = {"Accept": "application/json, text/event-stream", **headers}
        if token or self.tokens:
            sent.setdefault("Authorization", f"Bearer {token or self.tokens['access_token']}")
        return await self.http.post(url or self.portal.mcp, json=INITIALIZE, headers=sent)


def answer_in(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
