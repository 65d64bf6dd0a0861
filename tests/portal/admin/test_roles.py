"""Roles of administrators: what each may do, given and changed by Cloudflare's own SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cloudflare
import httpx2
import pytest
from cloudflare import AsyncCloudflare

from portal.admin.api.permissions import ACCOUNT, ALL, API_TOKENS, AREAS, group_id, permissions_of_role
from portal.admin.tokens import PermissionGroup, TokenBody, TokenPolicy
from portal.login import ROLES
from portal.login import Role as RoleName
from tests.portal.admin.ruled import Ruled, ruled_portal
from tests.portal.admin.test_members import OTHER, link_in, post_office
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, sign_in

pytestmark = [
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    # What Cloudflare offers beside its roles is no part of this portal.
    pytest.mark.filterwarnings("ignore:Use /accounts/.account_id./iam/permission_groups:DeprecationWarning"),
]
SERVER = {"id": "docs", "name": "Docs", "hostname": "https://docs.example.com/mcp", "auth_type": "unauthenticated"}


async def token_with(portal: Ruled, permissions: frozenset[str]) -> str:
    """A token with these permissions."""
    groups = tuple(PermissionGroup(id=group_id(name)) for name in sorted(permissions))
    here: dict[str, str | dict[str, str]] = {f"com.cloudflare.api.account.{portal.account}": "*"}
    policy = TokenPolicy(effect="allow", permission_groups=groups, resources=here)
    return (await portal.admin.tokens.create(TokenBody(name="made", policies=(policy,)), "test")).value


@asynccontextmanager
async def sdk_with(portal: Ruled, permissions: frozenset[str]) -> AsyncIterator[AsyncCloudflare]:
    """Cloudflare's SDK with a token of these permissions."""
    token = await token_with(portal, permissions)
    async with AsyncCloudflare(api_token=token, base_url=f"{portal.url}/client/v4", max_retries=0) as sdk:
        yield sdk


async def role_of(portal: Ruled, key: RoleName) -> Any:
    listed = [one async for one in portal.sdk.accounts.roles.list(account_id=portal.account)]
    return next(one for one in listed if one.to_dict()["key"] == key)


def test_an_owner_may_do_everything_an_admin_all_but_what_leads_to_everything_and_an_auditor_reads() -> None:
    assert permissions_of_role("owner") == ALL
    assert ALL - permissions_of_role("admin") == {ACCOUNT.write, API_TOKENS.write}
    assert permissions_of_role("auditor") == {area.read for area in AREAS}


@pytest.mark.anyio
async def test_the_roles_are_listed_and_a_member_is_invited_with_one_and_gets_another(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.person()
        roles: Any = portal.sdk.accounts.roles
        members: Any = portal.sdk.accounts.members
        listed = [one async for one in roles.list(account_id=portal.account)]
        assert [one.name for one in listed] == ["Owner", "Administrator", "Auditor"]
        owner, admin, auditor = listed
        assert (await roles.get(auditor.id, account_id=portal.account)).to_dict() == auditor.to_dict()
        assert auditor.permissions.to_dict()["logs"] == {"read": True, "write": False}
        assert admin.permissions.to_dict()["account_settings"] == {"read": True, "write": False}
        with pytest.raises(cloudflare.NotFoundError):
            await roles.get("0" * 32, account_id=portal.account)
        made: Any = await members.create(account_id=portal.account, email=OTHER, roles=[auditor.id])
        assert made.roles is not None and [one.id for one in made.roles] == [auditor.id]
        changed = await members.update(made.id, account_id=portal.account, roles=[admin])
        assert changed is not None and changed.status == "pending" and changed.roles == [admin]
        page = await browser.open(link_in(made))
        await browser.submit(page, "/login/invitation", name="Grace", password=PASSWORD)
        shown = await members.get(made.id, account_id=portal.account)
        assert shown is not None and (shown.status, shown.roles) == ("accepted", [admin])
        changed = await members.update(made.id, account_id=portal.account, roles=[owner])
        assert changed is not None and (changed.status, changed.roles) == ("accepted", [owner])
        # She is still signed in: a role changes what she may do, and not who she is.
        assert "You are signed in as" in (await browser.open("/logout")).text
        (entry,) = await portal.store.audit(limit=1)
        assert (entry.action, entry.kind, entry.id) == ("replace", "admin", made.id)


@pytest.mark.anyio
async def test_the_last_owner_is_not_removed_made_less_or_left_without_a_password(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        await portal.person()
        administrators = portal.identity.administrators
        (ada,) = await administrators.list()
        await administrators.create(OTHER, "Grace", PASSWORD, by="test", role="admin")
        path = portal.at(f"/members/{ada.id}")
        tries = [
            await http.request(method, path + more, headers=portal.headers(), json=body)
            for method, more, body in (
                ("DELETE", "", None),
                ("PUT", "", {"roles": ["admin"]}),
                ("PATCH", "", {"roles": [{"id": "auditor"}]}),
                ("POST", "/reset", {}),
            )
        ]
        assert [one.status_code for one in tries] == [409] * 4, [one.text for one in tries]
        assert {one.json()["errors"][0]["message"] for one in tries} == {
            "the last owner who can sign in stays one; make another owner first"
        }
        assert await administrators.sign_in(EMAIL, PASSWORD) == ada


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/roles"),
        ({"roles": []}, "/roles"),
        ({"roles": ["0" * 32]}, "/roles"),
        ({"roles": ["owner", "admin"]}, "/roles"),
        ({"roles": ["owner"], "policies": [{"access": "allow"}]}, "/policies"),
    ],
)
@pytest.mark.anyio
async def test_a_change_of_a_member_says_one_role_that_there_is(
    tmp_path: Path, body: dict[str, Any], pointer: str
) -> None:
    async with ruled_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        await portal.person()
        (ada,) = await portal.identity.administrators.list()
        answer = await http.put(portal.at(f"/members/{ada.id}"), headers=portal.headers(), json=body)
        assert answer.status_code == 400 and answer.json()["errors"][0]["source"]["pointer"] == pointer, answer.text


@pytest.mark.anyio
async def test_a_reset_mails_a_link_shows_it_once_and_ends_the_sessions(tmp_path: Path) -> None:
    async with (
        post_office() as (post, smtp),
        ruled_portal(tmp_path, smtp=smtp) as portal,
        browser_at(portal.url) as browser,
    ):
        await portal.person()
        await portal.person(OTHER)
        await sign_in(browser, await browser.open("/login"), OTHER)
        grace = await portal.identity.administrators.find(OTHER)
        assert grace is not None
        path = f"/accounts/{portal.account}/members/{grace.id}/reset"
        made: Any = await portal.sdk.post(path, cast_to=object, body={})
        reset = made["result"]["reset"]
        assert reset["mailed"] is True and reset["url"].startswith(f"{portal.url}/login/reset?token=")
        recipients, letter = await post.letters.get()
        assert (recipients, letter["subject"]) == ([OTHER], "Choose a new password for codemode-portal")
        assert reset["url"] in letter.get_payload(decode=True).decode()
        assert "You are signed out" in (await browser.open("/logout")).text
        page = await browser.open(reset["url"])
        assert (await browser.submit(page, "/login/reset", password="another password")).status == 200
        assert await portal.identity.administrators.sign_in(OTHER, "another password") is not None


@pytest.mark.anyio
async def test_with_the_permissions_of_an_auditor_everything_is_read_and_every_write_is_refused(
    tmp_path: Path,
) -> None:
    async with ruled_portal(tmp_path) as portal, sdk_with(portal, permissions_of_role("auditor")) as sdk:
        await portal.person()
        assert [one.email async for one in sdk.accounts.members.list(account_id=portal.account)] == [EMAIL]
        mcp = sdk.zero_trust.access.ai_controls.mcp
        assert [one async for one in mcp.servers.list(account_id=portal.account)] == []
        refused = [one for one in portal.admin.operations if one.writing and one.area is not None]
        assert not any(one.area.allows(permissions_of_role("auditor"), writing=True) for one in refused if one.area)
        with pytest.raises(cloudflare.PermissionDeniedError):
            await mcp.servers.create(account_id=portal.account, **SERVER)  # type: ignore[arg-type]
        with pytest.raises(cloudflare.PermissionDeniedError):
            await sdk.accounts.members.create(account_id=portal.account, email=OTHER, roles=[])


@pytest.mark.anyio
async def test_with_the_permissions_of_an_admin_servers_are_made_and_no_administrators_or_tokens(
    tmp_path: Path,
) -> None:
    async with ruled_portal(tmp_path) as portal, sdk_with(portal, permissions_of_role("admin")) as sdk:
        await portal.person()
        made = await sdk.zero_trust.access.ai_controls.mcp.servers.create(
            account_id=portal.account,
            **SERVER,  # type: ignore[arg-type]
        )
        assert made.id == "docs"
        (ada,) = [one async for one in sdk.accounts.members.list(account_id=portal.account)]
        with pytest.raises(cloudflare.PermissionDeniedError):
            await sdk.accounts.members.create(account_id=portal.account, email=OTHER, roles=["auditor"])
        with pytest.raises(cloudflare.PermissionDeniedError):
            await sdk.accounts.members.delete(ada.id or "", account_id=portal.account)


@pytest.mark.anyio
async def test_nobody_gives_away_more_than_they_have(tmp_path: Path) -> None:
    few = frozenset({ACCOUNT.read, ACCOUNT.write})
    async with ruled_portal(tmp_path) as portal, sdk_with(portal, few) as sdk:
        await portal.person()
        await portal.person(OTHER)
        members: Any = sdk.accounts.members
        (ada, _) = [one async for one in members.list(account_id=portal.account)]
        pending: Any = await portal.sdk.accounts.members.create(
            account_id=portal.account, email="eve@example.com", roles=["owner"]
        )
        for key in ROLES:
            with pytest.raises(cloudflare.PermissionDeniedError):
                await members.create(account_id=portal.account, email="hal@example.com", roles=[key])
            with pytest.raises(cloudflare.PermissionDeniedError):
                await members.update(ada.id, account_id=portal.account, roles=[await role_of(portal, key)])
        # A link is a way in, whoever it is mailed to: the caller reads it too.
        for path in (f"{ada.id}/reset", f"{pending.id}/invitation"):
            with pytest.raises(cloudflare.PermissionDeniedError):
                await sdk.post(f"/accounts/{portal.account}/members/{path}", cast_to=object, body={})
        assert len(await portal.identity.administrators.list()) == 2
