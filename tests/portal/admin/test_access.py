"""Policies, groups, applications, identity providers, service tokens and pages, by Cloudflare's own SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudflare
import pytest

from portal.access import Access
from portal.access.sources import NO_SOURCES
from portal.access.stored import access_document, read_objects
from portal.identity import Identity
from tests.portal.admin.conftest import Api, admin_api

EMAIL: Any = {"email": {"email": "ann@example.com"}}


def test_policies_and_groups_are_made_read_changed_and_removed(api: Api) -> None:
    access: Any = api.sdk().zero_trust.access
    group = access.groups.create(account_id=api.account, name="Staff", include=[EMAIL])
    assert group.id and group.name == "Staff"
    made = access.policies.create(
        account_id=api.account,
        name="Staff only",
        decision="allow",
        include=[{"group": {"id": group.id}}],
        exclude=[{"ip": {"ip": "10.0.0.0/8"}}],
        session_duration="30m",
        purpose_justification_required=True,
    )
    assert made.id and made.decision == "allow" and made.reusable is True and made.session_duration == "30m"
    read = access.policies.get(made.id, account_id=api.account)
    assert read.name == "Staff only" and read.exclude and read.exclude[0].to_dict() == {"ip": {"ip": "10.0.0.0/8"}}
    changed = access.policies.update(
        made.id, account_id=api.account, name="Nobody", decision="deny", include=[{"everyone": {}}]
    )
    assert changed.decision == "deny" and changed.exclude == []
    assert [policy.id for policy in access.policies.list(account_id=api.account)] == [made.id]
    renamed = access.groups.update(group.id, account_id=api.account, name="All staff", include=[EMAIL])
    assert renamed.name == "All staff"
    assert [found.id for found in access.groups.list(account_id=api.account, search="all st")] == [group.id]
    assert access.policies.delete(made.id, account_id=api.account).id == made.id
    assert access.groups.delete(group.id, account_id=api.account).id == group.id
    with pytest.raises(cloudflare.NotFoundError):
        access.groups.get(group.id, account_id=api.account)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"nothing": {}}, "selector"),
        ({"email": {"email": "a"}, "everyone": {}}, "selector"),
        ({"ip": {"ip": "hush-7f3a"}}, "ip"),
        ({"geo": {"country_code": "hush-7f3a"}}, "country"),
    ],
)
def test_a_rule_that_is_none_is_refused_where_it_stands(shared: Api, rule: dict[str, Any], said: str) -> None:
    body = {"name": "P", "decision": "allow", "include": [{"everyone": {}}], "require": [rule]}
    answer = shared.http.post(shared.at("/access/policies"), headers=shared.headers(), json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["source"]["pointer"].startswith("/require/0")
    assert said in answer.text.lower() and "hush" not in answer.text


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([{"email_addresses": ["a@example.com"]}], "approvals_needed: is missing"),
        (
            [{"approvals_needed": 2, "email_addresses": ["a@example.com", "A@example.com "]}],
            "a group of 1 people, of whom 2",
        ),
        ([{"approvals_needed": "many", "email_addresses": ["a@example.com"]}], "approvals_needed"),
        ([{"approvals_needed": 1, "email_addresses": ["a@example.com"]}] * 21, "more than 20 groups"),
    ],
)
def test_approval_groups_that_nobody_could_satisfy_are_refused(shared: Api, groups: list[Any], said: str) -> None:
    body = {"name": "P", "decision": "allow", "include": [{"everyone": {}}], "approval_groups": groups}
    answer = shared.http.post(shared.at("/access/policies"), headers=shared.headers(), json=body)
    assert answer.status_code == 400 and said in answer.text
    assert answer.json()["errors"][0]["source"]["pointer"] == "/approval_groups"


def test_groups_of_approvers_are_kept_as_they_are_sent(api: Api) -> None:
    access: Any = api.sdk().zero_trust.access
    group = {"approvals_needed": 1, "email_addresses": ["bob@example.com"], "email_list_uuid": "list"}
    made = access.policies.create(
        account_id=api.account,
        name="Asked",
        decision="allow",
        include=[EMAIL],
        approval_required=True,
        approval_groups=[group],
    )
    read = access.policies.get(made.id, account_id=api.account)
    assert read.approval_required is True and [one.to_dict() for one in read.approval_groups] == [group]


def test_groups_in_a_circle_and_groups_or_policies_in_use_are_refused_and_nothing_changes(api: Api) -> None:
    access: Any = api.sdk().zero_trust.access
    inner = access.groups.create(account_id=api.account, name="Inner", include=[EMAIL])
    assert inner.id
    outer = access.groups.create(account_id=api.account, name="Outer", include=[{"group": {"id": inner.id}}])
    assert outer.id
    with pytest.raises(cloudflare.BadRequestError):
        access.groups.update(inner.id, account_id=api.account, name="Inner", include=[{"group": {"id": outer.id}}])
    with pytest.raises(cloudflare.ConflictError, match="'Outer' uses this group"):
        access.groups.delete(inner.id, account_id=api.account)
    with pytest.raises(cloudflare.ConflictError):
        access.groups.create(account_id=api.account, name="Wrong", include=[{"group": {"id": "nothing"}}])
    found = access.groups.get(inner.id, account_id=api.account)
    assert found.include and found.include[0].to_dict() == EMAIL
    policy = access.policies.create(account_id=api.account, name="P", decision="allow", include=[EMAIL])
    assert policy.id
    access.applications.create(
        account_id=api.account, type="mcp_portal", name="Team", domain="team.example", policies=[{"id": policy.id}]
    )
    with pytest.raises(cloudflare.ConflictError, match="the application 'Team' uses this policy"):
        access.policies.delete(policy.id, account_id=api.account)


def test_an_application_is_made_for_a_portal_and_for_servers(api: Api) -> None:
    access: Any = api.sdk().zero_trust.access
    policy = access.policies.create(account_id=api.account, name="P", decision="allow", include=[EMAIL])
    assert policy.id
    own: Any = {"name": "Own", "decision": "deny", "include": [{"everyone": {}}]}
    made: Any = access.applications.create(
        account_id=api.account,
        type="mcp",
        name="Files",
        destinations=[{"type": "via_mcp_server_portal", "mcp_server_id": "files"}],
        policies=[policy.id, own],
    )
    assert len(made.aud) == 64 and made.session_duration == "24h"
    assert [(found.id, found.precedence) for found in made.policies][0] == (policy.id, 1)
    read: Any = access.applications.get(made.id, account_id=api.account)
    assert read.aud == made.aud and read.destinations[0].mcp_server_id == "files"
    url = api.at(f"/access/apps/{made.id}")
    shown = api.http.get(url, headers=api.headers()).json()["result"]
    again = api.http.put(url, headers=api.headers(), json=shown).json()["result"]
    assert again | {"updated_at": ""} == shown | {"updated_at": ""}
    assert [app.id for app in access.applications.list(account_id=api.account)] == [made.id]
    assert access.applications.delete(made.id, account_id=api.account).id == made.id
    for wrong in (
        {"type": "mcp_portal", "name": "P"},
        {"type": "mcp", "name": "P"},
        {"type": "bookmark", "name": "P"},
        {"type": "mcp", "name": "P", "destinations": [{"type": "via_mcp_server_portal"}]},
    ):
        assert api.http.post(api.at("/access/apps"), headers=api.headers(), json=wrong).status_code == 400


def test_identity_providers_keep_their_secret_to_themselves(api: Api) -> None:
    providers: Any = api.sdk().zero_trust.identity_providers
    config: Any = {"client_id": "us", "client_secret": "hush-7f3a", "issuer": "https://idp.example"}
    made: Any = providers.create(account_id=api.account, name="IdP", type="oidc", config=config)
    assert made.config.client_id == "us" and getattr(made.config, "client_secret", None) is None
    stored = api.at("/access/identity_providers")
    assert "hush" not in api.http.get(stored, headers=api.headers()).text
    config = {"client_id": "we", "issuer": "https://idp.example"}
    changed: Any = providers.update(made.id, account_id=api.account, name="IdP", type="oidc", config=config)
    assert changed.config.client_id == "we"
    assert [found.id for found in providers.list(account_id=api.account)] == [made.id]
    assert (providers.get(made.id, account_id=api.account)).id == made.id
    with pytest.raises(cloudflare.BadRequestError):
        providers.create(account_id=api.account, name="Bad", type="oidc", config={"client_id": "us"})
    assert providers.delete(made.id, account_id=api.account).id == made.id


def test_a_stored_secret_is_not_sent_to_where_somebody_else_says(api: Api) -> None:
    config = {"client_id": "us", "client_secret": "hush", "issuer": "https://idp.example"}
    body = {"name": "IdP", "type": "oidc", "config": config}
    made = api.http.post(api.at("/access/identity_providers"), headers=api.headers(), json=body).json()["result"]
    at = api.at(f"/access/identity_providers/{made['id']}")

    def status(**changes: object) -> int:
        kept = {"client_id": "us", "issuer": "https://idp.example", "scopes": ["email"], **changes}
        return api.http.put(at, headers=api.headers(), json={**body, "config": kept}).status_code

    assert status() == 200
    for moved in (
        {"issuer": "https://evil.example"},
        {"token_url": "https://evil.example/token"},
        {"auth_url": "https://evil.example/authorize"},
        {"certs_url": "https://evil.example/keys"},
    ):
        assert status(**moved) == 400, moved
        assert status(**moved, client_secret="hush") == 200
        assert status(client_secret="hush") == 200
    github = {**body, "type": "github", "config": {"client_id": "us"}}
    assert api.http.put(at, headers=api.headers(), json=github).status_code == 400
    public = api.http.post(api.at("/access/identity_providers"), headers=api.headers(), json=github).json()["result"]
    at = api.at(f"/access/identity_providers/{public['id']}")
    assert status(issuer="https://other.example") == 200


def test_service_tokens_are_made_rotated_refreshed_and_taken_back(api: Api) -> None:
    tokens: Any = api.sdk().zero_trust.access.service_tokens
    made = tokens.create(account_id=api.account, name="CI", duration="60m")
    assert made.id and made.client_id and made.client_id.endswith(".access") and made.client_secret
    assert made.duration == "60m"
    listed = list(tokens.list(account_id=api.account))
    assert [token.client_id for token in listed] == [made.client_id] and listed[0].expires_at
    rotated = tokens.rotate(made.id, account_id=api.account)
    assert rotated.client_id == made.client_id and rotated.client_secret not in (None, made.client_secret)
    refreshed = tokens.refresh(made.id, account_id=api.account)
    assert refreshed.expires_at and refreshed.expires_at >= listed[0].expires_at
    changed = tokens.update(made.id, account_id=api.account, name="Robot", duration="forever")
    assert (changed.name, changed.duration, changed.expires_at) == ("Robot", "forever", None)
    with pytest.raises(cloudflare.BadRequestError):
        tokens.update(made.id, account_id=api.account, duration="soon")
    assert tokens.get(made.id, account_id=api.account).duration == "forever"
    text = api.http.get(api.at("/access/service_tokens"), headers=api.headers()).text
    assert "sha256" not in text and str(rotated.client_secret) not in text
    assert tokens.delete(made.id, account_id=api.account).id == made.id
    with pytest.raises(cloudflare.NotFoundError):
        tokens.rotate(made.id, account_id=api.account)


def test_the_keys_assertions_are_signed_with_are_rotated_by_schedule_and_on_demand(api: Api) -> None:
    keys: Any = api.sdk().zero_trust.access.keys
    first = keys.get(account_id=api.account)
    assert first.key_rotation_interval_days == 42 and 0 <= first.days_until_next_rotation <= 42
    changed = keys.update(account_id=api.account, key_rotation_interval_days=21)
    assert changed.key_rotation_interval_days == 21 and changed.days_until_next_rotation <= 21
    rotated = keys.rotate(account_id=api.account)
    assert rotated.last_key_rotation_at > first.last_key_rotation_at
    for wrong in (20, 366, 21.5):
        with pytest.raises(cloudflare.BadRequestError):
            keys.update(account_id=api.account, key_rotation_interval_days=wrong)


def test_custom_pages_are_made_changed_and_removed(api: Api) -> None:
    pages: Any = api.sdk().zero_trust.access.custom_pages
    made = pages.create(account_id=api.account, name="No", type="forbidden", custom_html="<h1>No</h1>")
    assert made.uid
    changed = pages.update(made.uid, account_id=api.account, name="No", type="forbidden", custom_html="<h1>Never</h1>")
    assert changed.uid == made.uid
    assert pages.get(made.uid, account_id=api.account).custom_html == "<h1>Never</h1>"
    assert [page.uid for page in pages.list(account_id=api.account)] == [made.uid]
    assert pages.delete(made.uid, account_id=api.account).id == made.uid


@pytest.mark.anyio
async def test_what_is_stored_decides_for_the_portal_and_for_each_server(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api, api.async_sdk() as sdk:
        access: Any = sdk.zero_trust.access
        mcp = access.ai_controls.mcp
        for id in ("files", "mail"):
            await mcp.servers.create(
                account_id=api.account,
                id=id,
                auth_type="unauthenticated",
                hostname="https://a.example/mcp",
                name=id,
                updated_tools=[{"name": "drop", "enabled": False}],
            )
        await mcp.portals.create(
            account_id=api.account,
            id="team",
            hostname="Team.example",
            name="Team",
            servers=[{"server_id": "files"}, {"server_id": "mail"}],
        )
        group = await access.groups.create(account_id=api.account, name="Staff", include=[EMAIL])
        policy = await access.policies.create(
            account_id=api.account, name="Staff", decision="allow", include=[{"group": {"id": str(group.id)}}]
        )
        links: Any = [{"id": policy.id}]
        await access.applications.create(
            account_id=api.account, type="mcp_portal", name="Team", domain="team.example", policies=links
        )
        await access.applications.create(
            account_id=api.account,
            type="mcp",
            name="Files",
            destinations=[{"type": "via_mcp_server_portal", "mcp_server_id": "files"}],
            policies=links,
        )
        decided = Access(access_document(await read_objects(api.store), "team"), NO_SOURCES)
        ann, bob = Identity(id="1", email="ann@example.com"), Identity(id="2", email="bob@example.com")
        assert decided.portal(ann).effect == "allow" and decided.portal(ann).policy == policy.id
        assert decided.portal(bob).effect == "deny"
        assert decided.server(ann, "files").effect == "allow"
        # Nothing is attached to the other one: nobody may.
        assert decided.server(ann, "mail").effect == "deny"
        assert decided.tool(ann, "files", "drop", {}).effect == "deny"
        assert decided.tool(ann, "files", "read", {}).effect == "allow"
