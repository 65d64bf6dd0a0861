"""Cloudflare's own SDK drives the API: every operation, synchronous and asynchronous, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudflare
import pytest

from tests.portal.admin.conftest import Api, admin_api

CREDENTIAL = "sk-hush-7f3a"


def test_a_server_is_added_changed_listed_synced_and_removed(api: Api) -> None:
    servers = api.sdk().zero_trust.access.ai_controls.mcp.servers
    made = servers.create(
        account_id=api.account,
        id="tickets",
        auth_type="bearer",
        hostname="https://tickets.example.com/mcp",
        name="Tickets",
        auth_credentials=CREDENTIAL,
        description="What customers ask",
        updated_tools=[{"name": "create", "alias": "open-ticket", "enabled": True}],
    )
    assert (made.id, made.auth_type, made.status, made.authentication_status) == (
        "tickets",
        "bearer",
        "waiting",
        "connected",
    )
    assert made.created_at is not None and made.created_at.tzinfo is not None
    assert made.created_by and made.created_by.startswith("api-token:")
    assert made.updated_tools and made.updated_tools[0].alias == "open-ticket"

    changed = servers.update("tickets", account_id=api.account, name="Support", description=None)
    assert (changed.name, changed.description, changed.hostname) == ("Support", None, "https://tickets.example.com/mcp")
    assert changed.updated_tools and changed.updated_tools[0].name == "create"
    assert changed.modified_at and made.modified_at and changed.modified_at > made.modified_at

    read = servers.read("tickets", account_id=api.account)
    assert read.name == "Support" and read.tools == []
    assert [server.id for server in servers.list(account_id=api.account, search="SUPP")] == ["tickets"]
    assert list(servers.list(account_id=api.account, search="nothing")) == []
    assert servers.sync("tickets", account_id=api.account).status == "waiting"
    assert servers.delete("tickets", account_id=api.account).id == "tickets"
    with pytest.raises(cloudflare.NotFoundError):
        servers.read("tickets", account_id=api.account)


def test_lists_are_paged_and_the_sdk_walks_all_pages(api: Api) -> None:
    servers = api.sdk().zero_trust.access.ai_controls.mcp.servers
    for number in range(7):
        servers.create(
            account_id=api.account,
            id=f"s{number}",
            auth_type="unauthenticated",
            hostname="https://a.example/mcp",
            name="A",
        )
    first = servers.list(account_id=api.account, per_page=3)
    assert first.result_info is not None and (first.result_info.page, first.result_info.per_page) == (1, 3)
    assert len(first.result) == 3
    assert [server.id for server in first] == [f"s{number}" for number in range(7)]


@pytest.mark.anyio
async def test_the_asynchronous_sdk_does_the_same(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api, api.async_sdk() as sdk:
        mcp = sdk.zero_trust.access.ai_controls.mcp
        await mcp.servers.create(
            account_id=api.account, id="a", auth_type="unauthenticated", hostname="a.example/mcp", name="A"
        )
        made = await mcp.portals.create(
            account_id=api.account, id="team", hostname="team.example.com", name="Team", servers=[{"server_id": "a"}]
        )
        assert made.servers[0].hostname == "https://a.example/mcp" and made.servers[0].on_behalf is True
        assert (await mcp.servers.sync("a", account_id=api.account)).status == "waiting"
        changed = await mcp.portals.update("team", account_id=api.account, code_mode="enforced")
        assert (changed.code_mode, changed.allow_code_mode) == ("enforced", True)
        assert [portal.id async for portal in mcp.portals.list(account_id=api.account)] == ["team"]
        assert (await mcp.portals.delete("team", account_id=api.account)).id == "team"
        assert (await mcp.servers.update("a", account_id=api.account, name="B")).name == "B"
        assert (await mcp.servers.delete("a", account_id=api.account)).id == "a"
        with pytest.raises(cloudflare.NotFoundError):
            await mcp.servers.read("a", account_id=api.account)


def attach_one(api: Api, **entry: Any) -> Any:
    mcp = api.sdk().zero_trust.access.ai_controls.mcp
    mcp.servers.create(
        account_id=api.account,
        id="files",
        auth_type="unauthenticated",
        hostname="https://files.example/mcp",
        name="Files",
        updated_tools=[{"name": "read", "alias": "look"}, {"name": "drop", "enabled": False}],
    )
    mcp.portals.create(
        account_id=api.account,
        id="team",
        hostname="team.example.com",
        name="Team",
        servers=[{"server_id": "files", **entry}],  # type: ignore[typeddict-item]
    )
    return mcp


def test_a_portal_shows_what_it_and_its_server_say_of_a_tool_side_by_side(api: Api) -> None:
    mcp = attach_one(api, updated_tools=[{"name": "read", "alias": "open", "description": "Opens a file"}])
    portal = mcp.portals.read("team", account_id=api.account)
    tools = {tool.name: tool for tool in portal.servers[0].updated_tools}
    assert (tools["read"].portal_alias, tools["read"].server_alias) == ("open", "look")
    assert tools["read"].portal_description == "Opens a file"
    assert tools["drop"].enabled is False
    assert portal.code_mode == "opt_in" and portal.allow_code_mode is True


def test_a_portal_has_eighty_servers_at_most(shared: Api) -> None:
    entries = [{"server_id": f"s{number}"} for number in range(81)]
    body = {"id": "crowded", "name": "Crowded", "hostname": "crowded.example.com", "servers": entries}
    url = shared.at("/access/ai-controls/mcp/portals")
    refused = shared.http.post(url, headers=shared.headers(), json=body)
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["source"]["pointer"]) == (400, "/servers")
    # Of eighty the number is no fault: these servers are not there.
    fewer = shared.http.post(url, headers=shared.headers(), json={**body, "servers": entries[:80]})
    assert all(one["source"]["pointer"] != "/servers" for one in fewer.json()["errors"])


@pytest.mark.parametrize("hidden", [False, True])
def test_what_was_read_of_a_portal_can_be_sent_back_whole_and_changes_nothing(api: Api, hidden: bool) -> None:
    attach_one(
        api,
        default_disabled=hidden,
        on_behalf=False,
        updated_tools=[{"name": "read", "alias": "open", "enabled": True}, {"name": "drop", "enabled": True}],
        updated_prompts=[{"name": "greet", "enabled": False}],
    )
    url = api.at("/access/ai-controls/mcp/portals/team")
    before = api.http.get(url, headers=api.headers()).json()["result"]
    sent = api.http.put(url, headers=api.headers(), json=before)
    assert sent.status_code == 200
    after = sent.json()["result"]
    for changed in ("modified_at", "modified_by"):
        del before[changed], after[changed]
    assert after == before


def test_a_portal_read_and_sent_back_without_code_mode_has_none(api: Api) -> None:
    mcp = attach_one(api)
    url = api.at("/access/ai-controls/mcp/portals/team")
    body = api.http.get(url, headers=api.headers()).json()["result"]
    answer = api.http.put(url, headers=api.headers(), json={**body, "allow_code_mode": False}).json()
    assert answer["success"] is True
    assert (answer["result"]["allow_code_mode"], answer["result"]["code_mode"]) == (False, "off")
    assert mcp.portals.read("team", account_id=api.account).code_mode == "off"
    again = {**answer["result"], "allow_code_mode": True}
    assert api.http.put(url, headers=api.headers(), json=again).json()["result"]["code_mode"] == "opt_in"


def test_two_ways_to_say_code_mode_that_disagree_are_refused(shared: Api) -> None:
    portals = shared.sdk().zero_trust.access.ai_controls.mcp.portals
    with pytest.raises(cloudflare.BadRequestError) as refused:
        portals.create(
            account_id=shared.account,
            id="p",
            hostname="p.example",
            name="P",
            code_mode="enforced",
            allow_code_mode=False,
        )
    assert refused.value.errors[0].source is not None
    assert refused.value.errors[0].source.pointer == "/code_mode"


def test_credentials_are_written_and_never_read(api: Api) -> None:
    servers = api.sdk().zero_trust.access.ai_controls.mcp.servers
    manual = (
        '{"auth_mode": "manual", "config": {"authorization_endpoint": "https://idp.example/a",'
        ' "token_endpoint": "https://idp.example/t"}, "registration_info": {"client_id": "us"}}'
    )
    made = servers.create(
        account_id=api.account,
        id="o",
        auth_type="oauth",
        hostname="https://o.example/mcp",
        name="O",
        auth_credentials=manual,
        client_secret=CREDENTIAL,
    )
    assert made.authentication_status == "manual"
    summary = made.auth_config_summary
    assert summary is not None and summary.auth_mode == "manual" and summary.has_client_secret
    assert summary.client_secret_version == 1
    assert summary.registration_info is not None and summary.registration_info.client_id == "us"
    rotated = servers.update("o", account_id=api.account, client_secret=CREDENTIAL + "2")
    assert rotated.auth_config_summary is not None and rotated.auth_config_summary.client_secret_version == 2
    servers.create(
        account_id=api.account,
        id="h",
        auth_type="bearer",
        hostname="https://h.example/mcp",
        name="H",
        auth_credentials=f'{{"headers": {{"X-Key": "{CREDENTIAL}"}}}}',
    )
    shown = [
        api.http.get(api.at(f"/access/ai-controls/mcp/servers{path}"), headers=api.headers()).text
        for path in ("", "/o", "/h")
    ]
    assert all(CREDENTIAL not in text for text in shown)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"id": "has_underscore"}, "/id"),
        ({"hostname": "file:///etc/passwd"}, "/hostname"),
        ({"hostname": "https://user:hush-7f3a@a.example"}, "/hostname"),
        ({"auth_type": "hush-7f3a"}, "/auth_type"),
        ({"auth_credentials": '{"headers": {"X Y": "sk-hush-7f3a"}}'}, "/auth_credentials"),
        ({"auth_credentials": "sk-hush-7f3a\nX: y"}, "/auth_credentials"),
        ({"updated_tools": [{"name": "a", "alias": "no spaces"}]}, "/updated_tools/0/alias"),
        ({"updated_tools": [{"name": "a"}, {"name": "a"}]}, "/updated_tools"),
    ],
)
def test_a_wrong_member_is_named_and_its_value_not_repeated(shared: Api, wrong: dict[str, Any], pointer: str) -> None:
    right = {"id": "a", "auth_type": "bearer", "hostname": "https://a.example", "name": "A", "auth_credentials": "t"}
    answer = shared.http.post(
        shared.at("/access/ai-controls/mcp/servers"), headers=shared.headers(), json={**right, **wrong}
    )
    assert answer.status_code == 400
    body = answer.json()
    assert (body["success"], body["result"], body["messages"]) == (False, None, [])
    assert body["errors"][0]["source"]["pointer"].startswith(pointer)
    assert "hush" not in answer.text


def test_what_exists_is_in_use_or_is_not_there_is_said_with_the_right_status(api: Api) -> None:
    mcp = attach_one(api)
    with pytest.raises(cloudflare.ConflictError):
        mcp.servers.create(
            account_id=api.account, id="files", auth_type="unauthenticated", hostname="https://f.example", name="F"
        )
    with pytest.raises(cloudflare.ConflictError) as used:
        mcp.servers.delete("files", account_id=api.account)
    assert "team" in str(used.value)
    with pytest.raises(cloudflare.ConflictError):
        mcp.portals.create(account_id=api.account, id="other", hostname="TEAM.example.com", name="Other")
    with pytest.raises(cloudflare.BadRequestError):
        mcp.portals.update("team", account_id=api.account, servers=[{"server_id": "nothing"}])
    with pytest.raises(cloudflare.NotFoundError):
        mcp.portals.update("nothing", account_id=api.account, name="N")
