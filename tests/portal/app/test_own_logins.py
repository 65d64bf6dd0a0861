"""At which servers a portal uses its own login for everybody: `onBehalf` of the document, `on_behalf` of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.app.access import StoredState, read_stored, served_for_all
from portal.app.definitions import OWN, definitions
from portal.config import Config, parse_config
from portal.errors import ConfigError
from portal.objects import PORTAL, SERVER, PortalDocument, PortalServer, ServerDocument
from portal.state import KeyRing, Store
from tests.portal.state.databases import new_state


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def config(*, on_behalf: Any = True, portals: Any = None, **portal: Any) -> Config:
    wiki = {"url": "http://127.0.0.1:9/wiki", "onBehalf": on_behalf}
    files = {"url": "http://127.0.0.1:9/files"}
    return parse_config(
        {"mcpServers": {"wiki": wiki, "files": files}, "portal": portal, "portals": portals or {}}, env={}
    )


def own_logins(read: Config, id: str = OWN, stored: StoredState | None = None) -> set[str]:
    stored = stored or StoredState()
    definition = definitions(read, stored.objects.portals)[id]
    return set(served_for_all(definition, read, stored))


def test_each_person_logs_in_unless_something_else_is_written() -> None:
    read = config(portals={"docs": {"servers": ["wiki", {"serverId": "files"}]}})
    assert own_logins(read) == own_logins(read, "docs") == set()


def test_the_entry_of_a_server_speaks_for_every_portal_that_has_it() -> None:
    read = config(on_behalf=False, portals={"docs": {"servers": ["wiki"]}, "ops": {"servers": ["files"]}})
    assert own_logins(read) == own_logins(read, "docs") == {"wiki"}
    assert own_logins(read, "ops") == set()


def test_the_entry_of_a_portal_speaks_for_that_portal_alone() -> None:
    servers = [{"serverId": "wiki", "onBehalf": False}, "files"]
    read = config(portals={"docs": {"servers": servers}, "ops": {"servers": ["wiki"]}})
    assert own_logins(read, "docs") == {"wiki"}
    assert own_logins(read) == own_logins(read, "ops") == set()


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"url": "http://127.0.0.1:9/", "onBehalf": "perhaps"}, "must be a boolean"),
        ({"url": "http://127.0.0.1:9/", "onBehalv": False}, "Did you mean `onBehalf`?"),
        ({"command": "x", "onBehalf": False}, "is only for servers reached by `url`"),
    ],
)
def test_a_mistake_in_it_refuses_the_document(entry: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"mcpServers": {"up": entry, "other": {"url": "http://127.0.0.1:9/"}}}, env={})
    assert problem in str(refused.value)


@pytest.mark.anyio
async def test_a_stored_portal_says_it_for_its_servers_and_for_the_portal_whose_host_name_it_has(
    tmp_path: Path,
) -> None:
    read = config(identity={"publicUrl": "https://team.example"})
    server = ServerDocument(name="Mail", hostname="https://mail.example/mcp", auth_type="oauth")
    attached = (PortalServer(server_id="mail", on_behalf=False), PortalServer(server_id="wiki"))
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        await store.create(SERVER, "mail", server, by="test")
        for id, host in (("team", "team.example"), ("side", "side.example")):
            await store.create(PORTAL, id, PortalDocument(name=id, hostname=host, servers=attached), by="test")
        stored = await read_stored(store)
    assert own_logins(read, OWN, stored) == own_logins(read, "side", stored) == {"mail"}
    # What the operator wrote holds at every portal, whatever is stored.
    written = config(on_behalf=False, identity={"publicUrl": "https://team.example"})
    assert own_logins(written, "side", stored) == {"mail", "wiki"}
