"""What the operator's document says beside servers and portals is listed by the API, and its secrets are not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from portal.admin.configured import SECTIONS
from portal.admin.configured_settings import (
    FROM_ENVIRONMENT,
    LISTED_ELSEWHERE,
    SHOWN_TEXTS,
    settings_of_document,
    veiled,
)
from portal.app import Parts, serving
from portal.config import OpenApiServer, PortalEntry, PortalSettings, StdioServer, parse_config
from tests.patience import PATIENCE
from tests.portal.admin.documents import SECRET, full_document
from tests.portal.portals import Kept, opened
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class OwnerApi:
    """The API of a portal, as an owner asks it."""

    def __init__(self, http: httpx2.AsyncClient, instance: Any) -> None:
        self._http = http
        self.instance = instance

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = await self._http.request(method, f"access/ai-controls/mcp/{path}", json=body)
        return answer.status_code, answer.json()

    async def get(self, path: str) -> Any:
        status, answer = await self.ask("GET", path)
        assert status == 200, answer
        return answer["result"]


@asynccontextmanager
async def api_of(document: Mapping[str, Any]) -> AsyncIterator[OwnerApi]:
    async with opened(document, lambda line: None, parts=Parts(code=None, records=Kept())) as instance:
        await instance.servers.settled()
        admin = instance.admin
        assert admin is not None
        async with serving(instance) as url:
            token = (await admin.tokens.create_with_all("test", "test")).value
            async with httpx2.AsyncClient(
                trust_env=False,
                timeout=PATIENCE,
                base_url=f"{url}/client/v4/accounts/{admin.account_id}/",
                headers={"Authorization": f"Bearer {token}"},
            ) as http:
                yield OwnerApi(http, instance)


async def test_rules_are_listed_in_the_order_in_which_they_are_asked_with_the_key_of_each(tmp_path: Path) -> None:
    rules = [
        {"name": "Late", "action": "allow", "precedence": 9},
        {"name": "Off", "action": "log", "enabled": False},
        {"name": "Early", "action": "block", "precedence": 1, "rule_settings": {"block_reason": "Ask Ada."}},
    ]
    portal = {"state": new_state(tmp_path), "identity": {}, "gateway": {"rules": rules}}
    async with api_of({"mcpServers": {}, "portal": portal}) as api:
        found = await api.get("configured/gateway-rules")
        assert [(one["place"], one["name"], one["key"], one["enabled"]) for one in found] == [
            (1, "Early", "portal.gateway.rules[2]", True),
            (2, "Late", "portal.gateway.rules[0]", True),
            (3, "Off", "portal.gateway.rules[1]", False),
        ]
        assert found[0]["block_reason"] == "Ask Ada."
        assert [one["name"] for one in await api.get("configured/gateway-rules?search=rules[0]")] == ["Late"]
        assert await api.get(f"configured/gateway-rules/{found[1]['id']}") == found[1]
        assert (await api.ask("GET", "configured/gateway-rules/nothing"))[0] == 404
        # Cloudflare's own list has what is stored alone.
        status, answer = await api.ask("GET", "../../../gateway/rules")
        assert (status, answer["result"]) == (200, [])


async def test_policies_are_listed_by_what_they_are_about_those_without_a_sign_in_first(tmp_path: Path) -> None:
    def policy(id: str, decision: str, **members: Any) -> dict[str, Any]:
        return {"id": id, "name": id.title(), "decision": decision, "include": [{"everyone": {}}], **members}

    identity = {
        "policies": [policy("last", "allow"), policy("first", "allow", precedence=1), policy("robots", "non_identity")],
        "serverPolicies": {"docs": [policy("docs", "allow")]},
        "toolPolicies": [policy("no-deletes", "deny", tools={"names": ["delete*"]})],
    }
    document = {
        "mcpServers": {"docs": {"url": "http://127.0.0.1:9/mcp", "enabled": False}},
        "portal": {"state": new_state(tmp_path), "identity": identity},
        "portals": {"team": {"servers": ["docs"], "policies": [policy("team", "allow")]}},
    }
    async with api_of(document) as api:
        found = await api.get("configured/policies")
    assert [(one["about"], one["portal"], one["server"], one["policy"], one["key"]) for one in found] == [
        ("portal", "_", None, "robots", "portal.identity.policies[2]"),
        ("portal", "_", None, "first", "portal.identity.policies[1]"),
        ("portal", "_", None, "last", "portal.identity.policies[0]"),
        ("server", None, "docs", "docs", "portal.identity.serverPolicies.docs[0]"),
        ("tools", None, None, "no-deletes", "portal.identity.toolPolicies[0]"),
        ("portal", "team", None, "team", "portals.team.policies[0]"),
    ]
    assert found[4]["tools"] == {"names": ["delete*"]}


async def test_every_list_of_a_full_document_has_entries_and_no_secret_is_in_any(tmp_path: Path) -> None:
    pytest.importorskip("re2")
    async with api_of(full_document(tmp_path)) as api:
        for section in SECTIONS:
            found = await api.get(f"configured/{section.path}")
            assert found, section.path
            assert SECRET not in str(found), section.path
            assert [one["place"] for one in found if one.get("about") in (None, "portal")][:1] == [1]
            for one in found:
                assert await api.get(f"configured/{section.path}/{one['id']}") == one
        settings = await api.get("configured/settings?per_page=1000")
        assert SECRET not in str(settings)
        by_key = {one["key"]: one for one in settings}
        assert by_key["portal.exports.allowPrivate"] == {
            "key": "portal.exports.allowPrivate",
            "value": "true",
            "hidden": False,
            "written": True,
        }
        assert by_key["portal.metrics.token"]["hidden"] and by_key["portal.metrics.token"]["value"] is None
        assert by_key["portal.runs.keep"] == {
            **by_key["portal.exports.allowPrivate"],
            "key": "portal.runs.keep",
            "value": "900",
            "written": False,
        }
        written = await api.get("configured/settings?written=true&per_page=1000&under=portal.")
        assert written == [one for one in settings if one["written"] and one["key"].startswith("portal.")]
        words = await api.get("configured/dlp-profiles?search=house")
        assert words[0]["lists"] == [{"name": "names", "count": 2}]


async def test_what_came_out_of_the_environment_is_shown_nowhere() -> None:
    rule = {"name": "${RULE}", "action": "block", "traffic": 'mcp.tool.name == "${VALUE}"'}
    document = {
        "mcpServers": {"docs": {"url": "https://docs.example.com/mcp", "description": "of ${VALUE}"}},
        "portal": {"name": "At ${VALUE}", "gateway": {"rules": [rule]}},
        "portals": {"team": {"description": "${VALUE} again"}},
    }
    config = parse_config(document, env={"VALUE": SECRET, "RULE": "short"})
    found = {one.key: one.value for one in settings_of_document(config)}
    assert found["portal.name"] == f"At {FROM_ENVIRONMENT}"
    assert found["mcpServers.docs.description"] == f"of {FROM_ENVIRONMENT}"
    assert found["portals.team.description"] == f"{FROM_ENVIRONMENT} again"


@pytest.mark.parametrize("word", ["portal", "server", "person", "medium", "redact", "bypass", "onetimepin"])
def test_a_variable_whose_value_is_a_word_of_ours_takes_nothing_from_the_lists(tmp_path: Path, word: str) -> None:
    pytest.importorskip("re2")
    document = full_document(tmp_path)
    document["portal"]["name"] = "${WORD}"
    document["portal"]["gateway"]["rules"][0]["action"] = "redact"
    document["portal"]["identity"]["policies"][0]["decision"] = "bypass"
    document["portal"]["quotas"][0]["per"] = ["person", "server", "portal"]
    plain, config = parse_config(document, env={"WORD": "zzzzzz"}), parse_config(document, env={"WORD": word})
    for section in SECTIONS:
        for before, entry in zip(section.read(plain), section.read(config), strict=True):
            shown = veiled(entry, config.expanded).model_dump()
            fixed = ("id", "key", "about", "per", "action", "confidence_threshold", "type", "decision")
            assert {name: shown.get(name) for name in fixed} == {
                name: before.model_dump().get(name) for name in fixed
            }, section.path


def texts_of(model: type[BaseModel], schema: str) -> set[str]:
    """The keys of a section, at any depth, that may have a text of any kind."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        place = f"{schema}.{name}"
        if place in LISTED_ELSEWHERE:
            continue
        kinds = types_in(field.annotation)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= texts_of(kind, place)
        found |= {place} if {str, Path, object} & kinds else set()
    return found


def types_in(annotation: object) -> set[object]:
    inner = [types_in(one) for one in get_args(annotation)]
    return {annotation}.union(*inner)


def test_every_text_that_is_shown_is_one_of_the_document() -> None:
    known = texts_of(PortalSettings, "portal") | texts_of(PortalEntry, "portals")
    known |= texts_of(StdioServer, "servers") | texts_of(OpenApiServer, "servers")
    assert SHOWN_TEXTS - {"portal.limits"} <= known


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=6, max_size=30))
def test_no_secret_of_a_server_is_among_its_settings(value: str) -> None:
    secret = f"«{value}»"
    servers = {
        "a": {"url": f"https://u:x{SECRET}@a.example.com/p?k={SECRET}", "headers": {"X-Key": f"Bearer {SECRET}"}},
        "c": {"openapi": f"https://c.example.com/{SECRET}", "credentials": {"key": SECRET}},
        "b": {"command": "run", "args": ["--token", SECRET], "env": {"KEY": SECRET}, "description": "${IT}"},
    }
    config = parse_config({"mcpServers": servers}, env={"IT": secret})
    shown = str([one.model_dump() for one in settings_of_document(config)])
    assert SECRET not in shown and secret not in shown


@asynccontextmanager
async def pinned(folder: Path) -> AsyncIterator[tuple[OwnerApi, Hosted]]:
    async with hosted() as upstream:
        document = {
            "mcpServers": {"docs": {"url": upstream.url, "pin": True}},
            "portal": {"state": new_state(folder), "identity": {}},
        }
        async with api_of(document) as api:
            yield api, upstream


async def test_a_server_of_the_document_is_read_again_and_what_waits_is_approved(tmp_path: Path) -> None:
    async with pinned(tmp_path) as (api, upstream):
        upstream.behaviour.said["echo"] = {"description": "Other."}
        status, answer = await api.ask("POST", "served/servers/docs/sync", {})
        assert (status, answer["result"]["status"]) == (200, "ready")
        server = await api.get("served/servers/docs")
        assert (server["key"], server["waiting_approvals"], server["fix"]["action"]) == (
            "mcpServers.docs",
            1,
            "approve",
        )
        (waits,) = await api.get("served/servers/docs/pins")
        assert waits["what"] == ['description: "The tool echo" became "Other."']
        assert (await api.ask("POST", "served/servers/gone/sync", {}))[0] == 404
        assert (await api.ask("GET", "served/servers/gone/pins"))[0] == 404
        # It is no stored server, so that Cloudflare's own paths do not have it.
        assert (await api.ask("GET", "servers/docs/pins"))[0] == 404
        wrong = {"kind": "tool", "name": "echo", "digest": "0" * 64}
        assert (await api.ask("POST", "served/servers/docs/pins/approve", {"approve": [wrong]}))[0] == 409
        status, answer = await api.ask("POST", "served/servers/docs/pins/approve", {"approve": [waits]})
        assert (status, answer["result"]["waiting_approvals"]) == (200, 0)
        assert await api.get("served/servers/docs/pins") == []
