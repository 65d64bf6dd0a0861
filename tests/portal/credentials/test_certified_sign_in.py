"""A person signs in at a certified identity provider, and a server that trusts it lets them in, without a login."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from joserfc.jwk import ECKey

from portal.credentials import SIGN_IN, ServerCredentials
from portal.credentials.by_sign_in import BySignIn
from portal.errors import AuthorizationRequired
from tests.node_tools import listening_script
from tests.patience import PATIENCE
from tests.portal.credentials.authority import authority, entry, protected
from tests.portal.credentials.identity_provider import Trusting
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal
from tests.portal.login.test_providers import OIDC_PROVIDER, log_in_there, offer
from tests.portal.upstreams.watching import server_config, watched

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.clients,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
SECRET = "100% of a secret: + & more"
KEY = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig", "alg": "ES256"}, private=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Certified:
    """The identity provider as an authorization server sees it that trusts it."""

    def __init__(self, url: str, keys: dict[str, Any]) -> None:
        self.url = url
        self._keys = keys

    def keys(self) -> dict[str, Any]:
        return self._keys


async def test_a_sign_in_at_a_certified_provider_lets_a_person_into_a_server(tmp_path: Path) -> None:
    script = Path(__file__).with_name("identity_provider.mjs")
    async with guarded_portal(tmp_path) as portal, authority() as issuing, protected(issuing) as (guard, host):
        settings = {"redirect": f"{portal.url}/login/callback", "secret": SECRET, "jwk": KEY.as_dict(private=True)}
        async with listening_script(OIDC_PROVIDER, script, {**settings, "seconds": 4}) as issuer:
            async with aiohttp.ClientSession() as session, session.get(f"{issuer}/jwks") as answer:
                trusting = Trusting(issuing, Certified(issuer, await answer.json()))
            # It gives refresh tokens only to whom the person has consented to.
            config = {"client_id": "portal", "issuer": issuer, "keep_tokens": True, "prompt": "consent"}
            await offer(portal, "oidc", {**config, "scopes": ["openid"]}, SECRET)
            written = entry(host, issuing, grant="id_jag", identityProvider="oidc")
            async with browser_at(portal.url, issuer) as browser, ServerCredentials(portal.store) as credentials:
                page = await browser.open((await browser.open("/login?return=/logout")).link("Sign in with Oidc"))
                await log_in_there(browser, page, "ada")
                credential = credentials.of_person(server_config(written), "oidc:ada")
                assert isinstance(credential, BySignIn)
                try:
                    async with watched(written, options={"credential": credential}) as up:
                        await up.until(lambda connection: connection.state != "waiting")
                        assert await up.text("echo", "hello") == "hello"
                        (first,) = await portal.store.credentials.list(SIGN_IN)
                        # The ID token ends meanwhile, and is renewed.
                        async with asyncio.timeout(PATIENCE):
                            while (await portal.store.credentials.list(SIGN_IN))[0].version < first.version + 2:
                                issuing.tokens.clear()
                                credential._source.retry()
                                assert await up.text("echo", "on") == "on"
                        assert set(trusting.people.values()) == {"ada"}
                        page = await browser.open("/logout")
                        await browser.submit(page, "/logout", where="everywhere")
                        assert await portal.store.credentials.list(SIGN_IN) == []
                        issuing.tokens.clear()
                        with pytest.raises(AuthorizationRequired, match="nothing is kept of a sign-in there"):
                            await up.call("echo")
                finally:
                    await credential.aclose()
        assert len(guard.shown) > 3
