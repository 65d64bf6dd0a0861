"""What a portal keeps of a sign-in at an identity provider: nothing, unless the provider's setting says so."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from portal.credentials import SIGN_IN
from portal.login.id_tokens import claims_of_verified, end_of
from portal.login.oidc import Endpoints, tokens_of
from portal.login.providers import OidcProvider, ProviderInvalid, read_provider
from portal.objects import ProviderDocument
from portal.state import plain
from tests.deep import examples
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.login.test_providers import Issuer, bendable

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


KEY = ECKey.generate_key("P-256", private=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def sign_in(browser: Browser, issuer: Issuer, sub: str = "ada") -> None:
    issuer.claims = {"sub": sub}
    page = await browser.open("/login/with/oidc?return=/logout")
    assert page.status == 200, page.text


async def sign_out(browser: Browser, where: str) -> None:
    page = await browser.open("/logout")
    await browser.submit(page, "/logout", where=where)


async def kept(portal: Guarded) -> list[str]:
    """Whose sign-ins are kept."""
    return sorted(one.key.subject for one in await portal.store.credentials.list(SIGN_IN))


async def test_without_the_setting_no_token_is_kept_and_none_is_asked_for(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        issuer.metadata = {"scopes_supported": ["openid", "offline_access"]}
        async with browser_at(portal.url, issuer.url) as browser:
            await sign_in(browser, issuer)
        assert await kept(portal) == [] and "offline_access" not in issuer.asked["scope"].split()


@pytest.mark.parametrize("listed", [True, False])
async def test_a_refresh_token_is_asked_for_where_the_provider_lists_it(tmp_path: Path, listed: bool) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal, keep_tokens=True) as issuer:
        issuer.metadata = {"scopes_supported": ["openid", *(["offline_access"] if listed else [])]}
        async with browser_at(portal.url, issuer.url) as browser:
            await sign_in(browser, issuer)
        assert ("offline_access" in issuer.asked["scope"].split()) == listed
        (row,) = await portal.store.credentials.list(SIGN_IN)
        assert (row.key.subject, row.key.server, row.key.client) == ("oidc:ada", "oidc", "portal")
        assert row.key.issuer == issuer.url and row.document.expires_at is not None
        assert 0 < row.document.expires_at.timestamp() - time.time() <= 60


async def test_only_signing_out_everywhere_deletes_what_is_kept_of_that_person(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal, keep_tokens=True) as issuer:
        async with browser_at(portal.url, issuer.url) as ada, browser_at(portal.url, issuer.url) as eve:
            await sign_in(ada, issuer, "ada")
            await sign_in(eve, issuer, "eve")
            await sign_out(ada, "here")
            assert await kept(portal) == ["oidc:ada", "oidc:eve"]
            await sign_in(ada, issuer, "ada")
            await sign_out(ada, "everywhere")
            assert await kept(portal) == ["oidc:eve"]


async def test_a_setting_that_is_taken_back_deletes_at_the_next_sign_in(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal, keep_tokens=True) as issuer:
        async with browser_at(portal.url, issuer.url) as browser:
            await sign_in(browser, issuer)
            config = {"client_id": "portal", "issuer": issuer.url}
            document = {"name": "Oidc", "type": "oidc", "config": config}
            await portal.store.replace(plain("identity_provider"), "oidc", document, by="test")
            await sign_in(browser, issuer)
        assert await kept(portal) == []


async def test_a_login_that_fails_keeps_nothing(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal, keep_tokens=True) as issuer:
        async with browser_at(portal.url, issuer.url) as browser:
            issuer.claims = {"nonce": "another"}
            assert (await browser.open("/login/with/oidc?return=/logout")).status == 403
        assert await kept(portal) == []


ENDPOINTS = Endpoints("https://idp.example.com", "https://a", "https://t", "https://k", "", returns_issuer=False)


@pytest.mark.parametrize(
    ("expires_in", "known"),
    [(300, True), (1.5, True), ("300", False), (True, False), (0, False), (-1, False), (1e308, False), (None, False)],
)
def test_a_lifetime_that_is_none_costs_no_token(expires_in: object, known: bool) -> None:
    provider = read_provider("idp", document())
    assert isinstance(provider, OidcProvider)
    answer = {"id_token": "a.b.c", "access_token": "access", "refresh_token": 7, "expires_in": expires_in}
    found = tokens_of(provider, ENDPOINTS, answer, {"iss": "https://idp.example.com", "exp": time.time() + 60})
    assert (found.access_ends_at is not None) == known
    assert (found.access, found.refresh, found.token_endpoint) == ("access", "", "https://t")
    assert "a.b.c" not in repr(found) and "access'" not in repr(found)


@examples(100)
@given(st.integers(min_value=0, max_value=2**63) | st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_an_id_token_ends_at_a_time_that_can_be_stored(exp: float) -> None:
    now = datetime.now(UTC)
    ends = end_of({"exp": exp}, now)
    assert ends <= now + timedelta(days=3651)
    assert abs(ends.timestamp() - exp) < 1 or ends > now + timedelta(days=3640)


@examples(100)
@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers(0, 2**40) | st.lists(st.text())))
def test_the_claims_of_a_kept_token_are_those_that_were_signed(claims: dict[str, Any]) -> None:
    claims = {name: value for name, value in claims.items() if name not in ("iss", "sub", "aud", "exp", "nbf", "iat")}
    assert claims_of_verified(jwt.encode({"alg": "ES256"}, claims, KEY)) == claims


@pytest.mark.parametrize(("written", "keeps"), [(True, True), (False, False), (None, False)])
def test_the_setting_is_true_or_false(written: object, keeps: bool) -> None:
    provider = read_provider("idp", document(keep_tokens=written))
    assert isinstance(provider, OidcProvider) and provider.keep_tokens is keeps


@pytest.mark.parametrize("written", ["true", 1, ["x"]])
def test_a_setting_that_is_neither_is_refused(written: object) -> None:
    with pytest.raises(ProviderInvalid, match="keep_tokens must be true or false"):
        read_provider("idp", document(keep_tokens=written))


def document(**config: Any) -> ProviderDocument:
    config = {"client_id": "portal", "issuer": "https://idp.example.com", **config}
    return ProviderDocument(name="Idp", type="oidc", config=config)
