"""A served portal's policies: what the file says and what is stored decide together, and nothing falls between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from portal.access import Access
from portal.app.access import portal_access, read_stored
from portal.app.definitions import definitions
from portal.config import Config, parse_config
from portal.identity import Identity
from portal.state import KeyRing, Store, plain
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio

ADA = Identity(id="ada", email="ada@example.com")
BOB = Identity(id="bob", email="bob@example.com")
STAFF = {"id": "staff", "decision": "allow", "include": [{"email_domain": {"domain": "example.com"}}]}
ONLY_ADA = {"id": "only-ada", "decision": "allow", "include": [{"email": {"email": "ada@example.com"}}]}


async def compiled(config: Config, store: Store) -> Access:
    """What decides at the document's own portal."""
    stored = await read_stored(store)
    return portal_access(definitions(config, stored.objects.portals)[""], config, stored)


def config(**identity: Any) -> Config:
    servers = {name: {"url": f"http://127.0.0.1:9/{name}"} for name in ("one", "two")}
    return parse_config({"mcpServers": servers, "portal": {"identity": {"policies": [STAFF], **identity}}})


async def attach(store: Store, server: str, policy: Mapping[str, Any]) -> None:
    destination = {"type": "via_mcp_server_portal", "mcp_server_id": server}
    document = {"type": "mcp", "name": server, "destinations": [destination], "policies": [policy]}
    await store.create(plain("app"), f"app-{server}", document, by="test")


async def test_a_configured_server_is_for_whoever_may_use_the_portal_until_a_policy_is_attached_to_it(
    tmp_path: Path,
) -> None:
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        access = await compiled(config(), store)
        assert access.server(BOB, "one").allowed and access.server(BOB, "two").allowed
        assert not access.server(Identity(id="eve", email="eve@elsewhere.example"), "one").allowed
        await attach(store, "one", ONLY_ADA)
        access = await compiled(config(), store)
        assert access.server(ADA, "one").policy == "only-ada"
        assert access.server(BOB, "one").policy == "default-deny"
        assert access.server(BOB, "two").allowed


async def test_the_file_can_say_it_too_for_servers_and_for_tools(tmp_path: Path) -> None:
    written = config(
        serverPolicies={"two": [{"id": "team", "decision": "allow", "include": [{"group": {"id": "admins"}}]}]},
        groups=[{"id": "admins", "include": [{"email_list": {"id": "names"}}]}],
        lists=[{"id": "names", "type": "EMAIL", "items": [{"value": "ada@example.com"}]}],
        toolPolicies=[
            {"id": "calm", "decision": "deny", "include": [{"everyone": {}}], "tools": {"names": ["drop_*"]}},
        ],
    )
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        access = await compiled(written, store)
    assert access.server(ADA, "two").policy == "team" and not access.server(BOB, "two").allowed
    assert access.tool(ADA, "one", "drop_table", {}).policy == "calm"
    assert access.tool(ADA, "one", "get_table", {}).allowed


async def test_a_source_that_is_missing_is_said_when_it_is_configured(tmp_path: Path) -> None:
    abroad = {**STAFF, "name": "Staff", "exclude": [{"geo": {"country_code": "RU"}}]}
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        access = await compiled(config(policies=[abroad]), store)
        assert not access.portal(ADA).allowed
        said = "policy 'Staff', exclude[0] geo: no country database is configured; it excludes everyone."
        assert access.warnings == (said,)
        known = await compiled(config(policies=[abroad], countries=str(tmp_path / "countries.mmdb")), store)
        assert known.warnings == ()
