"""Login at GitHub and whatever has its shape: plain OAuth 2 with PKCE, and an API that tells who it is."""

from __future__ import annotations

from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]

from portal.egress import TIMEOUT_SECONDS, Bounded, LoginFailed, fetch_json, http_client
from portal.identity import Group, Identity
from portal.login.providers import OAuthProvider

PER_PAGE = 100
PAGES = 10


class OAuth2:
    """Logins at one provider."""

    def __init__(self, provider: OAuthProvider) -> None:
        self._provider = provider

    async def begin(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """The URL to send the browser to. There is no ID token, so no use for the nonce."""
        async with self._client(redirect_uri) as client:
            url, _ = client.create_authorization_url(
                self._provider.authorization_endpoint, state=state, code_verifier=verifier
            )
        return str(url)

    async def finish(self, redirect_uri: str, code: str, issuer: str, nonce: str, verifier: str) -> Identity:
        """Who it was.

        Raises:
            LoginFailed: the provider refused, or what it said does not hold.
        """
        try:
            async with self._client(redirect_uri) as client:
                token = await client.fetch_token(
                    self._provider.token_endpoint,
                    code=code,
                    code_verifier=verifier,
                    headers={"Accept": "application/json"},
                )
        except (AuthlibBaseError, httpx2.HTTPError, ValueError) as error:
            raise LoginFailed("The identity provider did not exchange the code.") from error
        bearer = {"Authorization": f"Bearer {token.get('access_token')}", "Accept": "application/vnd.github+json"}
        async with http_client() as http:
            user = await fetch_json(http, f"{self._provider.api}/user", bearer)
            emails = await self._pages(http, "/user/emails", bearer)
            organisations = await self._pages(http, "/user/orgs", bearer)
            teams = await self._pages(http, "/user/teams", bearer)
        if not isinstance(user, dict) or not isinstance(user.get("id"), int):
            raise LoginFailed("The identity provider did not say who that is.")
        return identity_of(self._provider, user, emails, organisations, teams)

    async def _pages(self, http: httpx2.AsyncClient, path: str, headers: dict[str, str]) -> list[dict[str, Any]]:
        """A list of the API, page by page. What the login was not allowed to read is empty."""
        found: list[dict[str, Any]] = []
        for page in range(1, PAGES + 1):
            url = f"{self._provider.api}{path}?per_page={PER_PAGE}&page={page}"
            try:
                entries = await fetch_json(http, url, headers)
            except LoginFailed:
                return found
            entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
            found += entries
            if len(entries) < PER_PAGE:
                break
        return found

    def _client(self, redirect_uri: str) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            client_id=self._provider.client_id,
            client_secret=self._provider.client_secret,
            token_endpoint_auth_method="client_secret_post",
            scope=" ".join(self._provider.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            follow_redirects=False,
            transport=Bounded(),
        )


def identity_of(
    provider: OAuthProvider,
    user: dict[str, Any],
    emails: list[dict[str, Any]],
    organisations: list[dict[str, Any]],
    teams: list[dict[str, Any]],
) -> Identity:
    """The person, with the primary address if it is verified; organisations and `organisation/team` are groups."""
    primary = [entry for entry in emails if entry.get("primary") is True and entry.get("verified") is True]
    logins = [str(entry["login"]) for entry in organisations if entry.get("login")]
    slugs = [
        f"{team['organization']['login']}/{team['slug']}"
        for team in teams
        if team.get("slug") and isinstance(team.get("organization"), dict) and team["organization"].get("login")
    ]
    return Identity(
        id=f"{provider.id}:{user['id']}",
        email=str(primary[0].get("email", "")).lower() if primary else "",
        name=str(user.get("name") or user.get("login") or ""),
        groups=tuple(Group(id=name, name=name) for name in [*logins, *slugs]),
        idp_id=provider.id,
        idp_type=provider.type,
        login_method=provider.id,
        claims={"login": str(user.get("login") or "")},
    )
