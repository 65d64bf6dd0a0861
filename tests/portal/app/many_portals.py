"""An instance with several portals and identity for tests: a real server, a real store, a browser for all its names."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from portal.app import Instance, Parts, serving
from portal.app.identity import PortalIdentity
from portal.login.passwords import Passwords
from portal.state import Store
from tests.patience import PATIENCE
from tests.portal.login.browser import Browser, Page, sent_here
from tests.portal.login.guarded import EMAIL, PASSWORD, QUICK, Letters
from tests.portal.portals import Kept, opened
from tests.portal.state.databases import new_state

PORTALS = {
    "docs": {"name": "Documentation"},
    "ops": {"name": "Operations"},
    "hosted": {"name": "Under a name", "hostname": "hosted.localhost"},
}


@dataclass(frozen=True)
class Place:
    """A portal as a browser reaches it. `url` is its base, `prefix` the path in it, `suffix` that of its cookies."""

    id: str
    url: str
    prefix: str = ""

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def suffix(self) -> str:
        return self.prefix.replace("/", "-")

    @property
    def session_cookie(self) -> str:
        return f"portal_session{self.suffix}"

    @property
    def browser_cookie(self) -> str:
        return f"portal_browser{self.suffix}"


@dataclass
class Many:
    """A running instance. `url` is where it listens."""

    url: str
    instance: Instance
    letters: Letters

    @property
    def store(self) -> Store:
        return self.instance.shared.require_store()

    @property
    def own(self) -> Place:
        return Place("", self.url)

    @property
    def docs(self) -> Place:
        return Place("docs", f"{self.url}/docs", "/docs")

    @property
    def ops(self) -> Place:
        return Place("ops", f"{self.url}/ops", "/ops")

    @property
    def hosted(self) -> Place:
        """The portal with a host name, under that name."""
        return Place("hosted", self.url.replace("127.0.0.1", "hosted.localhost"))

    @property
    def hosted_by_path(self) -> Place:
        return Place("hosted", f"{self.url}/hosted", "/hosted")

    @property
    def places(self) -> list[Place]:
        return [self.own, self.docs, self.ops, self.hosted]

    def others(self, place: Place) -> list[Place]:
        return [other for other in self.places if other.id != place.id]

    def identity(self, place: Place) -> PortalIdentity:
        identity = self.instance.portals[place.id].identity
        assert identity is not None
        return identity

    async def account(self) -> None:
        """A local account, which every portal knows."""
        await self.identity(self.own).administrators.create(EMAIL, "Ada", PASSWORD, by="test")

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until the instance has taken up what was stored."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0)

    def pin(self) -> str:
        """The PIN of the latest message."""
        found = re.match(r"(\d{6}) is your PIN", self.letters.sent[-1].subject)
        assert found is not None
        return found[1]


@asynccontextmanager
async def many_portals(
    folder: Path, upstream: str = "", policies: Sequence[Mapping[str, Any]] = (), **identity: Any
) -> AsyncIterator[Many]:
    """`identity` is that section of the configuration. `policies` and the server `fix`, if there is an `upstream`, are
    those of every portal."""
    letters = Letters()
    parts = Parts(
        code=None,
        records=Kept(),
        passwords=Passwords(QUICK),
        adjust_identity=lambda settings: replace(settings, mail=letters),
    )
    servers = ["fix"] if upstream else []
    document = {
        "mcpServers": {"fix": {"url": upstream}} if upstream else {},
        "portals": {id: {**entry, "servers": servers, "policies": policies} for id, entry in PORTALS.items()},
        "portal": {
            "state": new_state(folder),
            "identity": {"pin": True, "policies": policies, **identity},
        },
    }
    async with opened(document, parts=parts) as instance, serving(instance) as url:
        await instance.servers.settled()
        yield Many(url, instance, letters)


class HereTransport(httpx2.AsyncHTTPTransport):
    """Finds every host name on this machine. The name stays in the Host header, and in the cookies."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await super().handle_async_request(sent_here(request))


def http_client() -> httpx2.AsyncClient:
    """A client that finds the instance under all its names."""
    return httpx2.AsyncClient(follow_redirects=False, timeout=PATIENCE, transport=HereTransport(verify=False))


@asynccontextmanager
async def browser_of(many: Many, *sites: str) -> AsyncIterator[Browser]:
    """A browser that knows the instance under all its names, and these other sites."""
    async with http_client() as client:
        yield Browser(client, [many.own.url, many.hosted.url, *sites])


async def sign_in_at(browser: Browser, place: Place, target: str = "") -> Page:
    """Sign in with the local account; the page it leads to."""
    query = f"?return={target}" if target else ""
    page = await browser.open(f"{place.url}/login{query}")
    return await browser.submit(page, f"{place.prefix}/login/password", email=EMAIL, password=PASSWORD)


async def is_signed_in(browser: Browser, place: Place) -> bool:
    page = await browser.open(f"{place.url}/logout")
    assert page.status == 200
    return "You are signed in as" in page.text
