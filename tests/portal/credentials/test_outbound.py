"""Where the metadata of a server may lead the portal, and where not."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from portal.credentials import Outbound
from portal.credentials.errors import Misconfigured, NoAnswer

pytestmark = pytest.mark.anyio

PUBLIC_SERVER = "https://files.example.com/mcp"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Names(AbstractResolver):
    """Knows the addresses of some names."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host not in self._addresses:
            raise OSError(f"no such host: {host}")
        address = self._addresses[host]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0),
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "http://login.example.com/x",
            "http://login.example.com, which its metadata or its `oauth` names, is no https URL",
        ),
        ("https://10.0.0.1/x", "https://10.0.0.1, which its metadata names, is no public address"),
        ("https://127.0.0.1:8787/x", "https://127.0.0.1:8787, which its metadata names, is no public address"),
        ("https://2130706433/x", "is no public address"),
        ("https://inside.example.com/x", "is no public address. If it is yours, write `allowPrivate: true`"),
        ("https://user@login.example.com/x", "a URL with a user or a password"),
        ("http://files.example.com/x", "is no https URL"),
        ("file:///etc/passwd", "a URL, which its metadata or its `oauth` names, is no https URL"),
        ("nothing", "is no https URL"),
        ("https://[::1", "something that is no URL"),
        ("", "is no https URL"),
    ],
)
async def test_a_public_server_leads_only_to_https_at_public_addresses(url: str, why: str) -> None:
    names = Names({"inside.example.com": "10.1.2.3"})
    async with Outbound(PUBLIC_SERVER, resolver=names) as outbound:
        for ask in (outbound.document(url), outbound.post(url, b"", {})):
            with pytest.raises(Misconfigured) as caught:
                await ask
            assert why in str(caught.value)


async def test_the_host_of_the_server_may_be_anywhere_for_an_administrator_named_it() -> None:
    closed = {"files.example.com": "127.0.0.1", "login.example.com": "127.0.0.1"}
    async with Outbound("https://files.example.com:1/mcp", resolver=Names(closed)) as outbound:
        # It is reached, or would be if anybody listened.
        with pytest.raises(NoAnswer, match="cannot be reached"):
            await outbound.document("https://files.example.com:1/x")
        with pytest.raises(Misconfigured, match="no public address"):
            await outbound.document("https://login.example.com:1/x")


async def test_private_addresses_are_allowed_where_an_administrator_says_so_but_never_those_of_a_cloud() -> None:
    names = Names({"login.corp": "127.0.0.1"})
    async with Outbound(PUBLIC_SERVER, allow_private=True, resolver=names) as outbound:
        with pytest.raises(NoAnswer, match="cannot be reached"):
            await outbound.document("https://login.corp:1/x")
        with pytest.raises(Misconfigured, match="link-local"):
            await outbound.document("https://169.254.169.254/latest/meta-data")
        with pytest.raises(Misconfigured, match="no https URL"):
            await outbound.document("http://login.corp:1/x")


async def test_a_server_on_this_machine_may_name_others_on_it() -> None:
    async with Outbound("http://127.0.0.1:8000/mcp") as outbound:
        with pytest.raises(NoAnswer, match="cannot be reached"):
            await outbound.document("http://localhost:1/x")
        with pytest.raises(Misconfigured, match="no https URL"):
            await outbound.document("http://10.0.0.1/x")
        with pytest.raises(Misconfigured, match="no public address"):
            await outbound.document("https://10.0.0.1/x")
