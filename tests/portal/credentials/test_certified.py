"""A program calls a server behind OAuth through a whole portal, with tokens of a certified authorization server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from joserfc.jwk import ECKey, KeySet
from mcp import Client

from portal.jose import TokenInvalid, read_keys, verify
from tests.end_to_end.whole import whole
from tests.node_tools import listening_script
from tests.patience import PATIENCE
from tests.portal.credentials.authority import Protected
from tests.portal.login.test_providers import OIDC_PROVIDER
from tests.portal.upstreams.hosting import hosted

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
    """The authorization server as a server sees it that takes its tokens for `resource`."""

    def __init__(self, issuer: str, keys: KeySet) -> None:
        self.issuer = issuer
        self.resource = ""
        self.seen: set[str] = set()
        self._keys = keys

    def scopes(self, token: str) -> str | None:
        required = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.resource},
            "exp": {"essential": True},
        }
        try:
            claims = verify(token, self._keys, required).claims  # type: ignore[arg-type]
        except TokenInvalid:
            return None
        self.seen.add(token)
        return str(claims["scope"])


@asynccontextmanager
async def certified(seconds: int = 600) -> AsyncIterator[Certified]:
    """The npm package `oidc-provider`, running; its tokens live so many seconds."""
    settings = {"secret": SECRET, "jwk": KEY.as_dict(private=False), "seconds": seconds}
    script = Path(__file__).with_name("authorization_server.mjs")
    async with listening_script(OIDC_PROVIDER, script, settings) as issuer:
        async with aiohttp.ClientSession() as session, session.get(f"{issuer}/jwks") as answer:
            yield Certified(issuer, read_keys(await answer.json()))


@asynccontextmanager
async def agent(authority: Certified, **oauth: Any) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """What runs a program that calls a protected server twice; it gives the program's result."""
    guard = Protected(authority, needed="files:read")
    program = """
        const first = await codemode.files.echo({ text: "hello" });
        return [first, await codemode.files.echo({ text: "again" })];
    """
    async with hosted(wrap=guard.wrap) as host:
        authority.resource = host.url
        section = {"grant": "client_credentials", "issuer": authority.issuer, **oauth}
        async with whole({"files": {"url": host.url, "oauth": section}}) as portal, Client(portal.code) as client:

            async def run() -> object:
                answer = await client.call_tool("code", {"code": program})
                assert not answer.is_error and answer.structured_content is not None, answer.content
                return answer.structured_content["result"]

            yield run


@pytest.mark.parametrize(
    "client",
    [
        {"clientId": "basic", "clientSecret": SECRET},
        {"clientId": "post", "clientSecret": SECRET, "tokenEndpointAuthMethod": "client_secret_post"},
        {"clientId": "key", "privateKey": KEY.as_pem(private=True).decode(), "keyId": "k1"},
    ],
    ids=lambda client: str(client["clientId"]),
)
async def test_a_program_calls_a_server_behind_oauth(client: dict[str, str]) -> None:
    async with certified() as authority, agent(authority, **client) as run:
        assert await run() == ["hello", "again"]
        assert len(authority.seen) == 1


async def test_tokens_that_live_for_seconds_are_replaced_and_no_call_is_lost() -> None:
    # As long as a busy machine may take between getting a token and showing it.
    async with certified(seconds=3) as authority:
        async with agent(authority, clientId="basic", clientSecret=SECRET) as run, asyncio.timeout(PATIENCE):
            while len(authority.seen) < 3:
                assert await run() == ["hello", "again"]
