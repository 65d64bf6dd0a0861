"""Rules of the gateway, driven by Cloudflare's own SDK: what it stores, shows, orders and refuses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cloudflare
import pytest

from portal.admin import apply_changes, export_objects, plan, read_existing
from portal.admin.gateway import rule_of_profiles
from portal.objects import GATEWAY_RULE, RuleDocument
from tests.portal.admin.conftest import Api, admin_api

CREDENTIALS = 'any(dlp.profiles[*] in {"credentials"})'


class Known:
    """A detector of two profiles, which is never asked to search."""

    async def scanned(self, value: object, root: str = "value", *, as_arguments: bool = False) -> Any:
        raise AssertionError("nothing is searched here")

    def knows(self, profile: str) -> bool:
        return profile in ("credentials", "own")

    def profile(self, name: str) -> str | None:
        return name if self.knows(name) else None

    def needs(self, profiles: Iterable[str]) -> None:
        return None


def rules_of(api: Api) -> Any:
    return api.sdk().zero_trust.gateway.rules


def block(api: Api, name: str = "No secrets out", **more: Any) -> Any:
    usual: dict[str, Any] = {"action": "block", "filters": ["http"], "enabled": True, "traffic": CREDENTIALS}
    return rules_of(api).create(account_id=api.account, name=name, **{**usual, **more})


def test_a_rule_is_made_shown_changed_listed_and_removed(api: Api) -> None:
    rules = rules_of(api)
    made = block(
        api,
        description="Out of the house",
        identity='any(identity.groups.name[*] in {"finance"})',
        device_posture="",
        precedence=10,
        rule_settings={"block_reason": "Use the vault."},
    )
    assert (made.name, made.action, made.enabled, made.filters) == ("No secrets out", "block", True, ["http"])
    assert (made.traffic, made.precedence, made.version) == (CREDENTIALS, 10, 1)
    assert made.rule_settings.block_reason == "Use the vault."
    assert made.schedule is None and made.expiration is None and made.created_at.tzinfo is not None
    assert rules.get(made.id, account_id=api.account) == made
    # PUT replaces: what is left out has its default, but a rule keeps its place.
    changed = rules.update(made.id, account_id=api.account, name="Note", action="log", enabled=False)
    assert (changed.name, changed.action, changed.enabled, changed.traffic) == ("Note", "log", False, "")
    assert (changed.precedence, changed.version, changed.rule_settings.block_reason) == (10, 2, "")
    assert [one.id for one in rules.list(account_id=api.account)] == [made.id]
    rules.delete(made.id, account_id=api.account)
    with pytest.raises(cloudflare.NotFoundError):
        rules.get(made.id, account_id=api.account)


def test_a_rule_without_precedence_comes_last_and_two_can_be_exchanged(api: Api) -> None:
    rules = rules_of(api)
    first, second = block(api, "a", precedence=5), block(api, "b")
    assert second.precedence == 1005
    for one, precedence in ((first, 1005), (second, 5)):
        rules.update(one.id, account_id=api.account, name=one.name, action="block", precedence=precedence)
    assert [(one.name, one.precedence) for one in rules.list(account_id=api.account)] == [("b", 5), ("a", 1005)]


def test_rules_are_listed_in_the_order_in_which_they_are_asked(api: Api) -> None:
    for name, action, precedence in (("d", "block", 7), ("c", "allow", 5), ("b", "block", 5), ("a", "log", 5)):
        block(api, name, action=action, precedence=precedence)
    assert [one.name for one in rules_of(api).list(account_id=api.account)] == ["a", "b", "c", "d"]


def test_an_answer_may_be_sent_back(api: Api) -> None:
    made = block(api)
    answer = api.http.get(api.at(f"/gateway/rules/{made.id}"), headers=api.headers()).json()["result"]
    again = api.http.put(api.at(f"/gateway/rules/{made.id}"), headers=api.headers(), json=answer)
    assert again.status_code == 200
    assert {**again.json()["result"], "version": 1, "updated_at": 0} == {**answer, "updated_at": 0}


@pytest.mark.parametrize(
    ("members", "pointer", "words"),
    [
        ({"action": "isolate"}, "/action", "must be 'allow', 'approve', 'block', 'log' or 'redact'"),
        ({"action": "approve"}, "/traffic", "must say `mcp.direction"),
        ({"action": "redact", "traffic": ""}, "/traffic", "must ask for what to redact"),
        ({"traffic": 'http.request.hots == "a"'}, "/traffic", "column 1"),
        ({"identity": 'identity.email == "a'}, "/identity", "column 19"),
        ({"filters": ["dns"]}, "/filters/0", "must be 'http'"),
        ({"schedule": {"mon": "08:00-10:00"}}, "/schedule", "dns"),
        ({"expiration": {"expires_at": "2027-01-01T00:00:00Z"}}, "/expiration", "dns"),
        ({"rule_settings": {"override_host": "a.example"}}, "/rule_settings/override_host", "not known here"),
        ({"traffic": 'any(dlp.profiles[*] == "gone")'}, "/traffic", "a profile that is not there"),
    ],
)
def test_what_cannot_be_held_is_refused_at_its_place(
    api: Api, members: dict[str, Any], pointer: str, words: str
) -> None:
    api.admin.settings.detector = Known()
    with pytest.raises(cloudflare.BadRequestError) as refused:
        block(api, **members)
    error: Any = refused.value.body
    assert error["errors"][0]["source"]["pointer"] == pointer
    assert words in error["errors"][0]["message"]
    assert list(rules_of(api).list(account_id=api.account)) == []


def test_a_rule_about_secrets_is_refused_without_the_extra(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.admin.gateway.detection_installed", lambda: False)
    with pytest.raises(cloudflare.BadRequestError, match="codemode-portal\\[dlp\\]"):
        block(api)
    assert block(api, traffic='mcp.server.id == "crm"').id


def test_a_rule_needs_the_permission_for_zero_trust(api: Api) -> None:
    made: Any = api.sdk().accounts.tokens.create(
        account_id=api.account,
        name="reader",
        policies=[
            {
                "effect": "allow",
                "resources": {f"com.cloudflare.api.account.{api.account}": "*"},
                "permission_groups": [{"id": group.id} for group in groups(api, "Zero Trust Read")],
            }
        ],
    )
    reader: Any = api.sdk(str(made.value)).zero_trust.gateway.rules
    assert list(reader.list(account_id=api.account)) == []
    with pytest.raises(cloudflare.PermissionDeniedError):
        reader.create(account_id=api.account, name="a", action="allow")


def groups(api: Api, name: str) -> list[Any]:
    listed = api.sdk().accounts.tokens.permission_groups.list(account_id=api.account)
    return [group for group in listed if group.name == name]


@pytest.mark.anyio
async def test_a_profile_that_a_rule_asks_for_is_in_use(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api:
        for name, traffic in (("Secrets", CREDENTIALS), ("Old", "???"), ("Hosts", 'http.request.host == "a.example"')):
            document = RuleDocument(name=name, action="block", traffic=traffic)
            await api.store.create(GATEWAY_RULE, name, document, by="test")
        async with api.store.transaction() as transaction:
            assert await rule_of_profiles(transaction, {"x", "credentials"}) == 'the rule "Secrets"'
            assert await rule_of_profiles(transaction, {"own"}) is None


@pytest.mark.anyio
async def test_a_file_declares_rules_by_name_and_keeps_their_places(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api:
        declared: dict[str, dict[str, dict[str, Any]]] = {
            "gateway_rules": {
                "Secrets": {"action": "block", "traffic": CREDENTIALS, "rule_settings": {"block_reason": "No."}},
                "Deletes": {"action": "log", "traffic": 'mcp.tool.name contains "delete"', "precedence": 3},
            }
        }

        async def apply() -> list[str]:
            existing = await read_existing(api.store)
            changes = plan(declared, existing, prune=True).changes
            return [f"{one.action} {one.name}" async for one in apply_changes(api.admin, changes, existing)]

        assert await apply() == ["make Secrets", "make Deletes"]
        assert await apply() == []
        exported = export_objects(await read_existing(api.store))["gateway_rules"]
        assert plan({"gateway_rules": exported}, await read_existing(api.store), prune=True).changes == []
        declared["gateway_rules"]["Deletes"]["precedence"] = 9
        del declared["gateway_rules"]["Secrets"]
        assert await apply() == ["change Deletes", "remove Secrets"]
        assert [one.document.precedence for one in await api.store.list(GATEWAY_RULE)] == [9]
