"""What a portal is called: the same on its pages, in its mails and to its clients, and at once when it is renamed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from portal.admin import Admin
from tests.portal.app.many_portals import Many, Place, browser_of, many_portals
from tests.portal.login.browser import Browser, Page
from tests.portal.login.guarded import EMAIL, EVERYONE, PASSWORD
from tests.portal.portals import LEGACY, MODERN, client_of

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
TEAM: dict[str, Any] = {"name": "Team", "hostname": "team.localhost", "code_mode": "opt_in", "servers": []}


@dataclass
class Named:
    """An instance, its API as Cloudflare's SDK speaks it, and a browser."""

    many: Many
    admin: Admin
    browser: Browser
    token: str

    async def put(self, path: str, body: dict[str, Any], method: str = "PUT") -> Any:
        url = f"{self.many.url}/client/v4/accounts/{self.admin.account_id}{path}"
        answer = await self.browser.client.request(
            method, url, json=body, headers={"Authorization": f"Bearer {self.token}"}
        )
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["result"]

    async def until_called(self, id: str, name: str) -> None:
        """Wait until the instance has followed what is stored."""
        portals = self.many.instance.portals
        await self.many.until(lambda: id in portals and portals[id].definition.name == name)


@asynccontextmanager
async def named(folder: Path) -> AsyncIterator[Named]:
    async with many_portals(folder, policies=[EVERYONE]) as many, browser_of(many) as browser:
        admin = many.instance.admin
        assert admin is not None
        made = await admin.tokens.create_with_all("test", "test")
        yield Named(many, admin, browser, made.value)


async def pages_of(named: Named, place: Place) -> list[Page]:
    """Every kind of page that a person sees without and with a session."""
    browser, base = named.browser, place.url
    pages = [await browser.open(f"{base}{path}") for path in ("/", "/login", "/login/claim", "/login/invitation")]
    pages.append(await browser.submit(pages[1], f"{place.prefix}/login/pin", email="grace@example.com"))
    pages.append(await browser.submit(pages[1], f"{place.prefix}/login/password", email=EMAIL, password=PASSWORD))
    pages += [await browser.open(f"{base}{path}") for path in ("/logout", "/login/reset", "/authorize")]
    pages.append(await browser.submit(pages[6], f"{place.prefix}/logout", "here"))
    return pages


async def names_of(named: Named, place: Place) -> set[str]:
    """Everything that a portal calls itself: pages, PINs, MCP clients of both generations, OAuth metadata."""
    letters = named.many.letters.sent
    letters.clear()
    found: set[str] = set()
    for page in await pages_of(named, place):
        title = re.search(r"<title>[^<]* · ([^<]*)</title>", page.html)
        assert title is not None, page.html
        found.add(title[1])
    (pin,) = letters
    assert (subject := re.search(r"is your PIN for (.*)", pin.subject)) and subject[1] in pin.text
    found.add(subject[1])
    metadata = await named.browser.client.get(
        f"{named.many.url}/.well-known/oauth-protected-resource{place.prefix}/mcp"
    )
    found.add(metadata.json()["resource_name"])
    for mode, modern in ((LEGACY, False), ("auto", True)):
        async with client_of(place.mcp, mode) as client:
            assert client.server_info is not None
            assert (client.protocol_version == MODERN) is modern
            found.add(client.server_info.name)
    return found


async def test_every_page_mail_and_client_reads_the_name_of_its_portal(tmp_path: Path) -> None:
    async with named(tmp_path) as here:
        await here.many.account()
        for place, name in ((here.many.own, "codemode-portal"), (here.many.docs, "Documentation")):
            assert await names_of(here, place) == {name}


async def test_a_stored_portal_that_is_renamed_is_called_so_everywhere(tmp_path: Path) -> None:
    async with named(tmp_path) as here:
        await here.many.account()
        path = "/access/ai-controls/mcp/portals"
        await here.put(path, {"id": "team", "name": "Team", "hostname": "team.localhost", "servers": []}, "POST")
        policy = await here.put(
            "/access/policies", {"name": "All", "decision": "bypass", "include": [{"everyone": {}}]}, "POST"
        )
        app = {"type": "mcp_portal", "name": "Team", "domain": "team.localhost", "policies": [{"id": policy["id"]}]}
        await here.put("/access/apps", app, "POST")
        team = Place("team", f"{here.many.url}/team", "/team")
        for name in ("Team", "Crew", "Two\r\nlines"):
            await here.put(f"{path}/team", {"name": name})
            shown = " ".join(name.split())
            await here.until_called("team", shown)
            assert await names_of(here, team) == {shown}


async def test_the_documents_own_portal_is_renamed_everywhere_by_the_login_settings(tmp_path: Path) -> None:
    async with named(tmp_path) as here:
        await here.many.account()
        for name in ("Acme", "Acme tools"):
            await here.put("/access/organizations", {"name": name})
            # Pages say so at once; clients as soon as the instance has followed.
            page = await here.browser.open(f"{here.many.url}/login")
            assert f"Sign in to {name}" in page.text
            await here.until_called("", name)
            assert await names_of(here, here.many.own) == {name}
            assert await names_of(here, here.many.docs) == {"Documentation"}
        invited = await here.put("/members", {"email": "hal@example.com"}, "POST")
        assert here.many.letters.sent[-1].subject == "You are invited to administer Acme tools"
        page = await here.browser.open(invited["invitation"]["url"])
        assert "Administer Acme tools" in page.text
        await here.put("/access/organizations", {"name": ""})
        await here.until_called("", "codemode-portal")
        assert await names_of(here, here.many.own) == {"codemode-portal"}


async def test_a_stored_portal_of_its_host_name_names_the_documents_own(tmp_path: Path) -> None:
    async with named(tmp_path) as here:
        await here.many.account()
        await here.put("/access/organizations", {"name": "Acme"})
        body = {"id": "here", "name": "Here", "hostname": "localhost", "servers": []}
        await here.put("/access/ai-controls/mcp/portals", body, "POST")
        await here.until_called("", "Here")
        assert await names_of(here, here.many.own) == {"Here"}
