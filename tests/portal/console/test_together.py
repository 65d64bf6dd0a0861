"""Two administrators at the same server or portal: neither undoes what the other has just done."""

from __future__ import annotations

from asyncio import gather
from pathlib import Path

import pytest

from portal.objects import PORTAL, SERVER, PortalDocument, PortalServer, ServerDocument
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal, sign_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
TOOLS = [f"tool-{number}" for number in range(8)]


@pytest.mark.parametrize("path", ["/servers/notes/tools", "/portals/team/servers/notes/tools"])
async def test_tools_that_are_disabled_at_the_same_time_are_all_disabled(tmp_path: Path, path: str) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as person:
        await portal.account()
        await sign_in(person, await person.open("/admin"))
        server = ServerDocument(name="Notes", hostname="https://n.example/mcp", auth_type="unauthenticated")
        await portal.store.create(SERVER, "notes", server, by="test")
        entries = (PortalServer(server_id="notes"),)
        at = PortalDocument(name="Team", hostname="team.example.com", servers=entries)
        await portal.store.create(PORTAL, "team", at, by="test")
        token = (await person.open("/logout")).form("/logout").fields
        url = f"{portal.url}/admin{path}"
        sent = [person.client.post(url, data={**token, "name": name, "enabled": "no"}) for name in TOOLS]
        answers = await gather(*sent)
        assert [one.status_code for one in answers] == [303] * len(TOOLS), [one.text[:300] for one in answers]
        if path.startswith("/servers"):
            found = await portal.store.get(SERVER, "notes")
            assert found is not None
            settings = found.document.updated_tools
        else:
            team = await portal.store.get(PORTAL, "team")
            assert team is not None
            settings = team.document.servers[0].updated_tools
        assert sorted(one.name for one in settings if one.enabled is False) == TOOLS


async def test_servers_that_are_attached_and_detached_at_the_same_time_all_are(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as person:
        await portal.account()
        await sign_in(person, await person.open("/admin"))
        ids = [f"s{number}" for number in range(8)]
        for id in ids:
            server = ServerDocument(name=id, hostname="https://n.example/mcp", auth_type="unauthenticated")
            await portal.store.create(SERVER, id, server, by="test")
        entries = tuple(PortalServer(server_id=id) for id in ids[:4])
        at = PortalDocument(name="Team", hostname="team.example.com", servers=entries)
        await portal.store.create(PORTAL, "team", at, by="test")
        token = (await person.open("/logout")).form("/logout").fields
        url = f"{portal.url}/admin/portals/team"
        deeds = [("detach", id) for id in ids[:4]] + [("attach", id) for id in ids[4:]]
        sent = [person.client.post(f"{url}/{deed}", data={**token, "server_id": id}) for deed, id in deeds]
        assert [one.status_code for one in await gather(*sent)] == [303] * len(deeds)
        team = await portal.store.get(PORTAL, "team")
        assert team is not None and sorted(one.server_id for one in team.document.servers) == ids[4:]
