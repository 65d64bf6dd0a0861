"""Rules in the database, made over the API while the portal serves: taken up, ordered after the document's, broken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from cloudflare import AsyncCloudflare

from portal.admin import PREFIX
from portal.app import Instance, Parts, serving
from portal.calls import Call
from portal.config import parse_config
from portal.errors import CallDenied, StartError
from portal.identity import Group, Identity
from portal.objects import GATEWAY_RULE
from portal.state import StateUnavailable, plain
from portal.upstream import CallContext
from tests.patience import PATIENCE
from tests.portal.gateway.searching import Searching
from tests.portal.gateway.test_portal import CREDENTIALS, on, rule, secret
from tests.portal.portals import Kept, opened
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ADA = Identity(id="1", email="ada@example.com", groups=(Group(name="finance"),))
BOB = Identity(id="2", email="bob@example.com")
EVERYONE = {"id": "all", "name": "All", "decision": "allow", "include": [{"everyone": {}}]}


class Ruled:
    """A served instance: who calls what, and the rules that the SDK makes."""

    def __init__(self, instance: Instance, sdk: AsyncCloudflare, kept: Kept) -> None:
        self.instance = instance
        self.kept = kept
        self._sdk: Any = sdk
        assert instance.admin is not None
        self.account = instance.admin.account_id

    @property
    def rules(self) -> Any:
        return self._sdk.zero_trust.gateway.rules

    @property
    def mcp(self) -> Any:
        return self._sdk.zero_trust.access.ai_controls.mcp

    async def echo(self, text: str = "x", who: Identity = ADA, server: str = "up", portal: str = "") -> str:
        caller = self.instance.portals[portal].caller
        try:
            result = await caller.call(Call.tool(server, "echo", {"text": text}), CallContext(principal=who))
        except CallDenied as denied:
            return denied.policy or ""
        return str(result["content"][0]["text"])


@asynccontextmanager
async def ruled(folder: Path, host: Hosted, searching: Searching | None, **settings: Any) -> AsyncIterator[Ruled]:
    kept = Kept()
    document = {
        "mcpServers": {"up": {"url": host.url}},
        "portal": {"state": new_state(folder), "identity": {"policies": [EVERYONE]}, **settings},
        "portals": {"docs": {"servers": ["up"], "policies": [EVERYONE]}},
    }
    parts = Parts(code=None, records=kept, detector=searching)
    async with opened(document, parts=parts) as instance, serving(instance) as url:
        await instance.servers.settled()
        assert instance.admin is not None
        made = await instance.admin.tokens.create_with_all("test", "test")
        async with AsyncCloudflare(api_token=made.value, base_url=f"{url}{PREFIX}", max_retries=0) as sdk:
            yield Ruled(instance, sdk, kept)


async def test_a_rule_holds_when_the_answer_of_the_api_is_there(tmp_path: Path, searching: Searching) -> None:
    async with hosted() as host, ruled(tmp_path, host, searching, secureWebGateway=True) as portal:
        assert await portal.echo(secret()) == secret()
        made = await portal.rules.create(
            account_id=portal.account, name="Out", action="block", filters=["http"], traffic=CREDENTIALS
        )
        assert await portal.echo(secret()) == "gateway:Out"
        who = {"identity": 'any(identity.groups.name[*] in {"finance"})'}
        await portal.rules.update(made.id, account_id=portal.account, name="Out", action="block", **who)
        assert await portal.echo() == "gateway:Out"
        assert await portal.echo(who=BOB) == "x"
        # The other portal has no gateway, and the server neither.
        assert await portal.echo(portal="docs") == "x"
        await portal.rules.delete(made.id, account_id=portal.account)
        assert await portal.echo(secret()) == secret()


async def test_rules_of_the_document_come_before_stored_ones(tmp_path: Path, searching: Searching) -> None:
    rules = on(rule("Ours", "allow", 'mcp.tool.name == "echo"', precedence=5000))
    async with hosted() as host, ruled(tmp_path, host, searching, **rules) as portal:
        await portal.rules.create(account_id=portal.account, name="All", action="block", precedence=0)
        assert await portal.echo() == "x"


async def test_the_settings_of_stored_portals_and_servers_switch_the_gateway_on(tmp_path: Path) -> None:
    rules = {"gateway": {"rules": [rule("All", traffic="", id="all")]}}
    async with hosted() as host, ruled(tmp_path, host, None, **rules) as portal:
        account = {"account_id": portal.account}
        await portal.mcp.servers.create(
            **account, id="more", auth_type="unauthenticated", hostname=host.url, name="More"
        )
        await portal.mcp.portals.create(
            **account, id="team", hostname="team.localhost", name="Team", servers=[{"server_id": "more"}]
        )
        policy = await portal._sdk.zero_trust.access.policies.create(
            **account, name="All", decision="allow", include=[{"everyone": {}}]
        )
        for app in (
            {"type": "mcp_portal", "name": "Team", "domain": "team.localhost"},
            {
                "type": "mcp",
                "name": "More",
                "destinations": [{"type": "via_mcp_server_portal", "mcp_server_id": "more"}],
            },
        ):
            await portal._sdk.zero_trust.access.applications.create(**account, **app, policies=[{"id": policy.id}])
        await portal.instance.servers.settled()

        async def echo() -> str:
            return await portal.echo(server="more", portal="team")

        assert await echo() == "x"
        await portal.mcp.portals.update("team", **account, secure_web_gateway=True)
        assert await echo() == "gateway:All"
        await portal.mcp.portals.update("team", **account, secure_web_gateway=False)
        assert await echo() == "x"
        await portal.mcp.servers.update("more", **account, secure_web_gateway=True)
        await portal.instance.servers.settled()
        assert await echo() == "gateway:All"


async def test_a_stored_rule_that_cannot_be_read_blocks_what_it_could_be_about(tmp_path: Path) -> None:
    async with hosted() as host, ruled(tmp_path, host, None, secureWebGateway=True) as portal:
        made = await portal.rules.create(
            account_id=portal.account, name="Old", action="allow", traffic='mcp.server.id == "other"'
        )
        store = portal.instance.shared.require_store()
        assert await portal.echo() == "x"
        stored = await store.get(GATEWAY_RULE, made.id)
        assert stored is not None
        members = {**GATEWAY_RULE.members(stored.document), "action": "isolate"}
        for traffic, answer in (('mcp.server.id == "other"', "x"), ("???", "gateway:Old")):
            await store.replace(plain(GATEWAY_RULE.name), made.id, {**members, "traffic": traffic}, by="test")
            await portal.instance._in_force(PATIENCE)
            assert await portal.echo() == answer
        assert orjson.loads(portal.kept.last.findings)[0]["why"] == "unreadable"
        listed = await portal._sdk.get(f"/accounts/{portal.account}/gateway/rules", cast_to=object)
        assert listed["messages"] or listed["errors"] is not None
        await portal.rules.update(made.id, account_id=portal.account, name="New", action="allow")
        assert await portal.echo() == "x"


async def test_a_rule_about_secrets_in_the_document_does_not_start_where_nothing_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As it is without the extra.
    monkeypatch.setattr("portal.app.gateway.detection_installed", lambda: False)
    async with hosted() as host:
        with pytest.raises(StartError, match="codemode-portal\\[dlp\\]"):
            async with ruled(tmp_path, host, None, **on(rule("Out"))):
                pass


async def test_no_secret_is_in_any_file_of_a_portal_that_keeps_a_log(tmp_path: Path, searching: Searching) -> None:
    rules = on(rule("Out", traffic=f'{CREDENTIALS} and mcp.tool.name == "echo"'), rule("Take out", "redact"))
    document = {
        "portal": {"state": new_state(tmp_path), "identity": {"policies": [EVERYONE]}, "logs": {}, **rules},
    }
    async with hosted() as host:
        document["mcpServers"] = {"up": {"url": host.url}}
        async with opened(document, parts=Parts(code=None, detector=searching)) as instance:
            await instance.servers.settled()
            caller, context = instance.own.caller, CallContext(principal=ADA)
            with pytest.raises(CallDenied):
                await caller.call(Call.tool("up", "echo", {"text": secret()}), context)
            await caller.call(Call.tool("up", "structured", {"text": secret()}), context)
            with pytest.raises(CallDenied):
                await caller.call(Call.resource("up", f"test://{secret()}"), context)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"gateway:Out" in path.read_bytes() for path in files)
    assert [path.name for path in files if secret().encode() in path.read_bytes()] == []


async def test_rules_of_a_changed_document_hold_also_while_the_database_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"state": new_state(tmp_path), "identity": {"policies": [EVERYONE]}}
    changed = on(rule("New", traffic='any(dlp.profiles[*] == "mine")'))
    changed = {**settings, **changed, "dlp": {"profiles": {"mine": {"patterns": {"case": r"C-\d+"}}}}}
    quotas = [{"name": "few", "calls": 5, "period": 60, "per": []}]
    async with opened({"portal": settings}, parts=Parts(code=None)) as instance:

        async def away(*asked: object) -> Any:
            raise StateUnavailable("it does not answer")

        with monkeypatch.context() as broken:
            broken.setattr("portal.app.instance.read_stored", away)
            broken.setattr("portal.profiles.StoredProfiles.read", away)
            with pytest.raises(StateUnavailable):
                await instance.apply(parse_config({"portal": {**changed, "quotas": quotas}}, env={}))
            assert [one.name for one in instance.shared.gateway.current.rules] == ["New"]
            assert [one.name for one in instance.shared.quotas.quotas] == ["few"]
            assert instance.shared.detector.knows("mine") and instance.own.secure_web_gateway
