"""Login at GitHub and at providers of its shape: plain OAuth 2.0 with PKCE, and an API that describes the person."""

from __future__ import annotations

from aiohttp.abc import AbstractResolver

from portal.egress import Fetcher
from portal.identity import Group, Identity
from portal.login.claims import MAX_GROUP, Claims
from portal.login.providers import OAuthProvider
from portal.login.remote import (
    LoginFailed,
    SecretIn,
    SignedIn,
    authorization_url,
    exchange_code,
    fetch_json,
    provider_fetcher,
)

PER_PAGE = 100
PAGES = 10


class OAuth2:
    """Logins at one provider. `resolver` is for tests."""

    def __init__(self, provider: OAuthProvider, resolver: AbstractResolver | None = None) -> None:
        self._provider = provider
        self._resolver = resolver

    async def begin(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """The URL to send the browser to. There is no ID token, so the nonce is not used."""
        return authorization_url(
            self._provider.authorization_endpoint,
            client_id=self._provider.client_id,
            redirect_uri=redirect_uri,
            scope=" ".join(self._provider.scopes),
            state=state,
            verifier=verifier,
        )

    async def finish(self, redirect_uri: str, code: str, issuer: str, nonce: str, verifier: str) -> SignedIn:
        """The person who signed in.

        Raises:
            LoginFailed: the provider refused, or its answer cannot be used.
        """
        async with provider_fetcher(self._resolver) as fetcher:
            token = await exchange_code(
                fetcher,
                self._provider.token_endpoint,
                client_id=self._provider.client_id,
                client_secret=self._provider.client_secret,
                secret_in=SecretIn.BODY,
                redirect_uri=redirect_uri,
                code=code,
                verifier=verifier,
            )
            if not isinstance(token.get("access_token"), str):
                raise LoginFailed("The identity provider did not exchange the code.")
            bearer = {
                "Authorization": f"Bearer {token['access_token']}",
                "Accept": "application/vnd.github+json",
            }
            user = await fetch_json(fetcher, f"{self._provider.api}/user", bearer)
            emails = await self._pages(fetcher, "/user/emails", bearer)
            organisations = await self._pages(fetcher, "/user/orgs", bearer)
            teams = await self._pages(fetcher, "/user/teams", bearer)
        if not isinstance(user, dict):
            raise LoginFailed("The identity provider did not say who that is.")
        return SignedIn(identity_of(self._provider, user, emails, organisations, teams))

    async def _pages(self, fetcher: Fetcher, path: str, headers: dict[str, str]) -> list[dict[str, object]]:
        """A list of the API, page by page. A list that this login may not read is empty."""
        entries: list[dict[str, object]] = []
        for page in range(1, PAGES + 1):
            url = f"{self._provider.api}{path}?per_page={PER_PAGE}&page={page}"
            try:
                answer = await fetch_json(fetcher, url, headers)
            except LoginFailed:
                return entries
            on_page = [entry for entry in answer if isinstance(entry, dict)] if isinstance(answer, list) else []
            entries += on_page
            if len(on_page) < PER_PAGE:
                break
        return entries


def identity_of(
    provider: OAuthProvider,
    user: dict[str, object],
    emails: list[dict[str, object]],
    organisations: list[dict[str, object]],
    teams: list[dict[str, object]],
) -> Identity:
    """The person, with the primary address if it is verified. Organisations and `organisation/team` are the groups.

    Raises:
        ClaimUnfit: something that the API says of them cannot be used.
    """
    said = Claims(provider.name, user)
    primary = [entry for entry in emails if entry.get("primary") is True and entry.get("verified") is True]
    groups = [_named(provider, "organizations", entry, "login") for entry in organisations]
    for team in teams:
        organization = team.get("organization")
        owner = _named(provider, "teams", organization, "login") if isinstance(organization, dict) else ""
        slug = _named(provider, "teams", team, "slug")
        groups += [f"{owner}/{slug}"] if owner and slug else []
    return Identity(
        id=f"{provider.id}:{said.number('id')}",
        email=Claims(provider.name, primary[0]).email() if primary else "",
        name=said.text("name") or said.text("login"),
        groups=tuple(Group(id=name, name=name) for name in groups if name),
        idp_id=provider.id,
        idp_type=provider.type,
        login_method=provider.id,
        claims={"login": said.text("login")},
    )


def _named(provider: OAuthProvider, claim: str, entry: dict[str, object], member: str) -> str:
    """The name of an organisation or a team, "" without one."""
    value = entry.get(member)
    return Claims(provider.name, {}).checked(claim, value, MAX_GROUP) if value is not None else ""
