"""A configuration that changes while an instance serves: what is taken up, where, and what waits for the next start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

import portal.app.store as store_module
from portal.app import Instance, Parts, serving
from portal.app.admission import PortalAdmission
from portal.config import Config, parse_config
from portal.errors import ConfigError
from portal.identity import Identity
from portal.logs import Discard
from portal.state import plain
from tests.patience import PATIENCE
from tests.portal.portals import client_of, opened
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ADA = Identity(id="okta:1", email="ada@example.com", idp_id="okta", login_method="okta")
BOB = Identity(id="okta:2", email="bob@example.com", idp_id="okta", login_method="okta")
CODE = "?codemode=search_and_execute"


def config(**portal: Any) -> Config:
    return parse_config({"mcpServers": {}, "portal": portal}, env={})


def guarded(folder: Path, **identity: Any) -> dict[str, Any]:
    return {"state": new_state(folder), "identity": identity}


def only(email: str) -> dict[str, Any]:
    return {"id": "only", "decision": "allow", "include": [{"email": {"email": email}}]}


async def test_hosts_and_instructions_and_the_name_are_those_of_the_changed_file() -> None:
    async with (
        opened({"portal": {"name": "Before"}}, parts=Parts(code=None)) as instance,
        serving(instance) as url,
        httpx2.AsyncClient() as http,
    ):

        async def status(host: str) -> int:
            return (await http.get(f"{url}/healthz", headers={"host": host})).status_code

        assert await status("mcp.example.com") == 421
        changed = config(name="After", instructions="Read first.", allowedHosts=["mcp.example.com"])
        assert await instance.apply(changed) == ()
        assert await status("mcp.example.com") == 200
        async with client_of(f"{url}/mcp", "legacy") as client:
            assert client.server_info is not None
            assert (client.server_info.name, client.instructions) == ("After", "Read first.")
        async with client_of(f"{url}/mcp", "2026-07-28") as client:
            stamps = [
                (await client.list_tools()).meta,
                (await client.list_resource_templates()).meta,
            ]
            assert [stamp and stamp["io.modelcontextprotocol/serverInfo"]["name"] for stamp in stamps] == ["After"] * 2
        assert await instance.apply(config()) == ()
        assert await status("mcp.example.com") == 421


async def test_a_changed_file_that_cannot_be_used_changes_nothing() -> None:
    async with opened({}, parts=Parts(code=None)) as instance:
        before = instance.config
        with pytest.raises(ConfigError, match="allowed host"):
            await instance.apply(config(allowedHosts=["host:port"], name="Other"))
        assert instance.config is before and instance.own.definition.name != "Other"


async def test_limits_and_the_type_check_hold_from_the_next_run_on_and_runs_under_way_keep_theirs() -> None:
    async with Instance.open(config(limits={"calls": 5}), Discard()) as instance, serving(instance) as url:
        async with client_of(f"{url}/mcp{CODE}", "legacy") as client:

            async def error(program: str) -> Any:
                answer = await client.call_tool("code", {"code": program})
                assert answer.structured_content is not None
                return (answer.structured_content.get("error") or {}).get("kind")

            assert await error("return 1") is None
            slow = asyncio.create_task(error("await new Promise((r) => setTimeout(r, 1500)); return 1"))
            await asyncio.sleep(0)
            assert await instance.apply(config(limits={"cpuTime": 0.2})) == ()
            assert await error("while (true) {}") == "cpu_time"
            assert await slow is None


async def test_the_code_mode_of_a_changed_file_holds_at_once_on_an_open_session() -> None:
    async with Instance.open(config(), Discard()) as instance, serving(instance) as url:
        async with client_of(f"{url}/mcp", "legacy") as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == []
            assert await instance.apply(config(codeMode="enforced")) == ()
            assert [tool.name for tool in (await client.list_tools()).tools] == ["code"]


async def test_an_application_decides_by_the_changed_file_too(tmp_path: Path) -> None:
    before = guarded(tmp_path, groups=[{"id": "staff", "include": [{"email": {"email": "ada@example.com"}}]}])
    async with opened({"portal": before}, parts=Parts(code=None)) as instance:
        policy = {"id": "staff", "decision": "allow", "include": [{"group": {"id": "staff"}}]}
        document = {"type": "saas", "name": "Tickets", "policies": [policy]}
        await instance.shared.require_store().create(plain("app"), "tickets", document, by="test")
        assert instance.own.access is not None
        admission = PortalAdmission(instance.shared, instance.own.access)
        assert (await admission.admit(ADA, "app:tickets")).allowed
        assert not (await admission.admit(BOB, "app:tickets")).allowed
        after = guarded(tmp_path, groups=[{"id": "staff", "include": [{"email": {"email": "bob@example.com"}}]}])
        assert await instance.apply(config(**after)) == ()
        assert not (await admission.admit(ADA, "app:tickets")).allowed
        assert (await admission.admit(BOB, "app:tickets")).allowed


async def test_who_signs_in_and_what_is_known_of_them_follow_the_changed_file(tmp_path: Path) -> None:
    async with opened({"portal": guarded(tmp_path)}, parts=Parts(code=None)) as instance:
        first = instance.own.identity
        assert first is not None and (await first.login.directory.offer(password=False)).pin is None
        smtp = {"host": "mail.example.com", "sender": "portal@example.com"}
        posture = {"integrations": ["disk"]}
        changed = guarded(tmp_path, pin=True, smtp=smtp, posture=posture, policies=[only("ada@example.com")])
        assert await instance.apply(config(**changed)) == ()
        second = instance.own.identity
        assert second is not None and second is not first
        assert (await second.login.directory.offer(password=False)).pin is not None
        assert instance.admin is not None and instance.admin.settings.integrations == frozenset({"disk"})
        assert instance.own.access is not None
        assert instance.own.access.current.sources.device_posture == frozenset({"disk"})
        assert instance.own.access.current.portal(ADA).allowed and not instance.own.access.current.portal(BOB).allowed


async def test_policies_that_cannot_be_compiled_are_refused_and_the_former_ones_go_on_deciding(tmp_path: Path) -> None:
    async with opened({"portal": guarded(tmp_path, policies=[only("ada@example.com")])}, parts=Parts(code=None)) as one:
        circle = [{"id": "a", "include": [{"group": {"id": "a"}}]}]
        with pytest.raises(ConfigError, match=r"portal\.identity"):
            await one.apply(
                config(name="Other", **guarded(tmp_path, policies=[only("bob@example.com")], groups=circle))
            )
        assert one.own.access is not None and one.own.access.current.portal(ADA).allowed
        assert one.config.portal.name != "Other"


async def test_stored_portals_are_served_within_a_second_and_until_they_are_removed(tmp_path: Path) -> None:
    async with hosted() as upstream:
        document = {"mcpServers": {"one": {"url": upstream.url}}, "portal": guarded(tmp_path)}
        async with opened(document, parts=Parts(code=None)) as instance:
            store = instance.shared.require_store()
            entry = {"server_id": "one", "default_disabled": False, "updated_tools": [], "updated_prompts": []}
            stored = {"name": "Docs", "hostname": "docs.example.com", "code_mode": "off", "servers": [entry]}
            await store.create(plain("portal"), "docs", stored, by="test")
            async with asyncio.timeout(PATIENCE):
                while "docs" not in instance.portals:
                    await asyncio.sleep(0)
            docs = instance.portals["docs"]
            assert (docs.definition.name, docs.definition.hostname) == ("Docs", "docs.example.com")
            assert docs.access is not None and not docs.access.current.portal(ADA).allowed
            everyone = {"id": "all", "decision": "allow", "include": [{"everyone": {}}]}
            app = {"type": "mcp_portal", "name": "Docs", "domain": "docs.example.com", "policies": [everyone]}
            await store.create(plain("app"), "docs", app, by="test")
            async with asyncio.timeout(PATIENCE):
                while not docs.access.current.portal(ADA).allowed:
                    await asyncio.sleep(0)
            assert docs.access.current.server(ADA, "one").allowed
            assert instance.own.access is not None and not instance.own.access.current.portal(ADA).allowed
            await store.delete(plain("portal"), "docs", by="test")
            async with asyncio.timeout(PATIENCE):
                while "docs" in instance.portals:
                    await asyncio.sleep(0)


async def test_a_stored_portal_that_cannot_be_used_keeps_no_other_from_being_served(tmp_path: Path) -> None:
    async with hosted() as upstream:
        document = {"mcpServers": {"one": {"url": upstream.url}}, "portal": guarded(tmp_path)}
        async with opened(document, parts=Parts(code=None)) as instance:
            store = instance.shared.require_store()
            entry = {"server_id": "one", "default_disabled": False, "updated_tools": [], "updated_prompts": []}
            async with store.transaction() as transaction:
                for id in ("lame", "torn", "docs"):
                    stored = {"name": id, "hostname": f"{id}.example.com", "code_mode": "off", "servers": [entry]}
                    await transaction.create(plain("portal"), id, stored if id != "torn" else {"name": 3}, by="test")
                # Its policy is not there: it cannot be compiled when it is first seen.
                app = {"type": "mcp_portal", "name": "Lame", "domain": "lame.example.com", "policies": [{"id": "no"}]}
                await transaction.create(plain("app"), "lame", app, by="test")
            async with asyncio.timeout(PATIENCE):
                while "docs" not in instance.portals:
                    await asyncio.sleep(0)
            assert set(instance.portals) == {"", "docs"}
            await store.delete(plain("app"), "lame", by="test")
            async with asyncio.timeout(PATIENCE):
                while "lame" not in instance.portals:
                    await asyncio.sleep(0)
            await store.replace(plain("portal"), "docs", {"name": 3}, by="test")
            async with asyncio.timeout(PATIENCE):
                while "docs" in instance.portals:
                    await asyncio.sleep(0)


async def test_one_database_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_urls: list[str | None] = []
    real = store_module.open_store

    def counting(url: str | None, *more: Any) -> Any:
        opened_urls.append(url)
        return real(url, *more)

    monkeypatch.setattr(store_module, "open_store", counting)
    document = {"mcpServers": {"one": {"url": "http://127.0.0.1:9/mcp", "pin": True}}, "portal": guarded(tmp_path)}
    async with opened(document, parts=Parts(code=None)):
        pass
    assert len(opened_urls) == 1
