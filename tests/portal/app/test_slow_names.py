"""Names that nobody answers: whoever brings them, only their own requests wait, and a portal ends at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from mcp import Client

from portal.egress import NameResolver, resolving_by
from portal.login.remote import fetch_json, provider_fetcher
from portal.notices import MailFailed, Message, Smtp
from tests.patience import PATIENCE
from tests.portal.egress.name_server import NameServer, name_server
from tests.portal.egress.test_egress import answer, serving
from tests.portal.endpoint.people import ECHO
from tests.portal.login.guarded import guarded_portal
from tests.portal.portals import portal_over
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    # As `codemode serve` runs.
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    with name_server() as server, resolving_by(NameResolver([server.address])):
        server.addresses["named.example"] = ["127.0.0.1"]
        yield server


def by_name(url: str) -> str:
    return url.replace("127.0.0.1", "named.example")


async def echoes(url: str, *tools: str) -> None:
    """Whether these tools answer at the portal."""
    async with asyncio.timeout(PATIENCE), Client(url) as client:
        for tool in tools:
            result = await client.call_tool(tool, ECHO)
            assert not result.is_error, result.content


async def test_eight_servers_with_names_that_nobody_answers_delay_no_other(names: NameServer) -> None:
    # Under its name it is not the server of this machine alone, as the SDK takes one for that listens on loopback.
    async with hosted(host="named.example") as upstream:
        entries: dict[str, Hosted | Mapping[str, Any]] = {
            f"slow{number}": {"url": f"http://silent{number}.example/mcp", "connectTimeout": 0.2} for number in range(8)
        }
        entries |= {"plain": upstream, "named": {"url": by_name(upstream.url)}}
        async with portal_over(entries) as portal:
            await echoes(portal.mcp, "plain_echo", "named_echo")
            unavailable = portal.servers.snapshot.servers["slow0"]
            assert unavailable.state != "ready"
            async with asyncio.timeout(PATIENCE):
                while not all(names.asked[f"silent{number}.example"] for number in range(8)):
                    await asyncio.sleep(0.01)
            before = asyncio.get_running_loop().time()
        # Nothing waits for a name at the end. Names took minutes where the system resolved them in threads.
        assert asyncio.get_running_loop().time() - before < 20


async def test_thirty_strangers_with_names_that_nobody_answers_delay_nobody(names: NameServer, tmp_path: Path) -> None:
    proxies = (ip_network("127.0.0.1/32"),)
    async with (
        serving() as provider,
        guarded_portal(tmp_path, proxies=proxies) as portal,
        browsing(portal.url) as browser,
    ):
        provider.answer = answer(b"[]")
        strangers = [
            asyncio.create_task(browser.get(authorize(number), headers={"x-forwarded-for": f"198.51.100.{number}"}))
            for number in range(30)
        ]
        async with asyncio.timeout(PATIENCE):
            while not all(names.asked[f"silent{number}.example"] for number in range(30)):
                await asyncio.sleep(0.01)
            # All of them wait, and in none of the loop's threads.
            assert await asyncio.to_thread(lambda: "free") == "free"
            async with provider_fetcher() as fetcher:
                assert await fetch_json(fetcher, by_name(provider.url)) == []
                assert await fetch_json(fetcher, provider.url) == []
        # When they are asked for again, there are no such names.
        names.is_silent = False
        assert [answer.status_code for answer in await asyncio.gather(*strangers)] == [400] * 30


async def test_a_stranger_past_their_part_of_documents_is_told_when_to_come_back(
    names: NameServer, tmp_path: Path
) -> None:
    async with guarded_portal(tmp_path) as portal, browsing(portal.url) as browser:
        strangers = [asyncio.create_task(browser.get(authorize(number))) for number in range(4)]
        async with asyncio.timeout(PATIENCE):
            while not all(names.asked[f"silent{number}.example"] for number in range(4)):
                await asyncio.sleep(0.01)
        refused = await browser.get(authorize(4))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert "4" in refused.text and "documents of applications" in refused.text
        assert not names.asked["silent4.example"]
        # A document that is being fetched already takes no place of its own.
        again = asyncio.create_task(browser.get(authorize(0)))
        names.is_silent = False
        answers = await asyncio.gather(*strangers, again)
        assert [answer.status_code for answer in answers] == [400] * 5
        assert (await browser.get(authorize(0))).status_code == 400


def authorize(number: int) -> str:
    return f"/authorize?{urlencode({'client_id': f'https://silent{number}.example/client', 'response_type': 'code'})}"


@asynccontextmanager
async def browsing(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        yield client


async def test_letters_to_a_mail_server_whose_name_nobody_answers_take_nobodys_threads(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = Smtp(host="silent.example", sender="portal@example.com")
    letters = [asyncio.create_task(mail.send(Message("ada@example.com", "Hello", "Hello"))) for _ in range(40)]
    async with asyncio.timeout(PATIENCE):
        while not names.asked["silent.example"]:
            await asyncio.sleep(0.01)
    assert await asyncio.to_thread(lambda: "free") == "free"
    assert not any(letter.done() for letter in letters)
    for letter in letters:
        letter.cancel()
    await asyncio.gather(*letters, return_exceptions=True)
    monkeypatch.setattr("portal.egress.names.NAMED_SECONDS", 0.1)
    with pytest.raises(MailFailed, match=r"^silent\.example did not take the message: NameFailed$"):
        await mail.send(Message("ada@example.com", "Hello", "Hello"))
