"""A portal with people who log in to servers: real servers behind real authorization servers, and browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from portal.app import Instance, Parts, serving
from portal.app.identity import PortalIdentity
from portal.credentials import CredentialDocument, stored_logins
from portal.elicitation import Elicitations
from portal.identity import Identity
from portal.login import Passwords
from portal.state import Store, StoredCredential
from tests.patience import PATIENCE
from tests.portal.login.browser import Browser, Form, Page, browser_at, sent_here
from tests.portal.login.guarded import EMAIL, EVERYONE, PASSWORD, QUICK, Clock
from tests.portal.portals import Kept, opened
from tests.portal.state.databases import new_state

GRACE = "grace@example.com"


@dataclass
class People:
    """A running portal. `url` is its base."""

    url: str
    instance: Instance
    clock: Clock

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    @property
    def store(self) -> Store:
        return self.instance.shared.require_store()

    @property
    def identity(self) -> PortalIdentity:
        assert self.instance.own.identity is not None
        return self.instance.own.identity

    @property
    def elicitations(self) -> Elicitations:
        return self.identity.elicitations

    async def account(self, email: str = EMAIL) -> Identity:
        """The local account of this address."""
        there = await self.identity.administrators.find(email)
        if there is not None:
            return there.identity
        return await self.identity.administrators.create(email, email, PASSWORD, by="test")

    async def link(self, email: str = EMAIL, **wanted: str) -> str:
        """A link for this person that wants these servers, for these reasons."""
        id = await self.elicitations.open(await self.account(email), wanted or {"files": ""})
        return f"{self.url}/authorize?elicitationId={id}"

    async def logins(self, email: str = EMAIL) -> list[StoredCredential[CredentialDocument]]:
        return list(await stored_logins(self.store, subject=(await self.account(email)).key))


@asynccontextmanager
async def people(
    folder: Path, servers: Mapping[str, Any], portals: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[People]:
    """`settings` are those of `portal.identity`, `portals` further portals. All on one folder have one database."""
    clock = Clock()
    parts = Parts(code=None, records=Kept(), passwords=Passwords(QUICK), now=clock)
    identity = {"policies": [EVERYONE], **settings}
    document = {
        "mcpServers": dict(servers),
        "portals": dict(portals or {}),
        "portal": {"state": new_state(folder), "identity": identity},
    }
    async with opened(document, parts=parts) as instance, serving(instance) as url:
        await instance.servers.settled()
        yield People(url, instance, clock)


@asynccontextmanager
async def signed_in(portal: People, *sites: str, email: str = EMAIL) -> AsyncIterator[Browser]:
    """A browser of this person that also follows redirects to these sites."""
    await portal.account(email)
    async with browser_at(portal.url, *sites) as browser:
        # As browsers say when a person looks.
        browser.client.headers["Sec-Fetch-Mode"] = "navigate"
        await sign_in(browser, await browser.open("/login"), email)
        yield browser


async def sign_in(browser: Browser, page: Page, email: str = EMAIL) -> Page:
    action = next(form.action for form in page.forms if form.action.endswith("/login/password"))
    return await browser.submit(page, action, email=email, password=PASSWORD)


class Proxy(httpx2.AsyncHTTPTransport):
    """Finds the portal at a public URL on a port of this machine, as a proxy that ends TLS does. Another port is
    another process of the portal."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.port = port
        self._host = host

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host != self._host:
            return await super().handle_async_request(request)
        return await super().handle_async_request(sent_here(request, scheme="http", port=self.port))


@asynccontextmanager
async def browser_through(proxy: Proxy, *sites: str) -> AsyncIterator[Browser]:
    async with httpx2.AsyncClient(follow_redirects=False, timeout=PATIENCE, transport=proxy) as client:
        yield Browser(client, sites)


def form_of(page: Page, server: str, action: str = "connect", *, with_scope: bool = False) -> Form:
    """The form of a server."""
    return next(
        form
        for form in page.forms
        if urlsplit(form.action).path.endswith(f"/servers/{action}")
        and form.fields["server"] == server
        and ("scope" in form.fields) is with_scope
    )


async def begun(browser: Browser, page: Page, server: str = "files", **values: str) -> Page:
    """The page that a person sees before they go to the authorization server."""
    return await browser.send(page, form_of(page, server, with_scope="scope" in values), **values)


async def connected(browser: Browser, page: Page, server: str = "files", **values: str) -> Page:
    """Press Connect, and go to the authorization server, which sends the browser back at once."""
    return await browser.open(leaves_for(await begun(browser, page, server, **values)))


def leaves_for(page: Page) -> str:
    """Where the page before an authorization server leads."""
    return page.link("Go to ")
