"""Two people log in to a server at a certified authorization server: its own pages, a registered client, refreshing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from portal.config import HttpServer
from portal.credentials import GrantedCredential
from portal.jose import read_keys
from tests.node_tools import listening_script
from tests.portal.credentials.authority import Protected
from tests.portal.credentials.test_certified import Certified
from tests.portal.elicitation.people import GRACE, People, begun, form_of, leaves_for, people, signed_in
from tests.portal.login.browser import Browser, Page
from tests.portal.login.guarded import EMAIL
from tests.portal.login.test_providers import OIDC_PROVIDER, log_in_there
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.clients,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def certified() -> AsyncIterator[Certified]:
    script = Path(__file__).with_name("login_provider.mjs")
    async with listening_script(OIDC_PROVIDER, script, {}) as issuer:
        async with aiohttp.ClientSession() as session, session.get(f"{issuer}/jwks") as answer:
            yield Certified(issuer, read_keys(await answer.json()))


async def logged_in(browser: Browser, who: str) -> Page:
    page = await browser.open(leaves_for(await begun(browser, await browser.open("/servers"))))
    return await log_in_there(browser, page, who)


async def token_of(portal: People, email: str) -> str:
    """The access token that the portal shows for this person, replaced if it is due."""
    config = portal.instance.servers.snapshot.servers["files"].config
    assert isinstance(config, HttpServer)
    subject = (await portal.account(email)).key
    credential = GrantedCredential(config, portal.store, subject, "log in", now=portal.clock)
    try:
        return (await credential.headers())["authorization"].removeprefix("Bearer ")
    finally:
        await credential.aclose()


async def test_two_people_log_in_with_tokens_of_their_own_which_are_replaced_and_taken_back(tmp_path: Path) -> None:
    async with certified() as authority:
        guard = Protected(authority, needed="files:read")
        async with hosted(wrap=guard.wrap) as host:
            authority.resource = host.url
            async with people(tmp_path, {"files": {"url": host.url}}) as portal:
                async with (
                    signed_in(portal, authority.issuer) as ada,
                    signed_in(portal, authority.issuer, email=GRACE) as grace,
                ):
                    page = await logged_in(ada, "ada")
                    assert "Ready : logged in" in page.text and "files:read" in page.text
                    await logged_in(grace, "grace")
                    tokens = {await token_of(portal, email) for email in (EMAIL, GRACE)}
                    assert len(tokens) == 2 and {authority.scopes(token) for token in tokens} == {"files:read"}
                    portal.clock.ahead = timedelta(seconds=599)
                    fresh = await token_of(portal, EMAIL)
                    assert fresh not in tokens and authority.scopes(fresh) == "files:read"
                    portal.clock.ahead = timedelta()
                    done = await ada.send(page, form_of(page, "files", "log-out"))
                    # Its access tokens are signed, and those it cannot take back (RFC 7009 2.2.1).
                    assert f"{authority.issuer} renews it no more." in done.text
                    assert len(await portal.logins()) == 0 and len(await portal.logins(GRACE)) == 1
