"""An object that cannot be read never allows more than it did, and keeps nobody out who has nothing to do with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from portal.access import ADDRESS, Access, BestCase
from portal.app.access import application_access, could_enter, portal_access, read_stored
from portal.app.definitions import definitions
from portal.config import Config, parse_config
from portal.identity import Identity
from portal.state import KeyRing, Store, plain

pytestmark = pytest.mark.anyio

ADA = Identity(id="ada", email="ada@example.com")
STAFF = {"id": "staff", "name": "Staff", "decision": "allow", "include": [{"email_domain": {"domain": "example.com"}}]}
OPEN = {"id": "open", "name": "Open", "decision": "bypass", "include": [{"everyone": {}}]}
TEAM = {"name": "Team", "hostname": "team.example.com", "code_mode": "opt_in", "servers": [{"server_id": "wiki"}]}
WIKI = {"name": "Wiki", "hostname": "https://wiki.example.com/mcp", "auth_type": "unauthenticated"}
UNKNOWN: list[dict[str, Any]] = [{"a_selector_of_another_version": {}}]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path / 'state.db'}", KeyRing.in_memory()) as opened:
        await opened.create(plain("server"), "wiki", WIKI, by="test")
        await opened.create(plain("portal"), "team", TEAM, by="test")
        await app(opened, "team", {"type": "mcp_portal", "domain": "Team.example.com", "policies": [STAFF]})
        await app(opened, "wiki", {"type": "mcp", "destinations": [at("wiki")], "policies": [STAFF]})
        yield opened


def at(server: str) -> dict[str, str]:
    return {"type": "via_mcp_server_portal", "mcp_server_id": server}


async def app(store: Store, id: str, document: Mapping[str, Any]) -> None:
    await store.create(plain("app"), id, {"name": id, **document}, by="test")


def config(**identity: Any) -> Config:
    servers = {"files": {"url": "http://127.0.0.1:9/files"}}
    section = {"policies": [STAFF], "publicUrl": "https://mcp.example.com", **identity}
    return parse_config({"mcpServers": servers, "portal": {"identity": section}})


async def compiled(store: Store, portal: str = "team") -> Access:
    stored, written = await read_stored(store), config()
    return portal_access(definitions(written, stored.objects.portals)[portal], written, stored)


async def test_without_anything_broken_these_people_come_in(store: Store) -> None:
    team, own = await compiled(store), await compiled(store, "")
    assert team.portal(ADA).allowed and team.server(ADA, "wiki").allowed
    assert own.portal(ADA).allowed and own.server(ADA, "files").allowed and own.server(ADA, "wiki").allowed


@pytest.mark.parametrize("decision", ["deny", "allow", "bypass"])
@pytest.mark.parametrize("others", [[STAFF], [OPEN], [OPEN, STAFF]])
async def test_where_a_policy_is_attached_that_cannot_be_read_nobody_comes_in(
    store: Store, decision: str, others: list[dict[str, Any]]
) -> None:
    await store.create(plain("policy"), "odd", {"name": "Odd", "decision": decision, "include": UNKNOWN}, by="test")
    await app(store, "more", {"type": "mcp", "destinations": [at("wiki")], "policies": [*others, {"id": "odd"}]})
    team, own = await compiled(store), await compiled(store, "")
    assert team.portal(ADA).allowed and not team.server(ADA, "wiki").allowed
    assert team.server(ADA, "wiki").policy == "odd" and "cannot be read" in team.server(ADA, "wiki").reason
    assert own.server(ADA, "files").allowed


@pytest.mark.parametrize(
    ("document", "portal", "server", "files"),
    [
        ({"type": "mcp", "destinations": [at("wiki")], "policies": [{"include": UNKNOWN}]}, True, False, True),
        ({"type": "mcp", "destinations": [at("files")], "policies": [{"include": UNKNOWN}]}, True, True, False),
        ({"type": "mcp", "destinations": [at("else")], "policies": 3}, True, True, True),
        ({"type": "mcp", "destinations": 3}, True, False, False),
        ({"type": "mcp_portal", "domain": "team.example.com", "policies": 3}, False, True, True),
        ({"type": "mcp_portal", "domain": "other.example.com", "policies": 3}, True, True, True),
        ({"type": "mcp_portal", "domain": 3}, False, True, True),
        ({"type": "self_hosted", "policies": 3}, True, True, True),
        ({"$shape": 9}, False, False, False),
    ],
)
async def test_an_application_that_cannot_be_read_closes_what_it_may_be_for(
    store: Store, document: dict[str, Any], portal: bool, server: bool, files: bool
) -> None:
    await app(store, "odd", document)
    team, own = await compiled(store), await compiled(store, "")
    assert team.portal(ADA).allowed is portal
    assert team.server(ADA, "wiki").allowed is (portal and server)
    own_portal = own.portal(ADA).allowed
    assert own.server(ADA, "files").allowed is (own_portal and files)


async def test_an_application_that_signs_people_in_and_cannot_be_read_lets_nobody_in(store: Store) -> None:
    saas = {"type": "saas", "policies": [STAFF], "saas_app": {"auth_type": "oidc", "redirect_uris": 3}}
    await app(store, "tickets", saas)
    stored = await read_stored(store)
    assert not application_access("tickets", config(), stored).portal(ADA).allowed
    possible = BestCase(await compiled(store, ""), ADDRESS)
    assert not could_enter(Identity(email="eve@elsewhere.example"), possible, stored.objects.apps)


@pytest.mark.parametrize("kind", ["group", "list"])
async def test_a_group_or_list_that_cannot_be_read_excludes_everybody_and_lets_nobody_in(
    store: Store, kind: str
) -> None:
    await store.create(plain(kind), "odd", {"name": "Odd", "include": UNKNOWN, "type": "NAMES"}, by="test")
    rule = {"group": {"id": "odd"}} if kind == "group" else {"email_list": {"id": "odd"}}
    for policy in ({**STAFF, "exclude": [rule]}, {**STAFF, "include": [rule]}, {**STAFF, "require": [rule]}):
        if await store.find(plain("app"), "more") is not None:
            await store.delete(plain("app"), "more", by="test")
        await app(store, "more", {"type": "mcp", "destinations": [at("else")], "policies": [policy]})
        await store.replace(
            plain("app"), "wiki", {"type": "mcp", "destinations": [at("wiki")], "policies": [policy]}, by="test"
        )
        assert not (await compiled(store)).server(ADA, "wiki").allowed
    denying = {**STAFF, "decision": "deny", "include": [rule]}
    await store.replace(
        plain("app"), "wiki", {"type": "mcp", "destinations": [at("wiki")], "policies": [denying, OPEN]}, by="test"
    )
    assert (await compiled(store)).server(ADA, "wiki").allowed  # A bypass goes before every deny.
    await store.replace(
        plain("app"), "wiki", {"type": "mcp", "destinations": [at("wiki")], "policies": [denying, STAFF]}, by="test"
    )
    assert not (await compiled(store)).server(ADA, "wiki").allowed


async def test_a_server_that_cannot_be_read_is_nowhere_and_its_settings_are_not_forgotten(store: Store) -> None:
    await store.replace(plain("server"), "wiki", {"name": "Wiki"}, by="test")
    hidden = {**WIKI, "updated_tools": [{"name": "erase", "enabled": False}]}
    await store.create(plain("server"), "files", hidden, by="test")
    own = await compiled(store, "")
    assert own.server(ADA, "files").allowed and not own.tool(ADA, "files", "erase", {}).allowed
    await store.replace(plain("server"), "files", {**hidden, "auth_type": "magic"}, by="test")
    team, own = await compiled(store), await compiled(store, "")
    assert not team.server(ADA, "wiki").allowed and not own.server(ADA, "wiki").allowed
    assert not own.server(ADA, "files").allowed


@pytest.mark.parametrize(("hostname", "allowed"), [("mcp.example.com", False), (3, False), ("team.example.com", True)])
async def test_a_portal_that_cannot_be_read_is_absent_and_keeps_everybody_out_of_the_one_it_speaks_of(
    store: Store, hostname: object, allowed: bool
) -> None:
    await store.create(plain("portal"), "odd", {"name": "Odd", "hostname": hostname, "servers": 3}, by="test")
    stored, written = await read_stored(store), config()
    assert set(definitions(written, stored.objects.portals)) == {"", "team"}
    assert (await compiled(store)).portal(ADA).allowed
    assert (await compiled(store, "")).portal(ADA).allowed is allowed
