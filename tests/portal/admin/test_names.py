"""Whom the keys name that are recorded with changes: over the admin API, by who may know it."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from portal.admin.api.permissions import ORGANIZATION, PORTALS, group_id
from portal.admin.tokens import PermissionGroup, TokenBody, TokenPolicy
from portal.identity import Identity
from portal.login import People, person_id
from tests.portal.login.guarded import EMAIL, Guarded, guarded_portal

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def names(portal: Guarded, token: str, *keys: str) -> httpx2.Response:
    url = f"{portal.url}/client/v4/accounts/{portal.admin.account_id}/access/ai-controls/names"
    async with httpx2.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {token}"}) as http:
        return await http.get(url, params={"keys": "\n".join(keys)})


async def token_with(portal: Guarded, permission: str) -> str:
    """A token with this permission."""
    groups = (PermissionGroup(id=group_id(permission)),)
    here: dict[str, str | dict[str, str]] = {f"com.cloudflare.api.account.{portal.admin.account_id}": "*"}
    policy = TokenPolicy(effect="allow", permission_groups=groups, resources=here)
    return (await portal.admin.tokens.create(TokenBody(name="made", policies=(policy,)), "test")).value


async def test_a_key_names_a_person_an_account_or_a_token_and_nobody_known_is_no_error(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
        ada = await portal.account()
        made = await portal.admin.tokens.create_with_all("Terraform", "test")
        eve = Identity(id="okta:eve/ü ?", email="eve@example.com", idp_id="okta")
        nameless = Identity(id="okta:bob", name="Bob", idp_id="okta")
        for one in (eve, nameless):
            await People(portal.store, portal.clock).note(one)
        token = f"api-token:{made.id}"
        nobody = ("local:", "local:gone", "api-token:gone", "okta:gone", "claim", "\x00")
        keys = (ada.key, token, eve.key, nameless.key, *nobody, "", ada.key)
        answer = (await names(portal, made.value, *keys)).json()["result"]
        assert [(one["key"], one["kind"], one["name"]) for one in answer] == [
            (ada.key, "person", EMAIL),
            (token, "api_token", "Terraform"),
            (eve.key, "person", "eve@example.com"),
            ("okta:bob", "person", "Bob"),
            *((key, "unknown", "") for key in nobody),
        ]
        assert (answer[0]["id"], answer[1]["id"]) == (person_id(ada), made.id)


async def test_who_may_not_read_people_learns_no_name_and_who_may_not_read_tokens_none_of_a_token(
    tmp_path: Path,
) -> None:
    async with guarded_portal(tmp_path) as portal:
        ada = await portal.account()
        made = await portal.admin.tokens.create_with_all("Terraform", "test")
        elsewhere = await token_with(portal, PORTALS.write)
        assert (await names(portal, elsewhere, ada.key)).status_code == 403
        people = await token_with(portal, ORGANIZATION.read)
        answer = (await names(portal, people, ada.key, f"api-token:{made.id}")).json()["result"]
        assert [(one["kind"], one["name"]) for one in answer] == [("person", EMAIL), ("unknown", "")]


async def test_of_more_keys_than_a_page_has_the_others_are_left_out(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
        made = await portal.admin.tokens.create_with_all("Terraform", "test")
        answer = await names(portal, made.value, *(f"local:{number}" for number in range(300)))
        assert len(answer.json()["result"]) == 100
        assert (await names(portal, made.value, "x" * 60_000)).status_code == 400
